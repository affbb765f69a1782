// One thread for one element.
//
// Backward (MATH 4, around): y = phi(x) gives d_x = d_y phi'(x), y = a phi(g) gives d_a = d_y phi(g) and d_g = d_y a
// phi'(g), a gate y = s sigmoid(x) gives d_x = d_y y (1 - y / s). CPU: `vjp` of ops/silu.rs, silu_gate.rs,
// sigmoid_gate.rs and gates.rs; dropout is its own transpose (ops/dropout.rs).

// x[n] = value
KERNEL fill(i64 n, float value, float* x) {
    THREAD(i, n);
    x[i] = value;
}

// y[n] = a + b
KERNEL add(i64 n, const float* a, const float* b, float* y) {
    THREAD(i, n);
    y[i] = a[i] + b[i];
}

// y[n] += scale x
KERNEL add_scaled(i64 n, float scale, const float* x, float* y) {
    THREAD(i, n);
    y[i] += scale * x[i];
}

// y[n] = a b
KERNEL multiply(i64 n, const float* a, const float* b, float* y) {
    THREAD(i, n);
    y[i] = a[i] * b[i];
}

KERNEL silu_forward(i64 n, const float* x, float* y) {
    THREAD(i, n);
    y[i] = silu(x[i]);
}

// y = silu(x): d_x = d_y silu'(x)
KERNEL silu_vjp(i64 n, const float* x, const float* d_y, float* d_x) {
    THREAD(i, n);
    d_x[i] = d_y[i] * silu1(x[i]);
}

// y = a silu(g)
KERNEL silu_gate_forward(i64 n, const float* a, const float* g, float* y) {
    THREAD(i, n);
    y[i] = a[i] * silu(g[i]);
}

// By the product rule: d_a = d_y silu(g), d_g = d_y a silu'(g)
KERNEL silu_gate_vjp(i64 n, const float* a, const float* g, const float* d_y, float* d_a, float* d_g) {
    THREAD(i, n);
    const float d = d_y[i];
    d_a[i] = d * silu(g[i]);
    d_g[i] = d * a[i] * silu1(g[i]);
}

// y = a sigmoid(g)
KERNEL sigmoid_gate_forward(i64 n, const float* a, const float* g, float* y) {
    THREAD(i, n);
    y[i] = a[i] * sigmoid(g[i]);
}

// With s = sigmoid(g), s' = s (1 - s): d_a = d_y s, d_g = d_y a s'
KERNEL sigmoid_gate_vjp(i64 n, const float* a, const float* g, const float* d_y, float* d_a, float* d_g) {
    THREAD(i, n);
    const float d = d_y[i], s = sigmoid(g[i]);
    d_a[i] = d * s;
    d_g[i] = d * a[i] * s * (1.0f - s);
}

// A bijection of 32 bits of which every bit depends on every bit; the kernel crate's ops/dropout.rs has the same.
__device__ inline unsigned mix_bits(unsigned x) {
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}

// y[n] = scale x, or 0 where the hash of the element's number by the key of two words is below the threshold. The
// whole numbers fit in 32 bits.
KERNEL dropout(i64 n, i64 key0, i64 key1, i64 threshold, float scale, const float* x, float* y) {
    THREAD(i, n);
    const unsigned hash = mix_bits(mix_bits((unsigned)i ^ (unsigned)key0) ^ (unsigned)key1);
    y[i] = hash >= (unsigned)threshold ? scale * x[i] : 0.0f;
}

// x, y: [rows, 3, heads]; y = scale[gate] sigmoid(x)
KERNEL gates_forward(i64 n, i64 heads, float s0, float s1, float s2, const float* x, float* y) {
    THREAD(i, n);
    const i64 gate = (i / heads) % 3;
    const float scale = gate == 0 ? s0 : gate == 1 ? s1 : s2;
    y[i] = scale * sigmoid(x[i]);
}

// y = scale s, s = sigmoid(x): dy/dx = scale s (1 - s) = y (1 - y / scale), 0 where the scale is.
KERNEL gates_vjp(i64 n, i64 heads, float s0, float s1, float s2, const float* y, const float* d_y, float* d_x) {
    THREAD(i, n);
    const i64 gate = (i / heads) % 3;
    const float scale = gate == 0 ? s0 : gate == 1 ? s1 : s2;
    d_x[i] = scale == 0.0f ? 0.0f : d_y[i] * y[i] * (1.0f - y[i] / scale);
}
