#!/usr/bin/env bash
# `make image` and `make proxy`: builds one of the two images on the engine that the docker command uses.
#   BASE    the image to build on: one that the engine has, or NAME@sha256:… to have it fetched
#   IMAGE   the name of the new image, `dockmend` or `dockmend-proxy` if it is not given
#   PIP_…   PIP_INDEX_URL, PIP_FIND_LINKS, PIP_NO_INDEX, PIP_TRUSTED_HOST reach the build if they are set
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/apt.sh

kind=${1:?dockmend or proxy}
case $kind in
    dockmend) file=deploy/Dockerfile image=${IMAGE:-dockmend} base=${BASE:-python:3.13-slim} ;;
    proxy) file=deploy/proxy.Dockerfile image=${IMAGE:-dockmend-proxy} base=${BASE:-debian:stable-slim} ;;
esac

command -v docker >/dev/null || {
    say "there is no docker command here: the image is built by Docker Engine"
    exit 3
}
docker version >/dev/null 2>&1 || {
    say "no Docker Engine answers (\`docker version\` says why): the image is built by one"
    exit 3
}
docker image inspect "$base" >/dev/null 2>&1 || docker pull --quiet "$base" >/dev/null || {
    say "the base image $base is not on this engine and could not be fetched: name another one with BASE=NAME"
    exit 3
}

# git refuses a clone of another user's, as under sudo; make has run what is in it already.
revision() { git -c safe.directory='*' "$@" 2>/dev/null; }

labels=(--label "org.opencontainers.image.version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)"
    --label "org.opencontainers.image.base.name=$base")
if commit=$(revision rev-parse HEAD); then
    [ -z "$(revision status --porcelain --untracked-files=no)" ] || commit+=-changed
    labels+=(--label "org.opencontainers.image.revision=$commit"
        --label "org.opencontainers.image.created=$(revision log -1 --format=%cI)")
fi
digest=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$base" | sed -n '1s/.*@//p')
[ -z "$digest" ] || labels+=(--label "org.opencontainers.image.base.digest=$digest")

arguments=(--build-arg "BASE=$base")
for name in PIP_INDEX_URL PIP_FIND_LINKS PIP_NO_INDEX PIP_TRUSTED_HOST; do
    [ -z "${!name:-}" ] || arguments+=(--build-arg "$name")
done
read -ra more <<<"${BUILD_ARGS:-}"
docker build --quiet --file "$file" --tag "$image" "${arguments[@]}" "${labels[@]}" "${more[@]}" . >/dev/null

size() { docker image inspect --format '{{.Size}}' "$1"; }
above=$((($(size "$image") - $(size "$base")) / 100000))
say "built the image $image on $base: $((above / 10)).$((above % 10)) MB above it"
