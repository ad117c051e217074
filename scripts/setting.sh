#!/bin/sh
# Prints a setting, from the environment, else from .env: scripts/setting.sh NAME
set -eu
cd "$(dirname "$0")/.."
eval "value=\${$1-}"
[ -n "$value" ] || value=$(sed -n "s/^$1=//p" .env)
printf '%s\n' "$value"
