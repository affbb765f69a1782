//! What the chunk form does with W and S at once: rows read by a blend of both, and a chunk's tokens closed into them
//! (`docs/MATH.md` section 3).

use super::{Arithmetic, GROUP, Store, scaled_len};
use crate::part::{Parts, sure};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// `Z = diag(a) X W + diag(g) X S`: every row x of X read by weights of its own, a W + g S.
///
/// An element is `a · (x W) + (g · (x S))`, its two chains as those of [`Arithmetic::gemm`] with `Set`.
#[derive(Debug)]
pub struct Blend<'a, T> {
    /// X, n rows.
    pub x: Mat<'a, T>,
    /// Row r's factor of W is `a[r · step]` …
    pub a: &'a [T],
    /// … and its factor of S `g[r · step]`.
    pub g: &'a [T],
    /// 1, or 0 where all rows have the same.
    pub step: usize,
    /// W, rows without gaps between their columns.
    pub w: Mat<'a, T>,
    /// S, likewise.
    pub s: Mat<'a, T>,
    /// Z, n rows; its old values are not read.
    pub z: MatMut<'a, T>,
}

impl<T: Scalar> Blend<'_, T> {
    /// Whether the sizes agree, as they do.
    ///
    /// # Panics
    /// With the feature `strict`, when they disagree.
    #[must_use]
    pub(crate) fn check(&self) -> bool {
        let (n, width, k) = (self.z.rows(), self.z.cols(), self.x.cols());
        sure!(self.x.rows() == n, "rows of a blend", false);
        for weights in [self.w, self.s] {
            sure!(
                weights.rows() == k && weights.cols() == width && weights.col_stride() == 1,
                "weights of a blend",
                false
            );
        }
        sure!([self.a, self.g].iter().all(|x| holds(x.len(), n, self.step)), "factors of a blend", false);
        true
    }
}

/// Whether `len` numbers hold one for each of n rows, `step` apart.
fn holds(len: usize, n: usize, step: usize) -> bool {
    n == 0 || (n - 1).checked_mul(step).is_some_and(|last| last < len)
}

/// Where rows that were scaled in two ways lie: groups of [`GROUP`] columns, of each group the tokens one after
/// another, of each token its columns of C and then those of P.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScaledRows {
    /// n.
    pub(crate) tokens: usize,
}

impl ScaledRows {
    /// Elements from a token of a group to the next; P begins [`GROUP`] elements behind C.
    pub(crate) const STEP: usize = 2 * GROUP;

    /// Where a group's first token begins.
    #[inline(always)]
    pub(crate) const fn group(self, group: usize) -> usize {
        Self::STEP.saturating_mul(self.tokens).saturating_mul(group)
    }
}

/// [`Arithmetic::blend`] by small products.
#[inline(always)]
pub(super) fn blend<T: Scalar, G: Arithmetic<T> + ?Sized>(engine: &G, mut b: Blend<'_, T>) {
    const ROWS: usize = 4;
    const COLUMNS: usize = 8;
    if !b.check() {
        return;
    }
    let (n, width) = (b.z.rows(), b.z.cols());
    for i in (0..n).step_by(ROWS) {
        let rows = ROWS.min(n - i);
        let x = b.x.sub(i, rows);
        for j in (0..width).step_by(COLUMNS) {
            let columns = COLUMNS.min(width - j);
            let mut parts = [[T::ZERO; ROWS * COLUMNS]; 2];
            for (weights, part) in [b.w, b.s].into_iter().zip(&mut parts) {
                if let Ok(part) = MatMut::new(part.part_mut(..rows * columns), rows, columns) {
                    engine.gemm(Store::Set, x, weights.block(0, weights.rows(), j, columns), part);
                }
            }
            for r in 0..rows {
                let (a, g) = (b.a.item((i + r) * b.step), b.g.item((i + r) * b.step));
                let parts = parts.each_ref().map(|part| part.part(r * columns..).part(..columns));
                for ((z, &by_w), &by_s) in
                    b.z.row_mut(i + r).part_mut(j..j + columns).iter_mut().zip(parts[0]).zip(parts[1])
                {
                    // Scaled behind the chains, not a W + g S before: no row needs weights of its own in memory.
                    *z = a * by_w + g * by_s;
                }
            }
        }
    }
}

/// `−diag(c ∘ rate) X` and `−diag(p ∘ rate) X` side by side, as [`Arithmetic::update`] takes them.
#[derive(Debug)]
pub struct RateScaling<'a, T> {
    /// X, n rows without gaps between their columns.
    pub x: Mat<'a, T>,
    /// Row r's numbers are `by[0][r · by_step]` for C and `by[1][r · by_step]` for P …
    pub by: [&'a [T]; 2],
    /// (1, or 0 where all rows have the same)
    pub by_step: usize,
    /// … times `rate[r · rate_step]`.
    pub rate: &'a [T],
    /// As `by_step`.
    pub rate_step: usize,
    /// [`scaled_len`](super::scaled_len) elements.
    pub out: &'a mut [T],
}

impl<T: Scalar> RateScaling<'_, T> {
    /// Whether the sizes agree, as they do.
    ///
    /// # Panics
    /// With the feature `strict`, when they disagree.
    #[must_use]
    pub(crate) fn check(&self) -> bool {
        let n = self.x.rows();
        sure!(self.x.col_stride() == 1 || self.x.cols() == 0, "rows to be scaled", false);
        sure!(self.out.len() >= scaled_len(n, self.x.cols()), "room for scaled rows", false);
        sure!(self.by.iter().all(|x| holds(x.len(), n, self.by_step)), "numbers that rows are scaled by", false);
        sure!(holds(self.rate.len(), n, self.rate_step), "rates that rows are scaled by", false);
        true
    }

    /// Row t's two factors.
    #[inline(always)]
    pub(crate) fn factors(&self, t: usize) -> [T; 2] {
        self.by.map(|by| -(by.item(t * self.by_step) * self.rate.item(t * self.rate_step)))
    }
}

/// [`Arithmetic::scale_by_rates`] row by row.
#[inline(always)]
pub(super) fn scale_by_rates<T: Scalar>(w: RateScaling<'_, T>) {
    if !w.check() {
        return;
    }
    let (n, columns) = (w.x.rows(), w.x.cols());
    let rows = ScaledRows { tokens: n };
    for t in 0..n {
        let factors = w.factors(t);
        for (group, j) in (0..columns).step_by(GROUP).enumerate() {
            let x = w.x.row(t).part(j..columns.min(j + GROUP));
            let row = w.out.part_mut(rows.group(group) + t * ScaledRows::STEP..).part_mut(..ScaledRows::STEP);
            for (out, f) in row.chunks_exact_mut(GROUP).zip(factors) {
                out.iter_mut().zip(x).for_each(|(o, &x)| *o = f * x);
                out.part_mut(x.len()..).fill(T::ZERO);
            }
        }
    }
}

/// `W ← a W + g S + Hᵀ C`, `S ← e S + Hᵀ P`.
///
/// Versions with fused multiply-add begin with the chain over H's rows, from 0, and add g S and a W (e S) to it; others
/// begin with a W + g S.
#[derive(Debug)]
pub struct Update<'a, T> {
    /// a, g and e.
    pub decay: [T; 3],
    /// H, `[n, rows of W]`.
    pub h: Mat<'a, T>,
    /// C and P in groups of [`GROUP`] columns ([`scaled_len`](super::scaled_len) elements, as
    /// [`Arithmetic::scale_by_rates`] writes them): of each group n rows of C's columns and then P's, zeros behind the
    /// last column.
    pub scaled: &'a [T],
    /// A panel of W.
    pub w: MatMut<'a, T>,
    /// The same panel of S.
    pub s: MatMut<'a, T>,
    /// Elements from W and S to what will be needed next, which may be prefetched meanwhile; 0 where that is in the
    /// cache.
    pub ahead: usize,
    /// So many of H's first rows whose P is 0: they may be left out of S.
    pub faded: usize,
}

impl<T: Scalar> Update<'_, T> {
    /// Whether the sizes agree, as they do.
    ///
    /// # Panics
    /// With the feature `strict`, when they disagree.
    #[must_use]
    pub(crate) fn check(&self) -> bool {
        let (rows, width) = (self.w.rows(), self.w.cols());
        sure!(self.h.cols() == rows && self.s.rows() == rows && self.s.cols() == width, "shapes of an update", false);
        sure!(self.scaled.len() >= scaled_len(self.h.rows(), width), "rows of an update", false);
        sure!(self.faded <= self.h.rows(), "faded rows of an update", false);
        true
    }
}

/// [`Arithmetic::update`] by products.
#[inline(always)]
pub(super) fn update<T: Scalar, G: Arithmetic<T> + ?Sized>(engine: &G, u: Update<'_, T>) {
    if !u.check() {
        return;
    }
    let Update { decay: [a, g, e], h, scaled, mut w, mut s, .. } = u;
    // Decayed first: the products' chains over the tokens go on from there.
    engine.vectorise(
        #[inline(always)]
        || decay(a, g, e, w.rb(), s.rb()),
    );
    let (rows, columns) = (h.rows(), w.cols());
    for (group, j) in (0..columns).step_by(GROUP).enumerate() {
        let width = GROUP.min(columns - j);
        let c = scaled.part(ScaledRows { tokens: rows }.group(group)..);
        for (x, out) in [(c, w.rb()), (c.get(GROUP..).unwrap_or(&[]), s.rb())] {
            if let Ok(x) = Mat::strided(x, rows, width, ScaledRows::STEP, 1) {
                engine.gemm(Store::Add, h.t(), x, out.columns(j, width));
            }
        }
    }
}

/// `W ← a W + g S`, `S ← e S`.
#[inline(always)]
fn decay<T: Scalar>(a: T, g: T, e: T, mut w: MatMut<'_, T>, mut s: MatMut<'_, T>) {
    for i in 0..w.rows() {
        for (w, s) in w.row_mut(i).iter_mut().zip(s.row_mut(i)) {
            *w = a * *w + g * *s; // by S as it was before the chunk
            *s = e * *s;
        }
    }
}
