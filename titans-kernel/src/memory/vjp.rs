//! Backward of the chunk form: exact gradients through the inner updates (`docs/MATH.md` section 4).
//!
//! Only the state at every chunk's start, or at every so many-th, is kept from the forward; the inside of a piece is
//! computed again, and the states between two that are kept. Pieces are walked from the last to the first; the
//! cotangent of the state is carried along, and that of the weights at the chunk's start collected over its pieces.
//!
//! `d_x` is the cotangent of x everywhere. A piece's forward was: gradients, coefficients and rates, reads, closing. So
//! back through closing (`close_vjp`), reads (`read_vjp`), rates and coefficients (`rate_vjp`, `gates_vjp`) and
//! gradients (`write_vjp`).

use super::boundaries::{BoundarySpan, advance_len, state, states_between};
use super::close::End;
use super::close_vjp::{close_vjp, decay};
use super::coefficients::Coefficients;
use super::exact_vjp;
use super::feed::{Pairs, PieceTokens, Place};
use super::forward::{enter, side_by_side};
use super::frame::Frame;
use super::gates::{Gate, Tokens};
use super::inside::{BackwardSpace, Inside};
use super::layout::Layout;
use super::open::Past;
use super::read::{Asked, Rows, answers, inside as layers_inside};
use super::read_vjp::{ReadInputs, read_vjp};
use super::source::StateSource;
use super::spec::{MemorySpec, Read};
use super::write;
use super::write_vjp::{rate_vjp, write_vjp};
use crate::arithmetic::Arithmetic;
use crate::error::{Error, Result, expect_len};
use crate::scalar::Scalar;
use crate::scratch::{Room, Scratch, counted};
use crate::view::{Mat, MatMut};

/// What a forward was given and left for its backward.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a, T> {
    /// The weights that its read-outs were by.
    pub read: Read,
    /// Its tokens.
    pub tokens: &'a Tokens<'a, T>,
    /// Its boundaries ([`MemorySpec::boundaries_len`]).
    pub boundaries: &'a [T],
}

/// Cotangents of what [`super::forward`] returned; `None` is zero.
///
/// ```
/// # use titans_kernel::memory::{Cotangents, Gate, Gradients, Mask, MemorySpec, Read, Record, Tokens};
/// # use titans_kernel::memory::{vjp, vjp_scratch_len};
/// # use titans_kernel::{Mat, MatMut, Portable};
/// # let spec = MemorySpec { compute_chunk: 1, ..MemorySpec::new(&[1, 1])? };
/// # let (one, half, zero) = ([1.0], [0.5], [0.0]);
/// # let (k, [alpha, theta, eta]) = (Mat::new(&one, 1, 1)?, [&zero, &half, &zero].map(|x| Gate::tokens(x)));
/// # let tokens = Tokens { k, v: k, q: k, alpha, theta, eta, mask: Mask::Write };
/// # let record = Record { read: Read::After, tokens: &tokens, boundaries: &[0.0; 2] };
/// # let ([mut k, mut v, mut q, mut alpha, mut theta, mut eta], mut state) = ([[0.0]; 6], [0.0; 2]);
/// # let [k, mv, q] = [&mut k, &mut v, &mut q].map(|x| MatMut::new(x, 1, 1).unwrap());
/// # let (alpha, theta, eta, state) = (&mut alpha, &mut theta, &mut eta, &mut state);
/// # let gradients = Gradients { k, v: mv, q, alpha, theta, eta, state };
/// // A loss of 3 W that looks at no answer. One token with k = 1 has made W = θ v, θ = ½.
/// let cotangents = Cotangents { y: None, state: Some(&[3.0, 0.0]) };
/// vjp(&Portable, &spec, record, cotangents, gradients, &mut vec![0.0; vjp_scratch_len(&spec)])?;
/// assert_eq!(v, [1.5]); // 3 θ
/// # Ok::<(), titans_kernel::Error>(())
/// ```
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
        counted(|room| {
            let _: [&mut [f64]; 2] = between(room, spec)?;
            // One after another in the same place: the states between two boundaries, a piece's inside, the state by
            // rows.
            let piece = counted(|room| BackwardSpace::<f64>::take(room, Layout::in_panels(spec, spec.piece_len())));
            let most = piece.max(advance_len(spec)).max(spec.state_len());
            let rest: Result<&mut [f64]> = room.take(most);
            rest
        })
    })
}

/// The states between two kept boundaries, and the cotangent of the weights at a chunk's start.
fn between<'a, T, R: Room<'a, T>>(room: &mut R, spec: &MemorySpec) -> Result<[&'a mut [T]; 2]> {
    let pieces = spec.keep_every.saturating_mul(spec.pieces_of_period()).saturating_sub(1);
    Ok([room.area(pieces, spec.state_len())?, room.take(spec.anchor_len())?])
}

/// Backward of [`super::forward`]: the gradients of ⟨cotangents, outputs⟩.
///
/// By reverse mode (`docs/MATH.md` section 4): a piece's forward was W, S ↦ H, Δ (4), rates and coefficients (3), reads
/// (2), W′, S′ (1). From ⟨W̄′, W′⟩ + ⟨S̄′, S′⟩ + ⟨Ȳ, Y⟩ the pieces are taken from the last to the first, each one's W̄
/// and S̄ being the W̄′ and S̄′ of the one before.
///
/// States between the record's boundaries are computed by the chunk form: after a forward in the chunk form all
/// gradients have the bits that they have with every boundary kept. With a clip, the factor is differentiated too. The
/// surprise is an observation: it receives no cotangent. `scratch`: [`vjp_scratch_len`] elements, contents irrelevant.
///
/// ```
/// use titans_kernel::memory::{Cotangents, Form, Gate, Gradients, Mask, MemorySpec, Outputs, Read, Record, Tokens};
/// use titans_kernel::memory::{forward, forward_scratch_len, vjp, vjp_scratch_len};
/// use titans_kernel::{Mat, MatMut, Portable};
///
/// let spec = MemorySpec::new(&[1, 1])?;
/// let (one, zero, half) = ([1.0], [0.0], [0.5]);
/// let row = |x| Mat::new(x, 1, 1);
/// let gate = Gate::tokens;
/// let (k, v, q) = (row(&one)?, row(&one)?, row(&one)?);
/// let tokens = Tokens { k, v, q, alpha: gate(&zero), theta: gate(&half), eta: gate(&zero), mask: Mask::Write };
/// let (mut state, mut y, mut boundaries) = ([0.0; 2], [0.0], vec![0.0; spec.boundaries_len(1)]);
/// let outputs = Outputs {
///     state: &mut state,
///     y: MatMut::new(&mut y, 1, 1)?,
///     surprise: None,
///     boundaries: Some(&mut boundaries),
/// };
/// let mut scratch = vec![0.0; forward_scratch_len(&spec, Form::Chunk).max(vjp_scratch_len(&spec))];
/// forward(&Portable, &spec, Form::Chunk, Read::After, &tokens, outputs, &mut scratch)?;
/// assert_eq!(y, [0.5]); // θ (v − 0 k)
///
/// let [mut d_k, mut d_v, mut d_q, mut d_alpha, mut d_theta, mut d_eta] = [[f64::NAN]; 6];
/// let mut d_state = [f64::NAN; 2];
/// let gradients = Gradients {
///     k: MatMut::new(&mut d_k, 1, 1)?,
///     v: MatMut::new(&mut d_v, 1, 1)?,
///     q: MatMut::new(&mut d_q, 1, 1)?,
///     alpha: &mut d_alpha,
///     theta: &mut d_theta,
///     eta: &mut d_eta,
///     state: &mut d_state,
/// };
/// let record = Record { read: Read::After, tokens: &tokens, boundaries: &boundaries };
/// let cotangents = Cotangents { y: Some(row(&one)?), state: None };
/// vjp(&Portable, &spec, record, cotangents, gradients, &mut scratch)?;
/// assert_eq!((d_v, d_theta, d_q), ([0.5], [1.0], [0.5])); // ∂y/∂v = θ, ∂y/∂θ = v, ∂y/∂q = W
/// # Ok::<(), titans_kernel::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`], [`Error::Shape`] or [`Error::Buffer`], before anything is written.
pub fn vjp<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    spec: &MemorySpec,
    record: Record<'_, T>,
    cotangents: Cotangents<'_, T>,
    mut gradients: Gradients<'_, T>,
    scratch: &mut [T],
) -> Result<()> {
    check(spec, &record, &cotangents, &gradients, scratch.len())?;
    let (on, Record { read, tokens, boundaries }) = (Frame::of_pieces(g, spec), record);
    // A gate's gradient is a sum over the tokens that share its value.
    for gate in [&mut *gradients.alpha, gradients.theta, gradients.eta] {
        gate.fill(T::ZERO);
    }
    let (len, keep, periods) = (spec.state_len(), spec.keep_every, spec.periods(tokens.len()));
    let (boundaries, deltas) = boundaries.split_at(spec.states_len(tokens.len()));
    let mut room = Scratch::new(scratch);
    let [between, d_anchor] = between(&mut room, spec)?;
    let scratch = room.rest();
    d_anchor.fill(T::ZERO);
    let d_state = core::mem::take(&mut gradients.state);
    match cotangents.state {
        Some(d) => on.lay.to_panels(d, d_state),
        None => d_state.fill(T::ZERO),
    }
    let run = BackwardPass { on, read, tokens, deltas, d_y: cotangents.y };
    for first in (0..periods).step_by(keep).rev() {
        let kept = &boundaries[first / keep * len..][..len];
        let span = BoundarySpan::new(spec, first, tokens.len());
        states_between(on, (tokens, span), kept, deltas, between, scratch)?;
        for i in (0..span.pieces(spec)).rev() {
            let (place, anchor) = (span.piece(spec, i), BoundarySpan::anchor(spec, i));
            let states = [anchor, i].map(|i| state(spec, kept, between, i));
            if spec.wide() {
                exact_vjp::piece(run, place, states[1], &mut gradients, d_state, scratch)?;
                continue;
            }
            run.piece(place, states, &mut gradients, [d_state, d_anchor], scratch)?;
            if i == anchor {
                // The weights at the chunk's start are W of its first piece's state: both cotangents meet.
                d_state.iter_mut().zip(&mut *d_anchor).for_each(|(d, more)| *d += core::mem::take(more));
            }
        }
    }
    // From panels back to rows.
    let panels = &mut scratch[..len];
    panels.copy_from_slice(d_state);
    on.lay.to_rows(panels, d_state);
    Ok(())
}

/// Do all sizes fit together?
fn check<T: Scalar>(
    spec: &MemorySpec,
    record: &Record<'_, T>,
    cotangents: &Cotangents<'_, T>,
    gradients: &Gradients<'_, T>,
    given: usize,
) -> Result<()> {
    spec.validate()?;
    let Record { tokens, boundaries, .. } = record;
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
    let entries = |gate: &Gate<'_, T>| gate.gradient_len(n, 0, b);
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

/// What the backward of every piece of a batch looks at.
#[derive(Debug)]
pub(super) struct BackwardPass<'a, T, G> {
    pub on: Frame<'a, G>,
    pub read: Read,
    pub tokens: &'a Tokens<'a, T>,
    /// The batch's Δ, where a piece is several chunks.
    pub deltas: &'a [T],
    /// The cotangent of the read-outs.
    pub d_y: Option<Mat<'a, T>>,
}

// Not derived: the arithmetic itself need not be `Copy`.
impl<T: Copy, G> Clone for BackwardPass<'_, T, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Copy, G> Copy for BackwardPass<'_, T, G> {}

impl<'a, T: Scalar, G: Arithmetic<T>> BackwardPass<'a, T, G> {
    /// One piece: computes its inside again, then walks it backwards, `d_state` from the cotangent of the state behind
    /// the piece to that of the state before it; `gradients.state` is not touched. `d_anchor` receives what belongs to
    /// the weights at the chunk's start, unless it is empty: then the piece is the chunk.
    fn piece(
        self,
        place: Place,
        states: [&[T]; 2],
        gradients: &mut Gradients<'_, T>,
        [d_state, d_anchor]: [&mut [T]; 2],
        scratch: &mut [T],
    ) -> Result<()> {
        let (Self { on, read, .. }, lay, n, [anchor, start]) = (self, self.on.lay, place.n, states);
        let (spec, feed) = (lay.spec, PieceTokens::new(self.tokens, place));
        let mut space = BackwardSpace::take(&mut Scratch::new(scratch), lay)?;
        space.writing.open.keys = side_by_side(lay, feed.k());
        // H, Δ, A, G, C, P and the rates once more.
        let pairs = Pairs { k: feed.k(), v: feed.v(), from: 0 };
        write::gradients(on, &anchor[..spec.params()], pairs, &mut space.writing, None)?;
        space.coefficients.start();
        enter(on, feed, &mut space.writing, &mut space.coefficients)?;

        // (1), closing, first: it overwrites the cotangents of H and Δ, all others add.
        space.inside.clear();
        let past = Past::new(space.writing.open.view(), &space.coefficients);
        close_vjp(on, (End::of(n), 0), start, past, d_state, &mut space.inside)?;
        // What reads leave with both W and S is added in the visit in which these decay.
        let at_once = self.d_y.is_some() && !read.is_at_chunk_start();
        decay(on, past, n, d_state, at_once);
        // (2), reads.
        let d_asked = if read.is_at_chunk_start() && !d_anchor.is_empty() { &mut *d_anchor } else { &mut *d_state };
        let asked = if read.is_at_chunk_start() { anchor } else { start };
        self.reads(feed, asked, &mut space, gradients.q.rb().sub(place.from, n), d_asked)?;
        // (3): the rates' cotangents are complete: through the clip, then through the recurrences.
        on.g.vectorise(
            #[inline(always)]
            || {
                for t in (0..n).filter(|&t| feed.writes(t)) {
                    rate_vjp(lay, feed, t, &space.writing, &mut space.inside)?;
                }
                Ok(())
            },
        )?;
        gates_vjp(on, feed, 0, &space.coefficients, gradients, &mut space.inside);
        let d_pairs = [gradients.k.rb().sub(place.from, n), gradients.v.rb().sub(place.from, n)];
        // (4): gradients were taken at the chunk's first weights.
        let d_first = if d_anchor.is_empty() { d_state } else { d_anchor };
        write_vjp(on, &anchor[..spec.params()], &mut space.writing, d_pairs, d_first, &mut space.inside)
    }

    /// The queries of a piece, answered by the state `asked`: once more what the layers left, and back.
    fn reads(
        self,
        feed: PieceTokens<'_, T>,
        asked: &[T],
        space: &mut BackwardSpace<'_, T>,
        mut d_q: MatMut<'_, T>,
        d_asked: &mut [T],
    ) -> Result<()> {
        let Some(d_y) = self.d_y else {
            d_q.fill(T::ZERO);
            return Ok(());
        };
        let (on, spec, Place { from, n, .. }) = (self.on, self.on.lay.spec, feed.place);
        let BackwardSpace { writing, reading, coefficients, inside, y, .. } = space;
        let (past, start) = (Past::new(writing.open.view(), coefficients), asked);
        let asked = Asked::new(Rows::from(self.read), feed.q(), 0);
        if spec.network.is_residual() {
            // Its last layer's z is needed too; a plain network's is y itself, which its backward does not look at.
            let out = MatMut::new(y, n, spec.value_width())?;
            answers(on, asked, StateSource::Stays(start), past, reading, out)?;
        } else {
            layers_inside(on, asked, &mut StateSource::Stays(start), past, reading)?;
        }
        let inputs = ReadInputs { start, past, reading };
        read_vjp(on, asked, inputs, (d_y.sub(from, n), d_q), d_asked, inside)
    }
}

/// Gradients of the gates of some tokens of a piece, whose coefficients begin with row `base`. Those of θ stand in the
/// rates' place: r = f θ, so θ̄ = f r̄ ([`rate_vjp`]).
///
/// With κ = 1 − α a token that writes made E_t = η E_{t−1}, A_t = κ A_{t−1}, G_t = κ G_{t−1} + E_t, P_{t,i} = η
/// P_{t−1,i} and C_{t,i} = κ C_{t−1,i} + P_{t,i} ((3) of `docs/MATH.md` section 4). From the last token to the first
/// [`Coefficients::push_vjp`] carries a row's cotangents to the row before and gives
///
/// ```text
/// ᾱ_t = −(Ā_t A_{t−1} + Ḡ_t G_{t−1} + Σ_{i<t} C̄_{t,i} C_{t−1,i}),   η̄_t = Ē_t E_{t−1} + Σ_{i<t} P̄_{t,i} P_{t−1,i}
/// ```
///
/// Tokens that share a value add up: it entered each of them.
pub(super) fn gates_vjp<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    base: usize,
    coefficients: &[Coefficients<'_, T>],
    gradients: &mut Gradients<'_, T>,
    inside: &mut Inside<'_, T>,
) {
    let (lay, tokens, Place { n, filled, .. }) = (on.lay, feed.tokens, feed.place);
    for (set, (own, d)) in coefficients.iter().zip(inside.coefficients.iter_mut()).enumerate() {
        let ([alpha, eta], theta) = ([tokens.alpha, tokens.eta].map(|gate| gate.of(set)), tokens.theta);
        let d_theta = lay.layer_rates(inside.rate, set);
        on.g.vectorise(
            #[inline(always)]
            || {
                for t in (0..n).rev() {
                    let (at, writes) = (feed.at(t, lay.spec.chunk), feed.writes(t));
                    let (d_alpha, d_eta) = own.push_vjp(base + t, filled + t, writes, alpha.at(at), eta.at(at), d);
                    gradients.alpha[tokens.alpha.value_index(at, set)] += d_alpha;
                    gradients.eta[tokens.eta.value_index(at, set)] += d_eta;
                    if writes {
                        // θ̄ = f r̄, which `rate_vjp` left in the rate's place.
                        gradients.theta[theta.value_index(at, set)] += d_theta[filled + t];
                    }
                }
            },
        );
    }
}
