"""What the mixers of both wirings are made of, from the formulas of docs/MATH.md, section 6; float64.

`config` has the words of the project's model configuration, parameters are a dictionary by name. `mode` is "learn", or
"frozen" (the memories are read and not written), or "absent" (they answer 0).
"""

import torch

from . import attention, memory


def silu(x):
    return x * torch.sigmoid(x)


def rms(x, weight):
    return x / torch.sqrt((x**2).mean(-1, keepdim=True) + 1e-6) * weight


def l2(x):
    return x / torch.sqrt((x**2).sum(-1, keepdim=True) + 1e-6)


class Layers:
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

    # Memories.

    def conv(self, name, x):
        """The causal convolution of every column, where `name` has one."""
        taps = self.config["conv_width"]
        if not taps:
            return x
        w, y = self.p[f"{name}.conv.weight"], self.p[f"{name}.conv.bias"]
        for j in range(taps):
            late = taps - 1 - j
            y = y + w[:, j] * torch.cat([torch.zeros_like(x[:late]), x])[: len(x)]
        return y

    def project(self, name, x):
        """silu(conv(x W)), cut into heads: [rows, heads, d]."""
        x = self.conv(name, x @ self.p[f"{name}.weight"])
        return silu(x).reshape(len(x), self.heads, self.d)

    def gates(self, u):
        """(alpha, theta, eta) [rows, 3, heads], and a number for every layer [rows, 3, heads, layers] in each."""
        c = self.config
        bias = self.p["gates.bias"]
        g = torch.sigmoid((u @ self.p["gates.weight"]).reshape(len(u), *bias.shape) + bias)
        if c["gates"] == "chunk":
            g = torch.stack([g[t - t % c["memory"]["chunk"]] for t in range(len(u))])
        scale = [float(c["forgetting"]), c["theta_max"], c.get("eta_max", 1.0) * float(c["momentum"])]
        g = g * torch.tensor(scale, dtype=torch.float64)[:, None]
        return g.reshape(len(u), 3, self.heads, -1) if c.get("layer_gates") else g

    def remember(self, asked, said, first=0, segment_read=False):
        """Rows `first` and later through the memories; r [rows, heads, d]. Those before went through already.

        Queries and keys come from the rows `asked`, values and gates from the rows `said`.
        """
        q, k, v = l2(self.project("q", asked)), l2(self.project("k", asked)), self.project("v", said)
        g = self.gates(said)
        start = [list(m.weights) for m in self.memories]
        answers = []
        for t in range(first, len(said)):
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

    def read_out(self, r, u):
        """rms(r) head by head, gated by the rows u: [rows, inner]."""
        return rms(r, self.p["norm.weight"]).reshape(len(r), self.inner) * silu(u @ self.p["gate.weight"])

    def with_persistent(self, n):
        """[P || n] and the number of persistent rows."""
        p = self.p.get("persistent")
        return (n, 0) if p is None else (torch.cat([p, n]), len(p))

    # Attention.

    def token_conv(self, name, x):
        """What becomes of a projection x of the tokens' rows; persistent rows and context stay as they are."""
        return x

    def in_heads(self, name, x):
        """A projection "q", "k" or "v" cut into heads [rows, heads, c]."""
        return x.reshape(len(x), self.config["attention"]["heads" if name == "q" else "kv_heads"], -1)

    def tokens(self, n):
        """The queries, and (keys, values), of the tokens' rows, in heads."""
        projected = {x: n @ self.p[f"attention.{x}.weight"] for x in "qkv"}
        q, k, v = (self.in_heads(x, self.token_conv(f"attention.{x}", y)) for x, y in projected.items())
        return q, (k, v)

    def keys(self, rows):
        """(keys, values) [rows, kv heads, c] of rows that are no tokens; None of no rows."""
        return None if rows is None else tuple(self.in_heads(x, rows @ self.p[f"attention.{x}.weight"]) for x in "kv")

    def window(self, rows, persistent):
        """Sliding-window attention of rows [rows, heads, c]."""
        a, t = self.config["attention"], torch.arange(len(rows))
        q, keys = self.tokens(rows)
        mask = attention.window_mask(len(rows), a["window"])
        return attention.attend(q, keys, self.keys(persistent), None, mask, t, None, a["rotary"])

    def context(self, asked):
        """h of the rows of a segment [rows, width]: what the memories, as they are before it, know of their queries."""
        if self.mode == "absent":
            said = torch.zeros_like(asked)
        else:
            rows = [torch.stack([m.recall(row[h]) for h, m in enumerate(self.memories)]) for row in asked]
            said = rms(torch.stack(rows), self.p["context.norm.weight"])
        return said.reshape(len(asked), self.inner) @ self.p["context.out.weight"]

    def segments(self, n):
        """The slices of the rows that are segments."""
        size = self.config["attention"]["segment"]
        return [slice(first, min(first + size, len(n))) for first in range(0, len(n), size)]

    def in_context(self, part, h, q, keys):
        """Attention of a segment's rows [rows, heads, c], the context h beside them.

        q and keys are those of all tokens; nothing of them is rotated yet.
        """
        a, t, size = self.config["attention"], torch.arange(len(h)), self.config["attention"]["segment"]
        own, mask = tuple(x[part] for x in keys), attention.segment_mask(len(h), size)
        persistent = self.keys(self.p.get("persistent"))
        return attention.attend(q[part], own, persistent, self.keys(h), mask, t, t - size, a["rotary"])
