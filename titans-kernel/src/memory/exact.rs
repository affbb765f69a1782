//! Pieces of several chunks of a linear memory: gradients that follow from one another by forward substitution
//! (`docs/MATH.md` section 3b).
//!
//! Token t's gradient is taken at the weights of its chunk's start, which are W and S at the piece's start and the
//! piece's tokens before that chunk. So its residual is what a query would be answered there, less the value: `δ_t = 2c
//! (a k_t W + g k_t S − Σ_i C_i rate_i (k_t · k_i) δ_i − v_t)`, with a, g, C of that row. Every δ is one chain over the
//! tokens in ascending order, however many are computed at once.

use super::coefficients::Coefficients;
use super::feed::{PieceTokens, Place};
use super::forward::write_rates;
use super::frame::Frame;
use super::layout::Layout;
use super::open::{Open, OpenView, Past};
use super::read::{Asked, Rows, answers};
use super::settle::{has_settled, onto};
use super::source::StateSource;
use super::spec::Read;
use super::work::{Reading, Writing};
use super::write::plain_residuals;
use crate::arithmetic::{Arithmetic, Beside, Order, ScoreScaling, Store, Substitution};
use crate::error::Result;
use crate::ops::rows::squares;
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Rows of Δ that are solved together; those before them come by products.
pub(super) const TOGETHER: usize = 16;

/// Tokens of one chunk among those of a [`Place`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// The first one, counted from the place's.
    pub t0: usize,
    /// How many.
    pub n: usize,
    /// Tokens of the piece before their chunk.
    pub seen: usize,
    /// Row of the coefficients at their chunk's start.
    pub row: usize,
}

impl Place {
    /// The groups in order.
    pub fn groups(self, lay: Layout<'_>) -> impl DoubleEndedIterator<Item = Group> {
        let b = lay.spec.chunk.max(1);
        let first = self.filled / b;
        (first..(self.filled + self.n).div_ceil(b)).map(move |chunk| {
            let seen = chunk * b;
            let t0 = seen.saturating_sub(self.filled);
            let n = (seen + b).min(self.filled + self.n) - self.filled - t0;
            // What came before this call left the row of the open chunk's start behind the others.
            let row = if seen >= self.filled { seen - self.filled } else { lay.coefficients() };
            Group { t0, n, seen, row }
        })
    }
}

/// The rows that answer the queries of a piece; none where every chunk has one of its own.
pub(super) fn rows(lay: Layout<'_>, read: Read) -> Option<Rows> {
    match read {
        Read::After => Some(Rows::After),
        Read::ChunkStart if lay.spec.chunk > 1 => None,
        // A chunk of one token starts before it.
        Read::Before | Read::ChunkStart => Some(Rows::Before),
    }
}

/// Queries answered by the weights of their chunk's start.
pub(super) fn by_chunk<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    state: &[T],
    past: Past<'_, T>,
    reading: &mut Reading<'_, T>,
    mut y: MatMut<'_, T>,
) -> Result<()> {
    for Group { t0, n, seen, row } in feed.place.groups(on.lay) {
        // All of a chunk's queries by the row of its start, over the tokens before it.
        let asked = Asked::new(Rows::Fixed(row), feed.q().sub(t0, n), seen);
        answers(on, asked, StateSource::Stays(state), past, reading, y.rb().sub(t0, n))?;
    }
    Ok(())
}

/// Keys, Δ and rates of some tokens, whose coefficients are known; `surprise` receives c ‖M(k) − v‖². Returns how many
/// were clipped. `scores`: rows × rows elements to work in.
///
/// With A⁻, G⁻, C⁻ the row of every token's chunk start, `(I + T) Δ = 2c (diag(A⁻) K W + diag(G⁻) K S − V)` and
/// `T = 2c ((K Kᵀ) ∘ C⁻ diag(rate))`, 0 from a token's own chunk on.
pub(super) fn gradients<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    state: &[T],
    writing: &mut Writing<'_, T>,
    scores: &mut [T],
    coefficients: &Coefficients<'_, T>,
    surprise: Option<&mut [T]>,
) -> Result<u64> {
    let (Frame { g, lay }, Place { n, filled, .. }) = (on, feed.place);
    let open = &mut writing.open;
    if open.keys.is_none() {
        lay.keep_keys(open.h, filled, feed.k())?;
    }
    from_start(on, feed, state, coefficients, open)?;
    // K Kᵀ: these tokens against all of the piece before them.
    let h = open.view().inputs(lay, 0, 0, filled + n)?;
    let products = MatMut::strided(scores, n, filled + n, lay.rows)?;
    g.band(Beside::lower(filled), h.sub(filled, n), h.t(), products);
    if lay.spec.chunk == 1 && lay.spec.clip.is_none() {
        write_rates(on, feed, writing)?;
        solve(on, feed, &mut writing.open, scores, coefficients)?;
        observe(on, feed.place, &writing.open, surprise)?;
        return Ok(0);
    }
    chunk_by_chunk(on, feed, writing, scores, coefficients, surprise)
}

/// diag(A⁻) K W + diag(G⁻) K S in Δ's place.
fn from_start<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    state: &[T],
    coefficients: &Coefficients<'_, T>,
    open: &mut Open<'_, T>,
) -> Result<()> {
    let (Frame { g, lay }, place, k) = (on, feed.place, feed.k());
    let (w, s) = state.halves(lay.spec.params());
    let settled = has_settled(lay.spec, coefficients);
    let mut z = lay.output_rows_mut(open.delta, 0, place.filled, place.n)?;
    let rows = |x: Mat<'_, T>, row: usize, step: usize, mut z: MatMut<'_, T>| -> Result<()> {
        // Z = diag(a) X W + diag(g) X S, [n, d_out].
        let [a, gg] = [&*coefficients.a, &*coefficients.g].map(|f| f.part(row..));
        for columns in lay.columns(0) {
            let (w, s, z) =
                (lay.panel(w, 0, columns)?, lay.panel(s, 0, columns)?, z.rb().columns(columns.0, columns.1));
            onto(g, settled, x, [a, gg], step, [w, s], z);
        }
        Ok(())
    };
    if lay.spec.chunk == 1 {
        // Every token has its own row; those of a longer chunk share the one of its start.
        return rows(k, 0, 1, z);
    }
    for Group { t0, n, row, .. } in place.groups(lay) {
        rows(k.sub(t0, n), row, 0, z.rb().sub(t0, n))?;
    }
    Ok(())
}

/// Chunks of one token without a clip: all rates are known, so that Δ is a triangular solve.
fn solve<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    open: &mut Open<'_, T>,
    scores: &mut [T],
    coefficients: &Coefficients<'_, T>,
) -> Result<()> {
    let (lay, Place { n, filled, .. }) = (on.lay, feed.place);
    // (K Kᵀ) ∘ C⁻ diag(rate), strictly below the diagonal: token t sees t − 1 others.
    on.g.scale_scores(ScoreScaling {
        n,
        seen: filled + n,
        visible: (filled, 1),
        c: coefficients.c_rows_from(0),
        c_stride: coefficients.stride(1),
        rate: open.rate,
        scores,
        stride: lay.rows,
    });
    // M [n, filled + n]; T = 2c M.
    let weights = Mat::strided(scores, n, filled + n, lay.rows, 1)?;
    lay.columns(0).try_for_each(|columns| solve_panel(on, feed, weights, open, columns))
}

/// The columns of a panel of [`solve`], which do not know the others:
/// `δ_t = 2c (z_t − Σ_{i<t} weights_{t,i} δ_i − v_t)`, with z in Δ's place.
pub(super) fn solve_panel<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    weights: Mat<'_, T>,
    open: &mut Open<'_, T>,
    (j, columns): (usize, usize),
) -> Result<()> {
    let (Frame { g, lay }, Place { n, filled, .. }, v) = (on, feed.place, feed.v());
    let (loss, width) = (T::from_f64(lay.spec.loss_scale()), lay.spec.value_width());
    let stride = lay.stride(width);
    // Blocks begin at multiples of the piece's tokens: a row is the same chain whatever lies beside it.
    for r0 in (filled / TOGETHER * TOGETHER..filled + n).step_by(TOGETHER) {
        let (first, end) = (r0.max(filled), (r0 + TOGETHER).min(filled + n));
        let (at, rows) = (first - filled, end - first);
        let (above, block) = open.delta.halves_mut(r0 * stride);
        // Δ's rows 0 .. r0 are done, those of the block hold z.
        let above = Mat::strided(above, r0, width, stride, 1)?;
        let mut block = MatMut::strided(block.part_mut(..(end - r0) * stride), end - r0, width, stride)?;
        if r0 > 0 {
            // What whole blocks above take, by a product …
            let z = block.rb().sub(first - r0, rows).columns(j, columns);
            g.gemm(Store::Sub, weights.block(at, rows, 0, r0), above.block(0, r0, j, columns), z);
        }
        // … and inside the block row after row.
        g.substitute(Substitution {
            weights: weights.block(at, rows, r0, end - r0),
            rows: block.columns(j, columns),
            values: Some(v.block(at, rows, j, columns)),
            scale: loss + loss,
            order: Order::Down(first - r0),
        });
    }
    Ok(())
}

/// The inner loss of rows of Δ = 2c (M(k) − v): c ‖M(k) − v‖² = ‖δ‖² / 4c.
pub(super) fn observe<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    place: Place,
    open: &Open<'_, T>,
    surprise: Option<&mut [T]>,
) -> Result<()> {
    let (Some(surprise), lay) = (surprise, on.lay) else { return Ok(()) };
    let delta = lay.output_rows(open.delta, 0, place.filled, place.n)?;
    // ‖δ‖² = 4c² ‖M(k) − v‖².
    let scale = T::from_f64(0.25 / lay.spec.loss_scale());
    on.g.vectorise(
        #[inline(always)]
        || surprise.iter_mut().enumerate().for_each(|(t, s)| *s = scale * squares(delta.row(t))),
    );
    Ok(())
}

/// Longer chunks, or a clip: a token's rate is known when its residual is, so that the next chunk can go on.
fn chunk_by_chunk<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    writing: &mut Writing<'_, T>,
    scores: &mut [T],
    coefficients: &Coefficients<'_, T>,
    mut surprise: Option<&mut [T]>,
) -> Result<u64> {
    let (Frame { g, lay }, filled) = (on, feed.place.filled);
    let (width, mut clipped) = (lay.spec.value_width(), 0);
    let stride = lay.stride(width);
    for Group { t0, n, seen, row } in feed.place.groups(lay) {
        // Every token of the chunk sees those before the chunk, by the row of the chunk's start.
        let (open, scores) = (&mut writing.open, scores.part_mut(t0 * lay.rows..));
        g.scale_scores(ScoreScaling {
            n,
            seen,
            visible: (seen, 0),
            c: coefficients.c_rows_from(row),
            c_stride: 0,
            rate: open.rate,
            scores,
            stride: lay.rows,
        });
        if seen > 0 {
            // z −= M Δ over the chunks before.
            let (above, block) = open.delta.halves_mut((filled + t0) * stride);
            let above = Mat::strided(above, seen, width, stride, 1)?;
            let z = MatMut::strided(block.part_mut(..n * stride), n, width, stride)?;
            g.gemm(Store::Sub, Mat::strided(scores, n, seen, lay.rows, 1)?, above, z);
        }
        // δ = 2c (z − v); its rate is then known, and later chunks may use it.
        let (surprise, some) = (surprise.as_deref_mut().map(|s| s.part_mut(t0..t0 + n)), feed.part(t0, n));
        g.vectorise(
            #[inline(always)]
            || plain_residuals(lay, some.v(), some.place.filled, open, surprise),
        )?;
        clipped += write_rates(on, some, writing)?;
    }
    Ok(clipped)
}

/// The n tokens with their keys in rows, which lie in `space` if they lay as columns: closing goes through them many
/// times.
pub(super) fn upright<'a, T: Scalar>(
    lay: Layout<'_>,
    seen: OpenView<'a, T>,
    n: usize,
    space: &'a mut [T],
) -> Result<OpenView<'a, T>> {
    if !lay.turned {
        return Ok(seen);
    }
    let (width, stride) = (lay.spec.key_width(), lay.stride(lay.spec.key_width()));
    for (i, column) in seen.h.chunks_exact(lay.rows.max(1)).enumerate().take(width) {
        let row = space.part_mut(i..).iter_mut().step_by(stride.max(1));
        row.zip(column.part(..n)).for_each(|(to, &x)| *to = x);
    }
    Ok(OpenView { keys: Some(Mat::strided(space, n, width, stride, 1)?), ..seen })
}
