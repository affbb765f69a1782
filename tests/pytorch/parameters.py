"""Names and shapes of all parameters, in their order, and numbers for them at a general position."""

import numpy as np
import torch

from . import memory


def kinds(config):
    """The kind of every block."""
    block = config["block"]
    return [block] * config["blocks"] if isinstance(block, str) else list(block)


def wiring(config):
    """Files of before say nothing: they are to the letter."""
    return config.get("wiring", "letter")


def table(config):
    """A list of (name, shape, whether weight decay applies)."""
    c, w, f = config, config["width"], config["feed_forward"]
    if c.get("inputs"):
        out = [("embedding.weight", (c["inputs"], w), True), ("embedding.bias", (w,), False)]
    else:
        out = [("embedding.weight", (c["vocabulary"], w), False)]
    for i, kind in enumerate(kinds(config)):
        out.append((f"blocks.{i}.norm.weight", (w,), False))
        out += [(f"blocks.{i}.mixer.{n}", s, d) for n, s, d in mixer(config, kind)]
        out.append((f"blocks.{i}.feed_forward.norm.weight", (w,), False))
        for name, shape in [("up", (w, f)), ("gate", (w, f)), ("down", (f, w))]:
            out.append((f"blocks.{i}.feed_forward.{name}.weight", shape, True))
    out.append(("norm.weight", (w,), False))
    outputs = c["vocabulary"] if c["head"] == "tokens" else c["outputs"]
    if c["head"] != "tokens" or not c["tied"]:
        out.append(("head.weight", (w, outputs), True))
    if c["head"] == "regression":
        out.append(("head.bias", (outputs,), False))
    shortcut = c.get("shortcut", "none")
    if shortcut != "none":
        out.append(("shortcut.weight", (c["inputs"], outputs), shortcut == "learned"))
    return out


def mixer(config, kind):
    """The same for one mixer, without the prefix."""
    w, h, d = config["width"], config["heads"], config["head_width"]
    inner, a = h * d, config["attention"]
    kv = a["kv_heads"] * (inner // a["heads"])
    attends, remembers, residual = kind != "lmm", kind != "attention", wiring(config) == "residual"
    out = []
    if config["persistent"]:
        out.append(("persistent", (config["persistent"], w), False))
    if kind == "mac":
        out += projection(config, "context.q", w, inner)
        out += [("context.norm.weight", (d,), False), ("context.out.weight", (inner, w), True)]
    if kind == "mal":
        out.append(("attention.norm.weight", (w,), False))
    if attends:
        for name, outputs in [("q", inner), ("k", kv), ("v", kv)]:
            out += projection(config, f"attention.{name}", w, outputs, residual)
    if attends and residual:
        out.append(("attention.read.norm.weight", (inner // a["heads"],), False))
        if not (kind == "mag" and config["combine"] == "gated"):
            out.append(("attention.gate.weight", (w, inner), True))
        if kind == "mac":
            out += [("attention.out.weight", (inner, w), True), ("memory.norm.weight", (w,), False)]
    if remembers:
        seen = inner if kind == "mac" and not residual else w
        for name in "qkv":
            out += projection(config, name, seen, inner)
        gates = h * (config["memory"]["layers"] if config.get("layer_gates") else 1)
        out += [("gates.weight", (seen, 3 * gates), True), ("gates.bias", (3, gates), False)]
        size = sum(torch.Size(s).numel() for s in memory.shapes(config["memory"], d))
        out.append(("memory.w0", (h, size), False))
    if kind in ("lmm", "mal") or remembers and residual:
        out += [("norm.weight", (d,), False), ("gate.weight", (w, inner), True)]
    if kind == "mal":
        out.append(("memory.out.weight", (inner, w), True))
    if kind in ("mac", "mag") and not residual:
        out += [(f"combine.{n}.weight", (inner,), False) for n in ("attention", "memory")]
    return out + [("out.weight", (inner, w), True)]


def projection(config, name, inputs, outputs, conv=True):
    """A matrix and, where there are convolutions, its filters."""
    taps = config["conv_width"] if conv else 0
    out = [(f"{name}.weight", (inputs, outputs), True)]
    if taps:
        out += [(f"{name}.conv.weight", (outputs, taps), False), (f"{name}.conv.bias", (outputs,), False)]
    return out


def draw(config, seed):
    """Numbers for every parameter: nothing is zero, equal or symmetric, as it would be at the start of a training."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, shape, _ in table(config):
        x = rng.standard_normal(shape)
        if name.endswith("norm.weight") or ".combine." in name:
            x = 1.0 + 0.2 * x
        elif name.endswith("gates.bias"):
            x = np.array([[-2.5], [0.0], [-0.5]]) + 0.5 * x
        elif name.endswith("memory.w0"):
            x = draw_memories(config, x)
        elif name.endswith("conv.weight"):
            x = x / np.sqrt(shape[1])
        elif name.endswith("bias"):
            x = 0.5 * x
        elif name == "embedding.weight" or name.endswith("persistent"):
            x = 0.7 * x
        else:
            x = x / np.sqrt(shape[0])
            if name.endswith(("mixer.q.weight", "mixer.k.weight")):
                x = x * config.get("key_scale", 1.0)
        out[name] = torch.tensor(x, dtype=torch.float64)
    return out


def draw_memories(config, x):
    """Layers as matrices, gamma small."""
    at, x = 0, x.copy()
    for shape in memory.shapes(config["memory"], config["head_width"]):
        end = at + torch.Size(shape).numel()
        x[:, at:end] *= 1.0 / np.sqrt(shape[0]) if len(shape) == 2 else 0.2
        at = end
    return x
