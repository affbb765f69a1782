/* Streams through an exported model, in C99: made, fed in two cuts, forked, saved, loaded, refused. The blob's path is
 * the argument. */
#include "titans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 40

static void require(int holds, const char *what, int line) {
    if (!holds) {
        fprintf(stderr, "line %d: not so: %s\n", line, what);
        exit(1);
    }
}
#define REQUIRE(x) require((x) ? 1 : 0, #x, __LINE__)

/* `bytes` bytes at a multiple of 64; what malloc gave goes to *whole. */
static void *aligned(size_t bytes, void **whole) {
    *whole = malloc(bytes + 64);
    REQUIRE(*whole != NULL);
    return (char *)*whole + (64 - (uintptr_t)*whole % 64) % 64;
}

static void *read_file(const char *path, size_t *bytes, void **whole) {
    FILE *file = fopen(path, "rb");
    REQUIRE(file != NULL && fseek(file, 0, SEEK_END) == 0);
    *bytes = (size_t)ftell(file);
    REQUIRE(fseek(file, 0, SEEK_SET) == 0);
    void *data = aligned(*bytes, whole);
    REQUIRE(fread(data, 1, *bytes, file) == *bytes);
    fclose(file);
    return data;
}

int main(int count, char **words) {
    titans_model model;
    titans_model_info about = {0};
    titans_stream_config config;
    titans_stream *stream = NULL, *other = NULL;
    titans_stream_info stands = {0};
    titans_error_info info = {0};
    void *wholes[4];
    size_t blob_bytes = 0, bytes = 0, saved_bytes = 0, written = 0;
    uint32_t ids[TOKENS];
    uint64_t position = 0;

    REQUIRE(count == 2);
    void *blob = read_file(words[1], &blob_bytes, &wholes[0]);
    info.struct_size = sizeof info;
    REQUIRE(titans_model_open(&model, sizeof model, TITANS_ABI_VERSION, blob, blob_bytes - 1, &info) ==
            TITANS_ERROR_MODEL_LENGTH);
    REQUIRE(titans_model_open(&model, sizeof model, TITANS_ABI_VERSION, blob, blob_bytes, &info) == TITANS_OK);
    about.struct_size = sizeof about;
    REQUIRE(titans_model_describe(&model, &about, NULL) == TITANS_OK && about.input == TITANS_INPUT_TOKENS);
    for (uint32_t i = 0; i < TOKENS; i++) {
        ids[i] = i * i % about.input_size;
    }
    REQUIRE(titans_stream_config_init(&config, sizeof config, TITANS_ABI_VERSION, NULL) == TITANS_OK);
    config.rows = 8;
    REQUIRE(titans_stream_size(&model, &config, &bytes, NULL) == TITANS_OK && titans_stream_align() == 64);
    void *buffer = aligned(bytes, &wholes[1]), *second = aligned(bytes, &wholes[2]);
    REQUIRE(titans_stream_init(buffer, bytes - 1, &model, &config, &stream, NULL) == TITANS_ERROR_BUFFER_TOO_SMALL);
    REQUIRE(titans_stream_init(buffer, bytes, &model, &config, &stream, NULL) == TITANS_OK);

    float *whole = malloc(TOKENS * about.outputs * sizeof *whole), *cut = malloc(TOKENS * about.outputs * sizeof *cut);
    float *surprise = malloc(TOKENS * about.memories * sizeof *surprise);
    REQUIRE(whole != NULL && cut != NULL && surprise != NULL);
    REQUIRE(titans_stream_push(stream, &model, ids, TOKENS, whole, TOKENS * about.outputs, surprise,
                               TOKENS * about.memories, NULL) == TITANS_OK);
    REQUIRE(titans_stream_reset(stream, &model, NULL) == TITANS_OK);
    REQUIRE(titans_stream_push(stream, &model, ids, 7, cut, 7 * about.outputs, NULL, 0, NULL) == TITANS_OK);
    REQUIRE(titans_stream_fork(stream, second, bytes, &other, NULL) == TITANS_OK);
    for (size_t t = 7; t < TOKENS; t++) {
        REQUIRE(titans_stream_step(stream, &model, ids[t], cut + t * about.outputs, about.outputs, NULL, 0, NULL) ==
                TITANS_OK);
    }
    REQUIRE(memcmp(whole, cut, TOKENS * about.outputs * sizeof *whole) == 0);
    REQUIRE(titans_stream_position(other, &position, NULL) == TITANS_OK && position == 7);

    REQUIRE(titans_stream_saved_size(&model, &saved_bytes, NULL) == TITANS_OK);
    unsigned char *saved = malloc(saved_bytes);
    REQUIRE(saved != NULL);
    REQUIRE(titans_stream_save(stream, &model, saved, saved_bytes, &written, NULL) == TITANS_OK);
    REQUIRE(titans_stream_load(other, &model, saved, written, NULL) == TITANS_OK);
    saved[written / 2] ^= 1;
    REQUIRE(titans_stream_load(other, &model, saved, written, NULL) == TITANS_ERROR_SAVED_CORRUPT);
    stands.struct_size = sizeof stands;
    REQUIRE(titans_stream_describe(other, &stands, NULL) == TITANS_OK && stands.position == TOKENS);
    REQUIRE(titans_stream_step(other, &model, about.input_size, NULL, 0, NULL, 0, &info) == TITANS_ERROR_TOKEN_RANGE);
    REQUIRE(titans_stream_read_only(other, &model, 1, NULL) == TITANS_OK);
    REQUIRE(titans_stream_push(other, &model, ids, TOKENS, NULL, 0, NULL, 0, NULL) == TITANS_OK);

    free(saved), free(surprise), free(cut), free(whole);
    for (int i = 0; i < 3; i++) {
        free(wholes[i]);
    }
    puts("stream.c: all held");
    return 0;
}
