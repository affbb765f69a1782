#!/usr/bin/env python3
"""Do two builds of the command give the same bits? A fixed set of commands on every instruction set that this machine has: the
raw memory and its gradients on the golden files in both forms, fifty steps of training and an evaluation of every block, with
matrices and deep, and a stream through each model, of which the answers and the saved state count.

    python3 docs/history/bits.py OLD/titans NEW/titans [--steps 50]

Prints a line for each instruction set: how many results are equal, and which are not; ends with 1 where some are not. A run's
options must be known to both builds. Needs Python 3.9; some minutes of one core.
"""

import argparse
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

GOLDEN = pathlib.Path(__file__).resolve().parents[2] / "tests/golden"
BLOCKS = ["lmm", "mac", "mag", "mal", "attention"]
TEXT = b"".join(b"%d bottles of beer, take %d down; " % (i, i % 7) for i in range(1500))


def say(titans, isa, *args, stdin=None, may_fail=False):
    env = {**os.environ, "TITANS_ISA": isa, "RAYON_NUM_THREADS": "1"}
    done = subprocess.run([titans, *map(str, args)], env=env, input=stdin, capture_output=True)
    if done.returncode and not may_fail:
        sys.exit(f"{titans} {' '.join(map(str, args))}: {done.stderr.decode()}")
    return done


def digest(data):
    return hashlib.sha256(data).hexdigest()[:16]


def memories(titans, isa, folder):
    """Of each golden file the outputs and gradients, where the command takes the file."""
    for path in sorted(GOLDEN.glob("*.safetensors")):
        for form in ["chunk", "token"]:
            out = folder / "out.safetensors"
            out.unlink(missing_ok=True)
            done = say(titans, isa, "memory", path, out, "--form", form, "--grad", may_fail=True)
            yield f"memory {path.stem} {form}", digest(out.read_bytes()) if out.exists() else f"refused {done.returncode}"


def models(titans, isa, folder, steps):
    text = folder / "text"
    text.write_bytes(TEXT)
    for block in BLOCKS:
        for layers in [1, 2] if block != "attention" else [1]:
            run = folder / f"{block}-{layers}"
            options = ["--layers", layers] if layers > 1 else []
            say(titans, isa, "train", "--task", "text", "--data", text, "--block", block, *options, "--blocks", 2, "--width", 32,
                "--batch", 2, "--context", 64, "--steps", steps, "--dropout", 0, "--threads", 1, "--seed", 0, "--out", run)
            losses = [json.loads(line).get("loss") for line in (run / "metrics.jsonl").read_text().splitlines()]
            yield f"train {block} {layers}", digest(json.dumps(losses).encode())
            said = say(titans, isa, "eval", run, "--checkpoint", "latest", "--window", 256, "--threads", 1, "--json").stdout
            yield f"eval {block} {layers}", digest(json.dumps(json.loads(said).get("nats_per_token")).encode())
            state = folder / f"{block}-{layers}.state"
            said = say(titans, isa, "stream", run, "--checkpoint", "latest", "--state", state, stdin=TEXT[:3000]).stdout
            yield f"stream {block} {layers}", digest(said + state.read_bytes())


def results(titans, isa, steps):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        return dict([*memories(titans, isa, folder), *models(titans, isa, folder, steps)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("--steps", type=int, default=50)
    args = parser.parse_args()
    wrong = False
    for isa in ["avx512", "avx2", "neon", "portable"]:
        there = [say(titans, isa, "devices", may_fail=True).returncode == 0 for titans in (args.old, args.new)]
        if not all(there):
            print(f"{isa}: not on this machine")
            continue
        old, new = (results(titans, isa, args.steps) for titans in (args.old, args.new))
        off = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        taken = sum(not value.startswith("refused") for value in new.values())
        print(f"{isa}: {len(new) - len(off)} of {len(new)} equal ({taken} with numbers)" + "".join(f"\n    {name}" for name in off))
        wrong |= bool(off)
    sys.exit(wrong)


if __name__ == "__main__":
    main()
