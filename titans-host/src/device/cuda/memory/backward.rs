//! The backward of the memory operation: from the last chunk to the first, span by span between kept states.

use super::ask::only_asks;
use super::boundaries::Between;
use super::check_inputs;
use super::chunk::Chunk;
use super::linear::{self, LinearMemory};
use super::linear_backward::{LinearBackward, LinearRun};
use super::reverse::Reverse;
use super::space::{Sizes, Space};
use crate::device::cuda::buffer::DeviceBuffer;
use crate::device::cuda::{Cuda, DeviceIndices, Driver};
use crate::device::{MemoryGradients, MemoryInputs, MemoryOp};
use crate::error::Result;
use titans_kernel::error::expect_len;

/// What all chunks of a backward work with.
struct MemoryBackward<'a, R: Driver> {
    inputs: MemoryInputs<'a, DeviceBuffer<R>, DeviceIndices<R>>,
    boundaries: &'a DeviceBuffer<R>,
    d_y: Option<&'a DeviceBuffer<R>>,
    gradients: MemoryGradients<'a, DeviceBuffer<R>>,
    work: Box<ChunksBackward<R>>,
}

/// What a backward takes and gives back.
pub(in crate::device::cuda) enum BackwardSpace<R: Driver> {
    /// Of linear memories that only answer: nothing.
    Asked,
    /// Of linear memories: groups of pieces at once.
    Linear(Box<LinearBackward<R>>),
    /// Of all others: chunk after chunk.
    Chunks(Box<ChunksBackward<R>>),
}

/// What the chunks of a backward take.
pub(in crate::device::cuda) struct ChunksBackward<R: Driver> {
    space: Space<R>,
    reverse: Reverse<R>,
    between: Between<R>,
    /// The state at the start of the chunk at hand.
    state: DeviceBuffer<R>,
}

impl<R: Driver> BackwardSpace<R> {
    /// Room for the operation.
    pub fn new(cuda: &Cuda<R>, op: &MemoryOp) -> Result<Self> {
        let sizes = Sizes::new(op);
        if only_asks(op) {
            return Ok(Self::Asked);
        }
        if linear::fits(&op.spec) {
            return Ok(Self::Linear(Box::new(LinearBackward::new(cuda, sizes)?)));
        }
        Ok(Self::Chunks(Box::new(ChunksBackward {
            space: Space::new(cuda, sizes)?,
            reverse: Reverse::new(cuda, sizes)?,
            between: Between::new(cuda, sizes)?,
            state: DeviceBuffer::alloc(&cuda.driver, op.state_len())?,
        })))
    }
}

impl<R: Driver> Cuda<R> {
    /// All gradients of the operation. The cotangent of the state goes through the chunks from the last to the first; a
    /// chunk's own are derived at [`Chunk::reverse`], a linear memory's at [`LinearMemory::backward`].
    pub(in crate::device::cuda) fn memory_backward(
        &self,
        op: &MemoryOp,
        inputs: MemoryInputs<'_, DeviceBuffer<R>, DeviceIndices<R>>,
        boundaries: &DeviceBuffer<R>,
        d_y: Option<&DeviceBuffer<R>>,
        d_final: Option<&DeviceBuffer<R>>,
        gradients: MemoryGradients<'_, DeviceBuffer<R>>,
    ) -> Result<()> {
        check_inputs(op, &inputs)?;
        let sizes = Sizes::new(op);
        expect_len("boundaries", op.boundaries_len(), boundaries.len())?;
        expect_len("d_k", inputs.k.len(), gradients.d_k.len())?;
        expect_len("d_v", inputs.v.len(), gradients.d_v.len())?;
        expect_len("d_q", inputs.q.len(), gradients.d_q.len())?;
        expect_len("d_gates", inputs.gates.len(), gradients.d_gates.len())?;
        expect_len("d_state", op.state_len(), gradients.d_state.len())?;
        if let Some(d_y) = d_y {
            expect_len("d_y", inputs.v.len(), d_y.len())?;
        }
        if let Some(d_final) = d_final {
            expect_len("d_final", op.state_len(), d_final.len())?;
        }
        let work = match BackwardSpace::new(self, op)? {
            BackwardSpace::Asked => return self.ask_boundary_vjp(sizes, &inputs, d_y, d_final, &gradients),
            BackwardSpace::Linear(work) => {
                let run = LinearRun { inputs, boundaries, d_y, d_final, gradients };
                return LinearMemory { cuda: self, sizes }.backward(*work, &run);
            }
            BackwardSpace::Chunks(work) => work,
        };
        match d_final {
            Some(d_final) => gradients.d_state.copy_from(d_final)?,
            None => gradients.d_state.clear()?,
        }
        work.reverse.y.clear()?;
        let run = MemoryBackward { inputs, boundaries, d_y, gradients, work };
        let (keep, periods) = (op.spec.keep_every, op.spec.periods(op.time));
        for first in (0..periods).step_by(keep).rev() {
            let end = first.saturating_add(keep).min(periods);
            run.states_between((first..end - 1).map(|j| self.chunk(sizes, j)))?;
            for j in (first..end).rev() {
                run.chunk(&self.chunk(sizes, j))?;
            }
        }
        Ok(())
    }
}

impl<R: Driver> MemoryBackward<'_, R> {
    /// The states behind these chunks, the first of which begins with a kept one.
    fn states_between<'c>(&self, chunks: impl Iterator<Item = Chunk<'c, R>>) -> Result<()> {
        let ChunksBackward { space, between, state, .. } = &*self.work;
        for (i, chunk) in chunks.enumerate() {
            if i == 0 {
                chunk.take_state(self.boundaries, state)?;
            }
            chunk.step_again(space, &self.inputs, self.boundaries, between, state)?;
        }
        Ok(())
    }

    /// One chunk: its forward again, its reverse, its part of the gradients.
    fn chunk(&self, chunk: &Chunk<'_, R>) -> Result<()> {
        let ChunksBackward { space, reverse: d, between, state } = &*self.work;
        let (sizes, gradients) = (chunk.sizes, &self.gradients);
        chunk.state_at_start(self.boundaries, between, state)?;
        chunk.load(space, &self.inputs)?;
        if let Some(exact) = &space.exact {
            chunk.take_delta(self.boundaries, &space.delta[0])?;
            chunk.recall(space, exact, state)?;
        } else {
            chunk.write(space, state)?;
            chunk.coefficients(space, None)?;
        }
        chunk.read(space, state)?;
        if let Some(d_y) = self.d_y {
            chunk.gather(sizes.top(), d_y, &d.y)?;
        }
        chunk.reverse(space, d, state, gradients.d_state)?;
        chunk.scatter(sizes.spec().key_width(), &d.k, gradients.d_k)?;
        chunk.scatter(sizes.top(), &d.v, gradients.d_v)?;
        chunk.scatter(sizes.spec().key_width(), &d.q, gradients.d_q)?;
        for (gate, from) in [&d.alpha, &d.theta, &d.eta].into_iter().enumerate() {
            chunk.scatter_gate(gate, d, from, gradients.d_gates)?;
        }
        Ok(())
    }
}
