// Maps of rows of d elements: norms, biases, and rows that move.
//
// Backward (MATH 4, around): a norm y = rho x weight, rho being `inverse`, gives d_x by norm_row_vjp (norms.cuh) and
// d_weight += sum over rows of rho x d_y. CPU: ops/rms_norm.rs and l2_norm.rs, `vjp`. Rows that moved move back.

// n = rows * d: y[r, :] = bias
KERNEL repeat_row(i64 n, i64 d, const float* bias, float* y) {
    THREAD(i, n);
    y[i] = bias[i % d];
}

// n = rows, a warp each: y = x inverse[r] weight[c]; no weight: y = x inverse[r]
BLOCK_KERNEL(BLOCK) norm_forward(i64 n, i64 d, float divisor, const float* x, const float* weight, float* y) {
    WARP_ROWS(r, n) {
        const float s = rounded(inverse_norm(d, divisor, x + r * d));
        LANE_ELEMENTS(c, d) y[r * d + c] = weight ? x[r * d + c] * s * weight[c] : x[r * d + c] * s;
    }
}

// n = rows, a warp each; the inverse norms are kept
BLOCK_KERNEL(BLOCK) norm_vjp(i64 n, i64 d, float divisor, const float* x, const float* weight, const float* d_y,
                             float* d_x, float* inverse) {
    WARP_ROWS(r, n) {
        const float scale = norm_row_vjp(d, divisor, x + r * d, weight, d_y + r * d, d_x + r * d);
        if (first_lane()) inverse[r] = scale;
    }
}

#define NORMED 16 // rows of a block

// Of few rows, with the sums for the weight's gradient, which norm_weight_vjp makes of many. n = ceil(rows / 16), a
// block each; partial [n, d]
BLOCK_KERNEL(BLOCK) norm_vjp_few(i64 n, i64 rows, i64 d, float divisor, const float* x, const float* weight,
                                 const float* d_y, float* d_x, float* partial) {
    SHARED(float, inverse, [NORMED]);
    BLOCK_UNITS(u, n) {
        const i64 first = u * NORMED, count = rows - first < NORMED ? rows - first : NORMED;
        __syncthreads(); // what was there is used
        for (i64 r = threadIdx.x / 32; r < count; r += WARPS) {
            const i64 at = (first + r) * d;
            const float scale = norm_row_vjp(d, divisor, x + at, weight, d_y + at, d_x + at);
            if (first_lane()) inverse[r] = scale;
        }
        __syncthreads(); // the inverse norms are there
        for (i64 c = threadIdx.x; c < d; c += BLOCK) {
            Pair sum = {0.0f, 0.0f};
            for (i64 r = 0; r < count; ++r) {
                const i64 at = (first + r) * d + c;
                sum = plus(sum, times(two_product(d_y[at], x[at]), inverse[r]));
            }
            partial[u * d + c] = rounded(sum);
        }
    }
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
    float* out = y + (entry * to_stride + to_first + begin) * width + c;
    Pair sum = {add ? *out : 0.0f, 0.0f};
    for (i64 b = entry; b < last; ++b)
        for (i64 r = begin; r < end; ++r)
            sum = plus(sum, x[(b * from_stride + from_first + r - r % from_hold) * width + c]);
    *out = rounded(sum);
}

// Rows of sequences [batch, time, width] in parts of `rows`, the last of which may be shorter: of up to 32 parts from
// number `first` on, the place of an element in its part, and the part's number among these.
struct InParts {
    i64 part, place, whole;
};

__device__ inline InParts in_parts(i64 i, i64 time, i64 width, i64 rows, i64 first, i64 covered) {
    const i64 start = first * rows, c = i % width, t = i / width % covered, b = i / width / covered;
    const i64 part = t / rows, left = time - start - part * rows, own = left < rows ? left : rows;
    return InParts{part, (b * own + t % rows) * width + c, (b * time + start + t) * width + c};
}

#define SPLIT_INTO(k) , float *y##k
#define SPLIT(k) \
    if (at.part == k && y##k) y##k[at.place] = x[at.whole];

// n = batch * covered * width: `covered` rows of every sequence from part `first` on go to the parts that are there
KERNEL split_rows(i64 n, i64 time, i64 width, i64 rows, i64 first, i64 covered, const float* x OF_MANY(SPLIT_INTO)) {
    THREAD(i, n);
    const InParts at = in_parts(i, time, width, rows, first, covered);
    OF_MANY(SPLIT)
}

#define JOINED(k) , const float *x##k
#define JOIN(k) \
    if (at.part == k && x##k) y[at.whole] = x##k[at.place];

// The reverse; rows of parts that are not there stay
KERNEL join_rows(i64 n, i64 time, i64 width, i64 rows, i64 first, i64 covered, float* y OF_MANY(JOINED)) {
    THREAD(i, n);
    const InParts at = in_parts(i, time, width, rows, first, covered);
    OF_MANY(JOIN)
}
