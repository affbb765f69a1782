"""The chunk form of docs/MATH.md, section 3, in plain PyTorch: what its matrix products (MKL) give without a kernel of one's own.

One head, a plain network, SiLU between the layers, the loss ||M(k) - v||^2, read after the write. Tokens are rows.
"""

import torch
import torch.nn.functional as F


def silu_derivative(z):
    s = torch.sigmoid(z)
    return s * (1 + z * (1 - s))


def coefficients(alpha, eta):
    """A, G [.., b], C, P [.., b, b] and the product of all eta, for gates [.., b]."""
    lower = torch.ones(alpha.shape[-1], alpha.shape[-1], dtype=alpha.dtype).tril()

    def products(x):  # of x_j over i < j <= t; below the diagonal only
        logs = torch.log(x).cumsum(-1)
        return torch.exp((logs[..., :, None] - logs[..., None, :]) * lower) * lower

    kept, passed = products(1 - alpha), products(eta)
    eta = eta.cumprod(-1)
    return (1 - alpha).cumprod(-1), (kept @ eta[..., None])[..., 0], kept @ passed, passed, eta[..., -1]


def memory(k, v, q, alpha, theta, eta, weights, chunk):
    """Read-outs [T, d] of T tokens (whole chunks), gates [T], weights a list of [in, out]; also the last W and S."""
    chunks = k.shape[0] // chunk
    A, G, C, P, last = coefficients(alpha.view(chunks, chunk), eta.view(chunks, chunk))
    theta = theta.view(chunks, chunk)
    C, P = C * theta[:, None, :], P * theta[:, None, :]
    W, S = list(weights), [torch.zeros_like(w) for w in weights]
    out = []
    for c, (k_c, v_c, x) in enumerate(zip(k.split(chunk), v.split(chunk), q.split(chunk))):
        H, Z = [k_c], []
        for w in W:
            Z.append(H[-1] @ w)
            H.append(F.silu(Z[-1]))
        D = [2 * (Z[-1] - v_c)]
        for w, z in zip(W[:0:-1], Z[-2::-1]):
            D.insert(0, (D[0] @ w.T) * silu_derivative(z))
        a, g = A[c, :, None], G[c, :, None]
        for layer, (w, s, h, d) in enumerate(zip(W, S, H, D)):
            x = a * (x @ w) + g * (x @ s) - ((x @ h.T) * C[c]) @ d
            x = F.silu(x) if layer + 1 < len(W) else x
        out.append(x)
        for layer, (w, s, h, d) in enumerate(zip(W, S, H, D)):
            W[layer] = A[c, -1] * w + G[c, -1] * s - h.T @ (C[c, -1, :, None] * d)
            S[layer] = last[c] * s - h.T @ (P[c, -1, :, None] * d)
    return torch.cat(out), W, S


def stream(k, v, q, gates, W, S):
    """One layer, one token at a time, in place; `gates` are Python numbers (alpha, theta, eta) of every token."""
    out = []
    for k_t, v_t, q_t, (alpha, theta, eta) in zip(k, v, q, gates):
        error = k_t @ W - v_t
        S.mul_(eta).addr_(k_t, error, alpha=-2 * theta)
        W.mul_(1 - alpha).add_(S)
        out.append(q_t @ W)
    return torch.stack(out)


def check():
    """The definition, token by token with automatic differentiation, against both functions above, in float64."""
    torch.manual_seed(0)
    for widths, chunk in (((5, 5), 1), ((5, 5), 4), ((4, 7, 4), 4)):
        T = 12
        k, v, q = (torch.randn(T, widths[0], dtype=torch.float64) for _ in range(3))
        alpha, theta, eta = (torch.rand(T, dtype=torch.float64) * x + 0.01 for x in (0.2, 0.1, 0.9))
        weights = [0.3 * torch.randn(i, o, dtype=torch.float64) for i, o in zip(widths, widths[1:])]

        def network(x, W):
            for layer, w in enumerate(W):
                x = (F.silu(x) if layer else x) @ w
            return x

        W, S, out = [w.clone() for w in weights], [torch.zeros_like(w) for w in weights], []
        for t in range(T):
            if t % chunk == 0:
                anchor = [w.clone().requires_grad_() for w in W]
            loss = (network(k[t : t + 1], anchor) - v[t : t + 1]).square().sum()
            for layer, g in enumerate(torch.autograd.grad(loss, anchor)):
                S[layer] = eta[t] * S[layer] - theta[t] * g
                W[layer] = (1 - alpha[t]) * W[layer] + S[layer]
            out.append(network(q[t : t + 1], W))
        found = [memory(k, v, q, alpha, theta, eta, weights, chunk)[0]]
        if chunk == 1:
            gates = list(zip(alpha.tolist(), theta.tolist(), eta.tolist()))
            found.append(stream(k, v, q, gates, weights[0].clone(), torch.zeros_like(weights[0])))
        for y in found:
            difference = (y - torch.cat(out)).abs().max().item()
            assert difference < 1e-12, f"widths {widths}, chunk {chunk}: off by {difference}"
