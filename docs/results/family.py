#!/usr/bin/env python3
"""Trains every block, and every line of the ablation, on a text for the same processor time and with the same number of
parameters, evaluates them, and writes a table, a record and a picture.

    python3 docs/results/family.py --titans target/release/titans --data input.txt --out runs/family --minutes 3 --seeds 0 1

A few steps of each model are timed first (processor time of one thread, the models in turn, the fastest of some rounds), and so many
steps are made as fit into --minutes: other work on the machine makes the runs longer and changes no result.

Runs that are there already are not run again. Needs Python 3.9; matplotlib for the picture, if it is there.
"""

import argparse
import csv
import json
import math
import os
import pathlib
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

BLOCKS = {
    "attention": ["--block", "attention", "--persistent", "4"],
    "lmm": ["--block", "lmm", "--persistent", "4"],
    "mac": ["--block", "mac"],
    "mag": ["--block", "mag"],
    "mal": ["--block", "mal"],
}
# The paper's Table 5, from a deep LMM on.
ABLATION = {
    "lmm, deep": ["--block", "lmm", "--persistent", "4", "--layers", "2", "--hidden", "64"],
    "deep, no convolution": ["--block", "lmm", "--persistent", "4", "--layers", "2", "--hidden", "64", "--conv-width", "0"],
    "deep, no momentum": ["--block", "lmm", "--persistent", "4", "--layers", "2", "--hidden", "64", "--no-momentum"],
    "deep, no forgetting": ["--block", "lmm", "--persistent", "4", "--layers", "2", "--hidden", "64", "--no-forgetting"],
    "deep, no persistent tokens": ["--block", "lmm", "--persistent", "0", "--layers", "2", "--hidden", "64"],
    "deep, gates by chunk": ["--block", "lmm", "--persistent", "4", "--layers", "2", "--hidden", "64", "--gates", "chunk"],
    "deep, 3 layers": ["--block", "lmm", "--persistent", "4", "--layers", "3", "--hidden", "64"],
    "mag, silu": ["--block", "mag", "--combine", "silu"],
    "mag, sigmoid": ["--block", "mag", "--combine", "sigmoid"],
}
BLOCK_COUNT, WIDTH, INNER, HEADS, HEAD, TAPS = 2, 128, 128, 2, 64, 4


def value(args, name, default):
    return int(args[args.index(name) + 1]) if name in args else default


def parameters(args, hidden):
    """Parameters of a model of these options with a feed-forward of that width, as `titans train --json` counts them."""
    kind = args[args.index("--block") + 1]
    layers, width = value(args, "--layers", 1), value(args, "--hidden", 128)
    taps, persistent = value(args, "--conv-width", TAPS), value(args, "--persistent", 4)
    conv = INNER * (taps + 1) if taps else 0
    sizes = [HEAD] + [width] * (layers - 1) + [HEAD]
    memory = HEADS * sum(a * b for a, b in zip(sizes, sizes[1:]))
    rows = INNER if kind == "mac" else WIDTH
    block = WIDTH + persistent * WIDTH + INNER * WIDTH + WIDTH + 3 * WIDTH * hidden
    if kind != "attention":
        block += 3 * (rows * INNER + conv) + (rows + 1) * 3 * HEADS + memory
    if kind != "lmm":
        block += 3 * WIDTH * INNER
    if kind in ("lmm", "mal"):
        block += HEAD + WIDTH * INNER
    if kind == "mal":
        block += WIDTH + INNER * WIDTH
    if kind in ("mac", "mag"):
        block += 2 * INNER
    if kind == "mac":
        block += WIDTH * INNER + conv + HEAD + INNER * WIDTH
    return 256 * WIDTH + BLOCK_COUNT * block + WIDTH


def feed_forward(args):
    """The width of the feed-forward that makes the model as large as the others, a multiple of 4."""
    wanted = parameters(["--block", "lmm", "--persistent", "0"], 256)
    return min(range(4, 2048, 4), key=lambda f: abs(parameters(args, f) - wanted))


def cpu_seconds(command):
    """Processor time of a command and its output, or none if it failed."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen([str(x) for x in command], stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        return child.returncode, usage.ru_utime + usage.ru_stime, out.read(), err.read()


def training(options, args, seed):
    """The command that trains a line of the table, without its steps and place."""
    train = [options.titans, "train", "--task", "text", "--data", options.data, "--threads", 1, "--seed", seed]
    train += ["--blocks", BLOCK_COUNT]
    return [*train, "--feed-forward", feed_forward(args), "--context", options.context, "--json", *args]


def seconds_of(train, steps):
    """Processor time of a run of so many steps."""
    with tempfile.TemporaryDirectory() as folder:
        code, seconds, _, error = cpu_seconds([*train, "--steps", steps, "--quiet", "--out", f"{folder}/run"])
        if code:
            raise RuntimeError(error.strip().splitlines()[-1])
        return seconds


def calibrate(options, lines):
    """Seconds a step of every line: what 10 steps more take, each run at its fastest of --rounds rounds, in each of which every
    line has its turn. (A neighbour on the same core makes a run slower, never faster.)"""
    path = options.out / "seconds.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    missing = [name for name in lines if name not in known]
    rounds = []
    for _ in range(options.rounds):
        rounds.append({name: [seconds_of(training(options, lines[name], 0), n) for n in (2, 12)] for name in missing})
    fastest = lambda name, i: min(r[name][i] for r in rounds)
    known |= {name: (fastest(name, 1) - fastest(name, 0)) / 10 for name in missing}
    path.write_text(json.dumps(known, indent=1))
    print(known, flush=True)
    return known


def run(job):
    options, name, args, seed, seconds_each = job
    out = options.out / f"{name.replace(', ', '-').replace(' ', '_')}-{seed}"
    record = out / "evaluation.json"
    if record.exists():
        return json.loads(record.read_text())
    steps = options.steps or max(10, round(60 * options.minutes / seconds_each))
    train = [*training(options, args, seed), "--out", out, "--steps", steps]
    print("+", " ".join(map(str, train)), flush=True)
    code, seconds, said, error = cpu_seconds(train)
    if code:
        return {"name": name, "seed": seed, "failed": error.strip().splitlines()[-1:]}
    trained = json.loads(said)
    assert trained["parameters"] == parameters(args, feed_forward(args)), trained
    result = {"name": name, "seed": seed, "feed_forward": feed_forward(args), "parameters": trained["parameters"]}
    result |= {"tokens": trained["tokens"], "steps": trained["steps"], "cpu_seconds": seconds}
    for mode in ["on", "frozen"]:
        tokens = out / f"tokens-{mode}.csv"
        evaluate = [options.titans, "eval", out, "--window", options.window, "--memory", mode, "--json", "--threads", 1]
        evaluate += ["--per-token", tokens]
        code, _, said, _ = cpu_seconds(evaluate)
        if code:
            result[mode] = None
            continue
        result[mode] = json.loads(said)["bits_per_byte"]
        result[f"by_position_{mode}"] = by_position(tokens, options.window)
        tokens.unlink()
    record.write_text(json.dumps(result, indent=1))
    return result


def by_position(path, window):
    """Bits a byte by the number of bytes that the model has seen in its window, in bins of powers of two."""
    sums, counts = {}, {}
    with open(path, newline="", encoding="utf8") as file:
        for row in csv.DictReader(file):
            seen = (int(row["position"]) - 1) % window + 1
            bin_ = 1 << (seen.bit_length() - 1)
            sums[bin_] = sums.get(bin_, 0.0) - float(row["log_probability"]) / math.log(2)
            counts[bin_] = counts.get(bin_, 0) + 1
    return {str(k): sums[k] / counts[k] for k in sorted(sums)}


def table(results):
    names = list(dict.fromkeys(r["name"] for r in results))
    lines = ["| model | parameters | tokens seen (M) | bits a byte, by seed | mean | memory frozen |", "|---|---|---|---|---|---|"]
    for name in names:
        rows = [r for r in results if r["name"] == name]
        good = [r for r in rows if r.get("on") is not None]
        if not good:
            lines.append(f"| {name} | | | failed: {rows[0].get('failed')} | | |")
            continue
        mean = lambda key: sum(r[key] for r in good) / len(good)
        seeds = " / ".join(f"{r['on']:.3f}" for r in good)
        frozen = f"{mean('frozen'):.3f}" if all(r.get("frozen") is not None for r in good) else "not finite"
        frozen = "–" if name == "attention" else frozen
        tokens = " / ".join(f"{r['tokens'] / 1e6:.1f}" for r in good)
        lines.append(f"| {name} | {good[0]['parameters']} | {tokens} | {seeds} | {mean('on'):.3f} | {frozen} |")
    return "\n".join(lines)


def positions(results):
    """Bits a byte of every model by the bytes that it has seen, means over the seeds."""
    found = {}
    for name in dict.fromkeys(r["name"] for r in results):
        rows = [r["by_position_on"] for r in results if r["name"] == name and "by_position_on" in r]
        if rows:
            found[name] = {int(k): sum(r[k] for r in rows) / len(rows) for k in rows[0]}
    return found


def table_of_positions(results):
    found = positions(results)
    bins = list(next(iter(found.values()), {}))
    lines = [f"| bytes seen | {' | '.join(f'{b} …' for b in bins)} |", "|---" * (len(bins) + 1) + "|"]
    lines += [f"| {name} | {' | '.join(f'{x[b]:.2f}' for b in bins)} |" for name, x in found.items()]
    return "\n".join(lines)


def picture(path, draw):
    """Saves what `draw` puts into a figure's axes, if matplotlib is there."""
    try:
        import matplotlib

        matplotlib.use("svg")
        import matplotlib.pyplot as plt
    except ImportError:
        print("no matplotlib: no picture")
        return
    figure, axes = plt.subplots(figsize=(7, 4.5))
    draw(axes)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def draw_positions(results, axes):
    for name, by_position in positions(results).items():
        axes.plot(list(by_position), list(by_position.values()), marker="o", label=name)
    axes.set(xscale="log", xlabel="bytes seen before", ylabel="bits a byte")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--titans", default="target/release/titans")
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=3, help="of processor time, each")
    parser.add_argument("--steps", type=int, help="so many steps each, instead of equal time")
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--window", type=int, default=1024)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ablation", action="store_true", help="the ablation's lines too")
    parser.add_argument("--only", nargs="+", help="these lines alone")
    parser.add_argument("--rounds", type=int, default=5, help="in which the steps are timed")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, each on one thread")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lines = BLOCKS | (ABLATION if options.ablation else {})
    lines = {name: args for name, args in lines.items() if not options.only or name in options.only}
    seconds = dict.fromkeys(lines) if options.steps else calibrate(options, lines)
    jobs = [(options, name, args, seed, seconds[name]) for seed in options.seeds for name, args in lines.items()]
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(run, jobs))
    (options.out / "results.json").write_text(json.dumps(results, indent=1))
    text = table(results) + "\n\n" + table_of_positions(results)
    (options.out / "table.md").write_text(text + "\n")
    picture(options.out / "by-position.svg", lambda axes: draw_positions(results, axes))
    print(text)


if __name__ == "__main__":
    main()
