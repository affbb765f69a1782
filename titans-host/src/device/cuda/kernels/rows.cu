// Maps of rows of d elements: norms, biases, sums over columns.

#define NORM_EPS 1e-6

// n = rows * d: y[r, :] = bias
KERNEL repeat_row(i64 n, i64 d, const float* bias, float* y) {
    THREAD(i, n);
    y[i] = bias[i % d];
}

// n = d: out[c] += sum over rows of x[r, c]
KERNEL sum_rows(i64 n, i64 rows, const float* x, float* out) {
    THREAD(c, n);
    double sum = 0.0;
    for (i64 r = 0; r < rows; ++r) sum += x[r * n + c];
    out[c] += (float)sum;
}

// n = rows: inverse[r] = 1 / sqrt(|x|^2 / divisor + eps); divisor d for the RMS norm, 1 for the l2 norm
KERNEL inverse_norm(i64 n, i64 d, float divisor, const float* x, float* inverse) {
    THREAD(r, n);
    const float* row = x + r * d;
    inverse[r] = (float)(1.0 / sqrt(dot(d, row, row) / (double)divisor + NORM_EPS));
}

// n = rows * d: y = x inverse[r] weight[c]; no weight: y = x inverse[r]
KERNEL norm_forward(i64 n, i64 d, const float* x, const float* inverse, const float* weight, float* y) {
    THREAD(i, n);
    const float scaled = x[i] * inverse[i / d];
    y[i] = weight ? scaled * weight[i % d] : scaled;
}

// n = rows. With g = d_y weight and s the inverse norm: d_x = s g - x s^3 / divisor sum(g x), a difference that nearly
// cancels in narrow rows, so all of it is double
KERNEL norm_vjp(i64 n, i64 d, float divisor, const float* x, const float* weight, const float* d_y, float* d_x) {
    THREAD(r, n);
    const float* row = x + r * d;
    const float* cot = d_y + r * d;
    double sum = 0.0;
    for (i64 c = 0; c < d; ++c) sum += (double)cot[c] * (weight ? weight[c] : 1.0f) * row[c];
    const double s = 1.0 / sqrt(dot(d, row, row) / (double)divisor + NORM_EPS);
    const double shared = s * s * s / (double)divisor * sum;
    for (i64 c = 0; c < d; ++c) {
        const double g = (double)cot[c] * (weight ? weight[c] : 1.0f);
        d_x[r * d + c] = (float)(s * g - row[c] * shared);
    }
}

// n = d: d_weight[c] += sum over rows of d_y x inverse
KERNEL norm_weight_vjp(i64 n, i64 rows, const float* x, const float* inverse, const float* d_y, float* d_weight) {
    THREAD(c, n);
    double sum = 0.0;
    for (i64 r = 0; r < rows; ++r) sum += (double)d_y[r * n + c] * x[r * n + c] * inverse[r];
    d_weight[c] += (float)sum;
}

// Row r of entry b of a batch moves from row b from_stride + from_first + r - r % from_hold of x to the row of y that
// the other three name in the same way. n = entries * ceil(rows / to_hold) * width, where `entries` is 1 if all entries
// share their rows of y, else batch: the thread of an element adds up, in order, what meets there, and overwrites y or
// adds to it
KERNEL move_rows(i64 n, i64 entries, i64 batch, i64 rows, i64 width, i64 from_stride, i64 from_first, i64 from_hold,
                 i64 to_stride, i64 to_first, i64 to_hold, i64 add, const float* x, float* y) {
    THREAD(i, n);
    const i64 groups = (rows + to_hold - 1) / to_hold;
    const i64 c = i % width, begin = i / width % groups * to_hold, entry = i / width / groups;
    const i64 end = begin + to_hold < rows ? begin + to_hold : rows;
    const i64 last = entries == 1 ? batch : entry + 1;
    double sum = 0.0;
    for (i64 b = entry; b < last; ++b)
        for (i64 r = begin; r < end; ++r) sum += x[(b * from_stride + from_first + r - r % from_hold) * width + c];
    float* out = y + (entry * to_stride + to_first + begin) * width + c;
    *out = (float)(add ? *out + sum : sum);
}
