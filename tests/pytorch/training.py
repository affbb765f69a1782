"""The loss of a batch, AdamW written out, and ten steps of it."""

import torch

from .blocks import forward
from .parameters import table

# Target of a token that is not scored.
IGNORE = 2**32 - 1

# Epsilon is large for AdamW: with a small one, a number whose gradient is near 0 would take whole steps in directions
# that rounding decides.
CONSTANTS = {
    "learning_rate": 0.003,
    "beta1": 0.9,
    "beta2": 0.99,
    "epsilon": 1e-3,
    "weight_decay": 0.1,
    "clip": 1.0,
}


def cross_entropy(logits, targets):
    """Sum of -log softmax(logits)[target] over the tokens that have a target, and their number."""
    total, scored = torch.zeros((), dtype=torch.float64), 0
    for row, target in zip(logits, targets):
        if int(target) != IGNORE:
            total = total + torch.logsumexp(row, 0) - row[int(target)]
            scored += 1
    return total, scored


def squared_error(y, targets):
    """Sum over the rows of the mean over the columns of (y - target)^2, and the number of rows."""
    return ((y - targets) ** 2).mean(-1).sum(), len(y)


def batch_loss(config, p, inputs, targets):
    """The mean over the scored tokens, the outputs [B, T, outputs] and the surprises of every sequence."""
    measure = squared_error if config["head"] == "regression" else cross_entropy
    total, scored, outputs, surprises = 0.0, 0, [], []
    for sequence, target in zip(inputs, targets):
        y, s = forward(config, p, sequence)
        loss, count = measure(y, target)
        total, scored = total + loss, scored + count
        outputs.append(y)
        surprises.append(s)
    return total / scored, torch.stack(outputs), surprises


def gradients(config, p, inputs, targets):
    """(loss, outputs, surprises, gradient of every parameter by name)."""
    leaves = {n: t.detach().clone().requires_grad_() for n, t in p.items()}
    loss, outputs, surprises = batch_loss(config, leaves, inputs, targets)
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    zeros = {n: torch.zeros_like(t) for n, t in p.items()}
    return loss, outputs, surprises, {n: zeros[n] if g is None else g for n, g in zip(leaves, found)}


class AdamW:
    """Decoupled decay, of the parameters `decays` alone; gradients scaled down to a global norm of `clip` at most."""

    def __init__(self, p, decays, constants):
        self.c, self.decays, self.step_number = constants, decays, 0
        self.m = {n: torch.zeros_like(t) for n, t in p.items()}
        self.v = {n: torch.zeros_like(t) for n, t in p.items()}

    def step(self, p, g):
        """The parameters after one step, and the norm of the gradients before the clip."""
        c = self.c
        self.step_number += 1
        norm = torch.sqrt(sum((x**2).sum() for x in g.values()))
        scale = c["clip"] / norm if norm > c["clip"] else 1.0
        new = {}
        for name, old in p.items():
            x = g[name] * scale
            self.m[name] = c["beta1"] * self.m[name] + (1 - c["beta1"]) * x
            self.v[name] = c["beta2"] * self.v[name] + (1 - c["beta2"]) * x**2
            m = self.m[name] / (1 - c["beta1"] ** self.step_number)
            v = self.v[name] / (1 - c["beta2"] ** self.step_number)
            decay = c["weight_decay"] if name in self.decays else 0.0
            new[name] = old - c["learning_rate"] * decay * old - c["learning_rate"] * m / (torch.sqrt(v) + c["epsilon"])
        return new, norm


def run(config, p, inputs, targets, constants=None):
    """Ten steps (as many as there are inputs): a dictionary of tensors, by the names that README.md lists."""
    constants = constants or CONSTANTS
    optimiser = AdamW(p, {n for n, _, decay in table(config) if decay}, constants)
    out = {f"init.{n}": t for n, t in p.items()}
    losses, norms = [], []
    for number in range(len(inputs)):
        loss, outputs, surprises, g = gradients(config, p, inputs[number], targets[number])
        if number == 0:
            out["outputs"] = outputs
            out |= {f"grad.{n}": t for n, t in g.items()}
            for i, first in enumerate(surprises[0]):
                if first is not None:
                    out[f"surprise.{i}"] = torch.stack([s[i] for s in surprises])
            for mode in ("frozen", "absent"):
                out[f"outputs.{mode}"] = torch.stack([forward(config, p, s, mode)[0] for s in inputs[0]])
        p, norm = optimiser.step(p, g)
        losses.append(loss)
        norms.append(norm)
    out |= {f"final.{n}": t for n, t in p.items()}
    out |= {"losses": torch.stack(losses), "norms": torch.stack(norms)}
    return {n: t.detach() for n, t in out.items()}
