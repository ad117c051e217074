#!/bin/sh
# Writes docker-compose.digests.yml: the digest of every public image of the compose file and of the Dockerfiles, as the
# registry names them now. `make up` uses it while it is there: scripts/packages/pin.sh
# With --check it only says whether the file fits the tags of this release.
set -eu
cd "$(dirname "$0")/../.."
file=docker-compose.digests.yml
[ "${1:-}" != --check ] || [ -f "$file" ] || exit 0
images=$(sed -n 's/^    image: \([^$ ]*\).*/\1/p' docker-compose.yml)
python=$(sed -n 's/^ARG PYTHON=//p' ai-api/Dockerfile)

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

if [ "${1:-}" = --check ]; then
    wanted=$(printf '%s\n' $images "python:$python" | sort -u)
    pinned=$(sed -n 's/^# \(.*\)@sha256:.*/\1/p' "$file" | sort -u)
    [ "$pinned" = "$wanted" ] || fail "$file is of other images than this release: make pin writes it anew."
    exit 0
fi

docker buildx version >/dev/null 2>&1 || fail "Docker with buildx is needed to ask a registry for digests."

# The digest of the image under that tag, for all platforms together.
digest() {
    found=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$1" 2>/dev/null) || found=
    case $found in
    sha256:*) printf '%s\n' "$found" ;;
    *) fail "No registry gave the digest of $1. Nothing was written." ;;
    esac
}

new=$(mktemp)
trap 'rm -f "$new"' EXIT
trap 'exit 130' INT TERM HUP
{
    echo "# Made by \`make pin\`: the images of the compose file by digest. Delete it to use their tags again."
    for image in $images "python:$python"; do
        found=$(digest "$image")
        echo "# $image@$found"
    done
} >"$new"
of() { sed -n "s|^# $1@||p" "$new"; }
{
    echo "services:"
    awk '/^services:/ {on = 1} /^[a-z]/ && !/^services:/ {on = 0} !on {next}
        /^  [a-z-]+:$/ {name = $1} /^    image: [^$]/ {print name, $2} /^    <<: \*(ai|data)$/ {print name, "build"}' \
        docker-compose.yml | while read -r service image; do
        if [ "$image" = build ]; then
            printf '  %s {build: {args: {PYTHON: "%s@%s"}}}\n' "$service" "$python" "$(of "python:$python")"
        else
            printf '  %s {image: "%s@%s"}\n' "$service" "$image" "$(of "$image")"
        fi
    done
} >>"$new"
cat "$new" >"$file"
echo "$file is written; \`make up\` uses it."
