// Norms of rows, a warp a row. Backward (MATH 4, around; CPU: ops/rms_norm.rs and l2_norm.rs, `vjp`): y = rho x weight,
// d_x = rho (e - rho^2 (e . x / divisor) x) with e = d_y weight. Here rho is s.

static_assert(RMS_NORM_EPS == L2_NORM_EPS, "inverse_norm() is of both norms");

// 1 / sqrt(|x|^2 / divisor + eps) of a warp's row; divisor d for the RMS norm, 1 for the l2 norm
__device__ inline Pair inverse_norm(i64 d, float divisor, const float* x) {
    return inverse_root(plus(over(warp_dot(d, x, x), divisor), (float)RMS_NORM_EPS));
}

// A warp's row. y = s x weight with s = (|x|^2 / divisor + eps)^(-1/2), so ds/dx = -s^3 x / divisor. With g = d_y
// weight: d_x = s g + (g . x) ds/dx = s (g - x s^2 (g . x) / divisor), a difference that nearly cancels in narrow rows,
// so all of it is exact beyond a float. Added to d_row where `add` says so; d_row may be cot. Every lane gets s
__device__ inline float norm_row_vjp(i64 d, float divisor, const float* row, const float* weight, const float* cot,
                                     float* d_row, bool add = false) {
    const Pair s = inverse_norm(d, divisor, row);
    const float scale = rounded(s);
    Pair along = {0.0f, 0.0f};
    LANE_ELEMENTS(c, d) along = plus(along, times(two_product(cot[c], weight ? weight[c] : 1.0f), row[c]));
    along = over(times(times(warp_sum(along), s), s), divisor); // s^2 (g . x) / divisor
    LANE_ELEMENTS(c, d) {
        const Pair g = two_product(cot[c], weight ? weight[c] : 1.0f);
        const float d = scale * rounded(plus(g, minus(times(along, row[c]))));
        d_row[c] = add ? d_row[c] + d : d;
    }
    return scale;
}
