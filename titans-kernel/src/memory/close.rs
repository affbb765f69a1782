//! Closing a chunk: W and S after its tokens (`docs/MATH.md` section 3).

use super::coefficients::Coefficients;
use super::layout::{Layout, Seen};
use crate::error::Result;
use crate::gemm::{Gemm, Store};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// `out = diag(c ∘ rate) Δ`, rows of Δ `[n, d]`.
pub(super) fn scale_rows<T: Scalar, G: Gemm<T>>(g: &G, delta: Mat<'_, T>, c: &[T], rate: &[T], out: &mut [T]) {
    let d = delta.cols();
    g.vectorise(
        #[inline(always)]
        || {
            for t in 0..delta.rows() {
                let f = c[t] * rate[t];
                for (o, &x) in out[t * d..][..d].iter_mut().zip(delta.row(t)) {
                    *o = f * x;
                }
            }
        },
    );
}

/// The state `[W | S]` after the first `n` tokens of the chunk that it started, whose coefficients stand in row `row`.
/// `scaled` is a work space of n rows of the widest layer.
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
    let (a, gg, e) = (coefficients.a[row], coefficients.g[row], coefficients.e[row]);
    g.vectorise(
        #[inline(always)]
        || {
            for (w, s) in w.iter_mut().zip(s.iter_mut()) {
                *w = a * *w + gg * *s;
                *s = e * *s;
            }
        },
    );
    for l in 0..lay.spec.layers() {
        let (h, delta) = (lay.input_rows(open.h, l, 0, n)?, lay.output_rows(open.delta, l, 0, n)?);
        for (weights, c) in [(&mut *w, coefficients.c_row(row)), (&mut *s, coefficients.p_row(row))] {
            scale_rows(g, delta, c, open.rate, scaled);
            g.gemm(Store::Sub, h.t(), Mat::new(scaled, n, delta.cols())?, lay.weights_mut(weights, l)?);
        }
    }
    let d = lay.spec.gamma_len();
    if d > 0 {
        let at = lay.spec.params() - d;
        let gradients = Mat::new(open.g_gamma, n, d)?;
        for (weights, c) in [(&mut *w, coefficients.c_row(row)), (&mut *s, coefficients.p_row(row))] {
            scale_rows(g, gradients, c, open.rate, scaled);
            let ones = [T::ONE];
            let ones = Mat::strided(&ones, 1, n, 0, 0)?;
            g.gemm(Store::Sub, ones, Mat::new(scaled, n, d)?, MatMut::new(&mut weights[at..], 1, d)?);
        }
    }
    Ok(())
}
