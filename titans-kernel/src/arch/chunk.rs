//! The coefficients of a chunk's tokens, and scores scaled by them, for any [`Vector`].

use super::dispatch::{Job, SimdScalar};
use super::unroll::each;
use super::vector::Vector;
use crate::arithmetic::{
    Arithmetic, Factors, GROUP, Portable, RateScaling, Recurrence, ScaledRows, ScoreScaling, fading, least, spent,
};
use crate::part::Parts;
use crate::scalar::Scalar;

/// Registers of C and of P that go through all tokens side by side.
const WIDE: usize = 4;

impl<T: SimdScalar> Recurrence<'_, T> {
    pub(super) fn portable(self) {
        Portable.recur(self);
    }
}

impl<T: SimdScalar> Job<T> for Recurrence<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(mut self) {
        if !self.check() {
            return;
        }
        let n = self.factors.len();
        for j in (0..self.offset + n).step_by(WIDE * V::LANES) {
            // SAFETY: `check` found n + 1 rows of `chunk` columns, and j lies inside them. The instructions are the
            // caller's promise.
            unsafe { columns::<V>(&mut self, j) };
        }
    }
}

/// Columns of C and P from number j on.
struct ChunkColumns<V: Vector> {
    c: [V; WIDE],
    p: [V; WIDE],
    /// Columns in a row from j on.
    width: usize,
}

/// All rows of [`WIDE`] registers of columns, which stay in registers; A, G and Π η on the way.
#[inline(always)]
unsafe fn columns<V: Vector>(r: &mut Recurrence<'_, V::T>, j: usize) {
    let zero = V::T::ZERO;
    // SAFETY: the caller's promise: rows 0 ..= n have `chunk` columns, j among them.
    unsafe {
        let (c, p) = (r.c.as_mut_ptr().add(j), r.p.as_mut_ptr().add(j));
        let mut block = ChunkColumns { c: [V::splat(zero); WIDE], p: [V::splat(zero); WIDE], width: r.chunk - j };
        // What row 0 holds of them; the others are 0 until their token comes.
        let filled = r.offset.saturating_sub(j);
        each!(J < 4 => {
            let some = filled.saturating_sub(J * V::LANES).min(V::LANES);
            if some > 0 {
                block.c[J] = V::load_first(c.add(J * V::LANES), some);
                block.p[J] = V::load_first(p.add(J * V::LANES), some);
            }
        });
        for t in 0..r.factors.len() {
            if j == 0 {
                r.numbers(t);
            }
            let i = r.offset + t;
            if i < j {
                continue;
            }
            let (f, at) = (&r.factors.item(t), (t + 1) * r.chunk);
            let (born, lane) = ((i - j) / V::LANES, (i - j) % V::LANES);
            let (c, p) = (c.add(at), p.add(at));
            match born {
                0 => row::<V, 1>(&mut block, f, Some(lane), c, p),
                1 => row::<V, 2>(&mut block, f, Some(lane), c, p),
                2 => row::<V, 3>(&mut block, f, Some(lane), c, p),
                // One copy for both: a second one would be 2 KB of the library for every instruction set.
                _ => row::<V, 4>(&mut block, f, (born == 3).then_some(lane), c, p),
            }
        }
    }
}

/// The next row of the first N registers: in the last of them a token's own number begins at `lane`.
#[inline(always)]
unsafe fn row<V: Vector, const N: usize>(
    block: &mut ChunkColumns<V>,
    f: &Factors<V::T>,
    lane: Option<usize>,
    c: *mut V::T,
    p: *mut V::T,
) {
    // SAFETY: as `columns`.
    unsafe {
        if f.writes {
            let (keep, eta) = (V::splat(f.keep), V::splat(f.eta));
            let [least, fading, spent] = [least(), fading(), spent()].map(|x| V::splat(x));
            each!(J < N => {
                let p = block.p[J].mul(eta);
                block.c[J] = block.c[J].mul(keep).add(p).flush(least);
                block.p[J] = p.flush(block.c[J].mul(fading)).flush(spent);
            });
        }
        // What lies in the lane before its token comes may have met a gate that is not a number.
        if let Some(lane) = lane {
            let own = V::splat(if f.writes { V::T::ONE } else { V::T::ZERO });
            block.c[N - 1] = own.keep(lane, lane + 1, block.c[N - 1]);
            block.p[N - 1] = own.keep(lane, lane + 1, block.p[N - 1]);
        }
        each!(J < N => {
            let at = J * V::LANES;
            if at + V::LANES <= block.width {
                block.c[J].store(c.add(at));
                block.p[J].store(p.add(at));
            } else {
                let some = block.width.saturating_sub(at);
                block.c[J].store_first(c.add(at), some);
                block.p[J].store_first(p.add(at), some);
            }
        });
    }
}

impl<T: SimdScalar> ScoreScaling<'_, T> {
    pub(super) fn portable(self) {
        Portable.scale_scores(self);
    }
}

impl<T: SimdScalar> Job<T> for ScoreScaling<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        if !self.check() {
            return;
        }
        let zero = T::ZERO;
        for t in 0..self.n {
            let visible = self.visible.0 + t * self.visible.1;
            // SAFETY: `check` found `seen` ≥ `visible` numbers in every row, and as many rates as are visible. The
            // instructions are the caller's promise.
            unsafe {
                let (c, rate) = (self.c.as_ptr().add(t * self.c_stride), self.rate.as_ptr());
                let row = self.scores.as_mut_ptr().add(t * self.stride);
                let mut i = 0;
                while i + V::LANES <= visible {
                    let weight = V::load(c.add(i)).mul(V::load(rate.add(i)));
                    V::load(row.add(i)).mul(weight).store(row.add(i));
                    i += V::LANES;
                }
                while i < self.seen {
                    let (some, all) = (visible.saturating_sub(i).min(V::LANES), V::LANES.min(self.seen - i));
                    let mut x = V::splat(zero);
                    if some > 0 {
                        let weight = V::load_first(c.add(i), some).mul(V::load_first(rate.add(i), some));
                        x = V::load_first(row.add(i), some).mul(weight);
                    }
                    x.store_first(row.add(i), all);
                    i += V::LANES;
                }
            }
        }
    }
}

impl<T: SimdScalar> RateScaling<'_, T> {
    pub(super) fn portable(self) {
        Portable.scale_by_rates(self);
    }
}

impl<T: SimdScalar> Job<T> for RateScaling<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        if !self.check() {
            return;
        }
        let (n, columns, x_row) = (self.x.rows(), self.x.cols(), self.x.row_stride());
        // SAFETY: `check` found n rows of X, factors for each of them, and room for n rows of every group; a group is
        // whole registers wide. The instructions are the caller's promise.
        unsafe {
            let of_group = ScaledRows { tokens: n }.group(1);
            for t in 0..n {
                let [c, p] = self.factors(t).map(|f| V::splat(f));
                let row = self.x.data().as_ptr().wrapping_add(t * x_row);
                let mut out = self.out.as_mut_ptr().wrapping_add(t * ScaledRows::STEP);
                let mut j = 0;
                while j < columns {
                    let mut i = 0;
                    while i < GROUP {
                        let left = columns.saturating_sub(j + i);
                        let x = match left {
                            0 => V::splat(T::ZERO),
                            left if left < V::LANES => V::load_first(row.add(j + i), left),
                            _ => V::load(row.add(j + i)),
                        };
                        // Zeros behind the last column, whatever the factors are.
                        if left >= V::LANES {
                            c.mul(x).store(out.add(i));
                            p.mul(x).store(out.add(GROUP + i));
                        } else {
                            let zero = V::splat(T::ZERO);
                            c.mul(x).keep(0, left, zero).store(out.add(i));
                            p.mul(x).keep(0, left, zero).store(out.add(GROUP + i));
                        }
                        i += V::LANES;
                    }
                    out = out.wrapping_add(of_group);
                    j += GROUP;
                }
            }
        }
    }
}
