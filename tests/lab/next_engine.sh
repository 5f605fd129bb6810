#!/usr/bin/env bash
# Unpacks the Docker Engine of Debian's next release beside the installed one, without installing it:
# `pytest --engine next` runs the tests on it. The mirror is the one that the machine's apt uses already.
# Debian's index is read at most once a day, and what is there already is not fetched again. 65 MB in all.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/apt.sh

folder=/var/cache/dockmend-lab/next  # tests/lab/kinds.py looks there
packages=(docker.io docker-cli containerd runc)
day=86400  # seconds

if ! on_debian || [ "$(id -u)" != 0 ]; then
    say "the next release's engine comes from Debian's packages, and its tests need root: run them on Debian as root"
    exit 3
fi
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9 # two runs of the tests on one machine

mkdir -p "$folder"/{lists/partial,debs/partial}
apt=(-q -o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$folder/lists"
    -o "Dir::Cache::archives=$folder/debs" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
    -o Acquire::Languages=none -o APT::Sandbox::User=root)

# The archive that the installed packages come from, and the key that signs it. Debian calls its next release `testing`.
source_of_debian() {
    apt-get indextargets --format '$(LABEL)|$(COMPONENT)|$(REPO_URI)|$(SIGNED_BY)' 'Identifier: Packages' |
        awk -F'|' '$1 == "Debian" && $2 == "main" {
            print "deb " ($4 ~ /^\// ? "[signed-by=" $4 "] " : "") $3 " testing main"; exit }'
}

# 0: the index says what there is today. 1: it could not be read.
read_index() {
    local source
    source=$(source_of_debian)
    if [ -z "$source" ]; then # a machine whose index was never read does not know whose archives they are
        apt-get -qq update >/dev/null 2>&1 || true
        source=$(source_of_debian)
    fi
    [ -n "$source" ] || { say "the apt sources of this machine name no archive of Debian's"; return 1; }
    printf '%s\n' "$source" >"$folder/sources.list"
    apt-get "${apt[@]}" update >"$folder/log" 2>&1 || return 1
    touch "$folder/index-read"
}

fresh() { [ -e "$1" ] && [ $(($(date +%s) - $(stat -c %Y "$1"))) -lt $day ]; }

there() { [ -x "$folder/root/usr/sbin/dockerd" ] && [ -x "$folder/root/usr/bin/docker" ]; }

if there && fresh "$folder/index-read"; then
    exit 0
fi
if ! read_index; then
    if there; then
        say "the index of Debian's next release could not be read: the tests use the engine that was unpacked before"
        exit 0
    fi
    [ ! -s "$folder/log" ] || tail -n 5 "$folder/log" >&2
    say "the index of Debian's next release could not be read: is the package mirror reachable from here?"
    exit 3
fi

# `version package` for each: the same as last time means that nothing has to be fetched.
wanted=$(apt-cache "${apt[@]}" policy "${packages[@]}" | awk '/^[a-z]/ {name = $1} /Candidate:/ {print name, $2}')
if there && [ "$wanted" = "$(cat "$folder/unpacked" 2>/dev/null)" ]; then
    exit 0
fi
say "fetching the engine of Debian's next release"
rm -rf "$folder/root.new" "$folder"/debs/*.deb
if ! (cd "$folder/debs" && apt-get "${apt[@]}" download "${packages[@]}") >"$folder/log" 2>&1; then
    tail -n 5 "$folder/log" >&2
    say "the engine of Debian's next release could not be fetched"
    exit 3
fi
for deb in "$folder"/debs/*.deb; do dpkg -x "$deb" "$folder/root.new"; done
rm -rf "$folder/root"
mv "$folder/root.new" "$folder/root"
printf '%s\n' "$wanted" >"$folder/unpacked"
rm -f "$folder"/debs/*.deb
say "unpacked $("$folder/root/usr/sbin/dockerd" --version)"
