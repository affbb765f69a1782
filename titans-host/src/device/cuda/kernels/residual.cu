// The residual network's output, M(x) = x + LN(z) (1 + gamma), on keys and on queries. `rows` are M * m tokens; gamma
// of memory k is at gamma + k * stride (inside the state), x_hat = LN(z) without gamma. A warp a row; what
// nearly cancels in narrow rows is double.
//
// Backward: residual_top_vjp is the layer norm's second derivative and the residual shape of MATH 4, (4) (CPU:
// memory/write_vjp.rs, `residual`; ops/layer_norm.rs, `vjp_vjp_row`), residual_read_vjp its read-out, (2) (CPU:
// memory/read_vjp.rs, `output_vjp`). MATH's rho, 1 / sqrt(var + eps), is r here.

// 1 / sqrt(x), without divisions and roots of doubles, whose subroutines cost registers.
__device__ inline double inverse_root(double x) {
    const float hi = (float)x;
    const Pair root = inverse_root(Pair{hi, (float)(x - hi)});
    return (double)root.hi + root.lo;
}

// 1 / d, likewise.
__device__ inline double inverse_of(i64 d) { return inverse_root((double)d) * inverse_root((double)d); }

// x_hat of a warp's row, share = 1 / d; returns r = 1 / sqrt(var + eps).
__device__ inline double normalise(i64 d, double share, const float* z, float* x_hat) {
    double mean = 0.0, var = 0.0;
    LANE_ELEMENTS(c, d) mean += z[c];
    mean = warp_sum(mean) * share;
    LANE_ELEMENTS(c, d) var += (z[c] - mean) * (z[c] - mean);
    const double r = inverse_root(warp_sum(var) * share + LAYER_NORM_EPS);
    LANE_ELEMENTS(c, d) x_hat[c] = (float)((z[c] - mean) * r);
    return r;
}

// n = rows. e = M(k) - v; scale = 2c; surprise = c |e|^2; error = scale e; g = error x_hat (gamma's gradient);
// delta = r (w - mean(w) - x_hat mean(x_hat w)), w = error (1 + gamma)
BLOCK_KERNEL(BLOCK) residual_top(i64 n, i64 m, i64 d, i64 stride, float scale, const float* z, const float* k,
                                 const float* v, const float* gamma, float* x_hat, float* r, float* error, float* g,
                                 float* delta, float* surprise) {
    const double share = inverse_of(d);
    WARP_ROWS(row, n) {
        const float* gm = gamma + row / m * stride;
        const i64 at = row * d;
        const double rr = normalise(d, share, z + at, x_hat + at);
        if (first_lane()) r[row] = (float)rr;
        Pair sum = {0.0f, 0.0f};
        double mean = 0.0, along = 0.0;
        LANE_ELEMENTS(lane, d) {
            const i64 c = at + lane;
            const float hat = x_hat[c], e = k[c] + hat * (1.0f + gm[lane]) - v[c];
            sum = plus_product(sum, e, e);
            error[c] = scale * e;
            g[c] = scale * e * hat;
            const double w = (double)(scale * e) * (1.0 + gm[lane]);
            mean += w, along += w * hat;
        }
        sum = warp_sum(sum);
        if (first_lane()) surprise[row] = 0.5f * scale * rounded(sum);
        mean = warp_sum(mean) * share, along = warp_sum(along) * share;
        LANE_ELEMENTS(lane, d) {
            const i64 c = at + lane;
            delta[c] = (float)(rr * ((double)error[c] * (1.0 + gm[lane]) - mean - x_hat[c] * along));
        }
    }
}

// n = rows: reverse of residual_top, given d_delta and d_g (MATH 4, (4): the residual shape, and the layer norm's
// second derivative). m = M(k) = k + x_hat (1 + gamma), e = 2c (m - v), g = e x_hat, w = e (1 + gamma), delta = J w,
// J x = rho (x - mean(x) - x_hat mean(x_hat x)), which is symmetric, so that
//
//   d_w = J d_delta,   d_e = d_w (1 + gamma) + d_g x_hat,   d_m = 2c d_e
//   omega = -rho (d_delta mean(w x_hat) + w mean(d_delta x_hat)),   d_hat = omega + d_g e + d_m (1 + gamma)
//   d_gamma = d_w e + d_m x_hat,   d_k = d_m,   d_v = -d_m
//   d_z = J d_hat - (d_delta . delta) (rho / d) x_hat        the last term by rho: ddelta/drho = delta / rho
//
// d_z, d_k, d_v overwritten; d_gamma [rows, d] of this row.
BLOCK_KERNEL(BLOCK) residual_top_vjp(i64 n, i64 m, i64 d, i64 stride, float scale, const float* x_hat, const float* r,
                                     const float* error, const float* delta, const float* gamma, const float* d_delta,
                                     const float* d_g, float* d_z, float* d_k, float* d_v, float* d_gamma) {
    const double share = inverse_of(d);
    WARP_ROWS(row, n) {
        const float* gm = gamma + row / m * stride;
        const i64 at = row * d;
        const double rr = r[row];
        double d_mean = 0.0, d_along = 0.0, w_along = 0.0, d_r = 0.0;
        LANE_ELEMENTS(e, d) {
            const i64 c = at + e;
            d_mean += d_delta[c], d_along += (double)d_delta[c] * x_hat[c];
            w_along += (double)error[c] * (1.0 + gm[e]) * x_hat[c];
            d_r += (double)d_delta[c] * delta[c];
        }
        d_mean = warp_sum(d_mean) * share, d_along = warp_sum(d_along) * share;
        w_along = warp_sum(w_along) * share, d_r = warp_sum(d_r) * rr * share;
        // d_z holds the cotangent of x_hat until the second loop.
        double h_mean = 0.0, h_along = 0.0;
        LANE_ELEMENTS(lane, d) {
            const i64 c = at + lane;
            const double scale_c = 1.0 + gm[lane], hat = x_hat[c], e = error[c];
            const double d_w = rr * (d_delta[c] - d_mean - hat * d_along); // J d_delta
            const double d_e = (d_w * scale_c + d_g[c] * hat) * scale;     // d_m
            const double d_hat = -rr * (d_delta[c] * w_along + e * scale_c * d_along) + d_g[c] * e + d_e * scale_c;
            d_gamma[c] = (float)(d_w * e + d_e * hat);
            d_k[c] = (float)d_e, d_v[c] = (float)-d_e, d_z[c] = (float)d_hat;
            h_mean += d_hat, h_along += d_hat * hat;
        }
        h_mean = warp_sum(h_mean) * share, h_along = warp_sum(h_along) * share;
        LANE_ELEMENTS(e, d) {
            const i64 c = at + e;
            d_z[c] = (float)(rr * (d_z[c] - h_mean - x_hat[c] * h_along) - d_r * x_hat[c]);
        }
    }
}

// n = rows * d: gammas = A gamma + G S_gamma (the tokens' share is subtracted by a product); S half a stride later
KERNEL gamma_rows(i64 n, i64 m, i64 d, i64 stride, const float* a, const float* g, const float* gamma, float* gammas) {
    THREAD(i, n);
    const i64 row = i / d;
    const float* gm = gamma + row / m * stride + i % d;
    gammas[i] = a[row] * gm[0] + g[row] * gm[stride / 2];
}

// n = rows: y = q + LN(z) (1 + gammas); x_hat and r are kept
BLOCK_KERNEL(BLOCK) residual_read(i64 n, i64 d, const float* q, const float* z, const float* gammas, float* x_hat,
                                  float* r, float* y) {
    const double share = inverse_of(d);
    WARP_ROWS(row, n) {
        const i64 at = row * d;
        const double rr = normalise(d, share, z + at, x_hat + at);
        if (first_lane()) r[row] = (float)rr;
        LANE_ELEMENTS(c, d) y[at + c] = q[at + c] + x_hat[at + c] * (1.0f + gammas[at + c]);
    }
}

// n = rows: reverse of residual_read, y = q + x_hat (1 + gammas) (MATH 4, (2)): d_gammas = d_y x_hat, d_q = d_y (the
// caller's), and with w = d_y (1 + gammas), the cotangent of x_hat, d_z = rho (w - mean(w) - x_hat mean(w x_hat))
BLOCK_KERNEL(BLOCK) residual_read_vjp(i64 n, i64 d, const float* x_hat, const float* r, const float* gammas,
                                      const float* d_y, float* d_gammas, float* d_z) {
    const double share = inverse_of(d);
    WARP_ROWS(row, n) {
        const i64 at = row * d;
        double mean = 0.0, along = 0.0;
        LANE_ELEMENTS(e, d) {
            const i64 c = at + e;
            const double w = (double)d_y[c] * (1.0 + gammas[c]);
            mean += w, along += w * x_hat[c];
            d_gammas[c] = d_y[c] * x_hat[c];
        }
        mean = warp_sum(mean) * share, along = warp_sum(along) * share;
        LANE_ELEMENTS(e, d) {
            const i64 c = at + e;
            d_z[c] = (float)(r[row] * ((double)d_y[c] * (1.0 + gammas[c]) - mean - x_hat[c] * along));
        }
    }
}

// n = rows: A and G of gamma_rows, gammas = A gamma + G S_gamma (MATH 4, (2)): d_a += d_gammas . gamma, d_g += d_gammas
// . S_gamma; those of gamma and S_gamma are products
BLOCK_KERNEL(BLOCK) gamma_rows_vjp(i64 n, i64 m, i64 d, i64 stride, const float* gamma, const float* d_gammas,
                                   float* d_a, float* d_g) {
    WARP_ROWS(row, n) {
        const float* gm = gamma + row / m * stride;
        const float of_a = rounded(warp_dot(d, gm, d_gammas + row * d));
        const float of_g = rounded(warp_dot(d, gm + stride / 2, d_gammas + row * d));
        if (first_lane()) d_a[row] += of_a, d_g[row] += of_g;
    }
}

// n = rows: reverse of closing gamma, gamma' = ... - sum in_w g, S' = ... - sum in_s g (MATH 4, (1), H = 1). d_gamma:
// cotangents after the chunk, strided: d_g -= in_w d_gamma' + in_s d_S'; d_in_w -= g . d_gamma'; d_in_s -= g . d_S'
BLOCK_KERNEL(BLOCK) gamma_close_vjp(i64 n, i64 m, i64 d, i64 stride, const float* g, const float* in_w,
                                    const float* in_s, const float* d_gamma, float* d_g, float* d_in_w,
                                    float* d_in_s) {
    WARP_ROWS(row, n) {
        const float* dw = d_gamma + row / m * stride;
        const float* ds = dw + stride / 2;
        const i64 at = row * d;
        LANE_ELEMENTS(c, d) d_g[at + c] -= in_w[row] * dw[c] + in_s[row] * ds[c];
        const float of_w = rounded(warp_dot(d, g + at, dw)), of_s = rounded(warp_dot(d, g + at, ds));
        if (first_lane()) d_in_w[row] -= of_w, d_in_s[row] -= of_s;
    }
}
