#!/usr/bin/env bash
# How model.titans and device.bin were made: trains the model (half a minute on two cores), exports it, packs the
# device's rows. Another processor may round elsewhere in training and give another model of the same kind; what is
# shipped is what the tests run.
set -euo pipefail
cd "$(dirname "$0")"
titans=${TITANS:-../../target/release/titans}
work=${1:-$(mktemp -d)}
python3 series.py train >"$work/train.csv"
"$titans" train --task series --data "$work/train.csv" --out "$work/run" --block lmm --blocks 1 --width 16 --heads 1 --head-width 16 \
    --feed-forward 32 --compute-chunk 1 --context 128 --batch 16 --steps 600 --seed 1
"$titans" export "$work/run" --out model.titans
python3 series.py pack "$work/run/config.toml" >device.bin
# For c/budget.c, models of other widths and one of token ids; how well they do is no matter there.
"$titans" train --task recall --out "$work/run-symbols" --block lmm --blocks 1 --width 8 --heads 1 --head-width 8 --feed-forward 16 \
    --compute-chunk 1 --batch 4 --steps 8 --seed 1
"$titans" export "$work/run-symbols" --out symbols.titans
for width in 8 32; do
    "$titans" train --task series --data "$work/train.csv" --out "$work/run-$width" --block lmm --blocks 1 --width $width --heads 1 \
        --head-width $width --feed-forward $((2 * width)) --compute-chunk 1 --context 128 --batch 4 --steps 8 --seed 1
    "$titans" export "$work/run-$width" --out width-$width.titans
done
