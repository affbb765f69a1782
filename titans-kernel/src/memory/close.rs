//! Closing a chunk: W and S after its tokens (`docs/MATH.md` section 3).
//!
//! With a, g, e, c, p = A_n, G_n, Π η, C_n, P_n, the coefficients after the chunk's n tokens:
//!
//! ```text
//! W ← a W + g S − Hᵀ diag(c ∘ rate) Δ
//! S ← e S − Hᵀ diag(p ∘ rate) Δ
//! ```

use super::frame::Frame;
use super::layout::Layout;
use super::open::{Gated, Past};
use crate::arithmetic::{Arithmetic, PANEL, RateScaling, Update, scaled_len};
use crate::error::Result;
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Elements of work space that [`close`] needs, and so does its like in the backward.
pub(super) fn close_scratch(lay: Layout<'_>) -> usize {
    scaled_len(lay.rows, PANEL.max(lay.spec.gamma_len()))
}

/// The end of a piece: its first `n` tokens, whose coefficients stand in row `row`.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub n: usize,
    pub row: usize,
}

impl End {
    /// Behind n tokens whose coefficients begin with row 0.
    pub const fn of(n: usize) -> Self {
        Self { n, row: n }
    }
}

/// The state `[W | S]` at the end of the chunk that it started. `scaled` is a work space of [`close_scratch`] elements.
pub(super) fn close<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    end: End,
    past: Past<'_, T>,
    scaled: &mut [T],
    state: &mut [T],
) -> Result<()> {
    for l in 0..on.lay.spec.layers() {
        for columns in on.lay.columns(l) {
            // W and S of a panel are loaded once, for both updates.
            close_panel(on, (l, columns), end, past, scaled, state)?;
        }
    }
    close_gamma(on, end, past, scaled, state)
}

/// One panel of W^l and S^l of [`close`].
pub(super) fn close_panel<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    (l, columns): (usize, (usize, usize)),
    end: End,
    past: Past<'_, T>,
    scaled: &mut [T],
    state: &mut [T],
) -> Result<()> {
    let (lay, open) = (on.lay, past.open);
    // [d_in, width] of W and of S; H [n, d_in], Δ [n, d_out].
    let (w, s) = state.halves_mut(lay.spec.params());
    let panels = [lay.panel_mut(w, l, columns)?, lay.panel_mut(s, l, columns)?];
    let (h, delta) = (open.inputs(lay, l, 0, end.n)?, lay.output_rows(open.delta, l, 0, end.n)?);
    // A column of W and S knows its own column of Δ only.
    let x = delta.block(0, end.n, columns.0, columns.1);
    let fold = Fold { h, x, gates: past.gates(lay, l)?, row: end.row, ahead: lay.ahead::<T>(l) };
    fold.onto(on.g, scaled, panels);
    Ok(())
}

/// γ of [`close`]: a layer of one row whose inputs are 1, by the last layer's gates.
pub(super) fn close_gamma<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    end: End,
    past: Past<'_, T>,
    scaled: &mut [T],
    state: &mut [T],
) -> Result<()> {
    let (lay, d) = (on.lay, on.lay.spec.gamma_len());
    if d == 0 {
        return Ok(());
    }
    let (w, s) = state.halves_mut(lay.spec.params());
    let at = lay.spec.params() - d; // γ is the last of the parameters
    let panels = [MatMut::new(w.part_mut(at..), 1, d)?, MatMut::new(s.part_mut(at..), 1, d)?];
    // γ ← a γ + g S_γ − Σ_i c_i rate_i g_i: H is a column of ones (one number, strides of 0), Δ the rows g_i.
    let (one, x) = ([T::ONE], Mat::new(past.open.g_gamma, end.n, d)?);
    let (h, gates) = (Mat::strided(&one, end.n, 1, 0, 0)?, past.gates(lay, lay.spec.layers() - 1)?);
    Fold { h, x, gates, row: end.row, ahead: 0 }.onto(on.g, scaled, panels);
    Ok(())
}

/// The rank-one terms h_iᵀ x_i of one layer's panel, scaled by a row of its coefficients.
struct Fold<'a, T> {
    h: Mat<'a, T>,
    x: Mat<'a, T>,
    gates: Gated<'a, T>,
    row: usize,
    /// Elements to the next panel.
    ahead: usize,
}

impl<T: Scalar> Fold<'_, T> {
    /// `W ← a W + g S − Hᵀ diag(c ∘ rate) X`, `S ← e S − Hᵀ diag(p ∘ rate) X`.
    fn onto<G: Arithmetic<T>>(self, g: &G, scaled: &mut [T], [w, s]: [MatMut<'_, T>; 2]) {
        let Self { h, x, gates: Gated { rate, by: coefficients }, row, ahead } = self;
        // diag(c ∘ rate) X and diag(p ∘ rate) X come first: then one pass over W and S does the rest.
        let by = [coefficients.c_row(row), coefficients.p_row(row)];
        g.scale_by_rates(RateScaling { x, by, by_step: 1, rate, rate_step: 1, out: scaled });
        // a, g and Π η.
        let decay = [coefficients.a.item(row), coefficients.g.item(row), coefficients.e.item(row)];
        // Of tokens long before, the momentum has faded: p_i = 0, and their products with S need not be formed.
        let faded = by.item(1).part(..x.rows()).iter().take_while(|&&p| p == T::ZERO).count();
        g.update(Update { decay, h, scaled, w, s, ahead, faded });
    }
}
