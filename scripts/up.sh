#!/bin/sh
# Creates secrets, builds, starts, and waits until all are healthy: scripts/up.sh COMPOSE COMMAND … -- [SERVICE …]
set -eu
cd "$(dirname "$0")/.."
docker compose version >/dev/null 2>&1 || {
    echo "Docker with Compose v2 is needed (https://docs.docker.com/engine/install/). Without Docker: make dev" >&2
    exit 1
}
docker info >/dev/null 2>&1 || {
    echo "Docker is installed but its engine does not respond: start it, or join the group docker." >&2
    exit 1
}
sh scripts/packages/pin.sh --check
sh scripts/secrets.sh "$(sh scripts/setting.sh AI_SECRETS_DIR)"
sh scripts/backup/folder.sh "$(sh scripts/setting.sh VOLANT_BACKUPS_DIR)"

VOLANT_NAMES=$(sh scripts/names.sh)
export VOLANT_NAMES

compose=
while [ "$1" != -- ]; do
    compose="$compose $1"
    shift
done
shift
$compose build
$compose up --detach --wait "$@"
[ $# -eq 0 ] || exit 0
sh scripts/addresses.sh up
$compose exec -T ai-api python3 -c '
import json, urllib.request
missing = json.load(urllib.request.urlopen("http://127.0.0.1:8000/health/ready", timeout=5))["missing"]
if missing:
    print("  The trainer continues with a first version of " + ", ".join(missing) + ".\n")
'
