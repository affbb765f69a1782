"""The mixers of `wiring = "letter"`: the paper's equations as they stand, one residual connection a mixer."""

import torch

from .layers import Layers, l2, rms, silu

COMBINE = {
    "product": lambda y, m: silu(y) * silu(m),
    "silu": lambda y, m: y * silu(m),
    "sigmoid": lambda y, m: y * torch.sigmoid(m),
    "sum": lambda y, m: y + m,
}


class Letter(Layers):
    def __call__(self, x, n):
        """The stream behind the mixer; n is x normalised."""
        return x + getattr(self, self.kind)(n) @ self.p["out.weight"]

    def combine(self, a, r):
        m = rms(r, self.p["combine.memory.weight"])
        return COMBINE[self.config["combine"]](a, m)

    def lmm(self, n):
        u, persistent = self.with_persistent(n)
        return self.read_out(self.remember(u, u)[persistent:], n)

    def attention(self, n):
        return self.window(n, self.p.get("persistent")).reshape(len(n), self.inner)

    def mag(self, n):
        u, persistent = self.with_persistent(n)
        r = self.remember(u, u)[persistent:].reshape(len(n), self.inner)
        return self.combine(rms(self.attention(n), self.p["combine.attention.weight"]), r)

    def mal(self, n):
        u, persistent = self.with_persistent(n)
        z = self.read_out(self.remember(u, u), u) @ self.p["memory.out.weight"]
        z = rms(z, self.p["attention.norm.weight"])
        return self.window(z[persistent:], z[:persistent] if persistent else None).reshape(len(n), self.inner)

    def mac(self, n):
        asked, (q, keys) = l2(self.project("context.q", n)), self.tokens(n)
        y, out = torch.zeros(0, self.inner, dtype=torch.float64), []
        for part in self.segments(n):
            answer = self.in_context(part, self.context(asked[part]), q, keys)
            answer = rms(answer.reshape(-1, self.inner), self.p["combine.attention.weight"])
            y = torch.cat([y, answer])
            r = self.remember(y, y, part.start, self.config["attention"]["read"] == "segment")
            out.append(self.combine(answer, r.reshape(-1, self.inner)))
        return torch.cat(out)
