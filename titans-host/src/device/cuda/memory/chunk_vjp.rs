//! The backward of one chunk over all memories (`docs/MATH.md`, section 4): ordinary reverse mode over [`Chunk`]'s forward,
//! whose write path is itself a gradient, so φ″ appears.

use super::chunk::Chunk;
use super::space::{Sizes, Space};
use crate::device::cuda::buffer::DeviceBuffer;
use crate::device::cuda::product::{Matrix, args};
use crate::device::cuda::{Cuda, Driver};
use crate::error::Result;

/// Lanes of the partial sums over a state.
const LANES: usize = 256;

/// Cotangents of what [`Space`] holds.
#[derive(Debug)]
pub(super) struct Reverse<R: Driver> {
    /// Of H and Δ of every layer, and of γ's gradients.
    pub h: Vec<DeviceBuffer<R>>,
    pub delta: Vec<DeviceBuffer<R>>,
    pub g_gamma: DeviceBuffer<R>,
    /// Of z^l of the keys.
    pub z: Vec<DeviceBuffer<R>>,
    /// Of the inputs.
    pub k: DeviceBuffer<R>,
    pub v: DeviceBuffer<R>,
    pub q: DeviceBuffer<R>,
    pub alpha: DeviceBuffer<R>,
    pub theta: DeviceBuffer<R>,
    pub eta: DeviceBuffer<R>,
    /// Of the read-outs.
    pub y: DeviceBuffer<R>,
    /// Of the answering rows, the tokens' weights, the rates, the squared norms.
    a_read: DeviceBuffer<R>,
    g_read: DeviceBuffer<R>,
    b: DeviceBuffer<R>,
    in_w: DeviceBuffer<R>,
    in_s: DeviceBuffer<R>,
    rate: DeviceBuffer<R>,
    norm2: DeviceBuffer<R>,
    /// Of γ of every query or key.
    gammas: DeviceBuffer<R>,
    /// Of A, G and E of the last row `[3, M]`, and their partial sums.
    ends: DeviceBuffer<R>,
    partial: DeviceBuffer<R>,
    /// `[M, m, m]`.
    square1: DeviceBuffer<R>,
    square2: DeviceBuffer<R>,
    /// `[M, m, widest]`.
    z_query: DeviceBuffer<R>,
    x_query: DeviceBuffer<R>,
    wide1: DeviceBuffer<R>,
    wide2: DeviceBuffer<R>,
}

impl<R: Driver> Reverse<R> {
    /// Room for the longest chunk of the operation.
    pub fn new(cuda: &Cuda<R>, sizes: Sizes<'_>) -> Result<Self> {
        let (spec, longest) = (sizes.spec(), sizes.longest());
        let rows = sizes.count * longest;
        let buffer = |len| DeviceBuffer::alloc(&cuda.driver, len);
        let (row, square, top) = (|| buffer(rows), || buffer(rows * longest), || buffer(rows * sizes.top()));
        let wide = || buffer(rows * spec.widths.iter().copied().max().unwrap_or(0));
        let each = |width: &dyn Fn(usize) -> usize| {
            (0..sizes.layers()).map(|l| buffer(rows * width(l))).collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            h: each(&|l| spec.layer(l).0)?,
            delta: each(&|l| spec.layer(l).1)?,
            g_gamma: top()?,
            z: each(&|l| spec.layer(l).1)?,
            k: buffer(rows * spec.key_width())?,
            v: top()?,
            q: buffer(rows * spec.key_width())?,
            alpha: row()?,
            theta: row()?,
            eta: row()?,
            y: top()?,
            a_read: row()?,
            g_read: row()?,
            b: square()?,
            in_w: row()?,
            in_s: row()?,
            rate: row()?,
            norm2: row()?,
            gammas: top()?,
            ends: buffer(3 * sizes.count)?,
            partial: buffer(3 * sizes.count * LANES)?,
            square1: square()?,
            square2: square()?,
            z_query: wide()?,
            x_query: wide()?,
            wide1: wide()?,
            wide2: wide()?,
        })
    }

    /// Everything that is added to starts at 0.
    fn clear(&self) -> Result<()> {
        let sums = [&self.g_gamma, &self.a_read, &self.g_read, &self.b, &self.in_w, &self.in_s];
        self.h.iter().chain(&self.delta).chain(sums).try_for_each(DeviceBuffer::clear)
    }
}

impl<R: Driver> Chunk<'_, R> {
    /// From the cotangents `d.y` of the read-outs and `d_state` of the state after the chunk to those of all inputs
    /// (in `d`) and of the state before it (`d_state`, in place). `s` holds the forward.
    pub fn reverse(
        &self,
        s: &Space<R>,
        d: &Reverse<R>,
        state: &DeviceBuffer<R>,
        d_state: &DeviceBuffer<R>,
    ) -> Result<()> {
        d.clear()?;
        self.close_vjp(s, d, state, d_state)?;
        self.read_vjp(s, d, state, d_state)?;
        self.coefficients_vjp(s, d)?;
        self.write_vjp(s, d, state, d_state)
    }

    fn close_vjp(
        &self,
        s: &Space<R>,
        d: &Reverse<R>,
        state: &DeviceBuffer<R>,
        d_state: &DeviceBuffer<R>,
    ) -> Result<()> {
        let (cuda, sizes, rows, count) = (self.cuda, self.sizes, self.rows(), self.sizes.count);
        cuda.run("state_dots", count * LANES, args![LANES, sizes.params, state, d_state, &d.partial])?;
        cuda.run("row_totals", 3 * count, args![LANES, &d.partial, &d.ends])?;
        for l in 0..sizes.layers() {
            let (i, o) = sizes.spec().layer(l);
            let (h, delta) = (self.tokens(&s.h[l], i), self.tokens(&s.delta[l], o));
            for (half, to, d_weight) in [(0, &d.wide1, &d.in_w), (1, &d.wide2, &d.in_s)] {
                self.product(1.0, delta, self.weights(d_state, half, l).t(), 0.0, self.tokens(to, i))?;
                cuda.run("row_dots", rows, args![i, -1.0f32, &s.h[l], to, d_weight])?;
            }
            cuda.run("subtract_two", rows * i, args![i, &s.in_w, &s.in_s, &d.wide1, &d.wide2, &d.h[l]])?;
            for (half, to) in [(0, &d.wide1), (1, &d.wide2)] {
                self.product(1.0, h, self.weights(d_state, half, l), 0.0, self.tokens(to, o))?;
            }
            cuda.run("subtract_two", rows * o, args![o, &s.in_w, &s.in_s, &d.wide1, &d.wide2, &d.delta[l]])?;
        }
        if sizes.residual() {
            let (stride, d_gamma) = (2 * sizes.params, self.gamma_view(d_state));
            let args =
                args![self.m, sizes.top(), stride, &s.g_gamma, &s.in_w, &s.in_s, d_gamma, &d.g_gamma, &d.in_w, &d.in_s];
            cuda.run("gamma_close_vjp", rows, args)?;
        }
        cuda.run("advance_vjp", count * sizes.params, args![sizes.params, self.m, &s.a, &s.g, &s.e, d_state])
    }

    fn read_vjp(&self, s: &Space<R>, d: &Reverse<R>, state: &DeviceBuffer<R>, d_state: &DeviceBuffer<R>) -> Result<()> {
        let (cuda, sizes, m, rows, top) = (self.cuda, self.sizes, self.m, self.rows(), self.sizes.top());
        if sizes.residual() {
            self.gamma_vjp(s, d, state, d_state)?;
        } else {
            cuda.run("fill", rows * sizes.spec().key_width(), args![0.0f32, &d.q])?;
            cuda.run("copy_blocks", rows * top, args![top, top, top, &d.y, &d.z_query])?;
        }
        for l in (0..sizes.layers()).rev() {
            let (i, o) = sizes.spec().layer(l);
            let (x, h, delta) = (self.tokens(&s.x[l], i), self.tokens(&s.h[l], i), self.tokens(&s.delta[l], o));
            let (d_z, d_x) = (self.tokens(&d.z_query, o), self.tokens(&d.x_query, i));
            let halves = [(&s.a_read, &s.xw[l], &d.a_read, &d.wide1), (&s.g_read, &s.xs[l], &d.g_read, &d.wide2)];
            for (half, (coefficient, product, d_coefficient, scaled)) in halves.into_iter().enumerate() {
                cuda.run("row_dots", rows, args![o, 1.0f32, &d.z_query, product, d_coefficient])?;
                cuda.run("scale_rows", rows * o, args![o, coefficient, &d.z_query, scaled])?;
                let scaled = self.tokens(scaled, o);
                self.product(1.0, x.t(), scaled, 1.0, self.weights(d_state, half, l))?;
                self.product(1.0, scaled, self.weights(state, half, l).t(), half as f64, d_x)?;
            }
            // dZ Δᵀ, which B weighs on the way to X and H, and X Hᵀ on the way to B.
            self.product(1.0, d_z, delta.t(), 0.0, self.tokens(&d.square1, m))?;
            cuda.run("multiply", rows * m, args![&d.square1, &s.scores[l], &d.square2])?;
            cuda.run("add_scaled", rows * m, args![-1.0f32, &d.square2, &d.b])?;
            cuda.run("multiply", rows * m, args![&d.square1, &s.b, &d.square2])?;
            let weighed = self.tokens(&d.square2, m);
            self.product(-1.0, weighed, h, 1.0, d_x)?;
            self.product(-1.0, weighed.t(), x, 1.0, self.tokens(&d.h[l], i))?;
            cuda.run("multiply", rows * m, args![&s.scores[l], &s.b, &d.square2])?;
            self.product(-1.0, weighed.t(), d_z, 1.0, self.tokens(&d.delta[l], o))?;
            if l > 0 {
                let args = args![sizes.activation(), &s.zq[l - 1], &d.x_query, &d.z_query];
                cuda.run("activate_vjp", rows * i, args)?;
            } else {
                cuda.run("add_scaled", rows * i, args![1.0f32, &d.x_query, &d.q])?;
            }
        }
        Ok(())
    }

    /// The residual network's output on the queries.
    fn gamma_vjp(
        &self,
        s: &Space<R>,
        d: &Reverse<R>,
        state: &DeviceBuffer<R>,
        d_state: &DeviceBuffer<R>,
    ) -> Result<()> {
        let (cuda, sizes, m, rows, top) = (self.cuda, self.sizes, self.m, self.rows(), self.sizes.top());
        cuda.run("copy_blocks", rows * top, args![top, top, top, &d.y, &d.q])?;
        let args = args![top, &s.q_hat, &s.q_r, &s.gammas, &d.y, &d.gammas, &d.z_query];
        cuda.run("residual_read_vjp", rows, args)?;
        let (stride, gamma) = (2 * sizes.params, self.gamma_view(state));
        cuda.run("gamma_rows_vjp", rows, args![m, top, stride, gamma, &d.gammas, &d.a_read, &d.g_read])?;
        let d_gammas = self.tokens(&d.gammas, top);
        for (half, coefficient) in [&s.a_read, &s.g_read].into_iter().enumerate() {
            let row = Matrix::new(coefficient.view(), 1, m);
            self.product(1.0, row, d_gammas, 1.0, self.gamma(d_state, half))?;
        }
        self.product(-1.0, self.tokens(&s.b, m).t(), d_gammas, 1.0, self.tokens(&d.g_gamma, top))?;
        self.product(-1.0, d_gammas, self.tokens(&s.g_gamma, top).t(), 1.0, self.tokens(&d.b, m))
    }

    fn coefficients_vjp(&self, s: &Space<R>, d: &Reverse<R>) -> Result<()> {
        let (cuda, sizes, m, rows, read) = (self.cuda, self.sizes, self.m, self.rows(), self.sizes.read());
        let rate = self.rate(s);
        cuda.run("rate_vjp", rows, args![m, read, &s.c, &s.p, &d.b, &d.in_w, &d.in_s, &d.rate])?;
        let args = args![
            m, read, &s.alpha, &s.eta, &s.writes, rate, &s.c, &s.p, &d.b, &d.in_w, &d.in_s, &d.square1, &d.square2
        ];
        cuda.run("columns_vjp", rows, args)?;
        cuda.run("row_totals", rows, args![m, &d.square1, &d.alpha])?;
        cuda.run("row_totals", rows, args![m, &d.square2, &d.eta])?;
        let args = args![
            m, read, &s.alpha, &s.eta, &s.writes, &s.a, &s.g, &s.e, &d.a_read, &d.g_read, &d.ends, &d.alpha, &d.eta
        ];
        cuda.run("chains_vjp", sizes.count, args)?;
        let Some(clip) = sizes.spec().clip else {
            return cuda.run("copy_blocks", rows, args![1usize, 1usize, 1usize, &d.rate, &d.theta]);
        };
        cuda.run("clip_rate_vjp", rows, args![clip, &s.norm2, &s.theta, &d.rate, &d.theta, &d.norm2])?;
        for l in 0..sizes.layers() {
            let (i, o) = sizes.spec().layer(l);
            let args = args![i, o, &s.h[l], &s.delta[l], &d.norm2, &d.h[l], &d.delta[l]];
            cuda.run("gradient_norm_vjp", rows, args)?;
        }
        if sizes.residual() {
            let none: Option<&DeviceBuffer<R>> = None;
            let args = args![sizes.top(), 0usize, &s.g_gamma, none, &d.norm2, &d.g_gamma, none];
            cuda.run("gradient_norm_vjp", rows, args)?;
        }
        Ok(())
    }

    /// Through Δ first, from the lowest layer up (it was made from the top down), then through the keys' forward.
    fn write_vjp(
        &self,
        s: &Space<R>,
        d: &Reverse<R>,
        state: &DeviceBuffer<R>,
        d_state: &DeviceBuffer<R>,
    ) -> Result<()> {
        let (cuda, sizes, rows, kind) = (self.cuda, self.sizes, self.rows(), self.sizes.activation());
        for l in 1..sizes.layers() {
            let (i, o) = sizes.spec().layer(l);
            let args = args![kind, &s.z[l - 1], &s.u[l - 1], &d.delta[l - 1], &d.wide1, &d.z[l - 1]];
            cuda.run("activate_second", rows * i, args)?;
            let d_u = self.tokens(&d.wide1, i);
            self.product(1.0, d_u, self.weights(state, 0, l), 1.0, self.tokens(&d.delta[l], o))?;
            self.product(1.0, d_u.t(), self.tokens(&s.delta[l], o), 1.0, self.weights(d_state, 0, l))?;
        }
        self.top_vjp(s, d, state, d_state)?;
        for l in (0..sizes.layers()).rev() {
            let (i, o) = sizes.spec().layer(l);
            let d_z = self.tokens(&d.z[l], o);
            self.product(1.0, self.tokens(&s.h[l], i).t(), d_z, 1.0, self.weights(d_state, 0, l))?;
            self.product(1.0, d_z, self.weights(state, 0, l).t(), 1.0, self.tokens(&d.h[l], i))?;
            if l > 0 {
                cuda.run("activate_vjp_add", rows * i, args![kind, &s.z[l - 1], &d.h[l], &d.z[l - 1]])?;
            } else {
                cuda.run("add_scaled", rows * i, args![1.0f32, &d.h[0], &d.k])?;
            }
        }
        Ok(())
    }

    /// Through the residual at the top of the keys' forward.
    fn top_vjp(&self, s: &Space<R>, d: &Reverse<R>, state: &DeviceBuffer<R>, d_state: &DeviceBuffer<R>) -> Result<()> {
        let (cuda, sizes, m, rows, top) = (self.cuda, self.sizes, self.m, self.rows(), self.sizes.top());
        let last = sizes.layers() - 1;
        if !sizes.residual() {
            cuda.run("fill", rows * sizes.spec().key_width(), args![0.0f32, &d.k])?;
            return cuda.run("plain_top_vjp", rows * top, args![sizes.scale(), &d.delta[last], &d.z[last], &d.v]);
        }
        let (stride, gamma) = (2 * sizes.params, self.gamma_view(state));
        let args = args![
            m,
            top,
            stride,
            sizes.scale(),
            &s.x_hat,
            &s.r,
            &s.error,
            &s.delta[last],
            gamma,
            &d.delta[last],
            &d.g_gamma,
            &d.z[last],
            &d.k,
            &d.v,
            &d.gammas
        ];
        cuda.run("residual_top_vjp", rows, args)?;
        let ones = Matrix::new(s.ones.view(), 1, m);
        self.product(1.0, ones, self.tokens(&d.gammas, top), 1.0, self.gamma(d_state, 0))
    }
}
