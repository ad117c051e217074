#!/bin/sh
# Prints the host names and addresses that callers may use for this machine, comma-separated: VOLANT_NAMES, VOLANT_BIND
# and, if that is 0.0.0.0, the machine's own host names and addresses.
set -eu
cd "$(dirname "$0")/.."
bind=$(sh scripts/setting.sh VOLANT_BIND)
names=$(sh scripts/setting.sh VOLANT_NAMES)
if [ "$bind" = 0.0.0.0 ]; then
    own=$(hostname -I 2>/dev/null || ifconfig 2>/dev/null | sed -n 's/.*inet \(addr:\)\{0,1\}\([0-9.]*\).*/\2/p' || true)
    names="$names $(uname -n) $(hostname -f 2>/dev/null || true) $own"
else
    names="$names $bind"
fi
printf '%s\n' "$names" | tr -s ', \n' '\n' | sed '/^$/d; /:/d' | sort -u | paste -s -d , -
