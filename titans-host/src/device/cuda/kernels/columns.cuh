// Sums over rows, a result a column, in two stages: rows are cut into slices, each of which gives a row of partial
// sums, and those are added up. The slices are the caller's choice, not the grid's, so that they fix the order.
//
// n = slices * ceil(d / 32) units, a block each: 32 columns of a slice. partial: [slices, d].

// What a unit does: its rows and this lane's column, which may lie beyond the last one.
struct Slice {
    i64 number, first, last, column;
};

__device__ inline Slice slice_of(i64 unit, i64 slices, i64 rows, i64 d) {
    const i64 tiles = (d + 31) / 32, number = unit / tiles, each = (rows + slices - 1) / slices;
    const i64 first = number * each, last = first + each;
    return Slice{number, first, last < rows ? last : rows, unit % tiles * 32 + threadIdx.x % 32};
}

// Warp 0 keeps the sums of its lanes' columns.
__device__ inline bool keeps(const Slice& slice, i64 d) { return threadIdx.x < 32 && slice.column < d; }

// Sums over rows first .. last of a column: its 32 columns are a block's lanes, a column's rows go round its warps.
// Warp 0 gets the sums. `term` of a row is this lane's.
template <class Term> __device__ inline float column_sum(i64 first, i64 last, Term term) {
    SHARED(Pair, of_warps, [WARPS][32]);
    const unsigned warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    Pair sum = {0.0f, 0.0f};
    for (i64 r = first + warp; r < last; r += WARPS) sum = plus(sum, term(r));
    __syncthreads(); // warp 0 has read the sums before these
    of_warps[warp][lane] = sum;
    __syncthreads();
    for (unsigned other = 1; warp == 0 && other < WARPS; ++other) sum = plus(sum, of_warps[other][lane]);
    return rounded(sum);
}
