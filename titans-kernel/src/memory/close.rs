//! Closing a chunk: W and S after its tokens (`docs/MATH.md` section 3).

use super::coefficients::Coefficients;
use super::layout::{Layout, Seen};
use crate::error::Result;
use crate::gemm::{Gemm, PANEL, padded};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// `out = diag(c ∘ rate) Δ`, rows of Δ `[n, d]` to rows of `stride ≥ d` numbers, zeros behind them.
pub(super) fn scale_rows<T: Scalar, G: Gemm<T>>(
    g: &G,
    delta: Mat<'_, T>,
    c: &[T],
    rate: &[T],
    stride: usize,
    out: &mut [T],
) {
    let d = delta.cols();
    g.vectorise(
        #[inline(always)]
        || {
            for t in 0..delta.rows() {
                let f = c[t] * rate[t];
                let (row, rest) = out[t * stride..][..stride].split_at_mut(d);
                for (o, &x) in row.iter_mut().zip(delta.row(t)) {
                    *o = f * x;
                }
                rest.fill(T::ZERO);
            }
        },
    );
}

/// Elements of work space that [`close`] needs.
pub(super) fn close_scratch(lay: Layout<'_>) -> usize {
    2 * lay.rows * padded(PANEL.min(lay.widest() / lay.rows.max(1))).max(padded(lay.spec.gamma_len()))
}

/// The state `[W | S]` after the first `n` tokens of the chunk that it started, whose coefficients stand in row `row`.
/// `scaled` is a work space of [`close_scratch`] elements.
pub(super) fn close<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    row: usize,
    n: usize,
    open: Seen<'_, T>,
    coefficients: &Coefficients<'_, T>,
    scaled: &mut [T],
    state: &mut [T],
) -> Result<()> {
    let (w, s) = state.split_at_mut(lay.spec.params());
    let decay = [coefficients.a[row], coefficients.g[row], coefficients.e[row]];
    let (by_c, by_p) = scaled.split_at_mut(scaled.len() / 2);
    for l in 0..lay.spec.layers() {
        let (h, delta) = (lay.input_rows(open.h, l, 0, n)?, lay.output_rows(open.delta, l, 0, n)?);
        for columns in lay.columns(l) {
            let (delta, stride) = (delta.block(0, n, columns.0, columns.1), padded(columns.1));
            scale_rows(g, delta, coefficients.c_row(row), open.rate, stride, by_c);
            scale_rows(g, delta, coefficients.p_row(row), open.rate, stride, by_p);
            g.update(decay, h, by_c, by_p, lay.panel_mut(w, l, columns)?, lay.panel_mut(s, l, columns)?);
        }
    }
    let d = lay.spec.gamma_len();
    if d > 0 {
        let at = lay.spec.params() - d;
        let gradients = Mat::new(open.g_gamma, n, d)?;
        scale_rows(g, gradients, coefficients.c_row(row), open.rate, padded(d), by_c);
        scale_rows(g, gradients, coefficients.p_row(row), open.rate, padded(d), by_p);
        let ones = [T::ONE];
        let ones = Mat::strided(&ones, n, 1, 0, 0)?;
        g.update(decay, ones, by_c, by_p, MatMut::new(&mut w[at..], 1, d)?, MatMut::new(&mut s[at..], 1, d)?);
    }
    Ok(())
}
