"""The mixers of `wiring = "residual"`, the default: attention and memory each add to the stream."""

import torch

from .layers import Layers, l2, rms, silu


class Residual(Layers):
    def __call__(self, x, n):
        """The stream behind the mixer; n is x normalised."""
        return getattr(self, self.kind)(x, n)

    def token_conv(self, name, x):
        return self.conv(name, x)

    def out(self, y):
        return y @ self.p["out.weight"]

    def normed(self, heads):
        """rms of attention's answers [rows, heads, c], head by head: [rows, inner]."""
        return rms(heads, self.p["attention.read.norm.weight"]).reshape(len(heads), self.inner)

    def attend(self, z):
        """A([P || z])."""
        return self.normed(self.window(z, self.p.get("persistent"))) * self.attention_gate(z)

    def attention_gate(self, z):
        return silu(z @ self.p["attention.gate.weight"])

    def lmm(self, x, n):
        u, persistent = self.with_persistent(n)
        return x + self.out(self.read_out(self.remember(u, u)[persistent:], n))

    def attention(self, x, n):
        return x + self.out(self.attend(n))

    def mag(self, x, n):
        r = self.remember(n, n)
        if self.config["combine"] == "gates":
            return x + self.out(self.attend(n) + self.read_out(r, n))
        assert self.config["combine"] == "gated"
        a = self.normed(self.window(n, self.p.get("persistent")))
        m = rms(r, self.p["norm.weight"]).reshape(len(n), self.inner)
        return x + self.out((a + m) * silu(n @ self.p["gate.weight"]))

    def mal(self, x, n):
        x = x + self.read_out(self.remember(n, n), n) @ self.p["memory.out.weight"]
        return x + self.out(self.attend(rms(x, self.p["attention.norm.weight"])))

    def mac(self, x, n):
        a = self.config["attention"]
        asked, gate = l2(self.project("context.q", n)), self.attention_gate(n)
        q, keys = self.tokens(n)
        y, out = torch.zeros(0, x.shape[1], dtype=torch.float64), []
        for part in self.segments(n):
            answer = self.normed(self.in_context(part, self.context(asked[part]), q, keys))
            stream = x[part] + (answer * gate[part]) @ self.p["attention.out.weight"]
            y = torch.cat([y, rms(stream, self.p["memory.norm.weight"])])
            seen = n[: part.stop]
            fed = {"split": (seen, y), "tokens": (seen, seen), "output": (y, y)}[a["feed"]]
            r = self.remember(*fed, part.start, a["read"] == "segment")
            out.append(stream + self.out(self.read_out(r, y[part])))
        return torch.cat(out)
