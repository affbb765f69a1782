// Sums over whole buffers, the optimiser, and where memories start. Backward of the start, W = w0 and S = 0 in every
// sequence (MATH 4, the start): d_w0 += sum over sequences of d_W. CPU: `start_vjp` of the host's device/cpu/memory.rs.

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

// What all parameters of a step have in common; c1, c2: 1 / (1 - beta^step).
struct Moments {
    float beta1, beta2, epsilon, scale, c1, c2;
};

// decay = learning rate times weight decay
__device__ inline void adamw_element(i64 i, const Moments& s, float rate, float decay, const float* gradient,
                                     float* parameter, float* moment1, float* moment2) {
    const float g = gradient[i] * s.scale;
    const float m = s.beta1 * moment1[i] + (1.0f - s.beta1) * g;
    const float v = s.beta2 * moment2[i] + (1.0f - s.beta2) * g * g;
    moment1[i] = m;
    moment2[i] = v;
    parameter[i] = parameter[i] - decay * parameter[i] - rate * (m * s.c1) / (sqrtf(v * s.c2) + s.epsilon);
}

// n = parameters
KERNEL adamw(i64 n, float rate, float beta1, float beta2, float epsilon, float decay, float scale, float c1, float c2,
             const float* gradient, float* parameter, float* moment1, float* moment2) {
    THREAD(i, n);
    const Moments s = {beta1, beta2, epsilon, scale, c1, c2};
    adamw_element(i, s, rate, decay, gradient, parameter, moment1, moment2);
}

// What is done to every parameter: the arrays follow one another as if they were one. Those that are not there have no
// length.

#define CLEARED(k) , i64 len##k, float *x##k
#define CLEAR(k) \
    if (i < len##k) { \
        x##k[i] = 0.0f; \
        return; \
    } \
    i -= len##k;

// n = all elements: x = 0
KERNEL clear_many(i64 n OF_MANY(CLEARED)) {
    THREAD(element, n);
    i64 i = element;
    OF_MANY(CLEAR)
}

#define SQUARED(k) , i64 units##k, i64 len##k, const float *x##k
#define SQUARES(k) \
    if (at >= 0 && at < units##k) unit = at, units = units##k, len = len##k, x = x##k; \
    at -= units##k;

// n = all units, a block each: partial[u] = the sum of squares of a unit, as partial_sums has it
BLOCK_KERNEL(BLOCK) squares_many(i64 n, float* partial OF_MANY(SQUARED)) {
    BLOCK_UNITS(u, n) {
        i64 at = u, unit = 0, units = 0, len = 0;
        const float* x = nullptr;
        OF_MANY(SQUARES)
        const float sum = strided_sum(unit * BLOCK + threadIdx.x, units * BLOCK, len, true, x);
        if (threadIdx.x == 0) partial[u] = sum;
    }
}

#define UPDATED(k) , i64 len##k, float rate##k, float decay##k, const float *g##k, float *p##k, float *m##k, float *v##k
#define UPDATE(k) \
    if (i < len##k) { \
        adamw_element(i, s, rates ? rates[2 * k] : rate##k, rates ? rates[2 * k + 1] : decay##k, g##k, p##k, m##k, v##k); \
        return; \
    } \
    i -= len##k;

// n = all elements: adamw, rate and decay being each array's own. Where a step is repeated its numbers are not
// arguments: own = scale, c1, c2, of which a scale that is not a number changes nothing, rates = rate and decay of each
// array
KERNEL adamw_many(i64 n, float beta1, float beta2, float epsilon, float scale, float c1, float c2, const float* own,
                  const float* rates OF_MANY(UPDATED)) {
    THREAD(element, n);
    Moments s = {beta1, beta2, epsilon, scale, c1, c2};
    if (own) {
        s.scale = own[0], s.c1 = own[1], s.c2 = own[2];
        if (s.scale != s.scale) return;
    }
    i64 i = element;
    OF_MANY(UPDATE)
}

// n = 1: the loss and the sum of the gradients' squares to row place[0] of the report [rows, 2], taken around, and what
// the gradients are multiplied by, so that their norm is not above the clip (a double's bits), to scale[0]; not a number
// where one of the two is none or infinite, here or in the row before. In double, as the host finds it
KERNEL clip_scale(i64 n, i64 clip_bits, i64 rows, const float* loss, const float* squares, const float* place,
                  float* scale, float* report) {
    THREAD(i, n);
    const i64 row = (i64)place[i];
    const float* last = report + 2 * ((row + rows - 1) % rows);
    // x - x is 0 for finite numbers alone.
    const float before = row > 0 ? (last[0] - last[0]) + (last[1] - last[1]) : 0.0f;
    const double clip = __longlong_as_double(clip_bits), norm = sqrt((double)squares[i]);
    const float all = loss[i] + before, sum = squares[i] + before;
    report[2 * (row % rows)] = all;
    report[2 * (row % rows) + 1] = sum;
    const float none = (all - all) + (sum - sum);
    scale[i] = none != 0.0f ? none : norm > clip ? (float)(clip / norm) : 1.0f;
}

// n = batch * heads * 2P: weights w0 [heads, P], momentum 0
KERNEL memory_start(i64 n, i64 heads, i64 params, const float* w0, float* state) {
    THREAD(i, n);
    const i64 p = i % (2 * params), h = i / (2 * params) % heads;
    state[i] = p < params ? w0[h * params + p] : 0.0f;
}

// n = heads * P. state[b, h] = [w0[h] | 0] for every sequence b, so d_w0[h] += sum over b of d_state[b, h]'s weights;
// the momentum was a constant
KERNEL memory_start_vjp(i64 n, i64 batch, i64 params, const float* d_state, float* d_w0) {
    THREAD(i, n);
    const i64 heads = n / params, h = i / params, p = i % params;
    Pair sum = {0.0f, 0.0f};
    for (i64 b = 0; b < batch; ++b) sum = plus(sum, d_state[(b * heads + h) * 2 * params + p]);
    d_w0[i] += rounded(sum);
}
