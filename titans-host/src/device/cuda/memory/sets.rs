//! Gates of every layer's own: where a set's parts lie, for a chunk of m tokens. The sets of an array lie one behind
//! the other, so that a kernel which knows no layers runs over all of them as over more memories.

use super::chunk::Chunk;
use super::reverse::Reverse;
use super::space::Space;
use crate::device::cuda::Driver;
use crate::device::cuda::buffer::{DeviceBuffer, View};
use crate::device::cuda::product::args;
use crate::error::Result;

impl<R: Driver> Chunk<'_, R> {
    /// The set of layer l.
    pub fn set(&self, l: usize) -> usize {
        l.min(self.sizes.sets() - 1)
    }

    /// A set's `[M, m]`.
    pub fn of_set(&self, x: &DeviceBuffer<R>, set: usize) -> View {
        x.from(set * self.rows())
    }

    /// A set's `[M, m, m]`.
    pub fn square_of_set(&self, x: &DeviceBuffer<R>, set: usize) -> View {
        x.from(set * self.rows() * self.m)
    }

    /// A set's A, G and E.
    pub fn chains_of_set(&self, s: &Space<R>, set: usize) -> [View; 3] {
        [&s.a, &s.g, &s.e].map(|x| x.from(set * self.sizes.count * (self.m + 1)))
    }

    /// A set's C and P.
    pub fn columns_of_set(&self, s: &Space<R>, set: usize) -> [View; 2] {
        [&s.c, &s.p].map(|x| x.from(set * self.sizes.count * (self.m + 1) * self.m))
    }

    /// A set's cotangents of the last row of A, G and E.
    pub fn ends_of_set(&self, d: &Reverse<R>, set: usize) -> View {
        d.ends.from(set * 3 * self.sizes.count)
    }

    /// One gate of the chunk's tokens, all sets of it, to `[sets, M, m]`.
    pub fn gather_gate(&self, gate: usize, s: &Space<R>, gates: &DeviceBuffer<R>, to: &DeviceBuffer<R>) -> Result<()> {
        let (op, sets, count) = (self.sizes.op, self.sizes.sets(), self.sizes.count);
        // The layers of a head are to the kernel as many heads; `[M, sets, m]` comes of it.
        let first = if sets == 1 { to } else { &s.b };
        let args = args![sets * count, self.m, gate, op.time, sets * op.heads, self.t0, gates, first];
        self.cuda.launch("gather_gate", sets * self.rows(), args)?;
        for set in (0..sets).filter(|_| sets > 1) {
            let args = args![self.m, sets * self.m, self.m, first.from(set * self.m), self.of_set(to, set)];
            self.cuda.launch("copy_blocks", self.rows(), args)?;
        }
        Ok(())
    }

    /// The reverse, for the gates' cotangents.
    pub fn scatter_gate(
        &self,
        gate: usize,
        d: &Reverse<R>,
        from: &DeviceBuffer<R>,
        gates: &DeviceBuffer<R>,
    ) -> Result<()> {
        let (op, sets) = (self.sizes.op, self.sizes.sets());
        let last = if sets == 1 { from } else { &d.b };
        for set in (0..sets).filter(|_| sets > 1) {
            let args = args![self.m, self.m, sets * self.m, self.of_set(from, set), last.from(set * self.m)];
            self.cuda.launch("copy_blocks", self.rows(), args)?;
        }
        let args = args![self.m, gate, op.time, sets * op.heads, self.t0, last, gates];
        self.cuda.launch("scatter_gate", sets * self.rows(), args)
    }
}
