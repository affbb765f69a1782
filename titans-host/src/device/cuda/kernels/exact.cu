// The exact form of the linear memory: a piece of m tokens is several chunks, and the gradients of every chunk are
// taken at the state at its own start, which holds the tokens of the piece before it (row r(t) = t / chunk * chunk).
//
// (I + T) Delta = R, R = scale (a_r K W + g_r K S - V), T[t, i] = scale (k_t . k_i) C[r(t), i] rate[i], scale = 2c. T
// is strictly lower triangular: its rows reach to the tokens i < r(t). scores [M, m, m]: k_t . k_i; C: [M, m + 1, m].
//
// Backward (MATH 4, exact form): Lambda = scale (I + T)^-T d_Delta chunk by chunk from the last, lambda_i = scale
// (d_delta_i - sum over t > i of M_(t,i) lambda_t) with M = T / scale, d_V = -Lambda, d_M = -Lambda Delta^T; a clip's
// share by (3). CPU: memory/exact_vjp.rs, `solve` and `writes`; with a clip write_vjp.rs, `rate_vjp`.

// n = rows * d: R
KERNEL exact_right(i64 n, i64 d, float scale, const float* a, const float* g, const float* x_w, const float* x_s,
                   const float* v, float* right) {
    THREAD(i, n);
    right[i] = scale * (a[i / d] * x_w[i] + g[i / d] * x_s[i] - v[i]);
}

// n = rows, a warp each: surprise = c |z - v|^2 from delta = 2c (z - v)
BLOCK_KERNEL(BLOCK) exact_surprise(i64 n, i64 d, float scale, const float* delta, float* surprise) {
    WARP_ROWS(r, n) {
        const float square = rounded(warp_dot(d, delta + r * d, delta + r * d));
        if (first_lane()) surprise[r] = square / (2.0f * scale);
    }
}

// n = M * tokens * d: Delta of one chunk, tokens `from` on, in place of R; the chunks before it are done
KERNEL exact_delta(i64 n, i64 m, i64 tokens, i64 from, i64 d, float scale, const float* scores, const float* c,
                   const float* rate, float* delta) {
    THREAD(x, n);
    const i64 k = x / d / tokens, t = from + x / d % tokens;
    scores += (k * m + t) * m, c += (k * (m + 1) + from) * m, rate += k * m, delta += k * m * d + x % d;
    Pair sum = {0.0f, 0.0f};
    for (i64 i = 0; i < from; ++i) sum = plus_product(sum, scores[i] * c[i] * rate[i], delta[i * d]);
    delta[t * d] -= scale * rounded(sum);
}

// n = M * tokens, a warp each: squared gradient norms and clipped rates of one chunk, tokens `from` on
BLOCK_KERNEL(BLOCK) exact_rate(i64 n, i64 m, i64 tokens, i64 from, i64 d_in, i64 d_out, float clip, const float* h,
                               const float* delta, const float* theta, float* norm2, float* rate) {
    WARP_ROWS(x, n) {
        const i64 r = x / tokens * m + from + x % tokens;
        const float *k = h + r * d_in, *e = delta + r * d_out;
        const float square = rounded(times(warp_dot(d_in, k, k), warp_dot(d_out, e, e)));
        if (first_lane()) norm2[r] = square, rate[r] = theta[r] * clip_factor(clip, square);
    }
}

// n = M * tokens, a warp each: reverse of `exact_rate` for tokens `from` on (MATH 4, exact form). T / scale = N C- rate
// stood before Delta on the left, N = K K^T, so its cotangent is -lambda_t . delta_i and
//
//   d_rate[i] -= sum over t of later chunks of N[t, i] C-[t, i] (lambda_t . delta_i)
//   d_norm2 = -theta d_rate f / (2 norm2)   where the clip bit, f = clip norm2^(-1/2), else 0      ((3))
//
// d_rate [M, m] holds what reads and closing give; the lambda of later chunks are done. Writes d_norm2.
BLOCK_KERNEL(BLOCK) exact_rate_vjp(i64 n, i64 m, i64 tokens, i64 from, i64 chunk, i64 d, float clip, const float* scores,
                                   const float* c, const float* delta, const float* lambda, const float* norm2,
                                   const float* theta, float* d_rate, float* d_norm2) {
    WARP_ROWS(x, n) {
        const i64 k = x / tokens, i = from + x % tokens, r = k * m + i;
        Pair sum = {0.0f, 0.0f};
        for (i64 t = from + tokens; t < m; ++t) {
            const float weight = scores[(k * m + t) * m + i] * c[(k * (m + 1) + t / chunk * chunk) * m + i];
            LANE_ELEMENTS(e, d) sum = plus_product(sum, weight * lambda[(k * m + t) * d + e], delta[r * d + e]);
        }
        sum = warp_sum(sum);
        if (!first_lane()) continue;
        const float factor = clip_factor(clip, norm2[r]), total = d_rate[r] - rounded(sum);
        d_rate[r] = total;
        d_norm2[r] = norm2[r] > clip * clip ? total * theta[r] * -0.5f * factor / norm2[r] : 0.0f;
    }
}

// n = M * tokens * d: lambda = scale (I + T)^-T d_Delta of one chunk by back substitution (MATH 4, exact form), and
// what the chunk's own norms give Delta; norm2 = |k|^2 |delta|^2, |k|^2 being on the scores' diagonal:
//
//   lambda_i = scale (d_delta_i + 2 |k_i|^2 delta_i d_norm2 - rate_i sum over t of later chunks of N[t, i] C-[t, i]
//              lambda_t)
KERNEL exact_lambda(i64 n, i64 m, i64 tokens, i64 from, i64 chunk, i64 d, float scale, const float* scores, const float* c,
                    const float* rate, const float* delta, const float* d_norm2, const float* d_delta, float* lambda) {
    THREAD(x, n);
    const i64 k = x / d / tokens, i = from + x / d % tokens, r = k * m + i, at = r * d + x % d;
    Pair sum = {0.0f, 0.0f};
    for (i64 t = from + tokens; t < m; ++t) {
        const float weight = scores[(k * m + t) * m + i] * c[(k * (m + 1) + t / chunk * chunk) * m + i];
        sum = plus_product(sum, weight, lambda[(k * m + t) * d + x % d]);
    }
    const float by_norm = 2.0f * scores[r * m + i] * delta[at] * d_norm2[r];
    lambda[at] = scale * (d_delta[at] + by_norm - rate[r] * rounded(sum));
}
