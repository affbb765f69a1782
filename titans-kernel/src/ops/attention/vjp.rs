//! Backward: the scores once more from `log_sum`, then their cotangents ("Around the memory" in `docs/MATH.md` section
//! 4).
//!
//! Forward, query by query: s_j = q·k_j / √c, p_j = e^(s_j − log_sum), y = Σ_j p_j v_j. A softmax has dp_j = p_j (ds_j
//! − Σ_i p_i ds_i), so
//!
//! ```text
//! p̄_j = ȳ·v_j,   v̄_j += p_j ȳ
//! s̄_j = p_j (p̄_j − Σ_i p_i p̄_i) = p_j (p̄_j − ȳ·y)               as Σ_i p_i (ȳ·v_i) = ȳ·y
//! q̄ = Σ_j s̄_j k_j / √c,   k̄_j += s̄_j q / √c                     (1 / √c is taken into s̄)
//! ```
//!
//! Of a band of queries s, p, p̄ and s̄ are matrices, here `[keys, queries]`.

use super::super::rows::{LANES, dot, expect_rows, expect_shape};
use super::band::{Band, KeyPart, KeyParts, finite, most_seen};
use super::{BLOCK, Keys, Queries, Span, columns, expect, persistent_rows, scale};
use crate::arithmetic::{Arithmetic, Seen, Store};
use crate::error::{Error, Result, expect_len};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::{Room, Scratch, counted};
use crate::view::{Mat, MatMut};

/// Gradients of keys and of values.
type Pair<'a, T> = (MatMut<'a, T>, MatMut<'a, T>);

/// Where [`vjp`] writes, in the shapes of its inputs.
#[derive(Debug)]
pub struct AttentionGradients<'a, T> {
    /// Of `q`, overwritten; zeros without persistent keys.
    pub q: MatMut<'a, T>,
    /// Of `q_rotated`, overwritten.
    pub q_rotated: MatMut<'a, T>,
    /// Added to; there where the keys are.
    pub persistent: Option<Pair<'a, T>>,
    /// Added to; there where the keys are.
    pub context: Option<Pair<'a, T>>,
    /// Added to.
    pub tokens: Pair<'a, T>,
}

/// What the forward answered, and what it is to be held against.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a, T> {
    /// The read-outs `[n, c]`.
    pub y: Mat<'a, T>,
    /// The log-sum-exp of every row's scores `[n]`.
    pub log_sum: &'a [T],
    /// The cotangent of `y`.
    pub d_y: Mat<'a, T>,
}

/// Elements of scratch that [`vjp`] needs; `usize::MAX` if that is beyond counting.
pub fn vjp_scratch_len(span: Span, n: usize, persistent: usize, context: bool) -> usize {
    counted(|room| both_scores::<f64, _>(room, &most_seen(span, n.min(BLOCK), persistent, context)))
}

/// s and p̄ of a band's keys, which become p and s̄.
fn both_scores<'a, T, R: Room<'a, T>>(room: &mut R, keys: &[Seen]) -> Result<[&'a mut [T]; 2]> {
    Ok([columns::scores(room, keys)?, columns::scores(room, keys)?])
}

/// Backward of [`forward`](super::forward), from its y and `log_sum`: gradients of queries overwritten, those of keys
/// and values added, over ascending queries. Scratch: [`vjp_scratch_len`] elements, contents irrelevant.
///
/// Queries may come in any pieces, with the same bits. A NaN in `d_y` or in what a row sees makes NaN of the gradients
/// that depend on it, and of no other.
///
/// # Errors
/// As [`forward`](super::forward), also for a gradient that does not have the shape of its input.
pub fn vjp<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    span: Span,
    queries: Queries<'_, T>,
    keys: &Keys<'_, T>,
    answered: Answered<'_, T>,
    mut d: AttentionGradients<'_, T>,
    scratch: &mut [T],
) -> Result<()> {
    let (Queries { first, q, q_rotated }, Answered { y, log_sum, d_y }) = (queries, answered);
    let n = q_rotated.rows();
    expect(span, queries, keys)?;
    expect_rows("y", "y column stride", y, n, q.cols())?;
    expect_rows("d_y", "d_y column stride", d_y, n, q.cols())?;
    expect_len("log_sum", n, log_sum.len())?;
    expect_gradients(n, keys, &d)?;
    let needed = vjp_scratch_len(span, n, persistent_rows(keys), keys.context.is_some());
    if scratch.len() < needed {
        return Err(Error::Buffer { what: "scratch", needed, given: scratch.len() });
    }
    d.q.fill(T::ZERO);
    let scale = scale(q.cols());
    let parts = KeyParts::new(q, q_rotated, keys);
    let mut r = 0;
    while r < n {
        let mut band = Band::new(span, first, keys.first, r, BLOCK.min(n - r));
        if !zeros_stay_zeros(g, &band, &parts, d_y) {
            // A row alone meets nothing that it does not see.
            band = Band::new(span, first, keys.first, r, 1);
        }
        let (seen, count) = parts.seen(&band);
        let [scores, d_scores] = both_scores(&mut Scratch::new(scratch), seen.part(..count))?;
        // s, p̄, then p and s̄ / √c in their places, then the products with them.
        columns::score(g, &band, &parts, scores);
        d_probabilities(g, &band, &parts, d_y, d_scores);
        g.vectorise(
            #[inline(always)]
            || softmax_vjp(scale, &band, &parts, &RowSums::new(&band, y, log_sum, d_y), scores, d_scores),
        );
        spread(g, &band, &parts, d_y, scores, d_scores, &mut d);
        r += band.rows;
    }
    Ok(())
}

/// Every gradient has the shape of its input, and is there if that is.
fn expect_gradients<T: Copy>(n: usize, keys: &Keys<'_, T>, d: &AttentionGradients<'_, T>) -> Result<()> {
    let c = keys.tokens.0.cols();
    expect_shape("d of q", d.q.as_ref(), n, c)?;
    expect_shape("d of q_rotated", d.q_rotated.as_ref(), n, c)?;
    let tokens = keys.tokens.0.rows();
    expect_shape("d of token keys", d.tokens.0.as_ref(), tokens, c)?;
    expect_shape("d of token values", d.tokens.1.as_ref(), tokens, c)?;
    let pair = |what, keys: Option<_>, d: &Option<Pair<'_, T>>| match (keys, d) {
        (None, _) => Ok(()),
        (Some(rows), None) => Err(Error::Shape { what, expected: rows, found: 0 }),
        (Some(rows), Some((k, v))) => {
            expect_shape(what, k.as_ref(), rows, c)?;
            expect_shape(what, v.as_ref(), rows, c)
        }
    };
    pair("d of persistent keys and values", keys.persistent.map(|(k, _)| k.rows()), &d.persistent)?;
    pair("d of context keys and values", keys.context.map(|(k, _)| k.rows()), &d.context)
}

/// Whether a weight of 0 adds nothing to any gradient, so that rows and keys that do not see one another may meet in a
/// product.
fn zeros_stay_zeros<T: Scalar, G: Arithmetic<T>>(g: &G, band: &Band, parts: &KeyParts<'_, T>, d_y: Mat<'_, T>) -> bool {
    let corner = band.corner();
    finite(g, d_y, band.from, band.rows)
        && parts
            .iter()
            .filter(|p| p.banded)
            .all(|p| finite(g, p.q, band.from, band.rows) && (corner == 0 || finite_keys(g, p.k, band.low, corner)))
}

/// [`finite`] of keys, which may be a transpose.
fn finite_keys<T: Scalar, G: Arithmetic<T>>(g: &G, k: Mat<'_, T>, from: usize, rows: usize) -> bool {
    if k.col_stride() == 1 {
        return finite(g, k, from, rows);
    }
    (from..from + rows).all(|r| (0..k.cols()).all(|c| k.at(r, c).finite()))
}

/// Numbers of the rows of a block, for whole registers of them.
struct RowSums<T> {
    log_sum: [T; BLOCK],
    /// ȳ·y.
    along: [T; BLOCK],
}

impl<T: Scalar> RowSums<T> {
    #[inline(always)]
    fn new(band: &Band, y: Mat<'_, T>, log_sum: &[T], d_y: Mat<'_, T>) -> Self {
        let mut rows = Self { log_sum: [T::ZERO; BLOCK], along: [T::ZERO; BLOCK] };
        let range = band.from..band.from + band.rows;
        rows.log_sum[..band.rows].copy_from_slice(&log_sum[range.clone()]);
        for (along, r) in rows.along.iter_mut().zip(range) {
            *along = dot(d_y.row(r), y.row(r));
        }
        rows
    }
}

/// p̄_j = v_j·ȳ, laid out as the scores.
fn d_probabilities<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    band: &Band,
    parts: &KeyParts<'_, T>,
    d_y: Mat<'_, T>,
    d_scores: &mut [T],
) {
    let mut at = 0;
    for part in parts.iter() {
        let len = part.len(band);
        let d_y = d_y.sub(band.from, band.rows).t();
        if let Ok(out) = MatMut::strided(&mut d_scores[at * BLOCK..], len, band.rows, BLOCK) {
            if part.banded {
                g.band(band.of_keys(), part.v.sub(band.low, len), d_y, out);
            } else {
                g.gemm(Store::Set, part.v, d_y, out);
            }
        }
        at += len;
    }
}

/// In place (the head of this file): p = e^(s − log_sum) from the scores, which lack the factor 1 / √c (`scale`), and
/// s̄ / √c = p (p̄ − ȳ·y) / √c from p̄; zeros where a row does not see a key.
#[inline(always)]
fn softmax_vjp<T: Scalar>(
    scale: T,
    band: &Band,
    parts: &KeyParts<'_, T>,
    rows: &RowSums<T>,
    scores: &mut [T],
    d_scores: &mut [T],
) {
    let (p, d_p) = (scores.as_chunks_mut::<BLOCK>().0, d_scores.as_chunks_mut::<BLOCK>().0);
    let mut at = 0;
    for part in parts.iter() {
        let len = part.len(band);
        for (s, (p, d)) in p[at..at + len].iter_mut().zip(&mut d_p[at..at + len]).enumerate() {
            let (from, to) = if part.banded { seen_by(band, s) } else { (0, band.rows) };
            softmax_vjp_key(scale, rows, p, d, (from / LANES * LANES, to));
            if to - from < band.rows {
                for x in [p, d] {
                    x[..from].fill(T::ZERO);
                    x[to..].fill(T::ZERO);
                }
            }
        }
        at += len;
    }
}

/// The rows that see token s of the span.
#[inline(always)]
fn seen_by(band: &Band, s: usize) -> (usize, usize) {
    (s.saturating_sub(band.behind), (band.ahead + s + 1).min(band.rows))
}

/// The same for one key and the sixteens of rows that reach into `from .. to`.
#[inline(always)]
fn softmax_vjp_key<T: Scalar>(
    scale: T,
    rows: &RowSums<T>,
    p: &mut [T; BLOCK],
    d: &mut [T; BLOCK],
    (from, to): (usize, usize),
) {
    for r in (from..to).step_by(LANES) {
        let (Some(p), Some(d)) = (p[r..].first_chunk_mut::<LANES>(), d[r..].first_chunk_mut::<LANES>()) else {
            continue;
        };
        let mut e = [T::ZERO; LANES];
        for l in 0..LANES {
            e[l] = (scale * p[l] - rows.log_sum[r + l]).exp(); // p
        }
        for l in 0..LANES {
            d[l] = scale * (e[l] * (d[l] - rows.along[r + l])); // s̄ / √c = p (p̄ − ȳ·y) / √c
        }
        *p = e;
    }
}

/// The products of p and s̄ / √c with queries, keys and ȳ.
fn spread<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    band: &Band,
    parts: &KeyParts<'_, T>,
    d_y: Mat<'_, T>,
    p: &[T],
    d_s: &[T],
    d: &mut AttentionGradients<'_, T>,
) {
    let AttentionGradients { q, q_rotated, persistent, context, tokens } = d;
    let pairs = [persistent.as_mut(), context.as_mut(), Some(tokens)];
    let (mut at, mut store) = (0, Store::Set);
    let d_y = d_y.sub(band.from, band.rows);
    for (part, pair) in parts.0.iter().zip(pairs) {
        let (Some(part), Some((d_k, d_v))) = (part, pair) else { continue };
        let len = part.len(band);
        let view = |x| Mat::strided(x, len, band.rows, BLOCK, 1);
        let (Ok(p), Ok(d_s)) = (view(&p[at * BLOCK..]), view(&d_s[at * BLOCK..])) else { continue };
        let asked = part.q.sub(band.from, band.rows);
        // v̄_j += Σ p_j ȳ, k̄_j += Σ s̄_j q / √c over the queries, q̄ = Σ_j s̄_j k_j / √c.
        if part.banded {
            d_keys(g, band, p, d_y, d_v.rb().sub(band.low, len));
            d_keys(g, band, d_s, asked, d_k.rb().sub(band.low, len));
            d_queries(g, store, band, part, d_s, q_rotated.rb().sub(band.from, band.rows));
            store = Store::Add;
        } else if len > 0 {
            g.gemm(Store::Add, p, d_y, d_v.rb());
            g.gemm(Store::Add, d_s, asked, d_k.rb());
            g.gemm(Store::Set, d_s.t(), part.k, q.rb().sub(band.from, band.rows));
        }
        at += len;
    }
}

/// `out += weights x` where token s of the span meets rows s − behind ..= ahead + s; the weights of rows before them
/// are 0.
fn d_keys<T: Scalar, G: Arithmetic<T>>(g: &G, band: &Band, weights: Mat<'_, T>, x: Mat<'_, T>, out: MatMut<'_, T>) {
    g.causal(Store::Add, band.of_keys(), weights, x, out);
}

/// q̄ = or += Σ_j s̄_j k_j / √c.
fn d_queries<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    store: Store,
    band: &Band,
    part: &KeyPart<'_, T>,
    d_s: Mat<'_, T>,
    d_q: MatMut<'_, T>,
) {
    g.causal(store, band.of_rows(), d_s.t(), part.k.sub(band.low, band.len), d_q);
}
