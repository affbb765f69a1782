// Sums over whole buffers and the optimiser.

// The sum of x (or of x^2) over a block's elements first, first + step, ...
__device__ inline float strided_sum(i64 first, i64 step, i64 len, bool squares, const float* x) {
    Pair sum = {0.0f, 0.0f};
    for (i64 i = first; i < len; i += step) sum = plus(sum, squares ? two_product(x[i], x[i]) : Pair{x[i], 0.0f});
    return rounded(block_sum(sum));
}

// n units, a block each: partial[u] = sum of x (or of x^2), whose elements go round the units' threads
BLOCK_KERNEL(BLOCK) partial_sums(i64 n, i64 len, i64 squares, const float* x, float* partial) {
    BLOCK_UNITS(u, n) {
        const float sum = strided_sum(u * BLOCK + threadIdx.x, n * BLOCK, len, squares != 0, x);
        if (threadIdx.x == 0) partial[u] = sum;
    }
}

// n = 1, a block: total[0] += the sum of x (or of x^2)
BLOCK_KERNEL(BLOCK) total_sum(i64 n, i64 len, i64 squares, const float* x, float* total) {
    BLOCK_UNITS(u, n) {
        const float sum = strided_sum(threadIdx.x, BLOCK, len, squares != 0, x);
        if (threadIdx.x == 0) total[u] += sum;
    }
}

// n = parameters. decay = learning rate times weight decay; c1, c2: 1 / (1 - beta^step)
KERNEL adamw(i64 n, float rate, float beta1, float beta2, float epsilon, float decay, float scale, float c1, float c2,
             const float* gradient, float* parameter, float* moment1, float* moment2) {
    THREAD(i, n);
    const float g = gradient[i] * scale;
    const float m = beta1 * moment1[i] + (1.0f - beta1) * g;
    const float v = beta2 * moment2[i] + (1.0f - beta2) * g * g;
    moment1[i] = m;
    moment2[i] = v;
    parameter[i] = parameter[i] - decay * parameter[i] - rate * (m * c1) / (sqrtf(v * c2) + epsilon);
}

// n = batch * heads * 2P: weights w0 [heads, P], momentum 0
KERNEL memory_start(i64 n, i64 heads, i64 params, const float* w0, float* state) {
    THREAD(i, n);
    const i64 p = i % (2 * params), h = i / (2 * params) % heads;
    state[i] = p < params ? w0[h * params + p] : 0.0f;
}

// n = heads * P: d_w0 += the sum over the batch
KERNEL memory_start_vjp(i64 n, i64 batch, i64 params, const float* d_state, float* d_w0) {
    THREAD(i, n);
    const i64 heads = n / params, h = i / params, p = i % params;
    Pair sum = {0.0f, 0.0f};
    for (i64 b = 0; b < batch; ++b) sum = plus(sum, d_state[(b * heads + h) * 2 * params + p]);
    d_w0[i] += rounded(sum);
}
