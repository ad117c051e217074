#!/bin/sh
# The one reader of .env: scripts/setting.sh NAME prints a setting, from the environment (also an empty one), else from
# .env; scripts/setting.sh --defaults prints NAME=VALUE for all of .env. Values may stand in quotes; # begins a comment.
set -eu
cd "$(dirname "$0")/.."
# shellcheck disable=SC2016
plain='s/^\([A-Za-z_][A-Za-z_0-9]*\)=[[:space:]]*"\([^"]*\)".*/\1=\2/p;t
s/^\([A-Za-z_][A-Za-z_0-9]*\)=[[:space:]]*'\''\([^'\'']*\)'\''.*/\1=\2/p;t
s/^\([A-Za-z_][A-Za-z_0-9]*=.*\)[[:space:]]#.*/\1/;s/[[:space:]]*$//
s/^\([A-Za-z_][A-Za-z_0-9]*\)=[[:space:]]*/\1=/p'
if [ "$1" = --defaults ]; then
    sed -n "$plain" .env
elif eval "[ -n \"\${$1+set}\" ]"; then
    eval "printf '%s\n' \"\$$1\""
else
    sed -n "$plain" .env | sed -n "s/^$1=//p"
fi
