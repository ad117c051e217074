#!/bin/sh
# Deletes all state of Volant here after a yes: scripts/clean.sh COMPOSE COMMAND …
set -eu
cd "$(dirname "$0")/.."
printf 'Delete every prediction, model, account and secret of this Volant? Type yes: '
read -r answer || answer=
if [ "$answer" != yes ]; then
    echo "Nothing was deleted."
    exit 1
fi
if docker info >/dev/null 2>&1; then
    "$@" down --volumes --remove-orphans
fi
rm -rf data/postgres data/state data/logs data/mlflow.db data/mlflow-auth.db data/processes.json data/server.log mlruns/* secrets
echo "Deleted. Data sets under data/raw and the packages in .venv are kept."
