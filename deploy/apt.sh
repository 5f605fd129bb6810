# shellcheck shell=bash
# Sourced: installing Debian's packages, only those that are missing, and without starting their services.

say() { printf 'dockmend: %s\n' "$*" >&2; }

on_debian() { [ -r /etc/debian_version ] && command -v apt-get >/dev/null; }

# missing PACKAGE…: those that are not installed
missing() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || printf '%s\n' "$package"
    done
}

# install_packages PACKAGE…: installs what is missing. A service that comes with a package is neither started
# nor enabled: who wants it does that.
install_packages() {
    local wanted policy=/usr/sbin/policy-rc.d mine='' log result=0
    mapfile -t wanted < <(missing "$@")
    [ ${#wanted[@]} -eq 0 ] && return 0
    say "installing ${wanted[*]}"
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod 755 "$policy" && mine=yes
    fi
    log=$(mktemp)
    {
        apt-get -qq update &&
            DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends "${wanted[@]}"
    } </dev/null >"$log" 2>&1 || result=$?
    [ -z "$mine" ] || rm -f "$policy"
    if [ -d /run/systemd/system ]; then
        local unit
        for unit in docker.service docker.socket containerd.service podman.service podman.socket mosquitto.service \
            prometheus.service; do
            case " ${wanted[*]} " in
                *" ${unit%.*} "* | *" ${unit%.*}.io "*) systemctl --quiet disable "$unit" 2>/dev/null || true ;;
            esac
        done
    fi
    if [ $result -ne 0 ]; then
        tail -n 20 "$log" >&2
        say "apt-get failed (see above): install ${wanted[*]} by hand and try again"
    fi
    rm -f "$log"
    return $result
}
