//! Backward of closing a chunk.

use super::close::scale_rows;
use super::coefficients::Coefficients;
use super::layout::{Layout, Seen};
use super::vjp::Inside;
use crate::error::Result;
use crate::gemm::{Gemm, Store};
use crate::ops::rows::dot;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// From the cotangent `d_end` of the state behind the piece of `n` tokens that began with `start`: adds to `d_start` and to
/// the piece's inside.
pub(super) fn close_vjp<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    n: usize,
    start: &[T],
    open: Seen<'_, T>,
    coefficients: &Coefficients<'_, T>,
    d_end: &[T],
    d_start: &mut [T],
    inside: &mut Inside<'_, T>,
) -> Result<()> {
    let p = lay.spec.params();
    let (d_w, d_s) = d_end.split_at(p);
    let (w, s) = start.split_at(p);
    let (a, gg, e) = (coefficients.a[n], coefficients.g[n], coefficients.e[n]);
    let d = &mut inside.coefficients;
    g.vectorise(
        #[inline(always)]
        || {
            d.a[n] += dot(d_w, w);
            d.g[n] += dot(d_w, s);
            d.e[n] += dot(d_s, s);
            let (d_w0, d_s0) = d_start.split_at_mut(p);
            for (((w0, s0), &dw), &ds) in d_w0.iter_mut().zip(d_s0).zip(d_w).zip(d_s) {
                *w0 += a * dw;
                *s0 += gg * dw + e * ds;
            }
        },
    );
    for l in 0..lay.spec.layers() {
        outer_product_vjp(g, lay, l, n, open, coefficients.c_row(n), Which::C, d_w, inside)?;
        outer_product_vjp(g, lay, l, n, open, coefficients.p_row(n), Which::P, d_s, inside)?;
    }
    if lay.spec.gamma_len() > 0 {
        gamma_vjp(lay, n, open, coefficients.c_row(n), Which::C, d_w, inside);
        gamma_vjp(lay, n, open, coefficients.p_row(n), Which::P, d_s, inside);
    }
    Ok(())
}

/// Which coefficients weigh the outer products: C for W, P for S.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    C,
    P,
}

/// Adds the cotangent `x` of `coefficient · rate` of token i.
fn weigh<T: Scalar>(which: Which, n: usize, i: usize, x: T, c: T, rate: T, inside: &mut Inside<'_, T>, rows: usize) {
    inside.rate[i] += x * c;
    let d = &mut inside.coefficients;
    let row = if which == Which::C { &mut d.c } else { &mut d.p };
    row[n * rows + i] += x * rate;
}

/// Backward of `W −= Hᵀ diag(c ∘ rate) Δ`, for the cotangent `d` of the parameters.
fn outer_product_vjp<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    l: usize,
    n: usize,
    open: Seen<'_, T>,
    c: &[T],
    which: Which,
    d: &[T],
    inside: &mut Inside<'_, T>,
) -> Result<()> {
    let (h, delta) = (open.inputs(lay, l, 0, n)?, lay.output_rows(open.delta, l, 0, n)?);
    let (width, stride) = (delta.cols(), lay.stride(delta.cols()));
    let work = &mut *inside.work[0];
    lay.times(g, Store::Set, h, d, l, MatMut::strided(work, n, width, stride)?)?;
    let mut d_delta = lay.output_rows_mut(inside.delta, l, 0, n)?;
    let (d_c, d_rate) = (&mut inside.coefficients, &mut *inside.rate);
    let d_row = &mut (if which == Which::C { &mut *d_c.c } else { &mut *d_c.p })[n * lay.rows..][..n];
    g.vectorise(
        #[inline(always)]
        || {
            for i in 0..n {
                let (u, f) = (&work[i * stride..][..width], c[i] * open.rate[i]);
                for (d, &u) in d_delta.row_mut(i).iter_mut().zip(u) {
                    *d -= f * u;
                }
                let x = -dot(u, delta.row(i));
                d_rate[i] += x * c[i];
                d_row[i] += x * open.rate[i];
            }
        },
    );
    scale_rows(g, delta, c, open.rate, stride, work);
    let scaled = Mat::strided(work, n, width, stride, 1)?;
    lay.times_transposed(g, Store::Sub, scaled, d, l, lay.input_rows_mut(inside.h, l, 0, n)?)
}

/// Backward of `γ −= Σ_i c_i rate_i g_i`.
fn gamma_vjp<T: Scalar>(
    lay: Layout<'_>,
    n: usize,
    open: Seen<'_, T>,
    c: &[T],
    which: Which,
    d: &[T],
    inside: &mut Inside<'_, T>,
) {
    let (d_gamma, width) = (lay.gamma(d), lay.spec.gamma_len());
    for i in 0..n {
        let row = i * width..(i + 1) * width;
        let f = c[i] * open.rate[i];
        for (o, &d) in inside.g_gamma[row.clone()].iter_mut().zip(d_gamma) {
            *o -= f * d;
        }
        let x = -dot(&open.g_gamma[row], d_gamma);
        weigh(which, n, i, x, c[i], open.rate[i], inside, lay.rows);
    }
}
