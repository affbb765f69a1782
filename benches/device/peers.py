#!/usr/bin/env python3
"""Times other implementations on the GPU and prints JSON: flash-linear-attention's gated delta rule (bf16, its chunked
kernels) and titans-pytorch's memory (f32), each where its package is installed. `--quick`: tiny sizes.

A peer that is not there is a row that says so, and no failure. What is the same and what is not, of titans-pytorch:
benches/peers/README.md. The gated delta rule has the decay and the rate of a linear memory of one layer, but no momentum.
"""

import importlib.metadata
import json
import statistics
import sys

QUICK = "--quick" in sys.argv[1:]
DIMS = (64,) if QUICK else (64, 128, 256)
LENGTHS = (64,) if QUICK else (2048, 16384)
BATCH, HEADS = (1, 2) if QUICK else (8, 8)


def version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "of unknown version"


def timed(torch, work, seconds=0.3):
    """The median seconds of a call, by the device's own clock."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    times = []
    while len(times) < 5 or (sum(times) < seconds and len(times) < 200):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        end.synchronize()
        times.append(1e-3 * begin.elapsed_time(end))
    return statistics.median(times)


def rows(torch, make):
    """`make(dim, tokens)` gives two functions: forward, and forward with backward."""
    out = []
    for tokens in LENGTHS:
        for dim in DIMS:
            row = {"dim": dim, "tokens": tokens, "memories": BATCH * HEADS}
            try:
                forward, both = make(dim, tokens)
                row |= {"forward_s": timed(torch, forward), "both_s": timed(torch, both)}
            except Exception as error:  # a size that it does not take, or no room for it
                row["reason"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
            torch.cuda.empty_cache()
            out.append(row)
    return out


def delta_rule(torch):
    from fla.ops.gated_delta_rule import chunk_gated_delta_rule

    def make(dim, tokens):
        new = lambda *shape: torch.randn(*shape, device="cuda", dtype=torch.bfloat16)  # noqa: E731
        k = torch.nn.functional.normalize(new(BATCH, tokens, HEADS, dim), dim=-1).requires_grad_()
        q, v = (new(BATCH, tokens, HEADS, dim).requires_grad_() for _ in range(2))
        decay = torch.nn.functional.logsigmoid(new(BATCH, tokens, HEADS).float() + 5).requires_grad_()
        rate = torch.sigmoid(new(BATCH, tokens, HEADS)).detach().requires_grad_()
        cotangent = new(BATCH, tokens, HEADS, dim)

        def forward():
            with torch.no_grad():
                return chunk_gated_delta_rule(q, k, v, decay, rate)[0]

        def both():
            chunk_gated_delta_rule(q, k, v, decay, rate)[0].backward(cotangent)

        return forward, both

    return make


def titans_pytorch(torch):
    from titans_pytorch import MemoryMLP, NeuralMemory

    def make(dim, tokens):
        model = MemoryMLP(dim, depth=1, expansion_factor=4.0)
        memory = NeuralMemory(dim, chunk_size=64, model=model, pre_rmsnorm=False, mem_model_norm_add_residual=False)
        for projection in ("to_queries", "to_keys", "to_values"):
            setattr(memory, projection, torch.nn.Identity())
        memory = memory.cuda()
        # A memory a sequence.
        x = (torch.randn(BATCH * HEADS, tokens, dim, device="cuda") / dim**0.5).requires_grad_()
        cotangent = torch.ones(BATCH * HEADS, tokens, dim, device="cuda")

        def forward():
            with torch.no_grad():
                return memory(x)[0]

        def both():
            memory(x)[0].backward(cotangent)

        return forward, both

    return make


PEERS = [
    ("flash-linear-attention, gated delta rule", "flash-linear-attention", "bf16", delta_rule),
    ("titans-pytorch, one layer, chunk 64", "titans-pytorch", "f32", titans_pytorch),
]


def main():
    try:
        import torch
    except ImportError:
        return [{"peer": name, "absent": "PyTorch is not installed"} for name, *_ in PEERS]
    if not torch.cuda.is_available():
        return [{"peer": name, "absent": "PyTorch finds no GPU"} for name, *_ in PEERS]
    out = []
    for name, package, dtype, open_peer in PEERS:
        try:
            make = open_peer(torch)
        except ImportError as error:
            out.append({"peer": name, "absent": f"{package} is not installed ({error})"})
            continue
        out.append({"peer": name, "version": version(package), "dtype": dtype, "rows": rows(torch, make)})
    return out


print(json.dumps(main(), indent=1))
