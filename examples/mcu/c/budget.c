/* What the library takes: bytes of stack in each of its functions, over several configurations, and instructions a
 * token by width. Prints lines `stack NAME BYTES`, `instructions WHAT NUMBER` and `bytes WHAT NUMBER` (of RAM), for
 * ../../../.ci/mcu to compare with its budgets. */
#include "board.h"
#include "titans.h"

enum { WIDEST = 64, TOKENS = 8 };

extern const unsigned char model_bytes[], narrow_bytes[], broad_bytes[], symbols_bytes[];
extern const uint32_t model_bytes_len, narrow_bytes_len, broad_bytes_len, symbols_bytes_len;

static _Alignas(64) unsigned char block[144 * 1024], saved[64 * 1024];
static float key[TOKENS * WIDEST], value[TOKENS * WIDEST], answer[TOKENS * WIDEST], weights[2 * WIDEST * WIDEST], surprise[TOKENS];
static struct {
    const char *name;
    uint32_t bytes;
} deepest[64];

static void check(int32_t status)
{
    if (status == TITANS_OK)
        return;
    say(titans_status_name(status)), say("\n");
    leave(4);
}

static void keep(const char *name, uint32_t used)
{
    int i = 0;
    while (deepest[i].name && deepest[i].name != name)
        i++;
    deepest[i].name = name;
    if (used > deepest[i].bytes)
        deepest[i].bytes = used;
}

#define STACK(name, ...)                     \
    do {                                     \
        static const char *const text = #name; \
        stack_paint();                       \
        check(name(__VA_ARGS__));            \
        keep(text, stack_used());            \
    } while (0)

static struct titans_error_info info = {.struct_size = sizeof info};

static uint32_t random_state = 1;
static float noise(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (float)(int32_t)random_state / 2147483648.0f;
}

static void fill(float *x, size_t n, float scale)
{
    while (n-- > 0)
        *x++ = noise() * scale;
}

static titans_memory *open_memory(const titans_memory_config *config, size_t *params)
{
    titans_memory *memory;
    STACK(titans_memory_parameters, config, params, &info);
    fill(weights, *params, 0.1f);
    STACK(titans_memory_init, block, sizeof block, config, weights, *params, &memory, &info);
    return memory;
}

static titans_tokens tokens_of(size_t n, size_t wide_in, size_t wide_out)
{
    static const float gates[3] = {0.01f, 0.05f, 0.5f};
    titans_tokens t = {.struct_size = sizeof t, .n = n, .k = key, .k_len = n * wide_in, .v = value, .v_len = n * wide_out, .q = key};
    t.q_len = n * wide_in;
    t.alpha = &gates[0], t.alpha_len = 1, t.theta = &gates[1], t.theta_len = 1, t.eta = &gates[2], t.eta_len = 1;
    return t;
}

/* Every function of a memory. */
static void memory(const uint32_t *widths, uint32_t layers, uint32_t chunk, uint32_t pieces)
{
    titans_memory_config config;
    size_t params, bytes;
    uint64_t count;
    STACK(titans_memory_config_init, &config, sizeof config, TITANS_ABI_VERSION, &info);
    config.layers = layers, config.chunk = chunk, config.compute_chunk = pieces;
    config.clip = layers > 1 ? 1.0f : 0.0f;
    for (uint32_t i = 0; i <= layers; i++)
        config.widths[i] = widths[i];
    config.network = layers > 1 && widths[0] == widths[layers];
    size_t in = widths[0], out = widths[layers];
    STACK(titans_memory_size, &config, &bytes, &info);
    STACK(titans_memory_saved_size, &config, &bytes, &info);
    titans_memory *m = open_memory(&config, &params);
    fill(key, TOKENS * in, 0.3f), fill(value, TOKENS * out, 1.0f);
    for (uint32_t n = 1; n <= TOKENS; n += TOKENS - 1) {
        titans_tokens t = tokens_of(n, in, out);
        STACK(titans_memory_write, m, &t, answer, n * out, surprise, n, &info);
    }
    STACK(titans_memory_step, m, key, in, value, out, key, in, 0.01f, 0.05f, 0.5f, answer, out, surprise, &info);
    STACK(titans_memory_read, m, TOKENS, key, TOKENS * in, answer, TOKENS * out, &info);
    STACK(titans_memory_position, m, &count, &info);
    STACK(titans_memory_clipped, m, &count, &info);
    STACK(titans_memory_surprise, m, surprise, &info);
    STACK(titans_memory_weights, m, weights, 2 * params, &info);
    STACK(titans_memory_save, m, saved, sizeof saved, &bytes, &info);
    STACK(titans_memory_load, m, saved, bytes, &info);
    STACK(titans_memory_reset, m, weights, params, &info);
    STACK(titans_memory_attach, block, sizeof block, &m, &info);
}

/* Every function of a model and of a stream. */
static void stream(uint32_t rows, uint32_t undo)
{
    struct titans_model model;
    struct titans_model_info about = {.struct_size = sizeof about};
    struct titans_block_info of_block = {.struct_size = sizeof of_block};
    struct titans_stream_info where = {.struct_size = sizeof where};
    struct titans_stream_config config;
    struct titans_stream *s, *other;
    size_t bytes;
    uint64_t count;
    STACK(titans_model_open, &model, sizeof model, TITANS_ABI_VERSION, model_bytes, model_bytes_len, &info);
    STACK(titans_model_describe, &model, &about, &info);
    STACK(titans_model_describe_block, &model, 0, &of_block, &info);
    STACK(titans_stream_config_init, &config, sizeof config, TITANS_ABI_VERSION, &info);
    config.rows = rows, config.undo = undo;
    STACK(titans_stream_size, &model, &config, &bytes, &info);
    STACK(titans_stream_saved_size, &model, &bytes, &info);
    STACK(titans_stream_init, block, sizeof block / 2, &model, &config, &s, &info);
    size_t out = about.outputs;
    fill(value, TOKENS * about.input_size, 1.0f);
    STACK(titans_stream_step_row, s, &model, value, about.input_size, answer, out, surprise, about.memories, &info);
    STACK(titans_stream_push_rows, s, &model, value, TOKENS * about.input_size, answer, TOKENS * out, surprise, TOKENS * about.memories,
          &info);
    STACK(titans_stream_position, s, &count, &info);
    STACK(titans_stream_describe, s, &where, &info);
    STACK(titans_stream_save, s, &model, saved, sizeof saved, &bytes, &info);
    STACK(titans_stream_load, s, &model, saved, bytes, &info);
    STACK(titans_stream_fork, s, block + sizeof block / 2, sizeof block / 2, &other, &info);
    STACK(titans_stream_attach, block, sizeof block / 2, &model, &s, &info);
    STACK(titans_stream_read_only, s, &model, 1, &info);
    STACK(titans_stream_reset, s, &model, &info);
}

/* What a stream of token ids has of its own. */
static void tokens(void)
{
    static const uint32_t ids[TOKENS] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct titans_model model;
    struct titans_stream_config config;
    struct titans_stream *s;
    struct titans_model_info about = {.struct_size = sizeof about};
    uint32_t waiting;
    size_t count;
    check(titans_model_open(&model, sizeof model, TITANS_ABI_VERSION, symbols_bytes, symbols_bytes_len, &info));
    check(titans_model_describe(&model, &about, &info));
    check(titans_stream_config_init(&config, sizeof config, TITANS_ABI_VERSION, &info));
    config.rows = TOKENS, config.undo = TOKENS;
    check(titans_stream_init(block, sizeof block, &model, &config, &s, &info));
    if (about.outputs * TOKENS > sizeof weights / sizeof *weights)
        leave(6);
    STACK(titans_stream_push, s, &model, ids, TOKENS, weights, TOKENS * about.outputs, surprise, TOKENS * about.memories, &info);
    STACK(titans_stream_step, s, &model, 9, weights, about.outputs, surprise, about.memories, &info);
    STACK(titans_stream_waiting, s, &waiting, answer, WIDEST, &count, &info);
}

/* Those that answer anything but a status. */
static void answers(void)
{
    static const volatile int32_t code = TITANS_ERROR_DIVERGED;
    const volatile char *text;
    volatile size_t number;
#define ANSWER(name, to, ...)                  \
    do {                                       \
        static const char *const what = #name; \
        stack_paint();                         \
        to = name(__VA_ARGS__);                \
        keep(what, stack_used());              \
    } while (0)
    ANSWER(titans_abi_version, number, );
    ANSWER(titans_memory_align, number, );
    ANSWER(titans_stream_align, number, );
    ANSWER(titans_version_string, text, );
    ANSWER(titans_status_name, text, code);
    ANSWER(titans_status_message, text, code);
    if (*text == 0 || number == 0)
        leave(7);
}

static void said(const char *kind, const char *what, uint32_t width, size_t n)
{
    say(kind), say(what), say_number(width), say(" "), say_number((uint32_t)n), say("\n");
}

/* Instructions of one token, key, value and query of d numbers. */
static void count_memory(uint32_t d, uint32_t pieces)
{
    titans_memory_config config;
    size_t params, bytes;
    check(titans_memory_config_init(&config, sizeof config, TITANS_ABI_VERSION, NULL));
    config.widths[0] = config.widths[1] = d, config.compute_chunk = pieces;
    check(titans_memory_size(&config, &bytes, NULL));
    if (pieces == 1 && bytes > 16 * d * d + 5216) /* the formula of docs/MCU.md */
        leave(5);
    titans_memory *m = open_memory(&config, &params);
    fill(key, d, 0.3f), fill(value, d, 1.0f);
    uint32_t n = 0;
    for (int i = 0; i < TOKENS; i++) {
        count_begin();
        check(titans_memory_step(m, key, d, value, d, key, d, 0.01f, 0.05f, 0.5f, answer, d, surprise, NULL));
        n += count_end();
    }
    said("instructions ", pieces == 1 ? "memory-" : "memory-in-pieces-", d, n / TOKENS);
    said("bytes ", pieces == 1 ? "memory-" : "memory-in-pieces-", d, bytes);
}

static void count_model(const unsigned char *blob, uint32_t len)
{
    struct titans_model model;
    struct titans_model_info about = {.struct_size = sizeof about};
    struct titans_stream_config config;
    struct titans_stream *s;
    check(titans_model_open(&model, sizeof model, TITANS_ABI_VERSION, blob, len, NULL));
    check(titans_model_describe(&model, &about, NULL));
    check(titans_stream_config_init(&config, sizeof config, TITANS_ABI_VERSION, NULL));
    config.rows = 1, config.undo = 0;
    check(titans_stream_init(block, sizeof block, &model, &config, &s, NULL));
    uint32_t n = 0;
    for (int i = 0; i < TOKENS; i++) {
        fill(value, about.input_size, 1.0f);
        count_begin();
        check(titans_stream_step_row(s, &model, value, about.input_size, answer, about.outputs, surprise, about.memories, NULL));
        n += count_end();
    }
    size_t bytes;
    check(titans_stream_size(&model, &config, &bytes, NULL));
    said("instructions ", "model-", about.width, n / TOKENS);
    said("bytes ", "model-", about.width, bytes);
}

int main(void)
{
    static const uint32_t linear[] = {16, 16}, wide[] = {24, 48}, deep[] = {16, 24, 16}, deepest_one[] = {12, 12, 12, 12, 12};
    memory(linear, 1, 1, 1);
    memory(linear, 1, 1, 0);
    memory(wide, 1, 4, 4);
    memory(wide, 1, 16, 4);
    memory(deep, 2, 4, 0);
    memory(deep, 2, 1, 0);
    memory(deepest_one, 4, 4, 0);
    stream(1, 0);
    stream(TOKENS, 16);
    tokens();
    answers();
    for (int i = 0; deepest[i].name; i++) {
        int first = 1; /* one line a function, whichever call of it was the deepest */
        uint32_t most = deepest[i].bytes;
        for (int j = 0; deepest[j].name; j++) {
            const char *a = deepest[i].name, *b = deepest[j].name;
            while (*a && *a == *b)
                a++, b++;
            if (*a == *b) {
                first = first && j >= i;
                most = deepest[j].bytes > most ? deepest[j].bytes : most;
            }
        }
        if (first)
            say("stack "), say(deepest[i].name), say(" "), say_number(most), say("\n");
    }
    for (uint32_t d = 8; d <= WIDEST; d *= 2)
        count_memory(d, 1);
    for (uint32_t d = 8; d <= 16; d *= 2)
        count_memory(d, 0);
    count_model(narrow_bytes, narrow_bytes_len);
    count_model(model_bytes, model_bytes_len);
    count_model(broad_bytes, broad_bytes_len);
    return 0;
}
