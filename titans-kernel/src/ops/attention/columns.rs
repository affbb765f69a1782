//! Many queries: scores in columns, a key a row, so that all of softmax goes by registers of queries.

use super::super::rows::LANES;
use super::BLOCK;
use super::band::{Band, Parts};
use crate::gemm::{Gemm, Store};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Keys of a group's softmax: rows of the scores, and the partial sum of the first one.
#[derive(Clone, Copy, Default)]
struct Run {
    from: usize,
    to: usize,
    lane: usize,
}

/// y and `log_sum` of a band.
pub(super) fn forward<T: Scalar, G: Gemm<T>>(
    g: &G,
    scale: T,
    band: &Band,
    parts: &Parts<'_, T>,
    mut y: MatMut<'_, T>,
    mut log_sum: Option<&mut [T]>,
    scratch: &mut [T],
) {
    score(g, band, parts, scratch);
    for r in (0..band.rows).step_by(LANES) {
        let rows = LANES.min(band.rows - r);
        let (skipped, group) = band.group(r, rows);
        let (mut runs, mut at) = ([Run::default(); 3], 0);
        for (part, run) in parts.iter().zip(&mut runs) {
            *run = match part.banded {
                true => Run { from: at + skipped, to: at + skipped + group.len, lane: group.lane },
                false => Run { from: at, to: at + part.k.rows(), lane: 0 },
            };
            if part.banded {
                hide(&group, &mut scratch[run.from * BLOCK..run.to * BLOCK], r);
            }
            at += part.len(band);
        }
        let (m, sum) = g.vectorise(
            #[inline(always)]
            || softmax(scale, scratch, &runs, r),
        );
        let mut store = Store::Set;
        let mut out = y.rb().sub(r, rows);
        for (part, run) in parts.iter().zip(&runs) {
            let p = Mat::strided(&scratch[run.from * BLOCK + r..], run.to - run.from, rows, BLOCK, 1);
            if let Ok(p) = p {
                if part.banded {
                    g.causal(store, group.behind, p.t(), part.v.sub(group.low, group.len), out.rb());
                } else {
                    g.gemm(store, p.t(), part.v, out.rb());
                }
            }
            store = Store::Add;
        }
        for i in 0..rows {
            let inverse = T::ONE / sum[i];
            for y in out.row_mut(i) {
                *y *= inverse;
            }
        }
        if let Some(log_sum) = &mut log_sum {
            for (l, log_sum) in log_sum[r..r + rows].iter_mut().enumerate() {
                *log_sum = scale * m[l] + sum[l].ln();
            }
        }
    }
}

/// The products of all parts: rows of [`BLOCK`] queries, one a key.
pub(super) fn score<T: Scalar, G: Gemm<T>>(g: &G, band: &Band, parts: &Parts<'_, T>, scores: &mut [T]) {
    let mut at = 0;
    for part in parts.iter() {
        let len = part.len(band);
        let q = part.q.sub(band.from, band.rows).t();
        if let Ok(out) = MatMut::strided(&mut scores[at * BLOCK..], len, band.rows, BLOCK) {
            if part.banded {
                g.lower(band.ahead, part.k.sub(band.low, len), q, out);
            } else {
                g.gemm(Store::Set, part.k, q, out);
            }
        }
        at += len;
    }
}

/// −∞ where a row of the group does not see a key: `scores` are the group's keys, its rows are columns `column ..`.
fn hide<T: Scalar>(group: &Band, scores: &mut [T], column: usize) {
    let nothing = T::from_f64(f64::NEG_INFINITY);
    let (rows, _) = scores.as_chunks_mut::<BLOCK>();
    for (s, row) in rows.iter_mut().enumerate().take(group.corner()) {
        row[column + group.ahead + s + 1..column + group.rows].fill(nothing);
    }
    for (r, row) in rows[group.behind + 1..].iter_mut().enumerate() {
        row[column..column + r + 1].fill(nothing);
    }
}

/// `e^(scale (x − m))` in place for the sixteen queries from `column` on; their m and sums.
#[inline(always)]
fn softmax<T: Scalar>(scale: T, scores: &mut [T], runs: &[Run; 3], column: usize) -> ([T; LANES], [T; LANES]) {
    let (rows, _) = scores.as_chunks_mut::<BLOCK>();
    let m = largest(rows, runs, column);
    let mut sums = [[T::ZERO; LANES]; LANES];
    for run in runs {
        let mut lane = run.lane;
        for row in &mut rows[run.from..run.to] {
            let Some(x) = row[column..].first_chunk_mut::<LANES>() else { continue };
            let mut e = [T::ZERO; LANES];
            for l in 0..LANES {
                e[l] = ((x[l] - m[l]) * scale).exp();
            }
            let sum = &mut sums[lane % LANES];
            for l in 0..LANES {
                sum[l] += e[l];
            }
            *x = e;
            lane += 1;
        }
    }
    // The tree of all reductions over rows, for every query.
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            for l in 0..LANES {
                sums[i][l] += sums[i + half][l];
            }
        }
    }
    (m, sums[0])
}

/// The largest scores of sixteen queries; NaN is passed over, and comes back with the exponential.
#[inline(always)]
fn largest<T: Scalar>(rows: &[[T; BLOCK]], runs: &[Run; 3], column: usize) -> [T; LANES] {
    // Four at a time: each comparison waits for the one before it.
    let mut most = [[T::from_f64(f64::NEG_INFINITY); LANES]; 4];
    for run in runs {
        for four in rows[run.from..run.to].chunks(4) {
            for (most, row) in most.iter_mut().zip(four) {
                let Some(x) = row[column..].first_chunk::<LANES>() else { continue };
                for l in 0..LANES {
                    most[l] = if x[l] > most[l] { x[l] } else { most[l] };
                }
            }
        }
    }
    let [mut m, rest @ ..] = most;
    for other in rest {
        for l in 0..LANES {
            m[l] = if other[l] > m[l] { other[l] } else { m[l] };
        }
    }
    m
}
