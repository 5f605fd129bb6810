#!/usr/bin/env bash
# `make run`: from a fresh clone to a running dockmend. Exits 3 with a sentence where something is missing that it
# may not or cannot bring. ENGINE=no keeps it from installing or starting an engine.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/apt.sh

socket=/var/run/docker.sock

# Does an engine answer on the default socket? 0 yes, 1 no, 2 there is one that this user may not ask.
answers() {
    .venv/bin/python - "$socket" <<'PYTHON'
import socket
import sys

with socket.socket(socket.AF_UNIX) as client:
    client.settimeout(10)
    try:
        client.connect(sys.argv[1])
        client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        sys.exit(0 if b" 200 " in client.recv(100) else 1)
    except PermissionError:
        sys.exit(2)
    except OSError:
        sys.exit(1)
PYTHON
}

# The engine's address where somebody chose one: DOCKER_HOST, or a docker context other than the default.
chosen() {
    if [ -n "${DOCKER_HOST:-}" ]; then
        printf 'DOCKER_HOST=%s' "$DOCKER_HOST"
    elif [ -n "${DOCKER_CONTEXT:-}" ] && [ "$DOCKER_CONTEXT" != default ]; then
        printf 'the docker context %s' "$DOCKER_CONTEXT"
    elif command -v docker >/dev/null; then
        local context
        context=$(docker context show 2>/dev/null) || return 0
        [ "$context" = default ] || printf 'the docker context %s' "$context"
    fi
}

start_engine() {
    if ! on_debian || [ "$(id -u)" != 0 ]; then
        say "no Docker Engine answers on $socket, and only root on Debian or Ubuntu can have one installed from here. Start one, or name it: DOCKER_HOST=unix:///path/to/docker.sock make run"
        exit 3
    fi
    if [ "${ENGINE:-}" = no ]; then
        say "no Docker Engine answers on $socket, and ENGINE=no forbids starting one. Start one, or name it with DOCKER_HOST"
        exit 3
    fi
    say "no Docker Engine answers on $socket: installing Debian's (docker.io) where it is missing, and starting it"
    install_packages docker.io docker-cli iptables || exit 3
    if [ -d /run/systemd/system ]; then
        systemctl start docker.service || {
            say "systemd could not start the engine: see \`journalctl --unit docker\`"
            exit 3
        }
        say "the engine runs as docker.service; stop it with: systemctl stop docker.service docker.socket"
    else
        mkdir -p state
        setsid dockerd --pidfile /run/dockmend-dockerd.pid >>state/dockerd.log 2>&1 </dev/null &
        await_engine
        say "the engine runs in a session of its own and goes on when dockmend ends; its log is state/dockerd.log; stop it with: kill \$(cat /run/dockmend-dockerd.pid)"
    fi
}

await_engine() {
    local tries
    for ((tries = 0; tries < 120; tries++)); do
        if answers; then return 0; fi
        sleep 0.5
    done
    say "the engine did not answer within a minute; the end of state/dockerd.log says:"
    tail -n 5 state/dockerd.log >&2
    exit 3
}

deploy/venv.sh runtime
engine=$(chosen)
if [ -n "$engine" ]; then
    say "using the engine of $engine"
else
    found=0
    answers || found=$?
    case $found in
        0) say "using the engine on $socket" ;;
        2)
            say "an engine listens on $socket, but $(id -un) may not use it: add yourself to the group docker, or run as root"
            exit 3
            ;;
        *) start_engine ;;
    esac
fi
exec .venv/bin/dockmend run --rules rules.d --state state "$@"
