"""Vectors of one linear memory in `tests/golden`, longer than two pieces of 64: token by token, gradients by autograd.

`linear_settles` has momentum up to 1/2, which fades within a piece; `linear_lasts` up to 0.97, which does not.
"""

import json
from pathlib import Path

import torch

from .memory import Memory

FOLDER = Path(__file__).parent.parent / "golden"
CASES = {"linear_settles_T150_c1": (0.5, 0.2), "linear_lasts_T150_c1": (0.97, 0.02)}
TOKENS, WIDTHS = 150, (9, 7)
WORDS = {"layers": 1, "hidden": 0, "chunk": 1, "activation": "silu", "network": "plain", "loss": "half"}


def draws(seed, eta_max, theta_max):
    """Keys of norm 1, as models have them; gates uniform below their bounds."""
    generator = torch.Generator().manual_seed(seed)
    normal = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64)
    gate = lambda most: most * torch.rand(TOKENS, generator=generator, dtype=torch.float64)
    (d_k, d_v), unit = WIDTHS, lambda x: x / x.norm(dim=-1, keepdim=True)
    return {
        "k": unit(normal(TOKENS, d_k)),
        "v": normal(TOKENS, d_v),
        "q": unit(normal(TOKENS, d_k)),
        "alpha": gate(0.1),
        "theta": gate(theta_max),
        "eta": eta_max * (1.0 - gate(0.2)),
        "w0.0": 0.3 * normal(d_k, d_v),
        "s0.0": 0.1 * normal(d_k, d_v),
    }, {"cot.y": normal(TOKENS, d_v), "cot.w.0": normal(d_k, d_v), "cot.s.0": normal(d_k, d_v)}


def tensors(name):
    """All tensors of a file, and its metadata."""
    seed = 2000 + list(CASES).index(name)
    x, cot = draws(seed, *CASES[name])
    x = {n: t.requires_grad_() for n, t in x.items()}
    memory = Memory(WORDS, [x["w0.0"]], [x["s0.0"]])
    post, pre, surprise = [], [], []
    for t in range(TOKENS):
        pre.append(memory.recall(x["q"][t]))
        surprise.append(memory.write(*(x[n][t] for n in ("k", "v", "alpha", "theta", "eta"))))
        post.append(memory.recall(x["q"][t]))
    out = {"y.post": torch.stack(post), "y.pre": torch.stack(pre), "surprise": torch.stack(surprise)}
    # Read by the weights of the chunk's start, which at chunks of one token are those before the write.
    out["y.chunk_start"] = out["y.pre"].clone()
    out |= {"w.0": memory.weights[0], "s.0": memory.momentum[0]}
    loss = sum((out[n] * cot[c]).sum() for n, c in (("y.post", "cot.y"), ("w.0", "cot.w.0"), ("s.0", "cot.s.0")))
    gradients = torch.autograd.grad(loss, list(x.values()))
    all_ = x | cot | out | {f"grad.{n}": g for n, g in zip(x, gradients)}
    # [batch, heads, …], first weights [heads, …].
    lead = lambda n: (1,) if n.removeprefix("grad.") in ("w0.0", "s0.0") else (1, 1)
    all_ = {n: t.detach().reshape(lead(n) + t.shape).contiguous().numpy() for n, t in all_.items()}
    config = {
        "name": name, "dims": list(WIDTHS), "chunk": 1, "T": TOKENS, "B": 1, "H": 1, "activation": "silu",
        "scale": "half", "momentum": True, "decay": True, "s0": True, "eta_max": CASES[name][0], "theta_max": CASES[name][1], "seed": seed,
    }
    return all_, {"config": json.dumps(config), "convention": "row vectors, dtype float64"}
