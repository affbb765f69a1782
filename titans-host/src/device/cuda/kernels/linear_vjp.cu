// The steps of linear_vjp.cuh, where their equations stand, as kernels, for pieces of any length; those of a tile have
// them two by two (linear_gates.cu). MATH 4, (1), (2), exact form; CPU: memory/read_vjp.rs, `layer_vjp`, and
// close_vjp.rs, `outer_products_vjp`:
//
//   linear_scores_vjp: F = M' B, B' = M' (Q K^T), and the keys' F-, B-';  linear_queries_vjp: Q', A', G';
//   linear_keys_vjp: K', A-', G-', IN_W', IN_S'

#define TILES_OF(length) ((length) + TILE - 1) / TILE

// n = units * tiles * tiles of 64, a block each: F and the cotangents of B of the queries (d_y not null) and of the
// keys (of_keys not null), each [units, length, length]. Tiles above the diagonal are left alone
BLOCK_KERNEL(BLOCK, 1) linear_scores_vjp(i64 n, OF_GROUP, i64 read, i64 chunk, i64 d_in, i64 d_out, const float* q,
                                         const float* k, const float* gates, const float* c, const float* d_y,
                                         const float* d_v, float* delta, i64 stride, i64 start, float* of_queries,
                                         float* d_queries, float* of_keys, float* d_keys) {
    SHARED(float, left, [TILE][PART + 1]);
    SHARED(float, right, [TILE][TILE + 1]);
    const Group all = {memories, heads, time, length, first};
    const i64 tiles = TILES_OF(length);
    TokensBack x = {};
    x.all = all, x.read = read, x.chunk = chunk, x.d_in = d_in, x.d_out = d_out, x.q = q, x.k = k, x.gates = gates;
    x.c = c, x.d_y = d_y, x.d_v = d_v, x.delta = Residuals{delta, stride, start};
    x.of_queries = of_queries, x.d_queries = d_queries, x.of_keys = of_keys, x.d_keys = d_keys;
    BLOCK_UNITS(u, n) {
        const i64 unit = u / (tiles * tiles), t = u / tiles % tiles * TILE, i = u % tiles * TILE;
        const Piece at = piece_of(all, unit);
        if (i > t || t >= at.count) continue;
        scores_vjp(x, at, unit, t, i, left, right);
    }
}

// n = units * tiles of 64, a block each: d_q = Q', and of d_rows [units, 6, length] A' and G' of the queries
BLOCK_KERNEL(BLOCK, 1) linear_queries_vjp(i64 n, OF_GROUP, i64 d_in, i64 d_out, const float* q, const float* k,
                                          const float* d_y, const float* rows, float* scaled, OF_STATES,
                                          float* d_rows, float* d_q) {
    SHARED(float, left, [TILE][PART + 1]);
    SHARED(float, right, [TILE][TILE + 1]);
    SHARED(float, weights, [TILE][TILE + 1]);
    const Group all = {memories, heads, time, length, first};
    const i64 tiles = TILES_OF(length);
    TokensBack x = {};
    x.all = all, x.d_in = d_in, x.d_out = d_out, x.q = q, x.k = k, x.rows = rows, x.d_y = d_y;
    x.states = States{kept, between, stride, every, between_first, memories, 2 * d_in * d_out};
    x.of_queries = scaled, x.d_rows = d_rows, x.d_q = d_q;
    BLOCK_UNITS(u, n) {
        const i64 unit = u / tiles, t = u % tiles * TILE;
        const Piece at = piece_of(all, unit);
        if (t >= at.count) continue;
        queries_vjp(x, at, unit, t, left, right, weights);
    }
}

// n = units * tiles of 64, a block each: d_k = K', and of d_rows [units, 6, length] all others. of_queries = F,
// of_keys = F-: null for 0
BLOCK_KERNEL(BLOCK, 1) linear_keys_vjp(i64 n, OF_GROUP, i64 d_in, i64 d_out, const float* q, const float* k,
                                       const float* d_v, float* delta, i64 delta_stride, i64 delta_first,
                                       const float* rows, float* of_queries, float* of_keys, OF_STATES,
                                       const float* behind, float* d_rows, float* d_k) {
    SHARED(float, left, [TILE][PART + 1]);
    SHARED(float, right, [TILE][TILE + 1]);
    SHARED(float, weights, [TILE][TILE + 1]);
    const Group all = {memories, heads, time, length, first};
    const i64 tiles = TILES_OF(length);
    TokensBack x = {};
    x.all = all, x.d_in = d_in, x.d_out = d_out, x.q = q, x.k = k, x.rows = rows, x.d_v = d_v;
    x.delta = Residuals{delta, delta_stride, delta_first};
    x.states = States{kept, between, stride, every, between_first, memories, 2 * d_in * d_out};
    x.behind = behind, x.of_queries = of_queries, x.of_keys = of_keys, x.d_rows = d_rows, x.d_k = d_k;
    BLOCK_UNITS(u, n) {
        const i64 unit = u / tiles, i = u % tiles * TILE;
        const Piece at = piece_of(all, unit);
        if (i >= at.count) continue;
        keys_vjp(x, at, unit, i, left, right, weights);
    }
}
