//! The write path: every token's gradient at the chunk's first weights, kept as its two factors H and Δ.
//!
//! With layers counted from 1, H^1 = K and c the loss's scale:
//!
//! ```text
//! Z^l = H^l W^l,   H^{l+1} = φ(Z^l)                          from the keys up
//! Δ^L = 2c (Z^L − V)                                         (a residual network: through its layer norm)
//! D^l = Δ^{l+1} (W^{l+1})ᵀ,   Δ^l = D^l ∘ φ′(Z^l)            and down again
//! ```
//!
//! The gradient of token i at W^l is then h_iᵀ δ_i, of rank one.

use super::feed::{Pairs, PieceTokens};
use super::frame::Frame;
use super::layout::Layout;
use super::open::Open;
use super::spec::Network;
use super::work::Writing;
use crate::arithmetic::{Arithmetic, Store};
use crate::error::Result;
use crate::ops::rows::squares;
use crate::ops::{activation, layer_norm};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::Mat;

/// H and Δ of every layer (and γ's gradients) for some tokens of the chunk, at the parameters `w`. `surprise` receives
/// the inner loss c ‖M(k) − v‖².
pub(super) fn gradients<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    w: &[T],
    pairs: Pairs<'_, T>,
    writing: &mut Writing<'_, T>,
    surprise: Option<&mut [T]>,
) -> Result<()> {
    let (Frame { g, lay }, spec, Pairs { k, from, .. }) = (on, on.lay.spec, pairs);
    let (n, Writing { open, written }) = (k.rows(), &mut *writing);
    if open.keys.is_none() {
        lay.keep_keys(open.h, from, k)?;
    }
    for l in 0..spec.layers() {
        let h = match open.keys {
            Some(keys) if l == 0 => keys.sub(from, n),
            _ => lay.input_rows(open.h, l, from, n)?,
        };
        let last = l + 1 == spec.layers();
        // Z = H W. A plain network's last Z becomes Δ where it stands.
        let z = if last && !spec.network.is_residual() { &mut *open.delta } else { &mut *written.z };
        lay.times(g, Store::Set, h, w, l, lay.output_rows_mut(z, l, from, n)?)?;
        if !last {
            // H of the next layer is φ(Z); φ′(Z) comes cheap beside it and is needed on the way back.
            let z = lay.output_rows(written.z, l, from, n)?;
            let mut a = lay.input_rows_mut(open.h, l + 1, from, n)?;
            let len = n * z.row_stride();
            let mut slope = lay.output_rows_mut(written.slope, l, from, n)?;
            let (z, a, slope) = (z.data().part(..len), a.data_mut(), slope.data_mut());
            activation::forward_with_slope(g, spec.activation, z, a, slope);
        }
    }
    residuals(on, w, pairs, writing, surprise)?;
    let Writing { open, written } = writing;
    for l in (1..spec.layers()).rev() {
        // D = Δ Wᵀ, and Δ of the layer below is D ∘ φ′(Z).
        let delta = lay.output_rows(open.delta, l, from, n)?;
        lay.times_transposed(g, Store::Set, delta, w, l, lay.output_rows_mut(written.d_a, l - 1, from, n)?)?;
        let slope = lay.output_rows(written.slope, l - 1, from, n)?;
        let d_a = lay.output_rows(written.d_a, l - 1, from, n)?;
        let mut below = lay.output_rows_mut(open.delta, l - 1, from, n)?;
        let len = n * slope.row_stride();
        activation::vjp_slope(g, slope.data().part(..len), d_a.data().part(..len), below.data_mut());
    }
    Ok(())
}

/// δ^L of the rows, whose z^L is known: in `written.z`, or in a plain network in Δ's place.
pub(super) fn residuals<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    w: &[T],
    pairs: Pairs<'_, T>,
    writing: &mut Writing<'_, T>,
    surprise: Option<&mut [T]>,
) -> Result<()> {
    let lay = on.lay;
    match lay.spec.network {
        Network::Plain => on.g.vectorise(
            #[inline(always)]
            || plain_residuals(lay, pairs.v, pairs.from, &mut writing.open, surprise),
        ),
        Network::Residual => on.g.vectorise(
            #[inline(always)]
            || residual_residuals(lay, lay.gamma(w), pairs, writing, surprise),
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
    let scale = loss + loss; // 2c
    let mut delta = lay.output_rows_mut(open.delta, top, from, n)?;
    if surprise.is_none() {
        // One pass, and one loop where no row has a gap behind it.
        let (stride, width) = (delta.row_stride(), v.cols());
        let (runs, len) = if [stride, v.row_stride()] == [width; 2] { (1, n * width) } else { (n, width) };
        for t in 0..runs {
            let (z, v) = (
                delta.data_mut().part_mut(t * stride..).part_mut(..len),
                v.data().part(t * v.row_stride()..).part(..len),
            );
            z.iter_mut().zip(v).for_each(|(z, &v)| *z = scale * (*z - v));
        }
        return Ok(());
    }
    for t in 0..n {
        // The loss wants the error before it is scaled.
        let row = delta.row_mut(t);
        row.iter_mut().zip(v.row(t)).for_each(|(z, &v)| *z -= v);
        if let Some(s) = surprise.as_deref_mut() {
            s.put(t, loss * squares(row)); // c ‖M(k) − v‖²
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
    Pairs { k, v, from }: Pairs<'_, T>,
    Writing { open, written }: &mut Writing<'_, T>,
    mut surprise: Option<&mut [T]>,
) -> Result<()> {
    let (top, n, d) = (lay.spec.layers() - 1, v.rows(), lay.spec.value_width());
    let loss = T::from_f64(lay.spec.loss_scale());
    let scale = loss + loss;
    let z = lay.output_rows(written.z, top, from, n)?;
    let mut delta = lay.output_rows_mut(open.delta, top, from, n)?;
    for t in 0..n {
        let at = (from + t) * d;
        let x_hat = written.x_hat.part_mut(at..at + d);
        let e = written.e.part_mut(at..at + d);
        // x̂ = (z − mean) r, r = 1 / deviation.
        let r = layer_norm::forward_row(z.row(t), x_hat);
        written.r.put(from + t, r);
        // M(k) − v, which the surprise is made of.
        for ((((e, &h), &gamma), &k), &v) in e.iter_mut().zip(&*x_hat).zip(gamma).zip(k.row(t)).zip(v.row(t)) {
            *e = (k + h * (T::ONE + gamma)) - v;
        }
        if let Some(s) = surprise.as_deref_mut() {
            s.put(t, loss * squares(e));
        }
        // e = 2c (M(k) − v), g = e ∘ x̂, and e ∘ (1 + γ) is what the layer norm's backward makes δ of.
        let g_gamma = open.g_gamma.part_mut(at..at + d);
        for (((((e, o), row), &h), &gamma), _) in
            e.iter_mut().zip(g_gamma).zip(written.row.iter_mut()).zip(&*x_hat).zip(gamma).zip(0..d)
        {
            *e *= scale;
            *o = *e * h;
            *row = *e * (T::ONE + gamma);
        }
        // δ^L = LN′ᵀ (e ∘ (1 + γ)).
        layer_norm::vjp_row(x_hat, r, written.row, delta.row_mut(t));
    }
    Ok(())
}

/// The rate θ · clip factor of the t-th of some tokens, for every set of gates; true when its gradient was longer than
/// the clip. The factor is one for all layers.
#[inline(always)]
pub(super) fn rate<T: Scalar>(
    lay: Layout<'_>,
    feed: PieceTokens<'_, T>,
    t: usize,
    writing: &mut Writing<'_, T>,
) -> Result<bool> {
    let (theta, at, i) = (&feed.tokens.theta, feed.at(t, lay.spec.chunk), feed.place.filled + t);
    let (key, writes) = (feed.tokens.k.row(feed.place.from + t), feed.writes(t));
    let clipped = first_rate(lay, i, key, writes.then(|| theta.at(at)), writing)?;
    for set in 1..lay.spec.gate_sets() {
        let rate = if writes { theta.of(set).at(at) * writing.written.factor.item(i) } else { T::ZERO };
        writing.open.rate.put(set * lay.rows + i, rate);
    }
    Ok(clipped)
}

/// That of the first set, of the piece's token i; no θ where it does not write.
///
/// The gradient's squared norm is Σ_l ‖h^l‖² ‖δ^l‖² + ‖g_γ‖²: the matrices are rank one.
#[inline(always)]
fn first_rate<T: Scalar>(
    lay: Layout<'_>,
    i: usize,
    key: &[T],
    theta: Option<T>,
    Writing { open, written }: &mut Writing<'_, T>,
) -> Result<bool> {
    written.factor.put(i, T::ONE);
    let Some(theta) = theta else {
        open.rate.put(i, T::ZERO);
        return Ok(false);
    };
    // rate = θ f, f = min(1, clip / ‖u‖).
    open.rate.put(i, theta);
    let Some(clip) = lay.spec.clip else { return Ok(false) };
    let d = lay.spec.gamma_len();
    let mut norm2 = squares(open.g_gamma.part(i * d..(i + 1) * d));
    for l in 0..lay.spec.layers() {
        let h = squares(if l == 0 { key } else { lay.input_rows(open.h, l, i, 1)?.row(0) });
        let delta = squares(lay.output_rows(open.delta, l, i, 1)?.row(0));
        norm2 += h * delta;
    }
    // Kept for the backward of the clip.
    written.norm2.put(i, norm2);
    let clip = T::from_f64(clip);
    // Squares are compared: a gradient within the clip costs no root.
    if norm2 > clip * clip {
        written.factor.put(i, clip / norm2.sqrt());
        open.rate.put(i, theta * written.factor.item(i));
        return Ok(true);
    }
    Ok(false)
}
