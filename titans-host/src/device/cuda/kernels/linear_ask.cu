// Questions to linear memories that nothing is written to: all queries are answered by the weights of the start, which
// are the weights of the end. Queries [batch, time, heads, d_in], states [M, 2, d_in, d_out].

// A tile of one memory's tokens and of columns: units are [M, tiles of rows, tiles of columns].
struct AskTile {
    i64 memory, b, head, row, column;
};

__device__ inline AskTile ask_tile(i64 unit, i64 heads, i64 rows, i64 columns) {
    const i64 parts = (columns + TILE - 1) / TILE, tiles = (rows + TILE - 1) / TILE, memory = unit / parts / tiles;
    return AskTile{memory, memory / heads, memory % heads, unit / parts % tiles * TILE, unit % parts * TILE};
}

// Rows `first` on of a matrix [rows, width], TILE at the most.
__device__ inline Rows matrix_rows(const float* x, i64 first, i64 rows, i64 width) {
    return Rows{x + first * width, width, rows - first < TILE ? rows - first : TILE, width};
}

__device__ inline void clear_sums(float (*sum)[EACH]) {
    for (int a = 0; a < EACH; ++a)
        for (int b = 0; b < EACH; ++b) sum[a][b] = 0.0f;
}

// n = M * ceil(time / 64) * ceil(d_out / 64): Y = Q W
BLOCK_KERNEL(BLOCK) linear_ask(i64 n, i64 heads, i64 time, i64 d_in, i64 d_out, const float* q, const float* state,
                               float* y) {
    SHARED(float, weights, [TILE][TILE + 1]);
    SHARED(float, tile, [TILE][TILE + 1]);
    BLOCK_UNITS(u, n) {
        const AskTile at = ask_tile(u, heads, time, d_out);
        const Rows queries = head_rows(q, at.b, time, at.row, heads, at.head, d_in);
        float sum[EACH][EACH];
        clear_sums(sum);
        for (i64 i = 0; i < d_in; i += TILE) {
            __syncthreads(); // what was there is used
            load_tile<TILE>(queries, i, weights[0]);
            const Rows rows = matrix_rows(state + at.memory * 2 * d_in * d_out, i, d_in, d_out);
            add_weighted(weights, false, rows, at.column, tile, sum);
        }
        float* out = y + ((at.b * time + at.row) * heads + at.head) * d_out;
        store_tile(sum, at.column, queries.count, d_out, heads * d_out, out);
    }
}

// n = M * (ceil(time / 64) * ceil(d_in / 64) + ceil(d_in / 64) * ceil(d_out / 64)): d_Q = d_Y W^T, and behind these
// units d_W = Q^T d_Y, d_S = 0; where add is not 0, to what d_state holds
BLOCK_KERNEL(BLOCK) linear_ask_vjp(i64 n, i64 heads, i64 time, i64 d_in, i64 d_out, i64 memories, i64 add,
                                   const float* q, const float* state, const float* d_y, float* d_q, float* d_state) {
    SHARED(float, left, [TILE][PART + 1]);
    SHARED(float, right, [TILE][TILE + 1]);
    SHARED(float, weights, [TILE][TILE + 1]);
    const i64 of_queries = memories * ((time + TILE - 1) / TILE) * ((d_in + TILE - 1) / TILE);
    BLOCK_UNITS(u, n) {
        float sum[EACH][EACH];
        if (u < of_queries) {
            const AskTile at = ask_tile(u, heads, time, d_in);
            const Rows cotangents = head_rows(d_y, at.b, time, at.row, heads, at.head, d_out);
            const Rows rows = matrix_rows(state + at.memory * 2 * d_in * d_out, at.column, d_in, d_out);
            row_products(cotangents, rows, left, right, sum);
            float* out = d_q + ((at.b * time + at.row) * heads + at.head) * d_in;
            store_tile(sum, at.column, cotangents.count, d_in, heads * d_in, out);
            continue;
        }
        const AskTile at = ask_tile(u - of_queries, heads, d_in, d_out);
        float* out = d_state + at.memory * 2 * d_in * d_out + at.row * d_out;
        const i64 count = d_in - at.row < TILE ? d_in - at.row : TILE;
        clear_sums(sum);
        if (!add) store_tile(sum, at.column, count, d_out, d_out, out + d_in * d_out);
        for (i64 t = 0; t < time; t += TILE) {
            __syncthreads(); // what was there is used
            load_tile<TILE>(head_rows(q, at.b, time, t, heads, at.head, d_in), at.row, weights[0]);
            add_weighted(weights, true, head_rows(d_y, at.b, time, t, heads, at.head, d_out), at.column, right, sum);
        }
        for (int a = 0; add && a < EACH; ++a)
            for (int b = 0; b < EACH; ++b)
                if (row_of(a) < count && at.column + column_of(b) < d_out)
                    sum[a][b] += out[row_of(a) * d_out + at.column + column_of(b)];
        store_tile(sum, at.column, count, d_out, d_out, out);
    }
}
