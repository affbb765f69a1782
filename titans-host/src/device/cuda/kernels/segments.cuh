// What the kernels of MAC's segments share.

// Row r of [batch, rows] in [batch, time].
__device__ inline i64 token_row(i64 r, i64 rows, i64 time) { return r / rows * time + r % rows; }

// The norm of a tile's rows, `width` wide, which its 16 threads have; what lies beyond the width is 0.
__device__ inline void norm_tile(float (*x)[EACH], i64 width, const float* weight) {
    for (int a = 0; a < EACH; ++a) {
        float square = 0.0f;
        for (int b = 0; b < EACH; ++b) square = fmaf(x[a][b], x[a][b], square);
        const float s = 1.0f / sqrtf(row_sum(square) / (float)width + (float)RMS_NORM_EPS);
        for (int b = 0; b < EACH; ++b) x[a][b] *= column_of(b) < width ? s * weight[column_of(b)] : 0.0f;
    }
}

// Token t of a convolution over a sequence whose rows lie `stride` apart, zeros before it.
__device__ inline float filtered(const float* x, i64 stride, i64 t, i64 taps, const float* w, float bias) {
    float sum = bias;
    for (i64 j = 0; j < taps; ++j) {
        const i64 s = t - taps + 1 + j;
        if (s >= 0) sum += w[j] * x[s * stride];
    }
    return sum;
}
