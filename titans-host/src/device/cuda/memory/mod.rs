//! The memory operation, all batch × heads memories at once: the linear memory in groups of pieces (`linear`), one that
//! only answers by products (`ask`), all others chunk after chunk, of the exact form piece after piece.
//!
//! The token form gives the same numbers as the chunk form, so here it is the chunk form: `token_form` chooses nothing.
//! Gradients are taken at the weights of the chunk's start in both.

mod ask;
mod backward;
mod boundaries;
mod chunk;
mod chunk_vjp;
mod exact;
mod exact_vjp;
mod linear;
mod linear_backward;
mod linear_forward;
mod reverse;
mod segments;
mod segments_forward;
mod segments_vjp;
mod sets;
mod space;

use super::buffer::DeviceBuffer;
use super::{Cuda, DeviceIndices, Driver};
use crate::device::{MemoryInputs, MemoryOp, MemoryOutputs};
use crate::error::Result;
pub(in crate::device) use ask::only_asks;
pub(super) use backward::BackwardSpace;
use chunk::Chunk;
use linear::{CudaInputs, LinearMemory};
use linear_forward::LinearForward;
pub(in crate::device) use segments::walks;
pub(super) use segments::{SegmentsBackward, SegmentsForward};
use space::{Sizes, Space};
use titans_kernel::error::expect_len;

/// What a forward takes and gives back.
pub(super) enum ForwardSpace<R: Driver> {
    /// Of linear memories that only answer: nothing.
    Asked,
    /// Of linear memories: groups of pieces at once.
    Linear(Box<LinearForward<R>>),
    /// Of all others: chunk after chunk.
    Chunks(Box<ChunksForward<R>>),
}

/// What the chunks of a forward take.
pub(super) struct ChunksForward<R: Driver> {
    /// The state, where the caller does not want it.
    state: DeviceBuffer<R>,
    /// Clipped tokens of every memory, where there is a clip.
    counts: Option<DeviceBuffer<R>>,
    space: Space<R>,
}

impl<R: Driver> ForwardSpace<R> {
    /// Room for the operation, and the outputs that are asked for.
    pub fn new<B>(cuda: &Cuda<R>, op: &MemoryOp, outputs: &MemoryOutputs<'_, B>) -> Result<Self> {
        let (sizes, given, kept) = (Sizes::new(op), outputs.state.is_some(), outputs.boundaries.is_some());
        if only_asks(op) && outputs.surprise.is_none() {
            return Ok(Self::Asked);
        }
        if linear::fits(&op.spec) {
            return Ok(Self::Linear(Box::new(LinearForward::new(cuda, sizes, given, kept)?)));
        }
        let counts = op.spec.clip.map(|_| DeviceBuffer::zeros(&cuda.driver, sizes.count)).transpose()?;
        Ok(Self::Chunks(Box::new(ChunksForward {
            state: DeviceBuffer::alloc(&cuda.driver, if given { 0 } else { op.state_len() })?,
            counts,
            space: Space::new(cuda, sizes)?,
        })))
    }
}

impl<R: Driver> Cuda<R> {
    pub(super) fn memory_forward(
        &self,
        op: &MemoryOp,
        inputs: MemoryInputs<'_, DeviceBuffer<R>, DeviceIndices<R>>,
        outputs: MemoryOutputs<'_, DeviceBuffer<R>>,
    ) -> Result<u64> {
        check_inputs(op, &inputs)?;
        let sizes = Sizes::new(op);
        let tokens = op.batch * op.time * op.heads;
        expect_len("y", tokens * sizes.top(), outputs.y.len())?;
        if let Some(surprise) = &outputs.surprise {
            expect_len("surprise", tokens, surprise.len())?;
        }
        if let Some(boundaries) = &outputs.boundaries {
            expect_len("boundaries", op.boundaries_len(), boundaries.len())?;
        }
        if let Some(state) = &outputs.state {
            expect_len("state", op.state_len(), state.len())?;
        }
        match ForwardSpace::new(self, op, &outputs)? {
            ForwardSpace::Asked => self.ask_forward(sizes, &inputs, &outputs).map(|()| 0),
            ForwardSpace::Linear(space) => {
                LinearMemory { cuda: self, sizes }.forward(*space, &inputs, &outputs)?;
                Ok(0)
            }
            ForwardSpace::Chunks(space) => self.chunks_forward(sizes, &space, &inputs, &outputs),
        }
    }

    /// Chunk after chunk; the clipped tokens.
    fn chunks_forward(
        &self,
        sizes: Sizes<'_>,
        forward: &ChunksForward<R>,
        inputs: &CudaInputs<'_, R>,
        outputs: &MemoryOutputs<'_, DeviceBuffer<R>>,
    ) -> Result<u64> {
        let ChunksForward { state: own, counts, space } = forward;
        let state = outputs.state.as_deref().unwrap_or(own);
        state.copy_from(inputs.state)?;
        for j in 0..sizes.spec().periods(sizes.op.time) {
            let chunk = self.chunk(sizes, j);
            if let Some(boundaries) = &outputs.boundaries {
                chunk.keep_state(state, boundaries)?;
            }
            chunk.load(space, inputs)?;
            if let Some(exact) = &space.exact {
                chunk.solve(space, exact, state, counts.as_ref())?;
                if let Some(boundaries) = &outputs.boundaries {
                    chunk.keep_delta(&space.delta[0], boundaries)?;
                }
            } else {
                chunk.write(space, state)?;
                chunk.coefficients(space, counts.as_ref())?;
            }
            chunk.read(space, state)?;
            chunk.scatter(sizes.top(), &space.y, outputs.y)?;
            if let Some(surprise) = &outputs.surprise {
                chunk.scatter(1, &space.surprise, surprise)?;
            }
            chunk.close(space, state)?;
        }
        let Some(counts) = counts else { return Ok(0) };
        let bytes = counts.bytes()?;
        Ok(bytes.chunks_exact(4).map(|b| u64::from(u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))).sum())
    }

    fn chunk<'a>(&'a self, sizes: Sizes<'a>, j: usize) -> Chunk<'a, R> {
        let t0 = j * sizes.spec().period_len();
        Chunk { cuda: self, sizes, t0, m: sizes.spec().period_len().min(sizes.op.time - t0) }
    }
}

/// The configuration is one a memory can have, and every input is as long as it says.
pub(super) fn check_inputs<R: Driver>(
    op: &MemoryOp,
    inputs: &MemoryInputs<'_, DeviceBuffer<R>, DeviceIndices<R>>,
) -> Result<()> {
    op.spec.validate()?;
    let tokens = op.batch * op.time * op.heads;
    expect_len("k", tokens * op.spec.key_width(), inputs.k.len())?;
    expect_len("v", tokens * op.spec.value_width(), inputs.v.len())?;
    expect_len("q", tokens * op.spec.key_width(), inputs.q.len())?;
    expect_len("gates", op.gates_len(), inputs.gates.len())?;
    expect_len("state", op.state_len(), inputs.state.len())?;
    if let Some(mask) = inputs.mask {
        expect_len("mask", op.batch * op.time, mask.len())?;
    }
    Ok(())
}
