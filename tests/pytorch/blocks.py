"""The whole model for one sequence, from the formulas of docs/MATH.md, section 6; float64.

`config` has the words of the project's model configuration, parameters are a dictionary by name. `mode` is "learn", or
"frozen" (the memories are read and not written), or "absent" (they answer 0).
"""

import torch

from . import attention, memory
from .parameters import kinds


def silu(x):
    return x * torch.sigmoid(x)


def rms(x, weight):
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-6) * weight


def l2(x):
    return x / torch.sqrt((x**2).sum(-1, keepdim=True) + 1e-6)


COMBINE = {
    "product": lambda y, m: silu(y) * silu(m),
    "silu": lambda y, m: y * silu(m),
    "sigmoid": lambda y, m: y * torch.sigmoid(m),
    "sum": lambda y, m: y + m,
}


class Mixer:
    """One block's mixer over one sequence; `surprise` [rows, heads] is filled by what it writes."""

    def __init__(self, config, kind, parameters, prefix, mode):
        self.config, self.kind, self.mode = config, kind, mode
        self.p = {n.removeprefix(prefix): t for n, t in parameters.items() if n.startswith(prefix)}
        self.heads, self.d = config["heads"], config["head_width"]
        self.inner = self.heads * self.d
        self.surprise = []
        self.memories = []
        if kind != "attention":
            words = config["memory"]
            shapes = memory.shapes(words, self.d)
            self.memories = [memory.Memory(words, memory.split(row, shapes)) for row in self.p["memory.w0"]]

    def __call__(self, n):
        return getattr(self, self.kind)(n)

    # What mixers are made of.

    def project(self, name, x):
        """silu(conv(x W)), cut into heads: [rows, heads, d]."""
        x = x @ self.p[f"{name}.weight"]
        taps = self.config["conv_width"]
        if taps:
            w, y = self.p[f"{name}.conv.weight"], self.p[f"{name}.conv.bias"]
            for j in range(taps):
                late = taps - 1 - j
                y = y + w[:, j] * torch.cat([torch.zeros_like(x[:late]), x])[: len(x)]
            x = y
        return silu(x).reshape(len(x), self.heads, self.d)

    def gates(self, u):
        """(alpha, theta, eta) [rows, 3, heads]."""
        c = self.config
        g = torch.sigmoid((u @ self.p["gates.weight"]).reshape(len(u), 3, self.heads) + self.p["gates.bias"])
        if c["gates"] == "chunk":
            g = torch.stack([g[t - t % c["memory"]["chunk"]] for t in range(len(u))])
        scale = [float(c["forgetting"]), c["theta_max"], float(c["momentum"])]
        return g * torch.tensor(scale, dtype=torch.float64)[:, None]

    def remember(self, u, first=0, segment_read=False):
        """Rows `first` and later of u through the memories; r [rows, heads, d]. Those before went through already."""
        q, k, v = l2(self.project("q", u)), l2(self.project("k", u)), self.project("v", u)
        g = self.gates(u)
        start = [list(m.weights) for m in self.memories]
        answers = []
        for t in range(first, len(u)):
            row, surprises = [], []
            for h, m in enumerate(self.memories):
                if self.mode == "absent":
                    answer = torch.zeros(self.d, dtype=torch.float64)
                elif self.mode == "frozen":
                    answer = m.recall(q[t, h])
                else:
                    read = self.config["memory"]["read"]
                    answer, surprise = m.step(q[t, h], k[t, h], v[t, h], *g[t, :, h], read)
                    surprises.append(surprise)
                    if segment_read:
                        answer = m.network(start[h], q[t, h])
                row.append(answer)
            answers.append(torch.stack(row))
            if surprises:
                self.surprise.append(torch.stack(surprises))
        return torch.stack(answers)

    def with_persistent(self, n):
        """[P || n] and the number of persistent rows."""
        p = self.p.get("persistent")
        return (n, 0) if p is None else (torch.cat([p, n]), len(p))

    def keys(self, rows):
        """(keys, values) [rows, kv heads, c] of attention; None of no rows."""
        if rows is None:
            return None
        kv = self.config["attention"]["kv_heads"]
        return tuple((rows @ self.p[f"attention.{x}.weight"]).reshape(len(rows), kv, -1) for x in "kv")

    def window(self, rows, persistent):
        """Sliding-window attention of rows, all heads side by side [rows, inner]."""
        a, t = self.config["attention"], torch.arange(len(rows))
        q = (rows @ self.p["attention.q.weight"]).reshape(len(rows), a["heads"], -1)
        mask = attention.window_mask(len(rows), a["window"])
        y = attention.attend(q, self.keys(rows), self.keys(persistent), None, mask, t, None, a["rotary"])
        return y.reshape(len(rows), self.inner)

    # The five kinds.

    def lmm(self, n):
        u, persistent = self.with_persistent(n)
        r = rms(self.remember(u)[persistent:], self.p["norm.weight"]).reshape(len(n), self.inner)
        return (r * silu(n @ self.p["gate.weight"])) @ self.p["out.weight"]

    def attention(self, n):
        return self.window(n, self.p.get("persistent")) @ self.p["out.weight"]

    def mag(self, n):
        u, persistent = self.with_persistent(n)
        r = self.remember(u)[persistent:].reshape(len(n), self.inner)
        a = rms(self.window(n, self.p.get("persistent")), self.p["combine.attention.weight"])
        m = rms(r, self.p["combine.memory.weight"])
        return COMBINE[self.config["combine"]](a, m) @ self.p["out.weight"]

    def mal(self, n):
        u, persistent = self.with_persistent(n)
        r = rms(self.remember(u), self.p["norm.weight"]).reshape(len(u), self.inner)
        z = (r * silu(u @ self.p["gate.weight"])) @ self.p["memory.out.weight"]
        z = rms(z, self.p["attention.norm.weight"])
        return self.window(z[persistent:], z[:persistent] if persistent else None) @ self.p["out.weight"]

    def mac(self, n):
        a = self.config["attention"]
        size, asked = a["segment"], l2(self.project("context.q", n))
        q = (n @ self.p["attention.q.weight"]).reshape(len(n), a["heads"], -1)
        y, out = torch.zeros(0, self.inner, dtype=torch.float64), []
        for first in range(0, len(n), size):
            part = slice(first, min(first + size, len(n)))
            h = self.context(asked[part]).reshape(-1, self.inner) @ self.p["context.out.weight"]
            t = torch.arange(len(h))
            mask = attention.segment_mask(len(h), size)
            seen = self.keys(n[part]), self.keys(self.p.get("persistent")), self.keys(h)
            answer = attention.attend(q[part], *seen, mask, t, t - size, a["rotary"]).reshape(len(h), self.inner)
            answer = rms(answer, self.p["combine.attention.weight"])
            y = torch.cat([y, answer])
            r = self.remember(y, first, a["read"] == "segment").reshape(len(h), self.inner)
            out.append(COMBINE[self.config["combine"]](answer, rms(r, self.p["combine.memory.weight"])))
        return torch.cat(out) @ self.p["out.weight"]

    def context(self, asked):
        """What the memories, as they are before the segment, know of its rows: rms(M_s(q)) [rows, heads, d]."""
        if self.mode == "absent":
            return torch.zeros_like(asked)
        rows = [torch.stack([m.recall(row[h]) for h, m in enumerate(self.memories)]) for row in asked]
        return rms(torch.stack(rows), self.p["context.norm.weight"])


def forward(config, p, sequence, mode="learn"):
    """Outputs [T, outputs] of one sequence of ids or rows, and the surprises of every block (None without memory)."""
    rows = bool(config.get("inputs"))
    x = sequence @ p["embedding.weight"] + p["embedding.bias"] if rows else p["embedding.weight"][sequence]
    surprises = []
    for i, kind in enumerate(kinds(config)):
        b = f"blocks.{i}."
        mixer = Mixer(config, kind, p, f"{b}mixer.", mode)
        x = x + mixer(rms(x, p[f"{b}norm.weight"]))
        n = rms(x, p[f"{b}feed_forward.norm.weight"])
        hidden = silu(n @ p[f"{b}feed_forward.gate.weight"]) * (n @ p[f"{b}feed_forward.up.weight"])
        x = x + hidden @ p[f"{b}feed_forward.down.weight"]
        surprises.append(torch.stack(mixer.surprise) if mixer.surprise else None)
    x = rms(x, p["norm.weight"])
    if config["head"] == "tokens" and config["tied"]:
        return x @ p["embedding.weight"].T, surprises
    y = x @ p["head.weight"]
    return (y + p["head.bias"] if config["head"] == "regression" else y), surprises
