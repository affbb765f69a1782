// What every kernel file starts from.
//
// There are two forms of kernels. KERNEL: a thread for one output element or one column, which knows nothing of the
// others. BLOCK_KERNEL (block.cuh): the threads of a block work together, by shuffles in a warp, shared memory and
// barriers. Both without atomics, every sum in one fixed order. The same text also compiles as plain C++, and runs as a
// loop or as fibers (the emulator of the tests), with the same result.
//
// Numbers are `long long` (i64) or `float`, arrays `float` or `unsigned`, row-major. A kernel's comment says what a
// thread (a warp, a block) does and the shapes it touches. d_x is the cotangent of x; "MATH 4, (2)" is equation (2) of
// docs/MATH.md, section 4, "MATH 4, around" its last part. A file with a backward begins with its equations and with
// the function of the kernel crate that gives the same on the CPU ("CPU: ops/silu.rs": titans-kernel/src/ops/silu.rs).

typedef long long i64;

#define KERNEL extern "C" __global__ void

// The number i of a KERNEL's thread, of which there are n, its first argument; threads beyond have nothing to do.
#define THREAD(i, n)                                               \
    const i64 i = (i64)blockIdx.x * (i64)blockDim.x + threadIdx.x; \
    if (i >= (n)) return

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

__device__ inline float silu(float x) { return x * sigmoid(x); }

// d silu / dx: with s = sigmoid(x), s' = s (1 - s), (x s)' = s + x s'.
__device__ inline float silu1(float x) {
    const float s = sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

// What the clip multiplies the rate by, for a gradient of squared length norm2.
__device__ inline float clip_factor(float clip, float norm2) {
    return norm2 > clip * clip ? clip / sqrtf(norm2) : 1.0f;
}

// What is done to up to 32 arrays at once.
#define OF_MANY(X) \
    X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) \
    X(20) X(21) X(22) X(23) X(24) X(25) X(26) X(27) X(28) X(29) X(30) X(31)
