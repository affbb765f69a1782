"""Checks of this implementation itself: of its parts against others', of its gradients, of causality."""

import itertools
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import safe_open

from . import attention
from .blocks import forward
from .cases import materials
from .memory import Memory
from .training import AdamW, batch_loss, gradients, run

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
BLOCKS = GOLDEN.parent / "golden_blocks"


def relative(found, expected):
    """The largest difference, over the largest value expected (0 where both are all zeros)."""
    scale = expected.abs().max().item() if expected.numel() else 0.0
    difference = (found - expected).abs().max().item() if expected.numel() else 0.0
    return difference / scale if scale else difference


def expect(what, found, limit):
    """Says so, and fails beyond the limit (and for NaN)."""
    if not found <= limit:
        raise SystemExit(f"{what}: expected {limit:.1e} at most, found {found:.1e}")


# The parts.


def memory_as_golden(name, gradient):
    """The memory against a golden file that another program made; returns the largest relative error."""
    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as f:
        tensors = {k: f.get_tensor(k) for k in f.keys()}
        config = json.loads(f.metadata()["config"])
    layers = len(config["dims"]) - 1
    words = {
        "layers": layers,
        "chunk": config["chunk"],
        "activation": config["activation"],
        "network": config.get("network", "plain"),
        "loss": config.get("loss", config.get("scale")),
    }
    inputs = ["q", "k", "v", "alpha", "theta", "eta"]
    weights = [f"w0.{i}" for i in range(layers)] + (["gamma0"] if words["network"] == "residual" else [])
    x = {n: tensors[n].clone().requires_grad_() for n in inputs + weights}
    reads = {"y.pre": "before", "y.chunk_start": "chunk-start", "y.post": "after"}
    finals = ["gamma" if w == "gamma0" else w.replace("w0", "w") for w in weights]
    momenta = ["sgamma" if w == "gamma" else w.replace("w", "s") for w in finals]
    worst, product = 0.0, 0.0
    for b, h in itertools.product(range(config["B"]), range(config["H"])):
        for key, read in reads.items():
            memory = Memory(words, [x[w][h] for w in weights])
            tokens = [[x[n][b, h, t] for n in inputs] for t in range(config["T"])]
            y = torch.stack([memory.step(*token, read)[0] for token in tokens])
            worst = max(worst, relative(y.detach(), tensors[key][b, h]))
        # The memory and the answers of the last one, read after the write.
        results = {"y": y} | dict(zip(finals + momenta, memory.weights + memory.momentum))
        for name, found in results.items():
            if name != "y":
                worst = max(worst, relative(found.detach(), tensors[name][b, h]))
            if gradient:
                product = product + (found * tensors[f"cot.{name}"][b, h]).sum()
    if gradient:
        found = torch.autograd.grad(product, list(x.values()))
        worst = max([worst] + [relative(g, tensors[f"grad.{n}"]) for n, g in zip(x, found)])
    return worst


def attention_as_torch():
    """Attention without positions against PyTorch's own."""
    generator = torch.Generator().manual_seed(1)
    rand = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    q, (k, v), (pk, pv) = rand(9, 4, 6), (rand(9, 2, 6), rand(9, 2, 6)), (rand(3, 2, 6), rand(3, 2, 6))
    mask = attention.window_mask(9, 4)
    found = attention.attend(q, (k, v), (pk, pv), None, mask, torch.arange(9), None, False)
    keys, values = (torch.cat(x).repeat_interleave(2, 1).transpose(0, 1) for x in ((pk, k), (pv, v)))
    seen = torch.cat([torch.ones(9, 3, dtype=torch.bool), mask], 1)
    expected = F.scaled_dot_product_attention(q.transpose(0, 1), keys, values, attn_mask=seen).transpose(0, 1)
    return relative(found, expected)


def rotary_as_real():
    """The complex rotation against sines and cosines of each pair."""
    x = torch.randn(5, 2, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    positions, expected = torch.tensor([-4, 0, 3, 7, 1000]), torch.zeros_like(x)
    for i in range(3):
        angle = (positions * 10000.0 ** (-2 * i / 6))[:, None].to(torch.float64)
        a, b = x[..., i], x[..., i + 3]
        expected[..., i] = a * torch.cos(angle) - b * torch.sin(angle)
        expected[..., i + 3] = a * torch.sin(angle) + b * torch.cos(angle)
    return relative(attention.rotate(x, positions), expected)


def adamw_as_torch():
    """AdamW against PyTorch's, without a clip."""
    generator = torch.Generator().manual_seed(2)
    start = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    c = {"learning_rate": 0.02, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-6, "weight_decay": 0.3, "clip": float("inf")}
    theirs = start.clone().requires_grad_()
    groups = torch.optim.AdamW([theirs], lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3)
    p, ours = {"x": start}, AdamW({"x": start}, {"x"}, c)
    for _ in range(7):
        g = torch.randn(5, 3, generator=generator, dtype=torch.float64)
        theirs.grad = g.clone()
        groups.step()
        p, _ = ours.step(p, {"x": g})
    return relative(p["x"], theirs.detach())


def parts():
    files = {"linear_heads3_batch2_c16": True, "mlp2_full_c4": True, "residual2_d8_h1_T37_c4": False}
    for name, gradient in files.items():
        error = memory_as_golden(name, gradient)
        expect(f"golden {name}", error, 1e-12)
        print(f"golden {name}: {error:.1e}")
    expect("attention", attention_as_torch(), 1e-13)
    expect("rotary positions", rotary_as_real(), 1e-6)
    expect("AdamW", adamw_as_torch(), 1e-13)
    print("attention and AdamW as PyTorch's")


# A case.


def finite_differences(config, p, inputs, targets):
    """The gradient along random directions of all parameters at once, against central differences of fourth order.

    The largest error, over 1 + the value.
    """
    x, y = inputs[0], targets[0]
    _, _, _, g = gradients(config, p, x, y)
    generator = torch.Generator().manual_seed(3)
    worst, step = 0.0, 2e-6
    for _ in range(3):
        d = {n: torch.randn(v.shape, generator=generator, dtype=torch.float64) for n, v in p.items()}
        if config.get("shortcut") == "fixed":
            d["shortcut.weight"].zero_()
        at = lambda s: batch_loss(config, {n: v + s * step * d[n] for n, v in p.items()}, x, y)[0].item()
        found = (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * step)
        expected = sum((g[n] * d[n]).sum() for n in p).item()
        worst = max(worst, abs(found - expected) / (1 + abs(expected)))
    return worst


def causality(config, p, inputs):
    """Another token j changes the outputs from j on, and no bit before."""
    sequence = inputs[0, 0]
    outputs = {mode: forward(config, p, sequence, mode)[0].detach() for mode in ("learn", "frozen")}
    for j in range(len(sequence)):
        other = sequence.clone()
        other[j] = other[j] + 1 if other.is_floating_point() else (other[j] + 1) % config["vocabulary"]
        for mode, before in outputs.items():
            after = forward(config, p, other, mode)[0].detach()
            if not torch.equal(before[:j], after[:j]):
                raise SystemExit(f"causality: token {j} changes outputs before it ({mode})")
            if torch.equal(before[j], after[j]):
                raise SystemExit(f"causality: token {j} does not change its own output ({mode})")


def rounding(name):
    """How far a case's results move when every initial parameter moves by a unit in the last place: groups of tensors.

    The largest change from the golden file over the tensor's largest value. Two programs that round differently may
    differ by about as much.
    """
    config, p, inputs, targets = materials(name)
    with safe_open(BLOCKS / f"{name}.safetensors", "pt") as f:
        exact = {k: f.get_tensor(k) for k in f.keys()}
    generator, moved, groups = torch.Generator().manual_seed(4), {}, {}
    for n, value in p.items():
        up = torch.rand(value.shape, generator=generator, dtype=torch.float64) < 0.5
        moved[n] = torch.where(up, value * (1 + 2.0**-52), value * (1 - 2.0**-52))
    for n, value in run(config, moved, inputs, targets).items():
        group = n.split(".")[0]
        groups[group] = max(groups.get(group, 0.0), relative(value, exact[n]))
    groups.pop("init")
    return groups


def case(name):
    config, p, inputs, targets = materials(name)
    causality(config, p, inputs)
    error = finite_differences(config, p, inputs, targets)
    expect(f"{name}: gradients against differences", error, 1e-7)
    moved = ", ".join(f"{g} {e:.0e}" for g, e in sorted(rounding(name).items()))
    print(f"{name}: causal; gradients within {error:.0e}; rounding moves {moved}", flush=True)
