//! The memory operation: chunk after chunk, all batch × heads memories at once; of the exact form piece after piece.
//!
//! The token form gives the same numbers as the chunk form, so here it is the chunk form: `token_form` chooses nothing.
//! Gradients are taken at the weights of the chunk's start in both.

mod ahead;
mod boundaries;
mod chunk;
mod chunk_vjp;
mod exact;
mod exact_vjp;
mod reverse;
mod sets;
mod space;

use super::buffer::{DeviceBuffer, View};
use super::{Cuda, DeviceIndices, Driver};
use crate::device::{MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
use crate::error::{Error, Result};
use ahead::Ahead;
use chunk::Chunk;
use reverse::Reverse;
use space::{Sizes, Space};
use titans_kernel::error::expect_len;

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
        let own;
        let state = match outputs.state {
            Some(state) => {
                expect_len("state", op.state_len(), state.len())?;
                &*state
            }
            None => {
                own = DeviceBuffer::alloc(&self.driver, op.state_len())?;
                &own
            }
        };
        state.copy_from(inputs.state)?;
        let counts = match op.spec.clip {
            Some(_) => Some(DeviceBuffer::zeros(&self.driver, sizes.count)?),
            None => None,
        };
        let space = Space::new(self, sizes)?;
        let mut ahead = Ahead::new(self, sizes)?;
        for j in 0..op.spec.periods(op.time) {
            let chunk = self.chunk(sizes, j);
            if let Some(boundaries) = &outputs.boundaries {
                chunk.keep_state(state, boundaries)?;
            }
            chunk.load(&space, &inputs)?;
            if let Some(exact) = &space.exact {
                let inverse = inverse(&mut ahead, &chunk, &inputs)?;
                chunk.solve(&space, exact, inverse, state, counts.as_ref())?;
                if let Some(boundaries) = &outputs.boundaries {
                    chunk.keep_delta(&space.delta[0], boundaries)?;
                }
            } else {
                chunk.write(&space, state)?;
                chunk.coefficients(&space, counts.as_ref())?;
            }
            chunk.read(&space, state)?;
            chunk.scatter(sizes.top(), &space.y, outputs.y)?;
            if let Some(surprise) = &outputs.surprise {
                chunk.scatter(1, &space.surprise, surprise)?;
            }
            chunk.close(&space, state)?;
        }
        let Some(counts) = counts else { return Ok(0) };
        let bytes = counts.bytes()?;
        Ok(bytes.chunks_exact(4).map(|b| u64::from(u32::from_ne_bytes([b[0], b[1], b[2], b[3]]))).sum())
    }

    pub(super) fn memory_backward(
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
        let d_state = &*gradients.d_state;
        match d_final {
            Some(d_final) => {
                expect_len("d_final", op.state_len(), d_final.len())?;
                d_state.copy_from(d_final)?;
            }
            None => d_state.clear()?,
        }
        let space = Space::new(self, sizes)?;
        let d = Reverse::new(self, sizes)?;
        d.y.clear()?;
        let state = DeviceBuffer::alloc(&self.driver, op.state_len())?;
        let mut ahead = Ahead::new(self, sizes)?;
        for j in (0..op.spec.periods(op.time)).rev() {
            let chunk = self.chunk(sizes, j);
            chunk.take_state(boundaries, &state)?;
            chunk.load(&space, &inputs)?;
            if let Some(exact) = &space.exact {
                chunk.take_delta(boundaries, &space.delta[0])?;
                chunk.recall(&space, exact, &state)?;
            } else {
                chunk.write(&space, &state)?;
                chunk.coefficients(&space, None)?;
            }
            chunk.read(&space, &state)?;
            if let Some(d_y) = d_y {
                chunk.gather(sizes.top(), d_y, &d.y)?;
            }
            let inverse = inverse(&mut ahead, &chunk, &inputs)?;
            chunk.reverse(&space, &d, inverse, &state, d_state)?;
            chunk.scatter(op.spec.key_width(), &d.k, gradients.d_k)?;
            chunk.scatter(sizes.top(), &d.v, gradients.d_v)?;
            chunk.scatter(op.spec.key_width(), &d.q, gradients.d_q)?;
            for (gate, from) in [&d.alpha, &d.theta, &d.eta].into_iter().enumerate() {
                chunk.scatter_gate(gate, &d, from, gradients.d_gates)?;
            }
        }
        Ok(())
    }

    fn chunk<'a>(&'a self, sizes: Sizes<'a>, j: usize) -> Chunk<'a, R> {
        let t0 = j * sizes.spec().period_len();
        Chunk { cuda: self, sizes, t0, m: sizes.spec().period_len().min(sizes.op.time - t0) }
    }
}

/// (I + T)⁻¹ of a piece of several chunks, where it is known ahead of the state.
fn inverse<R: Driver>(
    ahead: &mut Option<Ahead<R>>,
    piece: &Chunk<'_, R>,
    inputs: &MemoryInputs<'_, DeviceBuffer<R>, DeviceIndices<R>>,
) -> Result<Option<View>> {
    ahead.as_mut().map(|ahead| ahead.inverse(piece, inputs)).transpose()
}

/// The configuration is one a memory can have, and every input is as long as it says.
fn check_inputs<R: Driver>(op: &MemoryOp, inputs: &MemoryInputs<'_, DeviceBuffer<R>, DeviceIndices<R>>) -> Result<()> {
    op.spec.validate()?;
    if op.spec.keep_every != 1 {
        return Err(Error::Device {
            device: "cuda",
            reason: format!(
                "keeps every chunk boundary of a memory, found one in {}; train with boundaries = \"all\"",
                op.spec.keep_every
            ),
        });
    }
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
