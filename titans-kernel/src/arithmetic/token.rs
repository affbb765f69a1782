//! What one token asks of a matrix and its momentum, and the plain way to do it.
//!
//! The parts add up in any order they like, but always the same one: a token's numbers do not depend on the tokens it
//! comes with. An implementation may visit W and S once where these visit them often.

use super::{Arithmetic, Store};
use crate::error::Result;
use crate::part::{Parts, sure};
use crate::scalar::Scalar;
use crate::scratch::{Room, Scratch, counted};
use crate::view::{Mat, MatMut};

/// Most tokens of one [`Arithmetic::carry`].
pub const CARRIED: usize = 64;

/// Columns that an [`Arithmetic::carry`] may copy side by side.
const COPIED: usize = 64;

/// S ← η S + xᵀ δ, W ← keep W + S.
#[derive(Clone, Copy, Debug)]
pub struct Learn<'a, T> {
    /// Input of the layer, one number a row.
    pub x: &'a [T],
    /// Its residual times −rate, one number a column.
    pub delta: &'a [T],
    /// 1 − α.
    pub keep: T,
    /// η.
    pub eta: T,
}

/// `out = x W`.
#[derive(Debug)]
pub struct Probe<'a, T> {
    /// One number a row of W.
    pub x: &'a [T],
    /// One number a column of W.
    pub out: &'a mut [T],
}

/// The gates of a token that a linear memory carries.
#[derive(Clone, Copy, Debug, Default)]
pub struct Factors<T> {
    /// 1 − α.
    pub keep: T,
    /// η.
    pub eta: T,
    /// θ.
    pub rate: T,
    /// Whether W and S change.
    pub writes: bool,
}

/// Tokens, at most [`CARRIED`], that pass through a linear memory one after another: e = k W − v, then
/// [`Learn`] with x = k and δ = −rate (scale · e), then y = q W, or before that.
#[derive(Clone, Copy, Debug)]
pub struct Carry<'a, T> {
    /// Keys, a row a token, as all of these.
    pub k: Mat<'a, T>,
    /// Values.
    pub v: Mat<'a, T>,
    /// Queries.
    pub q: Mat<'a, T>,
    /// A query is answered after its token's change, else before it.
    pub after: bool,
    /// Of the error in the residual.
    pub scale: T,
    /// One a token.
    pub factors: &'a [Factors<T>],
}

/// Where a [`Carry`] writes.
#[derive(Debug)]
pub struct Carried<'a, T> {
    /// W, d_in × d_out.
    pub w: &'a mut [T],
    /// S.
    pub s: &'a mut [T],
    /// Answers, if they are wanted.
    pub y: Option<MatMut<'a, T>>,
    /// Σ e² of every token.
    pub squares: &'a mut [T],
    /// [`carry_len`] numbers to work in.
    pub work: &'a mut [T],
}

/// Numbers that [`Arithmetic::carry`] works in, for a W of `d_in × d_out`; `usize::MAX` if that is beyond counting.
pub fn carry_len(d_in: usize, d_out: usize) -> usize {
    counted(|room| CarrySpace::<f64>::take(room, d_in, d_out))
}

/// The parts of [`Carried::work`]: the versions use those that they need.
#[derive(Debug)]
pub(crate) struct CarrySpace<'a, T> {
    /// 16 partial sums of e² for each of [`CARRIED`] tokens.
    pub(crate) sums: &'a mut [T],
    /// W and S of up to [`COPIED`] columns side by side, whole registers of them, from a cache line on.
    pub(crate) copy: &'a mut [T],
    /// e and δ of one token.
    pub(crate) rows: [&'a mut [T]; 2],
}

impl<'a, T> CarrySpace<'a, T> {
    /// Takes the space for a W of `d_in × d_out`; nothing is written.
    #[inline(always)]
    pub(crate) fn take<R: Room<'a, T>>(room: &mut R, d_in: usize, d_out: usize) -> Result<Self> {
        let wide = if d_out < COPIED { d_out.next_multiple_of(16) } else { COPIED };
        let sums = room.area(CARRIED, 16)?;
        room.align()?;
        Ok(Self { sums, copy: room.area(d_in, 2 * wide)?, rows: [room.take(d_out)?, room.take(d_out)?] })
    }
}

/// [`Arithmetic::learn`] in rows.
#[inline(always)]
pub(super) fn learn<T: Scalar, G: Arithmetic<T> + ?Sized>(
    g: &G,
    c: Learn<'_, T>,
    w: &mut [T],
    s: &mut [T],
    probes: [Option<Probe<'_, T>>; 2],
) {
    let d = c.delta.len().max(1);
    g.vectorise(
        #[inline(always)]
        || {
            for ((w, s), &x) in w.chunks_exact_mut(d).zip(s.chunks_exact_mut(d)).zip(c.x) {
                for ((w, s), &delta) in w.iter_mut().zip(s).zip(c.delta) {
                    // S_t first: W_t = (1 − α_t) W_{t−1} + S_t takes the new one.
                    *s = c.eta * *s + x * delta;
                    *w = c.keep * *w + *s;
                }
            }
        },
    );
    for p in probes.into_iter().flatten() {
        g.vecmat(p.x, w, p.out);
    }
}

/// [`Arithmetic::carry`] step by step.
pub(crate) fn carry<T: Scalar, G: Arithmetic<T> + ?Sized>(g: &G, c: Carry<'_, T>, o: Carried<'_, T>) {
    let space = CarrySpace::take(&mut Scratch::new(o.work), c.k.cols(), c.v.cols());
    sure!(space.is_ok(), "work space");
    let (Ok(CarrySpace { rows: [e, delta], .. }), mut y) = (space, o.y) else { return };
    for t in 0..c.k.rows() {
        let (k, f) = (c.k.row(t), c.factors.item(t));
        g.vecmat(k, o.w, e);
        for ((e, delta), &v) in e.iter_mut().zip(delta.iter_mut()).zip(c.v.row(t)) {
            *e -= v; // k_t W_{t−1} − v_t, by column
            *delta = -f.rate * (c.scale * *e); // −θ_t ∂(c ‖e‖²)/∂(k W) = −θ_t 2c e
        }
        o.squares.put(t, squares(e));
        let mut ask = |w: &[T]| {
            if let Some(y) = &mut y {
                g.vecmat(c.q.row(t), w, y.row_mut(t));
            }
        };
        // h_t = M_{t−1}(q_t), or y_t = M_t(q_t) below.
        if !c.after {
            ask(o.w);
        }
        if f.writes {
            g.learn(Learn { x: k, delta, keep: f.keep, eta: f.eta }, o.w, o.s, [None, None]);
        }
        if c.after {
            ask(o.w);
        }
    }
}

/// Σ x² in the kernel's order: 16 partial sums, element i to sum i mod 16, then a tree.
fn squares<T: Scalar>(x: &[T]) -> T {
    let mut sums = [T::ZERO; 16];
    for block in x.chunks(16) {
        for (sum, &x) in sums.iter_mut().zip(block) {
            *sum += x * x;
        }
    }
    tree(&sums)
}

/// The 16 partial sums of a reduction, added in the kernel's tree.
#[inline(always)]
pub(crate) fn tree<T: Scalar>(sums: &[T; 16]) -> T {
    let mut s = *sums;
    add_half::<T, 8>(&mut s);
    add_half::<T, 4>(&mut s);
    add_half::<T, 2>(&mut s);
    add_half::<T, 1>(&mut s);
    s[0]
}

/// One level of the tree: sums HALF .. 2 HALF onto those before them.
#[inline(always)]
fn add_half<T: Scalar, const HALF: usize>(s: &mut [T; 16]) {
    for l in 0..HALF {
        s[l] += s[l + HALF];
    }
}

/// `out = x W` as a product of one row.
#[inline(always)]
pub(super) fn vecmat<T: Scalar, G: Arithmetic<T> + ?Sized>(g: &G, x: &[T], w: &[T], out: &mut [T]) {
    let (rows, d) = (x.len(), out.len());
    if let (Ok(x), Ok(w), Ok(out)) = (Mat::new(x, 1, rows), Mat::new(w, rows, d), MatMut::new(out, 1, d)) {
        g.gemm(Store::Set, x, w, out);
    }
}

/// `out = W δ` as a product of one row with W's transpose.
#[inline(always)]
pub(super) fn matvec<T: Scalar, G: Arithmetic<T> + ?Sized>(g: &G, w: &[T], delta: &[T], out: &mut [T]) {
    let (rows, d) = (out.len(), delta.len());
    if let (Ok(x), Ok(w), Ok(out)) = (Mat::new(delta, 1, d), Mat::new(w, rows, d), MatMut::new(out, 1, rows)) {
        g.gemm(Store::Set, x, w.t(), out);
    }
}
