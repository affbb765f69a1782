// A, G, C and P of the chunk form (no division, no logarithm), and the reverse of their recurrences.
//
// m tokens. Row 0 is the chunk's start, row t + 1 the state after token t. A, G, E: [M, m + 1]; C, P: [M, m + 1, m].
// A token that does not write repeats the row before it. `chunk` is the number of tokens whose gradients are taken at
// the same row: m, or less where several chunks are computed at once.
//
// Backward (MATH 4, (3)): with k = 1 - alpha_t
//
//   d_alpha_t = -(d_A_t A_(t-1) + d_G_t G_(t-1) + sum over i < t of d_C_(t,i) C_(t-1,i))
//   d_eta_t = d_E_t E_(t-1) + sum over i < t of d_P_(t,i) P_(t-1,i)
//
// chains_vjp has A, G and E, columns_vjp a column of C and P each, rate_vjp the rates' cotangents of (1) and (2). CPU:
// memory/coefficients.rs, `push_vjp`; for the rates memory/read_vjp.rs, `mask_vjp`, and close_vjp.rs.

// n = M
KERNEL chains(i64 n, i64 m, const float* alpha, const float* eta, const float* writes, float* a, float* g, float* e) {
    THREAD(k, n);
    a += k * (m + 1), g += k * (m + 1), e += k * (m + 1);
    a[0] = 1.0f, g[0] = 0.0f, e[0] = 1.0f;
    for (i64 t = 0; t < m; ++t) {
        const bool w = writes[k * m + t] != 0.0f;
        const float keep = w ? 1.0f - alpha[k * m + t] : 1.0f;
        a[t + 1] = keep * a[t];
        e[t + 1] = w ? eta[k * m + t] * e[t] : e[t];
        g[t + 1] = w ? keep * g[t] + e[t + 1] : g[t];
    }
}

// n = M * m: column i of C and P
KERNEL columns(i64 n, i64 m, const float* alpha, const float* eta, const float* writes, float* c, float* p) {
    THREAD(x, n);
    const i64 k = x / m, i = x % m;
    c += k * (m + 1) * m + i, p += k * (m + 1) * m + i;
    float c_now = 0.0f, p_now = 0.0f;
    for (i64 t = 0; t <= m; ++t) {
        if (t == i + 1) {
            c_now = p_now = writes[k * m + i];
        } else if (t > i + 1 && writes[k * m + t - 1] != 0.0f) {
            p_now = eta[k * m + t - 1] * p_now;
            c_now = (1.0f - alpha[k * m + t - 1]) * c_now + p_now;
        }
        c[t * m] = c_now, p[t * m] = p_now;
    }
}

// n = M * m: A and G of the rows that answer
KERNEL answer_rows(i64 n, i64 m, i64 read, i64 chunk, const float* a, const float* g, float* a_read, float* g_read) {
    THREAD(i, n);
    const i64 row = i / m * (m + 1) + answering(i % m, read, chunk);
    a_read[i] = a[row], g_read[i] = g[row];
}

// n = M * m * m: B[t, i] = C[row of t, i] rate[i]
KERNEL answer_weights(i64 n, i64 m, i64 read, i64 chunk, const float* c, const float* rate, float* b) {
    THREAD(x, n);
    const i64 i = x % m, t = x / m % m, k = x / m / m;
    b[x] = c[(k * (m + 1) + answering(t, read, chunk)) * m + i] * rate[k * m + i];
}

// n = M * m: the weights of the tokens in W and S at the chunk's end: last rows of C and P times the rate
KERNEL closing_weights(i64 n, i64 m, const float* c, const float* p, const float* rate, float* in_w, float* in_s) {
    THREAD(x, n);
    const i64 at = (x / m * (m + 1) + m) * m + x % m;
    in_w[x] = c[at] * rate[x], in_s[x] = p[at] * rate[x];
}

// Reverse of B[t, i] = C[row of t, i] rate[i], in_w = C_last rate and in_s = P_last rate, for the rates, each the other
// factor of three products (MATH 4, (1) and (2)). n = M * m:
// d_rate[i] = sum over t of dB[t, i] C[row of t, i] + d_in_w[i] C_last[i] + d_in_s[i] P_last[i]
KERNEL rate_vjp(i64 n, i64 m, i64 read, i64 chunk, const float* c, const float* p, const float* d_b, const float* d_in_w,
                const float* d_in_s, float* d_rate) {
    THREAD(x, n);
    const i64 k = x / m, i = x % m, last = (k * (m + 1) + m) * m + i;
    Pair sum = plus_product(two_product(d_in_w[x], c[last]), d_in_s[x], p[last]);
    for (i64 t = 0; t < m; ++t)
        sum = plus_product(sum, d_b[(k * m + t) * m + i], c[(k * (m + 1) + answering(t, read, chunk)) * m + i]);
    d_rate[x] = rounded(sum);
}

// n = M * m: reverse of `columns` for column i (MATH 4, (3)). Token t > i that writes made row t + 1 of row t: P' = eta
// P and C' = (1 - alpha) C + P', so, from the last token to the first,
//
//   d_P' += d_C'                            P' went into C' too
//   d_alpha -= d_C' C, d_eta += d_P' P      by_alpha, by_eta [M, m (token), m (column)], summed over columns elsewhere
//   d_C += (1 - alpha) d_C', d_P += eta d_P'
//
// and row i + 1 holds the constant 1, where it ends. What comes to C and P from their uses: d_C += dB rate of the
// queries (and of the keys where d_keys is not null) that a row answers; in the last row d_C = d_in_w rate, d_P =
// d_in_s rate.
KERNEL columns_vjp(i64 n, i64 m, i64 read, i64 chunk, const float* alpha, const float* eta, const float* writes,
                   const float* rate, const float* c, const float* p, const float* d_b, const float* d_keys,
                   const float* d_in_w, const float* d_in_s, float* by_alpha, float* by_eta) {
    THREAD(x, n);
    const i64 k = x / m, i = x % m;
    c += k * (m + 1) * m + i, p += k * (m + 1) * m + i, d_b += k * m * m + i;
    if (d_keys) d_keys += k * m * m + i;
    by_alpha += k * m * m + i, by_eta += k * m * m + i;
    float d_c = d_in_w[x] * rate[x], d_p = d_in_s[x] * rate[x];
    for (i64 t = m - 1; t >= 0; --t) {
        // From row t + 1 to row t, through token t.
        const Span queries = answered(t + 1, read, chunk, m), keys = answered(t + 1, -1, chunk, m);
        for (i64 q = queries.from; q < queries.to; ++q) d_c += d_b[q * m] * rate[x];
        for (i64 q = keys.from; d_keys && q < keys.to; ++q) d_c += d_keys[q * m] * rate[x];
        float to_alpha = 0.0f, to_eta = 0.0f;
        if (t > i && writes[k * m + t] != 0.0f) {
            d_p += d_c;                   // P' in C'
            to_alpha = -d_c * c[t * m];   // C' by 1 - alpha
            to_eta = d_p * p[t * m];      // P' by eta
            d_c *= 1.0f - alpha[k * m + t];
            d_p *= eta[k * m + t];
        }
        by_alpha[t * m] = to_alpha, by_eta[t * m] = to_eta;
    }
}

// n = M * m, a warp each: y[t] = sum of row t of x [M, m, d]
BLOCK_KERNEL(BLOCK) row_totals(i64 n, i64 d, const float* x, float* y) {
    WARP_ROWS(r, n) {
        Pair sum = {0.0f, 0.0f};
        LANE_ELEMENTS(c, d) sum = plus(sum, x[r * d + c]);
        sum = warp_sum(sum);
        if (first_lane()) y[r] = rounded(sum);
    }
}

// n = M: reverse of `chains` (MATH 4, (3)). A token that writes made A' = (1 - alpha) A, E' = eta E, G' = (1 - alpha) G
// + E', so, from the last token to the first,
//
//   d_E' += d_G'                                            E' went into G' too
//   d_alpha -= d_A' A + d_G' G, d_eta += d_E' E             added to [M, m]
//   d_A += (1 - alpha) d_A', d_G += (1 - alpha) d_G', d_E += eta d_E'
//
// What comes to A and G from their uses: d_a_read, d_g_read [M, m] of the answering rows; d_a_keys, d_g_keys (may be
// null) of those where the gradients are taken; ends [3, M]: of A, G and E in the last row.
KERNEL chains_vjp(i64 n, i64 m, i64 read, i64 chunk, const float* alpha, const float* eta, const float* writes,
                  const float* a, const float* g, const float* e, const float* d_a_read, const float* d_g_read,
                  const float* d_a_keys, const float* d_g_keys, const float* ends, float* d_alpha, float* d_eta) {
    THREAD(k, n);
    a += k * (m + 1), g += k * (m + 1), e += k * (m + 1);
    float d_a = ends[k], d_g = ends[n + k], d_e = ends[2 * n + k];
    for (i64 t = m - 1; t >= 0; --t) {
        const i64 x = k * m + t;
        const Span queries = answered(t + 1, read, chunk, m), keys = answered(t + 1, -1, chunk, m);
        for (i64 q = k * m + queries.from; q < k * m + queries.to; ++q) d_a += d_a_read[q], d_g += d_g_read[q];
        for (i64 q = k * m + keys.from; d_a_keys && q < k * m + keys.to; ++q) d_a += d_a_keys[q], d_g += d_g_keys[q];
        if (writes[x] == 0.0f) continue;
        d_e += d_g;                            // E' in G'
        d_alpha[x] -= d_a * a[t] + d_g * g[t]; // A' and G' by 1 - alpha
        d_eta[x] += d_e * e[t];                // E' by eta
        d_a *= 1.0f - alpha[x], d_g *= 1.0f - alpha[x], d_e *= eta[x];
    }
}
