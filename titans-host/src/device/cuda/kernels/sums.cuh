// Sums of floats as exact as sums of doubles rounded once, in floats alone: consumer chips have 1/64 of their speed in
// double precision.

// A number hi + lo, lo being what hi's rounding lost.
struct Pair {
    float hi, lo;
};

// The float next to it. An overflow is infinite, its lo is no number.
__device__ inline float rounded(Pair x) {
    const float sum = x.hi + x.lo;
    return sum == sum ? sum : x.hi;
}

// a + b, exactly.
__device__ inline Pair two_sum(float a, float b) {
    const float sum = a + b, of_b = sum - a;
    return Pair{sum, (a - (sum - of_b)) + (b - of_b)};
}

// a b, exactly.
__device__ inline Pair two_product(float a, float b) {
    const float product = a * b;
    return Pair{product, fmaf(a, b, -product)};
}

__device__ inline Pair plus(Pair a, Pair b) {
    const Pair sum = two_sum(a.hi, b.hi);
    return Pair{sum.hi, (a.lo + b.lo) + sum.lo};
}

__device__ inline Pair plus(Pair a, float b) { return plus(a, Pair{b, 0.0f}); }

__device__ inline Pair minus(Pair a) { return Pair{-a.hi, -a.lo}; }

__device__ inline Pair times(Pair a, Pair b) {
    const Pair product = two_product(a.hi, b.hi);
    return Pair{product.hi, product.lo + (a.hi * b.lo + a.lo * b.hi)};
}

__device__ inline Pair times(Pair a, float b) { return times(a, Pair{b, 0.0f}); }

__device__ inline Pair over(Pair a, float b) {
    const float quotient = a.hi / b;
    return Pair{quotient, (fmaf(-quotient, b, a.hi) + a.lo) / b};
}

// s + a b.
__device__ inline Pair plus_product(Pair s, float a, float b) { return plus(s, two_product(a, b)); }

// 1 / sqrt(x): the chip's own estimate, and a step of Newton's.
__device__ inline Pair inverse_root(Pair x) {
    const float root = rsqrtf(rounded(x));
    const Pair one = times(x, two_product(root, root));
    return Pair{root, 0.5f * root * ((1.0f - one.hi) - one.lo)};
}
