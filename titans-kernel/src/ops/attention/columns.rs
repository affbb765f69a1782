//! Many queries: scores in columns, a key a row, so that all of softmax goes by registers of queries.

use super::super::rows::LANES;
use super::BLOCK;
use super::band::{Band, Parts};
use super::rows::divide;
use crate::gemm::{Gemm, Store};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// y and `log_sum` of a band.
pub(super) fn forward<T: Scalar, G: Gemm<T>>(
    g: &G,
    scale: T,
    band: &Band,
    parts: &Parts<'_, T>,
    mut y: MatMut<'_, T>,
    log_sum: Option<&mut [T]>,
    scratch: &mut [T],
) {
    score(g, band, parts, scratch);
    let (scores, _) = scratch.as_chunks_mut::<BLOCK>();
    let (m, sum) = g.vectorise(
        #[inline(always)]
        || softmax(scale, band, parts, scores),
    );
    for r in (0..band.rows).step_by(LANES) {
        let rows = LANES.min(band.rows - r);
        sum_values(g, &band.group(r, rows), band, parts, scores.as_flattened(), r, y.rb().sub(r, rows));
    }
    let inverse = sum.map(
        #[inline(always)]
        |sum| T::ONE / sum,
    );
    g.vectorise(
        #[inline(always)]
        || divide(&inverse[..band.rows], &mut y),
    );
    if let Some(log_sum) = log_sum {
        for ((log_sum, &m), sum) in log_sum.iter_mut().zip(&m).zip(sum) {
            *log_sum = scale * m + sum.ln();
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

/// `y = P v` for a group of the band's rows, from row r on, and the tokens that it sees.
fn sum_values<T: Scalar, G: Gemm<T>>(
    g: &G,
    (skipped, group): &(usize, Band),
    band: &Band,
    parts: &Parts<'_, T>,
    p: &[T],
    r: usize,
    mut y: MatMut<'_, T>,
) {
    let (mut at, mut store) = (0, Store::Set);
    for part in parts.iter() {
        let (from, len) = if part.banded { (at + skipped, group.len) } else { (at, part.k.rows()) };
        if let Ok(p) = Mat::strided(&p[from * BLOCK + r..], len, group.rows, BLOCK, 1) {
            if part.banded {
                g.causal(store, group.behind, p.t(), part.v.sub(group.low, len), y.rb());
            } else {
                g.gemm(store, p.t(), part.v, y.rb());
            }
        }
        at += part.len(band);
        store = Store::Add;
    }
}

/// `e^(scale (x − m))` in place, 0 where a row does not see a key; the rows' m and sums.
#[inline(always)]
fn softmax<T: Scalar>(
    scale: T,
    band: &Band,
    parts: &Parts<'_, T>,
    scores: &mut [[T; BLOCK]],
) -> ([T; BLOCK], [T; BLOCK]) {
    let mut len = 0;
    for part in parts.iter() {
        let from = len;
        len += part.len(band);
        if part.banded {
            hide(band, &mut scores[from..len]);
        }
    }
    let m = largest(&scores[..len]);
    let mut sums = [[T::ZERO; BLOCK]; LANES];
    let mut at = 0;
    for part in parts.iter() {
        let len = part.len(band);
        let lane = if part.banded { band.lane } else { 0 };
        for (s, x) in scores[at..at + len].iter_mut().enumerate() {
            let mut e = [T::ZERO; BLOCK];
            for l in 0..BLOCK {
                e[l] = ((x[l] - m[l]) * scale).exp();
            }
            let sum = &mut sums[(lane + s) % LANES];
            for l in 0..BLOCK {
                sum[l] += e[l];
            }
            *x = e;
        }
        at += len;
    }
    // The tree of all reductions over rows, for every query.
    for half in [8, 4, 2, 1] {
        for i in 0..half {
            for l in 0..BLOCK {
                sums[i][l] += sums[i + half][l];
            }
        }
    }
    (m, sums[0])
}

/// −∞ where a row does not see a token; `scores` are those of the span.
#[inline(always)]
fn hide<T: Scalar>(band: &Band, scores: &mut [[T; BLOCK]]) {
    let nothing = T::from_f64(f64::NEG_INFINITY);
    for (s, x) in scores.iter_mut().enumerate().take(band.corner()) {
        x[band.ahead + s + 1..].fill(nothing);
    }
    for (r, x) in scores[band.behind + 1..].iter_mut().enumerate() {
        x[..=r].fill(nothing);
    }
}

/// The largest score of every query; NaN is passed over, and comes back with the exponential.
#[inline(always)]
fn largest<T: Scalar>(scores: &[[T; BLOCK]]) -> [T; BLOCK] {
    let mut m = [T::from_f64(f64::NEG_INFINITY); BLOCK];
    for x in scores {
        for l in 0..BLOCK {
            m[l] = if x[l] > m[l] { x[l] } else { m[l] };
        }
    }
    m
}
