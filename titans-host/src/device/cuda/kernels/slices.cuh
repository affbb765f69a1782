// Products with a slice of a memory's columns, 16 COLS of them at the most, by a block of 16 x 16 threads: thread (y,
// x) has rows y, y + 16, y + 32, y + 48 of a tile and columns x, x + 16, ... of the slice. W and S lie in shared memory
// across all pieces, row by row, `slice` columns each.

#define SLAB 4096 // numbers of W, and of S
#define STEP 16   // of a sum's terms so many are in shared memory at once
#define MOST 32   // columns

// What a block's threads share beside W and S: a step of the left factor, and of the right one by two weights.
struct Steps {
    float (*left)[STEP + 1];
    float (*right)[MOST];
    float (*other)[MOST];
};

// The slice's columns of a state's matrix.
struct Columns {
    i64 rows, width, first, count;
};

template <int COLS> __device__ inline void clear_tile(float (*x)[COLS]) {
    for (int a = 0; a < EACH; ++a)
        for (int b = 0; b < COLS; ++b) x[a][b] = 0.0f;
}

// A matrix [rows, width] and its slice in shared memory; what the slice lacks is 0.
__device__ inline void load_columns(const Columns& at, i64 slice, const float* from, float* to) {
    for (i64 e = threadIdx.x; e < at.rows * slice; e += BLOCK)
        to[e] = e % slice < at.count ? from[e / slice * at.width + at.first + e % slice] : 0.0f;
}

__device__ inline void store_columns(const Columns& at, i64 slice, const float* from, float* to) {
    for (i64 e = threadIdx.x; e < at.rows * slice; e += BLOCK)
        if (e % slice < at.count) to[e / slice * at.width + at.first + e % slice] = from[e];
}

// Writes the slice's columns of up to 64 rows, which lie `stride` apart.
template <int COLS>
__device__ inline void store_slice(const float (*of_thread)[COLS], i64 count, const Columns& at, i64 stride,
                                   float* out) {
    for (int a = 0; a < EACH; ++a)
        for (int b = 0; b < COLS; ++b)
            if (row_of(a) < count && column_of(b) < at.count)
                out[row_of(a) * stride + at.first + column_of(b)] = of_thread[a][b];
}

// left[r][j] = element column + r of row first + j: a tile of the transpose.
__device__ inline void load_turned(Rows x, i64 first, i64 column, float (*left)[STEP + 1]) {
    const int r = (int)threadIdx.x % TILE, own = (int)threadIdx.x / TILE;
    for (int j = own; j < STEP; j += BLOCK / TILE) {
        const bool inside = first + j < x.count && column + r < x.width;
        left[r][j] = inside ? x.start[(first + j) * x.stride + column + r] : 0.0f;
    }
}

// right[j][c] = weight[first + j] times column c of row first + j, the slice's columns; no weight: 1.
template <int COLS>
__device__ inline void load_slice(Rows x, i64 first, const Columns& at, const float* weight, float (*right)[MOST]) {
    const int width = 16 * COLS, c = (int)threadIdx.x % width;
    for (int j = (int)threadIdx.x / width; j < STEP; j += BLOCK / width) {
        const bool inside = first + j < x.count && c < at.count;
        const float value = inside ? x.start[(first + j) * x.stride + at.first + c] : 0.0f;
        right[j][c] = inside && weight ? weight[first + j] * value : value;
    }
}

// sum[a][b] += the products of `terms` terms of a step.
template <int COLS>
__device__ inline void add_step(int terms, const float (*left)[STEP + 1], const float (*right)[MOST],
                                float (*sum)[COLS]) {
    UNROLL(4)
    for (int j = 0; j < terms; ++j) {
        float l[EACH], r[COLS];
        for (int a = 0; a < EACH; ++a) l[a] = left[row_of(a)][j];
        for (int b = 0; b < COLS; ++b) r[b] = right[j][column_of(b)];
        for (int a = 0; a < EACH; ++a)
            for (int b = 0; b < COLS; ++b) sum[a][b] = fmaf(l[a], r[b], sum[a][b]);
    }
}

__device__ inline int terms_of(i64 left) { return left < STEP ? (int)left : STEP; }

// of_w[a][b] = row row_of(a) of x times column column_of(b) of W, of_s the same of S.
template <int COLS>
__device__ inline void times_state(Rows x, const float* w, const float* s, i64 slice, const Steps& steps,
                                   float (*of_w)[COLS], float (*of_s)[COLS]) {
    clear_tile<COLS>(of_w), clear_tile<COLS>(of_s);
    // Columns beyond the slice repeat its last one, and are not asked for.
    int column[COLS];
    for (int b = 0; b < COLS; ++b) column[b] = column_of(b) < slice ? column_of(b) : (int)slice - 1;
    for (i64 first = 0; first < x.width; first += STEP) {
        __syncthreads(); // what was there is used
        load_tile<STEP>(x, first, steps.left[0]);
        __syncthreads();
        const int terms = terms_of(x.width - first);
        UNROLL(4)
        for (int j = 0; j < terms; ++j) {
            float l[EACH];
            for (int a = 0; a < EACH; ++a) l[a] = steps.left[row_of(a)][j];
            for (int b = 0; b < COLS; ++b) {
                const i64 e = (first + j) * slice + column[b];
                const float of_column = w[e], momentum = s[e];
                for (int a = 0; a < EACH; ++a) {
                    of_w[a][b] = fmaf(l[a], of_column, of_w[a][b]);
                    of_s[a][b] = fmaf(l[a], momentum, of_s[a][b]);
                }
            }
        }
    }
}

// sum[a][b] = row row_of(a) of `square` times column column_of(b) of `values`, whose rows are the square's columns.
template <int COLS>
__device__ inline void times_rows(Rows square, Rows values, const Columns& at, const Steps& steps, float (*sum)[COLS]) {
    clear_tile<COLS>(sum);
    for (i64 first = 0; first < square.width; first += STEP) {
        __syncthreads(); // what was there is used, and what the values are made of is written
        load_tile<STEP>(square, first, steps.left[0]);
        load_slice<COLS>(values, first, at, nullptr, steps.right);
        __syncthreads();
        add_step<COLS>(terms_of(square.width - first), steps.left, steps.right, sum);
    }
}

// The same of the transpose: column + row_of(a) of x times values, whose rows are x's.
template <int COLS>
__device__ inline void turned_times_rows(Rows x, i64 column, Rows values, const Columns& at, const Steps& steps,
                                         float (*sum)[COLS]) {
    clear_tile<COLS>(sum);
    for (i64 first = 0; first < x.count; first += STEP) {
        __syncthreads(); // what was there is used, and what the values are made of is written
        load_turned(x, first, column, steps.left);
        load_slice<COLS>(values, first, at, nullptr, steps.right);
        __syncthreads();
        add_step<COLS>(terms_of(x.count - first), steps.left, steps.right, sum);
    }
}

// of_w[a][b] += column + row_of(a) of x times the values, each row by its weight; of_s the same by other weights.
template <int COLS>
__device__ inline void add_outer(Rows x, i64 column, Rows values, const Columns& at, const float* in_w,
                                 const float* in_s, const Steps& steps, float (*of_w)[COLS], float (*of_s)[COLS]) {
    for (i64 first = 0; first < x.count; first += STEP) {
        __syncthreads(); // what was there is used, and what the values are made of is written
        load_turned(x, first, column, steps.left);
        load_slice<COLS>(values, first, at, in_w, steps.right);
        load_slice<COLS>(values, first, at, in_s, steps.other);
        __syncthreads();
        const int terms = terms_of(x.count - first);
        add_step<COLS>(terms, steps.left, steps.right, of_w);
        add_step<COLS>(terms, steps.left, steps.other, of_s);
    }
}

// one = a[row] one + b[row] two
template <int COLS>
__device__ inline void mix_rows(i64 count, const float* a, const float* b, float (*one)[COLS],
                                const float (*two)[COLS]) {
    for (int r = 0; r < EACH; ++r) {
        const float of_one = row_of(r) < count ? a[row_of(r)] : 0.0f, of_two = row_of(r) < count ? b[row_of(r)] : 0.0f;
        for (int c = 0; c < COLS; ++c) one[r][c] = of_one * one[r][c] + of_two * two[r][c];
    }
}
