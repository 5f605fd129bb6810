#!/usr/bin/env bash
# Makes what the tests of the packages stand on, once a week: a small Debian with Python and systemd as an archive of its
# root file system, which holds the wheels that requirements/runtime.txt pins in /wheels, so that no test asks an index.
# Prints the archive's path.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/apt.sh

cache=/var/cache/dockmend-lab/base
packages=python3,python3-venv,ca-certificates,tzdata,make,binutils,haproxy,systemd,systemd-sysv,dbus
week=7 # days

if ! on_debian || [ "$(id -u)" != 0 ]; then
    say "the packages are tested on a Debian that mmdebstrap makes: run these tests on Debian as root"
    exit 3
fi
mkdir -p $cache
exec 9>$cache/lock
flock 9 # several tests at once, and runs of them

lacking=$(missing mmdebstrap systemd-container python3-venv pipx)
[ -z "$lacking" ] || { say "the lab lacks ${lacking//$'\n'/, }: run tests/lab/install.sh"; exit 3; }
release=$(. /etc/os-release && echo "$VERSION_CODENAME")
key=$(cat "$0" requirements/runtime.txt <(echo "$release") | sha256sum | cut -c1-16)
archive=$cache/$key.tar
if [ -z "$(find $cache -name "$key.tar" -mtime -$week)" ]; then
    say "making a Debian for the tests"
    find $cache -mindepth 1 ! -name lock -delete
    /usr/bin/python3 -m venv $cache/venv
    $cache/venv/bin/pip --quiet --disable-pip-version-check download --require-hashes --only-binary :all: \
        --dest $cache/wheels --requirement requirements/runtime.txt >&2
    mmdebstrap --quiet --variant=apt --include=$packages --customize-hook="copy-in $cache/wheels /" \
        "$release" $cache/new.tar >&2
    mv $cache/new.tar "$archive"
    rm -rf $cache/venv
fi
echo "$archive"
