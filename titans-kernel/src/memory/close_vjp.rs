//! Backward of closing a chunk (`docs/MATH.md` section 4, (1)).
//!
//! Forward, with a, g, e, c, p the coefficients at the piece's end and r the rates (of every layer's gates):
//! `W′ = a W + g S − Hᵀ diag(c ∘ r) Δ` and `S′ = e S − Hᵀ diag(p ∘ r) Δ`. Hence, layer by layer,
//!
//! ```text
//! ā += ⟨W̄′, W⟩,  ḡ += ⟨W̄′, S⟩,  ē += ⟨S̄′, S⟩
//! W̄ = a W̄′,      S̄ = e S̄′ + g W̄′                                   (Decay, left to the caller)
//! U = Δ W̄′ᵀ,      V = Δ S̄′ᵀ                                           [n, d_in]
//! x_i = −h_i·u_i,  y_i = −h_i·v_i                      (the cotangents of c_i r_i and p_i r_i)
//! c̄_i += x_i r_i,  p̄_i += y_i r_i,  r̄_i += x_i c_i + y_i p_i
//! H̄ = −diag(c ∘ r) U − diag(p ∘ r) V
//! Δ̄ = −diag(c ∘ r) H W̄′ − diag(p ∘ r) H S̄′
//! ```

use core::ops::Range;

use super::close::End;
use super::coefficients::Coefficients;
use super::frame::Frame;
use super::inside::Inside;
use super::layout::Layout;
use super::open::{Gated, Past};
use super::settle::onto;
use crate::arithmetic::{Arithmetic, Store};
use crate::error::Result;
use crate::ops::rows::{LANES, dot, tree};
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::MatMut;

/// From the cotangent `d_end` of the state at the piece's end, closed onto the state `start`: additions to the piece's
/// inside. W′ = a W + g S − …, S′ = e S − …, so ā = ⟨W̄′, W⟩, ḡ = ⟨W̄′, S⟩, ē = ⟨S̄′, S⟩ here, and what the outer
/// products give below ([`outer_products_vjp`], [`gamma_vjp`]). The first `faded` tokens have no share in S. What
/// [`Decay`] does to `d_end`, W̄ = a W̄′ and S̄ = e S̄′ + g W̄′, is left to do.
pub(super) fn close_vjp<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    (end, faded): (End, usize),
    start: &[T],
    past: Past<'_, T>,
    d_end: &[T],
    inside: &mut Inside<'_, T>,
) -> Result<()> {
    let (lay, row) = (on.lay, end.row);
    let ((w, s), (d_w, d_s)) = (start.split_at(lay.spec.params()), d_end.split_at(lay.spec.params()));
    // ⟨W̄′, W⟩, ⟨W̄′, S⟩, ⟨S̄′, S⟩ over the parameters that go by each set of gates.
    for (set, d) in inside.coefficients.iter_mut().enumerate() {
        let part = lay.spec.part(set);
        let [w, s, d_w, d_s] = [w, s, d_w, d_s].map(|x| &x[part.clone()]);
        let [d_a, d_g, d_e] = on.g.vectorise(
            #[inline(always)]
            || decay_vjp([w, s], [d_w, d_s]),
        );
        d.a[row] += d_a;
        d.g[row] += d_g;
        d.e[row] += d_e;
    }
    // Every layer is overwritten here, so that reads and rates can add.
    for l in 0..lay.spec.layers() {
        outer_products_vjp(on, l, (end, faded), past, [d_w, d_s], inside)?;
    }
    if lay.spec.gamma_len() > 0 {
        gamma_vjp(lay, end, past, Which::C, d_w, inside)?;
        gamma_vjp(lay, end, past, Which::P, d_s, inside)?;
    }
    Ok(())
}

/// Which coefficients scale the outer products: C for W, P for S.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    C,
    P,
}

/// Backward of `W′ = a W + g S`, `S′ = e S` for a, g and e: as dW′ = W da + S dg and dS′ = S de, they are ā = ⟨W̄′, W⟩,
/// ḡ = ⟨W̄′, S⟩, ē = ⟨S̄′, S⟩, in one pass with the sums of [`crate::ops::rows`].
#[inline(always)]
pub(super) fn decay_vjp<T: Scalar>([w, s]: [&[T]; 2], [d_w, d_s]: [&[T]; 2]) -> [T; 3] {
    // Partial sums, one a lane: the same bits on every instruction set.
    let whole = w.len() / LANES * LANES;
    let mut sums = [[T::ZERO; LANES]; 3];
    for i in (0..whole).step_by(LANES) {
        let at = i..i + LANES;
        let (w, s, d_w, d_s) = (&w[at.clone()], &s[at.clone()], &d_w[at.clone()], &d_s[at]);
        for l in 0..LANES {
            sums[0][l] += d_w[l] * w[l];
            sums[1][l] += d_w[l] * s[l];
            sums[2][l] += d_s[l] * s[l];
        }
    }
    // The rest goes to the first lanes.
    for l in 0..w.len() - whole {
        let i = whole + l;
        sums[0][l] += d_w[i] * w[i];
        sums[1][l] += d_w[i] * s[i];
        sums[2][l] += d_s[i] * s[i];
    }
    sums.map(|sum| tree(sum))
}

/// Backward of `W′ = a W + g S`, `S′ = e S` for W and S: `S̄ = e S̄′ + g W̄′` (S went into both), `W̄ = a W̄′`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decay<T> {
    pub a: T,
    pub g: T,
    pub e: T,
}

impl<T: Scalar> Decay<T> {
    /// Nothing decays.
    pub const NONE: Self = Self { a: T::ONE, g: T::ZERO, e: T::ONE };

    /// Over the first n tokens of a chunk.
    pub fn over(coefficients: &Coefficients<'_, T>, n: usize) -> Self {
        Self { a: coefficients.a[n], g: coefficients.g[n], e: coefficients.e[n] }
    }

    /// A part of the parameters of `d` `[W | S]` decays.
    pub fn apply<G: Arithmetic<T>>(self, g: &G, part: Range<usize>, d: &mut [T]) {
        let (d_w, d_s) = d.split_at_mut(d.len() / 2);
        g.vectorise(
            #[inline(always)]
            || {
                for (w, s) in d_w[part.clone()].iter_mut().zip(&mut d_s[part]) {
                    // S̄ = e S̄′ + g W̄′ before W̄ = a W̄′: it needs W̄′.
                    *s = self.g * *w + self.e * *s;
                    *w *= self.a;
                }
            },
        );
    }
}

/// Every part of `d` decays over the first n tokens of a chunk, or γ's alone where the matrices do so elsewhere.
pub(super) fn decay<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    past: Past<'_, T>,
    n: usize,
    d: &mut [T],
    gamma: bool,
) {
    let spec = on.lay.spec;
    let sets = past.coefficients.iter().enumerate();
    for (set, own) in sets.filter(|(set, _)| !gamma || *set == spec.top_set()) {
        // γ lies behind the last layer's matrices, in its set's part.
        let part = spec.part(set);
        let from = if gamma { part.end - spec.gamma_len() } else { part.start };
        Decay::over(own, n).apply(on.g, from..part.end, d);
    }
}

/// Backward of `W′ −= Hᵀ diag(c ∘ r) Δ` and `S′ −= Hᵀ diag(p ∘ r) Δ`, for the cotangents of both: those of H and Δ of
/// layer l (overwritten), and additions to those of the coefficients and rates. As ⟨W̄′, Hᵀ diag(s) Δ⟩ = Σ_i s_i
/// h_i·u_i with u_i = δ_i W̄′ᵀ ((1) of `docs/MATH.md` section 4):
///
/// ```text
/// U = Δ W̄′ᵀ,  V = Δ S̄′ᵀ,  x_i = −h_i·u_i,  y_i = −h_i·v_i                (of c_i r_i and p_i r_i)
/// c̄_i += x_i r_i,  p̄_i += y_i r_i,  r̄_i += x_i c_i + y_i p_i
/// H̄ = −diag(c ∘ r) U − diag(p ∘ r) V
/// Δ̄ = −diag(c ∘ r) H W̄′ − diag(p ∘ r) H S̄′
/// ```
fn outer_products_vjp<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    l: usize,
    (End { n, row }, faded): (End, usize),
    past: Past<'_, T>,
    [d_w, d_s]: [&[T]; 2],
    inside: &mut Inside<'_, T>,
) -> Result<()> {
    let (Frame { g, lay }, open, Gated { rate: rates, by: coefficients }) = (on, past.open, past.gates(on.lay, l)?);
    let (h, delta) = (open.inputs(lay, l, 0, n)?, lay.output_rows(open.delta, l, 0, n)?);
    let (width, stride) = (h.cols(), lay.stride(h.cols()));
    // U = Δ W̄′ᵀ and V = Δ S̄′ᵀ; where p_i = 0 nothing looks at v_i.
    let [by_w, by_s, _] = &mut inside.work;
    lay.times_transposed(g, Store::Set, delta, d_w, l, MatMut::strided(by_w, n, width, stride)?)?;
    let lasting = MatMut::strided(&mut by_s[faded * stride..], n - faded, width, stride)?;
    lay.times_transposed(g, Store::Set, delta.sub(faded, n - faded), d_s, l, lasting)?;
    // The last row of C and P is what the piece closed by; their cotangents go there.
    let (c, p) = (coefficients.c_row(row), coefficients.p_row(row));
    let d = &mut inside.coefficients[lay.spec.set(l)];
    let (d_c, d_p) = (&mut d.c[row * lay.rows..][..n], &mut d.p[row * lay.rows..][..n]);
    // −c_i r_i and −p_i r_i, once for H̄ and Δ̄.
    let mut room = Scratch::new(inside.scaled);
    let (factors_c, factors_p) = (room.take(n)?, room.take(n)?);
    let mut d_h = lay.input_rows_mut(inside.h, l, 0, n)?;
    let d_rates = lay.layer_rates_mut(inside.rate, l);
    g.vectorise(
        #[inline(always)]
        || {
            for i in 0..faded {
                let (h, rate, u) = (h.row(i), rates[i], &by_w[i * stride..][..width]);
                // x_i = −h_i·u_i; p_i = 0.
                let (x, fc) = (-dot(h, u), -(c[i] * rate));
                d_rates[i] += x * c[i];
                d_c[i] += x * rate;
                (factors_c[i], factors_p[i]) = (fc, T::ZERO);
                d_h.row_mut(i).iter_mut().zip(u).for_each(|(d, &u)| *d = fc * u);
            }
            for i in faded..n {
                let (h, rate, at) = (h.row(i), rates[i], i * stride..i * stride + width);
                let (u, v) = (&by_w[at.clone()], &by_s[at]);
                // x_i = −h_i·u_i, y_i = −h_i·v_i.
                let (x, y) = (-dot(h, u), -dot(h, v));
                // r̄_i += x_i c_i + y_i p_i, c̄_i += x_i r_i, p̄_i += y_i r_i.
                d_rates[i] += x * c[i] + y * p[i];
                d_c[i] += x * rate;
                d_p[i] += y * rate;
                let (fc, fp) = (-(c[i] * rate), -(p[i] * rate));
                (factors_c[i], factors_p[i]) = (fc, fp);
                // H̄ = −diag(c ∘ r) U − diag(p ∘ r) V.
                for ((d, &u), &v) in d_h.row_mut(i).iter_mut().zip(u).zip(v) {
                    *d = fc * u + fp * v;
                }
            }
        },
    );
    // Δ̄ = −diag(c ∘ r) H W̄′ − diag(p ∘ r) H S̄′: a read of W̄′ and S̄′ with H for the queries.
    let mut d_delta = lay.output_rows_mut(inside.delta, l, 0, n)?;
    for columns in lay.columns(l) {
        let (w, s) = (lay.panel(d_w, l, columns)?, lay.panel(d_s, l, columns)?);
        let mut z = d_delta.rb().columns(columns.0, columns.1);
        let (a, gg) = (&*factors_c, &*factors_p);
        // Tokens whose p is 0 read W̄′ alone.
        onto(g, true, h.sub(0, faded), [a, gg], 1, [w, s], z.rb().sub(0, faded));
        let (x, a, gg) = (h.sub(faded, n - faded), &a[faded..], &gg[faded..]);
        onto(g, false, x, [a, gg], 1, [w, s], z.sub(faded, n - faded));
    }
    Ok(())
}

/// Backward of `γ′ −= Σ_i c_i r_i g_i`, or of S_γ′ with p, by the last layer's gates: (1) for a layer of one row whose
/// inputs are h_i = 1, with g_i for δ_i. So x_i = −g_i·γ̄′ is the cotangent of c_i r_i, and
///
/// ```text
/// ḡ_i −= c_i r_i γ̄′,  c̄_i += x_i r_i,  r̄_i += x_i c_i
/// ```
fn gamma_vjp<T: Scalar>(
    lay: Layout<'_>,
    End { n, row }: End,
    past: Past<'_, T>,
    which: Which,
    d: &[T],
    inside: &mut Inside<'_, T>,
) -> Result<()> {
    let (d_gamma, width, set) = (lay.gamma(d), lay.spec.gamma_len(), lay.spec.top_set());
    let Gated { rate: rates, by } = past.gates(lay, lay.spec.layers() - 1)?;
    let c = if which == Which::C { by.c_row(row) } else { by.p_row(row) };
    let d = &mut inside.coefficients[set];
    let d_c = if which == Which::C { &mut d.c } else { &mut d.p };
    for i in 0..n {
        let at = i * width..(i + 1) * width;
        // ḡ_i −= c_i r_i γ̄′.
        let f = c[i] * rates[i];
        for (o, &d) in inside.g_gamma[at.clone()].iter_mut().zip(d_gamma) {
            *o -= f * d;
        }
        // x_i = −g_i·γ̄′, to its two factors: r̄_i += x_i c_i, c̄_i += x_i r_i.
        let x = -dot(&past.open.g_gamma[at], d_gamma);
        inside.rate[set * lay.rows + i] += x * c[i];
        d_c[row * lay.rows + i] += x * rates[i];
    }
    Ok(())
}
