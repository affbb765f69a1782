//! Cotangents of what [`Space`](super::space::Space) holds: allocated once an operation, reused by every chunk.

use super::exact_vjp::ExactReverse;
use super::space::Sizes;
use crate::device::cuda::buffer::DeviceBuffer;
use crate::device::cuda::{Cuda, Driver};
use crate::error::Result;

/// Lanes of the partial sums over a state.
pub(super) const LANES: usize = 256;

/// Cotangents of what [`Space`](super::space::Space) holds.
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
    /// Of the gates' sets: the answering rows, the tokens' weights, the rates; the squared norms, a share of every set.
    pub a_read: DeviceBuffer<R>,
    pub g_read: DeviceBuffer<R>,
    pub b: DeviceBuffer<R>,
    pub in_w: DeviceBuffer<R>,
    pub in_s: DeviceBuffer<R>,
    pub rate: DeviceBuffer<R>,
    pub norm2: DeviceBuffer<R>,
    /// Of γ of every query or key.
    pub gammas: DeviceBuffer<R>,
    /// Of A, G and E of the last row `[sets, 3, M]`, and their partial sums of one set.
    pub ends: DeviceBuffer<R>,
    pub partial: DeviceBuffer<R>,
    /// `[M, m, m]`.
    pub square1: DeviceBuffer<R>,
    pub square2: DeviceBuffer<R>,
    /// `[M, m, widest]`.
    pub z_query: DeviceBuffer<R>,
    pub x_query: DeviceBuffer<R>,
    pub wide1: DeviceBuffer<R>,
    pub wide2: DeviceBuffer<R>,
    /// Of a piece of several chunks.
    pub exact: Option<ExactReverse<R>>,
}

impl<R: Driver> Reverse<R> {
    /// Room for the longest chunk of the operation.
    pub fn new(cuda: &Cuda<R>, sizes: Sizes<'_>) -> Result<Self> {
        let (spec, longest) = (sizes.spec(), sizes.longest());
        let rows = sizes.count * longest;
        let buffer = |len| DeviceBuffer::alloc(&cuda.driver, len);
        let (square, top) = (|| buffer(rows * longest), || buffer(rows * sizes.top()));
        let sets = sizes.sets();
        let gate = || buffer(rows * sets);
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
            alpha: gate()?,
            theta: gate()?,
            eta: gate()?,
            y: top()?,
            a_read: gate()?,
            g_read: gate()?,
            b: buffer(sets * rows * longest)?,
            in_w: gate()?,
            in_s: gate()?,
            rate: gate()?,
            norm2: gate()?,
            gammas: top()?,
            ends: buffer(sets * 3 * sizes.count)?,
            partial: buffer(3 * sizes.count * LANES)?,
            square1: square()?,
            square2: square()?,
            z_query: wide()?,
            x_query: wide()?,
            wide1: wide()?,
            wide2: wide()?,
            exact: if spec.wide() { Some(ExactReverse::new(cuda, sizes)?) } else { None },
        })
    }

    /// Everything that is added to starts at 0.
    pub fn clear(&self) -> Result<()> {
        let sums = [&self.g_gamma, &self.a_read, &self.g_read, &self.b, &self.in_w, &self.in_s];
        let of_keys = self.exact.iter().flat_map(ExactReverse::sums);
        self.h.iter().chain(&self.delta).chain(sums).chain(of_keys).try_for_each(DeviceBuffer::clear)
    }
}
