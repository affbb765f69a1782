// Attention forward: a block a tile of 64 queries of a head, which keys come by in tiles; nothing is kept of the
// scores.

// n = batch * heads * ceil(time / 64) * ceil(width / 64): outputs of 64 queries, and the logarithms of their sums
// unless that is null
BLOCK_KERNEL(BLOCK, 1) attention_forward(i64 n, i64 time, i64 heads, i64 kv_heads, i64 width, i64 persistent, i64 window,
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
        const Spread tokens = {time, time, kv_heads * width}, first = {persistent, persistent, kv_heads * width};
        Online online;
        begin_rows(online);
        if (pk) {
            const Rows plain = head_rows(q, at.b, time, at.first, heads, at.head, width);
            take_keys(online, at, plain, 0, persistent, first, 0, 0, pk, pv, left, right, weights);
        }
        for (int context = ck ? 0 : 1; context < 2; ++context)
            take_keys(online, at, turned, from, to, tokens, window, segment, context ? k : ck, context ? v : cv, left,
                      right, weights);
        for (int a = 0; a < EACH; ++a) {
            const float log = end_row(online, a);
            const i64 row = (at.b * time + at.first + row_of(a)) * heads + at.head;
            if (log_sum && at.column == 0 && threadIdx.x % 16 == 0 && row_of(a) < at.count)
                log_sum[row] = log;
        }
        float* out = y + ((at.b * time + at.first) * heads + at.head) * width;
        store_tile(online.y, at.column, at.count, width, heads * width, out);
    }
}
