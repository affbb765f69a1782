//! The backward of a piece of several chunks (`docs/MATH.md`, section 3b): the write path is a read by the keys, whose
//! Δ follows by substitution; its reverse substitutes from the last token to the first.

use super::chunk::Chunk;
use super::chunk_vjp::Asked;
use super::exact::Exact;
use super::reverse::Reverse;
use super::space::{Sizes, Space};
use crate::device::cuda::buffer::DeviceBuffer;
use crate::device::cuda::product::args;
use crate::device::cuda::{Cuda, Driver};
use crate::error::Result;

/// Cotangents of what [`Exact`] holds of the rows where gradients are taken.
#[derive(Debug)]
pub(super) struct ExactReverse<R: Driver> {
    pub a: DeviceBuffer<R>,
    pub g: DeviceBuffer<R>,
    pub b: DeviceBuffer<R>,
}

impl<R: Driver> ExactReverse<R> {
    /// Room for the longest piece of the operation.
    pub fn new(cuda: &Cuda<R>, sizes: Sizes<'_>) -> Result<Self> {
        let rows = sizes.count * sizes.longest();
        let buffer = |len| DeviceBuffer::alloc(&cuda.driver, len);
        Ok(Self { a: buffer(rows)?, g: buffer(rows)?, b: buffer(rows * sizes.longest())? })
    }

    /// What is added to.
    pub fn sums(&self) -> [&DeviceBuffer<R>; 3] {
        [&self.a, &self.g, &self.b]
    }
}

impl<R: Driver> Chunk<'_, R> {
    /// From the cotangents of Δ, the closing and the reads to those of all inputs (in `d`) and of the state
    /// (`d_state`). (I + T) Δ = 2c (B − V) with B = diag(A⁻) K W + diag(G⁻) K S, T = 2c M, M = (K Kᵀ) ∘ C⁻ diag(r), so
    /// (I + T) dΔ = 2c (dB − dV) − 2c dM Δ and, with Λ = 2c (I + T)⁻ᵀ Δ̄ (section 4, exact form),
    ///
    /// ```text
    /// ⟨Δ̄, dΔ⟩ = ⟨Λ, dB − dV − dM Δ⟩:   B̄ = Λ,  V̄ = −Λ,  M̄ = −Λ Δᵀ
    /// ```
    ///
    /// B − M Δ is (2)'s Z with K for X: [`Chunk::asked_vjp`] of it with Z̄ = Λ, whose X̄ joins H̄ in K̄.
    pub fn exact_vjp(
        &self,
        s: &Space<R>,
        d: &Reverse<R>,
        (e, of_keys): (&Exact<R>, &ExactReverse<R>),
        state: &DeviceBuffer<R>,
        d_state: &DeviceBuffer<R>,
    ) -> Result<()> {
        let (cuda, rows, (i, o), lambda) = (self.cuda, self.rows(), self.sizes.spec().layer(0), &d.z[0]);
        self.solve_clipped_vjp(s, e, d)?;
        let asked = Asked {
            layer: 0,
            x: &s.h[0],
            products: [&e.kw, &e.ks],
            scores: &e.scores,
            rows: [e.a.view(), e.g.view()],
            b: e.b.view(),
            d_rows: [of_keys.a.view(), of_keys.g.view()],
            d_b: of_keys.b.view(),
            d_z: lambda,
        };
        self.asked_vjp(s, d, &asked, state, d_state)?;
        self.gates_vjp(s, d)?;
        self.theta_vjp(s, d)?;
        // K̄ = X̄ + H̄, V̄ = −Λ.
        cuda.launch("add", rows * i, args![&d.x_query, &d.h[0], &d.k])?;
        cuda.launch("fill", rows * o, args![0.0f32, &d.v])?;
        cuda.launch("add_scaled", rows * o, args![-1.0f32, lambda, &d.v])
    }

    /// Λ = 2c (I + T)⁻ᵀ Δ̄ and all of the rates' cotangents, chunk by chunk from the last, T reaching from a token to
    /// those of earlier chunks only:
    ///
    /// ```text
    /// r̄_i −= Σ_t (K Kᵀ)_{t,i} C⁻_{t,i} λ_t·δ_i,  ν_i = −θ_i r̄_i f_i / (2 ‖u_i‖²)    (`exact_rate_vjp`)
    /// λ_i = 2c (δ̄_i + 2 ν_i ‖k_i‖² δ_i − Σ_t M_{t,i} λ_t)                         (`exact_lambda`)
    /// ```
    ///
    /// with t of later chunks, and ν_i = 0 where the clip did not bite, ‖u_i‖ = ‖k_i‖ ‖δ_i‖ (section 4, (3)).
    /// A clipped token's rate follows from its own Δ, so that r̄_i and ν_i must be complete before λ_i.
    fn solve_clipped_vjp(&self, s: &Space<R>, e: &Exact<R>, d: &Reverse<R>) -> Result<()> {
        let (cuda, count, m, spec) = (self.cuda, self.sizes.count, self.m, self.sizes.spec());
        let (o, chunk, scale, lambda) = (spec.value_width(), spec.chunk, self.sizes.scale(), &d.z[0]);
        let (clip, scores, delta, rate) = (spec.clip.unwrap_or(f64::INFINITY), &e.scores, &s.delta[0], self.rate(s));
        self.rates_vjp(s, d)?;
        for (from, tokens) in self.chunks().rev() {
            let args = args![
                m, tokens, from, chunk, o, clip, scores, &s.c, delta, lambda, &s.norm2, &s.theta, &d.rate, &d.norm2
            ];
            cuda.launch_rows("exact_rate_vjp", count * tokens, args)?;
            let args =
                args![m, tokens, from, chunk, o, scale, scores, &s.c, rate, delta, &d.norm2, &d.delta[0], lambda];
            cuda.launch("exact_lambda", count * tokens * o, args)?;
        }
        Ok(())
    }
}
