"""Attention of one sequence with every score written down: masks of T x T, rotary positions by complex numbers."""

import math

import torch

BASE = 10000.0


def window_mask(tokens, window):
    """visible[i, j]: i - window < j <= i."""
    i, j = torch.arange(tokens)[:, None], torch.arange(tokens)[None, :]
    return (j <= i) & (j > i - window)


def segment_mask(tokens, segment):
    """visible[i, j]: j <= i, of the same segment."""
    i, j = torch.arange(tokens)[:, None], torch.arange(tokens)[None, :]
    return (j <= i) & (i // segment == j // segment)


def rotate(x, positions):
    """x [T, heads, c]: the pair (i, i + c/2) is a complex number, turned by position * BASE^(-2 i / c)."""
    c = x.shape[-1]
    rates = torch.tensor([BASE ** (-2.0 * i / c) for i in range(c // 2)], dtype=torch.float64)
    angles = positions.to(torch.float64)[:, None, None] * rates
    turned = torch.complex(x[..., : c // 2], x[..., c // 2 :]) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], dim=-1)


def attend(q, tokens, persistent, context, visible, positions, context_positions, rotary):
    """The answers [T, heads, c].

    q [T, heads, c]; tokens, persistent, context: (keys, values), each [rows, kv heads, c], or None. Nothing is rotated
    yet. Persistent keys have no position: they meet the query that is not rotated.
    """
    c, group = q.shape[2], q.shape[1] // tokens[0].shape[1]
    turn = rotate if rotary else lambda x, _: x
    q_turned = turn(q, positions)
    parts = []
    if persistent is not None:
        everyone = torch.ones(q.shape[0], persistent[0].shape[0], dtype=torch.bool)
        parts.append((q, persistent[0], persistent[1], everyone))
    if context is not None:
        parts.append((q_turned, turn(context[0], context_positions), context[1], visible))
    parts.append((q_turned, turn(tokens[0], positions), tokens[1], visible))
    heads = []
    for head in range(q.shape[1]):
        of = head // group
        scores = torch.cat([query[:, head] @ key[:, of].T for query, key, _, _ in parts], dim=1) / math.sqrt(c)
        mask = torch.cat([m for _, _, _, m in parts], dim=1)
        values = torch.cat([value[:, of] for _, _, value, _ in parts])
        heads.append(torch.softmax(scores.masked_fill(~mask, -math.inf), dim=1) @ values)
    return torch.stack(heads, dim=1)
