#!/usr/bin/env bash
# `make release`: everything of one version in dist/, for a person to publish: wheel, source archive, bill of materials,
# checksums, and the image as an archive if an engine answers and BASE names what to build it on. It publishes nothing.
#   BASE          the base of the image; without it there is no image
#   UNTAGGED=yes  try it at a commit that has no tag of this version
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/apt.sh
umask 022

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
if [ "${UNTAGGED:-}" != yes ]; then
    git describe --exact-match --tags --match "v$version" HEAD >/dev/null 2>&1 || {
        say "HEAD is not the tag v$version: check that tag out (UNTAGGED=yes tries it here)"
        exit 1
    }
    [ -z "$(git status --porcelain)" ] || {
        say "there are changes that are not in the tag v$version: git status shows them"
        exit 1
    }
fi
# What is in the archives bears the commit's time, so that two builds of a commit can be compared.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
git archive HEAD | tar -x -C "$copy"
rm -rf dist
mkdir dist
out=$PWD/dist
python=$PWD/.venv/bin/python
say "building dockmend $version"
(cd "$copy" && "$python" -c '
import sys
from setuptools import build_meta
out = sys.argv[1]
build_meta.build_sdist(out)
build_meta.build_wheel(out)' "$copy" >"$copy/log" 2>&1) || {
    cat "$copy/log" >&2
    exit 1
}
mv "$copy"/dockmend-"$version"-*.whl "$out"
mkdir "$copy/source"
tar -xzf "$copy/dockmend-$version.tar.gz" -C "$copy/source"
tar --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner -C "$copy/source" -c "dockmend-$version" |
    gzip -n >"$out/dockmend-$version.tar.gz"
"$python" "$copy/deploy/sbom.py" >"$out/dockmend-$version.cdx.json"

if [ -z "${BASE:-}" ]; then
    say "no image: BASE=NAME names what to build it on"
elif ! docker version >/dev/null 2>&1; then
    say "no image: no Docker Engine answers"
else
    IMAGE=dockmend:$version deploy/image.sh dockmend
    docker save "dockmend:$version" | gzip -n >"$out/dockmend-$version-image.tar.gz"
fi
sums=$(cd "$out" && sha256sum -- *)
printf '%s\n' "$sums" >"$out/SHA256SUMS"
say "in dist/:"
ls -l "$out" | awk 'NR > 1 {printf "  %10d  %s\n", $5, $9}' >&2
