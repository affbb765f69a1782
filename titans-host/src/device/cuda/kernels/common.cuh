// What every kernel file starts from.
//
// The kernels in this folder are written to be right before they are fast: one thread for one output element, one
// row or one column, no shared memory, no synchronisation, no atomics, sums in one fixed order. So the same text
// also compiles as plain C++ and runs as a loop (the emulator of the tests), with the same result.
//
// Every kernel's first argument n is the number of its threads; numbers are `long long` (i64) or `float`, arrays
// `float` or `unsigned`, row-major. A kernel's comment says what a thread does and the shapes it touches.

typedef long long i64;

#define KERNEL extern "C" __global__ void

// The thread's number i; threads beyond n have nothing to do.
#define THREAD(i, n)                                               \
    const i64 i = (i64)blockIdx.x * (i64)blockDim.x + threadIdx.x; \
    if (i >= (n)) return

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

__device__ inline float silu(float x) { return x * sigmoid(x); }

// d silu / dx.
__device__ inline float silu1(float x) {
    const float s = sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
}

// What the clip multiplies the rate by, for a gradient of squared length norm2.
__device__ inline float clip_factor(float clip, float norm2) {
    return norm2 > clip * clip ? clip / sqrtf(norm2) : 1.0f;
}

// Σ a_i b_i over d elements, in order, in double.
__device__ inline double dot(i64 d, const float* a, const float* b) {
    double sum = 0.0;
    for (i64 i = 0; i < d; ++i) sum += (double)a[i] * (double)b[i];
    return sum;
}
