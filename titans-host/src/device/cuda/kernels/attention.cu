// Attention forward: a block a tile of 64 queries of a head, which keys come by in tiles; nothing is kept of the
// scores.

// What a row of queries knows so far: the largest score, the sum of e^(score - top) (this thread's share), and the sum
// of the values by these weights.
struct Online {
    float top[EACH], sum[EACH], y[EACH][EACH];
};

// Takes the keys [from, to) of an array of `rows` rows.
__device__ inline void take_keys(Online& online, const QueryTile& at, Rows queries, i64 from, i64 to, i64 rows, i64 window,
                                 i64 segment, i64 kv_heads, const float* k, const float* v, float (*left)[PART + 1],
                                 float (*right)[TILE + 1], float (*weights)[TILE + 1]) {
    const float scale = 1.0f / sqrtf((float)queries.width);
    for (i64 first = from; first < to; first += TILE) {
        float s[EACH][EACH];
        row_products(queries, head_rows(k, at.b, rows, first, kv_heads, at.kv, queries.width), left, right, s);
        for (int a = 0; a < EACH; ++a) {
            const Seen keys = seen_by(at.first + row_of(a), rows, window, segment);
            bool seen[EACH];
            float top = online.top[a];
            for (int b = 0; b < EACH; ++b) {
                const i64 j = first + column_of(b);
                seen[b] = j >= keys.from && j < keys.to && j < rows;
                s[a][b] *= scale;
                if (seen[b]) top = fmaxf(top, s[a][b]);
            }
            top = row_largest(top);
            const float faded = expf(online.top[a] - top);
            online.top[a] = top, online.sum[a] *= faded;
            for (int b = 0; b < EACH; ++b) {
                s[a][b] = seen[b] ? expf(s[a][b] - top) : 0.0f;
                online.sum[a] += s[a][b], online.y[a][b] *= faded;
            }
        }
        share_weights(s, weights);
        const Rows values = head_rows(v, at.b, rows, first, kv_heads, at.kv, queries.width);
        add_weighted(weights, false, values, at.column, right, online.y);
    }
}

// n = batch * heads * ceil(time / 64) * ceil(width / 64): outputs of 64 queries, and the logarithms of their sums
// unless that is null
BLOCK_KERNEL(BLOCK) attention_forward(i64 n, i64 time, i64 heads, i64 kv_heads, i64 width, i64 persistent, i64 window,
                                      i64 segment, const float* q, const float* q_rotated, const float* k,
                                      const float* v, const float* pk, const float* pv, const float* ck,
                                      const float* cv, float* y, float* log_sum) {
    SHARED(float, left, [TILE][PART + 1]);
    SHARED(float, right, [TILE][TILE + 1]);
    SHARED(float, weights, [TILE][TILE + 1]);
    BLOCK_UNITS(u, n) {
        const QueryTile at = query_tile(u, time, heads, kv_heads, width);
        const Rows turned = head_rows(q_rotated, at.b, time, at.first, heads, at.head, width);
        const i64 from = seen_by(at.first, time, window, segment).from, to = at.first + at.count;
        Online online;
        for (int a = 0; a < EACH; ++a) {
            online.top[a] = -3.402823466e38f, online.sum[a] = 0.0f;
            for (int b = 0; b < EACH; ++b) online.y[a][b] = 0.0f;
        }
        if (pk) {
            const Rows plain = head_rows(q, at.b, time, at.first, heads, at.head, width);
            take_keys(online, at, plain, 0, persistent, persistent, 0, 0, kv_heads, pk, pv, left, right, weights);
        }
        for (int context = ck ? 0 : 1; context < 2; ++context)
            take_keys(online, at, turned, from, to, time, window, segment, kv_heads, context ? k : ck, context ? v : cv,
                      left, right, weights);
        for (int a = 0; a < EACH; ++a) {
            const float sum = row_sum(online.sum[a]);
            for (int b = 0; b < EACH; ++b) online.y[a][b] /= sum;
            const i64 row = (at.b * time + at.first + row_of(a)) * heads + at.head;
            if (log_sum && at.column == 0 && threadIdx.x % 16 == 0 && row_of(a) < at.count)
                log_sum[row] = online.top[a] + logf(sum);
        }
        float* out = y + ((at.b * time + at.first) * heads + at.head) * width;
        store_tile(online.y, at.column, at.count, width, heads * width, out);
    }
}
