// Products of tiles of 64 rows in shared memory, by a block of 16 x 16 threads: thread (y, x) has rows y, y + 16, y +
// 32, y + 48 of a result and columns x, x + 16, ... What lies beyond an array's rows and columns counts as 0.

#define PART 32 // columns of two factors that are in shared memory at once
#define EACH 4  // rows, and columns, of a thread

// Rows of one head: row r of them at start + r * stride, `count` of them, `width` wide.
struct Rows {
    const float* start;
    i64 stride, count, width;
};

__device__ inline int row_of(int a) { return (int)threadIdx.x / 16 + 16 * a; }
__device__ inline int column_of(int a) { return (int)threadIdx.x % 16 + 16 * a; }

// COLUMNS columns from `first` on; `to` has a row of COLUMNS + 1.
template <int COLUMNS> __device__ inline void load_tile(Rows rows, i64 first, float* to) {
    const int own = (int)threadIdx.x / COLUMNS, c = (int)threadIdx.x % COLUMNS, step = BLOCK / COLUMNS;
    const float* from = rows.start + own * rows.stride + first + c;
    const int count = first + c < rows.width ? (int)rows.count : 0;
    UNROLL(4)
    for (int r = own; r < TILE; r += step, from += step * rows.stride) to[r * (COLUMNS + 1) + c] = r < count ? *from : 0.0f;
}

// out[a][b] = the product of row row_of(a) of `left` and row column_of(b) of `right`, PART columns after PART columns.
__device__ inline void row_products(Rows left, Rows right, float (*l)[PART + 1], float (*r)[TILE + 1],
                                    float (*out)[EACH]) {
    for (int a = 0; a < EACH; ++a)
        for (int b = 0; b < EACH; ++b) out[a][b] = 0.0f;
    float(*const narrow)[PART + 1] = (float(*)[PART + 1])r;
    for (i64 first = 0; first < left.width; first += PART) {
        __syncthreads(); // what was there is used
        load_tile<PART>(left, first, l[0]);
        load_tile<PART>(right, first, narrow[0]);
        __syncthreads();
        const int columns = left.width - first < PART ? (int)(left.width - first) : PART;
        UNROLL(4)
        for (int c = 0; c < columns; ++c) {
            float of_left[EACH], of_right[EACH];
            for (int a = 0; a < EACH; ++a) of_left[a] = l[row_of(a)][c], of_right[a] = narrow[column_of(a)][c];
            for (int a = 0; a < EACH; ++a)
                for (int b = 0; b < EACH; ++b) out[a][b] = fmaf(of_left[a], of_right[b], out[a][b]);
        }
    }
}

// Puts a thread's weights where all find them.
__device__ inline void share_weights(const float (*of_thread)[EACH], float (*weights)[TILE + 1]) {
    __syncthreads(); // what was there is used
    for (int a = 0; a < EACH; ++a)
        for (int b = 0; b < EACH; ++b) weights[row_of(a)][column_of(b)] = of_thread[a][b];
}

// out[a][b] += the sum over the rows j of weights[row_of(a)][j] (of the transpose: weights[j][row_of(a)]) times column
// first + column_of(b) of row j. The weights were just shared, and since then nobody has used `tile`.
__device__ inline void add_weighted(const float (*weights)[TILE + 1], bool transposed, Rows rows, i64 first,
                                    float (*tile)[TILE + 1], float (*out)[EACH]) {
    load_tile<TILE>(rows, first, tile[0]);
    __syncthreads();
    const int count = rows.count < TILE ? (int)rows.count : TILE;
    UNROLL(4)
    for (int j = 0; j < count; ++j) {
        float weight[EACH], value[EACH];
        for (int a = 0; a < EACH; ++a) {
            weight[a] = transposed ? weights[j][row_of(a)] : weights[row_of(a)][j];
            value[a] = tile[j][column_of(a)];
        }
        for (int a = 0; a < EACH; ++a)
            for (int b = 0; b < EACH; ++b) out[a][b] = fmaf(weight[a], value[b], out[a][b]);
    }
}

// Over the 16 threads that share a row.
__device__ inline float row_sum(float x) {
    for (int lanes = 8; lanes > 0; lanes /= 2) x += __shfl_xor_sync(ALL_LANES, x, lanes);
    return x;
}

__device__ inline float row_largest(float x) {
    for (int lanes = 8; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(ALL_LANES, x, lanes));
    return x;
}

// Writes columns first .. first + TILE of a thread's result; `out` is the first of `count` rows, `stride` apart.
__device__ inline void store_tile(const float (*of_thread)[EACH], i64 first, i64 count, i64 width, i64 stride, float* out) {
    for (int a = 0; a < EACH; ++a)
        for (int b = 0; b < EACH; ++b) {
            const i64 c = first + column_of(b);
            if (row_of(a) < count && c < width) out[row_of(a) * stride + c] = of_thread[a][b];
        }
}
