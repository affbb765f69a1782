//! The read path: every query with its own M_t, layer by layer, by matrix products (`docs/MATH.md` section 3).
//!
//! ```text
//! Z = diag(A) X W + diag(G) X S − ((X Hᵀ) ∘ C diag(rate)) Δ,   X ← φ(Z)
//! ```
//!
//! X are the queries' inputs to a layer (Q to the first), H and Δ what the piece's tokens left there. The last term is
//! causal linear attention: row t of C is 0 for tokens that query t does not see.

use super::frame::Frame;
use super::layout::Layout;
use super::open::{Gated, Past};
use super::settle::{has_settled, onto};
use super::source::StateSource;
use super::spec::{Network, Read};
use super::work::Reading;
use crate::arithmetic::{Arithmetic, Beside, ScoreScaling, Store};
use crate::error::Result;
use crate::ops::{activation, layer_norm};
use crate::part::Parts;
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
    /// Do the parameters as they are answer, so that nothing of the chunk is looked at?
    pub const fn is_start(self) -> bool {
        match self {
            Self::Start => true,
            Self::Before | Self::After | Self::Fixed(_) => false,
        }
    }

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
    pub const fn visible_to(self, from: usize, t: usize) -> usize {
        match self {
            Self::Start => 0,
            Self::Before => from + t,
            Self::After => from + t + 1,
            Self::Fixed(_) => from,
        }
    }
}

/// Queries, and what they see of the open piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a, T> {
    pub rows: Rows,
    /// `[n, d_0]`.
    pub q: Mat<'a, T>,
    /// Tokens of the piece before the first query's.
    pub from: usize,
    /// The row of the coefficients from which [`Rows::of`] counts.
    pub base: usize,
}

impl<'a, T: Scalar> Asked<'a, T> {
    /// Queries before whose first one `from` tokens of the piece came, by coefficients from row 0 on.
    pub const fn new(rows: Rows, q: Mat<'a, T>, from: usize) -> Self {
        Self { rows, q, from, base: 0 }
    }

    /// Row of the coefficients for query t.
    #[inline(always)]
    pub const fn row(&self, t: usize) -> usize {
        self.base + self.rows.of(t)
    }

    /// How many of the piece's tokens query t sees.
    #[inline(always)]
    pub const fn visible_to(&self, t: usize) -> usize {
        self.rows.visible_to(self.from, t)
    }

    /// Tokens of the piece that any of the queries may see.
    pub fn seen(&self) -> usize {
        match self.rows {
            Rows::Start => 0,
            Rows::Before | Rows::After => self.from + self.q.rows(),
            Rows::Fixed(_) => self.from,
        }
    }
}

/// Read-outs `y [n, d_L]` of queries, n ≤ the layout's rows, from the state `[W | S]` at the piece's start (of which
/// [`Rows::Start`] reads the weights only) and the tokens of the open piece. With [`StateSource::Closes`] the state is
/// that at the piece's end afterwards.
pub(super) fn answers<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    asked: Asked<'_, T>,
    mut source: StateSource<'_, T>,
    past: Past<'_, T>,
    reading: &mut Reading<'_, T>,
    y: MatMut<'_, T>,
) -> Result<()> {
    let (lay, n) = (on.lay, asked.q.rows());
    inside(on, asked, &mut source, past, reading)?;
    let top = lay.spec.layers() - 1;
    match lay.spec.network {
        Network::Plain => layer(on, top, asked, &mut source, past, reading, y)?,
        Network::Residual => {
            // Z lies in `reading` itself: it is lent out while the layer writes it.
            let slab = core::mem::take(&mut reading.z);
            let z = lay.output_rows_mut(slab, top, 0, n)?;
            let done = layer(on, top, asked, &mut source, past, reading, z);
            reading.z = slab;
            done?;
            gammas(on, asked, source.state(), past, reading)?;
            on.g.vectorise(
                #[inline(always)]
                || residual(lay, asked.q, reading, y),
            )?;
        }
    }
    // The matrices closed panel by panel; γ is left.
    source.all_done(on, past)
}

/// The layers of [`answers`] but for the last one: X of all of them, Z of all but the last.
pub(super) fn inside<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    asked: Asked<'_, T>,
    source: &mut StateSource<'_, T>,
    past: Past<'_, T>,
    reading: &mut Reading<'_, T>,
) -> Result<()> {
    let (lay, n) = (on.lay, asked.q.rows());
    for l in 0..lay.spec.layers() - 1 {
        // Z of layer l [n, d_l], lent out while it is written.
        let slab = core::mem::take(&mut reading.z);
        let z = lay.output_rows_mut(slab, l, 0, n)?;
        let done = layer(on, l, asked, source, past, reading, z);
        reading.z = slab;
        done?;
        // X ← φ(Z), over the rows as they lie: gaps between them, if there are any, are mapped too.
        let z = lay.output_rows(reading.z, l, 0, n)?;
        let mut next = lay.input_rows_mut(reading.x, l + 1, 0, n)?;
        let len = n * z.row_stride();
        activation::forward(on.g, lay.spec.activation, z.data().part(..len), next.data_mut());
    }
    Ok(())
}

/// Z = diag(A) X W + diag(G) X S − ((X Hᵀ) ∘ C diag(rate)) Δ of layer l: every element is a chain over W's rows and one
/// over S's, blended, and goes on over the tokens.
fn layer<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    l: usize,
    asked: Asked<'_, T>,
    source: &mut StateSource<'_, T>,
    past: Past<'_, T>,
    reading: &mut Reading<'_, T>,
    mut z: MatMut<'_, T>,
) -> Result<()> {
    let (Frame { g, lay }, n) = (on, asked.q.rows());
    if asked.rows.is_start() {
        // A = 1, G = 0, C = 0: Z = X W.
        let x = reading.inputs(lay, l, asked.q)?;
        for columns in lay.columns(l) {
            g.gemm(Store::Set, x, lay.panel(source.state(), l, columns)?, z.rb().columns(columns.0, columns.1));
            source.panel_done(on, (l, columns), past)?;
        }
        return Ok(());
    }
    // The weights (X Hᵀ) ∘ C diag(rate) do not know the layer's columns: once for all panels.
    let (seen, gates) = (asked.seen(), past.gates(lay, l)?);
    scores(on, l, asked, past, reading)?;
    mask(on, asked, gates, reading.scores);
    let x = reading.inputs(lay, l, asked.q)?;
    let [a, gg] = [&*gates.by.a, &*gates.by.g].map(|f| f.part(asked.row(0)..));
    let step = asked.rows.step(); // 0: all queries by one row
    let settled = has_settled(lay.spec, gates.by);
    // X [n, d_in], Δ [seen, d_out], weights [n, seen].
    let delta = lay.output_rows(past.open.delta, l, 0, seen)?;
    let scores = Mat::strided(reading.scores, n, seen, lay.rows, 1)?;
    for columns in lay.columns(l) {
        let mut z = z.rb().columns(columns.0, columns.1);
        let (w, s) = source.state().halves(lay.spec.params());
        let (w, s) = (lay.panel(w, l, columns)?, lay.panel(s, l, columns)?);
        // diag(A) X W + diag(G) X S, then − weights Δ.
        onto(g, settled, x, [a, gg], step, [w, s], z.rb());
        subtract(g, asked, scores, delta.block(0, seen, columns.0, columns.1), z);
        source.panel_done(on, (l, columns), past)?;
    }
    Ok(())
}

/// X Hᵀ against the tokens of the chunk that a query may see.
fn scores<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    l: usize,
    asked: Asked<'_, T>,
    past: Past<'_, T>,
    reading: &mut Reading<'_, T>,
) -> Result<()> {
    let (Frame { g, lay }, n, seen) = (on, asked.q.rows(), asked.seen());
    // Queries are the first layer's inputs themselves.
    let x = if l == 0 { asked.q } else { lay.input_rows(reading.x, l, 0, n)? };
    let h = past.open.inputs(lay, l, 0, seen)?;
    let scores = MatMut::strided(reading.scores, n, seen, lay.rows)?;
    match asked.rows {
        // Only what lies in the band is ever read.
        Rows::Before | Rows::After => g.band(Beside::lower(asked.from), x, h.t(), scores),
        Rows::Start | Rows::Fixed(_) => g.gemm(Store::Set, x, h.t(), scores),
    }
    Ok(())
}

/// scores ∘ C diag(rate), 0 where a query does not see a token.
fn mask<T: Scalar, G: Arithmetic<T>>(on: Frame<'_, G>, asked: Asked<'_, T>, gates: Gated<'_, T>, scores: &mut [T]) {
    // Of the first query, and from one to the next.
    let step = |first: usize, next: usize| (first, next - first);
    on.g.scale_scores(ScoreScaling {
        n: asked.q.rows(),
        seen: asked.seen(),
        visible: step(asked.visible_to(0), asked.visible_to(1)),
        c: gates.by.c_rows_from(asked.row(0)),
        c_stride: gates.by.stride(asked.rows.step()),
        rate: gates.rate,
        scores,
        stride: on.lay.rows,
    });
}

/// Z −= scores Δ, each row over the tokens it may see and no others: what comes later is never read.
fn subtract<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    asked: Asked<'_, T>,
    scores: Mat<'_, T>,
    delta: Mat<'_, T>,
    z: MatMut<'_, T>,
) {
    match asked.rows {
        Rows::Start => {}
        // Row t ends where its query's view does.
        Rows::Before | Rows::After => g.causal(Store::Sub, Beside::lower(asked.from), scores, delta, z),
        Rows::Fixed(_) => {
            if asked.from > 0 {
                g.gemm(Store::Sub, scores, delta, z);
            }
        }
    }
}

/// γ_t = A_t γ + G_t S_γ − Σ_i C_{t,i} rate_i g_i for every query, by the last layer's gates.
pub(super) fn gammas<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    asked: Asked<'_, T>,
    state: &[T],
    past: Past<'_, T>,
    reading: &mut Reading<'_, T>,
) -> Result<()> {
    let (lay, n) = (on.lay, asked.q.rows());
    let (w, s) = state.halves(lay.spec.params());
    let (gamma, d) = (lay.gamma(w), lay.spec.gamma_len());
    if asked.rows.is_start() {
        // γ as it is, for every query.
        (0..n).for_each(|t| reading.gamma.part_mut(t * d..).part_mut(..d).become_copy(gamma));
        return Ok(());
    }
    // A_t γ + G_t S_γ first.
    let momentum = lay.gamma(s);
    let gates = past.gates(lay, lay.spec.layers() - 1)?;
    for t in 0..n {
        let out = reading.gamma.part_mut(t * d..).part_mut(..d);
        let (a, gg) = (gates.by.a.item(asked.row(t)), gates.by.g.item(asked.row(t)));
        for ((o, &w), &s) in out.iter_mut().zip(gamma).zip(momentum) {
            *o = a * w + gg * s;
        }
    }
    let seen = asked.seen();
    if seen > 0 {
        // A layer whose inputs are 1: X Hᵀ is ones, and masking leaves C diag(rate).
        for t in 0..n {
            reading.scores.part_mut(t * lay.rows..).part_mut(..seen).fill(T::ONE);
        }
        mask(on, asked, gates, reading.scores);
        let scores = Mat::strided(reading.scores, n, seen, lay.rows, 1)?;
        let gradients = Mat::new(past.open.g_gamma, seen, d)?;
        subtract(on.g, asked, scores, gradients, MatMut::new(reading.gamma, n, d)?);
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
        // x̂ and 1 / deviation stay for the backward.
        let x_hat = reading.x_hat.part_mut(t * d..).part_mut(..d);
        reading.r.put(t, layer_norm::forward_row(z.row(t), x_hat));
        let gamma = reading.gamma.part(t * d..).part(..d);
        for (((y, &q), &h), &gamma) in y.row_mut(t).iter_mut().zip(q.row(t)).zip(&*x_hat).zip(gamma) {
            *y = q + h * (T::ONE + gamma);
        }
    }
    Ok(())
}
