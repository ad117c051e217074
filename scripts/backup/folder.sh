#!/bin/sh
# Makes the folder of backups, closed to others: scripts/backup/folder.sh DIR
# In it lies a folder that is open, as data-api keeps the tombstones of erased people there under a user of its own.
set -eu
dir=${1:?usage: scripts/backup/folder.sh DIR}
[ -d "$dir" ] || { mkdir -p "$dir" && chmod 700 "$dir"; }
[ -d "$dir/tombstones" ] || { mkdir "$dir/tombstones" && chmod 777 "$dir/tombstones"; }
