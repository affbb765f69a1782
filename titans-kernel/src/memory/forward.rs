//! The memory over a batch of tokens: chunk form and token form (`docs/MATH.md` sections 2 and 3).

use super::boundaries::Boundaries;
use super::close::{End, close};
use super::coefficients::Coefficients;
use super::feed::{Pairs, PieceTokens, Place, Returned, Wanted};
use super::frame::Frame;
use super::gates::Tokens;
use super::layout::Layout;
use super::open::Past;
use super::read::{Asked, answers};
use super::source::StateSource;
use super::spec::{MemorySpec, Read};
use super::work::{Work, Writing};
use super::{exact_panels, exact_piece, step, token, write};
use crate::arithmetic::{Arithmetic, CARRIED, Factors};
use crate::choice;
use crate::error::{Error, Result, expect_len};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::{Room, Scratch, counted};
use crate::view::{Mat, MatMut};

choice! {
    /// By which of two ways the same numbers are computed.
    #[derive(Default)]
    pub enum Form: "form" {
        /// Walks the tokens and builds the weights after each by the equations as they stand (9 to 14), at every chunk:
        /// the specification that the other form is tested against, and slow.
        Token = 0, "token";
        /// The dual form by matrix products, without a weight matrix per token (section 3.2): the engine.
        #[default]
        Chunk = 1, "chunk";
    }
}

impl Form {
    /// Are the weights after every token built, so that a chunk is walked whole?
    const fn builds_weights(self) -> bool {
        match self {
            Self::Token => true,
            Self::Chunk => false,
        }
    }
}

/// Where [`forward`] writes, for n tokens.
///
/// ```
/// use titans_kernel::memory::{Form, Gate, Mask, MemorySpec, Outputs, Read, Tokens, forward, forward_scratch_len};
/// use titans_kernel::{Mat, MatMut, Portable};
///
/// let (spec, zero, one) = (MemorySpec::new(&[1, 1])?, [0.0; 2], [1.0; 2]);
/// let (k, gate) = (Mat::new(&one, 2, 1)?, Gate::tokens); // one pair, twice
/// let tokens = Tokens { k, v: k, q: k, alpha: gate(&zero), theta: gate(&one), eta: gate(&zero), mask: Mask::Write };
/// let (mut state, mut y, mut surprise) = ([0.0; 2], [f64::NAN; 2], [f64::NAN; 2]);
/// let y = MatMut::new(&mut y, 2, 1)?;
/// let outputs = Outputs { state: &mut state, y, surprise: Some(&mut surprise), boundaries: None };
/// let mut scratch = vec![0.0; forward_scratch_len(&spec, Form::Chunk)];
/// forward(&Portable, &spec, Form::Chunk, Read::After, &tokens, outputs, &mut scratch)?;
/// assert_eq!((surprise, state), ([0.5, 0.0], [1.0, 0.0])); // ½ ‖0 − 1‖², then none; W = 1, S = 0
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Debug)]
pub struct Outputs<'a, T> {
    /// `[W | S]` before the first token ([`MemorySpec::state_len`]); afterwards that after the last one.
    pub state: &'a mut [T],
    /// Read-outs `[n, d_L]`, by the weights that the read names.
    pub y: MatMut<'a, T>,
    /// On request (n): the inner loss c ‖M(k_t) − v_t‖² at the weights of the chunk's start
    /// ([`MemorySpec::loss_scale`]).
    pub surprise: Option<&'a mut [T]>,
    /// For [`super::vjp`] ([`MemorySpec::boundaries_len`]): the state at the start of every
    /// [`keep_every`](MemorySpec::keep_every)-th period, and Δ where a piece is several chunks, in an order of its own.
    pub boundaries: Option<&'a mut [T]>,
}

/// Elements of scratch that [`forward`] needs, whatever the number of tokens; `usize::MAX` for an invalid
/// configuration.
pub fn forward_scratch_len(spec: &MemorySpec, form: Form) -> usize {
    spec.size(|| match form {
        Form::Token => token::scratch_len(spec),
        Form::Chunk if spec.token_by_token() => step::scratch_len(spec),
        Form::Chunk => counted(|room| {
            let _: [&mut [f64]; 2] = panels(room, spec)?;
            exact_panels::take::<f64, _>(room, Layout::in_panels(spec, spec.piece_len()))
        }),
    })
}

/// The state in panels, and the weights at the chunk's start where these are not the piece's.
fn panels<'a, T, R: Room<'a, T>>(room: &mut R, spec: &MemorySpec) -> Result<[&'a mut [T]; 2]> {
    Ok([room.take(spec.state_len())?, room.take(spec.anchor_len())?])
}

/// Writes `tokens` into the memory and answers their queries. `scratch`: [`forward_scratch_len`] elements, contents
/// irrelevant.
///
/// Returns how many tokens' gradients were clipped. Numbers are not inspected: what is not finite spreads to later
/// tokens (see [`Tokens::check_values`]), never to earlier ones.
///
/// ```
/// use titans_kernel::memory::{Form, Gate, Mask, MemorySpec, Outputs, Read, Tokens, forward, forward_scratch_len};
/// use titans_kernel::{Mat, MatMut, Portable};
///
/// let spec = MemorySpec::new(&[2, 2])?;
/// let (keys, values) = ([1.0, 0.0, 0.0, 1.0], [0.5, -0.5, 0.25, 1.0]); // two tokens
/// let rows = |x| Mat::new(x, 2, 2);
/// let (alpha, theta, eta) = ([0.0; 2], [1.0; 2], [0.0; 2]);
/// let tokens = Tokens {
///     k: rows(&keys)?,
///     v: rows(&values)?,
///     q: rows(&keys)?, // each asks for what it has just written
///     alpha: Gate::tokens(&alpha),
///     theta: Gate::tokens(&theta),
///     eta: Gate::tokens(&eta),
///     mask: Mask::Write,
/// };
/// let (mut state, mut y) = (vec![0.0; spec.state_len()], [f64::NAN; 4]);
/// let mut scratch = vec![0.0; forward_scratch_len(&spec, Form::Chunk)];
/// let outputs = Outputs { state: &mut state, y: MatMut::new(&mut y, 2, 2)?, surprise: None, boundaries: None };
/// forward(&Portable, &spec, Form::Chunk, Read::After, &tokens, outputs, &mut scratch)?;
/// assert_eq!(y, values);
/// # Ok::<(), titans_kernel::Error>(())
/// ```
///
/// # Errors
/// [`Error::Config`], [`Error::Shape`] or [`Error::Buffer`], before anything is written.
pub fn forward<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    spec: &MemorySpec,
    form: Form,
    read: Read,
    tokens: &Tokens<'_, T>,
    outputs: Outputs<'_, T>,
    scratch: &mut [T],
) -> Result<u64> {
    check(spec, form, tokens, &outputs, scratch.len())?;
    let (n, Outputs { state, y, surprise, boundaries }) = (tokens.len(), outputs);
    // Fused sweeps; the token form stays the plain definition, also where every token is a piece.
    if !form.builds_weights() && spec.token_by_token() && boundaries.is_none() {
        let feed = PieceTokens::new(tokens, Place::of_batch(0, n));
        let wanted = Wanted { y: Some(y), surprise };
        return step::tokens(Frame::of_tokens(g, spec), read, feed, state, wanted, scratch);
    }
    let (states, deltas) = match boundaries.map(|b| Boundaries::take(&mut Scratch::new(b), spec, n)).transpose()? {
        Some(Boundaries { states, deltas }) => (Some(states), (!deltas.is_empty()).then_some(deltas)),
        None => (None, None),
    };
    let on = Frame::of_pieces(g, spec);
    let batch = Batch { on, form, read, tokens, y, surprise, states, deltas };
    if form.builds_weights() || spec.token_by_token() {
        // Weights lie by rows: only what is kept for the backward goes to panels.
        return batch.run(state, &mut [], |lay, rows, panels| lay.to_panels(rows, panels), scratch);
    }
    let mut room = Scratch::new(scratch);
    let [in_panels, anchor] = panels(&mut room, spec)?;
    on.lay.to_panels(state, in_panels);
    let clipped = batch.run(in_panels, anchor, |_, from, to| to.become_copy(from), room.rest())?;
    on.lay.to_rows(in_panels, state);
    Ok(clipped)
}

/// Do all sizes fit together?
fn check<T: Scalar>(
    spec: &MemorySpec,
    form: Form,
    tokens: &Tokens<'_, T>,
    outputs: &Outputs<'_, T>,
    given: usize,
) -> Result<()> {
    spec.validate()?;
    let n = tokens.len();
    tokens.check(spec, 0)?;
    expect_len("state", spec.state_len(), outputs.state.len())?;
    check_outputs(spec, n, &outputs.y, outputs.surprise.as_deref())?;
    if let Some(b) = &outputs.boundaries {
        expect_len("boundaries", spec.boundaries_len(n), b.len())?;
    }
    let needed = forward_scratch_len(spec, form);
    if given < needed {
        return Err(Error::Buffer { what: "scratch", needed, given });
    }
    Ok(())
}

/// Writes a state to its place among the boundaries.
type Keep<T> = fn(Layout<'_>, &[T], &mut [T]);

/// A batch on its way through the memory, piece after piece.
struct Batch<'a, T, G> {
    on: Frame<'a, G>,
    form: Form,
    read: Read,
    tokens: &'a Tokens<'a, T>,
    y: MatMut<'a, T>,
    surprise: Option<&'a mut [T]>,
    /// The states among the boundaries.
    states: Option<&'a mut [T]>,
    /// Δ among the boundaries.
    deltas: Option<&'a mut [T]>,
}

impl<T: Scalar, G: Arithmetic<T>> Batch<'_, T, G> {
    /// All of the tokens; `anchor` receives the weights at every chunk's start, unless it is empty.
    fn run(mut self, state: &mut [T], anchor: &mut [T], keep: Keep<T>, scratch: &mut [T]) -> Result<u64> {
        let (spec, n) = (self.on.lay.spec, self.tokens.len());
        let (mut clipped, mut from) = (0, 0);
        while from < n {
            if from.is_multiple_of(spec.period_len()) {
                // A chunk in pieces takes all its gradients at these weights.
                anchor.become_copy(state.part(..anchor.len()));
                self.boundary(from / spec.period_len(), state, keep);
            }
            let chunk =
                if self.form.builds_weights() { spec.chunk.min(n - from) } else { spec.piece_len_from(from, n) };
            let rows = if spec.token_by_token() { 1 } else { chunk };
            clipped += self.piece(Place::of_batch(from, rows), [state, anchor], scratch)?;
            from += rows;
        }
        Ok(clipped)
    }

    /// The state at the start of a period, where it is one that is kept.
    fn boundary(&mut self, number: usize, state: &[T], keep: Keep<T>) {
        let spec = self.on.lay.spec;
        if let Some(states) = self.states.as_deref_mut()
            && number.is_multiple_of(spec.keep_every)
        {
            keep(
                self.on.lay,
                state,
                states.part_mut(number / spec.keep_every * spec.state_len()..).part_mut(..spec.state_len()),
            );
        }
    }

    /// One piece; in the token form one chunk.
    fn piece(&mut self, place: Place, [state, anchor]: [&mut [T]; 2], scratch: &mut [T]) -> Result<u64> {
        let Self { on, form, read, tokens, .. } = *self;
        let (spec, Place { from, n, .. }) = (on.lay.spec, place);
        let (feed, tokenwise) = (PieceTokens::new(tokens, place), Frame::of_tokens(on.g, spec));
        let (y, width) = (self.y.rb().sub(from, n), spec.value_width());
        let surprise = self.surprise.as_deref_mut().map(|s| s.part_mut(from..from + n));
        let delta = match self.deltas.as_deref_mut() {
            Some(deltas) => Some(MatMut::new(deltas.part_mut(from * width..).part_mut(..n * width), n, width)?),
            None => None,
        };
        match form {
            Form::Token => token::chunk(tokenwise, read, feed, state, Returned { y, surprise, delta }, scratch),
            Form::Chunk if spec.token_by_token() => {
                step::tokens(tokenwise, read, feed, state, Wanted { y: Some(y), surprise }, scratch)
            }
            Form::Chunk if spec.wide() => {
                exact_piece::piece(on, read, feed, state, Returned { y, surprise, delta }, scratch)
            }
            Form::Chunk => chunk(on, read, feed, (state, anchor), Returned { y, surprise, delta }, scratch),
        }
    }
}

/// Shapes of what a call over n tokens returns.
pub(super) fn check_outputs<T: Scalar>(
    spec: &MemorySpec,
    n: usize,
    y: &MatMut<'_, T>,
    surprise: Option<&[T]>,
) -> Result<()> {
    expect_len("y rows", n, y.rows())?;
    expect_len("y columns", spec.value_width(), y.cols())?;
    if let Some(s) = surprise {
        expect_len("surprise", n, s.len())?;
    }
    Ok(())
}

/// One piece of a chunk, n ≤ the layout's rows. `anchor` are the weights at the chunk's start, empty where the piece is
/// the whole chunk.
fn chunk<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    read: Read,
    feed: PieceTokens<'_, T>,
    (state, anchor): (&mut [T], &[T]),
    returned: Returned<'_, T>,
    scratch: &mut [T],
) -> Result<u64> {
    let (lay, n, Returned { y, surprise, .. }) = (on.lay, feed.place.n, returned);
    let mut work = Work::take(&mut Scratch::new(scratch), lay)?;
    work.writing.open.keys = side_by_side(lay, feed.k());
    // H and Δ at the chunk's first weights, then A, G, C, P and the rates.
    let pairs = Pairs { k: feed.k(), v: feed.v(), from: 0 };
    write::gradients(on, first(anchor, state), pairs, &mut work.writing, surprise)?;
    work.coefficients.start();
    let clipped = enter(on, feed, &mut work.writing, &mut work.coefficients)?;
    let Work { writing, coefficients, reading, scaled } = &mut work;
    let past = Past::new(writing.open.view(), coefficients);
    let (asked, end) = (Asked::new(read.into(), feed.q(), 0), End::of(n));
    if read.is_at_chunk_start() && !anchor.is_empty() {
        // The weights that answer are not those that close.
        answers(on, asked, StateSource::Stays(anchor), past, reading, y)?;
        close(on, end, past, scaled, state)?;
    } else {
        answers(on, asked, StateSource::Closes { state, end, scaled }, past, reading, y)?;
    }
    Ok(clipped)
}

/// Keys that follow one another as the layout's rows do can be used where they are; others are copied, or else they
/// share few sets of the cache.
pub(super) fn side_by_side<'k, T: Scalar>(lay: Layout<'_>, k: Mat<'k, T>) -> Option<Mat<'k, T>> {
    (k.row_stride() == lay.stride(k.cols())).then_some(k)
}

/// The weights at the chunk's start: `anchor`, or where it is empty those that `state` begins with.
pub(super) fn first<'a, T>(anchor: &'a [T], state: &'a [T]) -> &'a [T] {
    if anchor.is_empty() { state } else { anchor }
}

/// Rates and coefficients of some tokens of the open piece, whose Δ is known; gates one a chunk count chunks from the
/// batch's token 0.
pub(super) fn enter<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    writing: &mut Writing<'_, T>,
    coefficients: &mut [Coefficients<'_, T>],
) -> Result<u64> {
    for (set, coefficients) in coefficients.iter_mut().enumerate() {
        advance(on, feed, set, coefficients);
    }
    write_rates(on, feed, writing)
}

/// One set of the coefficients of [`enter`]: they do not depend on rates.
pub(super) fn advance<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    set: usize,
    coefficients: &mut Coefficients<'_, T>,
) {
    let (alpha, eta, chunk) = (feed.tokens.alpha.of(set), feed.tokens.eta.of(set), on.lay.spec.chunk);
    let Place { n, filled, .. } = feed.place;
    for t0 in (0..n).step_by(CARRIED) {
        let mut factors = [Factors::default(); CARRIED];
        let some = factors.part_mut(..CARRIED.min(n - t0));
        for (t, f) in (t0..).zip(some.iter_mut()) {
            let at = feed.at(t, chunk);
            // κ = 1 − α and η; a token that does not write repeats the row before it.
            *f = Factors { keep: T::ONE - alpha.at(at), eta: eta.at(at), rate: T::ZERO, writes: feed.writes(t) };
        }
        coefficients.push(on.g, t0, filled, some);
    }
}

/// The rates of [`enter`]; returns how many were clipped.
pub(super) fn write_rates<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    writing: &mut Writing<'_, T>,
) -> Result<u64> {
    on.g.vectorise(
        #[inline(always)]
        || {
            let mut clipped = 0;
            for t in 0..feed.place.n {
                clipped += u64::from(write::rate(on.lay, feed, t, writing)?);
            }
            Ok(clipped)
        },
    )
}
