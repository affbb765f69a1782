#!/usr/bin/env python3
"""Runs titans-pytorch, a dual form in plain PyTorch, and this project on the same work, by turns, and prints ratios.

Needs PyTorch and titans-pytorch (README.md beside this file) and the command: cargo build --release --bin titans.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

for library in ("OMP", "MKL", "OPENBLAS"):
    os.environ[f"{library}_NUM_THREADS"] = "1"
try:
    import torch
except ImportError:
    sys.exit("peers.py: PyTorch is not installed; see benches/peers/README.md")
import dual

try:
    from titans_pytorch import MemoryMLP, NeuralMemory
except ImportError:
    NeuralMemory = None
    print("peers.py: titans-pytorch is not installed; only the dual form is compared", file=sys.stderr)


@dataclass
class Row:
    dim: int
    layers: int = 1
    chunk: int = 64
    stream: bool = False
    grad: bool = False
    tokens: int = 1024

    @property
    def name(self):
        work = "one token at a time" if self.stream else f"chunk {self.chunk}"
        hidden = f", hidden {4 * self.dim}" if self.layers > 1 else ""
        return f"{'forward + backward, ' if self.grad else ''}{work}, d={self.dim}, L={self.layers}{hidden}"


ROWS = [
    *(Row(dim) for dim in (64, 128, 256, 512)),
    Row(256, layers=2),
    *(Row(dim, chunk=1, stream=True, tokens=128) for dim in (64, 256)),
    *(Row(256, layers=layers, grad=True, tokens=512) for layers in (1, 2)),
]


def ours(binary, row, network, tokens, seconds):
    """Tokens a second of the command, one head on one thread."""
    args = [binary, "bench", "memory", "--json", "--threads", "1", "--heads", "1", "--seconds", str(seconds)]
    args += ["--dim", str(row.dim), "--layers", str(row.layers), "--hidden", str(4 * row.dim), "--network", network]
    args += ["--chunk", str(row.chunk), "--compute-chunk", str(row.chunk), "--tokens", str(tokens)]
    args += ["--stream", "1"] if row.stream else []
    args += ["--grad"] if row.grad else []
    found = json.loads(subprocess.run(args, check=True, capture_output=True, text=True).stdout)
    return found["tokens_per_s"]["median"]


def peer(row, tokens):
    """titans-pytorch's memory alone: no projections, no norm before it; plain for one layer, its residual shape for two."""
    model = MemoryMLP(row.dim, depth=row.layers, expansion_factor=4.0)
    memory = NeuralMemory(
        row.dim, chunk_size=row.chunk, model=model, pre_rmsnorm=False, mem_model_norm_add_residual=row.layers > 1
    )
    for projection in ("to_queries", "to_keys", "to_values"):
        setattr(memory, projection, torch.nn.Identity())
    x = torch.randn(1, tokens, row.dim) / row.dim**0.5

    if row.stream:

        def work():
            state = None
            with torch.no_grad():
                for t in range(tokens):
                    y, state = memory(x[:, t : t + 1], state=state)
            return y

    elif row.grad:
        x.requires_grad_()

        def work():
            y, _ = memory(x)
            y.backward(torch.ones_like(y))
            return y

    else:

        def work():
            with torch.no_grad():
                return memory(x)[0]

    return work


def plain(row, tokens):
    """The dual form of dual.py."""
    widths = [row.dim, *[4 * row.dim] * (row.layers - 1), row.dim]
    k, v, q = (torch.randn(tokens, row.dim) / row.dim**0.5 for _ in range(3))
    v = (v + k) / 2  # as the command: something to learn, little forgotten, no denormal numbers
    gates = [level * (0.8 + 0.4 * torch.rand(tokens)) for level in (1e-4, 0.05, 0.5)]
    weights = [torch.randn(i, o) * 0.3 / i**0.5 for i, o in zip(widths, widths[1:])]
    numbers = list(zip(*(gate.tolist() for gate in gates)))

    def work():
        with torch.no_grad():
            if row.stream:
                return dual.stream(k, v, q, numbers, weights[0], torch.zeros_like(weights[0]))
            return dual.memory(k, v, q, *gates, weights, row.chunk)[0]

    def both_ways():
        y = dual.memory(k, v, q, *gates, weights, row.chunk)[0]
        y.backward(torch.ones_like(y))
        return y

    if row.grad:
        for x in (k, v, q, *gates, *weights):
            x.requires_grad_()
        return both_ways
    return work


def rate(work, tokens, seconds):
    """Tokens a second: the median call of about `seconds`."""
    times, begin = [], time.perf_counter()
    while not times or time.perf_counter() - begin < seconds:
        from_ = time.perf_counter()
        work()
        times.append(time.perf_counter() - from_)
    return tokens / statistics.median(times)


def measure(row, args):
    tokens = max(row.chunk, round(row.tokens * args.scale) // row.chunk * row.chunk)
    shapes = {"plain": "plain", "peer": "residual" if row.layers > 1 else "plain"}
    works = {"plain": plain(row, tokens)}
    if NeuralMemory is not None:
        works["peer"] = peer(row, tokens)
    for name, work in works.items():
        if not torch.isfinite(work()).all():
            print(f"{row.name}: {name}: its read-outs are not finite", file=sys.stderr)
    found = {name: {"ours": [], "theirs": [], "ratio": []} for name in works}
    for _ in range(args.rounds):
        for name, work in works.items():
            us = ours(args.titans, row, shapes[name], tokens, args.seconds)
            them = rate(work, tokens, args.seconds)
            for key, value in (("ours", us), ("theirs", them), ("ratio", us / them)):
                found[name][key].append(value)
    return {"row": row.name, "tokens": tokens, **{name: summary(f) for name, f in found.items()}}


def summary(found):
    return {key: {"median": statistics.median(x), "min": min(x), "max": max(x)} for key, x in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = Path(__file__).resolve().parents[2]
    parser.add_argument("--titans", default=str(root / "target/release/titans"), help="the command")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each row")
    parser.add_argument("--seconds", type=float, default=0.5, help="of each side in a turn, or one call if that takes longer")
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of tokens")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    if not Path(args.titans).exists():
        sys.exit(f"peers.py: {args.titans} is not there: cargo build --release --bin titans, or name it with --titans")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dual.check()
    rows = [row for row in ROWS if args.only in row.name]
    if not rows:
        sys.exit(f"peers.py: --only {args.only}: no such row; there are: " + "; ".join(row.name for row in ROWS))
    head = ("work", "titans-pytorch", "ours", "ratio (min to max)", "dual", "ours", "ratio (min to max)")
    line = "{:<52} {:>14} {:>12} {:>24} {:>12} {:>12} {:>24}"
    if not args.json:
        print(f"PyTorch {torch.__version__}, one thread, f32, tokens/s, medians of {args.rounds} turns")
        print(line.format(*head))
    results = []
    for row in rows:
        found = measure(row, args)
        results.append(found)
        cells = []
        for name in ("peer", "plain"):
            if name not in found:
                cells += ["-", "-", "-"]
                continue
            f, ratio = found[name], found[name]["ratio"]
            cells += [f"{f['theirs']['median']:.0f}", f"{f['ours']['median']:.0f}"]
            cells.append(f"{ratio['median']:.1f} ({ratio['min']:.1f} to {ratio['max']:.1f})")
        if not args.json:
            print(line.format(found["row"], *cells), flush=True)
    if args.json:
        print(json.dumps({"torch": torch.__version__, "rounds": args.rounds, "rows": results}, indent=2))


if __name__ == "__main__":
    main()
