//! Closing a chunk: W and S of a panel in one visit, as tiles that hold both.

use super::unroll::{each, opaque};
use super::vector::Vector;
use crate::arithmetic::{GROUP, ScaledRows, Update};
use crate::scalar::Scalar;

/// Rows of a tile.
const ROWS: usize = 6;
/// Tokens that are written out.
const UNROLLED: usize = 4;

/// Everything that tiles one below the other need; addresses are those of the first.
#[derive(Clone, Copy)]
struct UpdateStrip<T> {
    decay: [T; 3],
    tiles: usize,
    tokens: usize,
    /// Tokens whose P is 0.
    faded: usize,
    h: *const T,
    h_token: usize,
    h_row: usize,
    /// C's columns, P's [`GROUP`] numbers behind them: [`ScaledRows`].
    scaled: *const T,
    w: *mut T,
    w_row: usize,
    s: *mut T,
    s_row: usize,
    /// Columns in the last register.
    last: usize,
    /// From W and S to what is needed next; 0: nothing is prefetched.
    ahead: usize,
}

/// `W ← a W + g S + Hᵀ C`, `S ← e S + Hᵀ P`: see [`crate::Arithmetic::update`].
///
/// # Safety
/// Only inside a function that enables V's instructions.
///
/// # Panics
/// When the shapes do not fit.
#[inline(always)]
pub(super) unsafe fn update<V: Vector>(u: Update<'_, V::T>) {
    if !u.check() {
        return;
    }
    let Update { decay, h, scaled, mut w, mut s, ahead, faded } = u;
    let (tokens, rows, width) = (h.rows(), w.rows(), w.cols());
    let (h_data, h_token, h_row) = (h.data().as_ptr(), h.row_stride(), h.col_stride());
    let (w_row, s_row) = (w.row_stride(), s.row_stride());
    let (w, s) = (w.data_mut().as_mut_ptr(), s.data_mut().as_mut_ptr());
    // W and S side by side take twice the registers of a product, so half as many columns.
    let wide = V::ACROSS / 2 * V::LANES;
    let mut j = 0;
    while j < width {
        let columns = wide.min(width - j);
        let last = match columns % V::LANES {
            0 => V::LANES,
            rest => rest,
        };
        let at = ScaledRows { tokens }.group(j / GROUP) + j % GROUP;
        let mut i = 0;
        while i < rows {
            let left = rows - i;
            let height = match left {
                6.. => ROWS,
                4.. => 4,
                2.. => 2,
                _ => 1,
            };
            let tiles = left / height;
            // SAFETY: rows i .. i + tiles · height and column j lie inside W, S and H's columns; a group is whole tiles
            // wide, so `scaled` holds whole registers for every token, if there is one. W and S are borrowed mutably
            // and overlap nothing.
            unsafe {
                let t = UpdateStrip {
                    decay,
                    tiles,
                    tokens,
                    faded,
                    h: h_data.wrapping_add(i * h_row),
                    h_token,
                    h_row,
                    scaled: scaled.as_ptr().wrapping_add(at),
                    w: w.add(i * w_row + j),
                    w_row,
                    s: s.add(i * s_row + j),
                    s_row,
                    last,
                    ahead,
                };
                match height {
                    ROWS => across::<V, ROWS>(&t, columns),
                    4 => across::<V, 4>(&t, columns),
                    2 => across::<V, 2>(&t, columns),
                    _ => across::<V, 1>(&t, columns),
                }
            }
            i += tiles * height;
        }
        j += columns;
    }
}

#[inline(always)]
unsafe fn across<V: Vector, const R: usize>(t: &UpdateStrip<V::T>, columns: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        match columns.div_ceil(V::LANES) {
            1 => strip::<V, R, 1>(t),
            _ if V::ACROSS >= 4 => strip::<V, R, 2>(t),
            _ => {}
        }
    }
}

/// Tiles of R rows and N registers, in a function of its own: see the strips of a product.
#[inline(always)]
unsafe fn strip<V: Vector, const R: usize, const N: usize>(t: &UpdateStrip<V::T>) {
    // SAFETY: the caller's promise: V's instructions are enabled here, and all tiles lie inside W, S and H.
    unsafe {
        V::apart(
            #[inline(always)]
            || {
                let (mut h, mut w, mut s) = (t.h, t.w, t.s);
                for _ in 0..t.tiles {
                    let t = &*opaque(t);
                    tile::<V, R, N>(&UpdateStrip { h, w, s, ..*t });
                    h = h.wrapping_add(R * t.h_row);
                    (w, s) = (w.wrapping_add(R * t.w_row), s.wrapping_add(R * t.s_row));
                }
            },
        );
    }
}

#[inline(always)]
unsafe fn tile<V: Vector, const R: usize, const N: usize>(t: &UpdateStrip<V::T>) {
    // SAFETY: R rows and N registers (the last of them with `last` columns) of W and S, `tokens` rows of N registers of
    // C and P and of R numbers of H are valid, by the caller's promise; any address may be prefetched.
    unsafe {
        // W and S come last, so that nothing waits for them; and what is needed after this panel.
        if t.ahead > 0 {
            each!(I < R => each!(J < N => {
                let (w, s) = (t.w.wrapping_add(I * t.w_row + J * V::LANES), t.s.wrapping_add(I * t.s_row + J * V::LANES));
                V::prefetch(w);
                V::prefetch(s);
                V::prefetch(w.wrapping_add(t.ahead));
                V::prefetch(s.wrapping_add(t.ahead));
            }));
        }
        let zero = V::splat(V::T::ZERO);
        let (mut by_c, mut by_p) = ([[zero; N]; R], [[zero; N]; R]);
        // Two texts of one loop: where H's rows are columns of one array, its addresses are constants.
        if t.h_row == 1 {
            chain(&mut by_c, &mut by_p, t, 1);
        } else {
            chain(&mut by_c, &mut by_p, t, t.h_row);
        }
        let [a, g, e] = [V::splat(t.decay[0]), V::splat(t.decay[1]), V::splat(t.decay[2])];
        each!(I < R => each!(J < N => {
            let (to_w, to_s) = (t.w.add(I * t.w_row + J * V::LANES), t.s.add(I * t.s_row + J * V::LANES));
            let whole = J + 1 < N || t.last == V::LANES;
            let w = if whole { V::load(to_w) } else { V::load_first(to_w, t.last) };
            let s = if whole { V::load(to_s) } else { V::load_first(to_s, t.last) };
            let (w, s) = (a.mul_add(w, g.mul_add(s, by_c[I][J])), e.mul_add(s, by_p[I][J]));
            if whole {
                w.store(to_w);
                s.store(to_s);
            } else {
                w.store_first(to_w, t.last);
                s.store_first(to_s, t.last);
            }
        }));
    }
}

/// The chains of a tile over all tokens.
#[inline(always)]
unsafe fn chain<V: Vector, const R: usize, const N: usize>(
    by_c: &mut [[V; N]; R],
    by_p: &mut [[V; N]; R],
    t: &UpdateStrip<V::T>,
    h_row: usize,
) {
    // SAFETY: as `tile`. Pointers end a token behind the last one.
    unsafe {
        let (mut h, mut scaled) = (t.h, t.scaled);
        let mut left = t.faded;
        while left > 0 {
            step::<V, R, N, false>(by_c, by_p, h, h_row, scaled);
            (h, scaled, left) = (h.wrapping_add(t.h_token), scaled.wrapping_add(ScaledRows::STEP), left - 1);
        }
        left = t.tokens - t.faded;
        while left >= UNROLLED {
            each!(U < 4 => {
                step::<V, R, N, true>(by_c, by_p, h, h_row, scaled.add(U * ScaledRows::STEP));
                h = h.wrapping_add(t.h_token);
            });
            scaled = scaled.wrapping_add(UNROLLED * ScaledRows::STEP);
            left -= UNROLLED;
        }
        while left > 0 {
            step::<V, R, N, true>(by_c, by_p, h, h_row, scaled);
            (h, scaled, left) = (h.wrapping_add(t.h_token), scaled.wrapping_add(ScaledRows::STEP), left - 1);
        }
    }
}

/// One token: R numbers of H times registers of C and, unless it has faded, of P.
#[inline(always)]
unsafe fn step<V: Vector, const R: usize, const N: usize, const BOTH: bool>(
    by_c: &mut [[V; N]; R],
    by_p: &mut [[V; N]; R],
    h: *const V::T,
    h_row: usize,
    scaled: *const V::T,
) {
    // SAFETY: as `tile`.
    unsafe {
        let (mut c, mut p) = ([V::splat(V::T::ZERO); N], [V::splat(V::T::ZERO); N]);
        each!(J < N => {
            c[J] = V::load(scaled.add(J * V::LANES));
            if BOTH {
                p[J] = V::load(scaled.add(GROUP + J * V::LANES));
            }
        });
        each!(I < R => {
            let x = V::splat(*h.add(I * h_row));
            each!(J < N => {
                by_c[I][J] = x.mul_add(c[J], by_c[I][J]);
                if BOTH {
                    by_p[I][J] = x.mul_add(p[J], by_p[I][J]);
                }
            });
        });
    }
}
