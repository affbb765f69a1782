//! The operations: what they write, and the scratch that passes.

use super::{BufferKind, Plan, PlanBuffer, lock};
use crate::device::cpu::attention::{backward_space as attention_backward_space, forward_space as attention_space};
use crate::device::cpu::conv::space as conv_space;
use crate::device::cpu::memory::{backward_space, forward_space};
use crate::device::cpu::norm::space as norm_space;
use crate::device::{Device, MemoryOutputs, Operation};
use crate::error::Result;

impl Device for Plan {
    type Elem = f32;
    type Buffer = PlanBuffer;
    type Indices = ();

    fn describe(&self) -> String {
        format!("plan of a cpu: {} threads", self.threads)
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

    fn upload_indices(&self, _: &[u32]) -> Result<()> {
        Ok(())
    }

    fn write_indices(&self, _: &[u32], _: &mut ()) -> Result<()> {
        Ok(())
    }

    fn download(&self, x: &PlanBuffer) -> Result<Vec<f32>> {
        Ok(vec![0.0; x.len])
    }

    fn read(&self, _: &PlanBuffer, out: &mut [f32]) -> Result<()> {
        {
            out.fill(0.0);
            Ok(())
        }
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn run(&self, operation: Operation<'_, PlanBuffer, ()>) -> Result<u64> {
        use Operation as Op;
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
            Op::Linear { y, .. } | Op::Embedding { y, .. } => y.is(BufferKind::Linear),
            Op::RmsNorm { y, .. } | Op::L2Norm { y, .. } => y.is(BufferKind::Norm),
            Op::RmsNormVjp { width, x, .. } => self.pass(&[norm_space(width, x.len)])?,
            Op::Conv { y, .. } => y.is(BufferKind::Conv),
            Op::ConvVjp { dims, .. } => self.pass(&[conv_space(&dims)])?,
            Op::Attention { op, inputs, y, .. } => {
                self.pass(&attention_space(op, inputs.context.is_some(), self.threads)?)?;
                y.is(BufferKind::Attention);
            }
            Op::AttentionVjp { op, inputs, .. } => {
                self.pass(&attention_backward_space(op, inputs.context.is_some(), self.threads)?)?;
            }
            Op::MemoryStart { state, .. } => state.is(BufferKind::Memory),
            Op::Memory { op, outputs: MemoryOutputs { y, surprise, state, boundaries }, .. } => {
                self.pass(&forward_space(op, surprise.is_some(), state.is_some(), self.threads)?)?;
                y.is(BufferKind::Memory);
                if let Some(state) = state {
                    state.is(BufferKind::Memory);
                }
                if let Some(boundaries) = boundaries {
                    boundaries.is(BufferKind::Boundaries);
                }
            }
            Op::MemoryVjp { op, .. } => self.pass(&backward_space(op, self.threads)?)?,
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
            | Op::AdamW { .. } => {}
        }
        Ok(0)
    }
}
