//! The states between two kept boundaries, computed again for the backward.

use super::close::{close, close_scratch};
use super::coefficients::Coefficients;
use super::forward::{enter, side_by_side};
use super::gates::Tokens;
use super::layout::{Layout, Open, Written};
use super::spec::{MemorySpec, Read};
use super::{step, write};
use crate::error::Result;
use crate::gemm::Gemm;
use crate::scalar::Scalar;
use crate::scratch::Scratch;

/// Elements of scratch that [`states_between`] needs.
pub(super) fn advance_len(spec: &MemorySpec) -> usize {
    if spec.chunk == 1 {
        return spec.state_len() + step::scratch_len(spec);
    }
    let lay = Layout::in_panels(spec, spec.chunk);
    Open::<f64>::len(lay)
        + Written::<f64>::len(lay)
        + close_scratch(lay)
        + Coefficients::<f64>::len(spec.chunk, spec.chunk)
}

/// The states at the starts of the chunks `first + 1 .. first + count`, one after another to `states`, from `kept`, the
/// state at the start of chunk `first`: the forward's own steps without its answers, so with its bits. `scratch` is
/// that of the forward.
pub(super) fn states_between<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    tokens: &Tokens<'_, T>,
    first: usize,
    count: usize,
    kept: &[T],
    states: &mut [T],
    scratch: &mut [T],
) -> Result<()> {
    let len = lay.spec.state_len();
    for i in 1..count {
        let (before, after) = states.split_at_mut((i - 1) * len);
        let before = if i == 1 { kept } else { &before[(i - 2) * len..] };
        let after = &mut after[..len];
        after.copy_from_slice(before);
        advance(g, lay, tokens, (first + i - 1) * lay.spec.chunk, after, scratch)?;
    }
    Ok(())
}

/// One whole chunk from the batch's token `from` on, written and closed.
fn advance<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    tokens: &Tokens<'_, T>,
    from: usize,
    state: &mut [T],
    scratch: &mut [T],
) -> Result<()> {
    let (spec, n) = (lay.spec, lay.spec.chunk);
    if n == 1 {
        let (rows, scratch) = scratch.split_at_mut(spec.state_len());
        lay.to_rows(state, rows);
        step::tokens(g, spec, Read::After, tokens, from, 1, rows, None, None, scratch)?;
        lay.to_panels(rows, state);
        return Ok(());
    }
    let (params, k, v) = (&state[..spec.params()], tokens.k.sub(from, n), tokens.v.sub(from, n));
    let mut scratch = Scratch::new(scratch);
    let mut open = Open::take(&mut scratch, lay)?;
    open.keys = side_by_side(k);
    let mut written = Written::take(&mut scratch, lay)?;
    let scaled = scratch.take(close_scratch(lay))?;
    let mut coefficients = Coefficients::take(&mut scratch, n, n)?;
    write::gradients(g, lay, params, k, v, 0, &mut open, &mut written, None)?;
    coefficients.start();
    enter(g, lay, tokens, from, n, 0, 0, &mut open, &mut written, &mut coefficients)?;
    close(g, lay, n, n, open.seen(), &coefficients, scaled, state)
}
