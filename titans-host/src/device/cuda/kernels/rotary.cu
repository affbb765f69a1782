// Rotary positions: pairs y = R x. Backward d_x = R^T d_y is the same by the negative angle, `turn` = -1 (MATH 4,
// around; CPU: ops/rotary.rs, `vjp`).

// What all rows have in common; log2(base) in two parts.
struct Turn {
    i64 time, width, period;
    float log_high, log_low, turn;
};

// Pair i of rows [batch, time, heads] of x: row t of a sequence turns by its position t mod period (t for 0) + shift.
__device__ inline void turn_pair(const Turn& all, i64 i, i64 heads, i64 shift, const float* x, float* y) {
    const i64 half = all.width / 2, pair = i % half, row = i / half, t = row / heads % all.time;
    const i64 at = row * all.width + pair;
    turn_by((all.period ? t % all.period : t) + shift, pair, all.width, all.log_high, all.log_low, all.turn, x + at,
            y + at);
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
