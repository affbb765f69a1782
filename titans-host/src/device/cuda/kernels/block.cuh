// Kernels whose threads work together.
//
// BLOCK_KERNEL(t): blocks of t threads, whole warps. The first argument n is the number of units (rows of a warp, or
// what a block does at once). Fewer blocks than that may start: a kernel takes its units in steps of all warps or
// blocks, so that any number of rows is done by any grid, with the same bits.
//
// BLOCK_KERNEL(t, 1): a block on a multiprocessor is enough, and its threads may have the registers of all.
//
// Every thread of a block must come to every __syncthreads(), every lane of a warp to every shuffle.

#define BLOCK_KERNEL(...) extern "C" __global__ void __launch_bounds__(__VA_ARGS__)

// An array that a block's threads share; a block finds no numbers in it. The emulator has its own.
#ifndef SHARED
#define SHARED(type, name, extent) __shared__ type name extent
#endif

// Of the loop that follows, so many rounds at once: more would need registers for all their addresses.
#ifndef UNROLL
#define UNROLL_TEXT(text) _Pragma(#text)
#define UNROLL(rounds) UNROLL_TEXT(unroll rounds)
#endif

// Threads of a block of most kernels; the launches name the same number.
#define BLOCK 256
#define WARPS (BLOCK / 32)
#define ALL_LANES 0xffffffffu

// Each warp's rows r below n; every lane is there for each of them.
#define WARP_ROWS(r, n)                                                                       \
    for (i64 r = ((i64)blockIdx.x * (i64)blockDim.x + threadIdx.x) / 32; r < (n);             \
         r += (i64)gridDim.x * (i64)(blockDim.x / 32))

// Each block's units u below n.
#define BLOCK_UNITS(u, n) for (i64 u = blockIdx.x; u < (n); u += gridDim.x)

// This lane's elements c below d of a row.
#define LANE_ELEMENTS(c, d) for (i64 c = threadIdx.x % 32; c < (d); c += 32)

__device__ inline bool first_lane() { return threadIdx.x % 32 == 0; }

// Sums over a warp, which every lane gets, to the bit.
__device__ inline Pair warp_sum(Pair sum) {
    for (int lanes = 16; lanes > 0; lanes /= 2) {
        const float hi = __shfl_xor_sync(ALL_LANES, sum.hi, lanes), lo = __shfl_xor_sync(ALL_LANES, sum.lo, lanes);
        sum = plus(sum, Pair{hi, lo});
    }
    return sum;
}

__device__ inline double warp_sum(double sum) {
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, lanes);
    return sum;
}

__device__ inline unsigned warp_sum(unsigned sum) {
    for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, lanes);
    return sum;
}

__device__ inline float warp_largest(float x) {
    for (int lanes = 16; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, lanes));
    return x;
}

// Σ a_i b_i over d elements, by a warp.
__device__ inline Pair warp_dot(i64 d, const float* a, const float* b) {
    Pair sum = {0.0f, 0.0f};
    LANE_ELEMENTS(c, d) sum = plus_product(sum, a[c], b[c]);
    return warp_sum(sum);
}

// The sum over a block of BLOCK threads, which every thread gets.
__device__ inline Pair block_sum(Pair sum) {
    SHARED(Pair, of_warps, [WARPS]);
    sum = warp_sum(sum);
    __syncthreads(); // all have read the sums before these
    if (first_lane()) of_warps[threadIdx.x / 32] = sum;
    __syncthreads();
    sum = of_warps[0];
    for (int warp = 1; warp < WARPS; ++warp) sum = plus(sum, of_warps[warp]);
    return sum;
}
