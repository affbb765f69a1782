// As much of the CUDA driver, cuBLAS and NVRTC as the device calls, over the emulated kernels: it lets the real
// machine's code run where there is no GPU. Compiled behind the kernels; one file serves as all three libraries.
//
// PARTIAL leaves out all but the first calls, as an old or broken driver would. MAJOR and MINOR (13, 0): the version of
// all three. In the environment: FAKE_POOLS=0, devices without memory pools; FAKE_DEVICES=8, how many there are (1);
// FAKE_BUSY=0,1, those that another program has for itself; FAKE_OLD=2, those of compute capability 5.0; FAKE_NEW=3,
// those of 20.0; FAKE_DRIVER=12040, the driver's version; FAKE_FAIL=N, the N-th call that works on a device fails, and
// all calls after it, as a device does that broke down; FAKE_COUNT, a file for the number of such calls, FAKE_COMPILED
// one that grows with every compilation, FAKE_REPLAYED with every launch of a graph.

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#ifndef MAJOR
#define MAJOR 13
#define MINOR 0
#endif

typedef unsigned long long Pointer;
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, BUSY = 46, NO_DEVICE = 100, INVALID_CONTEXT = 201, NOT_FOUND = 500, BROKEN = 719,
       NOT_CAPTURED = 900, CAPTURE_BROKEN = 901 };
enum { COMPUTE_MODE = 20, CAPABILITY_MAJOR = 75, CAPABILITY_MINOR = 76, MEMORY_POOLS = 115 };

static long number(const char *name, long otherwise) {
    const char *text = std::getenv(name);
    return text ? std::atol(text) : otherwise;
}
/* Is the device in the list? */
static bool listed(const char *name, int device) {
    const char *text = std::getenv(name);
    return text && (std::string(",") + text + ",").find("," + std::to_string(device) + ",") != std::string::npos;
}

extern "C" {

int cuInit(unsigned) { return number("FAKE_DEVICES", 1) < 0 ? NO_DEVICE : OK; }
int cuDeviceGetCount(int *count) { return *count = (int)number("FAKE_DEVICES", 1), OK; }
int cuDeviceGet(int *device, int ordinal) {
    return *device = ordinal, ordinal < number("FAKE_DEVICES", 1) ? OK : INVALID_VALUE;
}

#ifndef PARTIAL

/* What the three libraries, which are three copies of this one, know together: the first makes it, the others find it.
 */
struct Shared {
    void *current = nullptr;
    int contexts[64] = {};
    long calls = 0;
    unsigned long long threshold = 0;
    size_t used = 0;
    // What the stream would have run, while it is captured; and whether something was asked that cannot be.
    std::vector<std::function<int()>> *graph = nullptr;
    bool broken = false;
    bool workspace = false;
    // Copies from the host that were not read yet.
    std::vector<std::function<void()>> late;
    // Graphs and those ready to be launched that were not given up.
    long graphs = 0;
};
static Shared &shared() {
    static Shared *const found = [] {
        if (const char *text = std::getenv("FAKE_SHARED")) return (Shared *)std::strtoull(text, nullptr, 10);
        Shared *const made = new Shared;
        setenv("FAKE_SHARED", std::to_string((Pointer)made).c_str(), 1);
        return made;
    }();
    return *found;
}
static void *stream_made() { return &shared().threshold; }

/* A call that works on a device: the N-th fails, and so does all that follows. */
static int work() {
    const char *file = std::getenv("FAKE_COUNT");
    const long calls = ++shared().calls;
    if (file) {
        std::FILE *out = std::fopen(file, "w");
        std::fprintf(out, "%ld", calls);
        std::fclose(out);
    }
    if (!shared().current) return INVALID_CONTEXT;
    const long fails = number("FAKE_FAIL", 0);
    return fails && calls >= fails ? BROKEN : OK;
}
#define WORK                                                                                                             \
    if (int status = work()) return status

int cuDriverGetVersion(int *version) { return *version = (int)number("FAKE_DRIVER", 1000 * MAJOR + 10 * MINOR), OK; }
int cuGetErrorName(int error, const char **name) {
    *name = error == OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : error == BUSY ? "CUDA_ERROR_DEVICE_UNAVAILABLE"
            : error == BROKEN ? "CUDA_ERROR_LAUNCH_FAILED" : nullptr;
    return *name ? OK : INVALID_VALUE;
}
int cuDevicePrimaryCtxRetain(void **made, int device) {
    if (listed("FAKE_BUSY", device)) return BUSY;
    ++shared().contexts[device];
    return *made = &shared().contexts[device], OK;
}
int cuDevicePrimaryCtxRelease_v2(int device) { return --shared().contexts[device], OK; }
int cuCtxSetCurrent(void *now) { return shared().current = now, OK; }
int cuDeviceGetName(char *name, int len, int) { return std::snprintf(name, (size_t)len, "Fake GPU"), OK; }
int cuDeviceTotalMem_v2(size_t *bytes, int) { return *bytes = (size_t)3 << 30, OK; }
int cuDeviceGetAttribute(int *value, int which, int device) {
    const char *pools = std::getenv("FAKE_POOLS");
    *value = which == CAPABILITY_MAJOR ? listed("FAKE_OLD", device) ? 5 : listed("FAKE_NEW", device) ? 20 : 9
             : which == MEMORY_POOLS && !(pools && *pools == '0') ? 1 : 0;
    return OK;
}
int cuDeviceGetDefaultMemPool(void **pool, int device) { return *pool = &shared().contexts[device], OK; }

int cuMemPoolSetAttribute(void *, int which, void *value) {
    return which == 4 ? (shared().threshold = *(unsigned long long *)value, OK) : INVALID_VALUE;
}
int cuMemPoolGetAttribute(void *, int which, void *value) {
    *(unsigned long long *)value = shared().used;
    return shared().threshold == ~0ull && (which == 5 || which == 7) ? OK : INVALID_VALUE;
}
int cuMemGetInfo_v2(size_t *left, size_t *total) {
    *total = (size_t)3 << 30;
    return *left = *total - shared().used, OK;
}
int cuStreamCreate(void **stream, unsigned flags) {
    WORK;
    return *stream = stream_made(), flags == 1 ? OK : INVALID_VALUE;
}
int cuStreamDestroy_v2(void *) { return work(); }

/* What works at once, or waits: while the stream is captured, an error that breaks the capture off. */
#define AT_ONCE                                                                                                          \
    if (shared().graph) return shared().broken = true, NOT_CAPTURED
/* A copy from the host reads what it copies late: at the next thing that the stream runs, or at the next wait. */
static void arrive() {
    for (const auto &copy : shared().late) copy();
    shared().late.clear();
}
/* What the stream runs in its turn. */
static int enqueue(std::function<int()> what) {
    arrive();
    return shared().graph ? (shared().graph->push_back(what), OK) : what();
}

int cuMemAlloc_v2(Pointer *at, size_t bytes) {
    WORK;
    AT_ONCE;
    if (bytes > ((size_t)1 << 32)) return OUT_OF_MEMORY;
    // The length stands before the memory.
    size_t *memory = (size_t *)std::malloc(bytes + 64);
    std::memset(memory + 8, 0xff, bytes);
    shared().used += *memory = bytes;
    return *at = (Pointer)(memory + 8), OK;
}
int cuMemFree_v2(Pointer at) {
    AT_ONCE;
    arrive();
    size_t *memory = (size_t *)at - 8;
    shared().used -= *memory;
    return std::free(memory), work();
}
int cuMemAllocAsync(Pointer *at, size_t bytes, void *) { return cuMemAlloc_v2(at, bytes); }
int cuMemFreeAsync(Pointer at, void *) { return cuMemFree_v2(at); }
/* All work goes to the one stream that was made: the legacy default stream (null) cannot be captured. */
#define ON(stream)                                                                                                       \
    WORK;                                                                                                                \
    if (stream != stream_made()) return INVALID_VALUE
int cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t n, void *stream) {
    ON(stream);
    AT_ONCE;
    return shared().late.push_back([=] { memcpy((void *)to, from, n); }), OK;
}
int cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t n, void *stream) {
    ON(stream);
    AT_ONCE;
    arrive();
    return memcpy(to, (void *)from, n), OK;
}
int cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t n, void *stream) {
    ON(stream);
    return enqueue([=] { return memcpy((void *)to, (void *)from, n), OK; });
}
int cuMemsetD8Async(Pointer to, unsigned char value, size_t n, void *stream) {
    ON(stream);
    return enqueue([=] { return memset((void *)to, value, n), OK; });
}
int cuStreamSynchronize(void *stream) {
    ON(stream);
    AT_ONCE;
    arrive();
    return OK;
}

/* A graph is the list of what was captured; one ready to be launched is a copy. */
typedef std::vector<std::function<int()>> Graph;
int cuStreamBeginCapture_v2(void *stream, int mode) {
    ON(stream);
    if (shared().graph || mode != 1) return INVALID_VALUE;
    return shared().graph = new Graph, shared().broken = false, OK;
}
int cuStreamEndCapture(void *stream, void **graph) {
    ON(stream);
    Graph *const captured = shared().graph;
    shared().graph = nullptr;
    if (!captured) return INVALID_VALUE;
    if (shared().broken) return delete captured, *graph = nullptr, CAPTURE_BROKEN;
    return ++shared().graphs, *graph = captured, OK;
}
int cuGraphInstantiateWithFlags(void **ready, void *graph, unsigned long long flags) {
    WORK;
    return ++shared().graphs, *ready = new Graph(*(Graph *)graph), flags ? INVALID_VALUE : OK;
}
int cuGraphLaunch(void *ready, void *stream) {
    ON(stream);
    AT_ONCE;
    arrive();
    for (const auto &what : *(Graph *)ready)
        if (int status = what()) return status;
    if (const char *file = std::getenv("FAKE_REPLAYED")) {
        std::FILE *out = std::fopen(file, "a");
        std::fputs("x", out);
        std::fclose(out);
    }
    return OK;
}
int cuGraphDestroy(void *graph) { return delete (Graph *)graph, --shared().graphs, work(); }
int cuGraphExecDestroy(void *ready) { return delete (Graph *)ready, --shared().graphs, work(); }

int cuModuleLoadData(void **module, const void *image) {
    WORK;
    const std::string target = (const char *)image;
    return *module = strdup(target.c_str()), target == "sm_90a" || target == "PTX compute_120" ? OK : 200;
}
int cuModuleUnload(void *module) { return std::free(module), work(); }
int cuModuleGetFunction(void **function, void *, const char *name) {
    WORK;
    // A kernel that exists refuses empty kinds.
    if (emulate(name, "", nullptr, 0, 1, 0) == NO_KERNEL) return NOT_FOUND;
    return *function = strdup(name), OK;
}
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **args, void **extra) {
    ON(stream);
    if (gx == 0 || gy != 1 || gz != 1 || bx > 1024 || by != 1 || bz != 1 || shared || extra) return INVALID_VALUE;
    // The arguments are copied, as the driver does; each is at most 8 bytes, and more can be read of a shorter one.
    std::vector<Pointer> copies((size_t)-emulate((const char *)function, nullptr, nullptr, gx, bx, 0));
    for (size_t i = 0; i < copies.size(); ++i) memcpy(&copies[i], args[i], sizeof(Pointer));
    return enqueue([=]() mutable {
        std::vector<void *> at;
        for (Pointer &copy : copies) at.push_back(&copy);
        const int outcome = emulate((const char *)function, nullptr, at.data(), gx, bx, 0);
        return outcome == DONE ? OK : outcome == FAULT ? BROKEN : INVALID_VALUE;
    });
}

int cublasGetProperty(int which, int *value) { return *value = which == 0 ? MAJOR : MINOR, OK; }
int cublasCreate_v2(void **handle) { return *handle = &shared(), work() ? 1 : OK; }
int cublasDestroy_v2(void *) { return work() ? 14 : OK; }
int cublasSetWorkspace_v2(void *, void *at, size_t bytes) {
    return work() ? 14 : (shared().workspace = at && bytes >= (4u << 20)) ? OK : 7;
}
int cublasSetStream_v2(void *, void *stream) { return work() ? 14 : stream == stream_made() ? OK : 7; }
// To the nearest number without the last bits, ties to even: what tensor cores do to a factor.
static float rounded(float x, int dropped) {
    unsigned bits;
    memcpy(&bits, &x, 4);
    if (dropped) bits = (bits + (1u << (dropped - 1)) - 1 + (bits >> dropped & 1)) >> dropped << dropped;
    return memcpy(&x, &bits, 4), x;
}
int cublasGemmStridedBatchedEx(void *, int ta, int tb, int m, int n, int k, const void *alpha_, const void *a_,
                               int a_type, int lda, long long sa, const void *b_, int b_type, int ldb, long long sb,
                               const void *beta_, void *c_, int c_type, int ldc, long long sc, int batch, int compute,
                               int algorithm) {
    const float alpha = *(const float *)alpha_, beta = *(const float *)beta_;
    if (work()) return 13;
    // Without memory of the caller's the library would reserve some, which a graph does not keep.
    if (shared().graph && !shared().workspace) return 13;
    if (m < 0 || n < 0 || k < 0 || lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m) return 7; // INVALID_VALUE
    // CUDA_R_32F all; CUBLAS_COMPUTE_32F, 32F_FAST_TF32, 32F_FAST_16BF.
    if (a_type || b_type || c_type || algorithm != -1) return 7;
    if (compute != 68 && compute != 77 && compute != 75) return 15; // NOT_SUPPORTED
    const int dropped = compute == 68 ? 0 : compute == 77 ? 13 : 16;
    return enqueue([=] {
        const float *a = (const float *)a_, *b = (const float *)b_;
        float *c = (float *)c_;
        for (int z = 0; z < batch; ++z, a += sa, b += sb, c += sc)
            for (int j = 0; j < n; ++j)
                for (int i = 0; i < m; ++i) {
                    float sum = 0;
                    for (int x = 0; x < k; ++x)
                        sum += rounded(ta ? a[x + (long long)i * lda] : a[i + (long long)x * lda], dropped) *
                               rounded(tb ? b[j + (long long)x * ldb] : b[x + (long long)j * ldb], dropped);
                    float &out = c[i + (long long)j * ldc];
                    out = alpha * sum + (beta == 0 ? 0 : beta * out);
                }
        return OK;
    });
}

int nvrtcVersion(int *major, int *minor) { return *major = MAJOR, *minor = MINOR, OK; }
int nvrtcGetNumSupportedArchs(int *count) { return *count = 4, OK; }
int nvrtcGetSupportedArchs(int *archs) {
    const int known[] = {75, 80, 90, 120};
    return memcpy(archs, known, sizeof known), OK;
}
static std::string architecture;
int nvrtcCreateProgram(void **program, const char *text, const char *, int, const char *const *, const char *const *) {
    return *program = &architecture, std::strstr(text, "KERNEL fill(") ? OK : 6;
}
int nvrtcDestroyProgram(void **) { return OK; }
int nvrtcCompileProgram(void *, int count, const char *const *options) {
    const std::string prefix = "--gpu-architecture=";
    for (int i = 0; i < count; ++i)
        if (prefix.compare(0, prefix.size(), options[i], prefix.size()) == 0) architecture = options[i] + prefix.size();
    if (const char *file = std::getenv("FAKE_COMPILED")) {
        std::FILE *out = std::fopen(file, "a");
        std::fputs("x", out);
        std::fclose(out);
    }
    return OK;
}
int nvrtcGetProgramLogSize(void *, size_t *bytes) { return *bytes = 1, OK; }
int nvrtcGetProgramLog(void *, char *log) { return *log = 0, OK; }
int nvrtcGetCUBINSize(void *, size_t *bytes) { return *bytes = architecture.size() + 1, OK; }
int nvrtcGetCUBIN(void *, char *code) { return memcpy(code, architecture.c_str(), architecture.size() + 1), OK; }
int nvrtcGetPTXSize(void *, size_t *bytes) { return *bytes = architecture.size() + 5, OK; }
int nvrtcGetPTX(void *, char *code) { return memcpy(code, ("PTX " + architecture).c_str(), architecture.size() + 5), OK; }

#endif
}
