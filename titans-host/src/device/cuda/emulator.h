// Makes plain C++ of CUDA C: a launch is a loop over its threads. Put in front of the kernels by emulator.rs, which
// also appends `emulate`, a list of calls of `run`.

#include <cmath>
#include <cstring>
#include <utility>

#define __global__ static
#define __device__ static

struct Index {
    unsigned x;
};
static thread_local Index blockIdx, blockDim, threadIdx;

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

template <class... A, std::size_t... I>
static int loop(void (*kernel)(A...), const Launch &launch, std::index_sequence<I...>) {
    blockDim.x = launch.block;
    const long long threads = (long long)launch.blocks * launch.block;
    for (long long i = 0; i < threads; ++i) {
        const long long at = launch.descending ? threads - 1 - i : i;
        blockIdx.x = (unsigned)(at / launch.block), threadIdx.x = (unsigned)(at % launch.block);
        kernel(*static_cast<A *>(launch.args[I])...);
    }
    return 0;
}

// 0: done; 1: the arguments are not of the kinds that the kernel takes (not asked without kinds).
template <class... A> static int run(void (*kernel)(A...), const Launch &launch) {
    const char kinds[] = {kind_of<A>()..., 0};
    if (launch.kinds && std::strcmp(kinds, launch.kinds) != 0) return 1;
    return loop(kernel, launch, std::index_sequence_for<A...>());
}
