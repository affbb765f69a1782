// MAC's walk over segments, forward: what stands between the products of a segment. Arrays of tokens are [batch, time,
// ...] and begin with the segment's first row, of which there are `rows` a sequence; what is marked packed is [batch,
// rows, ...]. Heads are at most 64 wide: a row of one is in one tile.

// n = rows * (left + right): rows of two matrices side by side
KERNEL join_columns(i64 n, i64 left, i64 right, const float* a, const float* b, float* y) {
    THREAD(i, n);
    const i64 c = i % (left + right), r = i / (left + right);
    y[i] = c < left ? a[r * left + c] : b[r * right + c - left];
}

// n = M * ceil(rows / 64), a block each: h = Q W by the states' weights (memories `stride` numbers apart), and its
// norm; both packed
BLOCK_KERNEL(BLOCK) segment_ask(i64 n, i64 heads, i64 rows, i64 time, i64 d, i64 stride, const float* q,
                                const float* state, const float* weight, float* h, float* normed) {
    SHARED(float, weights, [TILE][TILE + 1]);
    SHARED(float, tile, [TILE][TILE + 1]);
    const i64 tiles = (rows + TILE - 1) / TILE;
    BLOCK_UNITS(u, n) {
        const i64 memory = u / tiles, b = memory / heads, head = memory % heads, first = u % tiles * TILE;
        const Rows queries = head_rows(q, Spread{rows, time, heads * d}, b, first, head, d);
        float sum[EACH][EACH] = {};
        __syncthreads(); // what was there is used
        load_tile<TILE>(queries, 0, weights[0]);
        add_weighted(weights, false, Rows{state + memory * stride, d, d, d}, 0, tile, sum);
        const i64 own = ((b * rows + first) * heads + head) * d;
        store_tile(sum, 0, queries.count, d, heads * d, h + own);
        norm_tile(sum, d, weight);
        store_tile(sum, 0, queries.count, d, heads * d, normed + own);
    }
}

// n = batch * rows * heads * width / 2: a pair each of packed rows, `stride` numbers apart, turns in its place; row t
// of a sequence is at position t + shift
KERNEL segment_rotary(i64 n, i64 rows, i64 heads, i64 width, i64 stride, i64 shift, float log_high, float log_low,
                      float turn, float* x) {
    THREAD(i, n);
    const i64 half = width / 2, pair = i % half, head = i / half % heads, row = i / half / heads;
    float* at = x + row * stride + head * width + pair;
    turn_by(row % rows + shift, pair, width, log_high, log_low, turn, at, at);
}

// n = batch * heads * ceil(rows / 64), a block each: attention to the segment's tokens and to its context (packed, keys
// and behind them values); `read` is its norm, gated by silu(gate)
BLOCK_KERNEL(BLOCK) segment_attention(i64 n, i64 rows, i64 time, i64 heads, i64 kv_heads, i64 width, const float* q,
                                      const float* k, const float* v, const float* context, const float* gate,
                                      const float* weight, float* y, float* read, float* log_sum) {
    SHARED(float, left, [TILE][PART + 1]);
    SHARED(float, right, [TILE][TILE + 1]);
    SHARED(float, weights, [TILE][TILE + 1]);
    const i64 inner = heads * width, across = kv_heads * width;
    const Spread tokens = {rows, time, across}, before = {rows, rows, 2 * across};
    BLOCK_UNITS(u, n) {
        const QueryTile at = query_tile(u, rows, heads, kv_heads, width);
        const Rows queries = head_rows(q, Spread{rows, time, inner}, at.b, at.first, at.head, width);
        const i64 to = at.first + at.count, row = at.b * time + at.first, own = row * inner + at.head * width;
        Online online;
        begin_rows(online);
        take_keys(online, at, queries, 0, to, before, 0, rows, context, context + across, left, right, weights);
        take_keys(online, at, queries, 0, to, tokens, 0, rows, k, v, left, right, weights);
        for (int a = 0; a < EACH; ++a) {
            const float log = end_row(online, a);
            if (threadIdx.x % 16 == 0 && row_of(a) < at.count) log_sum[(row + row_of(a)) * heads + at.head] = log;
        }
        store_tile(online.y, 0, at.count, width, inner, y + own);
        norm_tile(online.y, width, weight);
        for (int a = 0; a < EACH; ++a)
            for (int b = 0; b < EACH; ++b)
                if (row_of(a) < at.count && column_of(b) < width)
                    online.y[a][b] *= silu(gate[own + row_of(a) * inner + column_of(b)]);
        store_tile(online.y, 0, at.count, width, inner, read + own);
    }
}

// n = batch * rows, a warp each: y = x / rms(x) weight
BLOCK_KERNEL(BLOCK) segment_norm(i64 n, i64 rows, i64 time, i64 d, const float* x, const float* weight, float* y) {
    WARP_ROWS(r, n) {
        const i64 at = token_row(r, rows, time) * d;
        const float s = rounded(inverse_norm(d, d, x + at));
        LANE_ELEMENTS(c, d) y[at + c] = x[at + c] * s * weight[c];
    }
}

// n = batch * rows * (channels + 3 heads); x [batch, time, channels + 3 heads], and all others, are whole sequences:
// the values v = silu(convolution of the first channels), the gates scale sigmoid(the others + bias)
KERNEL segment_feed(i64 n, i64 rows, i64 time, i64 from, i64 channels, i64 taps, i64 heads, float s0, float s1,
                    float s2, const float* x, const float* w, const float* bias, const float* gates_bias, float* v,
                    float* gates) {
    THREAD(i, n);
    const i64 all = channels + 3 * heads, c = i % all, t = from + i / all % rows, row = i / all / rows * time;
    const float* sequence = x + row * all + c;
    if (c < channels) {
        v[(row + t) * channels + c] = silu(filtered(sequence, all, t, taps, w + c * taps, bias[c]));
        return;
    }
    const i64 g = c - channels, gate = g / heads;
    const float scale = gate == 0 ? s0 : gate == 1 ? s1 : s2;
    gates[(row + t) * 3 * heads + g] = scale * sigmoid(sequence[t * all] + gates_bias[g]);
}
