# shellcheck shell=bash
# Sourced, after apt.sh: a Python of 3.11 or newer that can make virtual environments, pip included.

usable() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

# first_usable PYTHON…: the first of them that will do
first_usable() {
    local candidate
    for candidate in "$@"; do
        if usable "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    return 1
}

# find_python PYTHON…: the first that will do; root on Debian gets Debian's installed if none does. Exits 3 otherwise.
find_python() {
    first_usable "$@" && return
    if ! on_debian || [ "$(id -u)" != 0 ]; then
        say "no Python 3.11 or newer with its venv module was found (looked for: $1). On Debian or Ubuntu: apt-get install python3-venv; elsewhere name one with PYTHON=/path/to/python3"
        exit 3
    fi
    install_packages python3 python3-venv || exit 3
    first_usable "$@" || {
        say "$1 is too old or is not there: dockmend needs Python 3.11 or newer with its venv module"
        exit 3
    }
}
