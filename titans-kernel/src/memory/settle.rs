//! Momentum that has faded: where Π η of an open piece has become 0, its A and G are spent on W and S, and what follows
//! reads W alone.
//!
//! From there on every M_t is `A′_t (A W + G S) − …` with A′ from 1 on, and S at the piece's end is none of S at its
//! start. With η ≤ ½ that comes within 24 tokens that write in `f32` where little is forgotten meanwhile, within 34 in
//! any case. When it comes follows from the gates alone, so it comes at the same token however a stream is cut. Pieces
//! of chunks of one token do so.

use super::coefficients::Coefficients;
use super::feed::PieceTokens;
use super::layout::Layout;
use super::spec::MemorySpec;
use crate::arithmetic::{Arithmetic, Blend, Store, momentum};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Do pieces of this memory settle?
pub(super) fn can_settle(spec: &MemorySpec) -> bool {
    spec.wide() && spec.chunk == 1
}

/// Has the piece settled before the first of these rows?
#[inline(never)]
pub(super) fn has_settled<T: Scalar>(spec: &MemorySpec, coefficients: &Coefficients<'_, T>) -> bool {
    can_settle(spec) && coefficients.e.item(0) == T::ZERO
}

/// Below this Π η is 0 for derivatives too: a later η changes it by less than rounding does. With η = ½ it is Π η
/// before the token at which a piece settles.
pub(super) fn faint<T: Scalar>() -> T {
    T::from_f64(if T::BYTES == 4 { 1.2e-7 } else { 1e-17 })
}

/// Behind how many of the tokens the piece settles, from G and Π η before them.
#[inline(never)]
pub(super) fn settling_token<T: Scalar>(
    lay: Layout<'_>,
    feed: PieceTokens<'_, T>,
    [mut g, mut e]: [T; 2],
) -> Option<usize> {
    if !can_settle(lay.spec) || e == T::ZERO {
        return None;
    }
    (0..feed.place.n)
        .find(|&t| {
            if feed.writes(t) {
                // G and Π η, as the coefficients' recurrence has them: 0 where it has faded.
                let at = feed.at(t, lay.spec.chunk);
                [g, e] = momentum([g, e], T::ONE - feed.tokens.alpha.at(at), feed.tokens.eta.at(at));
            }
            e == T::ZERO
        })
        .map(|t| t + 1)
}

/// How many of the first tokens of a piece have no momentum left at its end, whose row of P is given, whatever an η is
/// changed by.
pub(super) fn faded<T: Scalar>(lay: Layout<'_>, feed: PieceTokens<'_, T>, p: &[T]) -> usize {
    if !can_settle(lay.spec) {
        return 0;
    }
    let gone = p.part(..feed.place.n).iter().take_while(|&&p| p == T::ZERO).count();
    // Π η of the tokens behind, but for the least of them: one small η that ended it at a stroke still has a
    // derivative.
    let (mut others, mut least) = (T::ONE, T::ONE);
    for t in (0..feed.place.n).rev().filter(|&t| feed.writes(t)) {
        let eta = feed.tokens.eta.at(feed.at(t, lay.spec.chunk)).abs();
        let (larger, smaller) = if eta < least { (least, eta) } else { (eta, least) };
        (others, least) = (others * larger, smaller);
        if others <= faint() {
            return gone.min(t);
        }
    }
    0
}

/// W ← A W + G S by row `row` of the coefficients, for a state `[W | S]` in any layout. S stays, and counts no more.
#[inline(never)]
pub(super) fn settle<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    row: usize,
    coefficients: &Coefficients<'_, T>,
    state: &mut [T],
) {
    let (a, gg) = (coefficients.a.item(row), coefficients.g.item(row));
    let (w, s) = state.halves_mut(state.len() / 2);
    g.vectorise(
        #[inline(always)]
        || w.iter_mut().zip(&*s).for_each(|(w, &s)| *w = a * *w + gg * s),
    );
}

/// `Z = diag(a) X W + diag(g) X S`, or where the piece has settled `diag(a) X W`; factors of a row are `step` from the
/// last one's.
pub(super) fn onto<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    settled: bool,
    x: Mat<'_, T>,
    [a, gg]: [&[T]; 2],
    step: usize,
    [w, s]: [Mat<'_, T>; 2],
    mut z: MatMut<'_, T>,
) {
    if !settled {
        return g.blend(Blend { x, a, g: gg, step, w, s, z });
    }
    // G = 0: X W, each row times its A.
    g.gemm(Store::Set, x, w, z.rb());
    g.vectorise(
        #[inline(always)]
        || {
            for t in 0..z.rows() {
                let a = a.item(t * step);
                z.row_mut(t).iter_mut().for_each(|z| *z *= a);
            }
        },
    );
}
