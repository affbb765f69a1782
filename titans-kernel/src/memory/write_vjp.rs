//! Backward of the write path: the inner gradient is an expression of its own, so this is backward through a backward
//! (`docs/MATH.md` section 4, (4)).
//!
//! Forward, with layers counted from 1 and H^1 = K: Z^l = H^l W^l, H^{l+1} = φ(Z^l), Δ^L = 2c (Z^L − V), then
//! D^l = Δ^{l+1} (W^{l+1})ᵀ and Δ^l = D^l ∘ φ′(Z^l). Hence, from the bottom of Δ up,
//!
//! ```text
//! D̄^l = Δ̄^l ∘ φ′(Z^l),            Z̄^l = Δ̄^l ∘ D^l ∘ φ″(Z^l)
//! Δ̄^{l+1} += D̄^l W^{l+1},         W̄^{l+1} += (D̄^l)ᵀ Δ^{l+1}
//! Z̄^L = 2c Δ̄^L,                   V̄ = −2c Δ̄^L
//! ```
//!
//! and from the top of Z down: W̄^l += (H^l)ᵀ Z̄^l, H̄^l += Z̄^l (W^l)ᵀ, Z̄^{l−1} += H̄^l ∘ φ′(Z^{l−1}), K̄ = H̄^1.
//!
//! The rates are r_i = θ_i f_i, and with a clip f_i = min(1, clip / ‖u_i‖), ‖u_i‖² = Σ_l ‖h_i^l‖² ‖δ_i^l‖² + ‖g_i‖²
//! ((3); [`rate_vjp`]).

use super::feed::PieceTokens;
use super::frame::Frame;
use super::inside::Inside;
use super::layout::Layout;
use super::spec::Network;
use super::work::{Writing, Written};
use crate::arithmetic::{Arithmetic, Store};
use crate::error::Result;
use crate::ops::rows::squares;
use crate::ops::{activation, layer_norm};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// The cotangents of the t-th token's rates become those of θ, of every set of gates; with a clip that bit, adds to
/// those of H, Δ and γ's gradient g through the norm. ν is the cotangent of ‖u‖² = Σ_l ‖h^l‖² ‖δ^l‖² + ‖g‖² (MATH 4,
/// (3)):
///
/// ```text
/// r^l = f θ^l:  dr^l = f dθ^l + θ^l df,   df = −f d‖u‖² / (2 ‖u‖²)   where the clip bit, f = clip / ‖u‖; else 0
/// d‖u‖² = Σ_l 2 ‖δ^l‖² h^l·dh^l + 2 ‖h^l‖² δ^l·dδ^l + 2 g·dg
///
/// θ̄^l = f r̄^l                                          (in the rate's place)
/// f̄ = Σ_l θ^l r̄^l,   ν = −f f̄ / (2 ‖u‖²)
/// h̄^l += 2 ν ‖δ^l‖² h^l,   δ̄^l += 2 ν ‖h^l‖² δ^l,   ḡ += 2 ν g
/// ```
#[inline(always)]
pub(super) fn rate_vjp<T: Scalar>(
    lay: Layout<'_>,
    feed: PieceTokens<'_, T>,
    t: usize,
    Writing { open, written }: &Writing<'_, T>,
    inside: &mut Inside<'_, T>,
) -> Result<()> {
    let (i, at, theta) = (feed.place.filled + t, feed.at(t, lay.spec.chunk), feed.tokens.theta);
    let (open, factor, rows) = (open.view(), written.factor[i], lay.rows);
    let bit = lay.spec.clip.is_some_and(|c| {
        let c = T::from_f64(c);
        written.norm2[i] > c * c
    });
    if bit {
        let theta = |set: usize| theta.of(set).at(at);
        // f̄ = Σ_l θ^l r̄^l, before the rates' cotangents become θ's.
        let d_factor = (1..lay.spec.gate_sets())
            .fold(inside.rate[i] * theta(0), |sum, set| sum + inside.rate[set * rows + i] * theta(set));
        // ν = −f f̄ / (2 ‖u‖²).
        let d_norm2 = -(d_factor * factor) / (written.norm2[i] + written.norm2[i]);
        let two = T::from_f64(2.0) * d_norm2;
        for l in 0..lay.spec.layers() {
            let h = open.inputs(lay, l, i, 1)?.row(0);
            let delta = lay.output_rows(open.delta, l, i, 1)?.row(0);
            let (h2, delta2) = (squares(h), squares(delta));
            let mut d_h = lay.input_rows_mut(inside.h, l, i, 1)?;
            // h̄ += 2 ν ‖δ‖² h.
            d_h.row_mut(0).iter_mut().zip(h).for_each(|(d, &h)| *d += two * delta2 * h);
            let mut d_delta = lay.output_rows_mut(inside.delta, l, i, 1)?;
            // δ̄ += 2 ν ‖h‖² δ.
            d_delta.row_mut(0).iter_mut().zip(delta).for_each(|(d, &x)| *d += two * h2 * x);
        }
        // ḡ += 2 ν g.
        let row = i * lay.spec.gamma_len()..(i + 1) * lay.spec.gamma_len();
        for (d, &x) in inside.g_gamma[row.clone()].iter_mut().zip(&open.g_gamma[row]) {
            *d += two * x;
        }
    }
    // θ̄ = f r̄.
    (0..lay.spec.gate_sets()).for_each(|set| inside.rate[set * rows + i] *= factor);
    Ok(())
}

/// From the cotangents of H, Δ and γ's gradients: `d_k`, `d_v` (overwritten), and additions to `d_start`: the weights
/// are those at the chunk's start. Of Z^l = H^l W^l, H^{l+1} = φ(Z^l), D^l = Δ^{l+1} (W^{l+1})ᵀ, Δ^l = D^l ∘ φ′(Z^l)
/// (`docs/MATH.md` section 4, (4)), taken from the last to the first:
///
/// ```text
/// D̄^l = Δ̄^l ∘ φ′(Z^l),  Z̄^l = Δ̄^l ∘ D^l ∘ φ″(Z^l),  Δ̄^{l+1} += D̄^l W^{l+1},  W̄^{l+1} += (D̄^l)ᵀ Δ^{l+1}
/// Z̄^L, V̄ by `plain` or `residual`
/// W̄^l += (H^l)ᵀ Z̄^l,  H̄^l += Z̄^l (W^l)ᵀ,  Z̄^{l−1} += H̄^l ∘ φ′(Z^{l−1}),  K̄ = H̄^1
/// ```
pub(super) fn write_vjp<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    w: &[T],
    Writing { open, written }: &mut Writing<'_, T>,
    [mut d_k, d_v]: [MatMut<'_, T>; 2],
    d_start: &mut [T],
    inside: &mut Inside<'_, T>,
) -> Result<()> {
    let (Frame { g, lay }, spec, n, open) = (on, on.lay.spec, d_k.rows(), open.view());
    let d_w = &mut d_start[..spec.params()];
    // Δ was computed from the top layer down: its cotangents go up.
    for l in 1..spec.layers() {
        let width = spec.widths[l];
        let len = n * lay.stride(width);
        let (z, d_a) = (lay.output_rows(written.z, l - 1, 0, n)?, lay.output_rows(written.d_a, l - 1, 0, n)?);
        let c = lay.output_rows(inside.delta, l - 1, 0, n)?;
        let mut d_z = lay.output_rows_mut(inside.z, l - 1, 0, n)?;
        let dd_a = &mut inside.work[0][..len];
        // D̄ = Δ̄ ∘ φ′(Z), Z̄ = Δ̄ ∘ D ∘ φ″(Z).
        activation::vjp_vjp(
            g,
            spec.activation,
            &z.data()[..len],
            &d_a.data()[..len],
            &c.data()[..len],
            dd_a,
            d_z.data_mut(),
        );
        let dd_a = Mat::strided(inside.work[0], n, width, lay.stride(width), 1)?;
        // Δ̄ of the layer above += D̄ W, its W̄ += D̄ᵀ Δ.
        lay.times(g, Store::Add, dd_a, w, l, lay.output_rows_mut(inside.delta, l, 0, n)?)?;
        lay.add_outer(g, dd_a, lay.output_rows(open.delta, l, 0, n)?, d_w, l)?;
    }
    match spec.network {
        Network::Plain => g.vectorise(
            #[inline(always)]
            || plain(lay, 0, d_v, inside),
        ),
        Network::Residual => g.vectorise(
            #[inline(always)]
            || residual(lay, lay.gamma(w), written, d_v, d_w, inside),
        ),
    }?;
    // Then the forward pass of the keys, from the top layer down.
    for l in (0..spec.layers()).rev() {
        // W̄ += Hᵀ Z̄, H̄ += Z̄ Wᵀ.
        let (h, d_z) = (open.inputs(lay, l, 0, n)?, lay.output_rows(inside.z, l, 0, n)?);
        lay.add_outer(g, h, d_z, d_w, l)?;
        lay.times_transposed(g, Store::Add, d_z, w, l, lay.input_rows_mut(inside.h, l, 0, n)?)?;
        if l > 0 {
            // Z̄ of the layer below += H̄ ∘ φ′(Z).
            let len = n * lay.stride(spec.widths[l]);
            let (z, d_h) = (lay.output_rows(written.z, l - 1, 0, n)?, lay.input_rows(inside.h, l, 0, n)?);
            let mut d_z = lay.output_rows_mut(inside.z, l - 1, 0, n)?;
            activation::vjp_add(g, spec.activation, &z.data()[..len], &d_h.data()[..len], d_z.data_mut());
        }
    }
    // K̄ = H̄ of the first layer.
    let d_keys = lay.input_rows(inside.h, 0, 0, n)?;
    for t in 0..n {
        d_k.row_mut(t).copy_from_slice(d_keys.row(t));
    }
    Ok(())
}

/// Backward of δ^L = 2c (z^L − v), of the rows from `from` on: z̄ = 2c δ̄, v̄ = −2c δ̄.
#[inline(always)]
pub(super) fn plain<T: Scalar>(
    lay: Layout<'_>,
    from: usize,
    mut d_v: MatMut<'_, T>,
    inside: &mut Inside<'_, T>,
) -> Result<()> {
    let (top, n) = (lay.spec.layers() - 1, d_v.rows());
    let scale = T::from_f64(2.0 * lay.spec.loss_scale());
    let d_delta = lay.output_rows(inside.delta, top, from, n)?;
    let mut d_z = lay.output_rows_mut(inside.z, top, from, n)?;
    for t in 0..n {
        for ((z, v), &d) in d_z.row_mut(t).iter_mut().zip(d_v.row_mut(t)).zip(d_delta.row(t)) {
            *z = scale * d;
            *v = -*z;
        }
    }
    Ok(())
}

/// Backward of the residual shape's last layer: m = M(k) = k + x̂ ∘ (1 + γ) with x̂ = LN(z), e = 2c (m − v), γ's
/// gradient g = e ∘ x̂, and δ^L = J w with w = e ∘ (1 + γ), J = LN′(z). The differentials are
///
/// ```text
/// dm = dk + dx̂ ∘ (1 + γ) + x̂ ∘ dγ,   de = 2c (dm − dv)
/// dg = de ∘ x̂ + e ∘ dx̂,   dw = de ∘ (1 + γ) + e ∘ dγ
/// ```
///
/// and so, w̄ = J δ̄ and z̄ = J ω − (δ̄·δ) ρ x̂ / d_L being what [`layer_norm::vjp_vjp_row`] finds from δ̄,
///
/// ```text
/// ē = w̄ ∘ (1 + γ) + ḡ ∘ x̂,   m̄ = 2c ē
/// γ̄ += w̄ ∘ e + m̄ ∘ x̂,   k̄ += m̄,   v̄ = −m̄
/// x̂̄ = ḡ ∘ e + m̄ ∘ (1 + γ),   z̄ += J x̂̄
/// ```
///
/// The key's own share is added to its row of d_h.
#[inline(always)]
fn residual<T: Scalar>(
    lay: Layout<'_>,
    gamma: &[T],
    written: &mut Written<'_, T>,
    mut d_v: MatMut<'_, T>,
    d_w: &mut [T],
    inside: &mut Inside<'_, T>,
) -> Result<()> {
    let (spec, n, width) = (lay.spec, d_v.rows(), lay.spec.value_width());
    let (top, at) = (spec.layers() - 1, spec.params() - width);
    let scale = T::from_f64(2.0 * spec.loss_scale());
    let d_delta = lay.output_rows(inside.delta, top, 0, n)?;
    let mut d_z = lay.output_rows_mut(inside.z, top, 0, n)?;
    let mut d_keys = lay.input_rows_mut(inside.h, 0, 0, n)?;
    let [d_gated, d_x_hat, work] = &mut inside.work;
    let (d_gated, d_x_hat, work) = (&mut d_gated[..width], &mut d_x_hat[..width], &mut work[..width]);
    let d_gamma = &mut d_w[at..];
    for t in 0..n {
        let row = t * width..(t + 1) * width;
        let (x_hat, e, rho) = (&written.x_hat[row.clone()], &written.e[row.clone()], written.r[t]);
        // w = e ∘ (1 + γ), what the norm's backward was given.
        for ((o, &e), &gamma) in written.row.iter_mut().zip(e).zip(gamma) {
            *o = e * (T::ONE + gamma);
        }
        // w̄ to `d_gated`, and z̄ through the norm's derivative.
        layer_norm::vjp_vjp_row(x_hat, rho, written.row, d_delta.row(t), d_gated, d_z.row_mut(t), work);
        let d_g = &inside.g_gamma[row];
        let (d_v, d_key) = (d_v.row_mut(t), d_keys.row_mut(t));
        for j in 0..width {
            // ē, then m̄ = 2c ē.
            let d_e = d_gated[j] * (T::ONE + gamma[j]) + d_g[j] * x_hat[j];
            let d_out = scale * d_e;
            // γ̄ += w̄ ∘ e + m̄ ∘ x̂, x̂̄ = ḡ ∘ e + m̄ ∘ (1 + γ), k̄ += m̄, v̄ = −m̄.
            d_gamma[j] += d_gated[j] * e[j] + d_out * x_hat[j];
            d_x_hat[j] = d_g[j] * e[j] + d_out * (T::ONE + gamma[j]);
            d_key[j] += d_out;
            d_v[j] = -d_out;
        }
        // z̄ += J x̂̄.
        layer_norm::vjp_row(x_hat, rho, d_x_hat, work);
        d_z.row_mut(t).iter_mut().zip(&*work).for_each(|(d, &w)| *d += w);
    }
    Ok(())
}
