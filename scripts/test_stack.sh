#!/bin/sh
# Starts the composed stack beside a running one, runs the tests marked `composed` against it, takes it down.
# VOLANT_DOCKER_HOST names a program that starts an engine (`up`), makes the public images (`images`) and prints
# which services can run with them (`services`), for machines without Docker or without a registry.
set -eu
cd "$(dirname "$0")/.."
export COMPOSE_PROJECT_NAME=volant-test VOLANT_BIND=127.0.0.1 AI_TRAIN_SHARE="${AI_TRAIN_SHARE_TEST:-0.15}"
AI_TASKS=$(.venv/bin/python -c 'from tests.stack import SMALL_TASKS; print(SMALL_TASKS)')
export AI_TASKS
export AI_PORT=18000 DATA_PORT=18001 MLFLOW_PORT=15000 PROMETHEUS_PORT=19090 GRAFANA_PORT=13000 KUMA_PORT=13001
folder=$(mktemp -d)
export AI_SECRETS_DIR="$folder/secrets" VOLANT_BACKUPS_DIR="$folder/backups"
mirror=$(sh scripts/setting.sh AI_DATA_MIRROR)
export COMPOSE_FILE="docker-compose.yml${mirror:+:docker-compose.mirror.yml}"

services=
if [ -n "${VOLANT_DOCKER_HOST:-}" ]; then
    "$VOLANT_DOCKER_HOST" up
    "$VOLANT_DOCKER_HOST" images
    services=$("$VOLANT_DOCKER_HOST" services)
fi
sh scripts/secrets.sh "$AI_SECRETS_DIR"
sh scripts/backup/folder.sh "$VOLANT_BACKUPS_DIR"

finish() {
    status=$?
    [ $status -eq 0 ] || docker compose logs --no-color --tail 60 || true
    docker compose down --volumes --remove-orphans --timeout 10 || true
    rm -rf "$folder"
    exit $status
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

docker compose build
# shellcheck disable=SC2086
docker compose up --detach --wait $services
.venv/bin/python -m pytest -m composed tests/e2e "$@"
