//! The read path: every query with its own M_t, layer by layer, by matrix products (`docs/MATH.md` section 3).

use super::coefficients::Coefficients;
use super::layout::{Layout, Seen};
use super::sets::of_layer;
use super::settle::{onto, settled};
use super::source::Source;
use super::spec::{Network, Read};
use super::work::Reading;
use crate::error::Result;
use crate::gemm::{Beside, Gemm, Store, Weighting};
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

    /// Rows of the coefficients from a query's to the next one's: 1, or 0 where all queries share one.
    pub const fn step(self) -> usize {
        self.of(1) - self.of(0)
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

/// Read-outs `y [n, d_L]` of queries `q [n, d_0]`, n ≤ the layout's rows, from the state `[W | S]` at the piece's start
/// (of which [`Rows::Start`] reads the weights only) and the tokens of the open piece, `from` of which precede the first
/// query's. With [`Source::Closes`] the state is that at the piece's end afterwards.
pub(super) fn answers<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    rows: Rows,
    mut source: Source<'_, T>,
    open: Seen<'_, T>,
    coefficients: &[Coefficients<'_, T>],
    q: Mat<'_, T>,
    from: usize,
    reading: &mut Reading<'_, T>,
    y: MatMut<'_, T>,
) -> Result<()> {
    let (spec, n) = (lay.spec, q.rows());
    inside(g, lay, rows, &mut source, open, coefficients, q, from, reading)?;
    let top = spec.layers() - 1;
    let own = of_layer(coefficients, top);
    match spec.network {
        Network::Plain => layer(g, lay, rows, top, q, &mut source, open, own, from, reading, y)?,
        Network::Residual => {
            let slab = core::mem::take(&mut reading.z);
            let z = lay.output_rows_mut(slab, top, 0, n)?;
            let done = layer(g, lay, rows, top, q, &mut source, open, own, from, reading, z);
            reading.z = slab;
            done?;
            gammas(g, lay, rows, source.state(), open, coefficients, from, n, reading)?;
            g.vectorise(
                #[inline(always)]
                || residual(lay, q, reading, y),
            )?;
        }
    }
    source.all_done(g, lay, open, coefficients)
}

/// The layers of [`answers`] but for the last one: X of all of them, Z of all but the last.
pub(super) fn inside<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    rows: Rows,
    source: &mut Source<'_, T>,
    open: Seen<'_, T>,
    coefficients: &[Coefficients<'_, T>],
    q: Mat<'_, T>,
    from: usize,
    reading: &mut Reading<'_, T>,
) -> Result<()> {
    let (spec, n) = (lay.spec, q.rows());
    for l in 0..spec.layers() {
        if l + 1 < spec.layers() {
            let slab = core::mem::take(&mut reading.z);
            let z = lay.output_rows_mut(slab, l, 0, n)?;
            let done = layer(g, lay, rows, l, q, source, open, of_layer(coefficients, l), from, reading, z);
            reading.z = slab;
            done?;
            let z = lay.output_rows(reading.z, l, 0, n)?;
            let mut next = lay.input_rows_mut(reading.x, l + 1, 0, n)?;
            let len = n * z.row_stride();
            activation::forward(g, spec.activation, &z.data()[..len], next.data_mut());
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

/// Z = diag(A) X W + diag(G) X S − ((X Hᵀ) ∘ C diag(rate)) Δ of layer l: every element is a chain over W's rows and one over
/// S's, blended, and goes on over the tokens. The coefficients are the layer's.
fn layer<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    rows: Rows,
    l: usize,
    q: Mat<'_, T>,
    source: &mut Source<'_, T>,
    open: Seen<'_, T>,
    coefficients: &Coefficients<'_, T>,
    from: usize,
    reading: &mut Reading<'_, T>,
    mut z: MatMut<'_, T>,
) -> Result<()> {
    let n = q.rows();
    if rows == Rows::Start {
        let x = reading.inputs(lay, l, q)?;
        for columns in lay.columns(l) {
            g.gemm(Store::Set, x, lay.panel(source.state(), l, columns)?, z.rb().columns(columns.0, columns.1));
            source.panel_done(g, lay, l, columns, open, coefficients)?;
        }
        return Ok(());
    }
    let seen = seen_by_all(rows, from, n);
    scores(g, lay, rows, l, from, q, open, reading)?;
    mask(g, rows, from, n, seen, lay.rows, coefficients, lay.rates_of(open.rate, l), reading.scores);
    let x = reading.inputs(lay, l, q)?;
    let [a, gg] = [&*coefficients.a, &*coefficients.g].map(|f| &f[rows.of(0)..]);
    let step = rows.step();
    let settled = settled(lay.spec, coefficients);
    let delta = lay.output_rows(open.delta, l, 0, seen)?;
    let scores = Mat::strided(reading.scores, n, seen, lay.rows, 1)?;
    for columns in lay.columns(l) {
        let mut z = z.rb().columns(columns.0, columns.1);
        let (w, s) = source.state().split_at(lay.spec.params());
        let (w, s) = (lay.panel(w, l, columns)?, lay.panel(s, l, columns)?);
        onto(g, settled, x, [a, gg], step, [w, s], z.rb());
        subtract(g, rows, from, seen, scores, delta.block(0, seen, columns.0, columns.1), z);
        source.panel_done(g, lay, l, columns, open, coefficients)?;
    }
    Ok(())
}

/// X Hᵀ against the tokens of the chunk that a query may see.
fn scores<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    rows: Rows,
    l: usize,
    from: usize,
    q: Mat<'_, T>,
    open: Seen<'_, T>,
    reading: &mut Reading<'_, T>,
) -> Result<()> {
    let (n, seen) = (q.rows(), seen_by_all(rows, from, q.rows()));
    let x = if l == 0 { q } else { lay.input_rows(reading.x, l, 0, n)? };
    let h = open.inputs(lay, l, 0, seen)?;
    let scores = MatMut::strided(reading.scores, n, seen, lay.rows)?;
    match rows {
        Rows::Before | Rows::After => g.band(Beside::lower(from), x, h.t(), scores),
        Rows::Start | Rows::Fixed(_) => g.gemm(Store::Set, x, h.t(), scores),
    }
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
    // Of the first query, and from one to the next.
    let step = |first: usize, next: usize| (first, next - first);
    g.weight(Weighting {
        n,
        seen,
        visible: step(rows.sees(from, 0), rows.sees(from, 1)),
        c: coefficients.c_rows(rows.of(0)),
        c_stride: coefficients.stride(rows.step()),
        rate,
        scores,
        stride,
    });
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
        Rows::Before | Rows::After => g.causal(Store::Sub, Beside::lower(from), scores, delta, z),
        Rows::Fixed(_) => {
            if seen > 0 {
                g.gemm(Store::Sub, scores, delta, z);
            }
        }
    }
}

/// γ_t = A_t γ + G_t S_γ − Σ_i C_{t,i} rate_i g_i for every query, by the last layer's gates.
pub(super) fn gammas<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    rows: Rows,
    state: &[T],
    open: Seen<'_, T>,
    coefficients: &[Coefficients<'_, T>],
    from: usize,
    n: usize,
    reading: &mut Reading<'_, T>,
) -> Result<()> {
    let (w, s) = state.split_at(lay.spec.params());
    let (gamma, d) = (lay.gamma(w), lay.spec.gamma_len());
    if rows == Rows::Start {
        (0..n).for_each(|t| reading.gamma[t * d..][..d].copy_from_slice(gamma));
        return Ok(());
    }
    let (momentum, top) = (lay.gamma(s), lay.spec.layers() - 1);
    let coefficients = of_layer(coefficients, top);
    for t in 0..n {
        let out = &mut reading.gamma[t * d..][..d];
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
        let rate = lay.rates_of(open.rate, top);
        mask(g, rows, from, n, seen, lay.rows, coefficients, rate, reading.scores);
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
