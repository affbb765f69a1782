//! Backward of the read path.

use super::close_vjp::Decay;
use super::coefficients::Coefficients;
use super::inside::Inside;
use super::layout::{Layout, Seen};
use super::read::{Rows, seen_by_all};
use super::sets::of_layer;
use super::spec::Network;
use super::work::Reading;
use crate::error::Result;
use crate::gemm::{Beside, Gemm, Store, Update, Weighing};
use crate::ops::rows::dot;
use crate::ops::{activation, layer_norm};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// From the cotangent `d_y` `[n, d_L]` of a whole piece's read-outs: `d_q` (overwritten), and additions to `d_start` (of
/// which [`Rows::Start`] needs the weights only; for all others its matrices decay here) and to the piece's inside. `reading` is what [`super::read::answers`] left.
pub(super) fn read_vjp<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    rows: Rows,
    start: &[T],
    open: Seen<'_, T>,
    coefficients: &[Coefficients<'_, T>],
    reading: &Reading<'_, T>,
    q: Mat<'_, T>,
    d_y: Mat<'_, T>,
    mut d_q: MatMut<'_, T>,
    d_start: &mut [T],
    inside: &mut Inside<'_, T>,
) -> Result<()> {
    let (spec, n) = (lay.spec, d_y.rows());
    let top = spec.layers() - 1;
    if spec.network == Network::Residual {
        output_vjp(g, lay, rows, start, open, of_layer(coefficients, top), reading, d_y, d_start, inside)?;
    }
    for l in (0..spec.layers()).rev() {
        let d_z = (l == top && spec.network == Network::Plain).then_some(d_y);
        let d_x = (l == 0).then(|| d_q.rb());
        let own = of_layer(coefficients, l);
        layer_vjp(
            g,
            lay,
            rows,
            l,
            (0, 0),
            q,
            start,
            open,
            own,
            reading,
            d_z,
            d_x,
            Decay::over(own, n),
            d_start,
            inside,
            false,
        )?;
        if l > 0 {
            let len = n * lay.stride(spec.widths[l]);
            let z = lay.output_rows(reading.z, l - 1, 0, n)?;
            let mut d_z = lay.output_rows_mut(inside.z, l - 1, 0, n)?;
            activation::vjp(g, spec.activation, &z.data()[..len], &inside.work[2][..len], d_z.data_mut());
        }
    }
    if spec.network == Network::Residual {
        for t in 0..n {
            d_q.row_mut(t).iter_mut().zip(d_y.row(t)).for_each(|(o, &d)| *o += d);
        }
    }
    Ok(())
}

/// One layer, by its coefficients: from d_z (if not given, rows `from` and on of `inside.z`) to d_x (if no place is given, in `inside.work[2]`), for
/// queries before whose first one `from` tokens of the piece came, and whose coefficients begin with row `base`. `start` is W and S;
/// W alone where the piece has settled: then S has no share in anything.
///
/// `solved`: the queries are keys whose residuals followed from one another. Then X Hᵀ stands in `inside.square[1]` and what
/// the cotangents of earlier residuals receive is accounted for.
pub(super) fn layer_vjp<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    rows: Rows,
    l: usize,
    (from, base): (usize, usize),
    q: Mat<'_, T>,
    start: &[T],
    open: Seen<'_, T>,
    coefficients: &Coefficients<'_, T>,
    reading: &Reading<'_, T>,
    d_z: Option<Mat<'_, T>>,
    d_x: Option<MatMut<'_, T>>,
    decay: Decay<T>,
    d_start: &mut [T],
    inside: &mut Inside<'_, T>,
    solved: bool,
) -> Result<()> {
    let p = lay.spec.params();
    let ((w, s), (d_w, d_s)) = (start.split_at(p), d_start.split_at_mut(p));
    let (n, x) = (q.rows(), reading.inputs(lay, l, q)?);
    let d_z = match d_z {
        Some(d_z) => d_z,
        None => lay.output_rows(inside.z, l, from, n)?,
    };
    let [by_w, by_s, d_x_here] = &mut inside.work;
    let (width, stride) = (x.cols(), lay.stride(x.cols()));
    let mut d_x = match d_x {
        Some(d_x) => d_x,
        None => MatMut::strided(d_x_here, n, width, stride)?,
    };
    if rows == Rows::Start {
        lay.times_transposed(g, Store::Set, d_z, w, l, d_x)?;
        return lay.add_outer(g, x, d_z, d_w, l);
    }
    let rows_from = |t: usize| base + rows.of(t);
    lay.times_transposed(g, Store::Set, d_z, w, l, MatMut::strided(by_w, n, width, stride)?)?;
    let d = &mut inside.coefficients[lay.spec.set(l)];
    if s.is_empty() {
        // With U = dZ Wᵀ: dA_t = x_t · u_t, dX = diag(A) U; dW += Xᵀ diag(A) dZ.
        let (out, out_stride) = (&mut **by_s, lay.stride(d_z.cols()));
        g.vectorise(
            #[inline(always)]
            || {
                for t in 0..n {
                    let (row, u, x) = (rows_from(t), &by_w[t * stride..][..width], x.row(t));
                    let a = coefficients.a[row];
                    d.a[row] += dot(x, u);
                    d_x.row_mut(t).iter_mut().zip(u).for_each(|(dx, &u)| *dx = a * u);
                    out[t * out_stride..].iter_mut().zip(d_z.row(t)).for_each(|(o, &z)| *o = a * z);
                }
            },
        );
        lay.add_outer(g, x, Mat::strided(out, n, d_z.cols(), out_stride, 1)?, d_w, l)?;
    } else {
        // With U = dZ Wᵀ and V = dZ Sᵀ: dA_t = x_t · u_t, dG_t = x_t · v_t, dX = diag(A) U + diag(G) V.
        lay.times_transposed(g, Store::Set, d_z, s, l, MatMut::strided(by_s, n, width, stride)?)?;
        g.vectorise(
            #[inline(always)]
            || {
                for t in 0..n {
                    let (row, at) = (rows_from(t), t * stride..t * stride + width);
                    let (a, gg, x) = (coefficients.a[row], coefficients.g[row], x.row(t));
                    let (u, v) = (&by_w[at.clone()], &by_s[at.clone()]);
                    d.a[row] += dot(x, u);
                    d.g[row] += dot(x, v);
                    for ((dx, &u), &v) in d_x.row_mut(t).iter_mut().zip(u).zip(v) {
                        *dx = a * u + gg * v;
                    }
                }
            },
        );
        // dS ← e dS + g dW + Xᵀ diag(G) dZ and dW ← a dW + Xᵀ diag(A) dZ in one visit: as a chunk closes, with S in W's part.
        let (decay, sign) = ([decay.e, decay.g, decay.a], [-T::ONE]);
        let by = [&*coefficients.g, &*coefficients.a].map(|f| &f[rows_from(0)..]);
        for columns in lay.columns(l) {
            let (out, by_step) = (&mut *inside.weighted, rows.step());
            let block = d_z.block(0, n, columns.0, columns.1);
            g.weigh(Weighing { x: block, by, by_step, rate: &sign, rate_step: 0, out });
            let (w, s) = (lay.panel_mut(d_s, l, columns)?, lay.panel_mut(d_w, l, columns)?);
            g.update(Update { decay, h: x, weighted: out, w, s, ahead: lay.ahead::<T>(l), faded: 0 });
        }
    }
    let seen = seen_by_all(rows, from, n);
    if seen == 0 {
        return Ok(());
    }
    let (h, delta) = (open.inputs(lay, l, 0, seen)?, lay.output_rows(open.delta, l, 0, seen)?);
    let [f, scores] = &mut inside.square;
    g.band(Beside::lower(from), d_z, delta.t(), MatMut::new(f, n, seen)?);
    if !solved {
        g.band(Beside::lower(from), x, h.t(), MatMut::new(scores, n, seen)?);
    }
    let (rate, d_rate) = (lay.rates_of(open.rate, l), lay.rates_of_mut(inside.rate, l));
    mask_vjp(g, rows, (from, base), n, seen, lay.rows, coefficients, rate, f, scores, d, d_rate);
    let (d_scores, weights) = (Mat::new(f, n, seen)?, Mat::new(scores, n, seen)?);
    if !solved {
        g.gemm(Store::Sub, weights.t(), d_z, lay.output_rows_mut(inside.delta, l, 0, seen)?);
    }
    g.causal(Store::Add, Beside::lower(from), d_scores, h, d_x);
    g.gemm(Store::Add, d_scores.t(), x, lay.input_rows_mut(inside.h, l, 0, seen)?);
    Ok(())
}

/// Backward of `scores ∘ C diag(rate)`, which the read path subtracts: on entry `f` = d_z Δᵀ and `scores` = X Hᵀ (or ones);
/// on exit `f` is the cotangent of X Hᵀ and `scores` the masked scores.
fn mask_vjp<T: Scalar, G: Gemm<T>>(
    g: &G,
    rows: Rows,
    (from, base): (usize, usize),
    n: usize,
    seen: usize,
    chunk: usize,
    coefficients: &Coefficients<'_, T>,
    rate: &[T],
    f: &mut [T],
    scores: &mut [T],
    d: &mut Coefficients<'_, T>,
    d_rate: &mut [T],
) {
    g.vectorise(
        #[inline(always)]
        || {
            for t in 0..n {
                let (row, visible) = (base + rows.of(t), rows.sees(from, t));
                let (f, scores) = (&mut f[t * seen..][..seen], &mut scores[t * seen..][..seen]);
                let c = coefficients.c_row(row);
                let d_c = &mut d.c[row * chunk..][..chunk];
                for i in 0..visible {
                    let d_weight = -(f[i] * scores[i]);
                    d_c[i] += d_weight * rate[i];
                    d_rate[i] += d_weight * c[i];
                    let weight = c[i] * rate[i];
                    f[i] = -(f[i] * weight);
                    scores[i] *= weight;
                }
                f[visible..].fill(T::ZERO);
                scores[visible..].fill(T::ZERO);
            }
        },
    );
}

/// Backward of y = q + x̂ ∘ (1 + γ_t): d_z^L into `inside.z`, and γ_t's share of everything, by the last layer's coefficients.
fn output_vjp<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    rows: Rows,
    start: &[T],
    open: Seen<'_, T>,
    coefficients: &Coefficients<'_, T>,
    reading: &Reading<'_, T>,
    d_y: Mat<'_, T>,
    d_start: &mut [T],
    inside: &mut Inside<'_, T>,
) -> Result<()> {
    let (n, p, width) = (d_y.rows(), lay.spec.params(), lay.spec.gamma_len());
    let [d_gammas, d_x_hat, _] = &mut inside.work;
    let mut d_z = lay.output_rows_mut(inside.z, lay.spec.layers() - 1, 0, n)?;
    g.vectorise(
        #[inline(always)]
        || {
            for t in 0..n {
                let at = t * width..(t + 1) * width;
                let (x_hat, gamma) = (&reading.x_hat[at.clone()], &reading.gamma[at.clone()]);
                let d_x_hat = &mut d_x_hat[..width];
                for ((((dg, dx), &dy), &h), &gamma) in
                    d_gammas[at].iter_mut().zip(d_x_hat.iter_mut()).zip(d_y.row(t)).zip(x_hat).zip(gamma)
                {
                    *dg = dy * h;
                    *dx = dy * (T::ONE + gamma);
                }
                layer_norm::vjp_row(x_hat, reading.r[t], d_x_hat, d_z.row_mut(t));
            }
        },
    );
    let d_gammas = Mat::new(d_gammas, n, width)?;
    let ((w, s), (d_w, d_s)) = (start.split_at(p), d_start.split_at_mut(p));
    let at = p - width;
    if rows == Rows::Start {
        for t in 0..n {
            d_w[at..].iter_mut().zip(d_gammas.row(t)).for_each(|(dw, &dg)| *dw += dg);
        }
        return Ok(());
    }
    let (gamma, momentum, top) = (lay.gamma(w), lay.gamma(s), lay.spec.layers() - 1);
    let d = &mut inside.coefficients[lay.spec.top_set()];
    for t in 0..n {
        let (row, dg) = (rows.of(t), d_gammas.row(t));
        let (a, gg) = (coefficients.a[row], coefficients.g[row]);
        for ((dw, ds), &dg) in d_w[at..].iter_mut().zip(&mut d_s[at..]).zip(dg) {
            *dw += a * dg;
            *ds += gg * dg;
        }
        d.a[row] += dot(dg, gamma);
        d.g[row] += dot(dg, momentum);
    }
    let seen = seen_by_all(rows, 0, n);
    if seen > 0 {
        let gradients = Mat::new(open.g_gamma, seen, width)?;
        let [f, ones] = &mut inside.square;
        g.gemm(Store::Set, d_gammas, gradients.t(), MatMut::new(f, n, seen)?);
        ones[..n * seen].fill(T::ONE);
        let (rate, d_rate) = (lay.rates_of(open.rate, top), lay.rates_of_mut(inside.rate, top));
        mask_vjp(g, rows, (0, 0), n, seen, lay.rows, coefficients, rate, f, ones, d, d_rate);
        let weights = Mat::new(ones, n, seen)?;
        g.gemm(Store::Sub, weights.t(), d_gammas, MatMut::new(inside.g_gamma, seen, width)?);
    }
    Ok(())
}
