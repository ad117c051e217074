#!/bin/sh
# Makes .venv and installs packages, unless that was done already: scripts/packages/venv.sh run|dev
# run: what running Volant needs; dev: also what checks and tests need. Both go into the same .venv.
# PYTHON names the interpreter; without it the newest on the path is taken, 3.11 at least.
set -eu
cd "$(dirname "$0")/../.."
set=${1:?usage: scripts/packages/venv.sh run|dev}
stamp=.venv/.installed
log=.venv/install.log
sum=$(cat requirements.txt requirements-dev.txt constraints.txt ai-api/pyproject.toml data-api/pyproject.toml | cksum)
case "$(cat "$stamp" 2>/dev/null)" in
"$set $sum" | "dev $sum") exit 0 ;;
esac

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=.venv/bin/python
if ! [ -x "$python" ] || ! fits "$python"; then
    python=
    for candidate in ${PYTHON:-python3.13 python3.12 python3.11 python3 python}; do
        if fits "$candidate"; then
            python=$candidate
            break
        fi
    done
    [ -n "$python" ] || fail "Volant needs Python 3.11 or newer; none is on the path (PYTHON=/path/to/python names one)."
fi

# Before anything is installed: can the embedded Postgres run here?
"$python" -m scripts.dev.account || exit 1

if [ "$python" != .venv/bin/python ]; then
    rm -rf .venv
    "$python" -m venv .venv >/dev/null 2>&1 ||
        fail "$python cannot make a virtual environment: install its venv module (Debian: apt install python3-venv)."
fi

echo "Installing packages into .venv (details: $log)"
files=requirements.txt
[ "$set" = run ] || files=requirements-dev.txt
status=0
.venv/bin/python -m scripts.packages.install "$files" >"$log" 2>&1 || status=$?
if [ $status = 3 ]; then
    fail "Packages cannot be downloaded: no network, or no way to the package index. pip's messages: $log"
elif [ $status != 0 ]; then
    tail -5 "$log" >&2
    fail "The installation failed. All messages: $log"
fi
echo "$set $sum" >"$stamp"
