//! Backward of the read path (`docs/MATH.md` section 4, (2)).
//!
//! Forward, for a layer with inputs X: N = X Hᵀ, M = N ∘ C diag(r) (0 where a query does not see a token), and
//! `Z = diag(A) X W + diag(G) X S − M Δ`. Hence
//!
//! ```text
//! U = Z̄ Wᵀ,  V = Z̄ Sᵀ                                                 [n, d_in]
//! Ā_t += x_t·u_t,  Ḡ_t += x_t·v_t
//! W̄ += Xᵀ diag(A) Z̄,  S̄ += Xᵀ diag(G) Z̄
//! M̄ = −Z̄ Δᵀ,  F = N̄ = M̄ ∘ C diag(r)
//! C̄_{t,i} += M̄_{t,i} N_{t,i} r_i,  r̄_i += Σ_t M̄_{t,i} N_{t,i} C_{t,i}
//! X̄ = diag(A) U + diag(G) V + F H
//! Δ̄ −= Mᵀ Z̄,  H̄ += Fᵀ X
//! ```
//!
//! and Z̄ of the layer below is X̄ ∘ φ′(Z). The cotangents of A, G, C, H, Δ and rates are sums over all who use them.

use super::close_vjp::Decay;
use super::coefficients::Coefficients;
use super::frame::Frame;
use super::inside::Inside;
use super::open::{Gated, Past};
use super::read::Asked;
use super::work::Reading;
use crate::arithmetic::{Arithmetic, Beside, RateScaling, Store, Update};
use crate::error::Result;
use crate::ops::rows::dot;
use crate::ops::{activation, layer_norm};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// What reads stood on.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadInputs<'a, T> {
    /// W and S; W alone where the piece has settled: then S has no share in anything.
    pub start: &'a [T],
    pub past: Past<'a, T>,
    /// What [`super::read::answers`] left.
    pub reading: &'a Reading<'a, T>,
}

/// What one layer's backward begins and ends with.
#[derive(Debug)]
pub(super) struct Flow<'a, T> {
    /// Of Z; if not given, it stands in the queries' rows of `inside.z`.
    pub d_z: Option<Mat<'a, T>>,
    /// Of X; if no place is given, it goes to `inside.work[2]`.
    pub d_x: Option<MatMut<'a, T>>,
    /// What the state's cotangent decays by in the same visit.
    pub decay: Decay<T>,
    /// The queries are keys whose residuals followed from one another. Then X Hᵀ stands in `inside.square[1]` and what
    /// the cotangents of earlier residuals receive is accounted for.
    pub solved: bool,
}

/// From the cotangent `d_y` `[n, d_L]` of a whole piece's read-outs: `d_q` (overwritten), and additions to `d_start`
/// (of which [`Start`](super::read::Rows::Start) needs the weights only; for all others its matrices decay here) and to
/// the piece's inside.
///
/// The layers of Z = diag(A) X W + diag(G) X S − M Δ and X = φ(Z of the layer below), X = Q in the first, are taken
/// from the top ((2) of `docs/MATH.md` section 4): Z̄^L = d_y, or what [`output_vjp`] leaves of it; then [`layer_vjp`]
/// gives X̄, and below Z̄ = X̄ ∘ φ′(Z); Q̄ = X̄ of the first layer, and with y = q + … the residual shape adds d_y.
pub(super) fn read_vjp<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    asked: Asked<'_, T>,
    inputs: ReadInputs<'_, T>,
    (d_y, mut d_q): (Mat<'_, T>, MatMut<'_, T>),
    d_start: &mut [T],
    inside: &mut Inside<'_, T>,
) -> Result<()> {
    let (lay, spec, n) = (on.lay, on.lay.spec, d_y.rows());
    let top = spec.layers() - 1;
    if spec.network.is_residual() {
        // γ and the layer norm lie above the last layer.
        output_vjp(on, asked, inputs, d_y, d_start, inside)?;
    }
    for l in (0..spec.layers()).rev() {
        // Z̄ is ȳ at the top of a plain network; elsewhere the layer above (or the norm) left it in `inside.z`.
        let d_z = (l == top && !spec.network.is_residual()).then_some(d_y);
        let d_x = (l == 0).then(|| d_q.rb());
        let decay = Decay::over(inputs.past.gates(lay, l)?.by, n);
        layer_vjp(on, l, asked, inputs, Flow { d_z, d_x, decay, solved: false }, d_start, inside)?;
        if l > 0 {
            // Z̄ of the layer below: X̄ ∘ φ′(Z).
            let len = n * lay.stride(spec.widths[l]);
            let z = lay.output_rows(inputs.reading.z, l - 1, 0, n)?;
            let mut d_z = lay.output_rows_mut(inside.z, l - 1, 0, n)?;
            activation::vjp(on.g, spec.activation, &z.data()[..len], &inside.work[2][..len], d_z.data_mut());
        }
    }
    if spec.network.is_residual() {
        // y = q + …: the query's own share.
        for t in 0..n {
            d_q.row_mut(t).iter_mut().zip(d_y.row(t)).for_each(|(o, &d)| *o += d);
        }
    }
    Ok(())
}

/// One layer, Z = diag(A) X W + diag(G) X S − M Δ with M = N ∘ C diag(r), N = X Hᵀ: from d_z to d_x, and additions to
/// everything else that the head of this file derives. By the first two terms [`Layer::state`]; by the third
///
/// ```text
/// M̄ = −Z̄ Δᵀ,  F = N̄ = M̄ ∘ C diag(r),  C̄ and r̄ ([`mask_vjp`])
/// Δ̄ −= Mᵀ Z̄,  X̄ += F H,  H̄ += Fᵀ X
/// ```
pub(super) fn layer_vjp<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    l: usize,
    asked: Asked<'_, T>,
    inputs: ReadInputs<'_, T>,
    Flow { d_z, d_x, decay, solved }: Flow<'_, T>,
    d_start: &mut [T],
    inside: &mut Inside<'_, T>,
) -> Result<()> {
    let (Frame { g, lay }, Asked { q, from, .. }) = (on, asked);
    let (n, x) = (q.rows(), inputs.reading.inputs(lay, l, q)?);
    let d_z = match d_z {
        Some(d_z) => d_z,
        None => lay.output_rows(inside.z, l, from, n)?,
    };
    let [u, v, d_x_here] = &mut inside.work;
    let mut d_x = match d_x {
        Some(d_x) => d_x,
        None => MatMut::strided(d_x_here, n, x.cols(), lay.stride(x.cols()))?,
    };
    if asked.rows.is_start() {
        // Z = X W: X̄ = Z̄ Wᵀ, W̄ += Xᵀ Z̄.
        lay.times_transposed(g, Store::Set, d_z, inputs.start, l, d_x)?;
        return lay.add_outer(g, x, d_z, d_start, l);
    }
    // Through W and S first: X̄ is overwritten there, and added to by the tokens.
    let gates = inputs.past.gates(lay, l)?;
    let d = &mut inside.coefficients[lay.spec.set(l)];
    let layer = Layer { on, l, asked, gates, x, d_z };
    let [u, v] = [&mut **u, &mut **v];
    if inputs.start.len() == lay.spec.params() {
        layer.by_weights(inputs.start, d_start, &mut d_x, [u, v], d)?;
    } else {
        layer.state(inputs.start, (d_start, decay), &mut d_x, [u, v, inside.scaled], d)?;
    }
    let seen = asked.seen();
    if seen == 0 {
        return Ok(());
    }
    let open = inputs.past.open;
    // H [seen, d_in], Δ [seen, d_out].
    let (h, delta) = (open.inputs(lay, l, 0, seen)?, lay.output_rows(open.delta, l, 0, seen)?);
    let [f, scores] = &mut inside.square;
    // Z̄ Δᵀ, which is −M̄, and N = X Hᵀ once more.
    g.band(Beside::lower(from), d_z, delta.t(), MatMut::new(f, n, seen)?);
    if !solved {
        g.band(Beside::lower(from), x, h.t(), MatMut::new(scores, n, seen)?);
    }
    mask_vjp(on, asked, gates, [f, scores], d, lay.layer_rates_mut(inside.rate, l));
    let (d_scores, weights) = (Mat::new(f, n, seen)?, Mat::new(scores, n, seen)?);
    if !solved {
        // Δ̄ −= Mᵀ Z̄.
        g.gemm(Store::Sub, weights.t(), d_z, lay.output_rows_mut(inside.delta, l, 0, seen)?);
    }
    // X̄ += F H, H̄ += Fᵀ X.
    g.causal(Store::Add, Beside::lower(from), d_scores, h, d_x);
    g.gemm(Store::Add, d_scores.t(), x, lay.input_rows_mut(inside.h, l, 0, seen)?);
    Ok(())
}

/// What the backward of one layer looks at.
struct Layer<'a, T, G> {
    on: Frame<'a, G>,
    l: usize,
    asked: Asked<'a, T>,
    gates: Gated<'a, T>,
    x: Mat<'a, T>,
    d_z: Mat<'a, T>,
}

impl<T: Scalar, G: Arithmetic<T>> Layer<'_, T, G> {
    /// Backward of Z = diag(A) X W: Ā_t += x_t·u_t with U = Z̄ Wᵀ, X̄ = diag(A) U, W̄ += Xᵀ diag(A) Z̄.
    fn by_weights(
        &self,
        w: &[T],
        d_start: &mut [T],
        d_x: &mut MatMut<'_, T>,
        [by_w, out]: [&mut [T]; 2],
        d: &mut Coefficients<'_, T>,
    ) -> Result<()> {
        let Self { on: Frame { g, lay }, l, asked, gates, x, d_z } = *self;
        let (n, width, stride) = (x.rows(), x.cols(), lay.stride(x.cols()));
        lay.times_transposed(g, Store::Set, d_z, w, l, MatMut::strided(by_w, n, width, stride)?)?;
        // diag(A) Z̄ to `out`, [n, d_out].
        let out_stride = lay.stride(d_z.cols());
        g.vectorise(
            #[inline(always)]
            || {
                for t in 0..n {
                    let (row, u, x) = (asked.row(t), &by_w[t * stride..][..width], x.row(t));
                    let a = gates.by.a[row];
                    d.a[row] += dot(x, u);
                    d_x.row_mut(t).iter_mut().zip(u).for_each(|(dx, &u)| *dx = a * u);
                    out[t * out_stride..].iter_mut().zip(d_z.row(t)).for_each(|(o, &z)| *o = a * z);
                }
            },
        );
        lay.add_outer(g, x, Mat::strided(out, n, d_z.cols(), out_stride, 1)?, d_start, l)
    }

    /// Backward of Z = diag(A) X W + diag(G) X S, and the decay of the state's cotangent: with U = Z̄ Wᵀ and V = Z̄ Sᵀ
    ///
    /// ```text
    /// Ā_t += x_t·u_t,  Ḡ_t += x_t·v_t,  X̄ = diag(A) U + diag(G) V
    /// W̄ ← a W̄ + Xᵀ diag(A) Z̄,  S̄ ← e S̄ + g W̄ + Xᵀ diag(G) Z̄
    /// ```
    fn state(
        &self,
        start: &[T],
        (d_start, decay): (&mut [T], Decay<T>),
        d_x: &mut MatMut<'_, T>,
        [by_w, by_s, scaled]: [&mut [T]; 3],
        d: &mut Coefficients<'_, T>,
    ) -> Result<()> {
        let Self { on: Frame { g, lay }, l, asked, gates, x, d_z } = *self;
        let (n, width, stride) = (x.rows(), x.cols(), lay.stride(x.cols()));
        let p = lay.spec.params();
        let ((w, s), (d_w, d_s)) = (start.split_at(p), d_start.split_at_mut(p));
        // U = Z̄ Wᵀ and V = Z̄ Sᵀ.
        lay.times_transposed(g, Store::Set, d_z, w, l, MatMut::strided(by_w, n, width, stride)?)?;
        lay.times_transposed(g, Store::Set, d_z, s, l, MatMut::strided(by_s, n, width, stride)?)?;
        g.vectorise(
            #[inline(always)]
            || {
                for t in 0..n {
                    let (row, at) = (asked.row(t), t * stride..t * stride + width);
                    let (a, gg, x) = (gates.by.a[row], gates.by.g[row], x.row(t));
                    let (u, v) = (&by_w[at.clone()], &by_s[at.clone()]);
                    // Ā_t += x_t·u_t, Ḡ_t += x_t·v_t.
                    d.a[row] += dot(x, u);
                    d.g[row] += dot(x, v);
                    // X̄ = diag(A) U + diag(G) V.
                    for ((dx, &u), &v) in d_x.row_mut(t).iter_mut().zip(u).zip(v) {
                        *dx = a * u + gg * v;
                    }
                }
            },
        );
        // S̄ ← e S̄ + g W̄ + Xᵀ diag(G) Z̄ and W̄ ← a W̄ + Xᵀ diag(A) Z̄ in one visit: as a chunk closes, with S in W's
        // part.
        let (decay, sign) = ([decay.e, decay.g, decay.a], [-T::ONE]);
        let by = [&*gates.by.g, &*gates.by.a].map(|f| &f[asked.row(0)..]);
        for columns in lay.columns(l) {
            let (out, by_step) = (&mut *scaled, asked.rows.step());
            let block = d_z.block(0, n, columns.0, columns.1);
            // A rate of −1: closing subtracts.
            g.scale_by_rates(RateScaling { x: block, by, by_step, rate: &sign, rate_step: 0, out });
            let (w, s) = (lay.panel_mut(d_s, l, columns)?, lay.panel_mut(d_w, l, columns)?);
            g.update(Update { decay, h: x, scaled: out, w, s, ahead: lay.ahead::<T>(l), faded: 0 });
        }
        Ok(())
    }
}

/// Backward of M = N ∘ C diag(r), which the read path subtracts: on entry `f` = Z̄ Δᵀ = −M̄ and `scores` = N (or ones);
/// on exit `f` is F and `scores` M. A product of three factors, dM = dN ∘ C diag(r) + N ∘ dC diag(r) + N ∘ C diag(dr),
/// so
///
/// ```text
/// F = N̄ = M̄ ∘ C diag(r),  C̄_{t,i} += M̄_{t,i} N_{t,i} r_i,  r̄_i += Σ_t M̄_{t,i} N_{t,i} C_{t,i}
/// ```
fn mask_vjp<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    asked: Asked<'_, T>,
    gates: Gated<'_, T>,
    [f, scores]: [&mut [T]; 2],
    d: &mut Coefficients<'_, T>,
    d_rate: &mut [T],
) {
    let (seen, chunk, rate) = (asked.seen(), on.lay.rows, gates.rate);
    on.g.vectorise(
        #[inline(always)]
        || {
            for t in 0..asked.q.rows() {
                let (row, visible) = (asked.row(t), asked.visible_to(t));
                let (f, scores) = (&mut f[t * seen..][..seen], &mut scores[t * seen..][..seen]);
                let c = gates.by.c_row(row);
                let d_c = &mut d.c[row * chunk..][..chunk];
                for i in 0..visible {
                    // M̄ N, of which C and r are the other two factors.
                    let d_weight = -(f[i] * scores[i]);
                    // A read by one row (`Rows::Fixed`) adds all its queries up there.
                    d_c[i] += d_weight * rate[i];
                    d_rate[i] += d_weight * c[i];
                    let weight = c[i] * rate[i];
                    f[i] = -(f[i] * weight);
                    scores[i] *= weight;
                }
                // Products of whole rows follow: what is not seen must be 0 there.
                f[visible..].fill(T::ZERO);
                scores[visible..].fill(T::ZERO);
            }
        },
    );
}

/// Backward of y_t = q_t + x̂_t ∘ (1 + γ_t), x̂ = LN(z), and of `γ_t = A_t γ + G_t S_γ − Σ_i C_{t,i} r_i g_i`, but for
/// q. As dy_t = dq_t + dx̂_t ∘ (1 + γ_t) + x̂_t ∘ dγ_t and dx̂_t = LN′(z_t) dz_t,
///
/// ```text
/// γ̄_t = ȳ_t ∘ x̂_t,   x̂̄_t = ȳ_t ∘ (1 + γ_t),   z̄_t = LN′(z_t)ᵀ x̂̄_t      (to `inside.z`)
/// γ̄ += Σ_t A_t γ̄_t,   S̄_γ += Σ_t G_t γ̄_t,   Ā_t += γ̄_t·γ,   Ḡ_t += γ̄_t·S_γ
/// M̄_{t,i} = −γ̄_t·g_i,   ḡ_i −= Σ_t M_{t,i} γ̄_t,   M_{t,i} = C_{t,i} r_i      (N = 1)
/// ```
///
/// The sum over tokens is that of a layer whose N is ones and whose Δ are the rows g_i.
fn output_vjp<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    asked: Asked<'_, T>,
    inputs: ReadInputs<'_, T>,
    d_y: Mat<'_, T>,
    d_start: &mut [T],
    inside: &mut Inside<'_, T>,
) -> Result<()> {
    let (Frame { g, lay }, ReadInputs { start, past, reading }) = (on, inputs);
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
                    // γ̄_t = ȳ_t ∘ x̂_t, x̂̄_t = ȳ_t ∘ (1 + γ_t).
                    *dg = dy * h;
                    *dx = dy * (T::ONE + gamma);
                }
                // z̄_t = LN′(z_t)ᵀ x̂̄_t.
                layer_norm::vjp_row(x_hat, reading.r[t], d_x_hat, d_z.row_mut(t));
            }
        },
    );
    let d_gammas = Mat::new(d_gammas, n, width)?;
    let ((w, s), (d_w, d_s)) = (start.split_at(p), d_start.split_at_mut(p));
    let at = p - width;
    if asked.rows.is_start() {
        // γ_t = γ.
        for t in 0..n {
            d_w[at..].iter_mut().zip(d_gammas.row(t)).for_each(|(dw, &dg)| *dw += dg);
        }
        return Ok(());
    }
    let (gamma, momentum, top) = (lay.gamma(w), lay.gamma(s), lay.spec.layers() - 1);
    let (gates, d) = (past.gates(lay, top)?, &mut inside.coefficients[lay.spec.top_set()]);
    for t in 0..n {
        let (row, dg) = (asked.row(t), d_gammas.row(t));
        let (a, gg) = (gates.by.a[row], gates.by.g[row]);
        // γ̄ += A_t γ̄_t, S̄_γ += G_t γ̄_t.
        for ((dw, ds), &dg) in d_w[at..].iter_mut().zip(&mut d_s[at..]).zip(dg) {
            *dw += a * dg;
            *ds += gg * dg;
        }
        // Ā_t += γ̄_t·γ, Ḡ_t += γ̄_t·S_γ.
        d.a[row] += dot(dg, gamma);
        d.g[row] += dot(dg, momentum);
    }
    let seen = asked.seen();
    if seen > 0 {
        let gradients = Mat::new(past.open.g_gamma, seen, width)?;
        let [f, ones] = &mut inside.square;
        g.gemm(Store::Set, d_gammas, gradients.t(), MatMut::new(f, n, seen)?);
        ones[..n * seen].fill(T::ONE); // N
        mask_vjp(on, asked, gates, [f, ones], d, lay.layer_rates_mut(inside.rate, top));
        // ḡ_i −= Σ_t M_{t,i} γ̄_t.
        let weights = Mat::new(ones, n, seen)?;
        g.gemm(Store::Sub, weights.t(), d_gammas, MatMut::new(inside.g_gamma, seen, width)?);
    }
    Ok(())
}
