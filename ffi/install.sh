#!/usr/bin/env bash
# Builds libtitans and installs it where compilers, pkg-config and CMake find it. `ffi/install.sh --help` says how.
set -euo pipefail

usage() {
    cat <<'TEXT'
ffi/install.sh --prefix DIR [option…]

Builds libtitans with cargo and installs below DIR: include/titans.h and titans.hpp (with titans/), lib/libtitans.a, the shared library with its
links, lib/pkgconfig/titans.pc and lib/cmake/titans (find_package(titans): titans::titans, titans::shared, titans::static).
DESTDIR=DIR in the environment goes before every path that is written, and into none of the files.

  --prefix DIR            where it will be used, e.g. /usr/local; the only option that must be given
  --libdir DIR            folder of libraries below the prefix: lib (usual), lib64, lib/aarch64-linux-gnu, …
  --static-only           no shared library
  --features LIST         exactly these features of the library, separated by commas, instead of all of them:
                            host     files, text sessions, threads (implies std)
                            std      panics are caught at the edge and become TITANS_ERROR_INTERNAL
                            avx2, avx512    x86-64: versions for these instructions, chosen at run time
                          Without std and host the library needs no operating system; --static-only is implied.
                          --features '' is such a library with portable code alone.
  --target TRIPLE         for another machine, as rustc names it (thumbv7em-none-eabihf, aarch64-unknown-linux-gnu, …)
  --profile NAME          cargo's profile: release, or firmware (small, panics abort) without std
  --target-dir DIR        where cargo builds: target in the source tree, or CARGO_TARGET_DIR
  --libraries DIR         builds nothing: takes libtitans.a and libtitans.so that cargo left in DIR
  --help                  this text

Programs: CARGO, and for the archive NM, LD, AS, OBJCOPY and AR (usual: those of the target, e.g. arm-none-eabi-ld). With LTO and
everything else done by cargo, these make one object of the archive in which only the functions of titans.h have names, hidden
ones: a plugin that links it exports nothing of it.
TEXT
}

die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

ffi=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$ffi")
prefix='' libdir=lib static_only='' features=default target='' profile='' libraries='' target_dir=${CARGO_TARGET_DIR:-$root/target}
while [ $# -gt 0 ]; do
    case "$1" in
    --help | -h) usage && exit 0 ;;
    --static-only) static_only=1 && shift && continue ;;
    --prefix | --libdir | --features | --target | --profile | --libraries | --target-dir) ;;
    --prefix=* | --libdir=* | --features=* | --target=* | --profile=* | --libraries=* | --target-dir=*)
        set -- "${1%%=*}" "${1#*=}" "${@:2}" ;;
    *) die "unknown argument: $1 (ffi/install.sh --help lists all)" ;;
    esac
    [ $# -ge 2 ] || die "$1 needs a value (ffi/install.sh --help)"
    case "$1" in
    --prefix) prefix=$2 ;;
    --libdir) libdir=$2 ;;
    --features) features=$2 ;;
    --target) target=$2 ;;
    --profile) profile=$2 ;;
    --libraries) libraries=$2 ;;
    --target-dir) target_dir=$2 ;;
    esac
    shift 2
done
[ -n "$prefix" ] || die "where to? Give --prefix DIR, e.g. --prefix /usr/local or --prefix \"\$HOME/.local\""
case "$prefix" in
/*) ;;
*) prefix=$PWD/$prefix ;;
esac
case "$libdir" in
/* | *..*) die "--libdir is a folder below the prefix, e.g. lib64; found $libdir" ;;
esac
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' "$root/Cargo.toml")
abi=$(sed -n 's/^#define TITANS_ABI_VERSION \([0-9]*\)$/\1/p' "$root/include/titans.h")
[ -n "$version" ] && [ -n "$abi" ] || die "no version in $root/Cargo.toml or no TITANS_ABI_VERSION in include/titans.h: is this a whole source tree?"

# Does the library stand on an operating system?
hosted=1
case ",$features," in
,default, | *,host,* | *,std,*) ;;
*) hosted='' static_only=1 ;;
esac
host=$("${RUSTC:-rustc}" -vV 2>/dev/null | sed -n 's/^host: //p') || true
[ -n "$host" ] || [ -n "$libraries" ] || die "rustc does not run; install Rust from https://rustup.rs, or give --libraries DIR"
case "${target:-$host}" in
*-none-* | *-none) [ -z "$hosted" ] || die "${target} has no operating system: give --features '' (or others than host and std)" ;;
esac
case "${target:-$host}" in
*apple* | *darwin*) shared=libtitans.dylib ;;
*windows*) die "Windows: not supported by this script yet; build with cargo build --release -p titans-ffi" ;;
*) shared=libtitans.so ;;
esac

# The binutils of the target: named by variables, else by the usual prefix, else the plain ones where it is this
# machine's kind.
tool() {
    local variable=$1 name=$2 prefixed=''
    [ -z "${!variable:-}" ] || { echo "${!variable}"; return; }
    case "$target" in
    '' | "${host%%-*}"-*) prefixed=$name ;;
    thumb* | arm*-none-*) prefixed=arm-none-eabi-$name ;;
    riscv*) prefixed=riscv64-unknown-elf-$name ;;
    *) prefixed=$(sed -E 's/-unknown-/-/' <<<"$target")-$name ;;
    esac
    command -v "$prefixed" >/dev/null || die "$prefixed is missing: install the binutils for ${target:-$host}, or name it in $variable"
    echo "$prefixed"
}

build() {
    local cargo=("${CARGO:-cargo}" rustc --locked --manifest-path "$ffi/Cargo.toml" --lib --target-dir "$target_dir")
    [ -n "$profile" ] || profile=$([ -n "$hosted" ] && echo release || echo firmware)
    cargo+=(--profile "$profile" --crate-type staticlib)
    [ -n "$static_only" ] || cargo+=(--crate-type cdylib)
    [ "$features" = default ] || cargo+=(--no-default-features --features "$features")
    [ -z "$target" ] || cargo+=(--target "$target")
    echo 'install.sh: building libtitans with cargo, which takes some minutes the first time' >&2
    "${cargo[@]}" || die "cargo failed; its message is above (rustup target add ${target:-$host} where it says that it has no core)"
    libraries=$target_dir/${target:+$target/}$([ "$profile" = dev ] && echo debug || echo "$profile")
}

# One object with what the functions of titans.h need; all other names are local, and those hidden.
seal() {
    local in=$1 out=$2 nm ld as objcopy ar kind emulation
    nm=$(tool NM nm) ld=$(tool LD ld) as=$(tool AS as) objcopy=$(tool OBJCOPY objcopy) ar=$(tool AR ar)
    "$nm" --defined-only -g "$in" 2>/dev/null | awk '$2 == "T" && $3 ~ /^titans_/ {print $3}' | sort -u >"$work/api"
    [ -s "$work/api" ] || die "$in holds no function titans_…: is it libtitans.a as cargo makes it?"
    case "$target" in
    riscv32imc-*) kind=(-march=rv32imc -mabi=ilp32) emulation=(-m elf32lriscv) ;;
    *) kind=() emulation=() ;;
    esac
    # With musl Rust brings an unwinder of its own, which the archive does not hold as cargo makes it.
    local unwinder=()
    case "${target:-$host}" in
    *-musl*)
        unwinder=("$("${RUSTC:-rustc}" --print sysroot)/lib/rustlib/${target:-$host}/lib/self-contained/libunwind.a")
        [ -z "$hosted" ] || [ -f "${unwinder[0]}" ] || die "no ${unwinder[0]}: rustup target add ${target:-$host}"
        [ -n "$hosted" ] || unwinder=()
        ;;
    esac
    # An undefined hidden symbol hides the defined one that it is linked with.
    { echo '.section .note.GNU-stack,"",%progbits' && echo '.section .titans.api,"",%progbits'; } >"$work/hide.s"
    sed 's/.*/.hidden &\n.long &/' "$work/api" >>"$work/hide.s"
    "$as" "${kind[@]}" -o "$work/hide.o" "$work/hide.s"
    "$objcopy" --remove-section='.*.attributes' "$work/hide.o" # of the assembler's usual processor
    { sed 's/^/-u /' "$work/api"; echo "${emulation[@]}" -r --gc-sections --force-group-allocation -o "$work/titans.o"; echo "$work/hide.o" "$in" "${unwinder[@]}"; } >"$work/link"
    "$ld" "@$work/link"
    local unwinding=() # nothing unwinds through a library that cannot panic
    [ -n "$hosted" ] || for name in .eh_frame .ARM.exidx .ARM.extab; do
        unwinding+=(--remove-section="$name*" --remove-section=".rel$name*" --remove-section=".rela$name*")
    done
    "$objcopy" --strip-debug "${unwinding[@]}" --remove-section=.titans.api --remove-section='.rel*.titans.api' --remove-section='.llvmbc' \
        --remove-section='.llvmcmd' --keep-global-symbols="$work/api" "$work/titans.o"
    rm -f "$out"
    "$ar" rcsD "$out" "$work/titans.o"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -n "$libraries" ] || build
[ -f "$libraries/libtitans.a" ] || die "no libtitans.a in $libraries"
[ -n "$static_only" ] || [ -f "$libraries/$shared" ] || die "no $shared in $libraries; give --static-only if that is meant"
private='' frameworks=''
# `rustc --print native-static-libs` for these systems, but for libgcc_s: compilers add their unwinder, the one that
# goes with -static too.
if [ -n "$hosted" ]; then
    case "${target:-$host}" in
    *-linux-musl*) private='-lc' ;;
    *-linux-*) private='-lutil -lrt -lpthread -lm -ldl -lc' ;;
    *apple* | *darwin*) private='-lSystem -lc -lm' ;;
    *) private='-lm -lpthread' ;;
    esac
fi

to=${DESTDIR:-}$prefix
lib=$to/$libdir
mkdir -p "$to/include/titans" "$lib/pkgconfig" "$lib/cmake/titans"
install -m 644 "$root/include/titans.h" "$root/include/titans.hpp" "$to/include/"
install -m 644 "$root/include/titans"/*.hpp "$to/include/titans/"
case "$shared" in
*.so) seal "$libraries/libtitans.a" "$work/libtitans.a" ;;
*) cp "$libraries/libtitans.a" "$work/" && echo "install.sh: names inside the archive are not hidden on this system" >&2 ;;
esac
install -m 644 "$work/libtitans.a" "$lib/"
if [ -z "$static_only" ]; then
    if [ "$shared" = libtitans.so ]; then
        file=libtitans.so.$abi.$version
        install -m 755 "$libraries/$shared" "$lib/$file"
        "$(tool STRIP strip)" --strip-unneeded "$lib/$file"
        ln -sf "$file" "$lib/libtitans.so.$abi"
        ln -sf "libtitans.so.$abi" "$lib/libtitans.so"
    else
        install -m 755 "$libraries/$shared" "$lib/"
    fi
else
    rm -f "$lib/$shared" # of an earlier installation: linkers would take it
fi
up=$(sed -E 's,[^/]+,..,g' <<<"$libdir")
# A library without the host's functions has a header without them.
defines=''
case ",$features," in
,default, | *,host,*) ;;
*) defines=TITANS_FREESTANDING ;;
esac
fill() {
    sed -e "s,@CFLAGS@,${defines:+ -D}$defines,g" -e "s,@DEFINES@,$defines,g" -e "s,@VERSION@,$version,g" -e "s,@LIBDIR@,$libdir,g" -e "s,@UP@,$up,g" -e "s,@SHARED@,$shared,g" \
        -e "s,@ABI@,$abi,g" -e "s,@PRIVATE@,$private,g" -e "s,@PRIVATE_LIST@,${private// /;},g" "$1"
}
fill "$ffi/package/titans.pc.in" >"$lib/pkgconfig/titans.pc"
fill "$ffi/package/titans-config.cmake.in" >"$lib/cmake/titans/titans-config.cmake"
fill "$ffi/package/titans-config-version.cmake.in" >"$lib/cmake/titans/titans-config-version.cmake"
chmod 644 "$lib/pkgconfig/titans.pc" "$lib/cmake/titans"/*.cmake
echo "install.sh: libtitans $version (ABI $abi${target:+, $target}) is in $to"
