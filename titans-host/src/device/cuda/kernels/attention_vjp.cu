// Attention backward: the scores are made again, tile by tile, from the logarithms of their sums (MATH 4, around; CPU:
// ops/attention/vjp.rs, `vjp`).
//
// Forward s = q k^T / sqrt(width), p = e^(s - log_sum), y = p v. As dp_j/ds_i = p_j ([i = j] - p_i), and sum_j p_j (d_y
// . v_j) = d_y . y:
//
//   d_v = p^T d_y,   d_p = d_y v^T,   d_s = p (d_p - along),   along = d_y . y
//   d_q = d_s k / sqrt(width),   d_k = d_s^T q / sqrt(width)          the root goes into d_s

// along = d_y . y, what the softmax's sum takes off every d_p. n = rows, a warp each
BLOCK_KERNEL(BLOCK) attention_along(i64 n, i64 width, const float* d_y, const float* y, float* along) {
    WARP_ROWS(r, n) {
        const float product = rounded(warp_dot(width, d_y + r * width, y + r * width));
        if (first_lane()) along[r] = product;
    }
}

// n = batch * heads * ceil(time / 64) * ceil(width / 64): d_q = d_s k of 64 queries by way of `rows` keys, and as many
// of a context where ck is not null. Window and segment 0: persistent keys, q then not rotated
BLOCK_KERNEL(BLOCK) attention_vjp_queries(i64 n, i64 rows, i64 time, i64 heads, i64 kv_heads, i64 width, i64 window,
                                          i64 segment, const float* q, const float* k, const float* v, const float* ck,
                                          const float* cv, const float* log_sum, const float* along, const float* d_y,
                                          float* d_q) {
    SHARED(float, left, [TILE][PART + 1]);
    SHARED(float, right, [TILE][TILE + 1]);
    SHARED(float, weights, [TILE][TILE + 1]);
    BLOCK_UNITS(u, n) {
        const QueryTile at = query_tile(u, time, heads, kv_heads, width);
        const i64 row = (at.b * time + at.first) * heads + at.head, own = row * width, stride = heads * width;
        const i64 from = seen_by(at.first, rows, window, segment).from;
        const i64 to = seen_by(at.first + at.count - 1, rows, window, segment).to;
        float sum[EACH][EACH];
        for (int a = 0; a < EACH; ++a)
            for (int b = 0; b < EACH; ++b) sum[a][b] = 0.0f;
        for (int context = 0; context < (ck ? 2 : 1); ++context)
            for (i64 first = from; first < to; first += TILE) {
                const Rows keys = head_rows(context ? ck : k, at.b, rows, first, kv_heads, at.kv, width);
                const Rows values = head_rows(context ? cv : v, at.b, rows, first, kv_heads, at.kv, width);
                const Scores tile = {Rows{q + own, stride, at.count, width}, Rows{d_y + own, stride, at.count, width},
                                     keys, values, log_sum + row, along + row, at.first, first, rows, window, segment,
                                     heads};
                float p[EACH][EACH], d[EACH][EACH];
                score_gradients(tile, left, right, p, d);
                share_weights(d, weights);
                add_weighted(weights, false, keys, at.column, right, sum); // d_q += d_s k
            }
        store_tile(sum, at.column, at.count, width, stride, d_q + own);
    }
}

// n = batch * kv_heads * ceil(rows / 64) * ceil(width / 64), and as many again for the context's keys where there are
// such: d_k = d_s^T q and d_v = p^T d_y of 64 keys, over the queries that see them: all of them for persistent keys
// (window and segment 0), q then not rotated
BLOCK_KERNEL(BLOCK, 1) attention_vjp_keys(i64 n, i64 rows, i64 time, i64 heads, i64 kv_heads, i64 width, i64 window,
                                       i64 segment, const float* q, const float* k, const float* v, const float* ck,
                                       const float* cv, const float* log_sum, const float* d_y, const float* along,
                                       float* d_k, float* d_v, float* d_ck, float* d_cv) {
    SHARED(float, left, [TILE][PART + 1]);
    SHARED(float, right, [TILE][TILE + 1]);
    SHARED(float, weights, [TILE][TILE + 1]);
    const i64 of_tokens = d_ck ? n / 2 : n;
    BLOCK_UNITS(u, n) {
        const bool context = u >= of_tokens;
        const QueryTile at = query_tile(context ? u - of_tokens : u, rows, kv_heads, kv_heads, width); // of keys
        const i64 group = heads / kv_heads, end = at.first + at.count;
        i64 from = 0, to = time;
        if (segment) from = at.first, to = (end + segment - 1) / segment * segment;
        if (window) from = at.first, to = window < time - end ? end + window : time;
        to = to < time ? to : time;
        const Rows keys = head_rows(context ? ck : k, at.b, rows, at.first, kv_heads, at.head, width);
        const Rows values = head_rows(context ? cv : v, at.b, rows, at.first, kv_heads, at.head, width);
        float of_k[EACH][EACH], of_v[EACH][EACH];
        for (int a = 0; a < EACH; ++a)
            for (int b = 0; b < EACH; ++b) of_k[a][b] = of_v[a][b] = 0.0f;
        for (i64 i = 0; i < (to - from + TILE - 1) / TILE * group; ++i) {
            const i64 first = from + i / group * TILE, head = at.head * group + i % group;
            const Rows queries = head_rows(q, at.b, time, first, heads, head, width);
            const Rows cotangents = head_rows(d_y, at.b, time, first, heads, head, width);
            const i64 row = (at.b * time + first) * heads + head;
            const Scores tile = {queries, cotangents, keys, values, log_sum + row, along + row, first, at.first, rows,
                                 window, segment, heads};
            float p[EACH][EACH], d[EACH][EACH];
            score_gradients(tile, left, right, p, d);
            share_weights(p, weights);
            add_weighted(weights, true, cotangents, at.column, right, of_v); // d_v += p^T d_y
            share_weights(d, weights);
            add_weighted(weights, true, queries, at.column, right, of_k); // d_k += d_s^T q
        }
        const i64 own = ((at.b * rows + at.first) * kv_heads + at.head) * width;
        store_tile(of_k, at.column, at.count, width, kv_heads * width, (context ? d_ck : d_k) + own);
        store_tile(of_v, at.column, at.count, width, kv_heads * width, (context ? d_cv : d_v) + own);
    }
}
