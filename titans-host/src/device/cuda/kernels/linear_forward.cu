// The walk through the pieces of a linear memory (linear.cuh): W and S stay on the chip from the first piece to the
// last.

// What a block walks with: its slice's columns, W and S in shared memory, what was made for the group.
struct Walk {
    Group all;
    Columns at;
    i64 slice;
    float scale, *w, *s;
    Steps steps;
    const float *q, *k, *v, *rows, *chains, *inverse, *m;
    Residuals delta;
    float* y;
};

// What the piece's tokens get from W and S: R in Delta's place, and Y without M Delta.
template <int COLS> __device__ inline void ask(const Walk& x, const Piece& at, i64 unit) {
    const i64 length = x.all.length, width = x.at.width, stride = x.all.heads * width;
    const float* rows = x.rows + unit * COEFFICIENTS * length;
    float of_w[EACH][COLS], of_s[EACH][COLS];
    for (i64 t = 0; t < at.count; t += TILE) {
        times_state<COLS>(tokens_of(x.all, at, t, x.k, x.at.rows), x.w, x.s, x.slice, x.steps, of_w, of_s);
        mix_rows<COLS>(at.count - t, rows + A_KEYS * length + t, rows + G_KEYS * length + t, of_w, of_s);
        const float* v = x.v + (at.row + t * x.all.heads) * width + x.at.first;
        for (int a = 0; a < EACH; ++a)
            for (int b = 0; b < COLS; ++b) {
                const bool inside = row_of(a) < at.count - t && column_of(b) < x.at.count;
                of_w[a][b] = inside ? x.scale * (of_w[a][b] - v[row_of(a) * stride + column_of(b)]) : 0.0f;
            }
        store_slice<COLS>(of_w, at.count - t, x.at, width, residual_of(x.delta, at, t, width));
        if (!x.y) continue;
        times_state<COLS>(tokens_of(x.all, at, t, x.q, x.at.rows), x.w, x.s, x.slice, x.steps, of_w, of_s);
        mix_rows<COLS>(at.count - t, rows + A_READ * length + t, rows + G_READ * length + t, of_w, of_s);
        store_slice<COLS>(of_w, at.count - t, x.at, stride, x.y + (at.row + t * x.all.heads) * width);
    }
}

// Delta = (I + T)^-1 R from the last tile of rows to the first: none is overwritten that another one needs.
template <int COLS> __device__ inline void solve(const Walk& x, const Piece& at, i64 unit) {
    const i64 width = x.at.width;
    float sum[EACH][COLS];
    for (i64 t = (at.count - 1) / TILE * TILE; t >= 0; t -= TILE) {
        const i64 to = t + TILE < at.count ? t + TILE : at.count;
        const Rows square = square_of(x.inverse, unit, x.all.length, t, at.count, to);
        times_rows<COLS>(square, residuals_of(x.delta, at, 0, width), x.at, x.steps, sum);
        store_slice<COLS>(sum, at.count - t, x.at, width, residual_of(x.delta, at, t, width));
    }
}

// Y -= M Delta
template <int COLS> __device__ inline void see_residuals(const Walk& x, const Piece& at, i64 unit) {
    const i64 width = x.at.width, stride = x.all.heads * width;
    float sum[EACH][COLS];
    for (i64 t = 0; t < at.count; t += TILE) {
        const i64 to = t + TILE < at.count ? t + TILE : at.count;
        const Rows square = square_of(x.m, unit, x.all.length, t, at.count, to);
        times_rows<COLS>(square, residuals_of(x.delta, at, 0, width), x.at, x.steps, sum);
        float* y = x.y + (at.row + t * x.all.heads) * width;
        for (int a = 0; a < EACH; ++a)
            for (int b = 0; b < COLS; ++b)
                if (row_of(a) < at.count - t && column_of(b) < x.at.count)
                    y[row_of(a) * stride + x.at.first + column_of(b)] -= sum[a][b];
    }
}

// W and S at the piece's end.
template <int COLS> __device__ inline void close_piece(const Walk& x, const Piece& at, i64 unit) {
    const i64 length = x.all.length;
    const float *rows = x.rows + unit * COEFFICIENTS * length, *last = x.chains + unit * 3 * (length + 1) + at.count;
    const float of_a = last[0], of_g = last[length + 1], of_e = last[2 * (length + 1)];
    for (i64 i = 0; i < x.at.rows; i += TILE) {
        float of_w[EACH][COLS], of_s[EACH][COLS];
        clear_tile<COLS>(of_w), clear_tile<COLS>(of_s);
        add_outer<COLS>(tokens_of(x.all, at, 0, x.k, x.at.rows), i, residuals_of(x.delta, at, 0, x.at.width), x.at,
                        rows + IN_W * length, rows + IN_S * length, x.steps, of_w, of_s);
        for (int a = 0; a < EACH; ++a)
            for (int b = 0; b < COLS; ++b) {
                if (i + row_of(a) >= x.at.rows || column_of(b) >= x.slice) continue;
                const i64 e = (i + row_of(a)) * x.slice + column_of(b);
                x.w[e] = of_a * x.w[e] + of_g * x.s[e] - of_w[a][b];
                x.s[e] = of_e * x.s[e] - of_s[a][b];
            }
    }
}

// Chains of `each` pieces of a group of `pieces`: each begins with the state `begin`, or where that is null with the
// kept one of its first piece.
struct Course {
    i64 pieces, each;
    const float* begin;
    float* end;
    States states;
};

template <int COLS> __device__ inline void walk(const Walk& x, const Course& c, i64 chain, i64 memory) {
    const i64 params = x.at.rows * x.at.width, end = (chain + 1) * c.each, until = end < c.pieces ? end : c.pieces;
    for (i64 j = chain * c.each; j < until; ++j) {
        const i64 unit = j * x.all.memories + memory;
        const Piece at = piece_of(x.all, unit);
        float* place = state_of(c.states, at);
        __syncthreads(); // W and S are whole
        if (j == chain * c.each) {
            const float* begin = c.begin ? c.begin + memory * 2 * params : place;
            load_columns(x.at, x.slice, begin, x.w), load_columns(x.at, x.slice, begin + params, x.s);
            __syncthreads();
        }
        if (place && (c.begin || at.number % c.states.every != 0))
            store_columns(x.at, x.slice, x.w, place), store_columns(x.at, x.slice, x.s, place + params);
        if (x.v) ask<COLS>(x, at, unit);
        if (x.v && x.inverse) solve<COLS>(x, at, unit);
        if (x.y) see_residuals<COLS>(x, at, unit);
        close_piece<COLS>(x, at, unit);
    }
    if (!c.end) return;
    __syncthreads(); // W and S are whole
    float* out = c.end + memory * 2 * params;
    store_columns(x.at, x.slice, x.w, out), store_columns(x.at, x.slice, x.s, out + params);
}

// n = chains * M * ceil(d_out / slice), a block each: all columns of a slice through the pieces of a chain. inverse:
// null where a piece is one chunk; v: null where Delta is known, else it is written. y, the states and the end where
// they are not null
#define FORWARD_ARGUMENTS \
    i64 n, OF_GROUP, i64 d_in, i64 d_out, i64 slice, float scale, \
        i64 pieces, i64 each, const float *q, const float *k, const float *v, const float *rows, const float *chains, \
        const float *inverse, const float *m, float *delta, i64 delta_stride, i64 delta_first, float *y, \
        const float *begin, float *end, OF_STATES
#define FORWARD(COLS) \
    SHARED(float, w, [SLAB]); \
    SHARED(float, s, [SLAB]); \
    SHARED(float, left, [TILE][STEP + 1]); \
    SHARED(float, right, [STEP][MOST]); \
    SHARED(float, other, [STEP][MOST]); \
    const States states = {kept, between, stride, every, between_first, memories, 2 * d_in * d_out}; \
    const i64 slices = (d_out + slice - 1) / slice; \
    BLOCK_UNITS(u, n) { \
        const i64 from = u % slices * slice, count = d_out - from < slice ? d_out - from : slice; \
        const Walk x = {{memories, heads, time, length, first}, {d_in, d_out, from, count}, slice, scale, w, s, \
                        {left, right, other}, q, k, v, rows, chains, inverse, m, \
                        {delta, delta_stride, delta_first}, y}; \
        walk<COLS>(x, Course{pieces, each, begin, end, states}, u / slices / memories, u / slices % memories); \
    }

BLOCK_KERNEL(BLOCK, 1) linear_forward_wide(FORWARD_ARGUMENTS) { FORWARD(2) }

BLOCK_KERNEL(BLOCK, 1) linear_forward_narrow(FORWARD_ARGUMENTS) { FORWARD(1) }
