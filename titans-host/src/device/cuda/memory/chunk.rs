//! The forward of one chunk over all memories (`docs/MATH.md`, section 3): the write path, the coefficients, the read
//! path, the close. Several chunks computed at once, a piece, differ in the write path alone ([`super::exact`]).

use super::space::{Sizes, Space};
use crate::device::MemoryInputs;
use crate::device::cuda::buffer::{DeviceBuffer, View};
use crate::device::cuda::product::{Matrix, args};
use crate::device::cuda::{Cuda, DeviceIndices, Driver};
use crate::error::Result;

/// One chunk at work, or one piece of several: tokens `t0 .. t0 + m` of every memory, the state `[M, 2P]` in force at
/// its start.
pub(super) struct Chunk<'a, R: Driver> {
    pub cuda: &'a Cuda<R>,
    pub sizes: Sizes<'a>,
    pub t0: usize,
    pub m: usize,
}

impl<'a, R: Driver> Chunk<'a, R> {
    /// Token rows of all memories.
    pub fn rows(&self) -> usize {
        self.sizes.count * self.m
    }

    /// `[M, m, d]` in a buffer.
    pub fn tokens(&self, x: &DeviceBuffer<R>, d: usize) -> Matrix {
        Matrix::new(x.view(), self.m, d)
    }

    /// Layer l's W (`half` 0) or S (`half` 1) inside a state.
    pub fn weights(&self, state: &DeviceBuffer<R>, half: usize, l: usize) -> Matrix {
        let (i, o) = self.sizes.spec().layer(l);
        let at = half * self.sizes.params + self.sizes.spec().layer_offset(l);
        Matrix::new(state.from(at), i, o).every(2 * self.sizes.params)
    }

    /// γ (`half` 0) or its momentum inside a state.
    pub fn gamma(&self, state: &DeviceBuffer<R>, half: usize) -> Matrix {
        let at = half * self.sizes.params + self.sizes.gamma();
        Matrix::new(state.from(at), 1, self.sizes.top()).every(2 * self.sizes.params)
    }

    /// Address of γ, for kernels.
    pub fn gamma_view(&self, state: &DeviceBuffer<R>) -> View {
        state.from(self.sizes.gamma())
    }

    /// A product over all memories.
    pub fn product(&self, alpha: f64, a: Matrix, b: Matrix, beta: f64, c: Matrix) -> Result<()> {
        self.cuda.product(self.sizes.count, alpha, a, b, beta, c)
    }

    /// `[M, m, d]` of this chunk from `[batch, time, heads, d]`.
    pub fn gather(&self, d: usize, from: &DeviceBuffer<R>, to: &DeviceBuffer<R>) -> Result<()> {
        let (op, count) = (self.sizes.op, self.sizes.count);
        self.cuda.launch("gather", self.rows() * d, args![count, self.m, d, op.time, op.heads, self.t0, from, to])
    }

    /// The reverse of [`Chunk::gather`].
    pub fn scatter(&self, d: usize, from: &DeviceBuffer<R>, to: &DeviceBuffer<R>) -> Result<()> {
        let op = self.sizes.op;
        self.cuda.launch("scatter", self.rows() * d, args![self.m, d, op.time, op.heads, self.t0, from, to])
    }

    /// Brings the chunk's tokens and gates into the memories' layout.
    pub fn load(&self, s: &Space<R>, inputs: &MemoryInputs<'_, DeviceBuffer<R>, DeviceIndices<R>>) -> Result<()> {
        let (op, spec, count) = (self.sizes.op, self.sizes.spec(), self.sizes.count);
        self.gather(spec.key_width(), inputs.k, &s.h[0])?;
        self.gather(spec.value_width(), inputs.v, &s.v)?;
        self.gather(spec.key_width(), inputs.q, &s.x[0])?;
        for (gate, to) in [&s.alpha, &s.theta, &s.eta].into_iter().enumerate() {
            self.gather_gate(gate, s, inputs.gates, to)?;
        }
        let mask = inputs.mask.map(DeviceIndices::values).transpose()?;
        let read_only = usize::from(op.read_only);
        for set in 0..self.sizes.sets() {
            let to = self.of_set(&s.writes, set);
            let args = args![count, self.m, read_only, op.time, op.heads, self.t0, mask, to];
            self.cuda.launch("write_flags", self.rows(), args)?;
        }
        Ok(())
    }

    /// H, Δ and the surprise of the keys at the chunk's first weights.
    pub fn write(&self, s: &Space<R>, state: &DeviceBuffer<R>) -> Result<()> {
        let (cuda, sizes, layers, kind) = (self.cuda, self.sizes, self.sizes.layers(), self.sizes.activation());
        let (rows, top) = (self.rows(), self.sizes.top());
        for l in 0..layers {
            let (i, o) = sizes.spec().layer(l);
            self.product(1.0, self.tokens(&s.h[l], i), self.weights(state, 0, l), 0.0, self.tokens(&s.z[l], o))?;
            if l + 1 < layers {
                cuda.launch("activate", rows * o, args![kind, &s.z[l], &s.h[l + 1]])?;
            }
        }
        let (z, delta) = (&s.z[layers - 1], &s.delta[layers - 1]);
        if sizes.residual() {
            let (stride, gamma) = (2 * sizes.params, self.gamma_view(state));
            let args = args![
                self.m,
                top,
                stride,
                sizes.scale(),
                z,
                &s.h[0],
                &s.v,
                gamma,
                &s.x_hat,
                &s.r,
                &s.error,
                &s.g_gamma,
                delta,
                &s.surprise
            ];
            cuda.launch_rows("residual_top", rows, args)?;
        } else {
            cuda.launch_rows("plain_top", rows, args![top, sizes.scale(), z, &s.v, delta, &s.surprise])?;
        }
        for l in (1..layers).rev() {
            let (i, o) = sizes.spec().layer(l);
            let weights = self.weights(state, 0, l).t();
            self.product(1.0, self.tokens(&s.delta[l], o), weights, 0.0, self.tokens(&s.u[l - 1], i))?;
            cuda.launch("activate_vjp", rows * i, args![kind, &s.z[l - 1], &s.u[l - 1], &s.delta[l - 1]])?;
        }
        Ok(())
    }

    /// Rates (θ, or less where the clip fires) and all coefficients. `counts` `[M]` receives the clipped tokens.
    pub fn coefficients(&self, s: &Space<R>, counts: Option<&DeviceBuffer<R>>) -> Result<()> {
        self.clip_rates(s, counts)?;
        self.chains(s)?;
        self.weights_of_tokens(s)
    }

    /// A, G, C and P, which do not depend on the rates.
    pub fn chains(&self, s: &Space<R>) -> Result<()> {
        let args = args![self.m, &s.alpha, &s.eta, &s.writes, &s.a, &s.g, &s.e];
        let sets = self.sizes.sets();
        self.cuda.launch("chains", sets * self.sizes.count, args)?;
        self.cuda.launch("columns", sets * self.rows(), args![self.m, &s.alpha, &s.eta, &s.writes, &s.c, &s.p])
    }

    /// The rows that answer the queries, and the tokens' weights in them and at the end.
    pub fn weights_of_tokens(&self, s: &Space<R>) -> Result<()> {
        let (cuda, rows, rate) = (self.cuda, self.sizes.sets() * self.rows(), self.rate(s));
        let (read, chunk) = (self.sizes.read(), self.sizes.spec().chunk);
        cuda.launch("answer_rows", rows, args![self.m, read, chunk, &s.a, &s.g, &s.a_read, &s.g_read])?;
        cuda.launch("answer_weights", rows * self.m, args![self.m, read, chunk, &s.c, rate, &s.b])?;
        cuda.launch("closing_weights", rows, args![self.m, &s.c, &s.p, rate, &s.in_w, &s.in_s])
    }

    /// The buffer that holds the tokens' rates.
    pub fn rate<'s>(&self, s: &'s Space<R>) -> &'s DeviceBuffer<R> {
        if self.sizes.spec().clip.is_some() { &s.rate } else { &s.theta }
    }

    /// Where there is a clip: the squared norms and the rates of tokens whose Δ is known.
    pub fn clip_rates(&self, s: &Space<R>, counts: Option<&DeviceBuffer<R>>) -> Result<()> {
        let Some(clip) = self.sizes.spec().clip else { return Ok(()) };
        let (cuda, rows) = (self.cuda, self.rows());
        cuda.launch("fill", rows, args![0.0f32, &s.norm2])?;
        for l in 0..self.sizes.layers() {
            let (i, o) = self.sizes.spec().layer(l);
            cuda.launch_rows("gradient_norm", rows, args![i, o, &s.h[l], &s.delta[l], &s.norm2])?;
        }
        if self.sizes.residual() {
            let none: Option<&DeviceBuffer<R>> = None;
            cuda.launch_rows("gradient_norm", rows, args![self.sizes.top(), 0usize, &s.g_gamma, none, &s.norm2])?;
        }
        for set in 0..self.sizes.sets() {
            let args = args![clip, &s.norm2, self.of_set(&s.theta, set), self.of_set(&s.rate, set)];
            cuda.launch("clip_rate", rows, args)?;
        }
        self.count(s, clip, counts)
    }

    /// Adds the clipped tokens to `counts`, where they are asked for.
    pub fn count(&self, s: &Space<R>, clip: f64, counts: Option<&DeviceBuffer<R>>) -> Result<()> {
        let Some(counts) = counts else { return Ok(()) };
        self.cuda.launch_rows("count_clipped", self.sizes.count, args![self.m, clip, &s.norm2, &s.writes, counts])
    }

    /// Answers every query with its own weights, into `s.y`.
    pub fn read(&self, s: &Space<R>, state: &DeviceBuffer<R>) -> Result<()> {
        let (cuda, sizes, m, rows) = (self.cuda, self.sizes, self.m, self.rows());
        for l in 0..sizes.layers() {
            let ((i, o), set) = (sizes.spec().layer(l), self.set(l));
            let x = self.tokens(&s.x[l], i);
            let [a_read, g_read] = [&s.a_read, &s.g_read].map(|x| self.of_set(x, set));
            self.product(1.0, x, self.weights(state, 0, l), 0.0, self.tokens(&s.xw[l], o))?;
            self.product(1.0, x, self.weights(state, 1, l), 0.0, self.tokens(&s.xs[l], o))?;
            cuda.launch("mix", rows * o, args![o, a_read, g_read, &s.xw[l], &s.xs[l], &s.zq[l]])?;
            self.product(1.0, x, self.tokens(&s.h[l], i).t(), 0.0, self.tokens(&s.scores[l], m))?;
            cuda.launch("multiply", rows * m, args![&s.scores[l], self.square_of_set(&s.b, set), &s.square])?;
            let delta = self.tokens(&s.delta[l], o);
            self.product(-1.0, self.tokens(&s.square, m), delta, 1.0, self.tokens(&s.zq[l], o))?;
            if l + 1 < sizes.layers() {
                cuda.launch("activate", rows * o, args![sizes.activation(), &s.zq[l], &s.x[l + 1]])?;
            }
        }
        let (top, z) = (sizes.top(), &s.zq[sizes.layers() - 1]);
        if !sizes.residual() {
            return cuda.launch("copy_blocks", rows * top, args![top, top, top, z, &s.y]);
        }
        let (stride, gamma, set) = (2 * sizes.params, self.gamma_view(state), sizes.sets() - 1);
        let [a_read, g_read] = [&s.a_read, &s.g_read].map(|x| self.of_set(x, set));
        cuda.launch("gamma_rows", rows * top, args![m, top, stride, a_read, g_read, gamma, &s.gammas])?;
        let (gradients, b) = (self.tokens(&s.g_gamma, top), Matrix::new(self.square_of_set(&s.b, set), m, m));
        self.product(-1.0, b, gradients, 1.0, self.tokens(&s.gammas, top))?;
        cuda.launch_rows("residual_read", rows, args![top, &s.x[0], z, &s.gammas, &s.q_hat, &s.q_r, &s.y])
    }

    /// The state after the chunk, in place.
    pub fn close(&self, s: &Space<R>, state: &DeviceBuffer<R>) -> Result<()> {
        let (cuda, sizes, m, rows) = (self.cuda, self.sizes, self.m, self.rows());
        for set in 0..sizes.sets() {
            let ((start, len), [a, g, e]) = (sizes.part(set), self.chains_of_set(s, set));
            cuda.launch("advance", sizes.count * len, args![len, sizes.params, m, a, g, e, state.from(start)])?;
        }
        for (half, weight) in [&s.in_w, &s.in_s].into_iter().enumerate() {
            for l in 0..sizes.layers() {
                let (i, o) = sizes.spec().layer(l);
                let weight = self.of_set(weight, self.set(l));
                cuda.launch("scale_rows", rows * o, args![o, weight, &s.delta[l], &s.wide])?;
                let keys = self.tokens(&s.h[l], i).t();
                self.product(-1.0, keys, self.tokens(&s.wide, o), 1.0, self.weights(state, half, l))?;
            }
            if sizes.residual() {
                let (one_row, top) = (Matrix::new(self.of_set(weight, sizes.sets() - 1), 1, m), sizes.top());
                self.product(-1.0, one_row, self.tokens(&s.g_gamma, top), 1.0, self.gamma(state, half))?;
            }
        }
        Ok(())
    }
}
