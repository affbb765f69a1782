// What every kernel file starts from.
//
// The kernels in this folder are written to be right before they are fast: one thread for one output element, one
// row or one column, no shared memory, no synchronisation, no atomics, sums in one fixed order. So the same text
// also compiles as plain C++ and runs as a loop (the emulator of the tests), with the same result.
//
// Every kernel's first argument n is the number of its threads; numbers are `long long`, arrays `float` or
// `unsigned`, all row-major.

typedef long long i64;

#define KERNEL extern "C" __global__ void

// The thread's number i; threads beyond n have nothing to do.
#define THREAD(i, n)                                               \
    const i64 i = (i64)blockIdx.x * (i64)blockDim.x + threadIdx.x; \
    if (i >= (n)) return

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

// silu(x) = x sigmoid(x), its first and second derivative.
__device__ inline float silu(float x) { return x * sigmoid(x); }
__device__ inline float silu1(float x) {
    const float s = sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}
__device__ inline float silu2(float x) {
    const float s = sigmoid(x);
    return s * (1.0f - s) * (2.0f + x * (1.0f - 2.0f * s));
}
