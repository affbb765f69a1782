//! [`Device`] for [`Cuda`]: lengths are checked, then kernels and products are enqueued.

use super::buffer::{DeviceBuffer, bytes_of};
use super::driver::Driver;
use super::ops::rows;
use super::product::args;
use super::{Cuda, DeviceIndices};
use crate::device::{
    AdamW, AttentionGradients, AttentionInputs, AttentionOp, ConvDims, ConvGradients, Device, DropMask, IGNORE,
    LinearDims, LinearGradients, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs, MoveRows,
};
use crate::error::Result;
use titans_kernel::error::expect_len;

impl<R: Driver> Device for Cuda<R> {
    type Elem = f32;
    type Buffer = DeviceBuffer<R>;
    type Indices = DeviceIndices<R>;

    fn describe(&self) -> String {
        self.driver.describe()
    }

    fn alloc(&self, len: usize) -> Result<Self::Buffer> {
        DeviceBuffer::alloc(&self.driver, len)
    }

    fn zeros(&self, len: usize) -> Result<Self::Buffer> {
        DeviceBuffer::zeros(&self.driver, len)
    }

    fn len(&self, x: &Self::Buffer) -> usize {
        x.len()
    }

    fn upload(&self, x: &[f32]) -> Result<Self::Buffer> {
        DeviceBuffer::upload(&self.driver, &bytes_of(x))
    }

    fn write(&self, x: &[f32], out: &mut Self::Buffer) -> Result<()> {
        expect_len("buffer", x.len(), out.len())?;
        out.write(&bytes_of(x))
    }

    fn upload_indices(&self, x: &[u32]) -> Result<Self::Indices> {
        Ok(DeviceIndices {
            buffer: DeviceBuffer::upload(&self.driver, &bytes_of(x))?,
            largest: x.iter().copied().max(),
            largest_target: x.iter().copied().filter(|&x| x != IGNORE).max(),
        })
    }

    fn write_indices(&self, x: &[u32], out: &mut Self::Indices) -> Result<()> {
        *out = self.upload_indices(x)?;
        Ok(())
    }

    fn download(&self, x: &Self::Buffer) -> Result<Vec<f32>> {
        let bytes = x.bytes()?;
        Ok(bytes.chunks_exact(4).map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    fn read(&self, x: &Self::Buffer, out: &mut [f32]) -> Result<()> {
        expect_len("out", x.len(), out.len())?;
        for (out, b) in out.iter_mut().zip(x.bytes()?.chunks_exact(4)) {
            *out = f32::from_ne_bytes([b[0], b[1], b[2], b[3]]);
        }
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        self.driver.synchronize()
    }

    fn copy(&self, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        expect_len("y", x.len(), y.len())?;
        y.copy_from(x)
    }

    fn fill(&self, value: f64, x: &mut Self::Buffer) -> Result<()> {
        self.run("fill", x.len(), args![value, x])
    }

    fn add(&self, a: &Self::Buffer, b: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        expect_len("b", a.len(), b.len())?;
        expect_len("y", a.len(), y.len())?;
        self.run("add", y.len(), args![a, b, y])
    }

    fn add_scaled(&self, scale: f64, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        expect_len("y", x.len(), y.len())?;
        self.run("add_scaled", y.len(), args![scale, x, y])
    }

    fn silu(&self, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        expect_len("y", x.len(), y.len())?;
        self.run("silu_forward", y.len(), args![x, y])
    }

    fn silu_vjp(&self, x: &Self::Buffer, d_y: &Self::Buffer, d_x: &mut Self::Buffer) -> Result<()> {
        expect_len("d_y", x.len(), d_y.len())?;
        expect_len("d_x", x.len(), d_x.len())?;
        self.run("silu_vjp", x.len(), args![x, d_y, d_x])
    }

    fn silu_gate(&self, a: &Self::Buffer, g: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        expect_len("gate", a.len(), g.len())?;
        expect_len("y", a.len(), y.len())?;
        self.run("silu_gate_forward", y.len(), args![a, g, y])
    }

    fn silu_gate_vjp(
        &self,
        a: &Self::Buffer,
        g: &Self::Buffer,
        d_y: &Self::Buffer,
        d_a: &mut Self::Buffer,
        d_g: &mut Self::Buffer,
    ) -> Result<()> {
        self.gate_backward("silu_gate_vjp", a, g, d_y, d_a, d_g)
    }

    fn sigmoid_gate(&self, a: &Self::Buffer, g: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        expect_len("gate", a.len(), g.len())?;
        expect_len("y", a.len(), y.len())?;
        self.run("sigmoid_gate_forward", y.len(), args![a, g, y])
    }

    fn sigmoid_gate_vjp(
        &self,
        a: &Self::Buffer,
        g: &Self::Buffer,
        d_y: &Self::Buffer,
        d_a: &mut Self::Buffer,
        d_g: &mut Self::Buffer,
    ) -> Result<()> {
        self.gate_backward("sigmoid_gate_vjp", a, g, d_y, d_a, d_g)
    }

    fn dropout(&self, mask: &DropMask, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        self.drop_some(mask, x, y)
    }

    fn move_rows(&self, op: &MoveRows, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        self.rows_moved(op, x, y)
    }

    fn linear(
        &self,
        dims: LinearDims,
        x: &Self::Buffer,
        w: &Self::Buffer,
        bias: Option<&Self::Buffer>,
        y: &mut Self::Buffer,
    ) -> Result<()> {
        self.linear_forward(dims, x, w, bias, y)
    }

    fn linear_vjp(
        &self,
        dims: LinearDims,
        x: &Self::Buffer,
        w: &Self::Buffer,
        d_y: &Self::Buffer,
        gradients: LinearGradients<'_, Self::Buffer>,
    ) -> Result<()> {
        self.linear_backward(dims, x, w, d_y, gradients)
    }

    fn rms_norm(&self, width: usize, x: &Self::Buffer, weight: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        self.norm(width, x, Some(weight), y)
    }

    fn rms_norm_vjp(
        &self,
        width: usize,
        x: &Self::Buffer,
        weight: &Self::Buffer,
        d_y: &Self::Buffer,
        d_x: &mut Self::Buffer,
        d_weight: &mut Self::Buffer,
    ) -> Result<()> {
        self.norm_backward(width, x, Some(weight), d_y, d_x, Some(d_weight))
    }

    fn l2_norm(&self, width: usize, x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        self.norm(width, x, None, y)
    }

    fn l2_norm_vjp(&self, width: usize, x: &Self::Buffer, d_y: &Self::Buffer, d_x: &mut Self::Buffer) -> Result<()> {
        self.norm_backward(width, x, None, d_y, d_x, None)
    }

    fn conv(
        &self,
        dims: ConvDims,
        x: &Self::Buffer,
        tail: Option<&Self::Buffer>,
        w: &Self::Buffer,
        bias: &Self::Buffer,
        y: &mut Self::Buffer,
    ) -> Result<()> {
        self.conv_forward(dims, x, tail, w, bias, y)
    }

    fn conv_vjp(
        &self,
        dims: ConvDims,
        x: &Self::Buffer,
        tail: Option<&Self::Buffer>,
        w: &Self::Buffer,
        d_y: &Self::Buffer,
        gradients: ConvGradients<'_, Self::Buffer>,
    ) -> Result<()> {
        self.conv_backward(dims, x, tail, w, d_y, gradients)
    }

    fn conv_tail(
        &self,
        dims: ConvDims,
        x: &Self::Buffer,
        tail: Option<&Self::Buffer>,
        next: &mut Self::Buffer,
    ) -> Result<()> {
        self.conv_next_tail(dims, x, tail, next)
    }

    fn attention(
        &self,
        op: &AttentionOp,
        inputs: AttentionInputs<'_, Self>,
        y: &mut Self::Buffer,
        log_sum: Option<&mut Self::Buffer>,
    ) -> Result<()> {
        self.attention_forward(op, &inputs, y, log_sum)
    }

    fn attention_vjp(
        &self,
        op: &AttentionOp,
        inputs: AttentionInputs<'_, Self>,
        y: &Self::Buffer,
        log_sum: &Self::Buffer,
        d_y: &Self::Buffer,
        gradients: AttentionGradients<'_, Self>,
    ) -> Result<()> {
        self.attention_backward(op, &inputs, y, log_sum, d_y, gradients)
    }

    fn gates(&self, heads: usize, scale: [f64; 3], x: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        rows("gates in whole rows", 3 * heads, x.len())?;
        expect_len("y", x.len(), y.len())?;
        self.run("gates_forward", y.len(), args![heads, scale[0], scale[1], scale[2], x, y])
    }

    fn gates_vjp(
        &self,
        heads: usize,
        scale: [f64; 3],
        y: &Self::Buffer,
        d_y: &Self::Buffer,
        d_x: &mut Self::Buffer,
    ) -> Result<()> {
        rows("gates in whole rows", 3 * heads, y.len())?;
        expect_len("d_y", y.len(), d_y.len())?;
        expect_len("d_x", y.len(), d_x.len())?;
        self.run("gates_vjp", y.len(), args![heads, scale[0], scale[1], scale[2], y, d_y, d_x])
    }

    fn memory_start(&self, batch: usize, heads: usize, w0: &Self::Buffer, state: &mut Self::Buffer) -> Result<()> {
        rows("w0 in whole heads", heads, w0.len())?;
        expect_len("state", batch * 2 * w0.len(), state.len())?;
        self.run("memory_start", state.len(), args![heads, w0.len() / heads, w0, state])
    }

    fn memory_start_vjp(
        &self,
        batch: usize,
        heads: usize,
        d_state: &Self::Buffer,
        d_w0: &mut Self::Buffer,
    ) -> Result<()> {
        rows("d_w0 in whole heads", heads, d_w0.len())?;
        expect_len("d_state", batch * 2 * d_w0.len(), d_state.len())?;
        self.run("memory_start_vjp", d_w0.len(), args![batch, d_w0.len() / heads, d_state, d_w0])
    }

    fn memory(&self, op: &MemoryOp, inputs: MemoryInputs<'_, Self>, outputs: MemoryOutputs<'_, Self>) -> Result<u64> {
        self.memory_forward(op, inputs, outputs)
    }

    fn memory_vjp(
        &self,
        op: &MemoryOp,
        inputs: MemoryInputs<'_, Self>,
        boundaries: &Self::Buffer,
        d_y: Option<&Self::Buffer>,
        d_final: Option<&Self::Buffer>,
        gradients: MemoryGradients<'_, Self>,
    ) -> Result<()> {
        self.memory_backward(op, inputs, boundaries, d_y, d_final, gradients)
    }

    fn embedding(&self, width: usize, ids: &Self::Indices, table: &Self::Buffer, y: &mut Self::Buffer) -> Result<()> {
        let ids_len = Self::check_ids(ids, rows("table in whole rows", width, table.len())?)?;
        expect_len("y", ids_len * width, y.len())?;
        self.run("embedding_forward", y.len(), args![width, &ids.buffer, table, y])
    }

    fn embedding_vjp(
        &self,
        width: usize,
        ids: &Self::Indices,
        d_y: &Self::Buffer,
        d_table: &mut Self::Buffer,
    ) -> Result<()> {
        let ids_len = Self::check_ids(ids, rows("d_table in whole rows", width, d_table.len())?)?;
        expect_len("d_y", ids_len * width, d_y.len())?;
        self.run("embedding_vjp", d_table.len(), args![width, ids_len, &ids.buffer, d_y, d_table])
    }

    fn cross_entropy(
        &self,
        classes: usize,
        logits: &Self::Buffer,
        targets: &Self::Indices,
        losses: &mut Self::Buffer,
    ) -> Result<()> {
        let rows = Self::check_targets(classes, logits, targets)?;
        expect_len("losses", rows, losses.len())?;
        self.run("cross_entropy_forward", rows, args![classes, logits, &targets.buffer, losses])
    }

    fn cross_entropy_vjp(
        &self,
        classes: usize,
        logits: &Self::Buffer,
        targets: &Self::Indices,
        scale: f64,
        d_logits: &mut Self::Buffer,
    ) -> Result<()> {
        let rows = Self::check_targets(classes, logits, targets)?;
        expect_len("d_logits", logits.len(), d_logits.len())?;
        self.run("cross_entropy_vjp", rows, args![classes, scale, logits, &targets.buffer, d_logits])
    }

    fn squared_error(
        &self,
        width: usize,
        x: &Self::Buffer,
        target: &Self::Buffer,
        losses: &mut Self::Buffer,
    ) -> Result<()> {
        expect_len("x", losses.len().saturating_mul(width), x.len())?;
        expect_len("target", x.len(), target.len())?;
        self.run("squared_error_forward", losses.len(), args![width, x, target, losses])
    }

    fn squared_error_vjp(
        &self,
        width: usize,
        x: &Self::Buffer,
        target: &Self::Buffer,
        scale: f64,
        d_x: &mut Self::Buffer,
    ) -> Result<()> {
        rows("x in whole rows", width, x.len())?;
        expect_len("target", x.len(), target.len())?;
        expect_len("d_x", x.len(), d_x.len())?;
        self.run("squared_error_vjp", x.len(), args![width, scale, x, target, d_x])
    }

    fn sum_squares(&self, x: &Self::Buffer, total: &mut Self::Buffer) -> Result<()> {
        self.add_sum(true, x, total)
    }

    fn sum(&self, x: &Self::Buffer, total: &mut Self::Buffer) -> Result<()> {
        self.add_sum(false, x, total)
    }

    fn adamw(
        &self,
        step: &AdamW,
        gradient: &Self::Buffer,
        parameter: &mut Self::Buffer,
        moment1: &mut Self::Buffer,
        moment2: &mut Self::Buffer,
    ) -> Result<()> {
        self.adamw_step(step, gradient, parameter, moment1, moment2)
    }
}
