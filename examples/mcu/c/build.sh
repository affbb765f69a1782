#!/usr/bin/env bash
# Compiles a firmware with an installed libtitans: build.sh PREFIX OUT.elf SOURCE…, where SOURCE is e.g. main.c and
# PREFIX what `ffi/install.sh --target TARGET --features ''` was given. TARGET, a variable here, is
# thumbv7em-none-eabihf (Cortex-M4F), the default, thumbv6m-none-eabi (M0+), thumbv8m.main-none-eabihf (M33) or
# riscv32imc-unknown-none-elf.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
prefix=$1 out=$2
shift 2
arm=(board-arm.c) riscv=(board-riscv.c)
case "${TARGET:=thumbv7em-none-eabihf}" in
thumbv7em-none-eabihf) board=("${arm[@]}") machine=(-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16) script=mps2.ld ;;
thumbv6m-none-eabi) board=("${arm[@]}") machine=(-mcpu=cortex-m0plus -mthumb) script=mps2.ld ;;
thumbv8m.main-none-eabihf) board=("${arm[@]}") machine=(-mcpu=cortex-m33 -mthumb -mfloat-abi=hard -mfpu=fpv5-sp-d16) script=mps2-an505.ld ;;
riscv32imc-unknown-none-elf) board=("${riscv[@]}") machine=(-march=rv32imc -mabi=ilp32) script=virt.ld ;;
*) echo "build.sh: TARGET: expected one of the four above, found $TARGET" >&2 && exit 2 ;;
esac
case $TARGET in
riscv*) compiler=riscv64-unknown-elf-gcc library=(-nostdlib -lgcc) ;;
*) compiler=arm-none-eabi-gcc library=(-specs=nano.specs) ;;
esac
"${CC:-$compiler}" -std=c11 -Os -Wall -Wextra -Wpedantic -Wconversion -Werror -ffp-contract=off -ffunction-sections "${machine[@]}" \
    -ffreestanding -nostartfiles -DTITANS_FREESTANDING -I"$prefix/include" -Wa,-I"$here/.." -L"$here" -T "$here/$script" \
    -Wl,--gc-sections -Wl,--no-warn-rwx-segments -o "$out" \
    "${@/#/$here/}" "$here/board.c" "${board[@]/#/$here/}" "$here/data.S" -L"$prefix/lib" -ltitans "${library[@]}"
