#!/usr/bin/env bash
# `sudo make install`: dockmend as a service of systemd, from this clone. Run again, it upgrades what is installed, and
# goes back to that if the new one does not start. Everything it makes is named in docs/install.md; the clone is only read.
#   PYTHON    the Python to run it with
#   START=no  install only: it is neither enabled nor started
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/apt.sh
. deploy/python.sh
umask 022 # whatever the clone's modes and the caller's umask, what is installed can be read, and written by root alone

[ "$(id -u)" = 0 ] || { say "only root can install a service: sudo make install"; exit 3; }
[ -d /run/systemd/system ] || { say "systemd does not run here. In a container or for one user: docs/install.md"; exit 3; }

top=/opt/dockmend
units=/etc/systemd/system
if [ -e $top ] && [ ! -d $top/releases ]; then
    say "$top was not made by \`make install\`: stop dockmend, move $top away, and try again. State and rules are elsewhere and stay"
    exit 3
fi

# The unit hides /home, /root and /tmp from dockmend, and so a Python that lies there.
python=${PYTHON:-}
[ -n "$python" ] || python=$(find_python /usr/bin/python3 /usr/local/bin/python3)
case $("$python" -c 'import sys; print(sys.base_prefix)') in
    /home/* | /root/* | /tmp/*)
        say "$python lies where the service cannot see it (ProtectHome=): name another one with PYTHON=/path/to/python3"
        exit 3
        ;;
esac

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
release=$top/releases/$version-$(date +%Y%m%d%H%M%S)-$$
old=$(readlink $top/bin 2>/dev/null || true) # the folder bin of the release that is installed, empty if none is
copy=$(mktemp -d)
installed=no
clean_up() {
    rm -rf "$copy"
    [ $installed = yes ] || rm -rf "$release"
    [ -n "$old" ] || [ $installed = yes ] || rmdir --ignore-fail-on-non-empty $top/releases $top 2>/dev/null || true
}
trap clean_up EXIT

say "installing dockmend $version with $("$python" --version)"
cp -r pyproject.toml README.md LICENSE daemon "$copy"
mkdir -p $top/releases
"$python" -m venv "$release"
pip=("$release/bin/python" -m pip --quiet --disable-pip-version-check --no-cache-dir)
if ! { "${pip[@]}" install --require-hashes --requirement requirements/runtime.txt &&
    "${pip[@]}" install --no-deps --no-build-isolation "$copy"; }; then
    say "pip could not install dockmend (see above): is the package index reachable from here? Nothing has changed"
    exit 3
fi
"$release/bin/dockmend" --version >/dev/null

# put BIN UNIT: the command and the unit that are in force; each is replaced as a whole.
put() {
    ln -sfn "$1" $top/bin.new
    mv -T $top/bin.new $top/bin
    install -m 644 "$2" $units/dockmend.service
    systemctl daemon-reload
}

[ ! -e $units/dockmend.service ] || cp $units/dockmend.service "$copy/unit.old"
install -D -m 644 systemd/dockmend.sysusers /etc/sysusers.d/dockmend.conf
install -D -m 644 systemd/dockmend.tmpfiles /etc/tmpfiles.d/dockmend.conf
systemd-sysusers /etc/sysusers.d/dockmend.conf
systemd-tmpfiles --create /etc/tmpfiles.d/dockmend.conf
installed=yes
put "$release/bin" systemd/dockmend.service
if [ ! -e /usr/local/bin/dockmend ]; then
    install -d /usr/local/bin
    ln -s $top/bin/dockmend /usr/local/bin/dockmend
fi

if [ "${START:-}" != no ]; then
    systemctl --quiet enable dockmend.service
    if ! systemctl restart dockmend.service; then
        say "dockmend $version did not start: journalctl --unit dockmend says why"
        if [ -n "$old" ] && [ -e "$copy/unit.old" ]; then
            put "$old" "$copy/unit.old"
            rm -rf "$release"
            systemctl reset-failed dockmend.service
            systemctl restart dockmend.service && say "the one before it runs again"
        fi
        exit 1
    fi
fi
find $top/releases -mindepth 1 -maxdepth 1 ! -path "$release" -exec rm -rf {} +
if [ "${START:-}" = no ]; then
    say "installed; start it with: systemctl enable --now dockmend"
else
    say "dockmend $version runs; what it is about to do, and what is in its way: dockmend coverage, dockmend doctor"
fi
