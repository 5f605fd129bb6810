#!/usr/bin/env bash
# Makes .venv and installs dockmend in it with pinned, hashed dependencies: `deploy/venv.sh runtime` or `… dev`.
# Does nothing where that has been done and nothing has changed since. VENV names another folder than .venv, and PYTHON
# the Python that it is made with, and no other.
set -euo pipefail
cd "$(dirname "$0")/.."
. deploy/apt.sh
. deploy/python.sh

kind=${1:-runtime}
venv=${VENV:-.venv}

# What an installation depends on: the pins, the package's own metadata, and the folder that it is linked to.
fingerprint() {
    { cat "requirements/$1.txt" && sed '/^\[tool\.ruff/,$d' pyproject.toml && pwd; } | sha256sum
}
up_to_date() { [ "$(cat "$venv/installed-$1" 2>/dev/null)" = "$(fingerprint "$1")" ]; }

if up_to_date "$kind" && "$venv/bin/python" -c 'import dockmend' 2>/dev/null; then
    exit 0
fi

# shellcheck disable=SC2086 # several names
python=$(find_python ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3})

if ! usable "$venv/bin/python"; then
    say "making $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
say "installing what dockmend needs ($kind)"
pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
if ! { "${pip[@]}" --require-hashes --requirement "requirements/$kind.txt" &&
    "${pip[@]}" --no-deps --no-build-isolation --editable .; }; then
    say "pip could not install requirements/$kind.txt (see above): is the package index reachable from here?"
    exit 3
fi
fingerprint "$kind" >"$venv/installed-$kind"
if [ "$kind" = dev ]; then # dev.txt holds all that runtime.txt does
    fingerprint runtime >"$venv/installed-runtime"
fi
