//! The rows of a panel of C in strips of tiles.

use super::ahead::Ahead;
use super::product::{Operands, Part, ROWS};
use super::tile::{Seen, Strip, strip};
use super::vector::Vector;
use crate::gemm::{Beside, Store};

/// Rows of a tile of one or two registers.
const TALL: usize = 12;

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

/// All rows of C over the panel's steps, for its columns; `FAR` where something may be asked for ahead.
#[inline(always)]
pub(super) unsafe fn rows<V: Vector, const FAR: bool>(store: Store, part: Part, o: &Operands<V::T>, p: Panel<V::T>) {
    let ahead = [Ahead::new::<V>(o, p.k0 + p.kc, p.j, p.width), Ahead::of_a::<V>(o, p.k0, p.kc, p.j, p.width)];
    // Tile by tile only where something comes between them.
    let alone = FAR && ahead.iter().any(Ahead::wanted);
    let narrow = const { V::ACROSS >= 4 } && p.width <= 2 * V::LANES;
    let mut i = 0;
    while i < o.m {
        let left = o.m - i;
        let tall = narrow && (left >= TALL || store == Store::Set && o.m >= TALL);
        let height = match left {
            _ if tall => TALL,
            6.. => ROWS,
            4.. => 4,
            2.. => 2,
            _ => 1,
        };
        // The last rows once more with those before them cost less than in small tiles.
        let from = i.min(o.m - height);
        let columns = Columns::of::<V::T>(part, &p, V::LANES, from, height);
        let mut tiles = 1;
        if !matches!(part, Part::Band(_)) {
            tiles = if alone { 1 } else { (left / height).max(1) };
        } else {
            while from + (tiles + 1) * height <= o.m
                && columns == Columns::of::<V::T>(part, &p, V::LANES, from + tiles * height, height)
            {
                tiles += 1;
            }
        }
        if FAR {
            ahead.iter().for_each(|a| a.ask::<V>(i, height, o.m));
        }
        i = from + tiles * height;
        if columns.width == 0 {
            continue;
        }
        // SAFETY: rows from .. from + tiles · height exist; the rest is the caller's promise.
        unsafe {
            match height {
                TALL => {
                    if const { V::ACROSS >= 4 } {
                        across::<V, TALL>(store, part, o, &p, columns, from, tiles);
                    }
                }
                ROWS => across::<V, ROWS>(store, part, o, &p, columns, from, tiles),
                4 => across::<V, 4>(store, part, o, &p, columns, from, tiles),
                2 => across::<V, 2>(store, part, o, &p, columns, from, tiles),
                _ => across::<V, 1>(store, part, o, &p, columns, from, tiles),
            }
        }
    }
}

/// The columns of a panel that a tile computes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Columns {
    /// Left out at the beginning.
    skipped: usize,
    /// None if 0.
    width: usize,
}

impl Columns {
    /// Of `height` rows from row i on: whole registers but for the panel's last.
    #[inline(always)]
    fn of<T>(part: Part, p: &Panel<T>, lanes: usize, i: usize, height: usize) -> Self {
        let Part::Band(Beside { before, behind }) = part else {
            return Self { skipped: 0, width: p.width };
        };
        let needed = (i + height + behind).saturating_sub(p.j).next_multiple_of(lanes).min(p.width);
        let skipped = i.saturating_sub(before).saturating_sub(p.j) / lanes * lanes;
        Self { skipped, width: needed.saturating_sub(skipped) }
    }
}

/// Tiles of R rows from row i on: as many registers across as their columns need.
#[inline(always)]
unsafe fn across<V: Vector, const R: usize>(
    store: Store,
    part: Part,
    o: &Operands<V::T>,
    p: &Panel<V::T>,
    Columns { skipped, width }: Columns,
    i: usize,
    tiles: usize,
) {
    let seen = match part {
        Part::CausalInner(beside) => Some(Seen { i, k0: p.k0, beside }),
        Part::Whole | Part::Band(_) => None,
    };
    let last = match width % V::LANES {
        0 => V::LANES,
        rest => rest,
    };
    // SAFETY: the tiles lie inside C, and the panel's steps inside A's columns and b's rows as far as they are seen.
    unsafe {
        let s = Strip {
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
        };
        // Conditions that are constants: what they exclude is never compiled.
        match width.div_ceil(V::LANES) {
            1 => strip::<V, R, 1>(store, &s),
            2 => {
                if const { V::ACROSS >= 2 } {
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
