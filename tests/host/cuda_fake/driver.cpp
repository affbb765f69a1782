// As much of the CUDA driver, cuBLAS and NVRTC as the device calls, over the emulated kernels: it lets the real machine's
// code run where there is no GPU. Compiled behind the kernels; one file serves as all three libraries.
//
// PARTIAL leaves out all but the first calls, as an old or broken driver would. FAKE_POOLS=0 in the environment: a device
// without memory pools.

#include <cstdio>
#include <cstdlib>
#include <string>

typedef unsigned long long Pointer;
enum { OK = 0, INVALID_VALUE = 1, NOT_FOUND = 500 };
enum { CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76, MEMORY_POOLS = 115 };

extern "C" {

int cuInit(unsigned) { return OK; }
int cuDeviceGetCount(int *count) { return *count = 1, OK; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, ordinal == 0 ? OK : INVALID_VALUE; }

#ifndef PARTIAL

static void *current = nullptr;
static int context;

int cuDevicePrimaryCtxRetain(void **made, int) { return *made = &context, OK; }
int cuDevicePrimaryCtxRelease_v2(int) { return OK; }
int cuCtxGetCurrent(void **now) { return *now = current, OK; }
int cuCtxSetCurrent(void *now) { return current = now, OK; }
int cuDeviceGetName(char *name, int len, int) { return std::snprintf(name, (size_t)len, "Fake GPU"), OK; }
int cuDeviceTotalMem_v2(size_t *bytes, int) { return *bytes = (size_t)3 << 30, OK; }
int cuDeviceGetAttribute(int *value, int which, int) {
    const char *pools = std::getenv("FAKE_POOLS");
    *value = which == CAPABILITY_MAJOR ? 9 : which == MEMORY_POOLS && !(pools && *pools == '0') ? 1 : 0;
    return OK;
}

int cuMemAlloc_v2(Pointer *at, size_t bytes) {
    if (bytes > ((size_t)1 << 32)) return 2; // CUDA_ERROR_OUT_OF_MEMORY
    void *memory = std::malloc(bytes);
    std::memset(memory, 0xff, bytes);
    return *at = (Pointer)memory, OK;
}
int cuMemFree_v2(Pointer at) { return std::free((void *)at), OK; }
int cuMemAllocAsync(Pointer *at, size_t bytes, void *) { return cuMemAlloc_v2(at, bytes); }
int cuMemFreeAsync(Pointer at, void *) { return cuMemFree_v2(at); }
int cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t n, void *) { return memcpy((void *)to, from, n), OK; }
int cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t n, void *) { return memcpy(to, (void *)from, n), OK; }
int cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t n, void *) {
    return memcpy((void *)to, (void *)from, n), OK;
}
int cuMemsetD8Async(Pointer to, unsigned char value, size_t n, void *) { return memset((void *)to, value, n), OK; }
int cuStreamSynchronize(void *) { return current ? OK : 201; } // CUDA_ERROR_INVALID_CONTEXT
int cuCtxSynchronize() { return OK; }

int cuModuleLoadData(void **module, const void *image) {
    return *module = (void *)image, std::strcmp((const char *)image, "sm_90") == 0 ? OK : 200;
}
int cuModuleUnload(void *) { return OK; }
int cuModuleGetFunction(void **function, void *, const char *name) {
    // A kernel that exists refuses empty kinds; one that does not is 2.
    if (emulate(name, "", nullptr, 0, 1, 0) == 2) return NOT_FOUND;
    return *function = strdup(name), OK;
}
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *, void **args, void **extra) {
    if (gx == 0 || gy != 1 || gz != 1 || bx > 1024 || by != 1 || bz != 1 || shared || extra) return INVALID_VALUE;
    return emulate((const char *)function, nullptr, args, gx, bx, 0);
}

int cublasCreate_v2(void **handle) { return *handle = &context, OK; }
int cublasDestroy_v2(void *) { return OK; }
int cublasSetStream_v2(void *, void *) { return OK; }
int cublasSgemmStridedBatched(void *, int ta, int tb, int m, int n, int k, const float *alpha, const float *a, int lda,
                              long long sa, const float *b, int ldb, long long sb, const float *beta, float *c, int ldc,
                              long long sc, int batch) {
    if (m < 0 || n < 0 || k < 0 || lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m) return 7; // INVALID_VALUE
    for (int z = 0; z < batch; ++z, a += sa, b += sb, c += sc)
        for (int j = 0; j < n; ++j)
            for (int i = 0; i < m; ++i) {
                float sum = 0;
                for (int x = 0; x < k; ++x)
                    sum += (ta ? a[x + (long long)i * lda] : a[i + (long long)x * lda]) *
                           (tb ? b[j + (long long)x * ldb] : b[x + (long long)j * ldb]);
                float &out = c[i + (long long)j * ldc];
                out = *alpha * sum + (*beta == 0 ? 0 : *beta * out);
            }
    return OK;
}

static std::string architecture;
int nvrtcCreateProgram(void **program, const char *text, const char *, int, const char *const *, const char *const *) {
    return *program = &context, std::strstr(text, "KERNEL fill(") ? OK : 6;
}
int nvrtcDestroyProgram(void **) { return OK; }
int nvrtcCompileProgram(void *, int count, const char *const *options) {
    const std::string prefix = "--gpu-architecture=";
    for (int i = 0; i < count; ++i)
        if (prefix.compare(0, prefix.size(), options[i], prefix.size()) == 0) architecture = options[i] + prefix.size();
    return OK;
}
int nvrtcGetCUBINSize(void *, size_t *bytes) { return *bytes = architecture.size() + 1, OK; }
int nvrtcGetCUBIN(void *, char *code) { return memcpy(code, architecture.c_str(), architecture.size() + 1), OK; }

#endif
}
