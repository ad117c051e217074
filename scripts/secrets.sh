#!/bin/sh
# Creates the secrets of Volant that are missing, one file each: scripts/secrets.sh DIR (--names lists them)
# Only its owner may enter the folder (0700). The files are readable for all, as containers run as other users.
set -eu
dir=${1:?usage: scripts/secrets.sh DIR}
names="postgres_password postgres_owner_password postgres_app_password postgres_queue_password
    postgres_mlflow_password mlflow_admin_password mlflow_password mlflow_flask_key signing_key service_key
    version_signing_key approval_signing_key
    admin_password grafana_password kuma_password"
if [ "$dir" = --names ]; then
    printf '%s\n' $names demo_api_key
    exit
fi
mkdir -p "$dir"
chmod 700 "$dir"

random() { od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n'; }

# make NAME [PREFIX]: an existing file is kept; a new one is written under another name first, so it is never partial
make() {
    [ -s "$dir/$1" ] && return
    printf '%s%s\n' "${2:-}" "$(random)" >"$dir/.$1.$$"
    chmod 644 "$dir/.$1.$$"
    mv "$dir/.$1.$$" "$dir/$1"
}

for name in $names; do
    make "$name"
done
make demo_api_key vk_
