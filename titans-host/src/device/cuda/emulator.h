// Makes plain C++ of CUDA C. A launch of a plain kernel is a loop over its threads, each of which runs to its end; that
// of a block kernel runs block after block as fibers (fibers.h). Put in front of the kernels by emulator.rs, which also
// appends `emulate`, a list of calls of `run` and `run_blocks`.

// The checks of jumps know one stack only.
#undef _FORTIFY_SOURCE

#include <cmath>
#include <cstddef>
#include <cstring>
#include <utility>

#define __global__ static
#define __device__ static
#define __launch_bounds__(...)

static float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
static double __longlong_as_double(long long bits) {
    double x;
    return std::memcpy(&x, &bits, sizeof x), x;
}

struct Index {
    unsigned x;
};
static thread_local Index blockIdx, blockDim, threadIdx, gridDim;

template <class T> static constexpr char kind_of() { return '?'; }
template <> constexpr char kind_of<long long>() { return 'i'; }
template <> constexpr char kind_of<float>() { return 'f'; }
template <> constexpr char kind_of<float *>() { return 'p'; }
template <> constexpr char kind_of<const float *>() { return 'p'; }
template <> constexpr char kind_of<unsigned *>() { return 'p'; }
template <> constexpr char kind_of<const unsigned *>() { return 'p'; }

struct Launch {
    const char *kinds;
    void **args;
    unsigned blocks, block;
    int descending;
};

enum Outcome { DONE = 0, WRONG_KINDS = 1, NO_KERNEL = 2, FAULT = 3, WRONG_BLOCK = 4 };

// Are the arguments of the kinds that the kernel takes? Not asked without kinds.
template <class... A> static bool takes(void (*)(A...), const Launch &launch) {
    const char kinds[] = {kind_of<A>()..., 0};
    return !launch.kinds || std::strcmp(kinds, launch.kinds) == 0;
}

template <class... A, std::size_t... I>
static void loop(void (*kernel)(A...), const Launch &launch, std::index_sequence<I...>) {
    const long long threads = (long long)launch.blocks * launch.block;
    for (long long i = 0; i < threads; ++i) {
        const long long at = launch.descending ? threads - 1 - i : i;
        blockIdx.x = (unsigned)(at / launch.block), threadIdx.x = (unsigned)(at % launch.block);
        kernel(*static_cast<A *>(launch.args[I])...);
    }
}

// A kernel whose threads know nothing of one another. Without arguments and kinds: how many it takes, as a negative
// number.
template <class... A> static int run(void (*kernel)(A...), const Launch &launch) {
    if (!launch.args && !launch.kinds) return -(int)sizeof...(A);
    if (!takes(kernel, launch)) return WRONG_KINDS;
    blockDim.x = launch.block, gridDim.x = launch.blocks;
    loop(kernel, launch, std::index_sequence_for<A...>());
    return DONE;
}
