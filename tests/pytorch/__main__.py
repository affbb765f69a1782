"""python -m tests.pytorch check|write|compare [CASE ...]; see README.md beside this file."""

import argparse
import json
import sys

try:
    import torch
    from safetensors.numpy import load_file, save_file
except ImportError as missing:
    sys.exit(f"tests.pytorch: {missing.name} is not installed; see tests/pytorch/README.md")

from . import check
from .cases import CASES, materials
from .parameters import table
from .training import CONSTANTS, run

FOLDER = check.BLOCKS


def tensors(name):
    """All tensors of a case's file, and its metadata."""
    config, p, inputs, targets = materials(name)
    out = {n: t.numpy() for n, t in run(config, p, inputs, targets).items()}
    for key, values in [("inputs", inputs), ("targets", targets)]:
        out[key] = values.numpy() if values.is_floating_point() else values.numpy().astype("uint32")
    training = CONSTANTS | {"decay": [n for n, _, decay in table(config) if decay]}
    order = [n for n, _, _ in table(config)]
    return out, {"case": json.dumps({"name": name, "config": config, "training": training, "parameters": order})}


def write(name):
    out, metadata = tensors(name)
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.safetensors"
    save_file(out, path, metadata)
    losses = out["losses"]
    print(f"{name}: {path.stat().st_size} bytes, loss {losses[0]:.4f} to {losses[-1]:.4f}", flush=True)


def compare(name):
    """The file against this machine's numbers: the largest difference over the largest value of its tensor."""
    new, _ = tensors(name)
    old = load_file(FOLDER / f"{name}.safetensors")
    if sorted(new) != sorted(old):
        sys.exit(f"{name}: other tensors: {sorted(set(new) ^ set(old))}")
    worst = max((check.relative(torch.tensor(new[k] * 1.0), torch.tensor(old[k] * 1.0)), k) for k in new)
    print(f"{name}: {worst[0]:.1e} at {worst[1]}", flush=True)
    if worst[0] > 1e-9:
        sys.exit(f"{name}: expected 1e-9 at most")


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.pytorch", description=__doc__)
    parser.add_argument("verb", choices=["check", "write", "compare"])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"all by default: {', '.join(CASES)}")
    args = parser.parse_args()
    unknown = [c for c in args.cases if c not in CASES]
    if unknown:
        parser.error(f"expected cases among {', '.join(CASES)}; found {', '.join(unknown)}")
    torch.set_num_threads(1)
    if args.verb == "check":
        check.parts()
    act = {"check": check.case, "write": write, "compare": compare}[args.verb]
    for name in args.cases or CASES:
        act(name)


main()
