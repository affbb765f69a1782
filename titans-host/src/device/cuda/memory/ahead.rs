//! What a memory's pieces need that does not depend on its state: (I + T)⁻¹, for many pieces at once.
//!
//! A forward substitution is a chain of m rows, as long for one piece as for many, so that a group of pieces costs little
//! more than one. Memory is bounded whatever the number of tokens: a group has as many columns as keep a device busy.

use super::chunk::Chunk;
use super::space::Sizes;
use crate::device::MemoryInputs;
use crate::device::cuda::buffer::{DeviceBuffer, View};
use crate::device::cuda::product::{Matrix, args};
use crate::device::cuda::{Cuda, DeviceIndices, Driver};
use crate::error::Result;

/// Columns of a group (a thread each) and pieces of it, at most; one piece at least.
const COLUMNS: usize = 1 << 16;
const PIECES: usize = 64;

/// The inverses of one group of pieces, and what they are made of. Arrays are `[pieces, M, n, …]`; a shorter last piece is a
/// group of its own.
#[derive(Debug)]
pub(super) struct Ahead<R: Driver> {
    /// Most pieces of a group.
    pieces: usize,
    /// First token and pieces of the group at hand.
    ready: (usize, usize),
    k: DeviceBuffer<R>,
    alpha: DeviceBuffer<R>,
    theta: DeviceBuffer<R>,
    eta: DeviceBuffer<R>,
    writes: DeviceBuffer<R>,
    /// C `[pieces, M, n + 1, n]`, and P, then B⁻.
    c: DeviceBuffer<R>,
    b: DeviceBuffer<R>,
    /// K Kᵀ, then T / 2c.
    scores: DeviceBuffer<R>,
    inverse: DeviceBuffer<R>,
}

impl<R: Driver> Ahead<R> {
    /// Room for a group; nothing where pieces are chunks, or where a clip makes T depend on the state.
    pub fn new(cuda: &Cuda<R>, sizes: Sizes<'_>) -> Result<Option<Self>> {
        let (spec, n) = (sizes.spec(), sizes.longest());
        if !spec.wide() || spec.clip.is_some() {
            return Ok(None);
        }
        let columns = (sizes.count * n).max(1);
        let pieces = (COLUMNS / columns).clamp(1, PIECES).min(spec.periods(sizes.op.time));
        let rows = pieces * sizes.count * n;
        let buffer = |len| DeviceBuffer::alloc(&cuda.driver, len);
        let column = || buffer(pieces * sizes.count * (n + 1) * n);
        Ok(Some(Self {
            pieces,
            ready: (0, 0),
            k: buffer(rows * spec.key_width())?,
            alpha: buffer(rows)?,
            theta: buffer(rows)?,
            eta: buffer(rows)?,
            writes: buffer(rows)?,
            c: column()?,
            b: column()?,
            scores: buffer(rows * n)?,
            inverse: buffer(rows * n)?,
        }))
    }

    /// (I + T)⁻¹ `[M, m, m]` of a piece.
    pub fn inverse(
        &mut self,
        piece: &Chunk<'_, R>,
        inputs: &MemoryInputs<'_, DeviceBuffer<R>, DeviceIndices<R>>,
    ) -> Result<View> {
        let (t0, m, n) = (piece.t0, piece.m, piece.sizes.longest());
        let group = if m < n {
            (t0, 1)
        } else {
            let (first, whole) = (t0 / n / self.pieces * self.pieces, piece.sizes.op.time / n);
            (first * n, self.pieces.min(whole - first))
        };
        if self.ready != group {
            self.invert(piece, group, inputs)?;
            self.ready = group;
        }
        // (t0 − first) / m pieces of M m² numbers lie before it.
        Ok(self.inverse.from((t0 - group.0) * piece.sizes.count * m))
    }

    /// Inverts a group of pieces as long as `piece`.
    fn invert(
        &self,
        piece: &Chunk<'_, R>,
        (t0, pieces): (usize, usize),
        inputs: &MemoryInputs<'_, DeviceBuffer<R>, DeviceIndices<R>>,
    ) -> Result<()> {
        let (cuda, sizes, m) = (piece.cuda, piece.sizes, piece.m);
        let (op, spec, count) = (sizes.op, sizes.spec(), sizes.count);
        let (all, rows, width) = (pieces * count, pieces * count * m, spec.key_width());
        let args = args![count, m, width, op.time, op.heads, t0, inputs.k, &self.k];
        cuda.launch("gather", rows * width, args)?;
        for (gate, to) in [&self.alpha, &self.theta, &self.eta].into_iter().enumerate() {
            cuda.launch("gather_gate", rows, args![count, m, gate, op.time, op.heads, t0, inputs.gates, to])?;
        }
        let (mask, read_only) = (inputs.mask.map(DeviceIndices::values), usize::from(op.read_only));
        let args = args![count, m, read_only, op.time, op.heads, t0, mask, &self.writes];
        cuda.launch("write_flags", rows, args)?;
        cuda.launch("columns", rows, args![m, &self.alpha, &self.eta, &self.writes, &self.c, &self.b])?;
        let args = args![m, -1i64, spec.chunk, &self.c, &self.theta, &self.b];
        cuda.launch("answer_weights", rows * m, args)?;
        let keys = Matrix::new(self.k.view(), m, width);
        cuda.product(all, 1.0, keys, keys.t(), 0.0, Matrix::new(self.scores.view(), m, m))?;
        cuda.launch("multiply", rows * m, args![&self.scores, &self.b, &self.scores])?;
        cuda.launch("exact_inverse", rows, args![m, sizes.scale(), &self.scores, &self.inverse])
    }
}
