#!/usr/bin/env python3
"""Does a memory hold? Streams of one byte, NULs, two letters by turns, blanks in runs and random bytes (text), and of constants,
steps, spikes and zeros (rows of numbers) through every block, linear and deep, at their defaults, untrained and after some steps;
then good text behind them, beside the same text from a fresh stream. All of it takes some hours; a case that is
done is kept in cases.jsonl and not run again.

    python3 docs/results/hold.py --titans target/release/titans --data input.txt --out runs/hold --tokens 1000000

Prints a table, writes hold.json. A folder belongs to one text and one version of the command. Needs Python 3.9.
"""

import argparse
import csv
import json
import math
import pathlib
import random
import re
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

BLOCKS = ["lmm", "mac", "mag", "mal"]
# Bytes of good text that a stream may take to find its way back, and those that are judged behind them.
AGAIN, JUDGED = 20_000, 20_000


def bytes_of(kind, n):
    dice = random.Random(7)
    if kind == "one byte":
        return b"e" * n
    if kind == "NULs":
        return bytes(n)
    if kind == "two letters":
        return b"ab" * (n // 2)
    if kind == "blanks in runs":
        out = bytearray()
        while len(out) < n:
            out += b" " * dice.randrange(1, 400) + b"x" * dice.randrange(1, 3)
        return bytes(out[:n])
    return dice.randbytes(n)


def rows_of(kind, n):
    dice = random.Random(7)
    for t in range(n):
        if kind == "constant":
            yield 3.0
        elif kind == "steps":
            yield float(t // 500 % 2)
        elif kind == "spikes":
            yield 100.0 if dice.random() < 0.002 else 0.0
        else:
            yield 0.0


TEXT = ["one byte", "NULs", "two letters", "blanks in runs", "random bytes"]
NUMBERS = ["constant", "steps", "spikes", "zeros"]


def titans(args, *words, stdin=None):
    return subprocess.run([args.titans, *map(str, words)], stdin=stdin, capture_output=True, text=True)


def train(args, name, words):
    run = args.out / name
    if not run.exists():
        done = titans(args, "train", "--out", run, "--threads", 1, *words)
        if done.returncode != 0:
            raise SystemExit(f"{name}: {done.stderr}")
    return run


def nats(args, run, state, text, out):
    """Nats a byte of the last JUDGED bytes of a text, read behind a state."""
    with open(text, "rb") as file:
        words = ["stream", run, "--per-token", out] + (["--state", state] if state else [])
        done = titans(args, *words, stdin=file)
    if done.returncode != 0:
        return math.nan, done.stderr.strip().splitlines()[-1]
    with open(out) as file:
        column = [float(row["log_probability"]) for row in csv.DictReader(file) if row["log_probability"]]
    out.unlink()
    last = column[-JUDGED:]
    return -sum(last) / len(last), ""


def text_case(args, run, name, kind, fresh):
    folder = args.out / "states"
    state, log = folder / f"{name} {kind}.state".replace(" ", "-"), folder / f"{name} {kind}.csv".replace(" ", "-")
    if state.exists():
        state.unlink()
    with open(args.out / f"{kind}.bin", "rb") as file:
        done = titans(args, "stream", run, "--state", state, stdin=file)
    if done.returncode != 0:
        return {"name": name, "input": kind, "finite": False, "why": done.stderr.strip().splitlines()[-1]}
    found, why = nats(args, run, state, args.out / "good.txt", log)
    state.unlink()
    return {"name": name, "input": kind, "finite": math.isfinite(found), "why": why, "bits_more": (found - fresh) / math.log(2)}


def numbers_case(args, run, name, kind):
    with open(args.out / f"{kind}.csv", "rb") as file:
        done = titans(args, "stream", run, stdin=file)
    finite = done.returncode == 0 and not re.search("nan|inf", done.stdout, re.IGNORECASE)
    return {"name": name, "input": kind, "finite": finite, "why": "" if finite else done.stderr.strip()[-300:]}


def key(case):
    """What tells one case from another."""
    return case["name"], case["input"], case["length"], case["blocks of a model"]


def once(args, known, lock, case, *words):
    """A case's result, from an earlier run of this program if there is one."""
    name, kind = words[-3:-1] if case is text_case else words[-2:]
    length = args.tokens if case is text_case else args.rows
    asked = {"name": name, "input": kind, "length": length, "blocks of a model": args.stack}
    if key(asked) not in known:
        found = asked | case(args, *words)
        with lock, open(args.out / "cases.jsonl", "a") as file:
            file.write(json.dumps(found) + "\n")
        known[key(asked)] = found
    return known[key(asked)]


def table(cases):
    """A row for each model and length."""
    print("| block | layers | trained | seed | tokens | texts held (of 5) | series held (of 4) | worst of the texts, bits a byte more |")
    print("|---|---|---|---|---|---|---|---|")
    for name, length in dict.fromkeys((case["name"], case["length"]) for case in cases):
        mine = [case for case in cases if (case["name"], case["length"]) == (name, length)]
        texts, series = ([c for c in mine if c["input"] in kinds] for kinds in (TEXT, NUMBERS))
        held = lambda some: sum(case["finite"] for case in some) if some else "not run"
        worst = max((case.get("bits_more", math.inf) for case in texts), default=math.nan)
        block, layers, trained = name.split(", ")
        print(f"| `{block}` | {layers.split()[0]} | {trained} | 0 | {length:,} | {held(texts)} | {held(series)} | {worst:+.3f} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--titans", default="target/release/titans")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="good text, uncompressed")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--steps", nargs="+", type=int, default=[1, 60], help="1: untrained, at a rate of nearly nothing")
    parser.add_argument("--blocks", nargs="+", default=BLOCKS)
    parser.add_argument("--layers", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--stack", type=int, default=1, help="blocks of a model")
    parser.add_argument("--only", choices=["text", "numbers"])
    args = parser.parse_args()
    (args.out / "states").mkdir(parents=True, exist_ok=True)
    good = args.data.read_bytes()
    (args.out / "good.txt").write_bytes(good[-AGAIN - JUDGED :])
    for kind in TEXT:
        (args.out / f"{kind}.bin").write_bytes(bytes_of(kind, args.tokens))
    for kind in NUMBERS:
        with open(args.out / f"{kind}.csv", "w") as file:
            file.write("x\n")
            file.writelines(f"{x}\n" for x in rows_of(kind, args.rows))
    with open(args.out / "series.csv", "w") as file:
        file.write("x\n")
        file.writelines(f"{math.sin(0.05 * t) + 0.3 * math.sin(0.31 * t)}\n" for t in range(20_000))

    cases, lock, log = [], threading.Lock(), args.out / "cases.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    known = {key(case): case for case in map(json.loads, lines)}
    with ThreadPoolExecutor(args.jobs) as pool:
        for block in args.blocks:
            for layers in args.layers:
                for steps in args.steps:
                    shape = ["--block", block, "--blocks", args.stack] + (["--layers", layers] if layers > 1 else [])
                    # One step at a rate of nearly nothing is no training.
                    length = ["--steps", steps] + (["--learning-rate", "1e-12"] if steps == 1 else [])
                    state = "untrained" if steps == 1 else f"{steps} steps"
                    name = f"{block}, {layers} layer{'s' if layers > 1 else ''}, {state}"
                    if args.only != "numbers":
                        run = train(args, f"text {name}".replace(" ", "-"), ["--task", "text", "--data", args.data, *shape, *length])
                        fresh, _ = nats(args, run, None, args.out / "good.txt", args.out / "fresh.csv")
                        cases += [pool.submit(once, args, known, lock, text_case, run, name, kind, fresh) for kind in TEXT]
                    if args.only != "text":
                        words = ["--task", "series", "--data", args.out / "series.csv", *shape, *length]
                        run = train(args, f"series {name}".replace(" ", "-"), words)
                        cases += [pool.submit(once, args, known, lock, numbers_case, run, name, kind) for kind in NUMBERS]
        found = [case.result() for case in cases]
    made = {"tokens": args.tokens, "rows": args.rows, "blocks of a model": args.stack, "cases": found}
    (args.out / "hold.json").write_text(json.dumps(made, indent=1))
    table(found)
    for case in found:
        if not case["finite"]:
            print(f"{case['name']}, {case['input']}: {case['why']}")


if __name__ == "__main__":
    main()
