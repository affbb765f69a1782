// The gradients of the parameters of MAC's segments that are sums over rows, all in one: slices of the rows
// (columns.cuh), then the slices. MATH 4, around: d_weight += rho x d_y of a norm, d_w_j += d_z_t x_(t - taps + 1 + j)
// of the convolution, d_bias += d_y. CPU: `vjp` of ops/rms_norm.rs and ops/conv.rs, ops/linear.rs, `vjp_bias`.

// What is summed: a row of `columns` columns of each of six kinds, one behind the other.
struct SegmentColumns {
    i64 width, channels, taps, gates, read, context;
};
#define OF_COLUMNS i64 width, i64 channels, i64 taps, i64 gates, i64 read, i64 context

// The column's kind: 0 the stream's norm, 1 taps (tap after tap), 2 their biases, 3 the gates' biases, 4 and 5 the
// norms of heads; `column` becomes its number there. 6 lies beyond the last.
#define KIND(number, count) \
    if (column < (count)) return number; \
    column -= (count);

__device__ inline int kind_of_column(const SegmentColumns& all, i64& column) {
    KIND(0, all.width)
    KIND(1, all.channels * all.taps)
    KIND(2, all.channels)
    KIND(3, all.gates)
    KIND(4, all.read)
    KIND(5, all.context)
    return 6;
}

// y = x s weight of a norm: d_weight = sum of d_y x s. The convolution is linear in its taps: d_w[c, j] = sum of d_z[t]
// x[t - taps + 1 + j]; biases sum what they are added to. n = slices * ceil(all columns / 32), a block each; partial
// [slices, all columns]. batch * time rows; heads of attention and memories `heads` and `memories` a row
BLOCK_KERNEL(BLOCK, 1) segment_sums(i64 n, i64 slices, i64 batch, i64 time, i64 heads, i64 memories, OF_COLUMNS,
                                 const float* stream, const float* d_fed, const float* of_stream, const float* x,
                                 const float* d_z, const float* d_x, const float* y, const float* gate,
                                 const float* d_read, const float* of_read, const float* h, const float* d_normed,
                                 const float* of_h, float* partial) {
    const SegmentColumns all = {width, channels, taps, gates, read, context};
    const i64 total = width + channels * (taps + 1) + gates + read + context, fed = channels + gates;
    BLOCK_UNITS(u, n) {
        const Slice slice = slice_of(u, slices, batch * time, total);
        i64 c = slice.column;
        const int kind = kind_of_column(all, c);
        const i64 tap = kind == 1 ? c / channels : 0, channel = kind == 1 ? c % channels : c;
        const auto term = [=](i64 r) {
            Pair sum = {0.0f, 0.0f};
            if (kind == 0) {
                sum = times(two_product(d_fed[r * width + c], stream[r * width + c]), of_stream[r]);
            } else if (kind == 1) {
                const i64 back = taps - 1 - tap;
                if (r % time >= back)
                    sum = two_product(d_z[r * channels + channel], x[(r - back) * fed + channel]);
            } else if (kind == 2) {
                sum.hi = d_z[r * channels + c];
            } else if (kind == 3) {
                sum.hi = d_x[r * fed + channels + c];
            } else if (kind == 4) {
                for (i64 row = r * heads; row < (r + 1) * heads; ++row) {
                    const i64 at = row * read + c;
                    sum = plus(sum, times(two_product(d_read[at] * silu(gate[at]), y[at]), of_read[row]));
                }
            } else if (kind == 5) {
                for (i64 row = r * memories; row < (r + 1) * memories; ++row)
                    sum = plus(sum, times(two_product(d_normed[row * context + c], h[row * context + c]), of_h[row]));
            }
            return sum;
        };
        const float sum = column_sum(slice.first, slice.last, term);
        if (keeps(slice, total)) partial[slice.number * total + slice.column] = sum;
    }
}

// n = ceil(all columns / 32): the sums of the slices, added to the gradients
BLOCK_KERNEL(BLOCK) segment_add(i64 n, i64 slices, OF_COLUMNS, const float* partial, float* d_norm, float* d_taps,
                                float* d_taps_bias, float* d_gates_bias, float* d_read, float* d_context) {
    const SegmentColumns all = {width, channels, taps, gates, read, context};
    const i64 total = width + channels * (taps + 1) + gates + read + context;
    BLOCK_UNITS(u, n) {
        const i64 column = u * 32 + threadIdx.x % 32;
        const auto term = [=](i64 r) { return column < total ? partial[r * total + column] : 0.0f; };
        const float sum = column_sum(0, slices, term);
        if (threadIdx.x >= 32 || column >= total) continue;
        i64 c = column;
        const int kind = kind_of_column(all, c);
        if (kind == 1) c = c % channels * taps + c / channels;
        float* out = kind == 0 ? d_norm : kind == 1 ? d_taps : kind == 2 ? d_taps_bias : d_gates_bias;
        if (kind >= 4) out = kind == 4 ? d_read : d_context;
        out[c] += sum;
    }
}
