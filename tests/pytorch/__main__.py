"""python -m tests.pytorch check|write|compare|vectors [CASE ...]; see README.md beside this file."""

import argparse
import json
import sys

try:
    import torch
    from safetensors.numpy import load_file, save_file
except ImportError as missing:
    sys.exit(f"tests.pytorch: {missing.name} is not installed; see tests/pytorch/README.md")

from . import check, vectors
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
    """The file against this machine's numbers: the largest difference over the largest value of its tensor.

    Returns whether that is too large.
    """
    new, _ = tensors(name)
    old = load_file(FOLDER / f"{name}.safetensors")
    if sorted(new) != sorted(old):
        sys.exit(f"{name}: other tensors: {sorted(set(new) ^ set(old))}")
    worst = max((check.relative(torch.tensor(new[k] * 1.0), torch.tensor(old[k] * 1.0)), k) for k in new)
    print(f"{name}: {worst[0]:.1e} at {worst[1]}", flush=True)
    return not worst[0] <= 1e-9


def write_vectors():
    """The memory's own files, which are compared with what they hold where they are there already."""
    for name in vectors.CASES:
        out, metadata = vectors.tensors(name)
        path = vectors.FOLDER / f"{name}.safetensors"
        if path.exists():
            old = load_file(path)
            worst = max(check.relative(torch.tensor(out[k]), torch.tensor(old[k])) for k in out)
            print(f"{name}: off by {worst:.1e}", flush=True)
            if worst > 1e-12:
                sys.exit(f"{name}: expected 1e-12 at most")
            continue
        save_file(out, path, metadata)
        print(f"{name}: {path.stat().st_size} bytes", flush=True)


def main():
    parser = argparse.ArgumentParser(prog="python -m tests.pytorch", description=__doc__)
    parser.add_argument("verb", choices=["check", "write", "compare", "vectors"])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"all by default: {', '.join(CASES)}")
    args = parser.parse_args()
    unknown = [c for c in args.cases if c not in CASES]
    if unknown:
        parser.error(f"expected cases among {', '.join(CASES)}; found {', '.join(unknown)}")
    torch.set_num_threads(1)
    if args.verb == "check":
        check.parts()
    if args.verb == "vectors":
        return write_vectors()
    act = {"check": check.case, "write": write, "compare": compare}[args.verb]
    failed = [name for name in args.cases or CASES if act(name)]
    if failed:
        sys.exit(f"expected 1e-9 at most; more in {', '.join(failed)}")


main()
