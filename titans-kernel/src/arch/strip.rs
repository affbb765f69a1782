//! The rows of a panel of C in strips of tiles.

use super::prefetch::{NextBlocks, OwnRows, Prefetch};
use super::product::{Operands, ProductPart, ROWS};
use super::tile::{SeenSteps, TileStrip, strip};
use super::vector::Vector;
use crate::arithmetic::{Beside, Store};

/// Rows of a tile of one or two registers.
const TALL: usize = 12;
/// Rows of a tile of one register.
const TALLEST: usize = 16;

/// Columns of C and the steps of k that are at work.
#[derive(Clone, Copy)]
pub(super) struct Panel<T> {
    /// First step.
    pub k0: usize,
    /// Steps.
    pub kc: usize,
    /// Those rows and columns of B, in whole registers.
    pub b: *const T,
    pub b_row: usize,
    /// First column.
    pub j: usize,
    /// Columns.
    pub width: usize,
}

/// All rows of C over the panel's steps, for its columns; `BLOCKED` where something may be prefetched.
#[inline(always)]
pub(super) unsafe fn rows<V: Vector, const BLOCKED: bool>(
    store: Store,
    part: ProductPart,
    o: &Operands<V::T>,
    p: Panel<V::T>,
) {
    let next = if BLOCKED { Some(Prefetch::new::<V>(part, o, &p)) } else { None };
    let own = next.as_ref().map_or(OwnRows::NONE, |next| next.own);
    let mut i = 0;
    while i < o.m {
        let (columns, end) = TileColumns::of(part, &p, V::LANES, i, o.m);
        let (left, registers) = (end - i, columns.width.div_ceil(V::LANES));
        // The last rows computed again with those before them in one tall tile cost less than in small tiles.
        let again = store == Store::Set;
        let height = match left {
            _ if const { V::ACROSS < 4 } || registers > 2 => low(left),
            13.. if registers == 1 && (left >= TALLEST || again && end >= TALLEST) => TALLEST,
            7.. if left >= TALL || again && end >= TALL => TALL,
            3..=6 if again && end >= ROWS => 4 + left / 5 * 2,
            _ => low(left),
        };
        let from = i.min(end - height);
        // One tile at a time only where each prefetches something.
        let mut blocks = next.as_ref().and_then(|next| next.next_blocks(o, &p, i, height));
        let tiles = if blocks.is_some() { 1 } else { left.checked_div(height).unwrap_or(1).max(1) };
        let blocks = blocks.as_mut().map_or(core::ptr::null_mut(), core::ptr::from_mut);
        i = from + tiles * height;
        if columns.width == 0 {
            continue;
        }
        // SAFETY: rows from .. from + tiles · height exist; the rest is the caller's promise.
        unsafe {
            match height {
                TALLEST => {
                    if const { V::ACROSS >= 4 } {
                        across::<V, TALLEST>(store, part, o, &p, columns, TileRows { from, tiles, own, blocks });
                    }
                }
                TALL => {
                    if const { V::ACROSS >= 4 } {
                        across::<V, TALL>(store, part, o, &p, columns, TileRows { from, tiles, own, blocks });
                    }
                }
                ROWS => across::<V, ROWS>(store, part, o, &p, columns, TileRows { from, tiles, own, blocks }),
                4 => across::<V, 4>(store, part, o, &p, columns, TileRows { from, tiles, own, blocks }),
                2 => across::<V, 2>(store, part, o, &p, columns, TileRows { from, tiles, own, blocks }),
                _ => across::<V, 1>(store, part, o, &p, columns, TileRows { from, tiles, own, blocks }),
            }
        }
    }
}

/// The columns of a panel that a tile computes.
#[derive(Clone, Copy)]
struct TileColumns {
    /// Left out at the beginning.
    skipped: usize,
    /// None if 0.
    width: usize,
}

/// Tiles one below the other.
struct TileRows<T> {
    /// First row.
    from: usize,
    tiles: usize,
    own: OwnRows,
    /// What they prefetch; null for nothing, and if they are several.
    blocks: *mut NextBlocks<T>,
}

impl TileColumns {
    /// The columns of row i, and the first row whose columns differ: whole registers but for the panel's last.
    #[inline(always)]
    fn of<T>(part: ProductPart, p: &Panel<T>, lanes: usize, i: usize, m: usize) -> (Self, usize) {
        let ProductPart::Band(Beside { before, behind }) = part else {
            return (Self { skipped: 0, width: p.width }, m);
        };
        let needed = (i + 1 + behind).saturating_sub(p.j).next_multiple_of(lanes);
        let skipped = i.saturating_sub(before).saturating_sub(p.j) / lanes * lanes;
        let more = if needed < p.width { (needed + p.j).saturating_sub(behind) } else { m };
        let fewer = before.saturating_add(p.j + skipped + lanes);
        (Self { skipped, width: needed.min(p.width).saturating_sub(skipped) }, more.min(fewer).clamp(i + 1, m))
    }
}

/// Rows of a tile of any width.
#[inline(always)]
fn low(left: usize) -> usize {
    match left {
        6.. => ROWS,
        4.. => 4,
        2.. => 2,
        _ => 1,
    }
}

/// Tiles of R rows from row i on: as many registers across as their columns need.
#[inline(always)]
unsafe fn across<V: Vector, const R: usize>(
    store: Store,
    part: ProductPart,
    o: &Operands<V::T>,
    p: &Panel<V::T>,
    TileColumns { skipped, width }: TileColumns,
    TileRows { from: i, tiles, own, blocks }: TileRows<V::T>,
) {
    let seen = match part {
        ProductPart::CausalInner(beside) => Some(SeenSteps { i, k0: p.k0, beside }),
        ProductPart::Whole | ProductPart::Band(_) => None,
    };
    let last = match width % V::LANES {
        0 => V::LANES,
        rest => rest,
    };
    // SAFETY: the tiles lie inside C, and the panel's steps inside A's columns and b's rows as far as they are seen.
    unsafe {
        let s = TileStrip {
            a: o.a.add(i * o.a_row + p.k0 * o.a_col),
            a_row: o.a_row,
            a_col: o.a_col,
            b: p.b.add(skipped),
            b_row: p.b_row,
            c: o.c.add(i * o.c_row + p.j + skipped),
            c_row: o.c_row,
            kc: p.kc,
            last,
            tiles,
            seen,
            own,
            blocks,
        };
        // Conditions that are constants: what they exclude is never compiled.
        match width.div_ceil(V::LANES) {
            1 => strip::<V, R, 1>(store, &s),
            2 => {
                if const { V::ACROSS >= 2 && R < TALLEST } {
                    strip::<V, R, 2>(store, &s);
                }
            }
            3 => {
                if const { V::ACROSS >= 3 && R < TALL } {
                    strip::<V, R, 3>(store, &s);
                }
            }
            _ => {
                if const { V::ACROSS >= 4 && R < TALL } {
                    strip::<V, R, 4>(store, &s);
                }
            }
        }
    }
}
