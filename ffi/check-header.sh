#!/bin/sh
# Is include/titans.h what cbindgen makes of ffi/src? With --write, makes it so. Installs nothing.
set -eu
version=0.29.4
root=$(cd "$(dirname "$0")/.." && pwd)
if ! command -v cbindgen >/dev/null 2>&1 || [ "$(cbindgen --version)" != "cbindgen $version" ]; then
    echo "check-header: cbindgen $version is needed: cargo install cbindgen --version $version --locked" >&2
    exit 1
fi
fresh=$(mktemp)
trap 'rm -f "$fresh"' EXIT
cbindgen --quiet --config "$root/ffi/cbindgen.toml" --output "$fresh" "$root/ffi"
if [ "${1-}" = --write ]; then
    cp "$fresh" "$root/include/titans.h"
elif ! diff -u "$root/include/titans.h" "$fresh"; then
    echo "check-header: include/titans.h is not current: run ffi/check-header.sh --write and commit it" >&2
    exit 1
fi
