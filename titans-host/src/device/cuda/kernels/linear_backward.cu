// The walk of linear_forward.cu from the last piece to the first: the cotangents of W and S stay on the chip.
//
// With Y' the cotangent of Y, W' and S' those of the state behind a piece (MATH 4: closing (1), reads (2), exact form):
//
//   D' = -diag(IN_W) K W' - diag(IN_S) K S' - M^T Y'               Delta's, from the closing and from Y = ... - M Delta
//   L = scale (I + T)^-T D'                                        as (I + T) Delta = scale (A- K W + G- K S - V)
//   V' = -L                                                        which is where L is kept
//   W' <- a W' + Q^T diag(A) Y' + K^T diag(A-) L                   before the piece: closing, queries, keys
//   S' <- e S' + g W' + Q^T diag(G) Y' + K^T diag(G-) L
//
// CPU: memory/exact_vjp.rs (`piece`) and, where a piece is one chunk, memory/vjp.rs.

struct Return {
    Group all;
    Columns at;
    i64 slice;
    float scale, *w, *s;
    Steps steps;
    const float *q, *k, *d_y, *rows, *chains, *inverse, *m;
    float* d_v;
};

// D' = -diag(IN_W) K W' - diag(IN_S) K S' - M^T Y' in the place of d_v, or V' = -L = -scale D' where T is 0.
template <int COLS> __device__ inline void ask_back(const Return& x, const Piece& at, i64 unit) {
    const i64 length = x.all.length, width = x.at.width;
    const float* rows = x.rows + unit * COEFFICIENTS * length;
    float of_w[EACH][COLS], of_s[EACH][COLS];
    for (i64 i = 0; i < at.count; i += TILE) {
        times_state<COLS>(tokens_of(x.all, at, i, x.k, x.at.rows), x.w, x.s, x.slice, x.steps, of_w, of_s);
        mix_rows<COLS>(at.count - i, rows + IN_W * length + i, rows + IN_S * length + i, of_w, of_s);
        clear_tile<COLS>(of_s);
        if (x.d_y)
            turned_times_rows<COLS>(square_of(x.m, unit, length, i, at.count, at.count), i,
                                    tokens_of(x.all, at, i, x.d_y, width), x.at, x.steps, of_s);
        for (int a = 0; a < EACH; ++a)
            for (int b = 0; b < COLS; ++b) {
                const float total = -(of_w[a][b] + of_s[a][b]);
                of_w[a][b] = x.inverse ? total : -x.scale * total;
            }
        store_slice<COLS>(of_w, at.count - i, x.at, x.all.heads * width, x.d_v + (at.row + i * x.all.heads) * width);
    }
}

// V' = -L = -scale (I + T)^-T D' from the first tile of rows to the last: the transpose is upper triangular, so none is
// overwritten that another one needs.
template <int COLS> __device__ inline void solve_back(const Return& x, const Piece& at, i64 unit) {
    const i64 length = x.all.length, width = x.at.width;
    float sum[EACH][COLS];
    for (i64 i = 0; i < at.count; i += TILE) {
        turned_times_rows<COLS>(square_of(x.inverse, unit, length, i, at.count, at.count), i,
                                tokens_of(x.all, at, i, x.d_v, width), x.at, x.steps, sum);
        for (int a = 0; a < EACH; ++a)
            for (int b = 0; b < COLS; ++b) sum[a][b] *= -x.scale;
        store_slice<COLS>(sum, at.count - i, x.at, x.all.heads * width, x.d_v + (at.row + i * x.all.heads) * width);
    }
}

// W' and S' at the piece's start: W' <- a W' + Q^T diag(A) Y' + K^T diag(A-) L, S' <- e S' + g W' + Q^T diag(G) Y' +
// K^T diag(G-) L.
template <int COLS> __device__ inline void open_piece(const Return& x, const Piece& at, i64 unit) {
    const i64 length = x.all.length, width = x.at.width;
    const float *rows = x.rows + unit * COEFFICIENTS * length, *last = x.chains + unit * 3 * (length + 1) + at.count;
    const float of_a = last[0], of_g = last[length + 1], of_e = last[2 * (length + 1)];
    for (i64 i = 0; i < x.at.rows; i += TILE) {
        float of_w[EACH][COLS], of_s[EACH][COLS];
        clear_tile<COLS>(of_w), clear_tile<COLS>(of_s);
        UNROLL(1)
        for (int side = 0; side < (x.d_y ? 2 : 1); ++side) {
            const Rows left = tokens_of(x.all, at, 0, side ? x.q : x.k, x.at.rows);
            const Rows values = tokens_of(x.all, at, 0, side ? x.d_y : x.d_v, width);
            const float* weights = rows + (side ? A_READ : A_KEYS) * length;
            add_outer<COLS>(left, i, values, x.at, weights, weights + length, x.steps, of_w, of_s);
            // d_v is -L.
            for (int a = 0; side == 0 && a < EACH; ++a)
                for (int b = 0; b < COLS; ++b) of_w[a][b] = -of_w[a][b], of_s[a][b] = -of_s[a][b];
        }
        for (int a = 0; a < EACH; ++a)
            for (int b = 0; b < COLS; ++b) {
                if (i + row_of(a) >= x.at.rows || column_of(b) >= x.slice) continue;
                const i64 e = (i + row_of(a)) * x.slice + column_of(b);
                x.s[e] = of_e * x.s[e] + of_g * x.w[e] + of_s[a][b];
                x.w[e] = of_a * x.w[e] + of_w[a][b];
            }
    }
}

// From the cotangent `last` [M, 2P] behind the group (null for 0) to that before it, `state`, maybe in its place;
// `behind` [pieces, M, 2P] gets those behind every piece.
template <int COLS>
__device__ inline void walk_back(const Return& x, i64 pieces, i64 memory, const float* last, float* state,
                                 float* behind) {
    const i64 params = x.at.rows * x.at.width;
    float* own = state + memory * 2 * params;
    __syncthreads(); // what was there is stored
    if (last) {
        const float* from = last + memory * 2 * params;
        load_columns(x.at, x.slice, from, x.w), load_columns(x.at, x.slice, from + params, x.s);
    } else {
        for (i64 e = threadIdx.x; e < x.at.rows * x.slice; e += BLOCK) x.w[e] = x.s[e] = 0.0f;
    }
    for (i64 j = pieces - 1; j >= 0; --j) {
        const i64 unit = j * x.all.memories + memory;
        const Piece at = piece_of(x.all, unit);
        float* place = behind + unit * 2 * params;
        __syncthreads(); // W' and S' are whole
        store_columns(x.at, x.slice, x.w, place), store_columns(x.at, x.slice, x.s, place + params);
        ask_back<COLS>(x, at, unit);
        if (x.inverse) solve_back<COLS>(x, at, unit);
        open_piece<COLS>(x, at, unit);
    }
    __syncthreads(); // W' and S' are whole
    store_columns(x.at, x.slice, x.w, own), store_columns(x.at, x.slice, x.s, own + params);
}

// n = M * ceil(d_out / slice), a block each: all columns of a slice. d_y: null for 0; inverse: null where a piece is
// one chunk
#define BACKWARD_ARGUMENTS \
    i64 n, OF_GROUP, i64 d_in, i64 d_out, i64 slice, float scale, \
        i64 pieces, const float *q, const float *k, const float *d_y, const float *rows, const float *chains, \
        const float *inverse, const float *m, float *d_v, const float *last, float *d_state, float *behind
#define BACKWARD(COLS) \
    SHARED(float, w, [SLAB]); \
    SHARED(float, s, [SLAB]); \
    SHARED(float, left, [TILE][STEP + 1]); \
    SHARED(float, right, [STEP][MOST]); \
    SHARED(float, other, [STEP][MOST]); \
    const i64 slices = (d_out + slice - 1) / slice; \
    BLOCK_UNITS(u, n) { \
        const i64 from = u % slices * slice, count = d_out - from < slice ? d_out - from : slice; \
        const Return x = {{memories, heads, time, length, first}, {d_in, d_out, from, count}, slice, scale, w, s, \
                          {left, right, other}, q, k, d_y, rows, chains, inverse, m, d_v}; \
        walk_back<COLS>(x, pieces, u / slices, last, d_state, behind); \
    }

BLOCK_KERNEL(BLOCK, 1) linear_backward_wide(BACKWARD_ARGUMENTS) { BACKWARD(2) }

BLOCK_KERNEL(BLOCK, 1) linear_backward_narrow(BACKWARD_ARGUMENTS) { BACKWARD(1) }
