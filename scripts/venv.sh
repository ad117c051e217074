#!/bin/sh
# Makes .venv and installs what requirements.txt asks for; does nothing when that was done already.
# PYTHON names the interpreter; without it the newest on the path is taken, 3.11 at least.
set -eu
cd "$(dirname "$0")/.."
stamp=.venv/.installed
log=.venv/install.log
wanted=$(cat requirements.txt ai-api/requirements.txt data-api/requirements.txt ai-api/pyproject.toml data-api/pyproject.toml | cksum)
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if ! [ -x .venv/bin/python ] || ! fits .venv/bin/python; then
    python=
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
        if fits "$candidate"; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || fail "Volant needs Python 3.11 or newer; none is on the path (PYTHON=/path/to/python names one)."
    rm -rf .venv
    "$python" -m venv .venv >/dev/null 2>&1 ||
        fail "$python cannot make a virtual environment: install its venv module (Debian: apt install python3-venv)."
fi

# One small package first, with little patience: without a network the answer comes in seconds.
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
uuid=$(grep '^uuid-utils==' ai-api/requirements.txt)
.venv/bin/python -m pip download --quiet --no-deps --no-cache-dir --retries 1 --timeout 5 --dest "$probe" "$uuid" >"$log" 2>&1 ||
    fail "Packages cannot be downloaded: no network, or no way to the package index. pip's words: $log"

echo "Installing packages into .venv, about 3 minutes (details: $log)"
.venv/bin/python -m pip install --disable-pip-version-check -r requirements.txt >"$log" 2>&1 || {
    tail -5 "$log" >&2
    fail "The installation failed. All of pip's words: $log"
}
echo "$wanted" >"$stamp"
