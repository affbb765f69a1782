// What the kernels of the linear memory share. Its pieces are `length` tokens each, the last may be shorter; a group of
// pieces follow one another from number `first` on. A unit is one piece of one memory: units are [pieces, M], memory b
// * heads + h belonging to head h of sequence b. Arrays of tokens are [batch, time, heads, width], those of a group
// [units, ...], rows of tokens `length` long whatever the piece.
//
// A state [M, 2, d_in, d_out] is W and behind it S. Without a clip their columns know nothing of one another.

struct Group {
    i64 memories, heads, time, length, first;
};
#define OF_GROUP i64 memories, i64 heads, i64 time, i64 length, i64 first

// A unit: its memory, its piece's number, first token and tokens, and the row of the first of them.
struct Piece {
    i64 memory, number, start, count, row;
};

__device__ inline Piece piece_of(const Group& all, i64 unit) {
    const i64 k = unit % all.memories, number = all.first + unit / all.memories, start = number * all.length;
    const i64 left = all.time - start;
    return Piece{k, number, start, left < all.length ? left : all.length,
                 (k / all.heads * all.time + start) * all.heads + k % all.heads};
}

// The piece's tokens from the t-th on.
__device__ inline Rows tokens_of(const Group& all, const Piece& at, i64 t, const float* x, i64 width) {
    return Rows{x + (at.row + t * all.heads) * width, all.heads * width, at.count - t, width};
}

// Gate 0, 1, 2 (alpha, theta, eta) of the piece's token t, of gates [batch, time, 3, heads].
__device__ inline i64 gate_of(const Group& all, const Piece& at, i64 t, i64 gate) {
    const i64 head = at.memory % all.heads;
    return ((at.row - head) / all.heads + t) * 3 * all.heads + gate * all.heads + head;
}

// Does the piece's token t write?
__device__ inline bool writes(const Group& all, const Piece& at, i64 t, i64 read_only, const unsigned* mask) {
    return !read_only && !(mask && mask[at.memory / all.heads * all.time + at.start + t] != 0);
}

// The row of coefficients that answers query t: after its write (1), before it (0), or its chunk's start (-1), where
// the gradients are taken too.
__device__ inline i64 answering(i64 t, i64 read, i64 chunk) { return read < 0 ? t / chunk * chunk : t + read; }

// The queries from .. to that a row answers.
struct Span {
    i64 from, to;
};

__device__ inline Span answered(i64 row, i64 read, i64 chunk, i64 m) {
    const i64 from = read == 1 ? row - 1 : row;
    const i64 to = read >= 0 ? from + 1 : row % chunk == 0 ? row + chunk : row;
    return Span{from, to < m ? to : m};
}

// What every unit has of coefficients, [units, 6, length]: A and G of the rows that answer the queries, A and G of the
// rows where the keys' gradients are taken, the tokens' weights in W and in S at the piece's end.
enum { A_READ, G_READ, A_KEYS, G_KEYS, IN_W, IN_S, COEFFICIENTS };

// Where the states at the pieces' starts are: of one piece in `every` in `kept`, memories `stride` apart; of the others
// in `between` [pieces, M, 2P], from piece `first` on.
struct States {
    float *kept, *between;
    i64 stride, every, first, memories, len;
};
#define OF_STATES float *kept, float *between, i64 stride, i64 every, i64 between_first

__device__ inline float* state_of(const States& s, const Piece& at) {
    if (at.number % s.every == 0)
        return s.kept ? s.kept + at.memory * s.stride + at.number / s.every * s.len : nullptr;
    return s.between ? s.between + ((at.number - s.first) * s.memories + at.memory) * s.len : nullptr;
}

// The residuals of all tokens, memories `stride` apart, token `first` the first that is there.
struct Residuals {
    float* start;
    i64 stride, first;
};

__device__ inline float* residual_of(const Residuals& x, const Piece& at, i64 t, i64 width) {
    return x.start + at.memory * x.stride + (at.start - x.first + t) * width;
}

__device__ inline Rows residuals_of(const Residuals& x, const Piece& at, i64 t, i64 width) {
    return Rows{residual_of(x, at, t, width), width, at.count - t, width};
}

// Rows t on of a unit's square, up to column `to`.
__device__ inline Rows square_of(const float* square, i64 unit, i64 length, i64 t, i64 count, i64 to) {
    return Rows{square + (unit * length + t) * length, length, count - t, to};
}
