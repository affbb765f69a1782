//! One token of a stream in the exact form: its key and its query read W and S, the open piece's keys and Δ in one visit each.
//!
//! Every number is the chain that it is in [`super::exact`] and [`super::read`]: only what lies beside it differs.

use super::coefficients::Coefficients;
use super::exact::{Place, observe};
use super::forward::rates;
use super::gates::Tokens;
use super::layout::{Layout, Open};
use super::read::Rows;
use super::settle::{onto, settled};
use super::work::{Reading, Written};
use crate::error::Result;
use crate::gemm::{Gemm, Store, Weighting};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Columns that are cheaper together.
const TILE: usize = 32;

/// Is the place one token, whose δ can be found while its query is answered?
pub(super) fn fits(lay: Layout<'_>, place: Place, rows: Option<Rows>) -> bool {
    place.n == 1 && lay.spec.chunk == 1 && lay.spec.clip.is_none() && rows.is_some()
}

/// Key, δ and rate of the place's token, and its query answered by the weights before (`rows` is [`Rows::Before`]) or after its
/// write.
pub(super) fn token<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    tokens: &Tokens<'_, T>,
    place: Place,
    rows: Rows,
    state: &[T],
    open: &mut Open<'_, T>,
    written: &mut Written<'_, T>,
    reading: &mut Reading<'_, T>,
    coefficients: &Coefficients<'_, T>,
    mut y: MatMut<'_, T>,
    surprise: Option<&mut [T]>,
) -> Result<()> {
    let Place { from, filled, before, .. } = place;
    let (d, width, after) = (lay.spec.key_width(), lay.spec.value_width(), rows.of(0));
    let (k, v, q) = (tokens.k.sub(from, 1), tokens.v.row(from), tokens.q.row(from));
    lay.keep_keys(open.h, filled, k)?;
    rates(g, lay, tokens, from, 1, filled, before, open, written)?;
    let x = &mut reading.x[..2 * d];
    x[..d].copy_from_slice(k.row(0));
    x[d..].copy_from_slice(q);
    let x = Mat::new(x, 2, d)?;
    let z = &mut written.z[..2 * width];
    start(g, lay, x, state, coefficients, after, MatMut::new(z, 2, width)?)?;
    // The query sees its own token's key too, if it comes after.
    let seen = filled + after;
    let scores = &mut reading.scores[..2 * lay.rows];
    // In whole tiles: what lies behind the keys that are seen costs less than to stop before it, and is not looked at.
    let wide = seen.next_multiple_of(TILE).min(lay.rows);
    let keys = open.seen().inputs(lay, 0, 0, wide)?;
    g.gemm(Store::Set, x, keys.t(), MatMut::strided(scores, 2, wide, lay.rows)?);
    g.weight(Weighting {
        n: 2,
        seen,
        visible: (filled, after),
        c: coefficients.c_rows(0),
        c_stride: coefficients.stride(after),
        rate: open.rate,
        scores,
        stride: lay.rows,
    });
    let stride = lay.stride(width);
    let (above, delta) = open.delta.split_at_mut(filled * stride);
    let delta = &mut delta[..width];
    if filled > 0 {
        let weights = Mat::strided(scores, 2, filled, lay.rows, 1)?;
        g.gemm(Store::Sub, weights, Mat::strided(above, filled, width, stride, 1)?, MatMut::new(z, 2, width)?);
    }
    let scale = T::from_f64(2.0 * lay.spec.loss_scale());
    let (key, answer) = z.split_at(width);
    for ((delta, &z), &v) in delta.iter_mut().zip(key).zip(v) {
        *delta = scale * (z - v);
    }
    let y = y.row_mut(0);
    y.copy_from_slice(answer);
    if after > 0 {
        g.axpy(Store::Sub, scores[lay.rows + filled], delta, y);
    }
    observe(g, lay, place, open, surprise)
}

/// What the piece's start says of both rows: a x W + g x S, the query's by the row behind the key's if it comes after the write.
fn start<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    x: Mat<'_, T>,
    state: &[T],
    coefficients: &Coefficients<'_, T>,
    step: usize,
    mut z: MatMut<'_, T>,
) -> Result<()> {
    let (w, s) = state.split_at(lay.spec.params());
    let settled = settled(lay.spec, coefficients);
    for columns in lay.columns(0) {
        let (w, s) = (lay.panel(w, 0, columns)?, lay.panel(s, 0, columns)?);
        let factors = [&*coefficients.a, &*coefficients.g];
        onto(g, settled, x, factors, step, [w, s], z.rb().columns(columns.0, columns.1));
    }
    Ok(())
}
