//! A piece of a batch in the exact form, panel by panel of W and S: while a panel is near, its columns of Δ are solved
//! for, its queries answered, and it is settled and closed. Columns do not know one another where no token's rate waits
//! for its whole residual.
//!
//! The numbers are those of [`super::exact_piece::piece`], to the bit.

use crate::part::Parts;
use core::slice::from_ref;

use super::close::close_panel;
use super::coefficients::Coefficients;
use super::exact::{observe, rows, solve_panel};
use super::exact_piece::{keep_delta, piece_coefficients, piece_end};
use super::feed::{PieceTokens, Place, Returned};
use super::forward::{side_by_side, write_rates};
use super::frame::Frame;
use super::layout::Layout;
use super::open::{Open, Past};
use super::read::Rows;
use super::settle::onto;
use super::spec::Read;
use super::work::Work;
use crate::arithmetic::{Arithmetic, Beside, ScoreScaling, Store};
use crate::error::Result;
use crate::scalar::Scalar;
use crate::scratch::{Room, Scratch};
use crate::view::{Mat, MatMut};

/// The rows that answer queries, if pieces of this memory can be walked so.
pub(super) fn fits(lay: Layout<'_>, read: Read) -> Option<Rows> {
    if lay.spec.chunk == 1 && lay.spec.clip.is_none() { rows(lay, read) } else { None }
}

/// What any piece of a batch works in, and here the keys' weights, rows × rows: empty where no piece is several chunks.
pub(super) fn take<'a, T: Scalar, R: Room<'a, T>>(room: &mut R, lay: Layout<'_>) -> Result<(Work<'a, T>, &'a mut [T])> {
    let work = Work::take(room, lay)?;
    let rows = if lay.spec.wide() { lay.rows } else { 0 };
    Ok((work, room.area(rows, rows)?))
}

/// Tokens before a piece settled, or behind.
#[derive(Clone, Copy)]
struct PanelPart<'a, T> {
    feed: PieceTokens<'a, T>,
    /// Row of the coefficients before the first token.
    base: usize,
    settled: bool,
}

/// Tokens of a batch that begin a piece.
pub(super) fn piece<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    by: Rows,
    feed: PieceTokens<'_, T>,
    state: &mut [T],
    returned: Returned<'_, T>,
    scratch: &mut [T],
) -> Result<()> {
    let (Frame { g, lay }, n, Returned { mut y, surprise, delta }) = (on, feed.place.n, returned);
    let (work, keys) = take(&mut Scratch::new(scratch), lay)?;
    let Work { mut writing, reading, mut coefficients, scaled } = work;
    let mut weights = [keys, reading.scores];
    writing.open.keys = side_by_side(lay, feed.k());
    if writing.open.keys.is_none() {
        lay.keep_keys(writing.open.h, 0, feed.k())?;
    }
    // Without a clip a rate is θ itself: no Δ is needed for it.
    write_rates(on, feed, &mut writing)?;
    let (mut open, coefficients) = (writing.open, &mut coefficients[0]);
    let settled = piece_coefficients(on, feed, coefficients);
    let m = settled.unwrap_or(n);
    let parts = [
        PanelPart { feed: feed.part(0, m), base: 0, settled: false },
        PanelPart { feed: feed.part(m, n - m), base: m + 1, settled: true },
    ];
    let parts = parts.part(..1 + usize::from(settled.is_some()));
    masked_scores(on, by, (feed, parts), &mut open, coefficients, &mut weights)?;
    let [keys, queries] = weights.map(|w| &*w);
    // The weights of keys and queries by their tokens' rows.
    let of = |weights| Mat::strided(weights, n, n, lay.rows, 1);
    let (keys, queries) = (of(keys)?, of(queries)?);
    for columns in lay.columns(0) {
        let (j, width) = columns;
        let mut y = y.rb().columns(j, width);
        for PanelPart { feed, base, settled } in parts {
            let Place { filled, n: count, .. } = feed.place;
            let (w, s) = state.halves(lay.spec.params());
            let (w, s) = (lay.panel(w, 0, columns)?, lay.panel(s, 0, columns)?);
            // A and G from a row on.
            let factors = |row: usize| [coefficients.a.part(row..), coefficients.g.part(row..)];
            // Keys: diag(A⁻) K W + diag(G⁻) K S, in Δ's place; queries: diag(A) Q W + diag(G) Q S.
            let z = lay.output_rows_mut(open.delta, 0, filled, count)?.columns(j, width);
            onto(g, *settled, feed.k(), factors(*base), 1, [w, s], z);
            onto(g, *settled, feed.q(), factors(base + by.of(0)), 1, [w, s], y.rb().sub(filled, count));
            // Tokens behind stand on A_m W + G_m S of this panel.
            if !settled && parts.len() > 1 {
                settle_panel(on, m, coefficients, state, columns)?;
            }
        }
        // Δ's columns by substitution, and what the queries take of them: y −= weights Δ.
        solve_panel(on, feed, keys, &mut open, columns)?;
        let delta = lay.output_rows(open.delta, 0, 0, n)?.block(0, n, j, width);
        g.causal(Store::Sub, Beside::lower(0), queries, delta, y);
        // The panel is closed while it is near.
        let (end, past) = (piece_end(n, settled), Past::new(open.view(), from_ref(coefficients)));
        close_panel(on, (0, columns), end, past, scaled, state)?;
    }
    observe(on, feed.place, &open, surprise)?;
    keep_delta(lay, n, &open, delta)
}

/// What keys and queries take of the residuals: their products with the keys, scaled by the rows that answer them,
/// `(K Kᵀ) ∘ C⁻ diag(rate)` and `(Q Kᵀ) ∘ C diag(rate)`.
fn masked_scores<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    by: Rows,
    (whole, parts): (PieceTokens<'_, T>, &[PanelPart<'_, T>]),
    open: &mut Open<'_, T>,
    coefficients: &Coefficients<'_, T>,
    weights: &mut [&mut [T]; 2],
) -> Result<()> {
    let (Frame { g, lay }, n) = (on, whole.place.n);
    // Kᵀ is made once for both where the rows of H are free, because keys stay where the caller has them.
    let keys = match open.keys {
        Some(keys) => {
            let width = keys.cols();
            g.transpose(keys, MatMut::strided(open.h, width, n, lay.rows)?);
            Mat::strided(open.h, width, n, lay.rows, 1)?
        }
        None => open.view().inputs(lay, 0, 0, n)?.t(),
    };
    // A key is asked before its own token's write, a query as the read says.
    for ((x, by), weights) in [(whole.k(), Rows::Before), (whole.q(), by)].into_iter().zip(weights) {
        // X Kᵀ [n, n], of which the lower band is looked at.
        g.band(Beside::lower(0), x, keys, MatMut::strided(weights, n, n, lay.rows)?);
        for PanelPart { feed, base, .. } in parts {
            let (filled, n) = (feed.place.filled, feed.place.n);
            g.scale_scores(ScoreScaling {
                n,
                seen: filled + n,
                visible: (by.visible_to(filled, 0), 1),
                c: coefficients.c_rows_from(base + by.of(0)),
                c_stride: coefficients.stride(1),
                rate: open.rate,
                scores: weights.part_mut(filled * lay.rows..),
                stride: lay.rows,
            });
        }
    }
    Ok(())
}

/// [`super::settle::settle`] for one panel, by row m of the coefficients: `W ← A_m W + G_m S`.
fn settle_panel<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    m: usize,
    coefficients: &Coefficients<'_, T>,
    state: &mut [T],
    columns: (usize, usize),
) -> Result<()> {
    let (lay, a, gg) = (on.lay, coefficients.a.item(m), coefficients.g.item(m));
    let (w, s) = state.halves_mut(lay.spec.params());
    let (mut w, s) = (lay.panel_mut(w, 0, columns)?, lay.panel(s, 0, columns)?);
    on.g.vectorise(
        #[inline(always)]
        || {
            // Rows of a panel that lie side by side are one.
            let (rows, width) =
                if w.row_stride() == w.cols() { (1, w.rows() * w.cols()) } else { (w.rows(), w.cols()) };
            let stride = w.row_stride();
            for i in 0..rows {
                let (w, s) = (w.data_mut().part_mut(i * stride..), s.data().part(i * stride..));
                w.part_mut(..width).iter_mut().zip(s).for_each(|(w, &s)| *w = a * *w + gg * s);
            }
        },
    );
    Ok(())
}
