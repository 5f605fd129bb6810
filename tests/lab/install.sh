#!/usr/bin/env bash
# Brings what the tests run against: Docker Engine, Podman, a broker, a Prometheus. Installs only what is missing and
# starts nothing. Podman and its parts are 32 MB to download and 110 MB on disk.
set -euo pipefail
cd "$(dirname "$0")/../.."
. deploy/apt.sh

packages=(docker.io docker-cli docker-compose iptables iproute2 busybox-static mosquitto mosquitto-clients prometheus systemd procps zstd curl openssl stress-ng)
packages+=(python3-venv) # `make unit-313`
packages+=(mmdebstrap systemd-container pipx) # the packages: tests/lab/base.sh
packages+=(podman runc netavark aardvark-dns catatonit)

if ! on_debian; then
    say "the tests bring their own engine from Debian's packages: run them on Debian or Ubuntu, or only \`make check\`"
    exit 3
fi
if [ "$(id -u)" != 0 ]; then
    say "the tests start an engine of their own and need root for it: run \`sudo make test\`, or only \`make check\`"
    exit 3
fi
install_packages "${packages[@]}" || exit 3
