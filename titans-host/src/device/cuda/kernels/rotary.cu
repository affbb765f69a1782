// Rotary positions.

// What all rows have in common; log2(base) in two parts.
struct Turn {
    i64 time, width, period;
    float log_high, log_low, turn;
};

// Pair i of rows [batch, time, heads] of x: row t of a sequence turns by turn * position * 2^(-2 log2(base) pair /
// width), its position t mod period (t for 0) + shift.
__device__ inline void turn_pair(const Turn& all, i64 i, i64 heads, i64 shift, const float* x, float* y) {
    const i64 half = all.width / 2, pair = i % half, row = i / half, t = row / heads % all.time;
    const double position = (double)((all.period ? t % all.period : t) + shift);
    const double log_base = (double)all.log_high + (double)all.log_low;
    const double angle = position * exp2(-2.0 * (double)pair / (double)all.width * log_base);
    const double c = cos(angle), s = (double)all.turn * sin(angle);
    const float *a = x + row * all.width + pair, *b = a + half;
    float* out = y + row * all.width + pair;
    const double left = *a, right = *b;
    out[0] = (float)(left * c - right * s);
    out[half] = (float)(left * s + right * c);
}

#define TURNED(k) i64 pairs##k, i64 heads##k, i64 shift##k, const float *x##k, float *y##k
#define TURN(k) \
    if (i < pairs##k) { \
        turn_pair(all, i, heads##k, shift##k, x##k, y##k); \
        return; \
    } \
    i -= pairs##k;

// n = rows * width / 2 of up to three arrays (queries, keys, context), a pair each; those that are not there have none
KERNEL rotary(i64 n, i64 time, i64 width, i64 period, float log_high, float log_low, float turn, TURNED(0), TURNED(1),
              TURNED(2)) {
    THREAD(element, n);
    const Turn all = {time, width, period, log_high, log_low, turn};
    i64 i = element;
    TURN(0) TURN(1) TURN(2)
}
