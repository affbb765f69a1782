// The kernels of segments.cu in reverse; arrays as there. Equations of MATH 4, around, but for segment_ask_vjp, h = Q W
// by the weights of the segment's start: d_Q = d_h W^T, d_W += Q^T d_h ((2), a read by A = 1, G = 0, C = 0). CPU: `vjp`
// of ops/conv.rs, silu.rs, gates.rs, rms_norm.rs, silu_gate.rs and attention/vjp.rs; memory/read_vjp.rs, `layer_vjp`.

// z = convolution, v = silu(z), so d_z = d_v silu'(z), and as token s meets tap j in the output t = s + taps - 1 - j,
// d_x[s] = sum over j of w[j] d_z[t]: those of later segments are there, and made again. Gates y = scale s, s =
// sigmoid(x): d_x = d_y y (1 - y / scale). n = batch * rows * (channels + 3 heads); all arrays are whole sequences; d_z
// is kept
KERNEL segment_feed_vjp(i64 n, i64 rows, i64 time, i64 from, i64 channels, i64 taps, i64 heads, float s0, float s1,
                        float s2, const float* x, const float* w, const float* bias, const float* gates,
                        const float* d_v, const float* d_gates, float* d_x, float* d_z) {
    THREAD(i, n);
    const i64 all = channels + 3 * heads, c = i % all, s = from + i / all % rows, row = i / all / rows * time;
    if (c >= channels) {
        const i64 g = c - channels, gate = g / heads, at = (row + s) * 3 * heads + g;
        const float scale = gate == 0 ? s0 : gate == 1 ? s1 : s2;
        d_x[(row + s) * all + c] = scale == 0.0f ? 0.0f : d_gates[at] * gates[at] * (1.0f - gates[at] / scale);
        return;
    }
    const float *sequence = x + row * all + c, *taps_of = w + c * taps;
    float sum = 0.0f;
    for (i64 t = s; t < s + taps && t < time; ++t) {
        const float z = filtered(sequence, all, t, taps, taps_of, bias[c]);
        const float d = d_v[(row + t) * channels + c] * silu1(z);
        if (t == s) d_z[(row + t) * channels + c] = d;
        sum += taps_of[taps - 1 - (t - s)] * d;
    }
    d_x[(row + s) * all + c] = sum;
}

// y = s x weight: norm_row_vjp, added to d_x. n = batch * rows, a warp each; the inverse norms are kept
BLOCK_KERNEL(BLOCK) segment_norm_vjp(i64 n, i64 rows, i64 time, i64 d, const float* x, const float* weight,
                                     const float* d_y, float* d_x, float* inverse) {
    WARP_ROWS(r, n) {
        const i64 row = token_row(r, rows, time), at = row * d;
        const float s = norm_row_vjp(d, d, x + at, weight, d_y + at, d_x + at, true);
        if (first_lane()) inverse[row] = s;
    }
}

// read = norm(y) silu(gate): by the product rule d_gate = d_read norm(y) silu'(gate), and d_read silu(gate) goes back
// through the norm to d_y; along = d_y . y is what the softmax's sum takes off (attention_vjp.cu). n = batch * rows *
// heads, a warp each; the inverse norms are kept
BLOCK_KERNEL(BLOCK) segment_read_vjp(i64 n, i64 rows, i64 time, i64 heads, i64 d, const float* y, const float* gate,
                                     const float* weight, const float* d_read, float* d_y, float* d_gate,
                                     float* along, float* inverse) {
    WARP_ROWS(r, n) {
        const i64 row = token_row(r / heads, rows, time) * heads + r % heads, at = row * d;
        LANE_ELEMENTS(c, d) d_y[at + c] = d_read[at + c] * silu(gate[at + c]);
        const float s = norm_row_vjp(d, d, y + at, weight, d_y + at, d_y + at);
        Pair sum = {0.0f, 0.0f};
        LANE_ELEMENTS(c, d) {
            d_gate[at + c] = d_read[at + c] * (y[at + c] * s * weight[c]) * silu1(gate[at + c]);
            sum = plus_product(sum, d_y[at + c], y[at + c]);
        }
        sum = warp_sum(sum);
        if (first_lane()) along[row] = rounded(sum), inverse[row] = s;
    }
}

// What the units of segment_attention_vjp share: where rows lie, and what of shared memory they work in.
struct SegmentBack {
    i64 rows, time, heads, kv_heads, width;
    const float *q, *k, *v, *context, *log_sum, *along, *d_y;
    float (*left)[PART + 1];
    float (*right)[TILE + 1];
    float (*weights)[TILE + 1];
};

// Scores of a tile of queries of a head against one of keys, of the context or of tokens.
__device__ inline Scores segment_scores(const SegmentBack& x, i64 b, i64 head, i64 query, i64 key, bool context) {
    const i64 inner = x.heads * x.width, across = x.kv_heads * x.width, kv = head / (x.heads / x.kv_heads);
    const Spread own = {x.rows, x.time, inner};
    const Spread keys = {x.rows, context ? x.rows : x.time, context ? 2 * across : across};
    const i64 row = (b * x.time + query) * x.heads + head;
    return Scores{head_rows(x.q, own, b, query, head, x.width),
                  head_rows(x.d_y, own, b, query, head, x.width),
                  head_rows(context ? x.context : x.k, keys, b, key, kv, x.width),
                  head_rows(context ? x.context + across : x.v, keys, b, key, kv, x.width),
                  x.log_sum + row, x.along + row, query, key, x.rows, 0, x.rows, x.heads};
}

// d_q = d_s k of a tile of queries, by way of the context and of the tokens.
__device__ inline void segment_queries_vjp(const SegmentBack& x, const QueryTile& at, float* d_q) {
    float sum[EACH][EACH] = {}, p[EACH][EACH], d[EACH][EACH];
    UNROLL(1)
    for (int context = 0; context < 2; ++context)
        for (i64 first = 0; first < at.first + at.count; first += TILE) {
            const Scores tile = segment_scores(x, at.b, at.head, at.first, first, context != 0);
            score_gradients(tile, x.left, x.right, p, d);
            share_weights(d, x.weights);
            add_weighted(x.weights, false, tile.k, 0, x.right, sum); // d_q += d_s k
        }
    const i64 inner = x.heads * x.width;
    store_tile(sum, 0, at.count, x.width, inner, d_q + (at.b * x.time + at.first) * inner + at.head * x.width);
}

// d_k = d_s^T q and d_v = p^T d_y of a tile of keys, over the queries that see them; rows of the results lie `across`
// apart.
__device__ inline void segment_keys_vjp(const SegmentBack& x, const QueryTile& at, bool context, i64 across, float* d_k,
                                        float* d_v) {
    const i64 group = x.heads / x.kv_heads;
    float of_k[EACH][EACH] = {}, of_v[EACH][EACH] = {}, p[EACH][EACH], d[EACH][EACH];
    for (i64 i = 0; i < (x.rows - at.first + TILE - 1) / TILE * group; ++i) {
        const i64 first = at.first + i / group * TILE;
        const Scores tile = segment_scores(x, at.b, at.head * group + i % group, first, at.first, context);
        score_gradients(tile, x.left, x.right, p, d);
        share_weights(p, x.weights);
        add_weighted(x.weights, true, tile.d_y, 0, x.right, of_v); // d_v += p^T d_y
        share_weights(d, x.weights);
        add_weighted(x.weights, true, tile.q, 0, x.right, of_k); // d_k += d_s^T q
    }
    const i64 own = (at.b * (context ? x.rows : x.time) + at.first) * across + at.head * x.width;
    store_tile(of_k, 0, at.count, x.width, across, d_k + own);
    store_tile(of_v, 0, at.count, x.width, across, d_v + own);
}

// The three steps of attention's backward (attention_vjp.cu) in one, none of which needs another: n = batch * tiles *
// (heads + 2 kv_heads), a block each: d_q of tiles of queries, d_k and d_v of tiles of tokens, then of the context
// (packed, keys and behind them values)
BLOCK_KERNEL(BLOCK) segment_attention_vjp(i64 n, i64 rows, i64 time, i64 heads, i64 kv_heads, i64 width,
                                          const float* q, const float* k, const float* v, const float* context,
                                          const float* log_sum, const float* along, const float* d_y, float* d_q,
                                          float* d_k, float* d_v, float* d_context) {
    SHARED(float, left, [TILE][PART + 1]);
    SHARED(float, right, [TILE][TILE + 1]);
    SHARED(float, weights, [TILE][TILE + 1]);
    const SegmentBack x = {rows, time, heads, kv_heads, width, q, k, v, context, log_sum, along, d_y, left, right,
                           weights};
    const i64 each = n / (heads + 2 * kv_heads), queries = each * heads, keys = each * kv_heads;
    const i64 across = kv_heads * width;
    BLOCK_UNITS(u, n) {
        if (u < queries) {
            segment_queries_vjp(x, query_tile(u, rows, heads, kv_heads, width), d_q);
            continue;
        }
        const bool of_context = u >= queries + keys;
        const QueryTile at = query_tile(u - queries - (of_context ? keys : 0), rows, kv_heads, kv_heads, width);
        if (of_context)
            segment_keys_vjp(x, at, true, 2 * across, d_context, d_context + across);
        else
            segment_keys_vjp(x, at, false, across, d_k, d_v);
    }
}

// segment_ask in reverse: normed = s h weight gives d_h by norm_row_vjp, and h = Q W gives d_q = d_h W^T and d_W = Q^T
// d_h, added to what d_state [M, 2, d, d] holds. n = M, a block each; the inverse norms are kept
BLOCK_KERNEL(BLOCK) segment_ask_vjp(i64 n, i64 heads, i64 rows, i64 time, i64 d, i64 stride, const float* q,
                                    const float* state, const float* weight, const float* h, const float* d_normed,
                                    float* d_q, float* d_state, float* inverse) {
    SHARED(float, cotangents, [TILE][TILE + 1]);
    SHARED(float, tile, [TILE][TILE + 1]);
    BLOCK_UNITS(memory, n) {
        const i64 b = memory / heads, head = memory % heads, inner = heads * d;
        float of_w[EACH][EACH] = {};
        for (i64 first = 0; first < rows; first += TILE) {
            const Rows queries = head_rows(q, Spread{rows, time, inner}, b, first, head, d);
            __syncthreads(); // what was there is used
            for (i64 r = threadIdx.x / 32; r < TILE; r += WARPS) {
                LANE_ELEMENTS(c, TILE) cotangents[r][c] = 0.0f;
                if (r >= queries.count) continue;
                const i64 row = (b * rows + first + r) * heads + head, at = row * d;
                const float s = norm_row_vjp(d, d, h + at, weight, d_normed + at, cotangents[r]);
                if (first_lane()) inverse[row] = s;
            }
            load_tile<TILE>(Rows{state + memory * stride, d, d, d}, 0, tile[0]);
            __syncthreads();
            float of_q[EACH][EACH] = {};
            for (int e = 0; e < d; ++e)
                for (int a = 0; a < EACH; ++a)
                    for (int c = 0; c < EACH; ++c)
                        of_q[a][c] = fmaf(cotangents[row_of(a)][e], tile[column_of(c)][e], of_q[a][c]);
            store_tile(of_q, 0, queries.count, d, inner, d_q + (b * time + first) * inner + head * d);
            __syncthreads(); // the weights are used
            load_tile<TILE>(queries, 0, tile[0]);
            __syncthreads();
            for (int t = 0; t < queries.count; ++t)
                for (int a = 0; a < EACH; ++a)
                    for (int c = 0; c < EACH; ++c)
                        of_w[a][c] = fmaf(tile[t][row_of(a)], cotangents[t][column_of(c)], of_w[a][c]);
        }
        float* out = d_state + memory * 2 * d * d;
        for (int a = 0; a < EACH; ++a)
            for (int c = 0; c < EACH; ++c)
                if (row_of(a) < d && column_of(c) < d) out[row_of(a) * d + column_of(c)] += of_w[a][c];
    }
}
