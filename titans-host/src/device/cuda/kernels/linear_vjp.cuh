// What the walks leave, in parallel over all pieces of a group (linear.cuh): the cotangents of queries, keys and gates
// from the states W, S at the pieces' starts, the cotangents W', S' behind them, and L = -d_v.
//
// Forward, with B = C theta and B- = C- theta: Y = A Q W + G Q S - M Delta, M = (Q K^T) B; R = scale (A- K W + G- K S -
// V), (I + scale M-) Delta = R, M- = (K K^T) B-; W = a W + g S - K^T IN_W Delta, S = e S - K^T IN_S Delta. A prime is a
// cotangent. M' = -Y' Delta^T ((2) of MATH 4) and M-' = -L Delta^T (exact form), below the diagonal, each a product of
// two factors element by element: F = (Q K^T)' = M' B, F- = (K K^T)' = M-' B-. With U = Delta W'^T and V = Delta S'^T
// ((1))
//
//   Q' = A Y' W^T + G Y' S^T + F K
//   K' = A- L W^T + G- L S^T + F- K             as queries of R and M-
//      + F-^T K + F^T Q                         as keys of M- and M
//      - IN_W U - IN_S V                        in the closing
//   A'_t = q_t . (Y' W^T)_t, G'_t = q_t . (Y' S^T)_t, likewise A-' and G-' of k and L
//   B' = M' (Q K^T), B-' = M-' (K K^T), IN_W'_i = -k_i . u_i, IN_S'_i = -k_i . v_i
//
// CPU: memory/read_vjp.rs (`layer_vjp`, `mask_vjp`) and memory/close_vjp.rs (`outer_products_vjp`).

// M = scores B and its cotangent M' (n): that of the scores is F = M' B, to `scaled`, that of B is M' scores, to
// `d_weight`. Of the tokens from t on, and from i on; 0 above the diagonal.
__device__ inline void store_weights_vjp(const Group& all, const Piece& at, i64 t, i64 i, i64 read, i64 chunk,
                                         const float (*n)[EACH], const float (*scores)[EACH], const float* gates,
                                         const float* c, float* scaled, float* d_weight) {
    for (int b = 0; b < EACH; ++b) {
        const i64 column = i + column_of(b);
        const float theta = column < at.count ? gates[gate_of(all, at, column, 1)] : 0.0f;
        for (int a = 0; a < EACH; ++a) {
            const i64 row = t + row_of(a), e = row * all.length + column;
            if (row >= at.count || column >= at.count) continue;
            const bool seen = column <= row;
            scaled[e] = seen ? n[a][b] * c[answering(row, read, chunk) * all.length + column] * theta : 0.0f;
            d_weight[e] = seen ? n[a][b] * scores[a][b] : 0.0f;
        }
    }
}

// Adds factor[row] times the rows of `left` times a tile of a matrix's transpose, its rows from `column` on, to
// `total`; their products with the rows of x to `dots`.
__device__ inline void add_products(Rows left, const float* matrix, i64 column, Rows x, const float* factor, float sign,
                                    float (*l)[PART + 1], float (*r)[TILE + 1], float (*total)[EACH], float* dots) {
    float products[EACH][EACH];
    const Rows right = {matrix + column * left.width, left.width, x.width - column, left.width};
    row_products(left, right, l, r, products);
    for (int a = 0; a < EACH; ++a) {
        const bool row = row_of(a) < x.count;
        const float of_row = row ? sign * factor[row_of(a)] : 0.0f;
        for (int b = 0; b < EACH; ++b) {
            const i64 e = column + column_of(b);
            total[a][b] += of_row * products[a][b];
            if (row && e < x.width) dots[a] = fmaf(sign * x.start[row_of(a) * x.stride + e], products[a][b], dots[a]);
        }
    }
}

// Adds a tile of a square [length, length] (of its transpose) times the columns from `column` on of `rows` to `total`.
// The square is `count` long; the tile's rows begin at t, its columns at i.
__device__ inline void add_square(const float* square, i64 length, i64 count, i64 t, i64 i, bool transposed, Rows rows,
                                  i64 column, float (*weights)[TILE + 1], float (*tile)[TILE + 1],
                                  float (*total)[EACH]) {
    __syncthreads(); // what was there is used
    load_tile<TILE>(Rows{square + t * length + i, length, count - t, count - i}, 0, weights[0]);
    add_weighted(weights, transposed, rows, column, tile, total);
}

// Sums of the 16 threads that share a row.
__device__ inline void store_dots(const float* dots, i64 count, float* out) {
    for (int a = 0; a < EACH; ++a) {
        const float sum = row_sum(dots[a]);
        if (threadIdx.x % 16 == 0 && row_of(a) < count) out[row_of(a)] = sum;
    }
}

// What the three steps work with. of_queries = F and of_keys = F- are null where there are no such cotangents,
// d_queries and d_keys those of B.
struct TokensBack {
    Group all;
    i64 read, chunk, d_in, d_out;
    const float *q, *k, *gates, *c, *rows, *d_y, *d_v;
    Residuals delta;
    States states;
    const float* behind;
    float *of_queries, *d_queries, *of_keys, *d_keys, *d_rows, *d_q, *d_k;
};

// A unit's squares of the tokens from t on, and from i on.
__device__ inline void scores_vjp(const TokensBack& x, const Piece& at, i64 unit, i64 t, i64 i, float (*left)[PART + 1],
                                  float (*right)[TILE + 1]) {
    const i64 length = x.all.length, square = unit * length * length;
    const Rows keys = tokens_of(x.all, at, i, x.k, x.d_in);
    const Rows residuals = residuals_of(x.delta, at, i, x.d_out);
    const float* of_unit = x.c + unit * (length + 1) * length;
    float gains[EACH][EACH], scores[EACH][EACH];
    UNROLL(1)
    for (int side = x.d_y ? 0 : 1; side < (x.of_keys ? 2 : 1); ++side) {
        row_products(tokens_of(x.all, at, t, side ? x.d_v : x.d_y, x.d_out), residuals, left, right, gains);
        row_products(tokens_of(x.all, at, t, side ? x.k : x.q, x.d_in), keys, left, right, scores);
        // d_v is -L.
        for (int a = 0; a < EACH; ++a)
            for (int b = 0; b < EACH; ++b) gains[a][b] = side ? gains[a][b] : -gains[a][b];
        store_weights_vjp(x.all, at, t, i, side ? -1 : x.read, x.chunk, gains, scores, x.gates, of_unit,
                          (side ? x.of_keys : x.of_queries) + square, (side ? x.d_keys : x.d_queries) + square);
    }
}

// d_q = Q' of a unit's tokens from t on, and of d_rows [units, 6, length] A' and G' of the queries.
__device__ inline void queries_vjp(const TokensBack& x, const Piece& at, i64 unit, i64 t, float (*left)[PART + 1],
                                   float (*right)[TILE + 1], float (*weights)[TILE + 1]) {
    const i64 length = x.all.length, params = x.d_in * x.d_out, own = unit * COEFFICIENTS * length + t;
    const float* w = state_of(x.states, at);
    const Rows d_answers = tokens_of(x.all, at, t, x.d_y, x.d_out), tokens = tokens_of(x.all, at, t, x.q, x.d_in);
    float of_a[EACH] = {}, of_g[EACH] = {};
    for (i64 column = 0; column < x.d_in; column += TILE) {
        float total[EACH][EACH] = {};
        // A Y' W^T, G Y' S^T, then F K.
        add_products(d_answers, w, column, tokens, x.rows + own + A_READ * length, 1.0f, left, right, total, of_a);
        add_products(d_answers, w + params, column, tokens, x.rows + own + G_READ * length, 1.0f, left, right, total,
                     of_g);
        for (i64 i = 0; i <= t; i += TILE)
            add_square(x.of_queries + unit * length * length, length, at.count, t, i, false,
                       tokens_of(x.all, at, i, x.k, x.d_in), column, weights, right, total);
        store_tile(total, column, at.count - t, x.d_in, x.all.heads * x.d_in,
                   x.d_q + (at.row + t * x.all.heads) * x.d_in);
    }
    store_dots(of_a, at.count - t, x.d_rows + own + A_READ * length);
    store_dots(of_g, at.count - t, x.d_rows + own + G_READ * length);
}

// d_k = K' of a unit's tokens from i on, and of d_rows all others.
__device__ inline void keys_vjp(const TokensBack& x, const Piece& at, i64 unit, i64 i, float (*left)[PART + 1],
                                float (*right)[TILE + 1], float (*weights)[TILE + 1]) {
    const i64 length = x.all.length, d_in = x.d_in, params = d_in * x.d_out;
    const i64 own = unit * COEFFICIENTS * length + i, square = unit * length * length;
    const float *w = state_of(x.states, at), *d_w = x.behind + unit * 2 * params;
    const Rows lambda = tokens_of(x.all, at, i, x.d_v, x.d_out), tokens = tokens_of(x.all, at, i, x.k, d_in);
    const Rows residuals = residuals_of(x.delta, at, i, x.d_out);
    float of_a[EACH] = {}, of_g[EACH] = {}, in_w[EACH] = {}, in_s[EACH] = {};
    for (i64 column = 0; column < d_in; column += TILE) {
        float total[EACH][EACH] = {};
        // A- L W^T and G- L S^T, of d_v = -L.
        add_products(lambda, w, column, tokens, x.rows + own + A_KEYS * length, -1.0f, left, right, total, of_a);
        add_products(lambda, w + params, column, tokens, x.rows + own + G_KEYS * length, -1.0f, left, right, total,
                     of_g);
        // -IN_W U and -IN_S V.
        add_products(residuals, d_w, column, tokens, x.rows + own + IN_W * length, -1.0f, left, right, total, in_w);
        add_products(residuals, d_w + params, column, tokens, x.rows + own + IN_S * length, -1.0f, left, right, total,
                     in_s);
        // F- K, F-^T K, F^T Q.
        for (i64 t = 0; x.of_keys && t <= i; t += TILE)
            add_square(x.of_keys + square, length, at.count, i, t, false, tokens_of(x.all, at, t, x.k, d_in), column,
                       weights, right, total);
        for (i64 t = i; x.of_keys && t < at.count; t += TILE)
            add_square(x.of_keys + square, length, at.count, t, i, true, tokens_of(x.all, at, t, x.k, d_in), column,
                       weights, right, total);
        for (i64 t = i; x.of_queries && t < at.count; t += TILE)
            add_square(x.of_queries + square, length, at.count, t, i, true, tokens_of(x.all, at, t, x.q, d_in), column,
                       weights, right, total);
        store_tile(total, column, at.count - i, d_in, x.all.heads * d_in, x.d_k + (at.row + i * x.all.heads) * d_in);
    }
    store_dots(of_a, at.count - i, x.d_rows + own + A_KEYS * length);
    store_dots(of_g, at.count - i, x.d_rows + own + G_KEYS * length);
    store_dots(in_w, at.count - i, x.d_rows + own + IN_W * length);
    store_dots(in_s, at.count - i, x.d_rows + own + IN_S * length);
}
