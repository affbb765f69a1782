//! The token form: the weights after every token are built, one after another (`docs/MATH.md` section 2).
//!
//! Gradients are taken at the weights of the chunk's start (chunk 1: at the weights before the token), as in the
//! chunk form, so the two give the same numbers up to rounding.

use core::slice::from_ref;

use super::coefficients::Coefficients;
use super::gates::Tokens;
use super::layout::{Layout, Open, Seen};
use super::read::{Rows, answers};
use super::source::Source;
use super::spec::{MemorySpec, Read};
use super::work::{Reading, Written};
use super::write;
use crate::error::Result;
use crate::gemm::Gemm;
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::MatMut;

/// Elements of scratch: one token's rows, and the weights of the chunk's start (a state, its momentum unused).
pub(super) fn scratch_len(spec: &MemorySpec) -> usize {
    let lay = Layout::new(spec, 1);
    Open::<f64>::len(lay)
        + Written::<f64>::len(lay)
        + Reading::<f64>::len(lay)
        + Coefficients::<f64>::len(0, 1)
        + spec.state_len()
}

/// One chunk, tokens `from .. from + n` of the batch; `delta` receives the last layer's residuals.
pub(super) fn chunk<T: Scalar, G: Gemm<T>>(
    g: &G,
    spec: &MemorySpec,
    read: Read,
    tokens: &Tokens<'_, T>,
    from: usize,
    n: usize,
    state: &mut [T],
    mut y: MatMut<'_, T>,
    mut surprise: Option<&mut [T]>,
    mut delta: Option<MatMut<'_, T>>,
    scratch: &mut [T],
) -> Result<u64> {
    let lay = Layout::new(spec, 1);
    let mut scratch = Scratch::new(scratch);
    let mut open = Open::take(&mut scratch, lay)?;
    let mut written = Written::take(&mut scratch, lay)?;
    let mut reading = Reading::take(&mut scratch, lay)?;
    let coefficients = Coefficients::take(&mut scratch, 0, 1)?;
    let anchor = scratch.take(spec.state_len())?;
    anchor.copy_from_slice(state);
    let mut clipped = 0;
    for t in 0..n {
        let (token, at) = (from + t, (from + t, 0, spec.chunk));
        let out = y.rb().sub(t, 1);
        let surprise = surprise.as_deref_mut().map(|s| &mut s[t..t + 1]);
        let (k, v, q) = (tokens.k.sub(token, 1), tokens.v.sub(token, 1), tokens.q.sub(token, 1));
        write::gradients(g, lay, &anchor[..spec.params()], k, v, 0, &mut open, &mut written, surprise)?;
        if let Some(delta) = &mut delta {
            delta.row_mut(t).copy_from_slice(lay.output_rows(open.delta, spec.layers() - 1, 0, 1)?.row(0));
        }
        let mut ask = |state: &[T], open: Seen<'_, T>, out: MatMut<'_, T>| {
            answers(g, lay, Rows::Start, Source::Stays(state), open, from_ref(&coefficients), q, 0, &mut reading, out)
        };
        match read {
            Read::Before => ask(state, open.seen(), out)?,
            Read::ChunkStart => ask(anchor, open.seen(), out)?,
            Read::After => {}
        }
        let writes = tokens.mask.writes(token);
        let theta = (&tokens.theta, at);
        clipped += u64::from(write::rate(lay, 0, k.row(0), writes, theta, &mut open, &mut written)?);
        if writes {
            update(g, lay, |set| [T::ONE - tokens.alpha.of(set).at(at), tokens.eta.of(set).at(at)], &open, state)?;
        }
        if read == Read::After {
            ask(state, open.seen(), y.rb().sub(t, 1))?;
        }
    }
    Ok(clipped)
}

/// S ← η S − rate hᵀ δ, W ← (1 − α) W + S, in one sweep over both; `gates` gives 1 − α and η of every set.
fn update<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    gates: impl Fn(usize) -> [T; 2],
    open: &Open<'_, T>,
    state: &mut [T],
) -> Result<()> {
    let (w, s) = state.split_at_mut(lay.spec.params());
    let step = |[keep, eta]: [T; 2], w: &mut [T], s: &mut [T], factor: T, row: &[T]| {
        for ((w, s), &d) in w.iter_mut().zip(s).zip(row) {
            *s = eta * *s - factor * d;
            *w = keep * *w + *s;
        }
    };
    for l in 0..lay.spec.layers() {
        let (h, delta) = (open.seen().inputs(lay, l, 0, 1)?, lay.output_rows(open.delta, l, 0, 1)?);
        let (at, (rows, d)) = (lay.spec.layer_offset(l), lay.spec.layer(l));
        let (gates, rate) = (gates(lay.spec.set(l)), lay.rates_of(open.rate, l)[0]);
        g.vectorise(
            #[inline(always)]
            || {
                for i in 0..rows {
                    let row = at + i * d..at + (i + 1) * d;
                    step(gates, &mut w[row.clone()], &mut s[row], rate * h.at(0, i), delta.row(0));
                }
            },
        );
    }
    let gamma = lay.spec.params() - lay.spec.gamma_len()..lay.spec.params();
    let top = lay.spec.top_set();
    step(gates(top), &mut w[gamma.clone()], &mut s[gamma], open.rate[top], open.g_gamma);
    Ok(())
}
