/* The device in C: what ../rust does, with the library's archive for bare metal. A model forecasts the next row of its
 * sensor, learns from the row that comes, and its memory's surprise tells a fault. It prints what the one in Rust
 * prints, to the bit. */
#include "board.h"
#include "titans.h"

enum { SIZE = 2, LEARNS = 160, QUIET = 32, STREAM_BYTES = 10496 };
static const float ALARM = 1.5f, FADES = 0.99f;

extern const unsigned char model_bytes[], sensor_bytes[];
extern const uint32_t model_bytes_len, sensor_bytes_len;

/* All memory that the two streams will ever need. */
static _Alignas(64) unsigned char streams[2][STREAM_BYTES];

/* What one stream said so far: of the next row, the sum of squared errors, a checksum (FNV-1a) of all bits. */
struct said {
    struct titans_stream *stream;
    float next[SIZE];
    float error;
    uint32_t bits;
};

static void check(int32_t status)
{
    if (status == TITANS_OK)
        return;
    say(titans_status_name(status));
    say("\n");
    leave(4);
}

static void mix(struct said *said, float x)
{
    uint32_t word;
    __builtin_memcpy(&word, &x, sizeof word);
    for (int i = 0; i < 32; i += 8)
        said->bits = (said->bits ^ (word >> i & 255)) * 0x01000193u;
}

static float step(struct said *said, const struct titans_model *model, const float *row, int counts)
{
    float surprise;
    for (int i = 0; counts && i < SIZE; i++)
        said->error += (said->next[i] - row[i]) * (said->next[i] - row[i]);
    check(titans_stream_step_row(said->stream, model, row, SIZE, said->next, SIZE, &surprise, 1, NULL));
    for (int i = 0; i < SIZE; i++)
        mix(said, said->next[i]);
    mix(said, surprise);
    return surprise;
}

/* Row t in the model's units, from thousandths as 16-bit numbers behind mean and inverse deviation of either column. */
static void read_row(uint32_t t, float *row)
{
    const unsigned char *at = sensor_bytes + 8 * SIZE + t * 2 * SIZE;
    for (int i = 0; i < SIZE; i++, at += 2) {
        float scale[2];
        __builtin_memcpy(scale, sensor_bytes + 8 * i, sizeof scale);
        int16_t raw = (int16_t)(at[0] | at[1] << 8);
        row[i] = ((float)raw * 0.001f - scale[0]) * scale[1];
    }
}

int main(void)
{
    static const char *const names[2] = {"learning", "frozen"};
    struct titans_model model;
    struct said said[2] = {{NULL, {0, 0}, 0, 0x811C9DC5u}, {NULL, {0, 0}, 0, 0x811C9DC5u}};
    check(titans_model_open(&model, sizeof model, TITANS_ABI_VERSION, model_bytes, model_bytes_len, NULL));
    for (int i = 0; i < 2; i++) {
        struct titans_stream_config config;
        check(titans_stream_config_init(&config, sizeof config, TITANS_ABI_VERSION, NULL));
        config.rows = 1;
        config.undo = 0;
        config.mode = i == 0 ? TITANS_MODE_ON : TITANS_MODE_FROZEN;
        check(titans_stream_init(streams[i], sizeof streams[i], &model, &config, &said[i].stream, NULL));
    }
    uint32_t rows = (sensor_bytes_len - 8 * SIZE) / (2 * SIZE), alarms = 0, counted = 0;
    int64_t last = -QUIET - 1;
    float peak = 0;
    for (uint32_t t = 0; t < rows; t++) {
        float row[SIZE];
        read_row(t, row);
        int quiet = (int64_t)t - last > QUIET, counts = t >= LEARNS && quiet;
        float surprise = step(&said[0], &model, row, counts);
        step(&said[1], &model, row, counts);
        if (t >= LEARNS && surprise > ALARM * peak) {
            if (quiet) {
                say("row "), say_number(t), say(": alarm, a surprise of "), say_number((uint32_t)(surprise * 1e3f));
                say(" thousandths, lately "), say_number((uint32_t)(peak * 1e3f)), say(" at most\n");
                alarms++;
            }
            last = t;
            peak *= FADES;
        } else {
            peak = surprise > FADES * peak ? surprise : FADES * peak;
        }
        counted += (uint32_t)counts;
    }
    for (int i = 0; i < 2; i++) {
        float error = said[i].error / (SIZE * (float)counted) * 1e6f;
        say(names[i]), say(": squared error "), say_number((uint32_t)error), say(" millionths, checksum ");
        say_hex(said[i].bits), say("\n");
    }
    say_number(rows), say(" rows, "), say_number(alarms), say(" alarms\n");
    return alarms > 0 && said[0].error < said[1].error ? 0 : 1;
}
