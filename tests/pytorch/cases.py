"""The configurations that have golden files, and what each trains on."""

import copy

import numpy as np
import torch

from .parameters import draw, kinds
from .training import IGNORE

STEPS, BATCH = 10, 2

BASE = {
    "vocabulary": 7,
    "width": 6,
    "blocks": 2,
    "heads": 2,
    "head_width": 4,
    "feed_forward": 5,
    "tied": True,
    "conv_width": 3,
    "theta_max": 0.15,
    "memory": {
        "layers": 1,
        "hidden": 3,
        "chunk": 2,
        "activation": "silu",
        "network": "plain",
        "loss": "sum",
        "read": "after",
    },
    "block": "lmm",
    "persistent": 2,
    "forgetting": True,
    "momentum": True,
    "gates": "token",
    "combine": "product",
    "attention": {"heads": 2, "kv_heads": 2, "window": 5, "segment": 6, "rotary": True, "read": "after"},
    "head": "tokens",
}

# What BASE says nothing of has the meaning that it had before these words were there: to the letter, momentum up to 1.
# Pieces of 4 tokens divide no sequence; in MAC's segments of 6 they are of 2.
RESIDUAL = BASE | {
    "wiring": "residual",
    "combine": "gates",
    "theta_max": 1.0,
    "eta_max": 0.5,
    "layer_gates": False,
    "key_scale": 1.0,
    "shortcut": "none",
    "memory": BASE["memory"] | {"chunk": 1, "compute_chunk": 4, "loss": "half"},
    "attention": BASE["attention"] | {"feed": "split"},
}
# Deep memories in short chunks, every layer with gates of its own.
DEEP = {"layers": 2, "chunk": 2, "compute_chunk": 0}

ROWS = {"inputs": 3, "outputs": 4}


def case(block, tokens=13, memory=None, attention=None, base=BASE, **other):
    """`base` with changes, and the length of its sequences."""
    config = copy.deepcopy(base)
    config["block"] = block
    config["memory"] |= memory or {}
    config["attention"] |= attention or {}
    config |= other
    config["blocks"] = len(kinds(config))
    return config, tokens


def residual(*arguments, **other):
    """The same of the residual wiring."""
    return case(*arguments, base=RESIDUAL, **other)


CASES = {
    # Every kind with the defaults above; the segment of 6 does not divide the length.
    "lmm": case("lmm", tokens=17),
    "mac": case("mac", tokens=17),
    "mag": case("mag", tokens=17),
    "mal": case("mal", tokens=17),
    "attention": case("attention", tokens=23),
    "hybrid": case(["attention", "mac", "lmm"], conv_width=4),
    # Persistent rows: none, and three, which no chunk divides.
    "persistent_0": case(["mac", "mal"], persistent=0),
    "persistent_0_mag": case(["mag"], persistent=0),
    "persistent_0_attention": case(["attention"], persistent=0),
    "persistent_3": case(["mal"], persistent=3),
    # What the memory layer is made of.
    "conv_0": case(["mac"], conv_width=0),
    "no_momentum": case(["mac"], momentum=False),
    "no_forgetting": case(["mal"], forgetting=False),
    "delta_rule_only": case(["lmm"], forgetting=False, momentum=False),
    "gates_by_chunk": case(["mac"], gates="chunk", persistent=3, memory={"chunk": 4}, attention={"segment": 8}),
    "gates_by_chunk_mal": case(["mal"], gates="chunk", persistent=3, memory={"chunk": 4}),
    "chunk_1": case(["mac"], memory={"chunk": 1}, attention={"segment": 5}),
    "chunk_4": case(["mac"], memory={"chunk": 4}, attention={"segment": 4}, tokens=19),
    "chunk_longer_than_all": case(["mac"], memory={"chunk": 32}, attention={"segment": 32}),
    "read_before": case(["lmm", "mal"], memory={"read": "before"}, tokens=11),
    "read_chunk_start": case(["mag"], memory={"read": "chunk-start", "chunk": 3}),
    "depth_2_residual": case(["mac", "lmm"], memory={"layers": 2, "network": "residual"}, theta_max=0.05, tokens=11),
    "depth_2_plain": case(["mac"], memory={"layers": 2, "network": "plain"}),
    "depth_3_gelu_mean": case(["mag"], memory={"layers": 3, "activation": "gelu", "loss": "mean"}),
    # The gate between attention and memory.
    "combine_silu": case(["mag"], combine="silu"),
    "combine_sigmoid": case(["mac"], combine="sigmoid"),
    "combine_sum": case(["mag"], combine="sum"),
    # Attention.
    "mac_reads_segment": case(["mac"], attention={"read": "segment"}),
    "kv_heads": case(["mac"], attention={"heads": 4, "kv_heads": 2}),
    "kv_heads_1": case(["attention"], attention={"kv_heads": 1}),
    "rotary_off": case(["attention"], attention={"rotary": False}),
    "window_1": case(["mal"], attention={"window": 1}, tokens=11),
    "window_longer_than_all": case(["attention"], attention={"window": 40}),
    # Ends.
    "untied": case(["lmm"], tied=False),
    "regression": case(["mac"], head="regression", tied=False, **ROWS),
    "classes": case(["mal"], head="classes", tied=False, **ROWS),
    # The default wiring. Every kind, with every token's own gradient.
    "residual_lmm": residual("lmm", tokens=17),
    "residual_attention": residual("attention", tokens=23, attention={"kv_heads": 1}),
    "residual_mag": residual("mag", tokens=17),
    "residual_mag_gated": residual("mag", combine="gated"),
    "residual_mal": residual("mal", tokens=17),
    "residual_mac": residual("mac", tokens=17),
    "residual_mac_tokens": residual(["mac"], attention={"feed": "tokens"}, tokens=17),
    "residual_mac_output": residual(["mac"], attention={"feed": "output"}, theta_max=0.5, tokens=17),
    "residual_mac_reads_segment": residual(["mac"], attention={"read": "segment"}, tokens=17),
    "residual_hybrid": residual(["mal", "attention", "mac", "lmm", "mag"], conv_width=4, tokens=11),
    # What is left out.
    "residual_conv_0_persistent_0": residual(["mag", "mac", "mal"], conv_width=0, persistent=0),
    "residual_delta_rule": residual(["lmm", "mal"], forgetting=False, momentum=False, key_scale=0.2),
    # What heads and memories are like.
    "residual_kv_heads": residual(["mac", "mag"], persistent=3, attention={"heads": 4, "kv_heads": 2, "rotary": False}),
    "residual_chunks": residual(["mac", "mag"], gates="chunk", memory={"chunk": 3, "compute_chunk": 6}, theta_max=0.3),
    "residual_read_before_clip": residual(["mal", "mac"], memory={"read": "before", "clip": 0.7}),
    # Deep memories.
    "residual_deep": residual(["mac", "lmm"], memory=DEEP | {"network": "residual"}, layer_gates=True, theta_max=0.05),
    "residual_deep_plain": residual(
        ["mag", "mal"], memory=DEEP | {"layers": 3, "hidden": 5, "activation": "gelu"}, layer_gates=True, theta_max=0.2
    ),
    "residual_deep_clip": residual(
        ["mac"], memory=DEEP | {"clip": 1.0, "loss": "sum"}, layer_gates=True, theta_max=0.2
    ),
    # Ends.
    "residual_regression": residual(["mac"], head="regression", tied=False, shortcut="learned", **ROWS),
    "residual_classes": residual(["mal"], head="classes", tied=False, shortcut="fixed", **ROWS),
}


def data(config, tokens, seed):
    """(inputs, targets) of ten steps: ids or rows; classes have a target at some tokens only."""
    rng = np.random.default_rng(seed)
    shape = (STEPS, BATCH, tokens)
    rows = config.get("inputs")
    inputs = rng.standard_normal((*shape, rows)) if rows else rng.integers(0, config["vocabulary"], shape)
    if config["head"] == "regression":
        targets = rng.standard_normal((*shape, config["outputs"]))
    else:
        targets = rng.integers(0, config["vocabulary"] if config["head"] == "tokens" else config["outputs"], shape)
    if config["head"] == "classes":
        targets[rng.random(shape) < 0.5] = IGNORE
        targets[:, :, -1] = 0
    return torch.tensor(inputs), torch.tensor(targets)


def materials(name):
    """(config, parameters, inputs, targets) of a case; its numbers depend on its name alone."""
    config, tokens = CASES[name]
    seed = [ord(c) for c in name]
    return config, draw(config, seed + [0]), *data(config, tokens, seed + [1])
