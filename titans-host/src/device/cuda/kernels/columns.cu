// Sums over the rows of arrays [rows, d], slice after slice (columns.cuh).
//
// Backward (MATH 4, around): of y = x W + bias, d_bias += sum over rows of d_y (CPU: ops/linear.rs, `vjp_bias`); of a
// norm y = rho x weight, d_weight += sum over rows of rho x d_y (CPU: ops/rms_norm.rs, `vjp`).

// x[r, c]
BLOCK_KERNEL(BLOCK) sum_rows(i64 n, i64 slices, i64 rows, i64 d, const float* x, float* partial) {
    BLOCK_UNITS(u, n) {
        const Slice slice = slice_of(u, slices, rows, d);
        const i64 c = slice.column;
        const float sum = column_sum(slice.first, slice.last, [=](i64 r) { return c < d ? x[r * d + c] : 0.0f; });
        if (keeps(slice, d)) partial[slice.number * d + c] = sum;
    }
}

// n = ceil(d / 32): out[c] += sum over rows of x[r, c], rows being few
BLOCK_KERNEL(BLOCK) add_rows(i64 n, i64 rows, i64 d, const float* x, float* out) {
    BLOCK_UNITS(u, n) {
        const i64 c = u * 32 + threadIdx.x % 32;
        const float sum = column_sum(0, rows, [=](i64 r) { return c < d ? x[r * d + c] : 0.0f; });
        if (threadIdx.x < 32 && c < d) out[c] += sum;
    }
}

// y[r, c] = x[r, c] inverse[r] weight[c], so d_weight[c] = sum over r of d_y[r, c] x[r, c] inverse[r]
BLOCK_KERNEL(BLOCK) norm_weight_vjp(i64 n, i64 slices, i64 rows, i64 d, const float* x, const float* inverse,
                                    const float* d_y, float* partial) {
    BLOCK_UNITS(u, n) {
        const Slice slice = slice_of(u, slices, rows, d);
        const i64 c = slice.column;
        const auto term = [=](i64 r) {
            return c < d ? times(two_product(d_y[r * d + c], x[r * d + c]), inverse[r]) : Pair{0.0f, 0.0f};
        };
        const float sum = column_sum(slice.first, slice.last, term);
        if (keeps(slice, d)) partial[slice.number * d + c] = sum;
    }
}
