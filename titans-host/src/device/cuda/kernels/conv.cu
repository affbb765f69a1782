// Causal depth-wise convolution. x, y: [batch, time, channels]; w: [channels, width];
// tail: [batch, width - 1, channels], the tokens before the first, or null for zeros.

// Token s of sequence b, s from -(width - 1).
__device__ inline float token(const float* x, const float* tail, i64 b, i64 s, i64 c, i64 time, i64 channels,
                              i64 width) {
    if (s >= 0) return x[(b * time + s) * channels + c];
    return tail ? tail[(b * (width - 1) + s + width - 1) * channels + c] : 0.0f;
}

// n = batch * time * channels
KERNEL conv_forward(i64 n, i64 time, i64 channels, i64 width, const float* x, const float* tail, const float* w,
                    const float* bias, float* y) {
    THREAD(i, n);
    const i64 c = i % channels, t = i / channels % time, b = i / channels / time;
    float sum = bias[c];
    for (i64 j = 0; j < width; ++j)
        sum += w[c * width + j] * token(x, tail, b, t - width + 1 + j, c, time, channels, width);
    y[i] = sum;
}

// n = batch * time * channels. y[t] = bias + sum over taps j of w[j] x[t - width + 1 + j], so token s meets tap j in
// the output t = s + width - 1 - j: d_x[b, s, c] = sum over j of w[c, j] d_y[b, s + width - 1 - j, c]
KERNEL conv_vjp_input(i64 n, i64 time, i64 channels, i64 width, const float* w, const float* d_y, float* d_x) {
    THREAD(i, n);
    const i64 c = i % channels, s = i / channels % time, b = i / channels / time;
    float sum = 0.0f;
    for (i64 j = 0; j < width; ++j) {
        const i64 t = s + width - 1 - j;
        if (t < time) sum += w[c * width + j] * d_y[(b * time + t) * channels + c];
    }
    d_x[i] = sum;
}

// d_w[c, j] = sum over b and t of d_y[b, t, c] x[b, t - width + 1 + j, c], y being linear in w; d_bias is the sum of
// d_y (columns.cu). Sums over slices of the batch * time tokens, tap after tap: n = slices * width * ceil(channels /
// 32). partial [slices, channels, width]
BLOCK_KERNEL(BLOCK) conv_vjp_weight(i64 n, i64 slices, i64 batch, i64 time, i64 channels, i64 width, const float* x,
                                    const float* tail, const float* d_y, float* partial) {
    BLOCK_UNITS(u, n) {
        const i64 units = n / width, j = u / units;
        const Slice slice = slice_of(u % units, slices, batch * time, channels);
        const i64 c = slice.column;
        const auto term = [=](i64 r) {
            if (c >= channels) return Pair{0.0f, 0.0f};
            const i64 b = r / time, t = r % time;
            return two_product(d_y[r * channels + c], token(x, tail, b, t - width + 1 + j, c, time, channels, width));
        };
        const float sum = column_sum(slice.first, slice.last, term);
        if (keeps(slice, channels)) partial[(slice.number * channels + c) * width + j] = sum;
    }
}

// n = batch * (width - 1) * channels: the last width - 1 tokens of tail followed by x
KERNEL conv_tail(i64 n, i64 time, i64 channels, i64 width, const float* x, const float* tail, float* next) {
    THREAD(i, n);
    const i64 c = i % channels, j = i / channels % (width - 1), b = i / channels / (width - 1);
    next[i] = token(x, tail, b, time - (width - 1) + j, c, time, channels, width);
}
