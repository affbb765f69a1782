// Reading with every query's own weights, and closing the chunk. The matrix products between are cuBLAS's.
// `rows` are M * m tokens; W of memory k starts at state + k * stride, S half a stride later.
//
// Backward (MATH 4, (1)): d_W = a d_W', d_S = e d_S' + g d_W' (advance_vjp), d_a += <d_W', W>, d_g += <d_W', S>, d_e +=
// <d_S', S> (state_dots); in (1) and (2) x_t . u_t and the like are row_dots. CPU: memory/close_vjp.rs, `Decay` and
// `decay_vjp`.

// n = rows * d: z = A x_w + G x_s, A and G one number a row
KERNEL mix(i64 n, i64 d, const float* a, const float* g, const float* x_w, const float* x_s, float* z) {
    THREAD(i, n);
    z[i] = a[i / d] * x_w[i] + g[i / d] * x_s[i];
}

// n = rows * d: y = scale[row] x
KERNEL scale_rows(i64 n, i64 d, const float* scale, const float* x, float* y) {
    THREAD(i, n);
    y[i] = scale[i / d] * x[i];
}

// n = rows, a warp each: y[row] += factor (a[row] . b[row])
BLOCK_KERNEL(BLOCK) row_dots(i64 n, i64 d, float factor, const float* a, const float* b, float* y) {
    WARP_ROWS(r, n) {
        const float product = rounded(warp_dot(d, a + r * d, b + r * d));
        if (first_lane()) y[r] += factor * product;
    }
}

// n = rows * d: y -= a[row] x1 + b[row] x2
KERNEL subtract_two(i64 n, i64 d, const float* a, const float* b, const float* x1, const float* x2, float* y) {
    THREAD(i, n);
    y[i] -= a[i / d] * x1[i] + b[i / d] * x2[i];
}

// n = M * len: the decay of `len` parameters of every state over a chunk: W = A W + G S, S = E S with the last row of
// the coefficients
KERNEL advance(i64 n, i64 len, i64 params, i64 m, const float* a, const float* g, const float* e, float* state) {
    THREAD(i, n);
    const i64 k = i / len, last = k * (m + 1) + m;
    float* w = state + k * 2 * params + i % len;
    w[0] = a[last] * w[0] + g[last] * w[params];
    w[params] = e[last] * w[params];
}

// n = M * len: its reverse in place (MATH 4, (1)). W' = A W + G S and S' = E S, so W went into W' alone and S into
// both: d_W = A d_W', d_S = G d_W' + E d_S'
KERNEL advance_vjp(i64 n, i64 len, i64 params, i64 m, const float* a, const float* g, const float* e, float* d_state) {
    THREAD(i, n);
    const i64 k = i / len, last = k * (m + 1) + m;
    float* d_w = d_state + k * 2 * params + i % len;
    d_w[params] = g[last] * d_w[0] + e[last] * d_w[params];
    d_w[0] = a[last] * d_w[0];
}

// n = M * lanes: the cotangents of A, G and E in W' = A W + G S, S' = E S (MATH 4, (1)): partial sums of <W, d_W'>, <S,
// d_W'>, <S, d_S'> over `len` parameters, each [M, lanes], one behind the other
KERNEL state_dots(i64 n, i64 lanes, i64 len, i64 params, const float* state, const float* d_state, float* partial) {
    THREAD(i, n);
    const i64 k = i / lanes;
    const float* w = state + k * 2 * params;
    const float* d_w = d_state + k * 2 * params;
    Pair of_a = {0.0f, 0.0f}, of_g = of_a, of_e = of_a;
    for (i64 p = i % lanes; p < len; p += lanes) {
        of_a = plus_product(of_a, w[p], d_w[p]);
        of_g = plus_product(of_g, w[params + p], d_w[p]);
        of_e = plus_product(of_e, w[params + p], d_w[params + p]);
    }
    partial[i] = rounded(of_a), partial[n + i] = rounded(of_g), partial[2 * n + i] = rounded(of_e);
}
