//! The read path: every query with its own M_t, layer by layer, by matrix products (`docs/MATH.md` section 3).

use super::coefficients::Coefficients;
use super::layout::{Layout, Reading, Seen};
use super::spec::{Network, Read};
use crate::error::Result;
use crate::gemm::{Gemm, Store};
use crate::ops::{activation, layer_norm};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Which row of the coefficients answers which query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rows {
    /// The parameters as they are: A = 1, G = 0, C = 0.
    Start,
    /// Query t by the weights before token t: row t.
    Before,
    /// Query t by the weights after token t: row t + 1.
    After,
    /// Every query by the weights after all the chunk's tokens so far: this row.
    Fixed(usize),
}

impl From<Read> for Rows {
    fn from(read: Read) -> Self {
        match read {
            Read::After => Self::After,
            Read::Before => Self::Before,
            Read::ChunkStart => Self::Start,
        }
    }
}

impl Rows {
    /// Row of the coefficients for query t.
    pub const fn of(self, t: usize) -> usize {
        match self {
            Self::Start | Self::Before => t,
            Self::After => t + 1,
            Self::Fixed(row) => row,
        }
    }

    /// How many of the chunk's tokens query t sees, `from` of them before the first query's token.
    pub const fn sees(self, from: usize, t: usize) -> usize {
        match self {
            Self::Start => 0,
            Self::Before => from + t,
            Self::After => from + t + 1,
            Self::Fixed(_) => from,
        }
    }
}

/// Read-outs `y [n, d_L]` of queries `q [n, d_0]`, n ≤ the layout's rows, from the state `[W | S]` at the chunk's start
/// and the tokens of the open chunk, `from` of which precede the first query's.
pub(super) fn answers<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    rows: Rows,
    state: &[T],
    open: Seen<'_, T>,
    coefficients: &Coefficients<'_, T>,
    q: Mat<'_, T>,
    from: usize,
    reading: &mut Reading<'_, T>,
    mut y: MatMut<'_, T>,
) -> Result<()> {
    let (spec, n) = (lay.spec, q.rows());
    let (w, s) = state.split_at(spec.params());
    let mut queries = lay.input_rows_mut(reading.x, 0, 0, n)?;
    for t in 0..n {
        queries.row_mut(t).copy_from_slice(q.row(t));
    }
    for l in 0..spec.layers() {
        let x = lay.input_rows(reading.x, l, 0, n)?;
        if rows == Rows::Start {
            g.gemm(Store::Set, x, lay.weights(w, l)?, lay.output_rows_mut(reading.z, l, 0, n)?);
        } else {
            g.gemm(Store::Set, x, lay.weights(w, l)?, lay.output_rows_mut(reading.xw, l, 0, n)?);
            g.gemm(Store::Set, x, lay.weights(s, l)?, lay.output_rows_mut(reading.xs, l, 0, n)?);
            mix(g, lay, rows, l, n, coefficients, reading)?;
            let seen = seen_by_all(rows, from, n);
            scores(g, lay, l, seen, n, open, reading)?;
            mask(g, rows, from, n, seen, lay.rows, coefficients, open.rate, reading.scores);
            let delta = lay.output_rows(open.delta, l, 0, seen)?;
            let z = lay.output_rows_mut(reading.z, l, 0, n)?;
            subtract(g, rows, from, seen, Mat::strided(reading.scores, n, seen, lay.rows, 1)?, delta, z);
        }
        if l + 1 < spec.layers() {
            let z = lay.output_rows(reading.z, l, 0, n)?;
            let mut next = lay.input_rows_mut(reading.x, l + 1, 0, n)?;
            let len = n * z.cols();
            activation::forward(g, spec.activation, &z.data()[..len], next.data_mut());
        }
    }
    match spec.network {
        Network::Plain => {
            let z = lay.output_rows(reading.z, spec.layers() - 1, 0, n)?;
            for t in 0..n {
                y.row_mut(t).copy_from_slice(z.row(t));
            }
        }
        Network::Residual => {
            gammas(g, lay, rows, state, open, coefficients, from, n, reading)?;
            g.vectorise(
                #[inline(always)]
                || residual(lay, q, reading, y),
            )?;
        }
    }
    Ok(())
}

/// Tokens of the open chunk that any of n queries may see.
pub(super) const fn seen_by_all(rows: Rows, from: usize, n: usize) -> usize {
    match rows {
        Rows::Start => 0,
        Rows::Before | Rows::After => from + n,
        Rows::Fixed(_) => from,
    }
}

/// Z = diag(A) X W + diag(G) X S.
fn mix<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    rows: Rows,
    l: usize,
    n: usize,
    coefficients: &Coefficients<'_, T>,
    reading: &mut Reading<'_, T>,
) -> Result<()> {
    let (xw, xs) = (lay.output_rows(reading.xw, l, 0, n)?, lay.output_rows(reading.xs, l, 0, n)?);
    let mut z = lay.output_rows_mut(reading.z, l, 0, n)?;
    g.vectorise(
        #[inline(always)]
        || {
            for t in 0..n {
                let (a, gg) = (coefficients.a[rows.of(t)], coefficients.g[rows.of(t)]);
                for ((z, &xw), &xs) in z.row_mut(t).iter_mut().zip(xw.row(t)).zip(xs.row(t)) {
                    *z = a * xw + gg * xs;
                }
            }
        },
    );
    Ok(())
}

/// X Hᵀ against the first `seen` tokens of the chunk.
pub(super) fn scores<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    l: usize,
    seen: usize,
    n: usize,
    open: Seen<'_, T>,
    reading: &mut Reading<'_, T>,
) -> Result<()> {
    let (x, h) = (lay.input_rows(reading.x, l, 0, n)?, lay.input_rows(open.h, l, 0, seen)?);
    g.gemm(Store::Set, x, h.t(), MatMut::strided(reading.scores, n, seen, lay.rows)?);
    Ok(())
}

/// scores ∘ C diag(rate), 0 where a query does not see a token.
fn mask<T: Scalar, G: Gemm<T>>(
    g: &G,
    rows: Rows,
    from: usize,
    n: usize,
    seen: usize,
    stride: usize,
    coefficients: &Coefficients<'_, T>,
    rate: &[T],
    scores: &mut [T],
) {
    g.vectorise(
        #[inline(always)]
        || {
            for t in 0..n {
                let visible = rows.sees(from, t);
                let row = &mut scores[t * stride..][..seen];
                let c = coefficients.c_row(rows.of(t));
                for ((m, &c), &rate) in row[..visible].iter_mut().zip(c).zip(rate) {
                    *m *= c * rate;
                }
                row[visible..].fill(T::ZERO);
            }
        },
    );
}

/// Z −= scores Δ, each row over the tokens it may see and no others: what comes later is never read.
fn subtract<T: Scalar, G: Gemm<T>>(
    g: &G,
    rows: Rows,
    from: usize,
    seen: usize,
    scores: Mat<'_, T>,
    delta: Mat<'_, T>,
    z: MatMut<'_, T>,
) {
    match rows {
        Rows::Start => {}
        Rows::Before | Rows::After => g.causal(Store::Sub, from, scores, delta, z),
        Rows::Fixed(_) => {
            if seen > 0 {
                g.gemm(Store::Sub, scores, delta, z);
            }
        }
    }
}

/// γ_t = A_t γ + G_t S_γ − Σ_i C_{t,i} rate_i g_i for every query.
fn gammas<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    rows: Rows,
    state: &[T],
    open: Seen<'_, T>,
    coefficients: &Coefficients<'_, T>,
    from: usize,
    n: usize,
    reading: &mut Reading<'_, T>,
) -> Result<()> {
    let (w, s) = state.split_at(lay.spec.params());
    let (gamma, momentum, d) = (lay.gamma(w), lay.gamma(s), lay.spec.gamma_len());
    for t in 0..n {
        let out = &mut reading.gamma[t * d..][..d];
        if rows == Rows::Start {
            out.copy_from_slice(gamma);
            continue;
        }
        let (a, gg) = (coefficients.a[rows.of(t)], coefficients.g[rows.of(t)]);
        for ((o, &w), &s) in out.iter_mut().zip(gamma).zip(momentum) {
            *o = a * w + gg * s;
        }
    }
    let seen = seen_by_all(rows, from, n);
    if seen > 0 {
        for t in 0..n {
            reading.scores[t * lay.rows..][..seen].fill(T::ONE);
        }
        mask(g, rows, from, n, seen, lay.rows, coefficients, open.rate, reading.scores);
        let scores = Mat::strided(reading.scores, n, seen, lay.rows, 1)?;
        subtract(g, rows, from, seen, scores, Mat::new(open.g_gamma, seen, d)?, MatMut::new(reading.gamma, n, d)?);
    }
    Ok(())
}

/// y = q + LN(z^L) ∘ (1 + γ_t).
#[inline(always)]
pub(super) fn residual<T: Scalar>(
    lay: Layout<'_>,
    q: Mat<'_, T>,
    reading: &mut Reading<'_, T>,
    mut y: MatMut<'_, T>,
) -> Result<()> {
    let (n, d) = (q.rows(), lay.spec.value_width());
    let z = lay.output_rows(reading.z, lay.spec.layers() - 1, 0, n)?;
    for t in 0..n {
        let x_hat = &mut reading.x_hat[t * d..][..d];
        reading.r[t] = layer_norm::forward_row(z.row(t), x_hat);
        let gamma = &reading.gamma[t * d..][..d];
        for (((y, &q), &h), &gamma) in y.row_mut(t).iter_mut().zip(q.row(t)).zip(&*x_hat).zip(gamma) {
            *y = q + h * (T::ONE + gamma);
        }
    }
    Ok(())
}
