// The ends of a model: embedding, cross entropy and squared error.

#define IGNORE 0xffffffffu

// n = rows * width: y[r] = table[ids[r]]
KERNEL embedding_forward(i64 n, i64 width, const unsigned* ids, const float* table, float* y) {
    THREAD(i, n);
    y[i] = table[(i64)ids[i / width] * width + i % width];
}

// n = entries * width: d_table[e] += the rows of d_y whose id is e, in order
KERNEL embedding_vjp(i64 n, i64 width, i64 rows, const unsigned* ids, const float* d_y, float* d_table) {
    THREAD(i, n);
    const i64 entry = i / width, c = i % width;
    double sum = 0.0;
    for (i64 r = 0; r < rows; ++r)
        if ((i64)ids[r] == entry) sum += d_y[r * width + c];
    d_table[i] += (float)sum;
}

// The largest of d values, and log sum exp.
__device__ inline double log_sum_exp(i64 d, const float* x) {
    float top = x[0];
    for (i64 c = 1; c < d; ++c) top = x[c] > top ? x[c] : top;
    double sum = 0.0;
    for (i64 c = 0; c < d; ++c) sum += exp((double)x[c] - top);
    return log(sum) + top;
}

// n = sequences * width: y[b] = mean of the first lengths[b] rows of x[b], 0 where there are none
KERNEL pool_forward(i64 n, i64 time, i64 width, const unsigned* lengths, const float* x, float* y) {
    THREAD(i, n);
    const i64 b = i / width, c = i % width, length = (i64)lengths[b];
    double sum = 0.0;
    for (i64 t = 0; t < length; ++t) sum += x[(b * time + t) * width + c];
    y[i] = length == 0 ? 0.0f : (float)(sum / (double)length);
}

// n = sequences * time * width: d_x = d_y / length in the first lengths[b] rows, 0 behind them
KERNEL pool_vjp(i64 n, i64 time, i64 width, const unsigned* lengths, const float* d_y, float* d_x) {
    THREAD(i, n);
    const i64 row = i / width, b = row / time, t = row % time, length = (i64)lengths[b];
    d_x[i] = t < length ? (float)((double)d_y[b * width + i % width] / (double)length) : 0.0f;
}

// n = rows: losses[r] = log sum exp(logits[r]) - logits[r, target], 0 without a target
KERNEL cross_entropy_forward(i64 n, i64 classes, const float* logits, const unsigned* targets, float* losses) {
    THREAD(r, n);
    if (targets[r] == IGNORE) {
        losses[r] = 0.0f;
        return;
    }
    const float* row = logits + r * classes;
    losses[r] = (float)(log_sum_exp(classes, row) - row[targets[r]]);
}

// n = rows: d_logits[r] = scale (softmax - one-hot), 0 without a target
KERNEL cross_entropy_vjp(i64 n, i64 classes, float scale, const float* logits, const unsigned* targets,
                         float* d_logits) {
    THREAD(r, n);
    const float* row = logits + r * classes;
    float* out = d_logits + r * classes;
    const bool ignored = targets[r] == IGNORE;
    const double total = ignored ? 0.0 : log_sum_exp(classes, row);
    for (i64 c = 0; c < classes; ++c) {
        const double hot = c == (i64)targets[r] ? 1.0 : 0.0;
        out[c] = ignored ? 0.0f : (float)((double)scale * (exp((double)row[c] - total) - hot));
    }
}

// n = rows: losses[r] = mean over the row of (x - target)^2; 0 for no width
KERNEL squared_error_forward(i64 n, i64 width, const float* x, const float* target, float* losses) {
    THREAD(r, n);
    double sum = 0.0;
    for (i64 c = 0; c < width; ++c) {
        const double difference = (double)x[r * width + c] - target[r * width + c];
        sum += difference * difference;
    }
    losses[r] = width == 0 ? 0.0f : (float)(sum / (double)width);
}

// n = rows * width: d_x = scale 2 (x - target) / width
KERNEL squared_error_vjp(i64 n, i64 width, float scale, const float* x, const float* target, float* d_x) {
    THREAD(i, n);
    d_x[i] = (float)((double)scale * 2.0 / (double)width * ((double)x[i] - target[i]));
}
