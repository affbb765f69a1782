/* A memory through titans.h, as a C program uses it: it learns, answers, is saved, copied and refused. */
#include "titans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define D 24
#define PAIRS 8
#define GUARD 64

static titans_error_info info;

/* Ends the program when a call did not end as it should. */
static void expect(int32_t status, int32_t wanted, int line) {
    if (status != wanted) {
        fprintf(stderr, "line %d: %s (%s), expected %s\n", line, titans_status_name(status), info.message,
                titans_status_name(wanted));
        exit(1);
    }
    if (info.code != status) {
        fprintf(stderr, "line %d: the details say %d, the call %d\n", line, (int)info.code, (int)status);
        exit(1);
    }
}
#define OK(call) expect((call), TITANS_OK, __LINE__)
#define REFUSED(code, call) expect((call), (code), __LINE__)

static void require(int holds, const char *what, int line) {
    if (!holds) {
        fprintf(stderr, "line %d: not so: %s\n", line, what);
        exit(1);
    }
}
#define REQUIRE(x) require((x), #x, __LINE__)

static uint32_t seed = 1;

/* A number in [-1, 1). */
static float noise(void) {
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1.0f;
}

static void unit(float *x) {
    float sum = 0.0f, guess = 1.0f;
    for (int i = 0; i < D; i++) {
        x[i] = noise();
        sum += x[i] * x[i];
    }
    for (int i = 0; i < 30; i++) {
        guess = 0.5f * (guess + sum / guess);
    }
    for (int i = 0; i < D; i++) {
        x[i] /= guess;
    }
}

/* A block of memory with guard bytes on both sides. */
typedef struct block {
    unsigned char *raw, *start;
    size_t bytes;
} block;

static block block_new(size_t bytes) {
    size_t align = titans_memory_align();
    block b;
    b.raw = malloc(bytes + align + 2 * GUARD);
    REQUIRE(b.raw != NULL);
    memset(b.raw, 0xA5, bytes + align + 2 * GUARD);
    b.start = b.raw + GUARD;
    b.start += (align - (size_t)((uintptr_t)b.start % align)) % align;
    b.bytes = bytes;
    return b;
}

static void block_free(block b) {
    for (int i = 1; i <= GUARD; i++) {
        REQUIRE(b.start[-i] == 0xA5);
        REQUIRE(b.start[b.bytes + (size_t)i - 1] == 0xA5);
    }
    free(b.raw);
}

typedef struct data {
    float k[PAIRS * D], v[PAIRS * D];
} data;

static titans_tokens tokens_of(const data *x, const float *gates) {
    titans_tokens t;
    memset(&t, 0, sizeof t);
    t.struct_size = (uint32_t)sizeof t;
    t.n = PAIRS;
    t.k = t.q = x->k;
    t.v = x->v;
    t.k_len = t.v_len = t.q_len = (size_t)PAIRS * D;
    t.alpha = gates;
    t.theta = gates + 1;
    t.eta = gates + 2;
    t.alpha_len = t.theta_len = t.eta_len = 1;
    return t;
}

/* How many of the values are the closest ones to what the memory answers for their keys. */
static int recalled(titans_memory *memory, const data *x) {
    float y[PAIRS * D];
    int hits = 0;
    OK(titans_memory_read(memory, PAIRS, x->k, (size_t)PAIRS * D, y, (size_t)PAIRS * D, &info));
    for (int p = 0; p < PAIRS; p++) {
        int best = -1;
        float closest = 0.0f;
        for (int c = 0; c < PAIRS; c++) {
            float distance = 0.0f;
            for (int i = 0; i < D; i++) {
                float e = y[p * D + i] - x->v[c * D + i];
                distance += e * e;
            }
            if (best < 0 || distance < closest) {
                best = c;
                closest = distance;
            }
        }
        hits += best == p;
    }
    return hits;
}

static float mean(const float *x, int n) {
    float sum = 0.0f;
    for (int i = 0; i < n; i++) {
        sum += x[i];
    }
    return sum / (float)n;
}

/* Learns PAIRS pairs and holds everything the header promises about it. */
static void run(titans_memory_config config, const float *w0, size_t w0_len, const float *gates, int passes) {
    data x;
    float surprise[PAIRS], first = 0.0f, last = 0.0f, one, y1[PAIRS * D], y2[PAIRS * D];
    size_t bytes, saved_bytes, written = 0;
    uint64_t position;
    titans_memory *memory = NULL, *copy = NULL;
    for (int p = 0; p < PAIRS; p++) {
        unit(x.k + p * D);
        unit(x.v + p * D);
    }
    titans_tokens tokens = tokens_of(&x, gates);

    OK(titans_memory_size(&config, &bytes, &info));
    OK(titans_memory_saved_size(&config, &saved_bytes, &info));
    block b = block_new(bytes), c = block_new(bytes);
    REFUSED(TITANS_ERROR_BUFFER_TOO_SMALL,
            titans_memory_init(b.start, bytes - 1, &config, w0, w0_len, &memory, &info));
    REQUIRE(info.expected == bytes && info.found == bytes - 1);
    REQUIRE(memory == NULL && b.start[0] == 0xA5);
    REFUSED(TITANS_ERROR_FOREIGN, titans_memory_attach(b.start, bytes, &memory, &info));
    OK(titans_memory_init(b.start, bytes, &config, w0, w0_len, &memory, &info));
    REFUSED(TITANS_ERROR_NO_TOKEN, titans_memory_surprise(memory, &one, &info));

    for (int pass = 0; pass < passes; pass++) {
        OK(titans_memory_write(memory, &tokens, NULL, 0, surprise, PAIRS, &info));
        last = mean(surprise, PAIRS);
        first = pass == 0 ? last : first;
    }
    REQUIRE(last < 0.1f * first);
    REQUIRE(recalled(memory, &x) == PAIRS);
    OK(titans_memory_surprise(memory, &one, &info));
    REQUIRE(one == surprise[PAIRS - 1]); // NOLINT: the same number
    OK(titans_memory_position(memory, &position, &info));
    REQUIRE(position == (uint64_t)(PAIRS * passes));

    /* A step, so that a chunk is open; then a snapshot and a saved copy; both go on like the memory itself. */
    OK(titans_memory_step(memory, x.k, D, x.v, D, NULL, 0, gates[0], gates[1], gates[2], NULL, 0, &one, &info));
    unsigned char *saved = malloc(saved_bytes);
    REQUIRE(saved != NULL);
    OK(titans_memory_save(memory, saved, saved_bytes, &written, &info));
    REQUIRE(written == saved_bytes);
    memcpy(c.start, b.start, bytes);
    OK(titans_memory_attach(c.start, bytes, &copy, &info));
    OK(titans_memory_write(memory, &tokens, y1, PAIRS * D, NULL, 0, &info));
    OK(titans_memory_write(copy, &tokens, y2, PAIRS * D, NULL, 0, &info));
    REQUIRE(memcmp(y1, y2, sizeof y1) == 0);
    OK(titans_memory_reset(copy, w0, w0_len, &info));
    OK(titans_memory_position(copy, &position, &info));
    REQUIRE(position == 0);
    saved[saved_bytes / 2] ^= 1;
    REFUSED(TITANS_ERROR_SAVED_CORRUPT, titans_memory_load(copy, saved, saved_bytes, &info));
    saved[saved_bytes / 2] ^= 1;
    OK(titans_memory_load(copy, saved, saved_bytes, &info));
    memset(y2, 0, sizeof y2);
    OK(titans_memory_write(copy, &tokens, y2, PAIRS * D, NULL, 0, &info));
    REQUIRE(memcmp(y1, y2, sizeof y1) == 0);

    /* Refusals change nothing. */
    memcpy(c.start, b.start, bytes);
    tokens.k_len--;
    REFUSED(TITANS_ERROR_LENGTH, titans_memory_write(memory, &tokens, NULL, 0, NULL, 0, &info));
    REQUIRE(info.arg == 2 && strstr(info.message, "k: expected") != NULL);
    REFUSED(TITANS_ERROR_NULL, titans_memory_write(memory, NULL, NULL, 0, NULL, 0, &info));
    REFUSED(TITANS_ERROR_GATE_RANGE, titans_memory_step(memory, x.k, D, x.v, D, NULL, 0, 1.5f, 0.1f, 0.0f, NULL, 0,
                                                        NULL, &info));
    REQUIRE(info.arg == 8);
    REQUIRE(memcmp(b.start, c.start, bytes) == 0);

    free(saved);
    block_free(b);
    block_free(c);
}

/* A token that no memory can hold is refused, and those before it stay. */
static void diverges(titans_memory_config config) {
    data x;
    float gates[3] = {0.0f, 1.0f, 0.0f}, answer[D];
    size_t bytes;
    uint64_t position;
    titans_memory *memory = NULL;
    for (int p = 0; p < PAIRS; p++) {
        unit(x.k + p * D);
        unit(x.v + p * D);
    }
    x.v[3 * D] = 1e38f;
    titans_tokens tokens = tokens_of(&x, gates);
    OK(titans_memory_size(&config, &bytes, &info));
    block b = block_new(bytes);
    OK(titans_memory_init(b.start, bytes, &config, NULL, 0, &memory, &info));
    REFUSED(TITANS_ERROR_DIVERGED, titans_memory_write(memory, &tokens, NULL, 0, NULL, 0, &info));
    REQUIRE(info.found == 3 && strstr(info.message, "token[3]") != NULL);
    OK(titans_memory_position(memory, &position, &info));
    REQUIRE(position == 3);
    OK(titans_memory_read(memory, 1, x.k + 2 * D, D, answer, D, &info));
    for (int i = 0; i < D; i++) { /* theta 1 on half the error: one step learns the last pair whole */
        float e = answer[i] - x.v[2 * D + i];
        REQUIRE(e < 1e-5f && e > -1e-5f);
    }
    block_free(b);
}

int main(void) {
    static float w0[D * D + D * D + D];
    const float exact[3] = {0.0f, 1.0f, 0.0f}, linear[3] = {0.0f, 0.15f, 0.3f}, deep[3] = {0.0f, 0.02f, 0.5f};
    titans_memory_config config;
    size_t parameters = 0;
    memset(&info, 0, sizeof info);
    info.struct_size = (uint32_t)sizeof info;
    REQUIRE(titans_abi_version() == TITANS_ABI_VERSION);
    REQUIRE(strlen(titans_version_string()) >= 5);
    REQUIRE(strcmp(titans_status_name(TITANS_ERROR_OVERLAP), "TITANS_ERROR_OVERLAP") == 0);
    REQUIRE(strcmp(titans_status_name(1), "TITANS_UNKNOWN") == 0);

    REFUSED(TITANS_ERROR_ABI_VERSION,
            titans_memory_config_init(&config, sizeof config, TITANS_ABI_VERSION + 1, &info));
    OK(titans_memory_config_init(&config, sizeof config, TITANS_ABI_VERSION, &info));
    config.widths[0] = config.widths[1] = D;
    run(config, NULL, 0, exact, 40);
    diverges(config);
    config.compute_chunk = 1;
    run(config, NULL, 0, exact, 40);

    config.loss = TITANS_LOSS_SUM;
    config.chunk = 5;
    config.compute_chunk = 0;
    run(config, NULL, 0, linear, 40);
    config.compute_chunk = 5;
    run(config, NULL, 0, linear, 40);

    config.layers = 2;
    config.widths[2] = D;
    config.network = TITANS_NETWORK_RESIDUAL;
    OK(titans_memory_parameters(&config, &parameters, &info));
    REQUIRE(parameters == sizeof w0 / sizeof w0[0]);
    for (int i = 0; i < 2 * D * D; i++) {
        w0[i] = 0.2f * noise();
    }
    run(config, w0, parameters, deep, 200);
    puts("memory.c: all held");
    return 0;
}
