// Kernels for the test of the emulator: right ones, and one for each fault that it must find.

// n units, a block each: y [n, 64] = the rows of x backwards
BLOCK_KERNEL(64) backwards(i64 n, const float* x, float* y) {
    SHARED(float, row, [64]);
    BLOCK_UNITS(u, n) {
        row[threadIdx.x] = x[u * 64 + threadIdx.x];
        __syncthreads();
        y[u * 64 + threadIdx.x] = row[63 - threadIdx.x];
        __syncthreads();
    }
}

// The same without the barrier between writing and reading.
BLOCK_KERNEL(64) backwards_unwritten(i64 n, const float* x, float* y) {
    SHARED(float, row, [64]);
    BLOCK_UNITS(u, n) {
        row[threadIdx.x] = x[u * 64 + threadIdx.x];
        y[u * 64 + threadIdx.x] = row[63 - threadIdx.x];
        __syncthreads();
    }
}

// The same without the barrier between reading and writing anew.
BLOCK_KERNEL(64) backwards_overwritten(i64 n, const float* x, float* y) {
    SHARED(float, row, [64]);
    BLOCK_UNITS(u, n) {
        row[threadIdx.x] = x[u * 64 + threadIdx.x];
        __syncthreads();
        y[u * 64 + threadIdx.x] = row[63 - threadIdx.x];
    }
}

// Half of the threads come to the barrier; the others are done.
BLOCK_KERNEL(64) half_arrive(i64 n, float* y) {
    if (threadIdx.x < 32) __syncthreads();
    y[threadIdx.x] = 1.0f;
}

// The threads come to two barriers.
BLOCK_KERNEL(64) two_barriers(i64 n, float* y) {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
    y[threadIdx.x] = 1.0f;
}

// A warp is at the barrier of the block, the other one at its own.
BLOCK_KERNEL(64) crossed(i64 n, float* y) {
    if (threadIdx.x < 40) __syncthreads();
    __syncwarp();
    y[threadIdx.x] = 1.0f;
}

// One lane leaves before the shuffle.
BLOCK_KERNEL(64) lane_leaves(i64 n, float* y) {
    if (threadIdx.x == 35) return;
    y[threadIdx.x] = __shfl_xor_sync(ALL_LANES, y[threadIdx.x], 1);
}

// The mask lacks a lane that is there.
BLOCK_KERNEL(64) lane_unnamed(i64 n, float* y) { y[threadIdx.x] = __shfl_xor_sync(0xfffffffeu, y[threadIdx.x], 1); }

// A lane is read that the mask lacks.
BLOCK_KERNEL(64) lane_unread(i64 n, float* y) {
    if (threadIdx.x % 32 < 16) y[threadIdx.x] = __shfl_xor_sync(0xffffu, y[threadIdx.x], 16);
}

// The lanes of a warp name different masks.
BLOCK_KERNEL(64) masks_differ(i64 n, float* y) {
    const unsigned mask = threadIdx.x % 2 ? ALL_LANES : 0x55555555u;
    y[threadIdx.x] = __shfl_xor_sync(mask, y[threadIdx.x], 2);
}

// One element too many.
BLOCK_KERNEL(64) beyond(i64 n, float* y) {
    SHARED(float, row, [64]);
    row[threadIdx.x + 1] = 1.0f;
    __syncthreads();
    y[threadIdx.x] = 1.0f;
}

// n units: y [n, 64] = what a block finds in its shared memory
BLOCK_KERNEL(64) unwritten(i64 n, float* y) {
    SHARED(float, row, [64]);
    BLOCK_UNITS(u, n) y[u * 64 + threadIdx.x] = row[threadIdx.x];
    row[threadIdx.x] = 1.0f;
}

// y [5, 64]: what lane 3 has, what the lane 5 further has, what the lane with bit 4 turned has; sums by a half of each
// warp, and what the warp wrote to shared memory
BLOCK_KERNEL(64) shuffles(i64 n, const float* x, float* y) {
    SHARED(float, row, [64]);
    const unsigned i = threadIdx.x;
    y[i] = __shfl_sync(ALL_LANES, x[i], 3);
    y[64 + i] = __shfl_down_sync(ALL_LANES, x[i], 5);
    y[128 + i] = __shfl_xor_sync(ALL_LANES, x[i], 16);
    float sum = x[i];
    for (int lanes = 8; i % 32 < 16 && lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffu, sum, lanes);
    y[192 + i] = sum;
    row[i] = x[i];
    __syncwarp();
    y[256 + i] = row[i / 32 * 32 + (i + 1) % 32];
}

// n = rows of 64: y = the sum of each row by a warp
BLOCK_KERNEL(96) warp_sums(i64 n, const float* x, float* y) {
    WARP_ROWS(r, n) {
        Pair sum = {0.0f, 0.0f};
        LANE_ELEMENTS(c, 64) sum = plus(sum, x[r * 64 + c]);
        sum = warp_sum(sum);
        if (first_lane()) y[r] = rounded(sum);
    }
}
