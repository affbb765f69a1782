#!/usr/bin/env bash
# How model.titans and device.bin were made: trains the model (half a minute on two cores), exports it, packs the device's rows.
# Another processor may round elsewhere in training and give another model of the same kind; what is shipped is what the tests run.
set -euo pipefail
cd "$(dirname "$0")"
titans=${TITANS:-../../target/release/titans}
work=${1:-$(mktemp -d)}
python3 series.py train >"$work/train.csv"
"$titans" train --task series --data "$work/train.csv" --out "$work/run" --block lmm --blocks 1 --width 16 --heads 1 --head-width 16 \
    --feed-forward 32 --compute-chunk 1 --context 128 --batch 16 --steps 600 --seed 1
"$titans" export "$work/run" --out model.titans
python3 series.py pack "$work/run/config.toml" >device.bin
