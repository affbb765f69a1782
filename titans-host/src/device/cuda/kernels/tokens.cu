// A chunk's tokens between the batch's layout [batch, time, heads, ...] and the memories' own [M, m, ...], where
// memory b * heads + h belongs to head h of sequence b, and m tokens start at token t0. Gates are
// [batch, time, 3, heads].
//
// What is brought to the memories may be several chunks that follow one another, [chunks, M, m, ...]: chunk j of them
// starts at token t0 + j * m.

// Index in [batch, time, heads, d] of element c of the chunk's token t of memory k.
__device__ inline i64 batch_index(i64 k, i64 t, i64 c, i64 time, i64 heads, i64 t0, i64 d) {
    return (((k / heads) * time + t0 + t) * heads + k % heads) * d + c;
}

__device__ inline i64 gate_index(i64 k, i64 t, i64 gate, i64 time, i64 heads, i64 t0) {
    return (((k / heads) * time + t0 + t) * 3 + gate) * heads + k % heads;
}

// n = chunks * M * m * d: y [chunks, M, m, d] from x [batch, time, heads, d]
KERNEL gather(i64 n, i64 memories, i64 m, i64 d, i64 time, i64 heads, i64 t0, const float* x, float* y) {
    THREAD(i, n);
    const i64 k = i / d / m;
    y[i] = x[batch_index(k % memories, i / d % m, i % d, time, heads, t0 + k / memories * m, d)];
}

// n = M * m * d: y [batch, time, heads, d] from x [M, m, d]
KERNEL scatter(i64 n, i64 m, i64 d, i64 time, i64 heads, i64 t0, const float* x, float* y) {
    THREAD(i, n);
    y[batch_index(i / d / m, i / d % m, i % d, time, heads, t0, d)] = x[i];
}

// n = chunks * M * m: one gate of every token
KERNEL gather_gate(i64 n, i64 memories, i64 m, i64 gate, i64 time, i64 heads, i64 t0, const float* gates, float* y) {
    THREAD(i, n);
    const i64 k = i / m;
    y[i] = gates[gate_index(k % memories, i % m, gate, time, heads, t0 + k / memories * m)];
}

// n = M * m
KERNEL scatter_gate(i64 n, i64 m, i64 gate, i64 time, i64 heads, i64 t0, const float* x, float* gates) {
    THREAD(i, n);
    gates[gate_index(i / m, i % m, gate, time, heads, t0)] = x[i];
}

// n = chunks * M * m: 1 where the token writes; mask [batch, time] may be null
KERNEL write_flags(i64 n, i64 memories, i64 m, i64 read_only, i64 time, i64 heads, i64 t0, const unsigned* mask,
                   float* writes) {
    THREAD(i, n);
    const i64 k = i / m, b = k % memories / heads, t = t0 + k / memories * m + i % m;
    writes[i] = read_only || (mask && mask[b * time + t] != 0) ? 0.0f : 1.0f;
}

// n = M * len: block k of `to` (blocks to_stride apart) = block k of `from` (from_stride apart)
KERNEL copy_blocks(i64 n, i64 len, i64 from_stride, i64 to_stride, const float* from, float* to) {
    THREAD(i, n);
    to[i / len * to_stride + i % len] = from[i / len * from_stride + i % len];
}
