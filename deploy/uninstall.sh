#!/usr/bin/env bash
# `sudo make uninstall`: takes away what `make install` made, and what dockmend has made since. What cannot be had again
# stays, and is named: settings and rules that a person wrote, snapshots, the proof of what is dockmend's on an engine.
#   PURGE=yes  takes that away too
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/apt.sh

[ "$(id -u)" = 0 ] || { say "only root can take a service away: sudo make uninstall"; exit 3; }

top=/opt/dockmend
state=/var/lib/dockmend
settings=/etc/dockmend
unit=/etc/systemd/system/dockmend.service

if [ -d /run/systemd/system ] && [ -e $unit ]; then
    systemctl --quiet disable --now dockmend.service
fi

# How many things on an engine the journal proves to be dockmend's own; empty if that cannot be told.
owned() {
    [ -e $state/journal.sqlite3 ] || { echo 0; return; }
    "$top/bin/python" -c '
import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM owned").fetchone()[0])' $state/journal.sqlite3 2>/dev/null || true
}

declare -A kept=() # path: why it stays
keep() { [ "${PURGE:-}" = yes ] || kept[$1]+="${kept[$1]:+; }$2"; }
[ -z "$(find $settings -type f -print -quit 2>/dev/null)" ] || keep $settings "settings and rules"
[ ! -d $unit.d ] || keep $unit.d "what \`systemctl edit\` made"
[ -z "$(find $state/snapshots -type f -print -quit 2>/dev/null)" ] || keep $state "snapshots of volumes"
count=$(owned)
[ "$count" = 0 ] || keep $state "its journal proves which ${count:+$count }objects of the engine are dockmend's own"

# Another dockmend, such as one of `make run`, notes itself in the same folder.
others=$($top/bin/python -c '
import os
from dockmend.control.pidfiles import running
print(len(running(os.environ)))' 2>/dev/null || echo 0)

gone=($unit $unit.d /etc/sysusers.d/dockmend.conf /etc/tmpfiles.d/dockmend.conf $settings $state $top)
[ "$others" != 0 ] || gone+=(/run/dockmend)
[ "$(readlink /usr/local/bin/dockmend 2>/dev/null)" != $top/bin/dockmend ] || gone+=(/usr/local/bin/dockmend)
for each in "${gone[@]}"; do
    [ -n "${kept[$each]:-}" ] || rm -rf "$each" || say "$each could not be removed"
done
for each in /etc/sysusers.d /etc/tmpfiles.d; do # Debian has neither before somebody puts a file there
    [ ! -d $each ] || rmdir --ignore-fail-on-non-empty $each
done
! getent group dockmend >/dev/null || groupdel dockmend
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
    systemctl reset-failed dockmend.service 2>/dev/null || true
fi

if [ ${#kept[@]} -eq 0 ]; then
    say "nothing of it is left"
else
    say "dockmend is gone; these stay (sudo make uninstall PURGE=yes takes them away too):"
    for each in "${!kept[@]}"; do
        say "  $each: ${kept[$each]}"
    done
fi
