//! The operations: what they write, and the scratch that passes.

use super::{BufferKind, Plan, PlanBuffer, Planned, lock};
use crate::device::memory::ask_by_memory_vjp;
use crate::device::repeat::no_repeat;
use crate::device::rows::given;
use crate::device::{Device, MemoryOp, MemoryOutputs, MemoryUse, Operation, SegmentsMade, SegmentsOp, cuda};
use crate::error::Result;
use titans_kernel::arch::Simd;

impl Device for Plan {
    type Elem = f32;
    type Buffer = PlanBuffer;
    /// On the CPU they lie beside the buffers.
    type Indices = Option<PlanBuffer>;
    type RecordedSteps = ();

    fn describe(&self) -> String {
        match self.of {
            Planned::Cpu { threads } => format!("plan of a cpu: {threads} threads"),
            Planned::Cuda => "plan of a CUDA device".to_owned(),
        }
    }

    fn arithmetic(&self) -> Simd {
        Simd::best()
    }

    fn memory_use(&self) -> Option<MemoryUse> {
        None
    }

    fn alloc(&self, len: usize) -> Result<PlanBuffer> {
        self.take(BufferKind::Other, len)
    }

    fn zeros(&self, len: usize) -> Result<PlanBuffer> {
        self.take(BufferKind::Given, len)
    }

    fn len(&self, x: &PlanBuffer) -> usize {
        x.len
    }

    fn upload(&self, x: &[f32]) -> Result<PlanBuffer> {
        self.take(BufferKind::Given, x.len())
    }

    fn write(&self, _: &[f32], _: &mut PlanBuffer) -> Result<()> {
        Ok(())
    }

    fn upload_indices(&self, x: &[u32]) -> Result<Option<PlanBuffer>> {
        (self.of == Planned::Cuda).then(|| self.take(BufferKind::Given, cuda::words_len(x.len()))).transpose()
    }

    fn write_indices(&self, x: &[u32], out: &mut Option<PlanBuffer>) -> Result<()> {
        if out.as_ref().is_some_and(|out| out.len != cuda::words_len(x.len())) {
            *out = self.upload_indices(x)?;
        }
        Ok(())
    }

    fn download(&self, x: &PlanBuffer) -> Result<Vec<f32>> {
        Ok(vec![0.0; x.len])
    }

    fn read(&self, _: &PlanBuffer, out: &mut [f32]) -> Result<()> {
        out.fill(0.0);
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn asks_state(&self, op: &MemoryOp) -> bool {
        self.of == Planned::Cuda && cuda::only_asks(op)
    }

    fn walks_segments(&self, op: &SegmentsOp) -> bool {
        self.of == Planned::Cuda && cuda::walks(op)
    }

    fn run(&self, operation: Operation<'_, PlanBuffer, Option<PlanBuffer>>) -> Result<u64> {
        use Operation as Op;
        self.pass(&self.scratch(&operation)?)?;
        match operation {
            Op::Add { y, .. }
            | Op::Silu { y, .. }
            | Op::SiluGate { y, .. }
            | Op::SigmoidGate { y, .. }
            | Op::Dropout { y, .. }
            | Op::Gates { y, .. } => y.is(BufferKind::Elementwise),
            Op::MoveRows { op, x, y } => {
                if op.check(x.len, y.len)? && !op.add {
                    y.is(BufferKind::Elementwise);
                }
            }
            Op::Split { cut, first, x, parts } => {
                for (i, part) in given(first, parts) {
                    if cut.part(i).check(x.len, part.len)? {
                        part.is(BufferKind::Elementwise);
                    }
                }
            }
            Op::Join { cut, first, parts, y } => {
                for (i, part) in given(first, parts) {
                    if cut.placed(i).check(part.len, y.len)? {
                        y.is(BufferKind::Elementwise);
                    }
                }
            }
            Op::Linear { y, .. } | Op::Embedding { y, .. } => y.is(BufferKind::Linear),
            Op::RmsNorm { y, .. } | Op::L2Norm { y, .. } => y.is(BufferKind::Norm),
            Op::Conv { y, .. } => y.is(BufferKind::Conv),
            Op::Attention { y, .. } => y.is(BufferKind::Attention),
            Op::MemoryStart { state, .. } => state.is(BufferKind::Memory),
            Op::Memory { outputs: MemoryOutputs { y, state, boundaries, .. }, .. } => {
                y.is(BufferKind::Memory);
                if let Some(state) = state {
                    state.is(BufferKind::Memory);
                }
                if let Some(boundaries) = boundaries {
                    boundaries.is(BufferKind::Boundaries);
                }
            }
            // By a kernel of its own, which takes nothing.
            Op::AskVjp { op, .. } if self.asks_state(op) => {}
            Op::AskVjp { op, inputs, boundaries, d_y, d_q, d_state } => {
                ask_by_memory_vjp(self, op, inputs, boundaries, d_y, d_q, d_state)?;
            }
            Op::AdamWClipped { .. } => return Err(no_repeat(&self.describe())),
            Op::Segments { made, boundaries, .. } => walked(made, boundaries),
            // The backward begins here: what lives now is what the forward keeps.
            Op::CrossEntropyVjp { .. } | Op::SquaredErrorVjp { .. } => {
                let mut count = lock(&self.count);
                count.kept = count.live;
            }
            Op::Copy { .. }
            | Op::Fill { .. }
            | Op::AddScaled { .. }
            | Op::SiluVjp { .. }
            | Op::SiluGateVjp { .. }
            | Op::SigmoidGateVjp { .. }
            | Op::LinearVjp { .. }
            | Op::RmsNormVjp { .. }
            | Op::ConvVjp { .. }
            | Op::AttentionVjp { .. }
            | Op::MemoryVjp { .. }
            | Op::SegmentsVjp { .. }
            | Op::L2NormVjp { .. }
            | Op::ConvTail { .. }
            | Op::GatesVjp { .. }
            | Op::MemoryStartVjp { .. }
            | Op::EmbeddingVjp { .. }
            | Op::Pool { .. }
            | Op::PoolVjp { .. }
            | Op::CrossEntropy { .. }
            | Op::SquaredError { .. }
            | Op::SumSquares { .. }
            | Op::Sum { .. }
            | Op::AdamW { .. }
            | Op::ClearAll { .. }
            | Op::SumSquaresAll { .. }
            | Op::AdamWAll { .. } => {}
        }
        Ok(0)
    }
}

/// What a walk over segments makes.
fn walked(made: SegmentsMade<&mut PlanBuffer>, boundaries: Option<&mut PlanBuffer>) {
    if let Some(boundaries) = boundaries {
        boundaries.is(BufferKind::Boundaries);
    }
    for linear in [made.stream, made.context, made.fed] {
        linear.is(BufferKind::Linear);
    }
    for norm in [made.y, made.normed] {
        norm.is(BufferKind::Norm);
    }
    for attention in [made.q, made.k, made.attended, made.log_sum] {
        attention.is(BufferKind::Attention);
    }
    for memory in [made.answers, made.state, made.h] {
        memory.is(BufferKind::Memory);
    }
    made.v.is(BufferKind::Conv);
    made.read.is(BufferKind::Elementwise);
    made.gates.is(BufferKind::Elementwise);
}

/// The operations that take no scratch on any device: those of which the devices' own lists (`cpu/scratch.rs`,
/// `cuda/scratch.rs`) say nothing. An operation that is in neither is an error of the compiler there.
macro_rules! takes_no_scratch {
    () => {
            $crate::device::Operation::Copy { .. }
            | $crate::device::Operation::Fill { .. }
            | $crate::device::Operation::Add { .. }
            | $crate::device::Operation::AddScaled { .. }
            | $crate::device::Operation::MoveRows { .. }
            | $crate::device::Operation::Split { .. }
            | $crate::device::Operation::Join { .. }
            | $crate::device::Operation::Dropout { .. }
            | $crate::device::Operation::Silu { .. }
            | $crate::device::Operation::SiluVjp { .. }
            | $crate::device::Operation::SiluGate { .. }
            | $crate::device::Operation::SiluGateVjp { .. }
            | $crate::device::Operation::SigmoidGate { .. }
            | $crate::device::Operation::SigmoidGateVjp { .. }
            | $crate::device::Operation::Gates { .. }
            | $crate::device::Operation::GatesVjp { .. }
            | $crate::device::Operation::Linear { .. }
            | $crate::device::Operation::RmsNorm { .. }
            | $crate::device::Operation::L2Norm { .. }
            | $crate::device::Operation::Conv { .. }
            | $crate::device::Operation::ConvTail { .. }
            | $crate::device::Operation::MemoryStart { .. }
            | $crate::device::Operation::MemoryStartVjp { .. }
            // It runs others, which take their own.
            | $crate::device::Operation::AskVjp { .. }
            | $crate::device::Operation::Embedding { .. }
            | $crate::device::Operation::EmbeddingVjp { .. }
            | $crate::device::Operation::Pool { .. }
            | $crate::device::Operation::PoolVjp { .. }
            | $crate::device::Operation::CrossEntropy { .. }
            | $crate::device::Operation::CrossEntropyVjp { .. }
            | $crate::device::Operation::SquaredError { .. }
            | $crate::device::Operation::SquaredErrorVjp { .. }
            | $crate::device::Operation::AdamW { .. }
            | $crate::device::Operation::ClearAll { .. }
            | $crate::device::Operation::AdamWAll { .. }
            | $crate::device::Operation::AdamWClipped { .. }
    };
}
pub(in crate::device) use takes_no_scratch;
