// The linear memory (one plain layer, no clip) forward, in groups of pieces (linear.cuh). All that does not depend on
// the state is made for the whole group, then one kernel walks the pieces.
//
// (I + T) Delta = R, R = scale (A- K W + G- K S - V), T[t, i] = scale (k_t . k_i) C-[t, i] theta[i], Y = A Q W + G Q S
// - M Delta, M[t, i] = (q_t . k_i) C[t, i] theta[i]; rows with a minus are those where the gradients are taken. Where a
// piece is one chunk, T is 0 and Delta is R.

// What coefficients are made of, and where a unit's go: chains [3, length + 1] (A, G and E, row 0 the piece's start),
// rows (linear.cuh), c, p [length + 1, length]; p may be null.
struct Coefficients {
    Group all;
    Piece at;
    i64 read, chunk, read_only;
    const float* gates;
    const unsigned* mask;
    float *chains, *rows, *c, *p;
};

__device__ inline void make_chains(const Coefficients& x) {
    const i64 length = x.all.length;
    float *a = x.chains, *g = a + length + 1, *e = g + length + 1;
    float a_now = 1.0f, g_now = 0.0f, e_now = 1.0f;
    a[0] = a_now, g[0] = g_now, e[0] = e_now;
    for (i64 t = 0; t < x.at.count; ++t) {
        const float keep = 1.0f - x.gates[gate_of(x.all, x.at, t, 0)], eta = x.gates[gate_of(x.all, x.at, t, 2)];
        if (writes(x.all, x.at, t, x.read_only, x.mask)) a_now *= keep, e_now *= eta, g_now = keep * g_now + e_now;
        a[t + 1] = a_now, g[t + 1] = g_now, e[t + 1] = e_now;
    }
    for (i64 t = 0; t < x.at.count; ++t) {
        const i64 of_query = answering(t, x.read, x.chunk), of_key = answering(t, -1, x.chunk);
        x.rows[A_READ * length + t] = a[of_query], x.rows[G_READ * length + t] = g[of_query];
        x.rows[A_KEYS * length + t] = a[of_key], x.rows[G_KEYS * length + t] = g[of_key];
    }
}

// Column i of C and P.
__device__ inline void make_column(const Coefficients& x, i64 i) {
    const i64 length = x.all.length;
    float c_now = 0.0f, p_now = 0.0f;
    for (i64 t = 0; t <= x.at.count; ++t) {
        if (t == i + 1) {
            c_now = p_now = writes(x.all, x.at, i, x.read_only, x.mask) ? 1.0f : 0.0f;
        } else if (t > i + 1 && writes(x.all, x.at, t - 1, x.read_only, x.mask)) {
            p_now *= x.gates[gate_of(x.all, x.at, t - 1, 2)];
            c_now = (1.0f - x.gates[gate_of(x.all, x.at, t - 1, 0)]) * c_now + p_now;
        }
        x.c[t * length + i] = c_now;
        if (x.p) x.p[t * length + i] = p_now;
    }
    const float theta = x.gates[gate_of(x.all, x.at, i, 1)];
    x.rows[IN_W * length + i] = c_now * theta, x.rows[IN_S * length + i] = p_now * theta;
}

__device__ inline Coefficients of_unit(const Group& all, i64 unit, i64 read, i64 chunk, i64 read_only,
                                       const float* gates, const unsigned* mask, float* chains, float* rows, float* c,
                                       float* p) {
    const i64 columns = unit * (all.length + 1) * all.length;
    return Coefficients{all, piece_of(all, unit), read, chunk, read_only, gates, mask,
                        chains + unit * 3 * (all.length + 1), rows + unit * COEFFICIENTS * all.length, c + columns,
                        p ? p + columns : nullptr};
}

// n = units * (length + 1), a thread for column i of C and P, one behind them for A, G and E
KERNEL linear_coefficients(i64 n, OF_GROUP, i64 read, i64 chunk, i64 read_only, const float* gates,
                           const unsigned* mask, float* chains, float* rows, float* c, float* p) {
    THREAD(x, n);
    const Group all = {memories, heads, time, length, first};
    const Coefficients unit =
        of_unit(all, x / (length + 1), read, chunk, read_only, gates, mask, chains, rows, c, p);
    const i64 i = x % (length + 1);
    if (i == length) make_chains(unit);
    if (i < unit.at.count) make_column(unit, i);
}

// Writes a tile of products of tokens from t on and from i on, each scaled by C of the answering row and by theta;
// rows `stride` apart.
__device__ inline void store_scaled(const Group& all, const Piece& at, i64 t, i64 i, i64 read, i64 chunk,
                                    const float (*products)[EACH], const float* gates, const float* c, i64 stride,
                                    float* out) {
    for (int b = 0; b < EACH; ++b) {
        const i64 column = i + column_of(b);
        const float theta = column < at.count ? gates[gate_of(all, at, column, 1)] : 0.0f;
        for (int a = 0; a < EACH; ++a) {
            const i64 row = t + row_of(a);
            if (row >= at.count || column >= at.count) continue;
            const float weight = column > row ? 0.0f : c[answering(row, read, chunk) * all.length + column] * theta;
            out[row * stride + column] = column > row ? 0.0f : products[a][b] * weight;
        }
    }
}

// n = units * tiles * tiles of 64, a block each: t [units, length, length] = T / scale, where it is not null, and m.
// Tiles above the diagonal are left alone
BLOCK_KERNEL(BLOCK) linear_scores(i64 n, OF_GROUP, i64 read, i64 chunk, i64 width, const float* q, const float* k,
                                  const float* gates, const float* c, float* t, float* m) {
    SHARED(float, left, [TILE][PART + 1]);
    SHARED(float, right, [TILE][TILE + 1]);
    const Group all = {memories, heads, time, length, first};
    const i64 tiles = (length + TILE - 1) / TILE;
    BLOCK_UNITS(u, n) {
        const i64 unit = u / (tiles * tiles), row = u / tiles % tiles * TILE, column = u % tiles * TILE;
        const Piece at = piece_of(all, unit);
        if (column > row || row >= at.count) continue;
        const Rows keys = tokens_of(all, at, column, k, width);
        const float* columns = c + unit * (length + 1) * length;
        float products[EACH][EACH];
        if (t) {
            row_products(tokens_of(all, at, row, k, width), keys, left, right, products);
            store_scaled(all, at, row, column, -1, chunk, products, gates, columns, length,
                         t + unit * length * length);
        }
        row_products(tokens_of(all, at, row, q, width), keys, left, right, products);
        store_scaled(all, at, row, column, read, chunk, products, gates, columns, length,
                     m + unit * length * length);
    }
}

// n = units * length: column j of X = (I + T)^-1 by forward substitution; t = T / scale. A thread reads of X what it
// wrote
KERNEL linear_inverse(i64 n, OF_GROUP, float scale, const float* t, float* x) {
    THREAD(column, n);
    const i64 unit = column / length, j = column % length;
    const i64 count = piece_of({memories, heads, time, length, first}, unit).count;
    if (j >= count) return;
    t += unit * length * length, x += unit * length * length + j;
    for (i64 row = 0; row < count; ++row) {
        Pair sum = {0.0f, 0.0f};
        for (i64 i = j; i < row; ++i) sum = plus_product(sum, t[row * length + i], x[i * length]);
        x[row * length] = row < j ? 0.0f : row == j ? 1.0f : -scale * rounded(sum);
    }
}

// The same in one, for pieces of at most 64 tokens. n = units, a block each: what linear_coefficients, linear_scores
// and linear_inverse make; (I + T)^-1 where `inverse` is not null
BLOCK_KERNEL(BLOCK) linear_piece(i64 n, OF_GROUP, i64 read, i64 chunk, i64 read_only, i64 width, float scale,
                                 const float* q, const float* k, const float* gates, const unsigned* mask,
                                 float* chains, float* rows, float* c, float* p, float* inverse, float* m) {
    SHARED(float, left, [TILE][PART + 1]);
    SHARED(float, right, [TILE][TILE + 1]);
    SHARED(float, t, [TILE][TILE + 1]);
    const Group all = {memories, heads, time, length, first};
    BLOCK_UNITS(u, n) {
        const Coefficients unit = of_unit(all, u, read, chunk, read_only, gates, mask, chains, rows, c, p);
        const Piece at = unit.at;
        const i64 i = threadIdx.x;
        if (i == BLOCK - 1) make_chains(unit);
        if (i < at.count) make_column(unit, i);
        const Rows keys = tokens_of(all, at, 0, k, width);
        float products[EACH][EACH];
        row_products(tokens_of(all, at, 0, q, width), keys, left, right, products);
        __syncthreads(); // C is whole
        store_scaled(all, at, 0, 0, read, chunk, products, gates, unit.c, length, m + u * length * length);
        if (!inverse) continue;
        row_products(keys, keys, left, right, products);
        __syncthreads(); // the products are made, and what was there is used
        store_scaled(all, at, 0, 0, -1, chunk, products, gates, unit.c, TILE + 1, t[0]);
        __syncthreads(); // T is whole
        for (i64 row = 0; i < at.count && row < at.count; ++row) {
            Pair sum = {0.0f, 0.0f};
            for (i64 j = i; j < row; ++j) sum = plus_product(sum, t[row][j], right[j][i]);
            right[row][i] = row < i ? 0.0f : row == i ? 1.0f : -scale * rounded(sum);
            inverse[(u * length + row) * length + i] = right[row][i];
        }
    }
}

// n = batch * time * heads, a warp each: surprise [batch, time, heads] = c |z - v|^2 from the residuals of tokens
// `from` to `to` - 1, 2c (z - v)
BLOCK_KERNEL(BLOCK) linear_surprise(i64 n, i64 heads, i64 time, i64 from, i64 to, i64 d, float scale, i64 stride,
                                    i64 start, const float* delta, float* surprise) {
    WARP_ROWS(x, n) {
        const i64 tokens = to - from, h = x % heads, t = from + x / heads % tokens, b = x / heads / tokens;
        const float* row = delta + (b * heads + h) * stride + (t - start) * d;
        const float square = rounded(warp_dot(d, row, row));
        if (first_lane()) surprise[(b * time + t) * heads + h] = square / (2.0f * scale);
    }
}
