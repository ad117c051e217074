#!/bin/sh
# Makes the folder of backups, which others may not enter: scripts/backup/folder.sh DIR
# The folder of tombstones in it is writable for all, because the container of data-api runs as another user.
set -eu
dir=${1:?usage: scripts/backup/folder.sh DIR}
[ -d "$dir" ] || { mkdir -p "$dir" && chmod 700 "$dir"; }
[ -d "$dir/tombstones" ] || { mkdir "$dir/tombstones" && chmod 777 "$dir/tombstones"; }
