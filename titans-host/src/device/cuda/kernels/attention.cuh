// What attention forward and backward share. q, y: [batch, time, heads, c]; k, v of tokens and of the context: [batch,
// time, kv_heads, c]; persistent ones: [batch, persistent, kv_heads, c]. Queries and keys that have a position come
// rotated; `q` is not, and meets the persistent keys. Token i sees tokens (and context rows) of its window, or of its
// segment where that is not 0; both 0: it sees all.

// The tokens from .. to - 1.
struct Seen {
    i64 from, to;
};

// What token i sees of `all` tokens.
__device__ inline Seen seen_by(i64 i, i64 all, i64 window, i64 segment) {
    if (segment) return Seen{i - i % segment, i + 1};
    if (window) return Seen{i + 1 > window ? i + 1 - window : 0, i + 1};
    return Seen{0, all};
}

// Sequences of `rows` rows that are there: sequences `apart` rows from one another, rows `across` numbers.
struct Spread {
    i64 rows, apart, across;
};

// Rows of a head, TILE at the most, from row `first` of sequence b on.
__device__ inline Rows head_rows(const float* x, const Spread& all, i64 b, i64 first, i64 head, i64 width) {
    const i64 left = all.rows - first;
    return Rows{x + (b * all.apart + first) * all.across + head * width, all.across, left < TILE ? left : TILE, width};
}

// The same of an array [batch, rows, heads, width].
__device__ inline Rows head_rows(const float* x, i64 b, i64 rows, i64 first, i64 heads, i64 head, i64 width) {
    return head_rows(x, Spread{rows, rows, heads * width}, b, first, head, width);
}

// A tile of queries of one head, and the columns of the result that a block makes: units are [batch, heads, tiles,
// parts].
struct QueryTile {
    i64 b, head, kv, first, count, column;
};

__device__ inline QueryTile query_tile(i64 unit, i64 time, i64 heads, i64 kv_heads, i64 width) {
    const i64 parts = (width + TILE - 1) / TILE, tiles = (time + TILE - 1) / TILE;
    const i64 head = unit / parts / tiles % heads, first = unit / parts % tiles * TILE;
    return QueryTile{unit / parts / tiles / heads, head, head / (heads / kv_heads), first,
                     time - first < TILE ? time - first : TILE, unit % parts * TILE};
}

// What a row of queries knows so far: the largest score, the sum of e^(score - top) (this thread's share), and the sum
// of the values by these weights.
struct Online {
    float top[EACH], sum[EACH], y[EACH][EACH];
};

__device__ inline void begin_rows(Online& online) {
    for (int a = 0; a < EACH; ++a) {
        online.top[a] = -3.402823466e38f, online.sum[a] = 0.0f;
        for (int b = 0; b < EACH; ++b) online.y[a][b] = 0.0f;
    }
}

// Takes the keys [from, to) of sequences.
__device__ inline void take_keys(Online& online, const QueryTile& at, Rows queries, i64 from, i64 to, const Spread& all,
                                 i64 window, i64 segment, const float* k, const float* v, float (*left)[PART + 1],
                                 float (*right)[TILE + 1], float (*weights)[TILE + 1]) {
    const float scale = 1.0f / sqrtf((float)queries.width);
    for (i64 first = from; first < to; first += TILE) {
        float s[EACH][EACH];
        row_products(queries, head_rows(k, all, at.b, first, at.kv, queries.width), left, right, s);
        for (int a = 0; a < EACH; ++a) {
            const Seen keys = seen_by(at.first + row_of(a), all.rows, window, segment);
            bool seen[EACH];
            float top = online.top[a];
            for (int b = 0; b < EACH; ++b) {
                const i64 j = first + column_of(b);
                seen[b] = j >= keys.from && j < keys.to && j < all.rows;
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
        const Rows values = head_rows(v, all, at.b, first, at.kv, queries.width);
        add_weighted(weights, false, values, at.column, right, online.y);
    }
}

// Divides a row by its sum, whose logarithm it gives.
__device__ inline float end_row(Online& online, int a) {
    const float sum = row_sum(online.sum[a]);
    for (int b = 0; b < EACH; ++b) online.y[a][b] /= sum;
    return online.top[a] + logf(sum);
}

// One tile of queries against one of keys: p, and d_score, of a thread's pairs. Rows are queries from `first_query` on,
// columns keys from `first_key` on of `keys`; log_sum and along lie `heads` apart.
struct Scores {
    Rows q, d_y, k, v;
    const float *log_sum, *along;
    i64 first_query, first_key, keys, window, segment, heads;
};

// p = e^(s - log_sum) and d_s = p (d_y . v - along), the root of the width taken into s and d_s; 0 where a query does
// not see a key.
__device__ inline void score_gradients(const Scores& t, float (*left)[PART + 1], float (*right)[TILE + 1],
                                       float (*p)[EACH], float (*d)[EACH]) {
    const float scale = 1.0f / sqrtf((float)t.q.width);
    row_products(t.q, t.k, left, right, p);
    row_products(t.d_y, t.v, left, right, d);
    for (int a = 0; a < EACH; ++a) {
        const bool inside = row_of(a) < t.q.count;
        const Seen seen = seen_by(t.first_query + row_of(a), t.keys, t.window, t.segment);
        const float log_sum = inside ? t.log_sum[row_of(a) * t.heads] : 0.0f;
        const float along = inside ? t.along[row_of(a) * t.heads] : 0.0f;
        for (int b = 0; b < EACH; ++b) {
            const i64 j = t.first_key + column_of(b);
            const bool sees = inside && j >= seen.from && j < seen.to && j < t.keys;
            p[a][b] = sees ? expf(p[a][b] * scale - log_sum) : 0.0f;
            d[a][b] = p[a][b] * (d[a][b] - along) * scale; // d_s from d_p = d_y . v
        }
    }
}

// A pair of a row, width / 2 from one another, turns by turn * position * 2^(-2 log2(base) pair / width), the logarithm
// in two parts. x may be y.
__device__ inline void turn_by(i64 position, i64 pair, i64 width, float log_high, float log_low, float turn,
                               const float* x, float* y) {
    const i64 half = width / 2;
    const double log_base = (double)log_high + (double)log_low;
    const double angle = (double)position * exp2(-2.0 * (double)pair / (double)width * log_base);
    const double c = cos(angle), s = (double)turn * sin(angle), left = x[0], right = x[half];
    y[0] = (float)(left * c - right * s);
    y[half] = (float)(left * s + right * c);
}
