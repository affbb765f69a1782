//! The write path: every token's gradient at the chunk's first weights, kept as its two factors H and Δ.

use super::gates::Gate;
use super::layout::{Layout, Open};
use super::spec::Network;
use super::work::Written;
use crate::error::Result;
use crate::gemm::{Gemm, Store};
use crate::ops::rows::squares;
use crate::ops::{activation, layer_norm};
use crate::scalar::Scalar;
use crate::view::Mat;

/// Rows `from .. from + n` of the chunk: H and Δ of every layer (and γ's gradients) for keys `k` and values `v`
/// `[n, d]`, at the parameters `w`. `surprise` receives the inner loss c ‖M(k) − v‖².
pub(super) fn gradients<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    w: &[T],
    k: Mat<'_, T>,
    v: Mat<'_, T>,
    from: usize,
    open: &mut Open<'_, T>,
    written: &mut Written<'_, T>,
    surprise: Option<&mut [T]>,
) -> Result<()> {
    let (spec, n) = (lay.spec, k.rows());
    if open.keys.is_none() {
        lay.keep_keys(open.h, from, k)?;
    }
    for l in 0..spec.layers() {
        let h = match open.keys {
            Some(keys) if l == 0 => keys.sub(from, n),
            _ => lay.input_rows(open.h, l, from, n)?,
        };
        let last = l + 1 == spec.layers();
        // A plain network's last Z becomes Δ where it stands.
        let z = if last && spec.network == Network::Plain { &mut *open.delta } else { &mut *written.z };
        lay.times(g, Store::Set, h, w, l, lay.output_rows_mut(z, l, from, n)?)?;
        if !last {
            let z = lay.output_rows(written.z, l, from, n)?;
            let mut a = lay.input_rows_mut(open.h, l + 1, from, n)?;
            let len = n * z.row_stride();
            let mut slope = lay.output_rows_mut(written.slope, l, from, n)?;
            let (z, a, slope) = (&z.data()[..len], a.data_mut(), slope.data_mut());
            activation::forward_with_slope(g, spec.activation, z, a, slope);
        }
    }
    residuals(g, lay, w, k, v, from, open, written, surprise)?;
    for l in (1..spec.layers()).rev() {
        let delta = lay.output_rows(open.delta, l, from, n)?;
        lay.times_transposed(g, Store::Set, delta, w, l, lay.output_rows_mut(written.d_a, l - 1, from, n)?)?;
        let slope = lay.output_rows(written.slope, l - 1, from, n)?;
        let d_a = lay.output_rows(written.d_a, l - 1, from, n)?;
        let mut below = lay.output_rows_mut(open.delta, l - 1, from, n)?;
        let len = n * slope.row_stride();
        activation::vjp_slope(g, &slope.data()[..len], &d_a.data()[..len], below.data_mut());
    }
    Ok(())
}

/// δ^L of the rows, whose z^L is known: in `written.z`, or in a plain network in Δ's place.
pub(super) fn residuals<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    w: &[T],
    k: Mat<'_, T>,
    v: Mat<'_, T>,
    from: usize,
    open: &mut Open<'_, T>,
    written: &mut Written<'_, T>,
    surprise: Option<&mut [T]>,
) -> Result<()> {
    match lay.spec.network {
        Network::Plain => g.vectorise(
            #[inline(always)]
            || plain_residuals(lay, v, from, open, surprise),
        ),
        Network::Residual => g.vectorise(
            #[inline(always)]
            || residual_residuals(lay, lay.gamma(w), k, v, from, open, written, surprise),
        ),
    }
}

/// δ^L = 2c (z^L − v); z^L stands in Δ's place.
#[inline(always)]
pub(super) fn plain_residuals<T: Scalar>(
    lay: Layout<'_>,
    v: Mat<'_, T>,
    from: usize,
    open: &mut Open<'_, T>,
    mut surprise: Option<&mut [T]>,
) -> Result<()> {
    let (top, n) = (lay.spec.layers() - 1, v.rows());
    let loss = T::from_f64(lay.spec.loss_scale());
    let scale = loss + loss;
    let mut delta = lay.output_rows_mut(open.delta, top, from, n)?;
    if surprise.is_none() {
        // One pass, and one loop where no row has a gap behind it.
        let (stride, width) = (delta.row_stride(), v.cols());
        let (runs, len) = if [stride, v.row_stride()] == [width; 2] { (1, n * width) } else { (n, width) };
        for t in 0..runs {
            let (z, v) = (&mut delta.data_mut()[t * stride..][..len], &v.data()[t * v.row_stride()..][..len]);
            z.iter_mut().zip(v).for_each(|(z, &v)| *z = scale * (*z - v));
        }
        return Ok(());
    }
    for t in 0..n {
        let row = delta.row_mut(t);
        row.iter_mut().zip(v.row(t)).for_each(|(z, &v)| *z -= v);
        if let Some(s) = surprise.as_deref_mut() {
            s[t] = loss * squares(row);
        }
        row.iter_mut().for_each(|e| *e = scale * *e);
    }
    Ok(())
}

/// M(k) = k + x̂ ∘ (1 + γ): e = 2c (M(k) − v), γ's gradient e ∘ x̂, and δ^L through the layer norm.
#[inline(always)]
fn residual_residuals<T: Scalar>(
    lay: Layout<'_>,
    gamma: &[T],
    k: Mat<'_, T>,
    v: Mat<'_, T>,
    from: usize,
    open: &mut Open<'_, T>,
    written: &mut Written<'_, T>,
    mut surprise: Option<&mut [T]>,
) -> Result<()> {
    let (top, n, d) = (lay.spec.layers() - 1, v.rows(), lay.spec.value_width());
    let loss = T::from_f64(lay.spec.loss_scale());
    let scale = loss + loss;
    let z = lay.output_rows(written.z, top, from, n)?;
    let mut delta = lay.output_rows_mut(open.delta, top, from, n)?;
    for t in 0..n {
        let at = (from + t) * d;
        let x_hat = &mut written.x_hat[at..at + d];
        let e = &mut written.e[at..at + d];
        let r = layer_norm::forward_row(z.row(t), x_hat);
        written.r[from + t] = r;
        for ((((e, &h), &gamma), &k), &v) in e.iter_mut().zip(&*x_hat).zip(gamma).zip(k.row(t)).zip(v.row(t)) {
            *e = (k + h * (T::ONE + gamma)) - v;
        }
        if let Some(s) = surprise.as_deref_mut() {
            s[t] = loss * squares(e);
        }
        let g_gamma = &mut open.g_gamma[at..at + d];
        for (((((e, o), row), &h), &gamma), _) in
            e.iter_mut().zip(g_gamma).zip(written.row.iter_mut()).zip(&*x_hat).zip(gamma).zip(0..d)
        {
            *e *= scale;
            *o = *e * h;
            *row = *e * (T::ONE + gamma);
        }
        layer_norm::vjp_row(x_hat, r, written.row, delta.row_mut(t));
    }
    Ok(())
}

/// The rate θ · clip factor of the chunk's token `i`, whose key this is, for every set of gates; true when its gradient was longer than
/// the clip. The factor is one for all layers.
#[inline(always)]
pub(super) fn rate<T: Scalar>(
    lay: Layout<'_>,
    i: usize,
    key: &[T],
    writes: bool,
    (theta, at): (&Gate<'_, T>, (usize, usize, usize)),
    open: &mut Open<'_, T>,
    written: &mut Written<'_, T>,
) -> Result<bool> {
    let clipped = first_rate(lay, i, key, writes, theta.at(at), open, written)?;
    for set in 1..lay.spec.gate_sets() {
        open.rate[set * lay.rows + i] = if writes { theta.of(set).at(at) * written.factor[i] } else { T::ZERO };
    }
    Ok(clipped)
}

/// That of the first set.
///
/// The gradient's squared norm is Σ_l ‖h^l‖² ‖δ^l‖² + ‖g_γ‖²: the matrices are rank one.
#[inline(always)]
fn first_rate<T: Scalar>(
    lay: Layout<'_>,
    i: usize,
    key: &[T],
    writes: bool,
    theta: T,
    open: &mut Open<'_, T>,
    written: &mut Written<'_, T>,
) -> Result<bool> {
    written.factor[i] = T::ONE;
    if !writes {
        open.rate[i] = T::ZERO;
        return Ok(false);
    }
    open.rate[i] = theta;
    let Some(clip) = lay.spec.clip else { return Ok(false) };
    let d = lay.spec.gamma_len();
    let mut norm2 = squares(&open.g_gamma[i * d..(i + 1) * d]);
    for l in 0..lay.spec.layers() {
        let h = squares(if l == 0 { key } else { lay.input_rows(open.h, l, i, 1)?.row(0) });
        let delta = squares(lay.output_rows(open.delta, l, i, 1)?.row(0));
        norm2 += h * delta;
    }
    written.norm2[i] = norm2;
    let clip = T::from_f64(clip);
    if norm2 > clip * clip {
        written.factor[i] = clip / norm2.sqrt();
        open.rate[i] = theta * written.factor[i];
        return Ok(true);
    }
    Ok(false)
}
