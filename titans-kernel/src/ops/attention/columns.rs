//! Many queries: scores in columns, a key a row, so that all of softmax goes by registers of queries.

use super::super::rows::LANES;
use super::BLOCK;
use super::band::{Band, KeyParts};
use crate::arithmetic::{Arithmetic, Columns, Seen, Store};
use crate::error::Result;
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::{Room, Scratch};
use crate::view::{Mat, MatMut};

/// The scores of keys, rows of [`BLOCK`] queries that begin at a cache line: across two lines they cost up to half of
/// the speed.
pub(super) fn scores<'a, T, R: Room<'a, T>>(room: &mut R, keys: &[Seen]) -> Result<&'a mut [T]> {
    room.align()?;
    room.area(keys.last().map_or(0, |last| last.first.saturating_add(last.len)), BLOCK)
}

/// y and `log_sum` of a band, and whether y is finite.
pub(super) fn forward<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    scale: T,
    band: &Band,
    parts: &KeyParts<'_, T>,
    mut y: MatMut<'_, T>,
    log_sum: Option<&mut [T]>,
    room: &mut Scratch<'_, T>,
) -> Result<bool> {
    let (keys, count) = parts.seen(band);
    let keys = keys.part(..count);
    let scores = scores(room, keys)?;
    score(g, band, parts, scores);
    let (scores, _) = scores.as_chunks_mut::<BLOCK>();
    let [m, sum] = g.softmax_columns(Columns { scale, queries: band.rows, keys, scores });
    // Of e^(σ (s − m)): they are divided by their sum as rows of y, c numbers in place of one a key.
    for r in (0..band.rows).step_by(LANES) {
        let rows = LANES.min(band.rows - r);
        sum_values(g, &band.group(r, rows), band, parts, scores.as_flattened(), r, y.rb().sub(r, rows));
    }
    let inverse = g.vectorise(
        #[inline(always)]
        || {
            let (mut inverse, mut all) = ([T::ZERO; BLOCK], [T::ZERO; BLOCK]);
            for r in 0..BLOCK {
                inverse[r] = T::ONE / sum[r];
                // ln Σ e^(σ s) = σ m + ln Σ e^(σ (s − m)).
                all.put(r, scale * m.item(r) + sum.item(r).ln());
            }
            if let Some(log_sum) = log_sum {
                log_sum.become_copy(all.part(..band.rows));
            }
            inverse
        },
    );
    Ok(g.scale_rows(inverse.part(..band.rows), y))
}

/// The products of all parts: rows of [`BLOCK`] queries, one a key.
pub(super) fn score<T: Scalar, G: Arithmetic<T>>(g: &G, band: &Band, parts: &KeyParts<'_, T>, scores: &mut [T]) {
    let mut at = 0;
    for part in parts.iter() {
        let len = part.len(band);
        let q = part.q.sub(band.from, band.rows).t();
        if let Ok(out) = MatMut::strided(scores.part_mut(at * BLOCK..), len, band.rows, BLOCK) {
            if part.banded {
                g.band(band.of_keys(), part.k.sub(band.low, len), q, out);
            } else {
                g.gemm(Store::Set, part.k, q, out);
            }
        }
        at += len;
    }
}

/// `y = P v` for a group of the band's rows, from row r on, and the tokens that it sees.
fn sum_values<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    (skipped, group): &(usize, Band),
    band: &Band,
    parts: &KeyParts<'_, T>,
    p: &[T],
    r: usize,
    mut y: MatMut<'_, T>,
) {
    let (mut at, mut store) = (0, Store::Set);
    for part in parts.iter() {
        let (from, len) = if part.banded { (at + skipped, group.len) } else { (at, part.k.rows()) };
        if let Ok(p) = Mat::strided(p.part(from * BLOCK + r..), len, group.rows, BLOCK, 1) {
            if part.banded {
                g.causal(store, group.of_rows(), p.t(), part.v.sub(group.low, len), y.rb());
            } else {
                g.gemm(store, p.t(), part.v, y.rb());
            }
        }
        at += part.len(band);
        store = Store::Add;
    }
}
