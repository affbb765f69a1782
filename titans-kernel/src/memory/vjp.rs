//! Backward of the chunk form: exact gradients through the inner updates (`docs/MATH.md` section 4).
//!
//! Only the state at every chunk's start, or at every so many-th, is kept from the forward; the inside of a piece is
//! computed again, and the states between two that are kept. Pieces are walked from the last to the first; the
//! cotangent of the state is carried along, and that of the weights at the chunk's start collected over its pieces.

use super::boundaries::{Span, advance_len, state, states_between};
use super::close_vjp::{close_vjp, decay};
use super::coefficients::Coefficients;
use super::exact_vjp;
use super::forward::{enter, side_by_side};
use super::gates::{Gate, Tokens};
use super::inside::Inside;
use super::layout::{Layout, Open};
use super::read::{Rows, answers, inside as layers_inside};
use super::read_vjp::read_vjp;
use super::sets::Sets;
use super::settle::settles;
use super::source::Source;
use super::spec::{MemorySpec, Network, Read};
use super::work::{Reading, Written};
use super::write;
use super::write_vjp::{rate_vjp, write_vjp};
use crate::error::{Error, Result, expect_len};
use crate::gemm::Gemm;
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::{Mat, MatMut};

/// Cotangents of what [`super::forward`] returned; `None` is zero.
#[derive(Clone, Copy, Debug)]
pub struct Cotangents<'a, T> {
    /// Of the read-outs `[n, d_L]`.
    pub y: Option<Mat<'a, T>>,
    /// Of the final state `[W | S]`.
    pub state: Option<&'a [T]>,
}

/// Gradients of what [`super::forward`] was given, all overwritten.
#[derive(Debug)]
pub struct Gradients<'a, T> {
    /// Of the keys `[n, d_0]`.
    pub k: MatMut<'a, T>,
    /// Of the values `[n, d_L]`.
    pub v: MatMut<'a, T>,
    /// Of the queries `[n, d_0]`.
    pub q: MatMut<'a, T>,
    /// Of α: one for every value of the gate, `[entries, L]` for one with a value for every layer.
    pub alpha: &'a mut [T],
    /// Of θ.
    pub theta: &'a mut [T],
    /// Of η.
    pub eta: &'a mut [T],
    /// Of the initial state `[W | S]`.
    pub state: &'a mut [T],
}

/// Elements of scratch that [`vjp`] needs, whatever the number of tokens; `usize::MAX` for an invalid configuration.
pub fn vjp_scratch_len(spec: &MemorySpec) -> usize {
    spec.size(|| {
        let lay = Layout::in_panels(spec, spec.piece());
        let chunk = Open::<f64>::len(lay)
            + Written::<f64>::len(lay)
            + Reading::<f64>::len(lay)
            + Sets::<f64>::len(spec, lay.coefficients(), lay.rows)
            + Inside::<f64>::len(lay)
            + lay.rows * spec.value_width();
        let settled = if settles(spec) { spec.state_len() } else { 0 };
        (chunk + settled).max(advance_len(spec)).max(spec.state_len()) + spec.anchor_len()
    })
    .saturating_add(between_len(spec))
}

/// Elements of the states between two kept boundaries.
fn between_len(spec: &MemorySpec) -> usize {
    spec.keep_every.saturating_mul(spec.pieces()).saturating_sub(1).saturating_mul(spec.state_len())
}

/// Backward of [`super::forward`]: the gradients of ⟨cotangents, outputs⟩.
///
/// `boundaries` are those that the forward wrote. States between them are computed by the chunk form: after a forward
/// in the chunk form all gradients have the bits that they have with every boundary kept. With a clip, the factor is differentiated too. The surprise is an
/// observation: it receives no cotangent.
///
/// # Errors
/// [`Error::Config`], [`Error::Shape`] or [`Error::Buffer`], before anything is written.
pub fn vjp<T: Scalar, G: Gemm<T>>(
    g: &G,
    spec: &MemorySpec,
    read: Read,
    tokens: &Tokens<'_, T>,
    boundaries: &[T],
    cotangents: Cotangents<'_, T>,
    mut gradients: Gradients<'_, T>,
    scratch: &mut [T],
) -> Result<()> {
    check(spec, tokens, boundaries, &cotangents, &gradients, scratch.len())?;
    let lay = Layout::in_panels(spec, spec.piece());
    for gate in [&mut *gradients.alpha, gradients.theta, gradients.eta] {
        gate.fill(T::ZERO);
    }
    let (len, keep, periods) = (spec.state_len(), spec.keep_every, spec.periods(tokens.len()));
    let (boundaries, deltas) = boundaries.split_at(spec.states_len(tokens.len()));
    let (between, scratch) = scratch.split_at_mut(between_len(spec));
    let (d_anchor, scratch) = scratch.split_at_mut(spec.anchor_len());
    d_anchor.fill(T::ZERO);
    let d_state = core::mem::take(&mut gradients.state);
    match cotangents.state {
        Some(d) => lay.to_panels(d, d_state),
        None => d_state.fill(T::ZERO),
    }
    for first in (0..periods).step_by(keep).rev() {
        let kept = &boundaries[first / keep * len..][..len];
        let span = Span::new(spec, first, tokens.len());
        states_between(g, lay, tokens, span, kept, deltas, between, scratch)?;
        for i in (0..span.pieces(spec)).rev() {
            if spec.wide() {
                let (piece, start) = (span.piece(spec, i), state(spec, kept, between, i));
                let d_y = cotangents.y;
                exact_vjp::piece(g, lay, read, tokens, piece, deltas, start, d_y, &mut gradients, d_state, scratch)?;
                continue;
            }
            let anchor = Span::anchor(spec, i);
            let states = [anchor, i].map(|i| state(spec, kept, between, i));
            piece_vjp(
                g,
                lay,
                read,
                tokens,
                span.piece(spec, i),
                states,
                cotangents.y,
                &mut gradients,
                d_state,
                d_anchor,
                scratch,
            )?;
            if i == anchor {
                d_state.iter_mut().zip(&mut *d_anchor).for_each(|(d, more)| *d += core::mem::take(more));
            }
        }
    }
    let panels = &mut scratch[..len];
    panels.copy_from_slice(d_state);
    lay.to_rows(panels, d_state);
    Ok(())
}

fn check<T: Scalar>(
    spec: &MemorySpec,
    tokens: &Tokens<'_, T>,
    boundaries: &[T],
    cotangents: &Cotangents<'_, T>,
    gradients: &Gradients<'_, T>,
    given: usize,
) -> Result<()> {
    spec.validate()?;
    let (n, b) = (tokens.len(), spec.chunk);
    let (key, value) = (spec.key_width(), spec.value_width());
    tokens.check(spec, 0)?;
    expect_len("boundaries", spec.boundaries_len(n), boundaries.len())?;
    if let Some(y) = cotangents.y {
        expect_len("cotangent of y, rows", n, y.rows())?;
        expect_len("cotangent of y, columns", value, y.cols())?;
        expect_len("cotangent of y, column stride", 1, y.col_stride())?;
    }
    if let Some(s) = cotangents.state {
        expect_len("cotangent of the state", spec.state_len(), s.len())?;
    }
    for (what, m, width) in [("d_k", &gradients.k, key), ("d_v", &gradients.v, value), ("d_q", &gradients.q, key)] {
        expect_len(what, n, m.rows())?;
        expect_len(what, width, m.cols())?;
    }
    let entries = |gate: &Gate<'_, T>| gate.values(n, 0, b);
    expect_len("d_alpha", entries(&tokens.alpha), gradients.alpha.len())?;
    expect_len("d_theta", entries(&tokens.theta), gradients.theta.len())?;
    expect_len("d_eta", entries(&tokens.eta), gradients.eta.len())?;
    expect_len("d_state", spec.state_len(), gradients.state.len())?;
    let needed = vjp_scratch_len(spec);
    if given < needed {
        return Err(Error::Buffer { what: "scratch", needed, given });
    }
    Ok(())
}

/// One piece: computes its inside again, then walks it backwards, `d_state` from the cotangent of the state behind the piece to that
/// of the state before it; `gradients.state` is not touched. `d_anchor` receives what belongs to the weights at the chunk's
/// start, unless it is empty: then the piece is the chunk.
fn piece_vjp<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    read: Read,
    tokens: &Tokens<'_, T>,
    (from, n): (usize, usize),
    [anchor, start]: [&[T]; 2],
    d_y: Option<Mat<'_, T>>,
    gradients: &mut Gradients<'_, T>,
    d_state: &mut [T],
    d_anchor: &mut [T],
    scratch: &mut [T],
) -> Result<()> {
    let spec = lay.spec;
    let mut scratch = Scratch::new(scratch);
    let mut open = Open::take(&mut scratch, lay)?;
    open.keys = side_by_side(lay, tokens.k.sub(from, n));
    let mut written = Written::take(&mut scratch, lay)?;
    let mut reading = Reading::take(&mut scratch, lay)?;
    let y = scratch.take(lay.rows * spec.value_width())?;
    let mut inside = Inside::take(&mut scratch, lay)?;
    let mut coefficients = Sets::take(&mut scratch, spec, lay.coefficients(), lay.rows)?;

    let (k, v, q) = (tokens.k.sub(from, n), tokens.v.sub(from, n), tokens.q.sub(from, n));
    write::gradients(g, lay, &anchor[..spec.params()], k, v, 0, &mut open, &mut written, None)?;
    coefficients.start();
    enter(g, lay, tokens, from, n, 0, 0, &mut open, &mut written, &mut coefficients)?;

    inside.clear();
    close_vjp(g, lay, (n, n, 0), start.split_at(spec.params()), open.seen(), &coefficients, d_state, &mut inside)?;
    let rows: Rows = read.into();
    // What reads leave with both W and S is added in the visit in which these decay.
    let at_once = d_y.is_some() && rows != Rows::Start;
    decay(g, lay, &coefficients, n, d_state, at_once);
    let mut d_q = gradients.q.rb().sub(from, n);
    match d_y {
        None => d_q.fill(T::ZERO),
        Some(d_y) => {
            let asked = if read == Read::ChunkStart { anchor } else { start };
            if spec.network == Network::Residual {
                let out = MatMut::new(y, n, spec.value_width())?;
                answers(g, lay, rows, Source::Stays(asked), open.seen(), &coefficients, q, 0, &mut reading, out)?;
            } else {
                layers_inside(g, lay, rows, &mut Source::Stays(asked), open.seen(), &coefficients, q, 0, &mut reading)?;
            }
            let d_y = d_y.sub(from, n);
            let d_asked = if read == Read::ChunkStart && !d_anchor.is_empty() { &mut *d_anchor } else { &mut *d_state };
            read_vjp(g, lay, rows, asked, open.seen(), &coefficients, &reading, q, d_y, d_q, d_asked, &mut inside)?;
        }
    }
    g.vectorise(
        #[inline(always)]
        || {
            for t in (0..n).filter(|t| tokens.mask.writes(from + t)) {
                let theta = |set| tokens.theta.of(set).at((from + t, 0, spec.chunk));
                rate_vjp(lay, t, theta, open.seen(), &written, &mut inside)?;
            }
            Ok(())
        },
    )?;
    gates_vjp(g, lay, tokens, (from, n), (0, 0), &coefficients, gradients, &mut inside);
    let (d_k, d_v) = (gradients.k.rb().sub(from, n), gradients.v.rb().sub(from, n));
    let d_first = if d_anchor.is_empty() { d_state } else { d_anchor };
    write_vjp(g, lay, &anchor[..spec.params()], open.seen(), &mut written, d_k, d_v, d_first, &mut inside)
}

/// Gradients of the gates of `n` tokens from the batch's token `from` on, which are those of the piece from `filled` on and whose
/// coefficients begin with row `base`. Those of θ stand in the rates' place.
pub(super) fn gates_vjp<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    tokens: &Tokens<'_, T>,
    (from, n): (usize, usize),
    (filled, base): (usize, usize),
    coefficients: &[Coefficients<'_, T>],
    gradients: &mut Gradients<'_, T>,
    inside: &mut Inside<'_, T>,
) {
    for (set, (own, d)) in coefficients.iter().zip(inside.coefficients.iter_mut()).enumerate() {
        let ([alpha, eta], theta) = ([tokens.alpha, tokens.eta].map(|gate| gate.of(set)), tokens.theta);
        let d_theta = lay.rates_of(inside.rate, set);
        g.vectorise(
            #[inline(always)]
            || {
                for t in (0..n).rev() {
                    let (at, writes) = ((from + t, 0, lay.spec.chunk), tokens.mask.writes(from + t));
                    let (d_alpha, d_eta) = own.pull(base + t, filled + t, writes, alpha.at(at), eta.at(at), d);
                    gradients.alpha[tokens.alpha.value(at, set)] += d_alpha;
                    gradients.eta[tokens.eta.value(at, set)] += d_eta;
                    if writes {
                        gradients.theta[theta.value(at, set)] += d_theta[filled + t];
                    }
                }
            },
        );
    }
}
