#!/usr/bin/env bash
# Compiles a firmware for QEMU's mps2-an386 (Cortex-M4F) with an installed libtitans: build.sh PREFIX OUT.elf SOURCE…, where PREFIX is
# what `ffi/install.sh --target thumbv7em-none-eabihf --features ''` was given, and SOURCE e.g. main.c.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
prefix=$1 out=$2
shift 2
"${CC:-arm-none-eabi-gcc}" -std=c11 -Os -Wall -Wextra -Wpedantic -Wconversion -Werror -ffp-contract=off -ffunction-sections \
    -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 -ffreestanding -nostartfiles -DTITANS_FREESTANDING -I"$prefix/include" -Wa,-I"$here/.." \
    -T "$here/board.ld" -Wl,--gc-sections -Wl,--no-warn-rwx-segments -o "$out" \
    "${@/#/$here/}" "$here/board.c" "$here/data.S" -L"$prefix/lib" -ltitans -specs=nano.specs
