//! The write path of a piece of several chunks: the exact form of the linear memory (`docs/MATH.md`, section 3b).
//!
//! The keys ask like queries, each at the row of coefficients where its gradient is taken, so that (I + T) Δ = 2c
//! (diag(A⁻) K W + diag(G⁻) K S − V) with T = 2c ((K Kᵀ) ∘ B⁻). With a clip a token's rate is known only when its row
//! of Δ is, so a piece goes chunk by chunk: two launches a chunk, each over all memories. Memories without one take
//! [`LinearMemory`](super::linear::LinearMemory)'s path, but for those too wide for it, which come here as if clipped
//! at ∞.

use super::chunk::Chunk;
use super::space::{Sizes, Space};
use crate::device::cuda::buffer::{DeviceBuffer, View};
use crate::device::cuda::product::{Matrix, args};
use crate::device::cuda::{Cuda, Driver};
use crate::error::Result;

/// What a piece's keys ask of the state, each at its own row of coefficients.
#[derive(Debug)]
pub(super) struct Exact<R: Driver> {
    /// K W, K S `[M, m, d_L]`, K Kᵀ `[M, m, m]`.
    pub kw: DeviceBuffer<R>,
    pub ks: DeviceBuffer<R>,
    pub scores: DeviceBuffer<R>,
    /// A⁻, G⁻ `[M, m]` and B⁻ `[M, m, m]`: the rows where the gradients are taken.
    pub a: DeviceBuffer<R>,
    pub g: DeviceBuffer<R>,
    pub b: DeviceBuffer<R>,
}

impl<R: Driver> Exact<R> {
    /// Room for the longest piece of the operation.
    pub fn new(cuda: &Cuda<R>, sizes: Sizes<'_>) -> Result<Self> {
        let rows = sizes.count * sizes.longest();
        let buffer = |len| DeviceBuffer::alloc(&cuda.driver, len);
        Ok(Self {
            kw: buffer(rows * sizes.top())?,
            ks: buffer(rows * sizes.top())?,
            scores: buffer(rows * sizes.longest())?,
            a: buffer(rows)?,
            g: buffer(rows)?,
            b: buffer(rows * sizes.longest())?,
        })
    }
}

impl<R: Driver> Chunk<'_, R> {
    /// Δ, the surprise and all coefficients of a piece. `counts` `[M]` receives the clipped tokens.
    pub fn solve(
        &self,
        s: &Space<R>,
        e: &Exact<R>,
        state: &DeviceBuffer<R>,
        counts: Option<&DeviceBuffer<R>>,
    ) -> Result<()> {
        let (cuda, rows, top, scale) = (self.cuda, self.rows(), self.sizes.top(), self.sizes.scale());
        self.ask(s, e, state)?;
        let right = &s.delta[0];
        cuda.launch("exact_right", rows * top, args![top, scale, &e.a, &e.g, &e.kw, &e.ks, &s.v, right])?;
        self.solve_clipped(s, e, counts)?;
        cuda.launch_rows("exact_surprise", rows, args![top, scale, &s.delta[0], &s.surprise])?;
        self.weights_of_tokens(s)
    }

    /// All that [`Chunk::solve`] computes but Δ, which `s` holds, and with B⁻: for the backward.
    pub fn recall(&self, s: &Space<R>, e: &Exact<R>, state: &DeviceBuffer<R>) -> Result<()> {
        self.ask(s, e, state)?;
        self.score(s, e)?;
        self.clip_rates(s, None)?;
        let args = args![self.m, -1i64, self.sizes.spec().chunk, &s.c, self.rate(s), &e.b];
        self.cuda.launch("answer_weights", self.rows() * self.m, args)?;
        self.weights_of_tokens(s)
    }

    /// `[M, m, m]`.
    pub fn square(&self, view: View) -> Matrix {
        Matrix::new(view, self.m, self.m)
    }

    /// The chains of coefficients, and what the keys get from W and S.
    fn ask(&self, s: &Space<R>, e: &Exact<R>, state: &DeviceBuffer<R>) -> Result<()> {
        let (i, o) = self.sizes.spec().layer(0);
        self.chains(s)?;
        let args = args![self.m, -1i64, self.sizes.spec().chunk, &s.a, &s.g, &e.a, &e.g];
        self.cuda.launch("answer_rows", self.rows(), args)?;
        let keys = self.tokens(&s.h[0], i);
        self.product(1.0, keys, self.weights(state, 0, 0), 0.0, self.tokens(&e.kw, o))?;
        self.product(1.0, keys, self.weights(state, 1, 0), 0.0, self.tokens(&e.ks, o))
    }

    /// K Kᵀ.
    fn score(&self, s: &Space<R>, e: &Exact<R>) -> Result<()> {
        let keys = self.tokens(&s.h[0], self.sizes.spec().key_width());
        self.product(1.0, keys, keys.t(), 0.0, self.square(e.scores.view()))
    }

    /// Δ in place of the right side, chunk by chunk, and the rates.
    fn solve_clipped(&self, s: &Space<R>, e: &Exact<R>, counts: Option<&DeviceBuffer<R>>) -> Result<()> {
        let (cuda, count, m, (i, o)) = (self.cuda, self.sizes.count, self.m, self.sizes.spec().layer(0));
        let clip = self.sizes.spec().clip.unwrap_or(f64::INFINITY);
        let (scale, delta) = (self.sizes.scale(), &s.delta[0]);
        self.score(s, e)?;
        for (from, tokens) in self.chunks() {
            let args = args![m, tokens, from, o, scale, &e.scores, &s.c, &s.rate, delta];
            cuda.launch("exact_delta", count * tokens * o, args)?;
            let args = args![m, tokens, from, i, o, clip, &s.h[0], delta, &s.theta, &s.norm2, &s.rate];
            cuda.launch_rows("exact_rate", count * tokens, args)?;
        }
        self.count(s, clip, counts)
    }

    /// First token and length of the piece's chunks, in order.
    pub fn chunks(&self) -> impl DoubleEndedIterator<Item = (usize, usize)> + use<R> {
        let (m, chunk) = (self.m, self.sizes.spec().chunk);
        (0..m.div_ceil(chunk)).map(move |j| (j * chunk, chunk.min(m - j * chunk)))
    }
}
