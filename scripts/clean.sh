#!/bin/sh
# Deletes all state of this Volant, after asking: scripts/clean.sh COMPOSE COMMAND …
set -eu
cd "$(dirname "$0")/.."
secrets=$(sh scripts/setting.sh AI_SECRETS_DIR)
state=$(sh scripts/setting.sh AI_STATE_DIR)
keys=$(sh scripts/setting.sh AI_VERSION_KEYS_DIR)

# The lock of `make dev`, held until everything is deleted.
python=$(command -v .venv/bin/python || command -v python3 || true)
if [ -n "$python" ]; then  # without any, no `make dev` can run
    mkdir -p data
    exec 9>>data/dev.lock
    "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null || {
        echo "Nothing was deleted: \`make dev\` runs here (process $(cat data/dev.lock)). Stop it with Ctrl-C first."
        exit 1
    }
fi

# A wrong setting must not delete more than Volant's own state.
here=$(cd "$state" 2>/dev/null && pwd -P) || here=none
for precious in "$(pwd -P)/data/raw" "${HOME:-/root}"; do
    case $precious/ in
    "${here%/}"/*)
        echo "Nothing was deleted: AI_STATE_DIR ($state) holds $precious. Set it to a folder of its own."
        exit 1
        ;;
    esac
done

printf 'Delete every prediction, model, account and secret of this Volant (in %s, %s, data and mlruns)? Type yes: ' \
    "$secrets" "$state"
read -r reply || reply=
if [ "$reply" != yes ]; then
    echo "Nothing was deleted."
    exit 1
fi
if docker info >/dev/null 2>&1; then
    "$@" down --volumes --remove-orphans
fi
rm -rf data/postgres data/logs data/mlflow.db data/mlflow-auth.db data/processes.json data/server.log mlruns/*
rm -rf "$state"
rm -f "$keys"/*.json
rmdir "$keys" 2>/dev/null || true
for name in $(sh scripts/secrets.sh --names); do
    rm -f "$secrets/$name"
done
rmdir "$secrets" 2>/dev/null || true # fails when there are other files in it
echo "Deleted. Backups, data sets and the packages in .venv are kept."
