// The ends of a model: embedding, mean over a sequence, cross entropy and squared error.
//
// Backward (MATH 4, around): row ids[r] of d_table += d_y[r]; d_x = d_y / length; d_logits = d_loss (softmax -
// one-hot); d_x = d_loss 2 (x - target) / width. CPU: `vjp` of ops/embedding.rs, pool.rs, cross_entropy.rs and
// squared_error.rs.

// n = rows * width: y[r] = table[ids[r]]
KERNEL embedding_forward(i64 n, i64 width, const unsigned* ids, const float* table, float* y) {
    THREAD(i, n);
    y[i] = table[(i64)ids[i / width] * width + i % width];
}

// y[r] = table[ids[r]], so d_table[i] += sum of the d_y[r] whose id is i. n = groups * ceil(width / 32), a block each:
// the rows of d_y that share an id are those that order[starts[g]] .. order[starts[g + 1] - 1] name; groups may be
// empty
BLOCK_KERNEL(BLOCK) embedding_vjp(i64 n, i64 width, const unsigned* ids, const unsigned* order, const unsigned* starts,
                                  const float* d_y, float* d_table) {
    BLOCK_UNITS(u, n) {
        const i64 tiles = (width + 31) / 32, g = u / tiles, c = u % tiles * 32 + threadIdx.x % 32;
        if (starts[g] == starts[g + 1]) continue; // the whole block
        const auto term = [=](i64 r) { return c < width ? d_y[(i64)order[r] * width + c] : 0.0f; };
        const float sum = column_sum(starts[g], starts[g + 1], term);
        if (threadIdx.x < 32 && c < width) d_table[(i64)ids[order[starts[g]]] * width + c] += sum;
    }
}

// The largest of a row's values, and the sum of e^(x - top): one look at the row, in which a lane's sum follows its
// top.
struct Softmax {
    float top;
    Pair sum;
};

__device__ inline Softmax softmax(i64 d, const float* x) {
    float top = -3.402823466e38f;
    Pair sum = {0.0f, 0.0f};
    LANE_ELEMENTS(c, d) {
        if (x[c] > top) sum = times(sum, expf(top - x[c])), top = x[c];
        sum = plus(sum, expf(x[c] - top));
    }
    const float largest = warp_largest(top);
    return Softmax{largest, warp_sum(times(sum, expf(top - largest)))};
}

// n = sequences * width: y[b] = mean of the first lengths[b] rows of x[b], 0 where there are none
KERNEL pool_forward(i64 n, i64 time, i64 width, const unsigned* lengths, const float* x, float* y) {
    THREAD(i, n);
    const i64 b = i / width, c = i % width, length = (i64)lengths[b];
    Pair sum = {0.0f, 0.0f};
    for (i64 t = 0; t < length; ++t) sum = plus(sum, x[(b * time + t) * width + c]);
    y[i] = length == 0 ? 0.0f : rounded(over(sum, (float)length));
}

// n = sequences * time * width. y[b] = sum over t < length of x[b, t] / length, so d_x = d_y / length in those rows;
// the rows behind them are in no mean: 0
KERNEL pool_vjp(i64 n, i64 time, i64 width, const unsigned* lengths, const float* d_y, float* d_x) {
    THREAD(i, n);
    const i64 row = i / width, b = row / time, t = row % time, length = (i64)lengths[b];
    d_x[i] = t < length ? d_y[b * width + i % width] / (float)length : 0.0f;
}

// n = rows, a warp each: losses[r] = log sum exp(logits[r]) - logits[r, target], 0 without a target
BLOCK_KERNEL(BLOCK) cross_entropy_forward(i64 n, i64 classes, const float* logits, const unsigned* targets,
                                          float* losses) {
    WARP_ROWS(r, n) {
        const float* row = logits + r * classes;
        const bool ignored = targets[r] == IGNORE;
        const Softmax all = softmax(ignored ? 0 : classes, row);
        if (first_lane()) losses[r] = ignored ? 0.0f : logf(rounded(all.sum)) + (all.top - row[targets[r]]);
    }
}

// n = rows, a warp each. loss = log sum exp(x) - x_target and d log sum exp(x) / d x_c = e^x_c / sum e^x, so
// d_logits[r] = scale (softmax - one-hot), scale being the cotangent of every loss, own[0] where there is one; 0
// without a target
BLOCK_KERNEL(BLOCK) cross_entropy_vjp(i64 n, i64 classes, float scale, const float* own, const float* logits,
                                      const unsigned* targets, float* d_logits) {
    WARP_ROWS(r, n) {
        const float* row = logits + r * classes;
        const bool ignored = targets[r] == IGNORE;
        const Softmax all = softmax(ignored ? 0 : classes, row);
        const float inverse = 1.0f / rounded(all.sum);
        const i64 target = targets[r];
        const float by = own ? own[0] : scale; // here, where registers are free
        LANE_ELEMENTS(c, classes) {
            const float hot = c == target ? 1.0f : 0.0f;
            d_logits[r * classes + c] = ignored ? 0.0f : by * (expf(row[c] - all.top) * inverse - hot);
        }
    }
}

// n = rows, a warp each: losses[r] = mean over the row of (x - target)^2; 0 for no width
BLOCK_KERNEL(BLOCK) squared_error_forward(i64 n, i64 width, const float* x, const float* target, float* losses) {
    WARP_ROWS(r, n) {
        Pair sum = {0.0f, 0.0f};
        LANE_ELEMENTS(c, width) {
            const Pair difference = two_sum(x[r * width + c], -target[r * width + c]);
            sum = plus(sum, times(difference, difference));
        }
        sum = warp_sum(sum);
        if (first_lane()) losses[r] = width == 0 ? 0.0f : rounded(over(sum, (float)width));
    }
}

// n = rows * width. loss = sum of (x - target)^2 / width, so d_x = scale 2 (x - target) / width, scale being the
// cotangent of every loss, own[0] where there is one
KERNEL squared_error_vjp(i64 n, i64 width, float scale, const float* own, const float* x, const float* target,
                         float* d_x) {
    THREAD(i, n);
    if (own) scale = own[0];
    d_x[i] = scale * 2.0f / (float)width * (x[i] - target[i]);
}
