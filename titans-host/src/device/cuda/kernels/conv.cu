// Causal depth-wise convolution. x, y: [batch, time, channels]; w: [channels, width]; tail: [batch, before, channels],
// whose last width - 1 tokens (there are no fewer) stand before the first one, or null for zeros.
//
// y_t = bias + sum over j of w_j x_(t - width + 1 + j), and backward (MATH 4, around; CPU: ops/conv.rs, `vjp`)
//
//   d_x_t = sum over j of w_j d_y_(t + width - 1 - j),  d_w_j += sum over t of d_y_t x_(t - width + 1 + j),
//   d_bias += sum over t of d_y_t

// Token s of sequence b, s from -(width - 1).
__device__ inline float token(const float* x, const float* tail, i64 b, i64 s, i64 c, i64 time, i64 channels,
                              i64 before) {
    if (s >= 0) return x[(b * time + s) * channels + c];
    return tail ? tail[(b * before + before + s) * channels + c] : 0.0f;
}

// n = batch * time * channels
KERNEL conv_forward(i64 n, i64 time, i64 channels, i64 width, i64 before, const float* x, const float* tail,
                    const float* w, const float* bias, float* y) {
    THREAD(i, n);
    const i64 c = i % channels, t = i / channels % time, b = i / channels / time;
    float sum = bias[c];
    for (i64 j = 0; j < width; ++j)
        sum += w[c * width + j] * token(x, tail, b, t - width + 1 + j, c, time, channels, before);
    y[i] = sum;
}

// n = batch * time * channels, and batch * before * channels more where d_tail is not null. y[t] = bias + sum over
// taps j of w[j] x[t - width + 1 + j], so token s meets tap j in the output t = s + width - 1 - j: d_x[b, s, c] = sum
// over j of w[c, j] d_y[b, s + width - 1 - j, c], and of the tail's tokens s < 0 the same
KERNEL conv_vjp_input(i64 n, i64 time, i64 channels, i64 width, i64 before, i64 tokens, const float* w,
                      const float* d_y, float* d_x, float* d_tail) {
    THREAD(element, n);
    const bool in_tail = element >= tokens;
    const i64 i = in_tail ? element - tokens : element, rows = in_tail ? before : time;
    const i64 c = i % channels, b = i / channels / rows, s = i / channels % rows - (in_tail ? before : 0);
    float sum = 0.0f;
    for (i64 j = 0; j < width; ++j) {
        const i64 t = s + width - 1 - j;
        if (t >= 0 && t < time) sum += w[c * width + j] * d_y[(b * time + t) * channels + c];
    }
    (in_tail ? d_tail : d_x)[i] = sum;
}

// d_w[c, j] = sum over b and t of d_y[b, t, c] x[b, t - width + 1 + j, c], y being linear in w; d_bias is the sum of
// d_y. Sums over slices of the batch * time tokens (columns.cu), tap after tap, behind them the biases: n = slices *
// (width + 1) * ceil(channels / 32). partial [slices, channels * (width + 1)], the biases behind all channels' taps;
// null where there is one slice: the sums are added to d_w and d_bias
BLOCK_KERNEL(BLOCK) conv_vjp_weight(i64 n, i64 slices, i64 batch, i64 time, i64 channels, i64 width, i64 before,
                                    const float* x, const float* tail, const float* d_y, float* partial, float* d_w,
                                    float* d_bias) {
    BLOCK_UNITS(u, n) {
        const i64 units = n / (width + 1), j = u / units;
        const Slice slice = slice_of(u % units, slices, batch * time, channels);
        const i64 c = slice.column;
        const auto term = [=](i64 r) {
            if (c >= channels) return Pair{0.0f, 0.0f};
            if (j == width) return Pair{d_y[r * channels + c], 0.0f};
            const i64 b = r / time, t = r % time;
            return two_product(d_y[r * channels + c], token(x, tail, b, t - width + 1 + j, c, time, channels, before));
        };
        const float sum = column_sum(slice.first, slice.last, term);
        if (!keeps(slice, channels)) continue;
        const i64 place = j == width ? channels * width + c : c * width + j;
        if (partial)
            partial[slice.number * channels * (width + 1) + place] = sum;
        else
            (j == width ? d_bias[c] : d_w[place]) += sum;
    }
}

// n = ceil(channels * (width + 1) / 32): the sums of the slices, added to d_w and d_bias
BLOCK_KERNEL(BLOCK) conv_add_rows(i64 n, i64 slices, i64 channels, i64 width, const float* partial, float* d_w,
                                  float* d_bias) {
    BLOCK_UNITS(u, n) {
        const i64 taps = channels * width, all = taps + channels, e = u * 32 + threadIdx.x % 32;
        const float sum = column_sum(0, slices, [=](i64 r) { return e < all ? partial[r * all + e] : 0.0f; });
        if (threadIdx.x < 32 && e < all) (e < taps ? d_w[e] : d_bias[e - taps]) += sum;
    }
}

// n = batch * (width - 1) * channels: the last width - 1 tokens of tail followed by x
KERNEL conv_tail(i64 n, i64 time, i64 channels, i64 width, const float* x, const float* tail, float* next) {
    THREAD(i, n);
    const i64 c = i % channels, j = i / channels % (width - 1), b = i / channels / (width - 1);
    next[i] = token(x, tail, b, time - (width - 1) + j, c, time, channels, width - 1);
}
