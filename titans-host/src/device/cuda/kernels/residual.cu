// The residual network's output, M(x) = x + LN(z) (1 + gamma), on keys and on queries. `rows` are M * m tokens; gamma of
// memory k is at gamma + k * stride (inside the state), x_hat = LN(z) without gamma, eps 1e-5.

#define LAYER_NORM_EPS 1e-5

// x_hat of a row; returns r = 1 / sqrt(var + eps).
__device__ inline double normalise(i64 d, const float* z, float* x_hat) {
    double mean = 0.0, var = 0.0;
    for (i64 c = 0; c < d; ++c) mean += z[c];
    mean /= (double)d;
    for (i64 c = 0; c < d; ++c) var += (z[c] - mean) * (z[c] - mean);
    const double r = 1.0 / sqrt(var / (double)d + LAYER_NORM_EPS);
    for (i64 c = 0; c < d; ++c) x_hat[c] = (float)((z[c] - mean) * r);
    return r;
}

// n = rows. e = M(k) - v; scale = 2c; surprise = c |e|^2; error = scale e; g = error x_hat (gamma's gradient);
// delta = r (w - mean(w) - x_hat mean(x_hat w)), w = error (1 + gamma)
KERNEL residual_top(i64 n, i64 m, i64 d, i64 stride, float scale, const float* z, const float* k, const float* v,
                    const float* gamma, float* x_hat, float* r, float* error, float* g, float* delta,
                    float* surprise) {
    THREAD(row, n);
    const float* gm = gamma + row / m * stride;
    const i64 at = row * d;
    const double rr = normalise(d, z + at, x_hat + at);
    double sum = 0.0, mean = 0.0, along = 0.0;
    for (i64 c = 0; c < d; ++c) {
        const float e = k[at + c] + x_hat[at + c] * (1.0f + gm[c]) - v[at + c];
        sum += (double)e * e;
        error[at + c] = scale * e;
        g[at + c] = error[at + c] * x_hat[at + c];
        const double w = (double)error[at + c] * (1.0 + gm[c]);
        mean += w, along += w * x_hat[at + c];
    }
    mean /= (double)d, along /= (double)d;
    for (i64 c = 0; c < d; ++c)
        delta[at + c] = (float)(rr * ((double)error[at + c] * (1.0 + gm[c]) - mean - x_hat[at + c] * along));
    r[row] = (float)rr;
    surprise[row] = (float)(0.5 * scale * sum);
}

// n = rows: reverse of residual_top, given d_delta and d_g. d_z, d_k, d_v overwritten; d_gamma [rows, d] of this row.
KERNEL residual_top_vjp(i64 n, i64 m, i64 d, i64 stride, float scale, const float* x_hat, const float* r,
                        const float* error, const float* delta, const float* gamma, const float* d_delta,
                        const float* d_g, float* d_z, float* d_k, float* d_v, float* d_gamma) {
    THREAD(row, n);
    const float* gm = gamma + row / m * stride;
    const i64 at = row * d;
    const double rr = r[row], size = (double)d;
    double d_mean = 0.0, d_along = 0.0, w_along = 0.0, d_r = 0.0;
    for (i64 c = at; c < at + d; ++c) {
        d_mean += d_delta[c], d_along += (double)d_delta[c] * x_hat[c];
        w_along += (double)error[c] * (1.0 + gm[c - at]) * x_hat[c];
        d_r += (double)d_delta[c] * delta[c];
    }
    d_mean /= size, d_along /= size, w_along /= size, d_r /= rr;
    // d_z holds the cotangent of x_hat until the second loop.
    double h_mean = 0.0, h_along = 0.0;
    for (i64 c = at; c < at + d; ++c) {
        const double scale_c = 1.0 + gm[c - at], hat = x_hat[c], e = error[c];
        const double d_w = rr * (d_delta[c] - d_mean - hat * d_along);
        const double d_e = (d_w * scale_c + d_g[c] * hat) * scale;
        const double d_hat = -rr * (d_delta[c] * w_along + e * scale_c * d_along) + d_g[c] * e + d_e * scale_c;
        d_gamma[c] = (float)(d_w * e + d_e * hat);
        d_k[c] = (float)d_e, d_v[c] = (float)-d_e, d_z[c] = (float)d_hat;
        h_mean += d_hat, h_along += d_hat * hat;
    }
    h_mean /= size, h_along /= size;
    for (i64 c = at; c < at + d; ++c)
        d_z[c] = (float)(rr * (d_z[c] - h_mean - x_hat[c] * h_along) - d_r * rr * rr * x_hat[c] / size);
}

// n = rows * d: gammas = A gamma + G S_gamma (the tokens' share is subtracted by a product); S half a stride later
KERNEL gamma_rows(i64 n, i64 m, i64 d, i64 stride, const float* a, const float* g, const float* gamma, float* gammas) {
    THREAD(i, n);
    const i64 row = i / d;
    const float* gm = gamma + row / m * stride + i % d;
    gammas[i] = a[row] * gm[0] + g[row] * gm[stride / 2];
}

// n = rows: y = q + LN(z) (1 + gammas); x_hat and r are kept
KERNEL residual_read(i64 n, i64 d, const float* q, const float* z, const float* gammas, float* x_hat, float* r,
                     float* y) {
    THREAD(row, n);
    const i64 at = row * d;
    r[row] = (float)normalise(d, z + at, x_hat + at);
    for (i64 c = at; c < at + d; ++c) y[c] = q[c] + x_hat[c] * (1.0f + gammas[c]);
}

// n = rows: reverse: d_gammas = d_y x_hat, d_z through the layer norm (d_q = d_y is the caller's)
KERNEL residual_read_vjp(i64 n, i64 d, const float* x_hat, const float* r, const float* gammas, const float* d_y,
                         float* d_gammas, float* d_z) {
    THREAD(row, n);
    const i64 at = row * d;
    double mean = 0.0, along = 0.0;
    for (i64 c = at; c < at + d; ++c) {
        const double w = (double)d_y[c] * (1.0 + gammas[c]);
        mean += w, along += w * x_hat[c];
        d_gammas[c] = d_y[c] * x_hat[c];
    }
    mean /= (double)d, along /= (double)d;
    for (i64 c = at; c < at + d; ++c)
        d_z[c] = (float)(r[row] * ((double)d_y[c] * (1.0 + gammas[c]) - mean - x_hat[c] * along));
}

// n = rows: A and G of gamma_rows: d_a += d_gammas . gamma, d_g += d_gammas . S_gamma
KERNEL gamma_rows_vjp(i64 n, i64 m, i64 d, i64 stride, const float* gamma, const float* d_gammas, float* d_a,
                      float* d_g) {
    THREAD(row, n);
    const float* gm = gamma + row / m * stride;
    d_a[row] += (float)dot(d, gm, d_gammas + row * d);
    d_g[row] += (float)dot(d, gm + stride / 2, d_gammas + row * d);
}

// n = rows: closing gamma. gamma -= sum in_w g, S_gamma -= sum in_s g. d_gamma: cotangents after the chunk, strided.
// d_g -= in_w d_gamma' + in_s d_S'; d_in_w -= g . d_gamma'; d_in_s -= g . d_S'
KERNEL gamma_close_vjp(i64 n, i64 m, i64 d, i64 stride, const float* g, const float* in_w, const float* in_s,
                       const float* d_gamma, float* d_g, float* d_in_w, float* d_in_s) {
    THREAD(row, n);
    const float* dw = d_gamma + row / m * stride;
    const float* ds = dw + stride / 2;
    const i64 at = row * d;
    for (i64 c = 0; c < d; ++c) d_g[at + c] -= in_w[row] * dw[c] + in_s[row] * ds[c];
    d_in_w[row] -= (float)dot(d, g + at, dw);
    d_in_s[row] -= (float)dot(d, g + at, ds);
}
