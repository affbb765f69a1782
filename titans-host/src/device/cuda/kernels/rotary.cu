// Rotary positions.

// n = rows * width / 2, a pair each; rows [batch, time, heads], row t of a sequence turns by turn * position *
// 2^(-2 log2(base) pair / width), its position t mod period (t for 0) + shift; log2(base) in two parts
KERNEL rotary(i64 n, i64 time, i64 heads, i64 width, i64 period, i64 shift, float log_high, float log_low, float turn,
              const float* x, float* y) {
    THREAD(i, n);
    const i64 half = width / 2, pair = i % half, row = i / half, t = row / heads % time;
    const double position = (double)((period ? t % period : t) + shift);
    const double log_base = (double)log_high + (double)log_low;
    const double angle = position * exp2(-2.0 * (double)pair / (double)width * log_base);
    const double c = cos(angle), s = (double)turn * sin(angle);
    const float *a = x + row * width + pair, *b = a + half;
    float* out = y + row * width + pair;
    const double left = *a, right = *b;
    out[0] = (float)(left * c - right * s);
    out[half] = (float)(left * s + right * c);
}
