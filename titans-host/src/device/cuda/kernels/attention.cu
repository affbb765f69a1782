// Attention: q, y: [batch, time, heads, c]; k, v of tokens and of the context: [batch, time, kv_heads, c]; persistent
// ones: [batch, persistent, kv_heads, c]. Queries and keys that have a position come rotated; `q` is not, and meets
// the persistent keys. Token i sees tokens (and context rows) of its window, or of its segment where that is not 0.

// n = rows * width / 2, a pair each; rows [batch, time, heads], row t of a sequence turns by turn * position *
// 2^(-2 log2(base) pair / width), its position t mod period (t for 0) + shift; log2(base) in two parts
KERNEL rotary(i64 n, i64 time, i64 heads, i64 width, i64 period, i64 shift, float log_high, float log_low, float turn,
              const float* x, float* y) {
    THREAD(i, n);
    const i64 half = width / 2, pair = i % half, row = i / half, t = row / heads % time;
    const double position = (double)((period ? t % period : t) + shift);
    const double log_base = (double)log_high + (double)log_low;
    const double angle = position * exp2(-2.0 * (double)pair / (double)width * log_base);
    const double c = cos(angle), s = (double)turn * sin(angle);
    const float *a = x + row * width + pair, *b = a + half;
    float* out = y + row * width + pair;
    const double left = *a, right = *b;
    out[0] = (float)(left * c - right * s);
    out[half] = (float)(left * s + right * c);
}

// The oldest token that token i sees.
__device__ inline i64 oldest(i64 i, i64 window, i64 segment) {
    if (segment) return i - i % segment;
    return i + 1 > window ? i + 1 - window : 0;
}

__device__ inline double score(i64 width, const float* q, const float* k) {
    return dot(width, q, k) / sqrt((double)width);
}

// The largest of `top` and the scores of rows [first, last) of keys that lie `stride` apart.
__device__ inline double largest_score(double top, i64 width, i64 first, i64 last, i64 stride, const float* q,
                                       const float* k) {
    for (i64 j = first; j < last; ++j) {
        const double s = score(width, q, k + j * stride);
        top = s > top ? s : top;
    }
    return top;
}

// y += sum of e^(score - top) v over these rows; returns the sum of the factors.
__device__ inline double weighted_values(double top, i64 width, i64 first, i64 last, i64 stride, const float* q,
                                         const float* k, const float* v, float* y) {
    double sum = 0.0;
    for (i64 j = first; j < last; ++j) {
        const double weight = exp(score(width, q, k + j * stride) - top);
        sum += weight;
        for (i64 c = 0; c < width; ++c) y[c] = (float)(y[c] + weight * v[j * stride + c]);
    }
    return sum;
}

// n = batch * time * heads: one query's output, and the logarithm of its sum unless that is null
KERNEL attention_forward(i64 n, i64 time, i64 heads, i64 kv_heads, i64 width, i64 persistent, i64 window, i64 segment,
                         const float* q, const float* q_rotated, const float* k, const float* v, const float* pk,
                         const float* pv, const float* ck, const float* cv, float* y, float* log_sum) {
    THREAD(r, n);
    const i64 h = r % heads, i = r / heads % time, b = r / heads / time;
    const i64 kv = h / (heads / kv_heads), stride = kv_heads * width;
    const i64 tokens = (b * time * kv_heads + kv) * width, own = (b * persistent * kv_heads + kv) * width;
    const i64 first = oldest(i, window, segment), last = i + 1;
    const float *plain = q + r * width, *turned = q_rotated + r * width;
    double top = largest_score(score(width, turned, k + tokens + i * stride), width, first, last, stride, turned,
                               k + tokens);
    if (ck) top = largest_score(top, width, first, last, stride, turned, ck + tokens);
    if (pk) top = largest_score(top, width, 0, persistent, stride, plain, pk + own);
    float* out = y + r * width;
    for (i64 c = 0; c < width; ++c) out[c] = 0.0f;
    double sum = 0.0;
    if (pk) sum += weighted_values(top, width, 0, persistent, stride, plain, pk + own, pv + own, out);
    if (ck) sum += weighted_values(top, width, first, last, stride, turned, ck + tokens, cv + tokens, out);
    sum += weighted_values(top, width, first, last, stride, turned, k + tokens, v + tokens, out);
    for (i64 c = 0; c < width; ++c) out[c] = (float)(out[c] / sum);
    if (log_sum) log_sum[r] = (float)(top + log(sum));
}

// d_q += sum of d_score k over these rows, d_score = p (d_y v - along) / sqrt(width).
__device__ inline void query_gradient(double log_sum, double along, i64 width, i64 first, i64 last, i64 stride,
                                      const float* q, const float* k, const float* v, const float* d_y, float* d_q) {
    for (i64 j = first; j < last; ++j) {
        const double p = exp(score(width, q, k + j * stride) - log_sum);
        const double d = p * (dot(width, d_y, v + j * stride) - along) / sqrt((double)width);
        for (i64 c = 0; c < width; ++c) d_q[c] = (float)(d_q[c] + d * k[j * stride + c]);
    }
}

// n = batch * time * heads: gradients of one query, by way of persistent keys and of the others; along = d_y y
KERNEL attention_vjp_queries(i64 n, i64 time, i64 heads, i64 kv_heads, i64 width, i64 persistent, i64 window,
                             i64 segment, const float* q, const float* q_rotated, const float* k, const float* v,
                             const float* pk, const float* pv, const float* ck, const float* cv, const float* y,
                             const float* log_sum, const float* d_y, float* along, float* d_q, float* d_q_rotated) {
    THREAD(r, n);
    const i64 h = r % heads, i = r / heads % time, b = r / heads / time;
    const i64 kv = h / (heads / kv_heads), stride = kv_heads * width;
    const i64 tokens = (b * time * kv_heads + kv) * width, own = (b * persistent * kv_heads + kv) * width;
    const i64 first = oldest(i, window, segment), last = i + 1, at = r * width;
    const double product = dot(width, d_y + at, y + at);
    along[r] = (float)product;
    for (i64 c = 0; c < width; ++c) d_q[at + c] = d_q_rotated[at + c] = 0.0f;
    if (pk)
        query_gradient(log_sum[r], product, width, 0, persistent, stride, q + at, pk + own, pv + own, d_y + at,
                       d_q + at);
    if (ck)
        query_gradient(log_sum[r], product, width, first, last, stride, q_rotated + at, ck + tokens, cv + tokens,
                       d_y + at, d_q_rotated + at);
    query_gradient(log_sum[r], product, width, first, last, stride, q_rotated + at, k + tokens, v + tokens, d_y + at,
                   d_q_rotated + at);
}

// n = batch * rows * kv_heads: gradients of one key and its value, over the queries that see it: all of them for
// persistent keys (window and segment 0), q then not rotated
KERNEL attention_vjp_keys(i64 n, i64 rows, i64 time, i64 heads, i64 kv_heads, i64 width, i64 window, i64 segment,
                          const float* q, const float* k, const float* v, const float* log_sum, const float* d_y,
                          const float* along, float* d_k, float* d_v) {
    THREAD(r, n);
    const i64 kv = r % kv_heads, j = r / kv_heads % rows, b = r / kv_heads / rows, group = heads / kv_heads;
    i64 first = 0, last = time;
    if (segment) first = j, last = j - j % segment + segment;
    if (window) first = j, last = window < time - j ? j + window : time;
    last = last < time ? last : time;
    const i64 at = r * width;
    for (i64 c = 0; c < width; ++c) d_k[at + c] = d_v[at + c] = 0.0f;
    for (i64 i = first; i < last; ++i)
        for (i64 g = 0; g < group; ++g) {
            const i64 query = (b * time + i) * heads + kv * group + g;
            const float *from = q + query * width, *cotangent = d_y + query * width;
            const double p = exp(score(width, from, k + at) - log_sum[query]);
            const double d = p * (dot(width, cotangent, v + at) - along[query]) / sqrt((double)width);
            for (i64 c = 0; c < width; ++c) {
                d_k[at + c] = (float)(d_k[at + c] + d * from[c]);
                d_v[at + c] = (float)(d_v[at + c] + p * cotangent[c]);
            }
        }
}
