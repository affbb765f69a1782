// What attention forward and backward share. q, y: [batch, time, heads, c]; k, v of tokens and of the context: [batch,
// time, kv_heads, c]; persistent ones: [batch, persistent, kv_heads, c]. Queries and keys that have a position come
// rotated; `q` is not, and meets the persistent keys. Token i sees tokens (and context rows) of its window, or of its
// segment where that is not 0; both 0: it sees all.

// The tokens from .. to - 1.
struct Seen {
    i64 from, to;
};

// What token i sees of `all` tokens.
__device__ inline Seen seen_by(i64 i, i64 all, i64 window, i64 segment) {
    if (segment) return Seen{i - i % segment, i + 1};
    if (window) return Seen{i + 1 > window ? i + 1 - window : 0, i + 1};
    return Seen{0, all};
}

// `count` rows of a head, TILE at the most, from row `first` of sequence b on, of an array [batch, rows, heads, width].
__device__ inline Rows head_rows(const float* x, i64 b, i64 rows, i64 first, i64 heads, i64 head, i64 width) {
    const i64 left = rows - first;
    return Rows{x + ((b * rows + first) * heads + head) * width, heads * width, left < TILE ? left : TILE, width};
}

// A tile of queries of one head, and the columns of the result that a block makes: units are [batch, heads, tiles,
// parts].
struct QueryTile {
    i64 b, head, kv, first, count, column;
};

__device__ inline QueryTile query_tile(i64 unit, i64 time, i64 heads, i64 kv_heads, i64 width) {
    const i64 parts = (width + TILE - 1) / TILE, tiles = (time + TILE - 1) / TILE;
    const i64 head = unit / parts / tiles % heads, first = unit / parts % tiles * TILE;
    return QueryTile{unit / parts / tiles / heads, head, head / (heads / kv_heads), first,
                     time - first < TILE ? time - first : TILE, unit % parts * TILE};
}
