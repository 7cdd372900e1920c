#!/bin/sh
# Builds the image with docker, or with podman where docker has no daemon.
#   tools/image.sh NAME BASE   BASE: the image of Debian 12 that it stands on
# IMAGE_FLAGS: more words for `build`, such as --network=host
set -eu
cd "$(dirname "$0")/.."
name=$1
base=$2

if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
    engine=docker format=
elif command -v podman >/dev/null; then
    engine=podman format='--format docker' # the other format has no HEALTHCHECK
else
    echo "image.sh: docker with its daemon, or podman, is needed: apt-get install podman" >&2
    exit 1
fi
# shellcheck disable=SC2086
exec $engine build $format ${IMAGE_FLAGS:-} --build-arg BASE="$base" -t "$name" .
