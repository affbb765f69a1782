// From the cotangents of a linear memory's coefficients to those of its gates: linear_coefficients (linear.cu) in
// reverse (MATH 4, (3)). A token that writes made A' = k A, E' = eta E, G' = k G + E', k = 1 - alpha, and in the
// columns of the tokens before it P' = eta P, C' = k C + P'. From the last token to the first,
//
//   d_E' += d_G',  d_P' += d_C'                             they went into G' and C' too
//   d_alpha -= d_A' A + d_G' G + sum over columns of d_C' C
//   d_eta += d_E' E + sum over columns of d_P' P
//   d_A += k d_A',  d_G += k d_G',  d_E += eta d_E',  d_C += k d_C',  d_P += eta d_P'
//
// and theta is a factor of B = C theta, IN_W = C_last theta and IN_S = P_last theta. CPU: memory/vjp.rs, `gates_vjp`,
// by memory/coefficients.rs, `push_vjp`.

// What a unit's cotangents are: of B of the queries and of the keys [length, length], where they are not null, and
// d_rows [6, length] (linear.cuh).
struct Given {
    const float *queries, *keys, *rows;
};

// What a column of C and P looks at, and where it leaves theta's cotangent and what it gives alpha and eta of every
// token behind it, [length (token), length (column)].
struct Column {
    Group all;
    Piece at;
    i64 read, chunk, read_only;
    const float* gates;
    const unsigned* mask;
    const float *c, *p;
    float *by_alpha, *by_eta, *d_gates;
};

// Column i: d_theta = sum over t of d_B[t, i] C[t, i] + d_IN_W C_last + d_IN_S P_last; then d_C and d_P, which begin
// with d_IN_W theta and d_IN_S theta and gain d_B[t, i] theta in the rows that answer t, back from row to row.
__device__ inline void column_vjp(const Column& x, const Given& d, i64 i) {
    const i64 length = x.all.length, count = x.at.count;
    const float *c = x.c + i, *p = x.p + i;
    const float in_w = d.rows[IN_W * length + i], in_s = d.rows[IN_S * length + i];
    const float theta = x.gates[gate_of(x.all, x.at, i, 1)];
    Pair sum = plus_product(two_product(in_w, c[count * length]), in_s, p[count * length]);
    for (i64 t = i; d.queries && t < count; ++t)
        sum = plus_product(sum, d.queries[t * length + i], c[answering(t, x.read, x.chunk) * length]);
    for (i64 t = i; d.keys && t < count; ++t)
        sum = plus_product(sum, d.keys[t * length + i], c[answering(t, -1, x.chunk) * length]);
    x.d_gates[gate_of(x.all, x.at, i, 1)] = rounded(sum);
    float d_c = in_w * theta, d_p = in_s * theta;
    for (i64 t = count - 1; t > i; --t) {
        // From row t + 1 to row t, through token t.
        const Span queries = answered(t + 1, x.read, x.chunk, count), keys = answered(t + 1, -1, x.chunk, count);
        for (i64 q = queries.from; d.queries && q < queries.to; ++q) d_c += d.queries[q * length + i] * theta;
        for (i64 q = keys.from; d.keys && q < keys.to; ++q) d_c += d.keys[q * length + i] * theta;
        float to_alpha = 0.0f, to_eta = 0.0f;
        if (writes(x.all, x.at, t, x.read_only, x.mask)) {
            d_p += d_c; // P' in C'
            to_alpha = -d_c * c[t * length], to_eta = d_p * p[t * length];
            d_c *= 1.0f - x.gates[gate_of(x.all, x.at, t, 0)], d_p *= x.gates[gate_of(x.all, x.at, t, 2)];
        }
        x.by_alpha[t * length + i] = to_alpha, x.by_eta[t * length + i] = to_eta;
    }
}

// alpha's and eta's cotangents of a warp's token: the sums over columns.
__device__ inline void total_columns(const Column& x, i64 t) {
    Pair alpha = {0.0f, 0.0f}, eta = {0.0f, 0.0f};
    LANE_ELEMENTS(i, t) {
        alpha = plus(alpha, x.by_alpha[t * x.all.length + i]);
        eta = plus(eta, x.by_eta[t * x.all.length + i]);
    }
    alpha = warp_sum(alpha), eta = warp_sum(eta);
    if (!first_lane()) return;
    x.d_gates[gate_of(x.all, x.at, t, 0)] = rounded(alpha), x.d_gates[gate_of(x.all, x.at, t, 2)] = rounded(eta);
}

// What A, G and E give to alpha and eta, from the cotangents of their last row; those of answering rows join on the
// way.
__device__ inline void chains_back(const Column& x, const Given& d, const float* chains, float d_a, float d_g,
                                   float d_e) {
    const i64 length = x.all.length, count = x.at.count;
    const float *a = chains, *g = a + length + 1, *e = g + length + 1;
    for (i64 t = count - 1; t >= 0; --t) {
        const Span queries = answered(t + 1, x.read, x.chunk, count), keys = answered(t + 1, -1, x.chunk, count);
        for (i64 q = queries.from; d.queries && q < queries.to; ++q)
            d_a += d.rows[A_READ * length + q], d_g += d.rows[G_READ * length + q];
        for (i64 q = keys.from; d.keys && q < keys.to; ++q)
            d_a += d.rows[A_KEYS * length + q], d_g += d.rows[G_KEYS * length + q];
        if (!writes(x.all, x.at, t, x.read_only, x.mask)) continue;
        const i64 alpha = gate_of(x.all, x.at, t, 0), eta = gate_of(x.all, x.at, t, 2);
        d_e += d_g; // E' in G'
        x.d_gates[alpha] -= d_a * a[t] + d_g * g[t];
        x.d_gates[eta] += d_e * e[t];
        d_a *= 1.0f - x.gates[alpha], d_g *= 1.0f - x.gates[alpha], d_e *= x.gates[eta];
    }
}

// d_gates of a unit; the last row's A, G and E closed the piece, W = a W + g S, S = e S: their cotangents begin with
// <W', W>, <W', S>, <S', S> ((1)).
__device__ inline void gates_vjp_of(const Column& x, const Given& d, const float* w, const float* d_w, i64 params,
                                    const float* chains) {
    Pair of_a = {0.0f, 0.0f}, of_g = of_a, of_e = of_a;
    for (i64 e = threadIdx.x; e < params; e += BLOCK) {
        of_a = plus_product(of_a, w[e], d_w[e]);
        of_g = plus_product(of_g, w[params + e], d_w[e]);
        of_e = plus_product(of_e, w[params + e], d_w[params + e]);
    }
    const float d_a = rounded(block_sum(of_a)), d_g = rounded(block_sum(of_g)), d_e = rounded(block_sum(of_e));
    for (i64 i = threadIdx.x; i < x.at.count; i += BLOCK) column_vjp(x, d, i);
    __syncthreads(); // the columns are written
    for (i64 t = threadIdx.x / 32; t < x.at.count; t += WARPS) total_columns(x, t);
    __syncthreads(); // the totals are written
    if (threadIdx.x == 0) chains_back(x, d, chains, d_a, d_g, d_e);
    __syncthreads(); // what follows is another unit's
}

// n = units, a block each: d_gates [batch, time, 3, heads]; by_alpha, by_eta: [units, length, length] to work in
BLOCK_KERNEL(BLOCK, 1) linear_gates_vjp(i64 n, OF_GROUP, i64 read, i64 chunk, i64 read_only, i64 params,
                                        const float* gates, const unsigned* mask, const float* chains, const float* c,
                                        const float* p, const float* d_queries, const float* d_keys,
                                        const float* d_rows, OF_STATES, const float* behind, float* by_alpha,
                                        float* by_eta, float* d_gates) {
    const Group all = {memories, heads, time, length, first};
    const States states = {kept, between, stride, every, between_first, memories, 2 * params};
    BLOCK_UNITS(u, n) {
        const i64 square = u * length * length, column = u * (length + 1) * length;
        const Given d = {d_queries ? d_queries + square : nullptr, d_keys ? d_keys + square : nullptr,
                         d_rows + u * COEFFICIENTS * length};
        const Column x = {all,      piece_of(all, u), read,              chunk,           read_only, gates, mask,
                          c + column, p + column,     by_alpha + square, by_eta + square, d_gates};
        gates_vjp_of(x, d, state_of(states, x.at), behind + u * 2 * params, params, chains + u * 3 * (length + 1));
    }
}

// The steps of linear_vjp.cuh and the gates, of pieces of at most 64 tokens, two by two: what a block makes first no
// other unit needs, and more than two would need more registers than a thread has.

// n = units, a block each: what linear_scores_vjp makes of both sides, and linear_queries_vjp. d_y, of_queries and
// d_queries are null where nothing is asked, of_keys and d_keys where a piece is one chunk
BLOCK_KERNEL(BLOCK, 1) linear_answers_vjp(i64 n, OF_GROUP, i64 read, i64 chunk, i64 d_in, i64 d_out, const float* q,
                                          const float* k, const float* gates, const float* c, const float* rows,
                                          const float* d_y, const float* d_v, float* delta, i64 delta_stride,
                                          i64 delta_first, OF_STATES, float* of_queries, float* d_queries,
                                          float* of_keys, float* d_keys, float* d_rows, float* d_q) {
    SHARED(float, left, [TILE][PART + 1]);
    SHARED(float, right, [TILE][TILE + 1]);
    SHARED(float, weights, [TILE][TILE + 1]);
    const Group all = {memories, heads, time, length, first};
    const States states = {kept, between, stride, every, between_first, memories, 2 * d_in * d_out};
    const TokensBack x = {all, read, chunk, d_in, d_out, q, k, gates, c, rows, d_y, d_v,
                          Residuals{delta, delta_stride, delta_first}, states, nullptr, of_queries, d_queries,
                          of_keys, d_keys, d_rows, d_q, nullptr};
    BLOCK_UNITS(u, n) {
        const Piece at = piece_of(all, u);
        scores_vjp(x, at, u, 0, 0, left, right);
        if (d_y) queries_vjp(x, at, u, 0, left, right, weights);
    }
}

// n = units, a block each: what linear_keys_vjp makes, and linear_gates_vjp. by_alpha and by_eta [units, length,
// length], of which of_queries and of_keys may be a part, are worked in
BLOCK_KERNEL(BLOCK, 1) linear_writes_vjp(i64 n, OF_GROUP, i64 read, i64 chunk, i64 read_only, i64 d_in, i64 d_out,
                                         const float* q, const float* k, const float* gates, const unsigned* mask,
                                         const float* chains, const float* rows, const float* c, const float* p,
                                         const float* d_v, float* delta, i64 delta_stride, i64 delta_first, OF_STATES,
                                         const float* behind, float* of_queries, const float* d_queries,
                                         float* of_keys, const float* d_keys, float* by_alpha, float* by_eta,
                                         float* d_rows, float* d_k, float* d_gates) {
    SHARED(float, left, [TILE][PART + 1]);
    SHARED(float, right, [TILE][TILE + 1]);
    SHARED(float, weights, [TILE][TILE + 1]);
    const Group all = {memories, heads, time, length, first};
    const i64 params = d_in * d_out;
    const States states = {kept, between, stride, every, between_first, memories, 2 * params};
    TokensBack x = {};
    x.all = all, x.d_in = d_in, x.d_out = d_out, x.q = q, x.k = k, x.rows = rows, x.d_v = d_v, x.states = states;
    x.delta = Residuals{delta, delta_stride, delta_first}, x.behind = behind;
    x.of_queries = of_queries, x.of_keys = of_keys, x.d_rows = d_rows, x.d_k = d_k;
    BLOCK_UNITS(u, n) {
        const Piece at = piece_of(all, u);
        keys_vjp(x, at, u, 0, left, right, weights);
        __syncthreads(); // d_rows is written, the squares are used
        const i64 square = u * length * length, column = u * (length + 1) * length;
        const Given d = {d_queries ? d_queries + square : nullptr, d_keys ? d_keys + square : nullptr,
                         d_rows + u * COEFFICIENTS * length};
        const Column of_gates = {all,        at,         read,              chunk,           read_only, gates, mask,
                                 c + column, p + column, by_alpha + square, by_eta + square, d_gates};
        gates_vjp_of(of_gates, d, state_of(states, at), behind + u * 2 * params, params, chains + u * 3 * (length + 1));
    }
}
