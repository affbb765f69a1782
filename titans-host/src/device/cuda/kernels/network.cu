// The memory network on the keys: activations, the inner residual and its gradients, the clip. `rows` are M * m tokens.
//
// Backward (MATH 4, (3) and (4)), nu being the cotangent of |u|^2 (norm2, d_norm2) and D (u) that of Delta before phi':
//
//   d_D = d_Delta phi'(Z),  d_Z = d_Delta D phi''(Z),  d_Z^L = 2c d_Delta^L,  d_V = -2c d_Delta^L
//   d_theta = f d_r,  nu = -f theta d_r / (2 |u|^2),  d_h += 2 nu |delta|^2 h,  d_delta += 2 nu |h|^2 delta
//
// CPU: memory/write_vjp.rs (`write_vjp`, `plain`, `rate_vjp`), ops/activation.rs (`vjp`, `vjp_add`, `vjp_vjp`).

struct Phi {
    float value, first, second;
};

// phi(x) and its first two derivatives.
static_assert(ACTIVATIONS == 5, "phi() has an arm for each of five activations: a new one needs its own");
__device__ inline Phi phi(i64 kind, float x) {
    if (kind == SILU) {
        const float s = sigmoid(x), slope = s * (1.0f - s);
        return Phi{x * s, s + x * slope, slope * (2.0f + x * (1.0f - 2.0f * s))};
    }
    if (kind == GELU) {
        const float cdf = 0.5f * (1.0f + erff(x * 0.70710678118654752f));
        const float pdf = 0.39894228040143268f * expf(-0.5f * x * x);
        return Phi{x * cdf, cdf + x * pdf, pdf * (2.0f - x * x)};
    }
    if (kind == GELU_TANH) {
        const float c = 0.79788456080286536f, a = 0.044715f;
        const float t = tanhf(c * (x + a * x * x * x)), slope = 1.0f - t * t;
        const float u1 = c * (1.0f + 3.0f * a * x * x), u2 = 6.0f * c * a * x;
        return Phi{0.5f * x * (1.0f + t), 0.5f * (1.0f + t) + 0.5f * x * slope * u1,
                   slope * u1 + 0.5f * x * slope * (u2 - 2.0f * t * u1 * u1)};
    }
    if (kind == RELU) return Phi{x > 0.0f ? x : 0.0f, x > 0.0f ? 1.0f : 0.0f, 0.0f};
    return Phi{x, 1.0f, 0.0f}; // IDENTITY
}

// y[n] = phi(z)
KERNEL activate(i64 n, i64 kind, const float* z, float* y) {
    THREAD(i, n);
    y[i] = phi(kind, z[i]).value;
}

// Reverse of a = phi(z), da = phi'(z) dz, for the cotangent u of a: y[n] = u phi'(z); y may be u
KERNEL activate_vjp(i64 n, i64 kind, const float* z, const float* u, float* y) {
    THREAD(i, n);
    y[i] = u[i] * phi(kind, z[i]).first;
}

// The same added to what z has received: y[n] += u phi'(z)
KERNEL activate_vjp_add(i64 n, i64 kind, const float* z, const float* u, float* y) {
    THREAD(i, n);
    y[i] += u[i] * phi(kind, z[i]).first;
}

// Reverse of delta = u phi'(z) (MATH 4, (4)). By the product rule ddelta = phi'(z) du + u phi''(z) dz: d_u[n] = d_delta
// phi'(z), d_z[n] = d_delta u phi''(z)
KERNEL activate_second(i64 n, i64 kind, const float* z, const float* u, const float* d_delta, float* d_u, float* d_z) {
    THREAD(i, n);
    const Phi f = phi(kind, z[i]);
    d_u[i] = d_delta[i] * f.first;
    d_z[i] = d_delta[i] * u[i] * f.second;
}

// n = rows, a warp each: delta = scale (z - v), scale = 2c; surprise = c |z - v|^2
BLOCK_KERNEL(BLOCK) plain_top(i64 n, i64 d, float scale, const float* z, const float* v, float* delta,
                              float* surprise) {
    WARP_ROWS(r, n) {
        Pair sum = {0.0f, 0.0f};
        LANE_ELEMENTS(c, d) {
            const float e = z[r * d + c] - v[r * d + c];
            delta[r * d + c] = scale * e;
            sum = plus_product(sum, e, e);
        }
        sum = warp_sum(sum);
        if (first_lane()) surprise[r] = 0.5f * scale * rounded(sum);
    }
}

// n = rows * d: reverse of plain_top, delta = scale (z - v) (MATH 4, (4)): d_z = scale d_delta, d_v = -scale d_delta;
// the surprise is looked at and receives nothing
KERNEL plain_top_vjp(i64 n, float scale, const float* d_delta, float* d_z, float* d_v) {
    THREAD(i, n);
    d_z[i] = scale * d_delta[i];
    d_v[i] = -scale * d_delta[i];
}

// |x|^2 of a warp's row; 1 for no row
__device__ inline Pair squared_length(i64 d, const float* x) { return x ? warp_dot(d, x, x) : Pair{1.0f, 0.0f}; }

// n = rows, a warp each: norm2 += |h|^2 |delta|^2, the squared length of a layer's rank-one gradient; no delta: +=
// |h|^2
BLOCK_KERNEL(BLOCK) gradient_norm(i64 n, i64 d_in, i64 d_out, const float* h, const float* delta, float* norm2) {
    WARP_ROWS(r, n) {
        const Pair hh = squared_length(d_in, h + r * d_in);
        const Pair dd = squared_length(d_out, delta ? delta + r * d_out : nullptr);
        if (first_lane()) norm2[r] += rounded(times(hh, dd));
    }
}

// n = rows: rate = theta, scaled down where the gradient is longer than the clip
KERNEL clip_rate(i64 n, float clip, const float* norm2, const float* theta, float* rate) {
    THREAD(r, n);
    rate[r] = theta[r] * clip_factor(clip, norm2[r]);
}

// n = M, a warp each: counts[k] += tokens that write and were clipped
BLOCK_KERNEL(BLOCK) count_clipped(i64 n, i64 m, float clip, const float* norm2, const float* writes,
                                  unsigned* counts) {
    WARP_ROWS(k, n) {
        unsigned count = 0;
        LANE_ELEMENTS(t, m) count += writes[k * m + t] != 0.0f && norm2[k * m + t] > clip * clip ? 1u : 0u;
        count = warp_sum(count);
        if (first_lane()) counts[k] += count;
    }
}

// n = rows: reverse of clip_rate, rate = theta f with f = clip norm2^(-1/2) where that bit, else 1 (MATH 4, (3)):
// d_theta = f d_rate, and df/dnorm2 = -f / (2 norm2) gives d_norm2 = -theta d_rate f / (2 norm2), 0 where f is 1
KERNEL clip_rate_vjp(i64 n, float clip, const float* norm2, const float* theta, const float* d_rate, float* d_theta,
                     float* d_norm2) {
    THREAD(r, n);
    const bool over = norm2[r] > clip * clip;
    const float factor = clip_factor(clip, norm2[r]);
    d_theta[r] = d_rate[r] * factor;
    d_norm2[r] = over ? d_rate[r] * theta[r] * -0.5f * factor / norm2[r] : 0.0f;
}

// n = rows, a warp each: reverse of gradient_norm, norm2 = sum over layers of |h|^2 |delta|^2 + |g|^2 (MATH 4, (3)); as
// d|x|^2 = 2 x . dx: d_h += 2 h |delta|^2 d_norm2, d_delta += 2 delta |h|^2 d_norm2. Without delta h is gamma's g
BLOCK_KERNEL(BLOCK) gradient_norm_vjp(i64 n, i64 d_in, i64 d_out, const float* h, const float* delta,
                                      const float* d_norm2, float* d_h, float* d_delta) {
    WARP_ROWS(r, n) {
        const float *h_row = h + r * d_in, *delta_row = delta ? delta + r * d_out : nullptr;
        const float hh = rounded(squared_length(d_in, h_row)), dd = rounded(squared_length(d_out, delta_row));
        LANE_ELEMENTS(c, d_in) d_h[r * d_in + c] += 2.0f * h_row[c] * dd * d_norm2[r];
        if (delta) LANE_ELEMENTS(c, d_out) d_delta[r * d_out + c] += 2.0f * delta_row[c] * hh * d_norm2[r];
    }
}
