//! A few queries: scores in rows, a query a row.

use super::super::rows::LANES;
use super::KeyPart;
use super::band::{Band, KeyParts};
use crate::arithmetic::{Arithmetic, Beside, Seen, Store};
use crate::error::Result;
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::{Room, Scratch};
use crate::view::{Mat, MatMut};

/// Where the scores of a part lie in a row: `[start, end)` are whole sixteens, the first key is at `start + lane`.
struct ScorePlace {
    start: usize,
    lane: usize,
    end: usize,
}

impl ScorePlace {
    /// The place of a part's keys, from `start` on.
    fn new(start: usize, keys: &Seen) -> Self {
        let len = keys.lane.saturating_add(keys.len).checked_next_multiple_of(LANES).unwrap_or(usize::MAX);
        Self { start, lane: keys.lane, end: start.saturating_add(len) }
    }
}

/// Scores of a row.
fn width(keys: &[Seen]) -> usize {
    keys.iter().fold(0, |at, keys| ScorePlace::new(at, keys).end)
}

/// The scores of so many queries, from a cache line on.
pub(super) fn scores<'a, T, R: Room<'a, T>>(room: &mut R, rows: usize, keys: &[Seen]) -> Result<&'a mut [T]> {
    room.align()?;
    room.area(rows, width(keys))
}

/// y and `log_sum` of a band, and whether y is finite.
pub(super) fn forward<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    scale: T,
    band: &Band,
    parts: &KeyParts<'_, T>,
    mut y: MatMut<'_, T>,
    mut log_sum: Option<&mut [T]>,
    room: &mut Scratch<'_, T>,
) -> Result<bool> {
    let (keys, count) = parts.seen(band);
    let keys = keys.part(..count);
    let (width, scores) = (width(keys), scores(room, band.rows, keys)?);
    let mut at = 0;
    for (part, keys) in parts.iter().zip(keys) {
        let here = ScorePlace::new(at, keys);
        score(g, band, &part, &here, width, scores);
        at = here.end;
    }
    let mut inverse = [T::ZERO; super::FEW];
    for (r, row) in scores.chunks_exact_mut(width.max(1)).enumerate() {
        let [m, sum] = g.softmax_row(scale, row);
        inverse.put(r, T::ONE / sum);
        if let Some(log_sum) = &mut log_sum {
            log_sum.put(r, scale * m + sum.ln()); // ln Σ e^(σ s)
        }
    }
    let (mut at, mut store) = (0, Store::Set);
    for (part, keys) in parts.iter().zip(keys) {
        let (here, len) = (ScorePlace::new(at, keys), keys.len);
        let p = Mat::strided(scores.part(here.start + here.lane..), band.rows, len, width, 1);
        if let Ok(p) = p {
            if part.banded {
                g.causal(store, Beside::lower(band.behind), p, part.v.sub(band.low, len), y.rb());
            } else {
                g.gemm(store, p, part.v, y.rb());
            }
        }
        (at, store) = (here.end, Store::Add);
    }
    Ok(g.scale_rows(inverse.part(..band.rows), y))
}

/// The products of one part, and −∞ wherever a row sees nothing.
fn score<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    band: &Band,
    part: &KeyPart<'_, T>,
    here: &ScorePlace,
    width: usize,
    scores: &mut [T],
) {
    let (len, from) = (part.len(band), here.start + here.lane);
    let q = part.q.sub(band.from, band.rows);
    if let Ok(out) = MatMut::strided(scores.part_mut(from..), band.rows, len, width) {
        if part.banded {
            g.band(band.of_rows(), q, part.k.sub(band.low, len).t(), out);
        } else {
            g.gemm(Store::Set, q, part.k.t(), out);
        }
    }
    // e^−∞ = 0: what a row does not see is in no sum, and its place may be multiplied.
    let nothing = T::from_f64(f64::NEG_INFINITY);
    for (r, row) in scores.chunks_exact_mut(width.max(1)).enumerate() {
        let (low, high) = if part.banded { (r.saturating_sub(band.ahead), band.behind + r + 1) } else { (0, len) };
        row.part_mut(here.start..from + low).fill(nothing);
        row.part_mut(from + high..here.end).fill(nothing);
    }
}
