//! The states between two kept boundaries, computed again for the backward.

use super::close::close;
use super::coefficients::Coefficients;
use super::forward::enter;
use super::gates::Tokens;
use super::layout::{Layout, Open, Written};
use super::spec::MemorySpec;
use super::write;
use crate::error::Result;
use crate::gemm::Gemm;
use crate::scalar::Scalar;
use crate::scratch::Scratch;

/// The states at the starts of the chunks `first + 1 .. first + count`, one after another to `states`, from `kept`, the
/// state at the start of chunk `first`: the forward's own steps without its answers, so with its bits. `scratch` is
/// that of the forward.
pub(super) fn states_between<T: Scalar, G: Gemm<T>>(
    g: &G,
    spec: &MemorySpec,
    tokens: &Tokens<'_, T>,
    first: usize,
    count: usize,
    kept: &[T],
    states: &mut [T],
    scratch: &mut [T],
) -> Result<()> {
    let len = spec.state_len();
    for i in 1..count {
        let (before, after) = states.split_at_mut((i - 1) * len);
        let before = if i == 1 { kept } else { &before[(i - 2) * len..] };
        let after = &mut after[..len];
        after.copy_from_slice(before);
        advance(g, spec, tokens, (first + i - 1) * spec.chunk, after, scratch)?;
    }
    Ok(())
}

/// One whole chunk from the batch's token `from` on, written and closed.
fn advance<T: Scalar, G: Gemm<T>>(
    g: &G,
    spec: &MemorySpec,
    tokens: &Tokens<'_, T>,
    from: usize,
    state: &mut [T],
    scratch: &mut [T],
) -> Result<()> {
    let (lay, n) = (Layout::new(spec, spec.chunk), spec.chunk);
    let mut scratch = Scratch::new(scratch);
    let mut open = Open::take(&mut scratch, lay)?;
    let mut written = Written::take(&mut scratch, lay)?;
    let mut coefficients = Coefficients::take(&mut scratch, n, n)?;
    let scaled = scratch.take(lay.widest())?;
    let (params, k, v) = (&state[..spec.params()], tokens.k.sub(from, n), tokens.v.sub(from, n));
    write::gradients(g, lay, params, k, v, 0, &mut open, &mut written, None)?;
    coefficients.start();
    enter(lay, tokens, from, n, 0, 0, &mut open, &mut written, &mut coefficients)?;
    close(g, lay, n, n, open.seen(), &coefficients, scaled, state)
}
