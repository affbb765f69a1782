//! One token of a stream in the exact form: its key and its query read W and S, the open piece's keys and Δ in one
//! visit each.
//!
//! Every number is the chain that it is in [`super::exact`] and [`super::read`]: only what lies beside it differs.

use super::coefficients::Coefficients;
use super::exact::observe;
use super::feed::{PieceTokens, Place};
use super::forward::write_rates;
use super::frame::Frame;
use super::layout::Layout;
use super::read::Rows;
use super::sets::of_layer;
use super::settle::{has_settled, onto};
use super::spec::MemorySpec;
use super::work::Work;
use crate::arithmetic::{Arithmetic, ScoreScaling, Store};
use crate::error::Result;
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Columns that are cheaper together.
const TILE: usize = 32;

/// Is the place one token, whose δ can be found while its query is answered?
pub(super) fn fits(lay: Layout<'_>, place: Place) -> bool {
    place.n == 1 && lay.spec.chunk == 1 && lay.spec.clip.is_none()
}

/// Key, δ and rate of the one token, and its query answered by the weights before (`rows` is [`Rows::Before`]) or after
/// its write, for [`answer`] to find; if it is `surprised`, its surprise is `reading.r[0]`.
///
/// Of the two rows x = k and q, z = a x W + g x S − Σ_i C_i rate_i (x · k_i) δ_i; then δ = 2c (z_k − v), and y = z_q,
/// less the token's own share where the query comes after.
pub(super) fn token<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    rows: Rows,
    state: &[T],
    work: &mut Work<'_, T>,
    surprised: bool,
) -> Result<()> {
    let (Frame { g, lay }, filled) = (on, feed.place.filled);
    let (d, width, after) = (lay.spec.key_width(), lay.spec.value_width(), rows.of(0));
    let (k, v, q) = (feed.k(), feed.v(), feed.q());
    let Work { writing, reading, coefficients, .. } = work;
    let coefficients = of_layer(coefficients, 0)?;
    lay.keep_keys(writing.open.h, filled, k)?;
    write_rates(on, feed, writing)?;
    // X = [k; q], [2, d].
    let x = reading.x.part_mut(..2 * d);
    x.part_mut(..d).become_copy(k.row(0));
    x.part_mut(d..).become_copy(q.row(0));
    let x = Mat::new(x, 2, d)?;
    let (open, z) = (&mut writing.open, writing.written.z.part_mut(..2 * width));
    start(on, x, state, coefficients, after, MatMut::new(z, 2, width)?)?;
    // The query sees its own token's key too, if it comes after.
    let seen = filled + after;
    let scores = reading.scores.part_mut(..2 * lay.rows);
    // In whole tiles: what lies behind the keys that are seen costs less than to stop before it, and is not looked at.
    let wide = seen.next_multiple_of(TILE).min(lay.rows);
    let keys = open.view().inputs(lay, 0, 0, wide)?;
    g.gemm(Store::Set, x, keys.t(), MatMut::strided(scores, 2, wide, lay.rows)?);
    // C_i rate_i (x · k_i), each row by its own row of C.
    g.scale_scores(ScoreScaling {
        n: 2,
        seen,
        visible: (filled, after),
        c: coefficients.c_rows_from(0),
        c_stride: coefficients.stride(after),
        rate: open.rate,
        scores,
        stride: lay.rows,
    });
    let stride = lay.stride(width);
    // Z −= weights Δ over the tokens before, both rows at once.
    let (above, delta) = open.delta.halves_mut(filled * stride);
    let delta = delta.part_mut(..width);
    if filled > 0 {
        let weights = Mat::strided(scores, 2, filled, lay.rows, 1)?;
        g.gemm(Store::Sub, weights, Mat::strided(above, filled, width, stride, 1)?, MatMut::new(z, 2, width)?);
    }
    // δ = 2c (z_k − v), to its row of Δ.
    let scale = T::from_f64(2.0 * lay.spec.loss_scale());
    let (key, answer) = z.halves_mut(width);
    for ((delta, &z), &v) in delta.iter_mut().zip(&*key).zip(v.row(0)) {
        *delta = scale * (z - v);
    }
    if after > 0 {
        // The last link of the answer's chain: the token's own δ, known only now.
        g.axpy(Store::Sub, scores.item(lay.rows + filled), delta, answer);
    }
    observe(on, feed.place, &writing.open, surprised.then_some(reading.r.part_mut(..1)))
}

/// Where [`token`] left the answer.
pub(super) fn answer<'a, T: Scalar>(work: &'a Work<'_, T>, spec: &MemorySpec) -> &'a [T] {
    work.writing.written.z.part(spec.value_width()..2 * spec.value_width())
}

/// What the piece's start says of both rows: a x W + g x S, the query's by the row behind the key's if it comes after
/// the write.
fn start<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    x: Mat<'_, T>,
    state: &[T],
    coefficients: &Coefficients<'_, T>,
    step: usize,
    mut z: MatMut<'_, T>,
) -> Result<()> {
    let lay = on.lay;
    let (w, s) = state.halves(lay.spec.params());
    let settled = has_settled(lay.spec, coefficients);
    for columns in lay.columns(0) {
        let (w, s) = (lay.panel(w, 0, columns)?, lay.panel(s, 0, columns)?);
        let factors = [&*coefficients.a, &*coefficients.g];
        onto(on.g, settled, x, factors, step, [w, s], z.rb().columns(columns.0, columns.1));
    }
    Ok(())
}
