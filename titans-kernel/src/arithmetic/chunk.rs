//! What the chunk form asks beside products: the coefficients of its tokens, and scores scaled by them
//! (`docs/MATH.md` section 3).

use super::Factors;
use crate::part::{Parts, sure};
use crate::scalar::Scalar;

/// Rows 1 ..= n of A, G, Π η, C and P from row 0, for the n tokens of a chunk from number `offset` on.
///
/// Row t + 1 of C and P is 0 ..= offset + t long; what lies beyond is unspecified afterwards. A token that does not
/// write repeats the row before it, with zeros of its own. What is below 10⁻¹⁹ (`f32`) or 10⁻¹⁵⁴ (`f64`) becomes 0; of
/// Π η and P, momentum that has faded, also what is below 6·10⁻⁸ or 10⁻²⁰ of G and C, and what is below 10⁻¹⁰ or 10⁻²⁰.
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
    /// Whether the sizes agree, as they do.
    ///
    /// # Panics
    /// With the feature `strict`, when they disagree.
    #[must_use]
    pub(crate) fn check(&self) -> bool {
        let n = self.factors.len();
        let few = n.checked_add(1).and_then(|rows| rows.checked_mul(self.chunk));
        let fits = |len: usize| few.is_some_and(|few| len >= few);
        sure!(fits(self.c.len()) && fits(self.p.len()), "rows of coefficients", false);
        sure!(self.offset.checked_add(n).is_some_and(|end| end <= self.chunk), "columns of coefficients", false);
        sure!([&self.a, &self.g, &self.e].iter().all(|x| x.len() > n), "numbers of coefficients", false);
        true
    }

    /// A, G and Π η after token t.
    #[inline(always)]
    pub(crate) fn numbers(&mut self, t: usize) {
        let f = self.factors.item(t);
        let (mut a, mut g, mut e) = (self.a.item(t), self.g.item(t), self.e.item(t));
        if f.writes {
            // A_t = (1 − α_t) A_{t−1}, G_t = (1 − α_t) G_{t−1} + Π_{j≤t} η_j.
            a = flushed(f.keep * a);
            [g, e] = momentum([g, e], f.keep, f.eta);
        }
        self.a.put(t + 1, a);
        self.g.put(t + 1, g);
        self.e.put(t + 1, e);
    }
}

/// The least coefficient that is not 0: about the root of the least normal number, so that products of it with a rate,
/// a residual and a key are normal numbers too.
#[inline(always)]
pub(crate) fn least<T: Scalar>() -> T {
    T::from_f64(if T::BYTES == 4 { 1e-19 } else { 1e-154 })
}

/// The least factor of momentum that is not 0, as a share of what W holds of the same (G of Π η, C of P): less than
/// this is lost in W's own rounding, which in `f32` is half a unit in the last place, 2⁻²⁴.
#[inline(always)]
pub(crate) fn fading<T: Scalar>() -> T {
    T::from_f64(if T::BYTES == 4 { 6e-8 } else { 1e-20 })
}

/// The least factor of momentum that is not 0, however little W holds of the same after much forgetting.
#[inline(always)]
pub(crate) fn spent<T: Scalar>() -> T {
    T::from_f64(if T::BYTES == 4 { 1e-10 } else { 1e-20 })
}

/// A factor of momentum, or 0 where it is below [`fading`] of what W holds, or below [`spent`]; what is not a number
/// stays.
#[inline(always)]
fn faded<T: Scalar>(x: T, held: T) -> T {
    if x.abs() < fading::<T>() * held || x.abs() < spent() { T::ZERO } else { x }
}

/// G and Π η behind a token that writes, from those before it.
#[inline(always)]
pub(crate) fn momentum<T: Scalar>([g, e]: [T; 2], keep: T, eta: T) -> [T; 2] {
    let e = eta * e;
    let g = flushed(keep * g + e);
    [g, faded(e, g)]
}

/// `x`, or 0 where it is below [`least`]; what is not a number stays.
#[inline(always)]
fn flushed<T: Scalar>(x: T) -> T {
    if x.abs() < least() { T::ZERO } else { x }
}

/// [`Arithmetic::recur`](super::Arithmetic::recur) row by row.
#[inline(always)]
pub(super) fn recur<T: Scalar>(mut r: Recurrence<'_, T>) {
    if !r.check() {
        return;
    }
    for (t, f) in r.factors.iter().enumerate() {
        r.numbers(t);
        // Row t + 1 of C and P, [n + 1, b], from row t; i is the token's own column.
        let (i, b) = (r.offset + t, r.chunk);
        let (c_old, c_new) = r.c.part_mut(t * b..(t + 2) * b).halves_mut(b);
        let (p_old, p_new) = r.p.part_mut(t * b..(t + 2) * b).halves_mut(b);
        if !f.writes {
            // Neither W nor S moves, so that all tokens before count as much as they did, and this one nothing.
            c_new.part_mut(..i).become_copy(c_old.part(..i));
            p_new.part_mut(..i).become_copy(p_old.part(..i));
            c_new.put(i, T::ZERO);
            p_new.put(i, T::ZERO);
            continue;
        }
        let (c_some, p_some) = (c_new.part_mut(..i), p_new.part_mut(..i));
        for (((cn, pn), &co), &po) in c_some.iter_mut().zip(p_some).zip(c_old.part(..i)).zip(p_old.part(..i)) {
            // P_{t,j} = η_t P_{t−1,j}, C_{t,j} = (1 − α_t) C_{t−1,j} + P_{t,j}.
            let p = f.eta * po;
            *cn = flushed(f.keep * co + p);
            *pn = faded(p, *cn);
        }
        // P_{i,i} = 1 by definition, and C_{i,i} = 0 + P_{i,i}.
        c_new.put(i, T::ONE);
        p_new.put(i, T::ONE);
    }
}

/// `scores ∘ C diag(rate)`: query t keeps its scores of the first `visible.0 + t visible.1` tokens, times `c rate`; the
/// others up to `seen` become 0.
#[derive(Debug)]
pub struct ScoreScaling<'a, T> {
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

impl<T> ScoreScaling<'_, T> {
    /// As [`Recurrence::check`].
    #[must_use]
    pub(crate) fn check(&self) -> bool {
        if self.n == 0 {
            return true;
        }
        let end = |stride: usize, len: usize| (self.n - 1).checked_mul(stride).and_then(|x| x.checked_add(len));
        let most = (self.n - 1).checked_mul(self.visible.1).and_then(|x| x.checked_add(self.visible.0));
        sure!(most.is_some_and(|most| most <= self.seen && most <= self.rate.len()), "tokens that a query sees", false);
        sure!(end(self.c_stride, self.seen).is_some_and(|end| end <= self.c.len()), "rows of coefficients", false);
        sure!(end(self.stride, self.seen).is_some_and(|end| end <= self.scores.len()), "rows of scores", false);
        true
    }
}

/// [`Arithmetic::scale_scores`](super::Arithmetic::scale_scores) row by row.
#[inline(always)]
pub(super) fn scale_scores<T: Scalar>(w: ScoreScaling<'_, T>) {
    if !w.check() {
        return;
    }
    for t in 0..w.n {
        let visible = w.visible.0 + t * w.visible.1;
        let row = w.scores.part_mut(t * w.stride..).part_mut(..w.seen);
        for ((m, &c), &rate) in row.part_mut(..visible).iter_mut().zip(w.c.part(t * w.c_stride..)).zip(w.rate) {
            *m *= c * rate;
        }
        // Tokens that come after the query: a product over the whole row stays causal.
        row.part_mut(visible..).fill(T::ZERO);
    }
}
