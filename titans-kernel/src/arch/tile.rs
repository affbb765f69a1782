//! Register tiles of a product, one below the other.

use super::prefetch::{NextBlocks, NextTile, OwnRows, STEPS};
use super::unroll::{each, opaque};
use super::vector::Vector;
use crate::arithmetic::{Beside, Store};
use crate::scalar::Scalar;

/// Steps of k that are written out.
const UNROLLED: usize = STEPS;

/// Where the numbers of a strip's first tile lie, and how many tiles there are.
#[derive(Clone, Copy)]
pub(super) struct TileStrip<T> {
    pub a: *const T,
    pub a_row: usize,
    pub a_col: usize,
    pub b: *const T,
    pub b_row: usize,
    pub c: *mut T,
    pub c_row: usize,
    pub kc: usize,
    /// Columns in the last register.
    pub last: usize,
    pub tiles: usize,
    /// Which steps the rows see; none: all.
    pub seen: Option<SeenSteps>,
    /// Whose rows of the next tile are prefetched on the way.
    pub own: OwnRows,
    /// What else is; null for nothing.
    pub blocks: *mut NextBlocks<T>,
}

/// The strip begins with row i of C and step k0; row r of C sees the steps from `before` before r to `behind` behind
/// it.
#[derive(Clone, Copy)]
pub(super) struct SeenSteps {
    pub i: usize,
    pub k0: usize,
    pub beside: Beside,
}

/// The steps over k of a tile of a causal product: first steps that no row sees (`unseen`), then steps that all rows
/// see (`all`), then the `corner`, each of whose steps is seen by one row fewer, beginning with the rows from `first`
/// on.
#[derive(Clone, Copy)]
struct Steps {
    unseen: usize,
    all: usize,
    first: usize,
    corner: usize,
}

impl SeenSteps {
    /// For R rows that begin `down` rows below the strip's first.
    #[inline(always)]
    fn steps<const R: usize>(&self, down: usize, kc: usize) -> Steps {
        let (i, Beside { before, behind }) = (self.i + down, self.beside);
        // The first row sees so many steps, counted from step 0 of k.
        let sees = behind + i + 1;
        let end = sees.saturating_sub(self.k0).min(kc);
        let unseen = i.saturating_sub(before).saturating_sub(self.k0).min(end);
        let corner = (sees + R - 1).saturating_sub(self.k0).min(kc) - end;
        Steps { unseen, all: end - unseen, first: (self.k0 + end + 1).saturating_sub(sees), corner }
    }
}

/// Tiles of R rows by N registers of C, in a function of its own: among the conditions around it the compiler would
/// keep the addresses of all rows in memory.
#[inline(always)]
pub(super) unsafe fn strip<V: Vector, const R: usize, const N: usize>(store: Store, s: &TileStrip<V::T>) {
    // SAFETY: the caller's promise: V's instructions are enabled here, and all elements addressed lie inside A, the
    // panel of B, and C.
    unsafe {
        V::apart(
            #[inline(always)]
            || {
                let (mut a, mut c) = (s.a, s.c);
                for n in 0..s.tiles {
                    let s = &*opaque(s);
                    let steps = match &s.seen {
                        None => Steps { unseen: 0, all: s.kc, first: 0, corner: 0 },
                        Some(seen) => seen.steps::<R>(n * R, s.kc),
                    };
                    if steps.all + steps.unseen + steps.corner > 0 || store == Store::Set {
                        tile::<V, R, N>(store, s, a, c, steps);
                    }
                    (a, c) = (a.wrapping_add(R * s.a_row), c.wrapping_add(R * s.c_row));
                }
            },
        );
    }
}

/// One tile: C's elements, or zeros, then the steps that all rows see, then the corner.
#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const N: usize>(
    store: Store,
    s: &TileStrip<V::T>,
    a: *const V::T,
    c: *mut V::T,
    steps: Steps,
) {
    // SAFETY: as `strip`. Pointers end a step behind the last one, which may be behind the matrix.
    unsafe {
        let mut sum = [[V::splat(V::T::ZERO); N]; R];
        if store != Store::Set {
            if s.last == V::LANES {
                load::<V, R, N, false>(c, s, &mut sum);
            } else {
                load::<V, R, N, true>(c, s, &mut sum);
            }
        }
        if store == Store::Sub {
            each!(I < R => each!(J < N => sum[I][J] = sum[I][J].neg()));
        }
        let mut a = a.add(steps.unseen * s.a_col);
        let mut b = s.b.add(steps.unseen * s.b_row);
        let (mut left, blocks) = (steps.all, s.blocks);
        let asks = s.own.any() || !blocks.is_null();
        if s.a_col == 1 {
            // A pointer for every three rows, moved once in four steps: a pointer for every row would not leave
            // registers for them, and their additions fill the front end.
            let mut at = [a; 6];
            each!(G < 6 => at[G] = a.wrapping_add(if 3 * G < R { 3 * G * s.a_row } else { 0 }));
            let mut next = NextTile::new::<R>(s, a);
            while left >= UNROLLED {
                // One condition where nothing is asked for, as in all small products.
                if asks {
                    next.some::<V, R, N>(s, c.cast_const());
                    if !blocks.is_null() {
                        (*blocks).some::<V>();
                    }
                }
                each!(U < 4 => {
                    let mut row = [V::splat(V::T::ZERO); N];
                    each!(J < N => row[J] = V::load(b.add(J * V::LANES)));
                    each!(I < R => {
                        let x = V::splat(*at[I / 3].add(U + I % 3 * s.a_row));
                        each!(J < N => sum[I][J] = x.mul_add(row[J], sum[I][J]));
                    });
                    b = b.wrapping_add(s.b_row);
                });
                each!(G < 6 => if 3 * G < R {
                    at[G] = opaque(at[G].wrapping_add(UNROLLED));
                });
                left -= UNROLLED;
            }
            a = at[0];
        } else if s.a_row == 1 {
            while left > 0 {
                if !blocks.is_null() && left.is_multiple_of(UNROLLED) {
                    (*blocks).some::<V>();
                }
                step::<V, R, N>(&mut sum, a, 1, b, 0);
                (a, b, left) = (a.wrapping_add(s.a_col), b.wrapping_add(s.b_row), left - 1);
            }
        }
        while left > 0 {
            step::<V, R, N>(&mut sum, a, s.a_row, b, 0);
            (a, b, left) = (a.wrapping_add(s.a_col), b.wrapping_add(s.b_row), left - 1);
        }
        for n in 0..steps.corner {
            step::<V, R, N>(&mut sum, a, s.a_row, b, steps.first + n);
            (a, b) = (a.wrapping_add(s.a_col), b.wrapping_add(s.b_row));
        }
        if store == Store::Sub {
            each!(I < R => each!(J < N => sum[I][J] = sum[I][J].neg()));
        }
        if s.last == V::LANES {
            write::<V, R, N, false>(c, s, &sum);
        } else {
            write::<V, R, N, true>(c, s, &sum);
        }
    }
}

/// Rows of C in groups of three, so that the addresses of all rows need not be kept.
#[inline(always)]
fn group<T>(c: *mut T, s: &TileStrip<T>, g: usize) -> *mut T {
    opaque(c.wrapping_add(3 * g * s.c_row).cast_const()).cast_mut()
}

/// A tile of C; `CUT` where the last register has fewer columns than lanes.
#[inline(always)]
unsafe fn load<V: Vector, const R: usize, const N: usize, const CUT: bool>(
    c: *mut V::T,
    s: &TileStrip<V::T>,
    sum: &mut [[V; N]; R],
) {
    // SAFETY: as `strip`.
    unsafe {
        each!(G < 6 => if 3 * G < R {
            let at = group(c, s, G);
            each!(I < 3 => if 3 * G + I < R {
                each!(J < N => {
                    let p = at.add(I * s.c_row + J * V::LANES);
                    sum[3 * G + I][J] = if CUT && J + 1 == N { V::load_first(p, s.last) } else { V::load(p) };
                });
            });
        });
    }
}

/// A tile to C, as [`load`].
#[inline(always)]
unsafe fn write<V: Vector, const R: usize, const N: usize, const CUT: bool>(
    c: *mut V::T,
    s: &TileStrip<V::T>,
    sum: &[[V; N]; R],
) {
    // SAFETY: as `strip`.
    unsafe {
        each!(G < 6 => if 3 * G < R {
            let at = group(c, s, G);
            each!(I < 3 => if 3 * G + I < R {
                each!(J < N => {
                    let (x, p) = (sum[3 * G + I][J], at.add(I * s.c_row + J * V::LANES));
                    if CUT && J + 1 == N { x.store_first(p, s.last) } else { x.store(p) }
                });
            });
        });
    }
}

/// One step of k for the tile's rows from `first` on.
#[inline(always)]
unsafe fn step<V: Vector, const R: usize, const N: usize>(
    sum: &mut [[V; N]; R],
    a: *const V::T,
    a_row: usize,
    b: *const V::T,
    first: usize,
) {
    // SAFETY: the caller's promise: N registers of b and rows `first` .. R of a are valid.
    unsafe {
        let mut row = [V::splat(V::T::ZERO); N];
        each!(J < N => row[J] = V::load(b.add(J * V::LANES)));
        each!(I < R => {
            if I >= first {
                let x = V::splat(*a.add(I * a_row));
                each!(J < N => sum[I][J] = x.mul_add(row[J], sum[I][J]));
            }
        });
    }
}
