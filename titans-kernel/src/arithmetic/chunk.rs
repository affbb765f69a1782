//! What the chunk form asks beside products: the coefficients of its tokens, and scores weighted by them
//! (`docs/MATH.md` section 3).

use super::Factors;
use crate::scalar::Scalar;

/// Rows 1 ..= n of A, G, Π η, C and P from row 0, for the n tokens of a chunk from number `offset` on.
///
/// Row t + 1 of C and P is 0 ..= offset + t long; what lies beyond is unspecified afterwards. A token that does not write
/// repeats the row before it, with zeros of its own. What is below 10⁻¹⁹ (`f32`) or 10⁻¹⁵⁴ (`f64`) becomes 0; of Π η and P, momentum
/// that has faded, what is below 10⁻¹⁰ or 10⁻²⁰.
#[derive(Debug)]
pub struct Recurrence<'a, T> {
    /// Of the n tokens.
    pub factors: &'a [Factors<T>],
    /// Tokens of the chunk before them.
    pub offset: usize,
    /// Columns of C and P.
    pub chunk: usize,
    /// A, n + 1 numbers.
    pub a: &'a mut [T],
    /// G, n + 1 numbers.
    pub g: &'a mut [T],
    /// Π η, n + 1 numbers.
    pub e: &'a mut [T],
    /// C, n + 1 rows.
    pub c: &'a mut [T],
    /// P, n + 1 rows.
    pub p: &'a mut [T],
}

impl<T: Scalar> Recurrence<'_, T> {
    /// # Panics
    /// When the sizes disagree.
    pub(crate) fn check(&self) {
        let n = self.factors.len();
        let few = n.checked_add(1).and_then(|rows| rows.checked_mul(self.chunk));
        let fits = |len: usize| few.is_some_and(|few| len >= few);
        assert!(fits(self.c.len()) && fits(self.p.len()), "rows of coefficients");
        assert!(self.offset.checked_add(n).is_some_and(|end| end <= self.chunk), "columns of coefficients");
        assert!([&self.a, &self.g, &self.e].iter().all(|x| x.len() > n), "numbers of coefficients");
    }

    /// A, G and Π η after token t.
    #[inline(always)]
    pub(crate) fn numbers(&mut self, t: usize) {
        let f = self.factors[t];
        if f.writes {
            self.a[t + 1] = flushed(f.keep * self.a[t]);
            self.e[t + 1] = faded(f.eta * self.e[t]);
            self.g[t + 1] = flushed(f.keep * self.g[t] + self.e[t + 1]);
        } else {
            (self.a[t + 1], self.g[t + 1], self.e[t + 1]) = (self.a[t], self.g[t], self.e[t]);
        }
    }
}

/// The least coefficient that is not 0: about the root of the least normal number, so that products of it with a rate, a residual
/// and a key are normal numbers too.
#[inline(always)]
pub(crate) fn least<T: Scalar>() -> T {
    T::from_f64(if T::BYTES == 4 { 1e-19 } else { 1e-154 })
}

/// The least factor of momentum that is not 0. What it is multiplied with has been added to W as a whole, so that less than this is
/// lost in W's own rounding.
#[inline(always)]
pub(crate) fn fading<T: Scalar>() -> T {
    T::from_f64(if T::BYTES == 4 { 1e-10 } else { 1e-20 })
}

/// `x`, or 0 where it is below [`fading`]; what is not a number stays.
#[inline(always)]
pub(crate) fn faded<T: Scalar>(x: T) -> T {
    if x.abs() < fading() { T::ZERO } else { x }
}

/// `x`, or 0 where it is below [`least`]; what is not a number stays.
#[inline(always)]
fn flushed<T: Scalar>(x: T) -> T {
    if x.abs() < least() { T::ZERO } else { x }
}

/// [`Arithmetic::recur`](super::Arithmetic::recur) row by row.
#[inline(always)]
pub(super) fn recur<T: Scalar>(mut r: Recurrence<'_, T>) {
    r.check();
    for (t, f) in r.factors.iter().enumerate() {
        r.numbers(t);
        let (i, b) = (r.offset + t, r.chunk);
        let (c_old, c_new) = r.c[t * b..(t + 2) * b].split_at_mut(b);
        let (p_old, p_new) = r.p[t * b..(t + 2) * b].split_at_mut(b);
        if !f.writes {
            c_new[..i].copy_from_slice(&c_old[..i]);
            p_new[..i].copy_from_slice(&p_old[..i]);
            (c_new[i], p_new[i]) = (T::ZERO, T::ZERO);
            continue;
        }
        for (((cn, pn), &co), &po) in c_new[..i].iter_mut().zip(&mut p_new[..i]).zip(&c_old[..i]).zip(&p_old[..i]) {
            *pn = faded(f.eta * po);
            *cn = flushed(f.keep * co + *pn);
        }
        (c_new[i], p_new[i]) = (T::ONE, T::ONE);
    }
}

/// `scores ∘ C diag(rate)`: query t keeps its scores of the first `visible.0 + t visible.1` tokens, times `c rate`; the others up
/// to `seen` become 0.
#[derive(Debug)]
pub struct ScoreWeighting<'a, T> {
    /// Queries.
    pub n: usize,
    /// Scores of a query.
    pub seen: usize,
    /// Scores that a query sees: of the first, and how many more each one sees than the one before.
    pub visible: (usize, usize),
    /// The first query's row of C.
    pub c: &'a [T],
    /// From a query's row of C to the next.
    pub c_stride: usize,
    /// One a token.
    pub rate: &'a [T],
    /// A row a query.
    pub scores: &'a mut [T],
    /// From a row of the scores to the next.
    pub stride: usize,
}

impl<T> ScoreWeighting<'_, T> {
    /// # Panics
    /// When the sizes disagree.
    pub(crate) fn check(&self) {
        if self.n == 0 {
            return;
        }
        let end = |stride: usize, len: usize| (self.n - 1).checked_mul(stride).and_then(|x| x.checked_add(len));
        let most = (self.n - 1).checked_mul(self.visible.1).and_then(|x| x.checked_add(self.visible.0));
        assert!(most.is_some_and(|most| most <= self.seen && most <= self.rate.len()), "tokens that a query sees");
        assert!(end(self.c_stride, self.seen).is_some_and(|end| end <= self.c.len()), "rows of coefficients");
        assert!(end(self.stride, self.seen).is_some_and(|end| end <= self.scores.len()), "rows of scores");
    }
}

/// [`Arithmetic::weight_scores`](super::Arithmetic::weight_scores) row by row.
#[inline(always)]
pub(super) fn weight_scores<T: Scalar>(w: ScoreWeighting<'_, T>) {
    w.check();
    for t in 0..w.n {
        let visible = w.visible.0 + t * w.visible.1;
        let row = &mut w.scores[t * w.stride..][..w.seen];
        for ((m, &c), &rate) in row[..visible].iter_mut().zip(&w.c[t * w.c_stride..]).zip(w.rate) {
            *m *= c * rate;
        }
        row[visible..].fill(T::ZERO);
    }
}
