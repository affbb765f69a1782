// One thread for one element.

// x[i] = value
KERNEL fill(i64 n, float value, float* x) {
    THREAD(i, n);
    x[i] = value;
}
