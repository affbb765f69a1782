//! Chunk 1 in a stream: every token is a piece, and none is written that would not stay finite.

use super::feed::{PieceTokens, Place, Wanted};
use super::frame::Frame;
use super::gates::Tokens;
use super::guard::{Guard, TokenDemand, within};
use super::spec::{MemorySpec, Read};
use super::step::{Coming, Step, carry, linear};
use crate::arithmetic::{Arithmetic, CARRIED};
use crate::error::Result;
use crate::ops::rows::squares;
use crate::part::Parts;
use crate::scalar::Scalar;

/// All tokens up to the first that a stream must refuse: how many these are, and how many of them were clipped.
pub(super) fn tokens_guarded<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    read: Read,
    tokens: &Tokens<'_, T>,
    guard: &mut Guard<T>,
    state: &mut [T],
    mut wanted: Wanted<'_, T>,
    scratch: &mut [T],
) -> Result<(usize, u64)> {
    let (n, spec) = (tokens.len(), on.lay.spec);
    if linear(spec) {
        let (mut at, mut keys) = (0, [T::ZERO; CARRIED]);
        let scale = T::from_f64(2.0 * spec.loss_scale());
        while at < n {
            // Bounds admit a run of tokens at once; where they are too wide, the next token's residual itself is looked
            // at.
            let rows = foreseen(on, tokens, at, *guard, &mut keys);
            let rows = if rows == 0 {
                let w = state.part(..spec.params());
                usize::from(looked_at(
                    on,
                    (tokens, at),
                    *guard,
                    keys.item(0),
                    w,
                    scratch.part_mut(..spec.value_width()),
                ))
            } else {
                rows
            };
            if rows == 0 {
                break;
            }
            let feed = PieceTokens::new(tokens, Place::of_batch(at, rows));
            carry(on, read, feed, state, wanted.part(at, rows), scratch)?;
            // Now ‖M(k) − v‖² is known: the bounds grow by what was, not by what was foreseen.
            for ((t, &e2), &k2) in (at..).zip(scratch.part(..rows)).zip(&keys) {
                *guard = guard.grown(asked(spec, tokens, t).with(k2, scale * scale * e2));
            }
            at += rows;
        }
        return Ok((at, 0));
    }
    let mut step = Step::new(on, read, state, scratch)?;
    let mut clipped = 0;
    for t in 0..n {
        let coming = Coming { tokens, t, more: t + 1 < n };
        match step.token(coming, wanted.part(t, 1), Some(guard))? {
            Some(clip) => clipped += u64::from(clip),
            None => return Ok((t, clipped)),
        }
    }
    Ok((n, clipped))
}

/// What token t asks of a linear memory but for its gradient and its query.
#[inline(always)]
fn asked<T: Scalar>(spec: &MemorySpec, tokens: &Tokens<'_, T>, t: usize) -> TokenDemand<T> {
    let at = (t, 0, spec.chunk);
    let gates = [T::ONE - tokens.alpha.at(at), tokens.eta.at(at), tokens.theta.at(at)];
    TokenDemand { gates, writes: tokens.mask.writes(t), gradient2: T::ZERO, input2: T::ZERO, query2: T::ZERO }
}

/// How many of the tokens from `from` on are admitted whatever the weights are whose norms the guard bounds: their
/// residuals are at most 2c (‖k‖ ‖W‖ + ‖v‖). `keys` receives ‖k‖² of every token that was looked at.
fn foreseen<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    tokens: &Tokens<'_, T>,
    from: usize,
    mut guard: Guard<T>,
    keys: &mut [T; CARRIED],
) -> usize {
    let spec = on.lay.spec;
    let scale = T::from_f64(2.0 * spec.loss_scale());
    on.g.vectorise(
        #[inline(always)]
        || {
            let most = CARRIED.min(tokens.len() - from);
            for (t, kept) in keys.part_mut(..most).iter_mut().enumerate() {
                let at = from + t;
                let k2 = squares(tokens.k.row(at));
                *kept = k2;
                // Common values need no sum: ‖v‖ is at most 10⁹ where no element is beyond 10⁶.
                let v = tokens.v.row(at);
                let v = if within(v, 1e6) { T::from_f64(1e9) } else { squares(v).sqrt() };
                let residual = scale * (k2.sqrt() * guard.w + v);
                let step = asked(spec, tokens, at).asking(tokens.q.row(at)).with(k2, residual * residual);
                match guard.after(spec, step) {
                    Some(next) => guard = next,
                    None => return t,
                }
            }
            most
        },
    )
}

/// Is the one token `t` admitted, by its residual as it is? `e`: a row to work in.
fn looked_at<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    (tokens, t): (&Tokens<'_, T>, usize),
    guard: Guard<T>,
    k2: T,
    w: &[T],
    e: &mut [T],
) -> bool {
    let spec = on.lay.spec;
    let scale = T::from_f64(2.0 * spec.loss_scale());
    // δ = 2c (k W − v).
    on.g.vecmat(tokens.k.row(t), w, e);
    e.iter_mut().zip(tokens.v.row(t)).for_each(|(e, &v)| *e = scale * (*e - v));
    let step = asked(spec, tokens, t).asking(tokens.q.row(t)).with(k2, squares(e));
    guard.after(spec, step).is_some()
}
