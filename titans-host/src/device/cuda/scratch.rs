//! What an operation takes from the device and gives back at its end: for plans of a run's memory.

use super::Cuda;
use super::buffer::BYTES;
use super::columns::{plain_slices, slices};
use super::counting::Counting;
use super::memory::{BackwardSpace, ForwardSpace, SegmentsBackward, SegmentsForward};
use super::ops::{NORMED, few_normed, sums};
use crate::device::plan::takes_no_scratch;
use crate::device::{AttentionInputs, AttentionOp, MemoryOp, Operation};
use crate::error::Result;
use std::sync::Arc;

/// Lengths of the buffers that the operation has at once. `len` tells that of an operand.
pub(in crate::device) fn scratch<B, I>(
    operation: &Operation<'_, B, I>,
    len: impl Fn(&B) -> usize,
) -> Result<Vec<usize>> {
    use Operation as Op;
    Ok(match operation {
        Op::RmsNormVjp { width, x, .. } => match rows(len(x), *width) {
            rows if few_normed(rows) => vec![rows.div_ceil(NORMED) * width],
            rows => vec![rows, slices(rows) * width],
        },
        Op::L2NormVjp { width, x, .. } => vec![rows(len(x), *width)],
        Op::LinearVjp { dims, gradients, .. } if gradients.d_bias.is_some() => vec![summed(dims.rows, dims.outputs)],
        Op::ConvVjp { dims: d, .. } => vec![summed(d.batch * d.time, d.channels * (d.width + 1))],
        Op::SumSquaresAll { xs, .. } => vec![xs.iter().map(|x| sums(len(x))).sum()],
        Op::SumSquares { x, .. } | Op::Sum { x, .. } => vec![if sums(len(x)) > 1 { sums(len(x)) } else { 0 }],
        Op::Attention { op, inputs, .. } => rotary_scratch(op, inputs)?,
        Op::AttentionVjp { op, inputs, .. } => {
            let sizes = op.sizes()?;
            let mut lens = rotary_scratch(op, inputs)?;
            let persistent = inputs.persistent.is_some() && op.persistent > 0;
            lens.extend([sizes.sums, if persistent { sizes.queries } else { 0 }]);
            lens
        }
        Op::Memory { op, outputs, .. } => {
            vec![held(op, |cuda| ForwardSpace::new(cuda, op, outputs))?]
        }
        Op::MemoryVjp { op, .. } => vec![held(op, |cuda| BackwardSpace::new(cuda, op))?],
        Op::Segments { op, boundaries, .. } => {
            vec![held(&op.memory, |cuda| SegmentsForward::new(cuda, op, boundaries.is_some()))?]
        }
        Op::SegmentsVjp { op, .. } => vec![held(&op.memory, |cuda| SegmentsBackward::new(cuda, op))?],
        Op::LinearVjp { .. } => Vec::new(),
        takes_no_scratch!() => Vec::new(),
    })
}

fn rows(len: usize, width: usize) -> usize {
    len.checked_div(width).unwrap_or(0)
}

/// Sums of slices of rows, where there is more than one slice.
fn summed(rows: usize, width: usize) -> usize {
    match plain_slices(rows) {
        1 => 0,
        slices => slices * width,
    }
}

/// Queries and keys in their places.
fn rotary_scratch<B>(op: &AttentionOp, inputs: &AttentionInputs<'_, B>) -> Result<Vec<usize>> {
    let sizes = op.sizes()?;
    let Some(_) = op.rotary() else { return Ok(Vec::new()) };
    Ok(vec![sizes.queries, sizes.keys, if inputs.context.is_some() { sizes.keys } else { 0 }])
}

/// Elements of what is made on a device that only counts.
fn held<S>(op: &MemoryOp, make: impl FnOnce(&Cuda<Counting>) -> Result<S>) -> Result<usize> {
    op.spec.validate()?;
    let cuda = Cuda::with_driver(Arc::new(Counting::default()));
    let space = make(&cuda)?;
    let bytes = cuda.pool_usage().live_bytes;
    drop(space);
    Ok(bytes / BYTES)
}
