//! Rows read by weights of their own, `Z = diag(a) X W + diag(g) X S`: tiles that hold both products, or where
//! registers are few one after the other.
//!
//! Every element is two chains of fused multiply-adds over k in ascending order, from 0, then `a · (X W) + (g · (X S))`
//! with one rounding less, whatever the tile.

use super::dispatch::{Job, SimdScalar};
use super::unroll::{each, opaque};
use super::vector::Vector;
use crate::arithmetic::{Arithmetic, Blend, Portable};
use crate::scalar::Scalar;

/// Rows of a tile.
const ROWS: usize = 6;
/// Rows of a tile where fewer are left, or where a register has fewer columns than lanes.
const FEW: usize = 4;
/// Steps of k that are written out.
const UNROLLED: usize = 4;

/// Everything that tiles one below the other need; addresses are those of the first.
#[derive(Clone, Copy)]
struct BlendStrip<T> {
    tiles: usize,
    k: usize,
    x: *const T,
    x_row: usize,
    x_col: usize,
    w: *const T,
    w_row: usize,
    s: *const T,
    s_row: usize,
    z: *mut T,
    z_row: usize,
    a: *const T,
    g: *const T,
    /// From a row's factors to the next one's.
    step: usize,
    /// Columns of the last register, if they are not all.
    cut: usize,
}

impl<T: SimdScalar> Blend<'_, T> {
    pub(super) fn portable(self) {
        Portable.blend(self);
    }
}

impl<T: SimdScalar> Job<T> for Blend<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(mut self) {
        if !self.check() {
            return;
        }
        let n = self.z.rows();
        // A row that is left by itself has more of its columns beside each other.
        let last = usize::from(n > ROWS && n % ROWS == 1);
        for (from, rows) in [(0, n - last), (n - last, last)] {
            // SAFETY: `check` found the shapes to agree, and rows from .. from + rows exist. The instructions are the
            // caller's promise.
            unsafe { strips::<V>(&mut self, from, rows) }
        }
    }
}

/// Rows `from .. from + n` of a blend that was checked, strip by strip of its columns.
#[inline(always)]
unsafe fn strips<V: Vector>(b: &mut Blend<'_, V::T>, from: usize, n: usize) {
    let width = b.z.cols();
    // Two registers of columns: whole cache lines of W and S. Four for one or two rows, whose chains would wait for one
    // another.
    let wide = if n <= 2 { 4 } else { 2 } * V::LANES;
    let mut j = 0;
    while j < width && n > 0 {
        // What is not a whole register is a strip of its own.
        let left = width - j;
        let columns = match left / V::LANES {
            0 => left,
            4.. => wide,
            registers => registers.min(2) * V::LANES,
        };
        let strip = BlendStrip {
            tiles: n,
            k: b.x.cols(),
            x: b.x.data().as_ptr().wrapping_add(from * b.x.row_stride()),
            x_row: b.x.row_stride(),
            x_col: b.x.col_stride(),
            w: b.w.data().as_ptr().wrapping_add(j),
            w_row: b.w.row_stride(),
            s: b.s.data().as_ptr().wrapping_add(j),
            s_row: b.s.row_stride(),
            z: b.z.data_mut().as_mut_ptr().wrapping_add(from * b.z.row_stride() + j),
            z_row: b.z.row_stride(),
            a: b.a.as_ptr().wrapping_add(from * b.step),
            g: b.g.as_ptr().wrapping_add(from * b.step),
            step: b.step,
            cut: left,
        };
        // SAFETY: columns j .. j + columns of W, S and Z, the rows of X and a factor for every row exist, by the
        // caller's promise; Z is borrowed mutably and overlaps nothing.
        unsafe {
            match columns {
                _ if columns < V::LANES => rows::<V, 1, true>(strip),
                _ if columns > 2 * V::LANES => few::<V>(strip),
                _ if columns > V::LANES => rows::<V, 2, false>(strip),
                _ => rows::<V, 1, false>(strip),
            }
        }
        j += columns;
    }
}

/// One or two rows of four registers of columns.
#[inline(always)]
unsafe fn few<V: Vector>(s: BlendStrip<V::T>) {
    // SAFETY: the caller's promise.
    unsafe {
        match s.tiles {
            1 => strip::<V, 1, 4, false>(&s),
            _ => strip::<V, 2, 4, false>(&BlendStrip { tiles: 1, ..s }),
        }
    }
}

/// All rows (`s.tiles` of them) of N registers of columns. Where a tile is higher than what is left, it computes rows
/// once more that are done already: that costs less than smaller tiles.
#[inline(always)]
unsafe fn rows<V: Vector, const N: usize, const CUT: bool>(s: BlendStrip<V::T>) {
    let n = s.tiles;
    let mut i = 0;
    while i < n {
        let left = n - i;
        let (height, tiles) = match left {
            ROWS.. if !CUT => (ROWS, left / ROWS),
            5 if n >= ROWS && !CUT => (ROWS, 1),
            FEW.. => (FEW, left / FEW),
            2.. if n >= FEW => (FEW, 1),
            _ => (1, left),
        };
        let from = i.min(n - height);
        let s = BlendStrip {
            tiles,
            x: s.x.wrapping_add(from * s.x_row),
            z: s.z.wrapping_add(from * s.z_row),
            a: s.a.wrapping_add(from * s.step),
            g: s.g.wrapping_add(from * s.step),
            ..s
        };
        // SAFETY: rows from .. from + tiles · height exist; the rest is the caller's promise.
        unsafe {
            match height {
                ROWS => {
                    if const { !CUT } {
                        strip::<V, 6, N, CUT>(&s);
                    }
                }
                FEW => strip::<V, 4, N, CUT>(&s),
                _ => strip::<V, 1, N, CUT>(&s),
            }
        }
        i = from + tiles * height;
    }
}

/// Tiles of R rows and N registers, in a function of its own: see the strips of a product.
#[inline(always)]
unsafe fn strip<V: Vector, const R: usize, const N: usize, const CUT: bool>(s: &BlendStrip<V::T>) {
    // SAFETY: the caller's promise: V's instructions are enabled here, and all tiles lie inside X, W, S and Z.
    unsafe {
        V::apart(
            #[inline(always)]
            || {
                let (mut x, mut z, mut a, mut g) = (s.x, s.z, s.a, s.g);
                for _ in 0..s.tiles {
                    let s = &*opaque(s);
                    tile::<V, R, N, CUT>(&BlendStrip { x, z, a, g, ..*s });
                    (x, z) = (x.wrapping_add(R * s.x_row), z.wrapping_add(R * s.z_row));
                    (a, g) = (a.wrapping_add(R * s.step), g.wrapping_add(R * s.step));
                }
            },
        );
    }
}

#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const N: usize, const CUT: bool>(s: &BlendStrip<V::T>) {
    // SAFETY: R rows of X and Z with their factors and k rows of N registers (or of `cut` columns) of W and S are
    // valid, by the caller's promise.
    unsafe {
        let zero = V::splat(V::T::ZERO);
        let (mut by_w, mut by_s) = ([[zero; N]; R], [[zero; N]; R]);
        let together = const { V::ACROSS >= 4 || N == 1 || R == 1 };
        if together {
            chain::<V, R, N, CUT, true>(&mut by_w, &mut by_s, s, s.w, s.w_row);
        } else {
            // Z keeps X W meanwhile.
            chain::<V, R, N, CUT, false>(&mut by_w, &mut by_s, s, s.w, s.w_row);
            each!(I < R => each!(J < N => by_w[I][J].store(s.z.add(I * s.z_row + J * V::LANES))));
            chain::<V, R, N, CUT, false>(&mut by_s, &mut by_w, s, s.s, s.s_row);
        }
        each!(I < R => {
            let (a, g) = (V::splat(*s.a.add(I * s.step)), V::splat(*s.g.add(I * s.step)));
            each!(J < N => {
                let to = s.z.add(I * s.z_row + J * V::LANES);
                let by_w = if together { by_w[I][J] } else { V::load(to) };
                let z = a.mul_add(by_w, g.mul(by_s[I][J]));
                if CUT { z.store_first(to, s.cut) } else { z.store(to) }
            });
        });
    }
}

/// The chains of a tile over all of k: with the rows of one matrix from `w` on, or (`BOTH`) also with those of S.
#[inline(always)]
unsafe fn chain<V: Vector, const R: usize, const N: usize, const CUT: bool, const BOTH: bool>(
    by_w: &mut [[V; N]; R],
    by_s: &mut [[V; N]; R],
    s: &BlendStrip<V::T>,
    mut w: *const V::T,
    w_row: usize,
) {
    // SAFETY: as `tile`. Pointers end a step behind the last one, which may be behind the matrix.
    unsafe {
        let (mut m, mut left) = (s.s, s.k);
        // A pointer for every three rows, as in the tiles of a product.
        let mut at = [s.x; 6];
        each!(G < 6 => at[G] = s.x.wrapping_add(if 3 * G < R { 3 * G * s.x_row } else { 0 }));
        if s.x_col == 1 {
            while left >= UNROLLED {
                each!(U < 4 => {
                    step::<V, R, N, CUT, BOTH>(by_w, by_s, at, U, s, w, m);
                    (w, m) = (w.wrapping_add(w_row), m.wrapping_add(s.s_row));
                });
                each!(G < 6 => if 3 * G < R {
                    at[G] = opaque(at[G].wrapping_add(UNROLLED));
                });
                left -= UNROLLED;
            }
        }
        while left > 0 {
            step::<V, R, N, CUT, BOTH>(by_w, by_s, at, 0, s, w, m);
            (w, m) = (w.wrapping_add(w_row), m.wrapping_add(s.s_row));
            each!(G < 6 => if 3 * G < R {
                at[G] = at[G].wrapping_add(s.x_col);
            });
            left -= 1;
        }
    }
}

/// One step of k: R numbers of X, `u` behind the pointers `at`, times a row of W, and of S too if `BOTH`.
#[inline(always)]
unsafe fn step<V: Vector, const R: usize, const N: usize, const CUT: bool, const BOTH: bool>(
    by_w: &mut [[V; N]; R],
    by_s: &mut [[V; N]; R],
    at: [*const V::T; 6],
    u: usize,
    s: &BlendStrip<V::T>,
    w: *const V::T,
    m: *const V::T,
) {
    // SAFETY: as `tile`.
    unsafe {
        let (mut row_w, mut row_s) = ([V::splat(V::T::ZERO); N], [V::splat(V::T::ZERO); N]);
        each!(J < N => {
            let (w, m) = (w.add(J * V::LANES), m.wrapping_add(J * V::LANES));
            row_w[J] = if CUT { V::load_first(w, s.cut) } else { V::load(w) };
            if BOTH {
                row_s[J] = if CUT { V::load_first(m, s.cut) } else { V::load(m) };
            }
        });
        each!(I < R => {
            let x = V::splat(*at[I / 3].add(u + I % 3 * s.x_row));
            each!(J < N => {
                by_w[I][J] = x.mul_add(row_w[J], by_w[I][J]);
                if BOTH {
                    by_s[I][J] = x.mul_add(row_s[J], by_s[I][J]);
                }
            });
        });
    }
}
