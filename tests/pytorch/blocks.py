"""The whole model for one sequence, from the formulas of docs/MATH.md, section 6; float64."""

import torch

from .layers import rms, silu
from .letter import Letter
from .parameters import kinds, wiring
from .residual import Residual

WIRINGS = {"letter": Letter, "residual": Residual}


def forward(config, p, sequence, mode="learn"):
    """Outputs [T, outputs] of one sequence of ids or rows, and the surprises of every block (None without memory)."""
    rows = bool(config.get("inputs"))
    x = sequence @ p["embedding.weight"] + p["embedding.bias"] if rows else p["embedding.weight"][sequence]
    surprises = []
    for i, kind in enumerate(kinds(config)):
        b = f"blocks.{i}."
        mixer = WIRINGS[wiring(config)](config, kind, p, f"{b}mixer.", mode)
        x = mixer(x, rms(x, p[f"{b}norm.weight"]))
        n = rms(x, p[f"{b}feed_forward.norm.weight"])
        hidden = silu(n @ p[f"{b}feed_forward.gate.weight"]) * (n @ p[f"{b}feed_forward.up.weight"])
        x = x + hidden @ p[f"{b}feed_forward.down.weight"]
        surprises.append(torch.stack(mixer.surprise) if mixer.surprise else None)
    x = rms(x, p["norm.weight"])
    if config["head"] == "tokens" and config["tied"]:
        return x @ p["embedding.weight"].T, surprises
    y = x @ p["head.weight"]
    y = y + p["head.bias"] if config["head"] == "regression" else y
    return y + shortcut(config, p, sequence), surprises


def shortcut(config, p, sequence):
    """What is said of a row of numbers past all blocks; a fixed map has no gradient."""
    how = config.get("shortcut", "none")
    if how == "none":
        return 0.0
    weight = p["shortcut.weight"]
    return sequence @ {"learned": weight, "fixed": weight.detach()}[how]
