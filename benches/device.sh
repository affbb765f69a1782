#!/bin/sh
# What a machine with a GPU has to say about the CUDA device, within ten minutes: self-tests, compute-sanitizer, tables
# of speed beside their predictions, and other implementations where their Python packages are installed. docs/CUDA.md,
# "On a machine with a GPU".
#
#   benches/device.sh TITANS OUT [--quick]
#
# TITANS is a built command (cargo build --release --bin titans), OUT a folder for the results, made if it is not there;
# nothing is built here. --quick takes tiny sizes, to see that all of it runs. TITANS_DEVICE_SECONDS: what it may take
# (570); TITANS_DEVICE_GBS: the device's bandwidth in GB/s, where benches/device/summary.py does not know it.
#
# It ends with 0 when everything was done and passed, 1 when something failed or there was no time for it (summary.md
# says what), 2 for wrong usage, 3 where there is no GPU.
set -u

fail() {
    echo "device.sh: $2" >&2
    exit "$1"
}

quick=
case $# in
2) ;;
3) [ "$3" = --quick ] || fail 2 "expected --quick, found $3"; quick=yes ;;
*) fail 2 "expected benches/device.sh TITANS OUT [--quick]" ;;
esac
titans=$1 out=$2 here=$(cd "$(dirname "$0")" && pwd)
[ -f "$titans" ] && [ -x "$titans" ] || fail 2 "$titans is no program: cargo build --release --bin titans"
for tool in timeout python3; do
    command -v "$tool" >/dev/null 2>&1 || fail 2 "$tool is missing"
done
case $titans in /*) ;; *) titans=$PWD/$titans ;; esac
mkdir -p "$out" || fail 2 "$out cannot be made"
out=$(cd "$out" && pwd)
[ ! -e "$out/steps.tsv" ] || fail 2 "$out holds the results of another run"
end=$(($(date +%s) + ${TITANS_DEVICE_SECONDS:-570}))

# step NAME LIMIT COMMAND…: runs it for LIMIT seconds at most, and no longer than there is time. Its output goes to
# NAME.out, its messages to NAME.err, a line to steps.tsv: name, exit code (124: past its limit, -: not begun), seconds.
step() {
    name=$1 limit=$2
    shift 2
    from=$(date +%s)
    left=$((end - from))
    # Tiny sizes may run on anything, however slow.
    [ -z "$quick" ] && [ "$limit" -le "$left" ] || limit=$left
    if [ "$limit" -lt 2 ]; then
        printf '%s\t-\t0\n' "$name" >>"$out/steps.tsv"
        return 0
    fi
    timeout -k 5 "$limit" "$@" >"$out/$name.out" 2>"$out/$name.err" </dev/null
    code=$?
    printf '%s\t%s\t%s\n' "$name" "$code" "$(($(date +%s) - from))" >>"$out/steps.tsv"
    echo "device.sh: $name: ended with $code after $(($(date +%s) - from)) s" >&2
    return 0
}

# Is there a GPU? The first use also compiles the kernels, which are kept.
timeout 60 "$titans" devices --json >"$out/devices.json" 2>"$out/devices.err" </dev/null ||
    fail 2 "$titans devices --json does not answer: $(tail -n 1 "$out/devices.err")"
timeout 60 "$titans" bench memory --dim 8 --heads 1 --tokens 8 --seconds 0 --device cuda --json \
    >"$out/first.out" 2>"$out/first.err" </dev/null
code=$?
[ "$code" != 2 ] || fail 3 "no GPU can be used here: $(tail -n 1 "$out/first.err")"
[ "$code" = 0 ] || fail 1 "the device does not run a first memory (code $code): $(tail -n 1 "$out/first.err")"
"$titans" --version >"$out/version.txt" 2>/dev/null </dev/null

step selftest-small 90 "$titans" selftest --device cuda --json

# A row for each d, L, chunk and length, forward, and forward with backward. Its memories are as many (a power of two,
# 64 at most) as keep the largest array below 2^29 numbers; chunks of 1 are the exact form.
if [ "$quick" ]; then dims=8 lengths=32 seconds=0 most=2; else dims="64 128 256" lengths="2048 16384" seconds=0.3 most=64; fi
row() {
    if [ "$layers" = 1 ]; then weights=$((dim * dim)) piece=64; else weights=$((8 * dim * dim)) piece=$chunk; fi
    states=1
    [ -z "$grad" ] || states=$((tokens / piece + 1))
    numbers=$((tokens * dim))
    [ $numbers -ge $((states * 2 * weights)) ] || numbers=$((states * 2 * weights))
    memories=$most
    while [ $memories -gt 1 ] && [ $((memories * numbers)) -gt 536870912 ]; do memories=$((memories / 2)); done
    heads=8
    [ $memories -ge 8 ] || heads=$memories
    # shellcheck disable=SC2086 # no option, or one
    step "memory-d$dim-l$layers-c$chunk-t$tokens-m$memories${grad:+-grad}" 20 "$titans" bench memory --device cuda --json \
        --dim "$dim" --layers "$layers" --chunk "$chunk" --tokens "$tokens" --heads "$heads" \
        --batch $((memories / heads)) --seconds "$seconds" $grad
}
for tokens in $lengths; do
    for grad in "" --grad; do
        for dim in $dims; do
            layers=1
            for chunk in 1 64; do row; done
            layers=2
            for chunk in 16 64; do row; done
        done
    done
done

if [ "$quick" ]; then
    step train-s1-t8 30 "$titans" bench train --device cuda --json --seconds 0 --sequences 1 --context 8
else
    step train-s16-t256 30 "$titans" bench train --device cuda --json --seconds 3
    step train-s64-t256 30 "$titans" bench train --device cuda --json --seconds 3 --sequences 64
    step train-s16-t256-c64 30 "$titans" bench train --device cuda --json --seconds 3 --chunk 64
fi

step peers 90 python3 "$here/device/peers.py" ${quick:+--quick}

[ "$quick" ] || step selftest-real 150 "$titans" selftest --device cuda --sizes real --json

if command -v compute-sanitizer >/dev/null 2>&1; then
    for tool in memcheck racecheck; do
        step "sanitizer-$tool" 100 compute-sanitizer --tool "$tool" --error-exitcode 99 "$titans" selftest --device cuda
    done
else
    echo "device.sh: compute-sanitizer is not installed here" >&2
fi

python3 "$here/device/summary.py" "$out"
