//! A piece of a batch in the exact form, panel by panel of W and S: while a panel is near, its columns of Δ are solved for, its
//! queries answered, and it is settled and closed. Columns do not know one another where no token's rate waits for its whole residual.
//!
//! The numbers are those of [`super::exact_piece::piece`], to the bit.

use super::close::{close_panel, close_scratch};
use super::coefficients::Coefficients;
use super::exact::{Place, observe, rows, solve_panel};
use super::exact_piece::coefficients_of;
use super::forward::{rates, side_by_side};
use super::gates::Tokens;
use super::layout::{Layout, Open};
use super::read::Rows;
use super::settle::onto;
use super::spec::Read;
use super::work::{Reading, Written};
use crate::error::Result;
use crate::gemm::{Beside, Gemm, Store, Weighting};
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::{Mat, MatMut};

/// The rows that answer queries, if pieces of this memory can be walked so.
pub(super) fn fits(lay: Layout<'_>, read: Read) -> Option<Rows> {
    if lay.spec.chunk == 1 && lay.spec.clip.is_none() { rows(lay, read) } else { None }
}

/// Elements of work space beside that of any piece: the keys' weights.
pub(super) fn scratch_len(lay: Layout<'_>) -> usize {
    if lay.spec.wide() { lay.rows * lay.rows } else { 0 }
}

/// Tokens before a piece settled, or behind.
#[derive(Clone, Copy)]
struct Part {
    place: Place,
    /// Row of the coefficients before the first token.
    base: usize,
    settled: bool,
}

/// Tokens `from .. from + n` of the batch, which begin a piece. `delta` receives Δ.
pub(super) fn piece<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    by: Rows,
    tokens: &Tokens<'_, T>,
    (from, n): (usize, usize),
    state: &mut [T],
    mut y: MatMut<'_, T>,
    surprise: Option<&mut [T]>,
    delta: Option<MatMut<'_, T>>,
    scratch: &mut [T],
) -> Result<()> {
    let mut scratch = Scratch::new(scratch);
    let mut open = Open::take(&mut scratch, lay)?;
    let mut written = Written::take(&mut scratch, lay)?;
    let reading = Reading::take(&mut scratch, lay)?;
    let scaled = scratch.take(close_scratch(lay))?;
    let mut coefficients = Coefficients::take(&mut scratch, lay.coefficients(), lay.rows)?;
    let mut weights = [scratch.take(scratch_len(lay))?, reading.scores];
    let (k, v, q) = (tokens.k.sub(from, n), tokens.v.sub(from, n), tokens.q.sub(from, n));
    open.keys = side_by_side(lay, k);
    if open.keys.is_none() {
        lay.keep_keys(open.h, 0, k)?;
    }
    rates(g, lay, tokens, from, n, 0, 0, &mut open, &mut written)?;
    let settled = coefficients_of(g, lay, tokens, (from, n), &mut coefficients);
    let m = settled.unwrap_or(n);
    let place = |filled: usize, n: usize| Place { from: from + filled, n, filled, before: 0 };
    let parts = [
        Part { place: place(0, m), base: 0, settled: false },
        Part { place: place(m, n - m), base: m + 1, settled: true },
    ];
    let parts = &parts[..1 + usize::from(settled.is_some())];
    weigh(g, lay, by, parts, k, q, &open, &coefficients, &mut weights)?;
    let [keys, queries] = weights.map(|w| &*w);
    for columns in lay.columns(0) {
        for part in parts {
            let Part { place, base, settled } = *part;
            let (filled, count, seen) = (place.filled, place.n, place.filled + place.n);
            let (w, s) = state.split_at(lay.spec.params());
            let (w, s) = (lay.panel(w, 0, columns)?, lay.panel(s, 0, columns)?);
            let factors = |row: usize| [&coefficients.a[row..], &coefficients.g[row..]];
            let of = |weights| Mat::strided(weights, count, seen, lay.rows, 1);
            let z = lay.output_rows_mut(open.delta, 0, filled, count)?.columns(columns.0, columns.1);
            onto(g, settled, k.sub(filled, count), factors(base), 1, [w, s], z);
            let keys = of(&keys[filled * lay.rows..])?;
            solve_panel(g, lay, place, keys, v.sub(filled, count), &mut open, columns)?;
            let mut y = y.rb().sub(filled, count).columns(columns.0, columns.1);
            onto(g, settled, q.sub(filled, count), factors(base + by.of(0)), 1, [w, s], y.rb());
            let delta = lay.output_rows(open.delta, 0, 0, seen)?.block(0, seen, columns.0, columns.1);
            g.causal(Store::Sub, Beside::lower(filled), of(&queries[filled * lay.rows..])?, delta, y);
            if !settled && parts.len() > 1 {
                settle_panel(g, lay, m, &coefficients, state, columns)?;
            }
        }
        let row = n + parts.len() - 1;
        close_panel(g, lay, 0, columns, (row, n), open.seen(), &coefficients, scaled, state)?;
    }
    observe(g, lay, place(0, n), &open, surprise)?;
    if let Some(mut delta) = delta {
        let from = lay.output_rows(open.delta, 0, 0, n)?;
        (0..n).for_each(|t| delta.row_mut(t).copy_from_slice(from.row(t)));
    }
    Ok(())
}

/// What keys and queries take of the residuals: their products with the keys, weighed by the rows that answer them.
fn weigh<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    by: Rows,
    parts: &[Part],
    k: Mat<'_, T>,
    q: Mat<'_, T>,
    open: &Open<'_, T>,
    coefficients: &Coefficients<'_, T>,
    weights: &mut [&mut [T]; 2],
) -> Result<()> {
    let n = k.rows();
    let keys = open.seen().inputs(lay, 0, 0, n)?;
    for ((x, by), weights) in [(k, Rows::Before), (q, by)].into_iter().zip(weights) {
        g.band(Beside::lower(0), x, keys.t(), MatMut::strided(weights, n, n, lay.rows)?);
        for Part { place, base, .. } in parts {
            g.weight(Weighting {
                n: place.n,
                seen: place.filled + place.n,
                visible: (by.sees(place.filled, 0), 1),
                c: coefficients.c_rows(base + by.of(0)),
                c_stride: coefficients.stride(1),
                rate: open.rate,
                scores: &mut weights[place.filled * lay.rows..],
                stride: lay.rows,
            });
        }
    }
    Ok(())
}

/// [`super::settle::settle`] for one panel, by row m of the coefficients.
fn settle_panel<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    m: usize,
    coefficients: &Coefficients<'_, T>,
    state: &mut [T],
    columns: (usize, usize),
) -> Result<()> {
    let (a, gg) = (coefficients.a[m], coefficients.g[m]);
    let (w, s) = state.split_at_mut(lay.spec.params());
    let (mut w, s) = (lay.panel_mut(w, 0, columns)?, lay.panel(s, 0, columns)?);
    g.vectorise(
        #[inline(always)]
        || {
            for i in 0..w.rows() {
                w.row_mut(i).iter_mut().zip(s.row(i)).for_each(|(w, &s)| *w = a * *w + gg * s);
            }
        },
    );
    Ok(())
}
