//! The token form: the weights after every token are built, one after another (`docs/MATH.md` section 2).
//!
//! Gradients are taken at the weights of the chunk's start (chunk 1: at the weights before the token), as in the
//! chunk form, so the two give the same numbers up to rounding.

use core::slice::from_ref;

use super::coefficients::Coefficients;
use super::feed::{Pairs, PieceTokens, Place, Returned};
use super::frame::Frame;
use super::layout::Layout;
use super::open::{Open, OpenView, Past};
use super::read::{Asked, Rows, answers};
use super::source::StateSource;
use super::spec::{MemorySpec, Read};
use super::work::{Reading, Writing};
use super::write;
use crate::arithmetic::Arithmetic;
use crate::error::Result;
use crate::scalar::Scalar;
use crate::scratch::{Room, Scratch, counted};
use crate::view::MatMut;

/// One token's rows, and the state at the chunk's start.
struct TokenSpace<'a, T> {
    writing: Writing<'a, T>,
    reading: Reading<'a, T>,
    /// None are needed: reads are by weights as they lie.
    coefficients: Coefficients<'a, T>,
    /// `[W | S]`, of which the momentum is not used.
    anchor: &'a mut [T],
}

impl<'a, T: Scalar> TokenSpace<'a, T> {
    fn take<R: Room<'a, T>>(room: &mut R, lay: Layout<'_>) -> Result<Self> {
        Ok(Self {
            writing: Writing::take(room, lay)?,
            reading: Reading::take(room, lay)?,
            coefficients: Coefficients::take(room, 0, 1)?,
            anchor: room.take(lay.spec.state_len())?,
        })
    }
}

/// Elements of scratch, whatever the number of tokens.
pub(super) fn scratch_len(spec: &MemorySpec) -> usize {
    counted(|room| TokenSpace::<f64>::take(room, Layout::new(spec, 1)))
}

/// One chunk of a batch.
pub(super) fn chunk<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    read: Read,
    feed: PieceTokens<'_, T>,
    state: &mut [T],
    returned: Returned<'_, T>,
    scratch: &mut [T],
) -> Result<u64> {
    let (lay, spec, Returned { mut y, mut surprise, mut delta }) = (on.lay, on.lay.spec, returned);
    let space = TokenSpace::take(&mut Scratch::new(scratch), lay)?;
    let TokenSpace { mut writing, mut reading, coefficients, anchor } = space;
    anchor.copy_from_slice(state);
    let mut clipped = 0;
    for t in 0..feed.place.n {
        // Every token is the first of a piece of its own: row 0 of all slabs.
        let one = PieceTokens::new(feed.tokens, Place { filled: 0, ..feed.place.part(t, 1) });
        let out = y.rb().sub(t, 1);
        let surprise = surprise.as_deref_mut().map(|s| &mut s[t..t + 1]);
        let pairs = Pairs { k: one.k(), v: one.v(), from: 0 };
        // u_t = ∇ℓ at the chunk's first weights; with chunk 1 these are M_{t−1}.
        write::gradients(on, &anchor[..spec.params()], pairs, &mut writing, surprise)?;
        if let Some(delta) = &mut delta {
            delta.row_mut(t).copy_from_slice(lay.output_rows(writing.open.delta, spec.layers() - 1, 0, 1)?.row(0));
        }
        let mut ask = |state: &[T], open: OpenView<'_, T>, out: MatMut<'_, T>| {
            let past = Past::new(open, from_ref(&coefficients));
            answers(on, Asked::new(Rows::Start, one.q(), 0), StateSource::Stays(state), past, &mut reading, out)
        };
        // h_t = M_{t−1}(q_t), or the weights of the chunk's start; after the write y_t = M_t(q_t).
        match read {
            Read::Before => ask(state, writing.open.view(), out)?,
            Read::ChunkStart => ask(anchor, writing.open.view(), out)?,
            Read::After => {}
        }
        // θ_t, scaled down where the gradient is longer than the clip.
        clipped += u64::from(write::rate(lay, one, 0, &mut writing)?);
        if one.writes(0) {
            let (tokens, at) = (one.tokens, one.at(0, spec.chunk));
            let gates = |set| [T::ONE - tokens.alpha.of(set).at(at), tokens.eta.of(set).at(at)];
            update(on, gates, &writing.open, state)?;
        }
        if read == Read::After {
            ask(state, writing.open.view(), y.rb().sub(t, 1))?;
        }
    }
    Ok(clipped)
}

/// S ← η S − rate hᵀ δ, W ← (1 − α) W + S, in one sweep over both; `gates` gives 1 − α and η of every set.
fn update<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    gates: impl Fn(usize) -> [T; 2],
    open: &Open<'_, T>,
    state: &mut [T],
) -> Result<()> {
    let Frame { g, lay } = on;
    let (w, s) = state.split_at_mut(lay.spec.params());
    let step = |[keep, eta]: [T; 2], w: &mut [T], s: &mut [T], factor: T, row: &[T]| {
        for ((w, s), &d) in w.iter_mut().zip(s).zip(row) {
            // S first: W takes the new one.
            *s = eta * *s - factor * d;
            *w = keep * *w + *s;
        }
    };
    for l in 0..lay.spec.layers() {
        let (h, delta) = (open.view().inputs(lay, l, 0, 1)?, lay.output_rows(open.delta, l, 0, 1)?);
        let (at, (rows, d)) = (lay.spec.layer_offset(l), lay.spec.layer(l));
        let (gates, rate) = (gates(lay.spec.set(l)), lay.layer_rates(open.rate, l)[0]);
        g.vectorise(
            #[inline(always)]
            || {
                // Row i of hᵀ δ is h_i δ.
                for i in 0..rows {
                    let row = at + i * d..at + (i + 1) * d;
                    step(gates, &mut w[row.clone()], &mut s[row], rate * h.at(0, i), delta.row(0));
                }
            },
        );
    }
    // γ: a layer whose input is 1.
    let gamma = lay.spec.params() - lay.spec.gamma_len()..lay.spec.params();
    let top = lay.spec.top_set();
    step(gates(top), &mut w[gamma.clone()], &mut s[gamma], open.rate[top], open.g_gamma);
    Ok(())
}
