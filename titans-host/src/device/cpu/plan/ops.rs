//! The operations: what they write, and the scratch that passes.

use super::{BufferKind, Plan, PlanBuffer, lock};
use crate::device::cpu::attention::{backward_space as attention_backward_space, forward_space as attention_space};
use crate::device::cpu::conv::space as conv_space;
use crate::device::cpu::memory::{backward_space, forward_space};
use crate::device::cpu::norm::space as norm_space;
use crate::device::{
    AdamW, AttentionGradients, AttentionInputs, AttentionOp, ConvDims, ConvGradients, Device, DropMask, LinearDims,
    LinearGradients, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs, MoveRows,
};
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

    fn copy(&self, _: &PlanBuffer, _: &mut PlanBuffer) -> Result<()> {
        Ok(())
    }

    fn fill(&self, _: f64, _: &mut PlanBuffer) -> Result<()> {
        Ok(())
    }

    fn add(&self, _: &PlanBuffer, _: &PlanBuffer, y: &mut PlanBuffer) -> Result<()> {
        y.is(BufferKind::Elementwise);
        Ok(())
    }

    fn add_scaled(&self, _: f64, _: &PlanBuffer, _: &mut PlanBuffer) -> Result<()> {
        Ok(())
    }

    fn silu(&self, _: &PlanBuffer, y: &mut PlanBuffer) -> Result<()> {
        y.is(BufferKind::Elementwise);
        Ok(())
    }

    fn silu_vjp(&self, _: &PlanBuffer, _: &PlanBuffer, _: &mut PlanBuffer) -> Result<()> {
        Ok(())
    }

    fn silu_gate(&self, _: &PlanBuffer, _: &PlanBuffer, y: &mut PlanBuffer) -> Result<()> {
        y.is(BufferKind::Elementwise);
        Ok(())
    }

    fn silu_gate_vjp(
        &self,
        _: &PlanBuffer,
        _: &PlanBuffer,
        _: &PlanBuffer,
        _: &mut PlanBuffer,
        _: &mut PlanBuffer,
    ) -> Result<()> {
        Ok(())
    }

    fn sigmoid_gate(&self, _: &PlanBuffer, _: &PlanBuffer, y: &mut PlanBuffer) -> Result<()> {
        y.is(BufferKind::Elementwise);
        Ok(())
    }

    fn sigmoid_gate_vjp(
        &self,
        _: &PlanBuffer,
        _: &PlanBuffer,
        _: &PlanBuffer,
        _: &mut PlanBuffer,
        _: &mut PlanBuffer,
    ) -> Result<()> {
        Ok(())
    }

    fn dropout(&self, _: &DropMask, _: &PlanBuffer, y: &mut PlanBuffer) -> Result<()> {
        y.is(BufferKind::Elementwise);
        Ok(())
    }

    fn move_rows(&self, op: &MoveRows, x: &PlanBuffer, y: &mut PlanBuffer) -> Result<()> {
        if op.check(x.len, y.len)? && !op.add {
            y.is(BufferKind::Elementwise);
        }
        Ok(())
    }

    fn linear(
        &self,
        _: LinearDims,
        _: &PlanBuffer,
        _: &PlanBuffer,
        _: Option<&PlanBuffer>,
        y: &mut PlanBuffer,
    ) -> Result<()> {
        y.is(BufferKind::Linear);
        Ok(())
    }

    fn linear_vjp(
        &self,
        _: LinearDims,
        _: &PlanBuffer,
        _: &PlanBuffer,
        _: &PlanBuffer,
        _: LinearGradients<'_, PlanBuffer>,
    ) -> Result<()> {
        Ok(())
    }

    fn rms_norm(&self, _: usize, _: &PlanBuffer, _: &PlanBuffer, y: &mut PlanBuffer) -> Result<()> {
        y.is(BufferKind::Norm);
        Ok(())
    }

    fn rms_norm_vjp(
        &self,
        width: usize,
        x: &PlanBuffer,
        _: &PlanBuffer,
        _: &PlanBuffer,
        _: &mut PlanBuffer,
        _: &mut PlanBuffer,
    ) -> Result<()> {
        self.pass(&[norm_space(width, x.len)])
    }

    fn l2_norm(&self, _: usize, _: &PlanBuffer, y: &mut PlanBuffer) -> Result<()> {
        y.is(BufferKind::Norm);
        Ok(())
    }

    fn l2_norm_vjp(&self, _: usize, _: &PlanBuffer, _: &PlanBuffer, _: &mut PlanBuffer) -> Result<()> {
        Ok(())
    }

    fn conv(
        &self,
        _: ConvDims,
        _: &PlanBuffer,
        _: Option<&PlanBuffer>,
        _: &PlanBuffer,
        _: &PlanBuffer,
        y: &mut PlanBuffer,
    ) -> Result<()> {
        y.is(BufferKind::Conv);
        Ok(())
    }

    fn conv_vjp(
        &self,
        dims: ConvDims,
        _: &PlanBuffer,
        _: Option<&PlanBuffer>,
        _: &PlanBuffer,
        _: &PlanBuffer,
        _: ConvGradients<'_, PlanBuffer>,
    ) -> Result<()> {
        self.pass(&[conv_space(&dims)])
    }

    fn conv_tail(&self, _: ConvDims, _: &PlanBuffer, _: Option<&PlanBuffer>, _: &mut PlanBuffer) -> Result<()> {
        Ok(())
    }

    fn attention(
        &self,
        op: &AttentionOp,
        inputs: AttentionInputs<'_, Self>,
        y: &mut PlanBuffer,
        _: Option<&mut PlanBuffer>,
    ) -> Result<()> {
        self.pass(&attention_space(op, inputs.context.is_some(), self.threads)?)?;
        y.is(BufferKind::Attention);
        Ok(())
    }

    fn attention_vjp(
        &self,
        op: &AttentionOp,
        inputs: AttentionInputs<'_, Self>,
        _: &PlanBuffer,
        _: &PlanBuffer,
        _: &PlanBuffer,
        _: AttentionGradients<'_, Self>,
    ) -> Result<()> {
        self.pass(&attention_backward_space(op, inputs.context.is_some(), self.threads)?)
    }

    fn gates(&self, _: usize, _: [f64; 3], _: &PlanBuffer, y: &mut PlanBuffer) -> Result<()> {
        y.is(BufferKind::Elementwise);
        Ok(())
    }

    fn gates_vjp(&self, _: usize, _: [f64; 3], _: &PlanBuffer, _: &PlanBuffer, _: &mut PlanBuffer) -> Result<()> {
        Ok(())
    }

    fn memory_start(&self, _: usize, _: usize, _: &PlanBuffer, state: &mut PlanBuffer) -> Result<()> {
        state.is(BufferKind::Memory);
        Ok(())
    }

    fn memory_start_vjp(&self, _: usize, _: usize, _: &PlanBuffer, _: &mut PlanBuffer) -> Result<()> {
        Ok(())
    }

    fn memory(&self, op: &MemoryOp, _: MemoryInputs<'_, Self>, outputs: MemoryOutputs<'_, Self>) -> Result<u64> {
        let MemoryOutputs { y, surprise, state, boundaries } = outputs;
        self.pass(&forward_space(op, surprise.is_some(), state.is_some(), self.threads)?)?;
        y.is(BufferKind::Memory);
        if let Some(state) = state {
            state.is(BufferKind::Memory);
        }
        if let Some(boundaries) = boundaries {
            boundaries.is(BufferKind::Boundaries);
        }
        Ok(0)
    }

    fn memory_vjp(
        &self,
        op: &MemoryOp,
        _: MemoryInputs<'_, Self>,
        _: &PlanBuffer,
        _: Option<&PlanBuffer>,
        _: Option<&PlanBuffer>,
        _: MemoryGradients<'_, Self>,
    ) -> Result<()> {
        self.pass(&backward_space(op, self.threads)?)
    }

    fn embedding(&self, _: usize, _: &(), _: &PlanBuffer, y: &mut PlanBuffer) -> Result<()> {
        y.is(BufferKind::Linear);
        Ok(())
    }

    fn embedding_vjp(&self, _: usize, _: &(), _: &PlanBuffer, _: &mut PlanBuffer) -> Result<()> {
        Ok(())
    }

    fn cross_entropy(&self, _: usize, _: &PlanBuffer, _: &(), _: &mut PlanBuffer) -> Result<()> {
        Ok(())
    }

    fn cross_entropy_vjp(&self, _: usize, _: &PlanBuffer, _: &(), _: f64, _: &mut PlanBuffer) -> Result<()> {
        let mut count = lock(&self.count);
        count.kept = count.live;
        Ok(())
    }

    fn squared_error(&self, _: usize, _: &PlanBuffer, _: &PlanBuffer, _: &mut PlanBuffer) -> Result<()> {
        Ok(())
    }

    fn squared_error_vjp(&self, _: usize, _: &PlanBuffer, _: &PlanBuffer, _: f64, _: &mut PlanBuffer) -> Result<()> {
        let mut count = lock(&self.count);
        count.kept = count.live;
        Ok(())
    }

    fn sum_squares(&self, _: &PlanBuffer, _: &mut PlanBuffer) -> Result<()> {
        Ok(())
    }

    fn sum(&self, _: &PlanBuffer, _: &mut PlanBuffer) -> Result<()> {
        Ok(())
    }

    fn adamw(
        &self,
        _: &AdamW,
        _: &PlanBuffer,
        _: &mut PlanBuffer,
        _: &mut PlanBuffer,
        _: &mut PlanBuffer,
    ) -> Result<()> {
        Ok(())
    }
}
