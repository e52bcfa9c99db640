#!/bin/sh
# remove.sh USER FILE
set -eu

case $2 in
*/* | .* | "") echo "$2 is no name for a file here" >&2 && exit 64 ;;
esac
rm -f -- "$2"
