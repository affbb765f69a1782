//! The heavy operations as a trait, [`Arithmetic`], and their portable implementation; first of all the matrix product.
//!
//! C = A B, C += A B or C −= A B: every implementation computes each element of C as one chain over k in ascending
//! order, starting from 0 (`Set`) or from C. So a row has the same bits whatever the number of rows it is computed
//! with, and a sum may be cut at any k and continued: that is what lets a stream equal a batch bit for bit.

pub(crate) mod blocks;
mod chunk;
mod panel;
mod silu;
mod softmax;
mod solve;
mod token;
mod weights;

pub use chunk::{Recurrence, ScoreScaling};
pub(crate) use chunk::{fading, least, momentum, spent};
pub use panel::panel;
pub use silu::{Silu, SiluOf};
pub use softmax::{Columns, QUERIES, SUMS, Seen};
pub use solve::{Order, SOLVED, Substitution};
#[cfg(test)]
pub(crate) use token::carry;
pub use token::{CARRIED, Carried, Carry, Factors, Learn, Probe, carry_len};
pub(crate) use token::{CarrySpace, tree};
pub(crate) use weights::ScaledRows;
pub use weights::{Blend, RateScaling, Update};

use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// What happens to the values that C holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// C = A B; C's old values are not read.
    Set,
    /// C += A B.
    Add,
    /// C −= A B.
    Sub,
}

/// The columns of a row that [`Arithmetic::band`] and [`Arithmetic::causal`] are asked for, counted from the diagonal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beside {
    /// Columns to the left of the diagonal; `usize::MAX` for all.
    pub before: usize,
    /// Columns to the right of the diagonal.
    pub behind: usize,
}

impl Beside {
    /// All columns up to `behind` the diagonal.
    pub const fn lower(behind: usize) -> Self {
        Self { before: usize::MAX, behind }
    }
}

/// The heavy operations, in one implementation for a processor: [`Portable`], [`Simd`](crate::arch::Simd) or a caller's
/// own.
///
/// Two methods must be written; the others have portable defaults.
///
/// ```
/// use titans_kernel::{Arithmetic, Mat, MatMut, Portable, Store};
///
/// /// Lends the kernel somebody else's product.
/// struct Lent;
///
/// impl Arithmetic<f32> for Lent {
///     fn gemm(&self, store: Store, a: Mat<'_, f32>, b: Mat<'_, f32>, c: MatMut<'_, f32>) {
///         Portable.gemm(store, a, b, c); // a call of a library
///     }
///     fn axpy(&self, store: Store, w: f32, x: &[f32], y: &mut [f32]) {
///         Portable.axpy(store, w, x, y);
///     }
/// }
///
/// let (x, w, mut out) = ([1.0, 2.0], [3.0, 4.0, 5.0, 6.0], [0.0; 2]);
/// Lent.vecmat(&x, &w, &mut out); // by the product
/// assert_eq!(out, [13.0, 16.0]);
/// ```
pub trait Arithmetic<T: Scalar> {
    /// `c (m × n)` from `a (m × k)` and `b (k × n)`. Views may be transposes.
    ///
    /// Shapes agree when the kernel calls; an implementation may panic when they do not.
    fn gemm(&self, store: Store, a: Mat<'_, T>, b: Mat<'_, T>, c: MatMut<'_, T>);

    /// `y += w x` or `y −= w x`, with the rounding of one step of [`Arithmetic::gemm`]'s chain.
    fn axpy(&self, store: Store, w: T, x: &[T], y: &mut [T]);

    /// `out = xᵀ`; what does not lie in both stays as it is.
    fn transpose(&self, x: Mat<'_, T>, mut out: MatMut<'_, T>) {
        for j in 0..out.rows().min(x.cols()) {
            out.row_mut(j).iter_mut().zip(0..x.rows()).for_each(|(to, r)| *to = x.at(r, j));
        }
    }

    /// Runs a loop the compiler may vectorise; an implementation may enable wider instructions around it.
    #[inline(always)]
    fn vectorise<R>(&self, body: impl FnOnce() -> R) -> R {
        body()
    }

    /// Like [`Arithmetic::gemm`] where row r of C uses only a's columns r − before ..= r + behind: causal.
    ///
    /// Elements of `a` to the right of them are not read, nor are the rows of `b` behind them. To the left of them `a`
    /// must be 0 and `b` finite: they may be left out or not.
    fn causal(&self, store: Store, beside: Beside, a: Mat<'_, T>, b: Mat<'_, T>, c: MatMut<'_, T>) {
        causal(self, store, beside.behind, a, b, c);
    }

    /// Like [`Arithmetic::gemm`] with `Set`, where row r of C is needed in columns r − before ..= r + behind only; what
    /// lies beside them is unspecified afterwards.
    fn band(&self, _: Beside, a: Mat<'_, T>, b: Mat<'_, T>, c: MatMut<'_, T>) {
        self.gemm(Store::Set, a, b, c);
    }

    /// The softmax of scores in columns: the largest score m of every query and its sum of `e^(scale (x − m))`.
    fn softmax_columns(&self, columns: Columns<'_, T>) -> [[T; QUERIES]; 2] {
        self.vectorise(
            #[inline(always)]
            || softmax::softmax(columns),
        )
    }

    /// The softmax of one query whose scores are a row of whole sixteens: as [`Arithmetic::softmax_columns`], with the
    /// same bits.
    fn softmax_row(&self, scale: T, row: &mut [T]) -> [T; 2] {
        self.vectorise(
            #[inline(always)]
            || softmax::row(scale, row),
        )
    }

    /// Every row of y times its factor; whether all of y is finite then.
    fn scale_rows(&self, factors: &[T], y: MatMut<'_, T>) -> bool {
        self.vectorise(
            #[inline(always)]
            || softmax::scale_rows(factors, y),
        )
    }

    /// The coefficients of a chunk's tokens; the same bits on every implementation.
    fn recur(&self, recurrence: Recurrence<'_, T>) {
        self.vectorise(
            #[inline(always)]
            || chunk::recur(recurrence),
        );
    }

    /// Scores times their tokens' coefficients and rates, 0 where a query does not see a token; the same bits on every
    /// implementation.
    fn scale_scores(&self, scaling: ScoreScaling<'_, T>) {
        self.vectorise(
            #[inline(always)]
            || chunk::scale_scores(scaling),
        );
    }

    /// Every row of X read by weights of its own: a row has the same bits whatever lies beside it.
    ///
    /// As in [`Arithmetic::gemm`], sizes agree when the kernel calls; this, [`Arithmetic::scale_by_rates`] and
    /// [`Arithmetic::update`] panic when they do not.
    fn blend(&self, blend: Blend<'_, T>) {
        weights::blend(self, blend);
    }

    /// Rows scaled in two ways; the same bits on every implementation.
    fn scale_by_rates(&self, scaling: RateScaling<'_, T>) {
        self.vectorise(
            #[inline(always)]
            || weights::scale_by_rates(scaling),
        );
    }

    /// Closes a chunk for one panel of W and S, in one visit.
    fn update(&self, update: Update<'_, T>) {
        weights::update(self, update);
    }

    /// Rows that follow from one another; a column has the same bits whatever lies beside it.
    ///
    /// Panics when sizes disagree.
    fn substitute(&self, substitution: Substitution<'_, T>) {
        solve::substitute(self, substitution);
    }

    /// SiLU and its derivatives; a number has the same bits whatever lies beside it.
    fn silu(&self, silu: Silu<'_, T>) {
        self.vectorise(
            #[inline(always)]
            || silu::silu(silu),
        );
    }

    /// `out = x W` for one row x, with W `x.len() × out.len()`.
    ///
    /// The order of the sum may differ from [`Arithmetic::gemm`]'s, but equals that of the probes of
    /// [`Arithmetic::learn`] and of [`Arithmetic::carry`]. As in all of these: shapes agree when the kernel calls.
    fn vecmat(&self, x: &[T], w: &[T], out: &mut [T]) {
        token::vecmat(self, x, w, out);
    }

    /// `out = W δ` for one column δ, with W `out.len() × delta.len()`: a residual passes back through a layer.
    fn matvec(&self, w: &[T], delta: &[T], out: &mut [T]) {
        token::matvec(self, w, delta, out);
    }

    /// One token's change of W and S, and products with the changed W.
    fn learn(&self, c: Learn<'_, T>, w: &mut [T], s: &mut [T], probes: [Option<Probe<'_, T>>; 2]) {
        token::learn(self, c, w, s, probes);
    }

    /// Tokens through a linear memory; the bits are those of [`Arithmetic::vecmat`] and [`Arithmetic::learn`] token by
    /// token.
    fn carry(&self, c: Carry<'_, T>, o: Carried<'_, T>) {
        token::carry(self, c, o);
    }
}

/// Columns of a panel of weights.
pub const PANEL: usize = 64;

/// Columns whose C and P lie side by side in [`Arithmetic::update`]: those of a chunk of 64 tokens fill half of a 32
/// KiB cache.
pub const GROUP: usize = 32;

/// Elements of [`Arithmetic::update`]'s C and P for n tokens and a panel of `width` columns; `usize::MAX` if that is
/// beyond counting.
pub const fn scaled_len(n: usize, width: usize) -> usize {
    // Where the group behind the last one would begin.
    ScaledRows { tokens: n }.group(width.div_ceil(GROUP))
}

/// [`Arithmetic::causal`] in products of four rows and single steps for their last columns.
#[inline(always)]
pub fn causal<T: Scalar, G: Arithmetic<T> + ?Sized>(
    g: &G,
    store: Store,
    offset: usize,
    a: Mat<'_, T>,
    b: Mat<'_, T>,
    mut c: MatMut<'_, T>,
) {
    const ROWS: usize = 4;
    let rest = if store == Store::Sub { Store::Sub } else { Store::Add };
    let mut r0 = 0;
    while r0 < c.rows() {
        let rows = ROWS.min(c.rows() - r0);
        let seen = |r: usize| offset.saturating_add(r0 + r + 1).min(a.cols());
        let shared = seen(0);
        let a_rows = a.sub(r0, rows);
        let mut block = c.rb().sub(r0, rows);
        g.gemm(store, a_rows.block(0, rows, 0, shared), b.sub(0, shared), block.rb());
        for r in 1..rows {
            for k in shared..seen(r) {
                g.axpy(rest, a_rows.at(r, k), b.row(k), block.row_mut(r));
            }
        }
        r0 += rows;
    }
}

/// One step of a chain: how `acc + a b` is rounded.
pub trait MulAdd<T> {
    /// acc + a b.
    fn mul_add(a: T, b: T, acc: T) -> T;
}

/// Two roundings: what every processor can do.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unfused;

impl<T: Scalar> MulAdd<T> for Unfused {
    #[inline(always)]
    fn mul_add(a: T, b: T, acc: T) -> T {
        acc + a * b
    }
}

/// The kernel's own matrix product: plain Rust, a 4 × 8 register block, about 2.5 KiB of stack.
///
/// ```
/// use titans_kernel::{Arithmetic, Mat, MatMut, Portable, Store};
///
/// let (a, mut c) = ([1.0, 2.0, 3.0, 4.0], [10.0; 4]);
/// let a = Mat::new(&a, 2, 2)?;
/// Portable.gemm(Store::Add, a, a.t(), MatMut::new(&mut c, 2, 2)?); // C += A Aᵀ
/// assert_eq!(c, [15.0, 21.0, 21.0, 35.0]);
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

impl<T: Scalar> Arithmetic<T> for Portable {
    fn gemm(&self, store: Store, a: Mat<'_, T>, b: Mat<'_, T>, mut c: MatMut<'_, T>) {
        let n = c.cols();
        let mut j = 0;
        while j < n {
            let width = 8.min(n - j);
            panel::<T, Unfused, 4, 8, 32>(store, a, b, &mut c, j, width);
            j += width;
        }
    }

    fn axpy(&self, store: Store, w: T, x: &[T], y: &mut [T]) {
        axpy::<T, Unfused>(store, w, x, y);
    }
}

/// `y ± w x`, element by element.
#[inline(always)]
pub fn axpy<T: Scalar, F: MulAdd<T>>(store: Store, w: T, x: &[T], y: &mut [T]) {
    let w = if store == Store::Sub { -w } else { w };
    for (y, &x) in y.iter_mut().zip(x) {
        *y = F::mul_add(w, x, *y);
    }
}

#[cfg(test)]
mod tests {
    use super::{Arithmetic, Beside, Portable, Store};
    use crate::view::{Mat, MatMut};

    fn fill(n: usize, seed: usize) -> [f64; 4096] {
        let mut d = [0.0; 4096];
        for (i, x) in d[..n].iter_mut().enumerate() {
            *x = (((i * 37 + seed * 101) % 251) as f64 - 125.0) / 64.0;
        }
        d
    }

    #[test]
    fn equals_the_definition_at_all_small_sizes_and_transposes() {
        let sizes = [1, 2, 3, 4, 5, 7, 8, 9, 13, 17, 31, 33];
        for &m in &sizes {
            for &n in &sizes {
                for &k in &[0, 1, 3, 31, 32, 33, 65] {
                    let (a, b, c0) = (fill(m * k, 1), fill(k * n, 2), fill(m * n, 3));
                    for kind in 0..4 {
                        let av =
                            if kind & 1 == 0 { Mat::new(&a, m, k).unwrap() } else { Mat::new(&a, k, m).unwrap().t() };
                        let bv =
                            if kind & 2 == 0 { Mat::new(&b, k, n).unwrap() } else { Mat::new(&b, n, k).unwrap().t() };
                        for store in [Store::Set, Store::Add, Store::Sub] {
                            let mut c = if store == Store::Set { [f64::NAN; 4096] } else { c0 };
                            Portable.gemm(store, av, bv, MatMut::new(&mut c, m, n).unwrap());
                            for i in 0..m {
                                for j in 0..n {
                                    let dot: f64 = (0..k).map(|x| av.at(i, x) * bv.at(x, j)).sum();
                                    let want = match store {
                                        Store::Set => dot,
                                        Store::Add => c0[i * n + j] + dot,
                                        Store::Sub => c0[i * n + j] - dot,
                                    };
                                    assert!((c[i * n + j] - want).abs() < 1e-11, "{m} {n} {k} {kind} {store:?}");
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_row_has_the_same_bits_alone_and_causal_reads_nothing_ahead() {
        let (m, n, k) = (11, 19, 14);
        let (a, b) = (fill(m * k, 4), fill(k * n, 5));
        let (av, bv) = (Mat::new(&a, m, k).unwrap(), Mat::new(&b, k, n).unwrap());
        let mut all = [f64::NAN; 4096];
        Portable.gemm(Store::Set, av, bv, MatMut::new(&mut all, m, n).unwrap());
        for i in 0..m {
            let mut one = [f64::NAN; 19];
            Portable.gemm(Store::Set, av.sub(i, 1), bv, MatMut::new(&mut one, 1, n).unwrap());
            assert_eq!(one, all[i * n..(i + 1) * n]);
        }
        let mut poisoned = a;
        for i in 0..m {
            for x in i + 4..k {
                poisoned[i * k + x] = f64::NAN;
            }
        }
        let mut c = [f64::NAN; 4096];
        Portable.causal(
            Store::Set,
            Beside::lower(3),
            Mat::new(&poisoned, m, k).unwrap(),
            bv,
            MatMut::new(&mut c, m, n).unwrap(),
        );
        for i in 0..m {
            for j in 0..n {
                let want: f64 = (0..=i + 3).map(|x| av.at(i, x) * bv.at(x, j)).sum();
                assert!((c[i * n + j] - want).abs() < 1e-12);
            }
        }
    }
}
