// Sums over whole buffers and the optimiser.

// n = lanes: partial[j] = sum of x (or of x^2) over the elements j, j + n, j + 2 n, ...
KERNEL partial_sums(i64 n, i64 len, i64 squares, const float* x, float* partial) {
    THREAD(j, n);
    double sum = 0.0;
    for (i64 i = j; i < len; i += n) sum += squares ? (double)x[i] * x[i] : (double)x[i];
    partial[j] = (float)sum;
}

// n = 1: total[0] += the sum of the lanes
KERNEL total_sum(i64 n, i64 lanes, const float* partial, float* total) {
    THREAD(i, n);
    double sum = 0.0;
    for (i64 j = 0; j < lanes; ++j) sum += partial[j];
    total[i] += (float)sum;
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
    double sum = 0.0;
    for (i64 b = 0; b < batch; ++b) sum += d_state[(b * heads + h) * 2 * params + p];
    d_w0[i] += (float)sum;
}
