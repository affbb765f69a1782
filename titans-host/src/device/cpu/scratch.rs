//! What an operation takes from the pool and gives back at its end, on a CPU of so many threads: for plans of a
//! run's memory.

use super::attention::{backward_space as attention_backward_space, forward_space as attention_space};
use super::conv::space as conv_space;
use super::memory::{backward_space, forward_space};
use super::norm::space as norm_space;
use crate::device::Operation;
use crate::device::plan::takes_no_scratch;
use crate::error::Result;

/// Lengths of the vectors that the operation has at once. `len` tells that of an operand.
pub(in crate::device) fn scratch<B, I>(
    threads: usize,
    operation: &Operation<'_, B, I>,
    len: impl Fn(&B) -> usize,
) -> Result<Vec<usize>> {
    use Operation as Op;
    Ok(match operation {
        Op::RmsNormVjp { width, x, .. } => vec![norm_space(*width, len(x))],
        Op::ConvVjp { dims, .. } => vec![conv_space(dims)],
        Op::Attention { op, inputs, .. } => attention_space(op, inputs.context.is_some(), threads)?.into(),
        Op::AttentionVjp { op, inputs, .. } => attention_backward_space(op, inputs.context.is_some(), threads)?.into(),
        Op::Memory { op, outputs, .. } => {
            forward_space(op, outputs.surprise.is_some(), outputs.state.is_some(), threads)?.into()
        }
        Op::MemoryVjp { op, .. } => backward_space(op, threads)?.into(),
        // These take some on CUDA alone.
        Op::LinearVjp { .. }
        | Op::L2NormVjp { .. }
        | Op::SumSquares { .. }
        | Op::SumSquaresAll { .. }
        | Op::Sum { .. }
        | Op::Segments { .. }
        | Op::SegmentsVjp { .. } => Vec::new(),
        takes_no_scratch!() => Vec::new(),
    })
}
