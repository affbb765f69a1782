#!/usr/bin/env python3
"""Trains every block on the recall task, evaluates it on sequences up to 64 times as long and once on a stream of two million
tokens, and writes a table, a record and a picture.

    python3 docs/results/needles.py --titans target/release/titans --out runs/needles

Runs that are there already are not run again. Needs Python 3.9; matplotlib for the picture, if it is there.
"""

import argparse
import json
import pathlib
import subprocess
from concurrent.futures import ThreadPoolExecutor

from family import picture

KINDS = ["lmm", "mac", "mag", "mal", "attention"]
LENGTHS = [256, 512, 1024, 2048, 4096, 8192, 16384]
LONG = 2_097_152


def run(job):
    options, kind = job
    out = options.out / kind
    record = options.out / f"{kind}.json"
    if record.exists():
        return json.loads(record.read_text())
    train = [options.titans, "train", "--block", kind, "--blocks", options.blocks, "--seed", options.seed, "--threads", 1]
    train += ["--lengths", "256,512", "--steps", options.steps, "--json", "--quiet", "--out", out]
    trained = json.loads(titans(train))
    evaluate = [options.titans, "eval", out, "--threads", 1, "--json"]
    recall = json.loads(titans([*evaluate, "--lengths", ",".join(map(str, LENGTHS)), "--sequences", 8]))
    recall |= json.loads(titans([*evaluate, "--lengths", LONG, "--sequences", 1]))
    result = {"block": kind, "parameters": trained["parameters"], "seconds": trained["seconds"], "recall": recall}
    record.write_text(json.dumps(result, indent=1))
    return result


def titans(command):
    print("+", " ".join(map(str, command)), flush=True)
    return subprocess.run([str(x) for x in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def table(results):
    lengths = [*map(str, LENGTHS), str(LONG)]
    lines = [f"| block | {' | '.join(lengths)} |", "|---" * (len(lengths) + 1) + "|"]
    for result in results:
        cells = [f"{100 * result['recall'][n]['on']:.1f}" for n in lengths]
        lines.append(f"| `{result['block']}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def draw(results, axes):
    for result in results:
        points = sorted((int(n), 100 * x["on"]) for n, x in result["recall"].items())
        axes.plot(*zip(*points), marker="o", label=result["block"])
    axes.axvspan(24, 256, color="0.9", label="length in training")
    axes.axhline(100 / 32, color="0.6", linestyle=":", label="chance")
    axes.set(xscale="log", xlabel="tokens", ylabel="recall of 16 pairs, %", ylim=(0, 102))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--titans", default="target/release/titans")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--jobs", type=int, default=1, help="runs at once, each on one thread")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(run, [(options, kind) for kind in options.only]))
    text = table(results)
    (options.out / "table.md").write_text(text + "\n")
    (options.out / "results.json").write_text(json.dumps(results, indent=1))
    picture(options.out / "needles.svg", lambda axes: draw(results, axes))
    print(text)


if __name__ == "__main__":
    main()
