//! The memory over a batch of tokens: chunk form and token form (`docs/MATH.md` sections 2 and 3).

use super::close::{close, close_scratch};
use super::coefficients::Coefficients;
use super::gates::Tokens;
use super::layout::{Layout, Open};
use super::read::answers;
use super::sets::Sets;
use super::source::Source;
use super::spec::{MemorySpec, Read};
use super::step;
use super::token;
use super::work::{Reading, Written};
use super::write;
use super::{exact_panels, exact_piece};
use crate::error::{Error, Result, expect_len};
use crate::gemm::{CARRIED, Factors, Gemm};
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::{Mat, MatMut};

/// By which of two ways the same numbers are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// Walks the tokens and builds the weights after each: the specification (equations 9 to 14).
    Token,
    /// The dual form by matrix products, without a weight matrix per token (section 3.2): the engine.
    #[default]
    Chunk,
}

/// Elements of scratch that [`forward`] needs, whatever the number of tokens; `usize::MAX` for an invalid configuration.
pub fn forward_scratch_len(spec: &MemorySpec, form: Form) -> usize {
    spec.size(|| match form {
        _ if spec.token_by_token() => step::scratch_len(spec),
        Form::Token if spec.chunk == 1 => step::scratch_len(spec).max(token::scratch_len(spec)),
        Form::Token => token::scratch_len(spec),
        Form::Chunk => {
            let lay = Layout::in_panels(spec, spec.piece());
            spec.state_len()
                + spec.anchor_len()
                + Open::<f64>::len(lay)
                + Written::<f64>::len(lay)
                + Reading::<f64>::len(lay)
                + Sets::<f64>::len(spec, lay.coefficients(), lay.rows)
                + close_scratch(lay)
                + exact_panels::scratch_len(lay)
        }
    })
}

/// Writes `tokens` into the memory and answers their queries.
///
/// - `state` (`state_len`): `[W | S]` before the first token; afterwards that after the last one.
/// - `y` `[n, d_L]`: read-outs, by the weights that `read` names.
/// - `surprise` (n): the inner loss c ‖M(k_t) − v_t‖² at the weights of the chunk's start ([`MemorySpec::loss_scale`]).
/// - `boundaries` ([`MemorySpec::boundaries_len`]): the state at the start of every
///   [`keep_every`](MemorySpec::keep_every)-th period, and Δ where a piece is several chunks, for [`super::vjp`], in an order of
///   its own.
/// - `scratch`: [`forward_scratch_len`] elements, contents irrelevant.
///
/// Returns how many tokens' gradients were clipped. Numbers are not inspected: what is not finite spreads to later
/// tokens (see [`Tokens::check_values`]), never to earlier ones.
///
/// # Errors
/// [`Error::Config`], [`Error::Shape`] or [`Error::Buffer`], before anything is written.
pub fn forward<T: Scalar, G: Gemm<T>>(
    g: &G,
    spec: &MemorySpec,
    form: Form,
    read: Read,
    tokens: &Tokens<'_, T>,
    state: &mut [T],
    mut y: MatMut<'_, T>,
    mut surprise: Option<&mut [T]>,
    boundaries: Option<&mut [T]>,
    scratch: &mut [T],
) -> Result<u64> {
    spec.validate()?;
    let n = tokens.len();
    tokens.check(spec, 0)?;
    expect_len("state", spec.state_len(), state.len())?;
    check_outputs(spec, n, &y, surprise.as_deref())?;
    if let Some(b) = &boundaries {
        expect_len("boundaries", spec.boundaries_len(n), b.len())?;
    }
    let needed = forward_scratch_len(spec, form);
    if scratch.len() < needed {
        return Err(Error::Buffer { what: "scratch", needed, given: scratch.len() });
    }
    let steps = spec.token_by_token() || (spec.chunk == 1 && form == Form::Token);
    if steps && boundaries.is_none() {
        return step::tokens(g, spec, read, tokens, 0, n, state, Some(y), surprise, scratch);
    }
    let lay = Layout::in_panels(spec, spec.piece());
    let (mut states, mut deltas) = match boundaries.map(|b| b.split_at_mut(spec.states_len(n))) {
        Some((states, deltas)) => (Some(states), (!deltas.is_empty()).then_some(deltas)),
        None => (None, None),
    };
    let (period, width) = (spec.period(), spec.value_width());
    let mut run = |state: &mut [T], anchor: &mut [T], boundary: Keep<T>, scratch: &mut [T]| {
        let (mut clipped, mut from) = (0, 0);
        while from < n {
            let number = from / period;
            if from.is_multiple_of(period) {
                anchor.copy_from_slice(&state[..anchor.len()]);
                if let Some(b) = states.as_deref_mut()
                    && number.is_multiple_of(spec.keep_every)
                {
                    boundary(lay, state, &mut b[number / spec.keep_every * spec.state_len()..][..spec.state_len()]);
                }
            }
            let rows = if form == Form::Token { spec.chunk.min(n - from) } else { spec.piece_from(from, n) };
            let out = y.rb().sub(from, rows);
            let surprise = surprise.as_deref_mut().map(|s| &mut s[from..from + rows]);
            let delta = match deltas.as_deref_mut() {
                Some(deltas) => Some(MatMut::new(&mut deltas[from * width..][..rows * width], rows, width)?),
                None => None,
            };
            clipped += match form {
                _ if spec.token_by_token() => {
                    step::tokens(g, spec, read, tokens, from, 1, state, Some(out), surprise, scratch)?
                }
                Form::Token => token::chunk(g, spec, read, tokens, from, rows, state, out, surprise, delta, scratch)?,
                Form::Chunk if spec.wide() => {
                    exact_piece::piece(g, lay, read, tokens, from, rows, state, out, surprise, delta, scratch)?
                }
                Form::Chunk => chunk(g, lay, read, tokens, from, rows, state, anchor, out, surprise, scratch)?,
            };
            from += rows;
        }
        Ok(clipped)
    };
    if form == Form::Token || spec.token_by_token() {
        return run(state, &mut [], |lay, rows, panels| lay.to_panels(rows, panels), scratch);
    }
    let (panels, scratch) = scratch.split_at_mut(spec.state_len());
    let (anchor, scratch) = scratch.split_at_mut(spec.anchor_len());
    lay.to_panels(state, panels);
    let clipped = run(panels, anchor, |_, from, to| to.copy_from_slice(from), scratch)?;
    lay.to_rows(panels, state);
    Ok(clipped)
}

/// Writes a state to its place among the boundaries.
type Keep<T> = fn(Layout<'_>, &[T], &mut [T]);

/// Keys that follow one another as the layout's rows do can be used where they are; others are copied, or else they share few
/// sets of the cache.
pub(super) fn side_by_side<'k, T: Scalar>(lay: Layout<'_>, k: Mat<'k, T>) -> Option<Mat<'k, T>> {
    (k.row_stride() == lay.stride(k.cols())).then_some(k)
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

/// One piece of a chunk, tokens `from .. from + n` of the batch, n ≤ the layout's rows. `anchor` are the weights at the
/// chunk's start, empty where the piece is the whole chunk.
fn chunk<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    read: Read,
    tokens: &Tokens<'_, T>,
    from: usize,
    n: usize,
    state: &mut [T],
    anchor: &[T],
    y: MatMut<'_, T>,
    surprise: Option<&mut [T]>,
    scratch: &mut [T],
) -> Result<u64> {
    let mut scratch = Scratch::new(scratch);
    let mut open = Open::take(&mut scratch, lay)?;
    open.keys = side_by_side(lay, tokens.k.sub(from, n));
    let mut written = Written::take(&mut scratch, lay)?;
    let mut reading = Reading::take(&mut scratch, lay)?;
    let scaled = scratch.take(close_scratch(lay))?;
    let mut coefficients = Sets::take(&mut scratch, lay.spec, lay.coefficients(), lay.rows)?;
    let params = first(anchor, state);
    write::gradients(
        g,
        lay,
        params,
        tokens.k.sub(from, n),
        tokens.v.sub(from, n),
        0,
        &mut open,
        &mut written,
        surprise,
    )?;
    coefficients.start();
    let clipped = enter(g, lay, tokens, from, n, 0, 0, &mut open, &mut written, &mut coefficients)?;
    let q = tokens.q.sub(from, n);
    if read == Read::ChunkStart && !anchor.is_empty() {
        let source = Source::Stays(anchor);
        answers(g, lay, read.into(), source, open.seen(), &coefficients, q, 0, &mut reading, y)?;
        close(g, lay, n, n, open.seen(), &coefficients, scaled, state)?;
    } else {
        let source = Source::Closes { state, row: n, n, scaled };
        answers(g, lay, read.into(), source, open.seen(), &coefficients, q, 0, &mut reading, y)?;
    }
    Ok(clipped)
}

/// The weights at the chunk's start: `anchor`, or where it is empty those that `state` begins with.
pub(super) fn first<'a, T>(anchor: &'a [T], state: &'a [T]) -> &'a [T] {
    if anchor.is_empty() { state } else { anchor }
}

/// Rates and coefficients of `n` tokens from the batch's token `from` on, which are the open piece's tokens from
/// `filled` on; gates one a chunk count chunks from the batch's token 0, `before` tokens into a chunk.
pub(super) fn enter<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    tokens: &Tokens<'_, T>,
    from: usize,
    n: usize,
    filled: usize,
    before: usize,
    open: &mut Open<'_, T>,
    written: &mut Written<'_, T>,
    coefficients: &mut [Coefficients<'_, T>],
) -> Result<u64> {
    for (set, coefficients) in coefficients.iter_mut().enumerate() {
        advance(g, lay, tokens, set, from, n, filled, before, coefficients);
    }
    rates(g, lay, tokens, from, n, filled, before, open, written)
}

/// One set of the coefficients of [`enter`]: they do not depend on rates.
pub(super) fn advance<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    tokens: &Tokens<'_, T>,
    set: usize,
    from: usize,
    n: usize,
    filled: usize,
    before: usize,
    coefficients: &mut Coefficients<'_, T>,
) {
    let (alpha, eta) = (tokens.alpha.of(set), tokens.eta.of(set));
    for t0 in (0..n).step_by(CARRIED) {
        let mut factors = [Factors::default(); CARRIED];
        let some = &mut factors[..CARRIED.min(n - t0)];
        for (t, f) in (t0..).zip(some.iter_mut()) {
            let (at, writes) = ((from + t, before, lay.spec.chunk), tokens.mask.writes(from + t));
            *f = Factors { keep: T::ONE - alpha.at(at), eta: eta.at(at), rate: T::ZERO, writes };
        }
        coefficients.push(g, t0, filled, some);
    }
}

/// The rates of [`enter`], of tokens whose Δ is known; returns how many were clipped.
pub(super) fn rates<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    tokens: &Tokens<'_, T>,
    from: usize,
    n: usize,
    filled: usize,
    before: usize,
    open: &mut Open<'_, T>,
    written: &mut Written<'_, T>,
) -> Result<u64> {
    g.vectorise(
        #[inline(always)]
        || {
            let mut clipped = 0;
            for t in 0..n {
                let (at, writes) = ((from + t, before, lay.spec.chunk), tokens.mask.writes(from + t));
                let (key, theta) = (tokens.k.row(from + t), (&tokens.theta, at));
                clipped += u64::from(write::rate(lay, filled + t, key, writes, theta, open, written)?);
            }
            Ok(clipped)
        },
    )
}
