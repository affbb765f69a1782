//! What one chunk, or one piece of several, needs on the device, for all M = batch × heads memories at once: allocated
//! once an operation, reused by every chunk.
//!
//! m is the number of tokens of the chunk at hand; a shorter last chunk packs its arrays for its own m.

use super::exact::Exact;
use crate::device::MemoryOp;
use crate::device::cuda::buffer::DeviceBuffer;
use crate::device::cuda::{Cuda, Driver};
use crate::error::Result;
use titans_kernel::Choice;
use titans_kernel::memory::{MemorySpec, Read};

/// Sizes of a memory operation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes<'a> {
    pub op: &'a MemoryOp,
    /// Memories.
    pub count: usize,
    /// P.
    pub params: usize,
}

impl<'a> Sizes<'a> {
    pub fn new(op: &'a MemoryOp) -> Self {
        Self { op, count: op.batch * op.heads, params: op.spec.params() }
    }

    pub fn spec(&self) -> &'a MemorySpec {
        &self.op.spec
    }

    pub fn layers(&self) -> usize {
        self.op.spec.layers()
    }

    /// d_L.
    pub fn top(&self) -> usize {
        self.op.spec.value_width()
    }

    pub fn residual(&self) -> bool {
        self.op.spec.network.is_residual()
    }

    /// Where γ lies in a block of parameters.
    pub fn gamma(&self) -> usize {
        self.params - self.op.spec.gamma_len()
    }

    /// 2c: δ^L = 2c (M(k) − v).
    pub fn scale(&self) -> f64 {
        2.0 * self.op.spec.loss_scale()
    }

    /// φ by its byte, as the kernels know it.
    pub fn activation(&self) -> i64 {
        self.op.spec.activation.code().into()
    }

    /// Which row of the coefficients answers, as `coefficients.cu` numbers it.
    pub fn read(&self) -> i64 {
        match self.op.read {
            Read::After => 1,
            Read::Before => 0,
            Read::ChunkStart => -1,
        }
    }

    /// Sets of gates: one for all layers, or one a layer.
    pub fn sets(&self) -> usize {
        self.op.spec.gate_sets()
    }

    /// Start and length of the parameters that a set is for; γ goes with the last layer.
    pub fn part(&self, set: usize) -> (usize, usize) {
        let spec = self.spec();
        let (start, last) = (spec.layer_offset(set), set + 1 == self.sets());
        (start, if last { self.params } else { spec.layer_offset(set + 1) } - start)
    }

    /// Tokens of the longest chunk, or piece of several.
    pub fn longest(&self) -> usize {
        self.op.spec.period_len().min(self.op.time)
    }
}

/// Everything the forward of a chunk computes; the backward reads all of it.
#[derive(Debug)]
pub(super) struct Space<R: Driver> {
    /// Inputs of the layers for the keys: `h[0]` are the keys; `[M, m, d_{l-1}]`.
    pub h: Vec<DeviceBuffer<R>>,
    /// Values.
    pub v: DeviceBuffer<R>,
    /// Inputs of the layers for the queries: `x[0]` are the queries.
    pub x: Vec<DeviceBuffer<R>>,
    /// Gates of the tokens and 1 where a token writes, `[sets, M, m]`.
    pub alpha: DeviceBuffer<R>,
    pub theta: DeviceBuffer<R>,
    pub eta: DeviceBuffer<R>,
    pub writes: DeviceBuffer<R>,
    /// Rows of coefficients `[sets, M, m + 1]`, columns `[sets, M, m + 1, m]`.
    pub a: DeviceBuffer<R>,
    pub g: DeviceBuffer<R>,
    pub e: DeviceBuffer<R>,
    pub c: DeviceBuffer<R>,
    pub p: DeviceBuffer<R>,
    /// Rows that answer the queries `[sets, M, m]`, the tokens' weights in them `[sets, M, m, m]` and at the chunk's
    /// end `[sets, M, m]`.
    pub a_read: DeviceBuffer<R>,
    pub g_read: DeviceBuffer<R>,
    pub b: DeviceBuffer<R>,
    pub in_w: DeviceBuffer<R>,
    pub in_s: DeviceBuffer<R>,
    /// z^l and δ^l of the keys `[M, m, d_l]`, and δ^l W^lᵀ before φ' (of the layers above the first).
    pub z: Vec<DeviceBuffer<R>>,
    pub delta: Vec<DeviceBuffer<R>>,
    pub u: Vec<DeviceBuffer<R>>,
    /// Squared gradient norms `[M, m]` and clipped rates `[sets, M, m]`.
    pub norm2: DeviceBuffer<R>,
    pub rate: DeviceBuffer<R>,
    pub surprise: DeviceBuffer<R>,
    /// Residual networks: LN(z^L), its 1/σ, 2c (M(k) − v), γ's gradients.
    pub x_hat: DeviceBuffer<R>,
    pub r: DeviceBuffer<R>,
    pub error: DeviceBuffer<R>,
    pub g_gamma: DeviceBuffer<R>,
    /// Queries: X W, X S, X Hᵀ and Z of every layer.
    pub xw: Vec<DeviceBuffer<R>>,
    pub xs: Vec<DeviceBuffer<R>>,
    pub scores: Vec<DeviceBuffer<R>>,
    pub zq: Vec<DeviceBuffer<R>>,
    /// Residual networks: γ of every query, LN(Z^L), its 1/σ.
    pub gammas: DeviceBuffer<R>,
    pub q_hat: DeviceBuffer<R>,
    pub q_r: DeviceBuffer<R>,
    /// Read-outs `[M, m, d_L]`.
    pub y: DeviceBuffer<R>,
    /// `[M, m, m]`, and `[M, m]` ones.
    pub square: DeviceBuffer<R>,
    pub ones: DeviceBuffer<R>,
    /// `[M, m, widest]`.
    pub wide: DeviceBuffer<R>,
    /// Of a piece of several chunks.
    pub exact: Option<Exact<R>>,
}

impl<R: Driver> Space<R> {
    /// Room for the longest chunk of the operation.
    pub fn new(cuda: &Cuda<R>, sizes: Sizes<'_>) -> Result<Self> {
        let (spec, longest, layers) = (sizes.spec(), sizes.longest(), sizes.layers());
        let rows = sizes.count * longest;
        let buffer = |len| DeviceBuffer::alloc(&cuda.driver, len);
        let inputs = || (0..layers).map(|l| buffer(rows * spec.layer(l).0)).collect::<Result<Vec<_>>>();
        let outputs = || (0..layers).map(|l| buffer(rows * spec.layer(l).1)).collect::<Result<Vec<_>>>();
        let row = || buffer(rows);
        let top = || buffer(rows * sizes.top());
        let sets = sizes.sets();
        let gate = || buffer(rows * sets);
        let chain = || buffer(sets * sizes.count * (longest + 1));
        let square = || buffer(rows * longest);
        let column = || buffer(sets * sizes.count * (longest + 1) * longest);
        let ones = row()?;
        cuda.launch("fill", rows, crate::device::cuda::product::args![1.0f32, &ones])?;
        Ok(Self {
            h: inputs()?,
            v: top()?,
            x: inputs()?,
            alpha: gate()?,
            theta: gate()?,
            eta: gate()?,
            writes: gate()?,
            a: chain()?,
            g: chain()?,
            e: chain()?,
            c: column()?,
            p: column()?,
            a_read: gate()?,
            g_read: gate()?,
            b: buffer(sets * rows * longest)?,
            in_w: gate()?,
            in_s: gate()?,
            z: outputs()?,
            delta: outputs()?,
            u: (1..layers).map(|l| buffer(rows * spec.layer(l).0)).collect::<Result<Vec<_>>>()?,
            norm2: row()?,
            rate: gate()?,
            surprise: row()?,
            x_hat: top()?,
            r: row()?,
            error: top()?,
            g_gamma: top()?,
            xw: outputs()?,
            xs: outputs()?,
            scores: (0..layers).map(|_| square()).collect::<Result<Vec<_>>>()?,
            zq: outputs()?,
            gammas: top()?,
            q_hat: top()?,
            q_r: row()?,
            y: top()?,
            square: square()?,
            ones,
            wide: buffer(rows * spec.widths.iter().copied().max().unwrap_or(0))?,
            exact: if spec.wide() { Some(Exact::new(cuda, sizes)?) } else { None },
        })
    }
}
