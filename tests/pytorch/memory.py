"""One memory of one head of one sequence, token by token, as section 3.1 of the paper writes it.

Nothing is solved in closed form: a token's gradient is asked of torch.autograd at the weights of its chunk's start,
with create_graph=True, so that the outer gradient runs through it. How much is computed at once (`compute_chunk`) has
no meaning here.
"""

import torch
import torch.nn.functional as F

ACTIVATIONS = {
    "silu": lambda x: x * torch.sigmoid(x),
    "gelu": lambda x: F.gelu(x, approximate="none"),
    "gelu-tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": torch.relu,
    "identity": lambda x: x,
}


def network_of(words):
    """The network's shape: by default plain for one layer, residual for more."""
    return words.get("network") or ("plain" if words["layers"] == 1 else "residual")


def shapes(words, width):
    """Shapes of the memory's parameters in the order they lie in w0: the layers, then gamma."""
    widths = [width] + [words["hidden"]] * (words["layers"] - 1) + [width]
    layers = [(i, o) for i, o in zip(widths, widths[1:])]
    return layers + ([(width,)] if network_of(words) == "residual" else [])


def split(flat, shapes_):
    """The tensors that lie one after another in `flat`."""
    pieces, at = [], 0
    for shape in shapes_:
        count = torch.Size(shape).numel()
        pieces.append(flat[at : at + count].reshape(shape))
        at += count
    assert at == flat.numel()
    return pieces


class Memory:
    """Weights, their momentum and the weights at the chunk's start."""

    def __init__(self, words, weights, momentum=None):
        self.words = words
        self.weights = list(weights)
        self.momentum = list(momentum) if momentum else [torch.zeros_like(w) for w in self.weights]
        self.anchor = self.weights
        self.tokens = 0

    def network(self, weights, x):
        """M(x) for one vector x."""
        phi = ACTIVATIONS[self.words["activation"]]
        layers = [w for w in weights if w.dim() == 2]
        z = x
        for number, w in enumerate(layers):
            z = z @ w
            if number + 1 < len(layers):
                z = phi(z)
        if network_of(self.words) == "plain":
            return z
        centred = z - z.mean()
        normal = centred / torch.sqrt((centred**2).mean() + 1e-5)
        return x + normal * (1.0 + weights[-1])

    def recall(self, x):
        """M(x) with the weights as they are."""
        return self.network(self.weights, x)

    def of_weights(self, gate):
        """A gate for each of the weights: the one of all, or its layer's own (gamma goes by the last layer's)."""
        layers = self.words["layers"]
        return [gate if gate.dim() == 0 else gate[min(i, layers - 1)] for i in range(len(self.weights))]

    def clipped(self, gradient):
        """The gradient, scaled down where its norm over all weights is above `clip`."""
        limit = self.words.get("clip")
        if limit is None:
            return gradient
        norm = torch.sqrt(sum((g**2).sum() for g in gradient))
        return [g * (limit / norm) for g in gradient] if norm > limit else gradient

    def write(self, k, v, alpha, theta, eta):
        """One token, its gates scalars or [layers]; returns its surprise."""
        if self.tokens % self.words["chunk"] == 0:
            self.anchor = self.weights
        self.tokens += 1
        # Copies: k and v may themselves depend on these weights (in MAC they do), but the inner gradient holds both.
        at = [w.clone() if w.requires_grad else w.clone().requires_grad_() for w in self.anchor]
        error = ((self.network(at, k) - v) ** 2).sum()
        loss = {"sum": 1.0, "half": 0.5, "mean": 1.0 / v.numel()}[self.words["loss"]] * error
        gradient = self.clipped(torch.autograd.grad(loss, at, create_graph=True))
        alpha, theta, eta = self.of_weights(alpha), self.of_weights(theta), self.of_weights(eta)
        self.momentum = [e * s - r * g for e, s, r, g in zip(eta, self.momentum, theta, gradient)]
        self.weights = [(1.0 - a) * w + s for a, w, s in zip(alpha, self.weights, self.momentum)]
        return loss

    def step(self, q, k, v, alpha, theta, eta, read):
        """One token: its answer, by the weights that `read` names, and its surprise."""
        if read == "before":
            answer = self.recall(q)
        surprise = self.write(k, v, alpha, theta, eta)
        if read == "after":
            answer = self.recall(q)
        elif read == "chunk-start":
            answer = self.network(self.anchor, q)
        return answer, surprise
