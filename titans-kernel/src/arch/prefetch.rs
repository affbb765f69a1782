//! Software prefetch for products: what the next tiles need is loaded into the cache while this one is at work.
//!
//! A core waits for some tens of cache lines at a time, so that lines are asked for a few at a time between steps of k:
//! all at once they would hold up the tile that asks.

use super::product::{A_BYTES, BLOCK_BYTES, Operands, ProductPart};
use super::strip::Panel;
use super::tile::TileStrip;
use super::vector::Vector;
use crate::scalar::Scalar;

/// Bytes of a cache line.
const LINE: usize = 64;
/// Steps of k of a group, between which lines are asked for.
pub(super) const STEPS: usize = 4;

/// Rows of a block that will be needed.
#[derive(Clone, Copy)]
struct BlockRows<T> {
    at: *const T,
    stride: usize,
    /// Bytes of a row, of which `done` are asked for.
    bytes: usize,
    done: usize,
    rows: usize,
}

impl<T: Scalar> BlockRows<T> {
    const NONE: Self = Self { at: core::ptr::null(), stride: 0, bytes: 0, done: 0, rows: 0 };

    #[inline(always)]
    fn new(at: *const T, stride: usize, bytes: usize, rows: usize) -> Self {
        Self { at, stride, bytes, done: 0, rows: if bytes > 0 { rows } else { 0 } }
    }

    #[inline(always)]
    fn lines(&self) -> usize {
        self.rows * self.bytes.div_ceil(LINE)
    }

    /// The share of `height` of m rows of tiles, from row i on, in all of the rows.
    #[inline(always)]
    fn share(&self, i: usize, height: usize, m: usize) -> Self {
        if self.rows == 0 {
            return Self::NONE; // before the divisions, which take as long as a small tile
        }
        let m = m.max(1);
        let (from, to) = (i * self.rows / m, ((i + height) * self.rows / m).min(self.rows));
        Self { at: self.at.wrapping_add(from * self.stride), rows: to.saturating_sub(from), ..*self }
    }
}

/// What a panel's tiles prefetch.
pub(super) struct Prefetch<T> {
    /// Of A and C what the next tile needs.
    pub(super) own: OwnRows,
    /// The block of B that comes next, and that of A where it is read across its rows.
    blocks: [BlockRows<T>; 2],
}

/// Whose rows of the next tile are prefetched.
#[derive(Clone, Copy)]
pub(super) struct OwnRows {
    /// A's, where they are read along and not in the cache yet.
    a: bool,
    /// C's.
    c: bool,
}

impl OwnRows {
    pub(super) const NONE: Self = Self { a: false, c: false };

    #[inline(always)]
    pub(super) fn any(self) -> bool {
        self.a || self.c
    }
}

impl<T: Scalar> Prefetch<T> {
    #[inline(always)]
    pub(super) fn new<V: Vector<T = T>>(part: ProductPart, o: &Operands<T>, p: &Panel<T>) -> Self {
        let whole = part == ProductPart::Whole;
        let a = whole && p.j == 0 && o.a_col == 1 && o.m * o.k * T::BYTES >= A_BYTES / 2;
        let c = whole && p.k0 == 0 && o.m * o.n * T::BYTES >= A_BYTES / 2;
        Self { own: OwnRows { a, c }, blocks: [block_of_b(o, p), block_of_a(o, p)] }
    }

    /// What the tile of `height` rows from row i on prefetches of the next blocks. Where that is nothing a strip may be
    /// several tiles.
    #[inline(always)]
    pub(super) fn next_blocks(&self, o: &Operands<T>, p: &Panel<T>, i: usize, height: usize) -> Option<NextBlocks<T>> {
        let wanted = self.blocks.iter().any(|block| block.rows > 0);
        wanted.then(|| NextBlocks::of(self.blocks.map(|block| block.share(i, height, o.m)), p.kc))
    }
}

/// The rows of A and C of the tile behind this one, of R rows and N registers.
pub(super) struct NextTile<T> {
    own: OwnRows,
    /// Of A: where, the columns that are asked for, and rows that are left.
    a: *const T,
    column: usize,
    rows: usize,
    /// Lines of C that are asked for.
    lines: usize,
}

impl<T: Scalar> NextTile<T> {
    #[inline(always)]
    pub(super) fn new<const R: usize>(s: &TileStrip<T>, a: *const T) -> Self {
        Self { own: s.own, a: a.wrapping_add(R * s.a_row), column: 0, rows: R, lines: 0 }
    }

    /// Asks for some lines, between two groups of steps. (Behind the last row of A or C they are of no use, and no
    /// harm.)
    #[inline(always)]
    pub(super) fn some<V: Vector<T = T>, const R: usize, const N: usize>(&mut self, s: &TileStrip<T>, c: *const T) {
        if self.own.a && self.rows > 0 {
            V::prefetch(self.a.wrapping_add(self.column));
            V::prefetch(self.a.wrapping_add(self.column + V::LANES));
            self.column += 2 * V::LANES;
            if self.column >= s.kc {
                (self.a, self.column, self.rows) = (self.a.wrapping_add(s.a_row), 0, self.rows - 1);
            }
        }
        if self.own.c && self.lines < R * N {
            self.line_of_c::<V, R, N>(s, c);
            if s.kc < STEPS * R * N {
                self.line_of_c::<V, R, N>(s, c);
            }
        }
    }

    #[inline(always)]
    fn line_of_c<V: Vector<T = T>, const R: usize, const N: usize>(&mut self, s: &TileStrip<T>, c: *const T) {
        V::prefetch(c.wrapping_add((R + self.lines / N) * s.c_row + self.lines % N * V::LANES));
        self.lines += 1;
    }
}

/// Behind the last block comes the next panel; a small matrix is in the cache anyway.
#[inline(always)]
fn block_of_b<T: Scalar>(o: &Operands<T>, p: &Panel<T>) -> BlockRows<T> {
    let (next, bytes) = (p.k0 + p.kc, p.width * T::BYTES);
    let (k, j) = if next < o.k { (next, p.j) } else { (0, p.j + p.width) };
    let some = o.b_col == 1 && j < o.n && o.k * o.n * T::BYTES > 2 * BLOCK_BYTES;
    let rows = if some { (BLOCK_BYTES / bytes.max(1)).min(o.k - k) } else { 0 };
    BlockRows::new(o.b.wrapping_add(k * o.b_row + j), o.b_row, bytes, rows)
}

/// A read across its rows lies far apart: the steps that come next, while the first panel passes by, and those of the
/// next block of steps while the last one does.
#[inline(always)]
fn block_of_a<T: Scalar>(o: &Operands<T>, p: &Panel<T>) -> BlockRows<T> {
    let next = p.k0 + p.kc;
    let first = p.j == 0 && next < o.k;
    let last = p.j + p.width >= o.n && next >= o.k;
    let rows = if o.a_row == 1 && o.m * o.k * T::BYTES >= A_BYTES / 2 && (first || last) { p.kc } else { 0 };
    BlockRows::new(o.a.wrapping_add(next * o.a_col), o.a_col, o.m * T::BYTES, rows)
}

/// Cache lines that a tile asks for, so many between two groups of steps that all are asked for at its end.
pub(super) struct NextBlocks<T> {
    now: BlockRows<T>,
    rest: [BlockRows<T>; 2],
    at: usize,
    /// Lines between two groups of steps.
    rate: usize,
}

impl<T: Scalar> NextBlocks<T> {
    #[inline(always)]
    fn of(rest: [BlockRows<T>; 2], kc: usize) -> Self {
        let lines: usize = rest.iter().map(BlockRows::lines).sum();
        Self { now: BlockRows::NONE, rest, at: 0, rate: lines.div_ceil((kc / STEPS).max(1)) }
    }

    /// Asks for the next lines.
    #[inline(always)]
    pub(super) fn some<V: Vector<T = T>>(&mut self) {
        for _ in 0..self.rate {
            while self.now.rows == 0 {
                let Some(&next) = self.rest.get(self.at) else {
                    self.rate = 0;
                    return;
                };
                (self.now, self.at) = (next, self.at + 1);
            }
            V::prefetch(self.now.at.wrapping_byte_add(self.now.done));
            self.now.done += LINE;
            if self.now.done >= self.now.bytes {
                self.now.at = self.now.at.wrapping_add(self.now.stride);
                (self.now.done, self.now.rows) = (0, self.now.rows - 1);
            }
        }
    }
}
