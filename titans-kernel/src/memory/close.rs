//! Closing a chunk: W and S after its tokens (`docs/MATH.md` section 3).

use super::coefficients::Coefficients;
use super::layout::{Layout, Seen};
use crate::error::Result;
use crate::gemm::{GROUP, Gemm, PANEL, weighted_len};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// `out = diag(c ∘ rate) Δ`, rows of Δ `[n, d]` to rows `stride` apart.
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
                for (o, &x) in out[t * stride..][..d].iter_mut().zip(delta.row(t)) {
                    *o = f * x;
                }
            }
        },
    );
}

/// `−diag(c ∘ rate) Δ` and `−diag(p ∘ rate) Δ` as [`Gemm::update`] takes them.
fn weigh<T: Scalar, G: Gemm<T>>(g: &G, delta: Mat<'_, T>, c: &[T], p: &[T], rate: &[T], out: &mut [T]) {
    let (n, columns) = (delta.rows(), delta.cols());
    g.vectorise(
        #[inline(always)]
        || {
            for (j, group) in (0..columns).step_by(GROUP).zip(out.chunks_exact_mut(2 * GROUP * n)) {
                let width = GROUP.min(columns - j);
                for (t, row) in group.chunks_exact_mut(2 * GROUP).enumerate() {
                    let (by_c, by_p) = row.split_at_mut(GROUP);
                    let (fc, fp) = (-(c[t] * rate[t]), -(p[t] * rate[t]));
                    let delta = &delta.row(t)[j..j + width];
                    by_c[width..].fill(T::ZERO);
                    by_p[width..].fill(T::ZERO);
                    for ((c, p), &x) in by_c.iter_mut().zip(by_p).zip(delta) {
                        *c = fc * x;
                        *p = fp * x;
                    }
                }
            }
        },
    );
}

/// Elements of work space that [`close`] needs.
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
    coefficients: &Coefficients<'_, T>,
    scaled: &mut [T],
    state: &mut [T],
) -> Result<()> {
    let (w, s) = state.split_at_mut(lay.spec.params());
    let decay = [coefficients.a[row], coefficients.g[row], coefficients.e[row]];
    let (c, p) = (coefficients.c_row(row), coefficients.p_row(row));
    for l in 0..lay.spec.layers() {
        let (h, delta) = (open.inputs(lay, l, 0, n)?, lay.output_rows(open.delta, l, 0, n)?);
        for columns in lay.columns(l) {
            weigh(g, delta.block(0, n, columns.0, columns.1), c, p, open.rate, scaled);
            g.update(decay, h, scaled, lay.panel_mut(w, l, columns)?, lay.panel_mut(s, l, columns)?);
        }
    }
    let d = lay.spec.gamma_len();
    if d > 0 {
        let at = lay.spec.params() - d;
        weigh(g, Mat::new(open.g_gamma, n, d)?, c, p, open.rate, scaled);
        let ones = [T::ONE];
        let ones = Mat::strided(&ones, n, 1, 0, 0)?;
        g.update(decay, ones, scaled, MatMut::new(&mut w[at..], 1, d)?, MatMut::new(&mut s[at..], 1, d)?);
    }
    Ok(())
}
