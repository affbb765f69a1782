//! Closing a chunk: W and S after its tokens (`docs/MATH.md` section 3).

use super::coefficients::Coefficients;
use super::layout::{Layout, Seen};
use super::sets::of_layer;
use crate::error::Result;
use crate::gemm::{Gemm, PANEL, Update, Weighing, weighted_len};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Elements of work space that [`close`] needs, and so does its like in the backward.
pub(super) fn close_scratch(lay: Layout<'_>) -> usize {
    weighted_len(lay.rows, PANEL.max(lay.spec.gamma_len()))
}

/// The state `[W | S]` after the first `n` tokens of the chunk that it started, whose coefficients stand in row `row`.
/// `scaled` is a work space of [`close_scratch`] elements.
pub(super) fn close<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    row: usize,
    n: usize,
    open: Seen<'_, T>,
    coefficients: &[Coefficients<'_, T>],
    scaled: &mut [T],
    state: &mut [T],
) -> Result<()> {
    for l in 0..lay.spec.layers() {
        for columns in lay.columns(l) {
            close_panel(g, lay, l, columns, (row, n), open, of_layer(coefficients, l), scaled, state)?;
        }
    }
    close_gamma(g, lay, (row, n), open, coefficients, scaled, state)
}

/// One panel of W^l and S^l of [`close`].
pub(super) fn close_panel<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    l: usize,
    columns: (usize, usize),
    (row, n): (usize, usize),
    open: Seen<'_, T>,
    coefficients: &Coefficients<'_, T>,
    scaled: &mut [T],
    state: &mut [T],
) -> Result<()> {
    let (w, s) = state.split_at_mut(lay.spec.params());
    let panels = [lay.panel_mut(w, l, columns)?, lay.panel_mut(s, l, columns)?];
    let (h, delta) = (open.inputs(lay, l, 0, n)?, lay.output_rows(open.delta, l, 0, n)?);
    let x = delta.block(0, n, columns.0, columns.1);
    fold(g, row, lay.rates_of(open.rate, l), coefficients, h, x, scaled, panels, lay.ahead::<T>(l));
    Ok(())
}

/// γ of [`close`]: a layer of one row whose inputs are 1, by the last layer's gates.
pub(super) fn close_gamma<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    (row, n): (usize, usize),
    open: Seen<'_, T>,
    coefficients: &[Coefficients<'_, T>],
    scaled: &mut [T],
    state: &mut [T],
) -> Result<()> {
    let d = lay.spec.gamma_len();
    if d == 0 {
        return Ok(());
    }
    let (w, s) = state.split_at_mut(lay.spec.params());
    let at = lay.spec.params() - d;
    let panels = [MatMut::new(&mut w[at..], 1, d)?, MatMut::new(&mut s[at..], 1, d)?];
    let (one, x, top) = ([T::ONE], Mat::new(open.g_gamma, n, d)?, lay.spec.layers() - 1);
    let (rate, coefficients) = (lay.rates_of(open.rate, top), of_layer(coefficients, top));
    fold(g, row, rate, coefficients, Mat::strided(&one, n, 1, 0, 0)?, x, scaled, panels, 0);
    Ok(())
}

/// `W ← A W + G S − Hᵀ diag(C ∘ rate) X`, `S ← (Π η) S − Hᵀ diag(P ∘ rate) X` by the coefficients of a row.
fn fold<T: Scalar, G: Gemm<T>>(
    g: &G,
    row: usize,
    rate: &[T],
    coefficients: &Coefficients<'_, T>,
    h: Mat<'_, T>,
    x: Mat<'_, T>,
    scaled: &mut [T],
    [w, s]: [MatMut<'_, T>; 2],
    ahead: usize,
) {
    let by = [coefficients.c_row(row), coefficients.p_row(row)];
    g.weigh(Weighing { x, by, by_step: 1, rate, rate_step: 1, out: scaled });
    let decay = [coefficients.a[row], coefficients.g[row], coefficients.e[row]];
    // Of tokens long before, the momentum has faded.
    let faded = by[1][..x.rows()].iter().take_while(|&&p| p == T::ZERO).count();
    g.update(Update { decay, h, weighted: scaled, w, s, ahead, faded });
}
