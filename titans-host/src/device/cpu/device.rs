//! [`Device`] for [`Cpu`]: every operation to its file.

use super::{Buffer, Cpu, Indices, Simd, SimdScalar, memory};
use crate::device::{
    AdamW, AttentionGradients, AttentionInputs, AttentionOp, ConvDims, ConvGradients, Device, DropMask, InputGradient,
    LinearDims, LinearGradients, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs, MoveRows,
};
use crate::error::Result;
use titans_kernel::ops;

impl<T: SimdScalar> Device for Cpu<T> {
    type Elem = T;
    type Buffer = Buffer<T>;
    type Indices = Indices;

    fn describe(&self) -> String {
        let (n, isa) = (self.threads(), self.instruction_set());
        format!("cpu: {n} thread{}, {isa}", if n == 1 { "" } else { "s" })
    }

    fn arithmetic(&self) -> Simd {
        self.gemm
    }

    fn alloc(&self, len: usize) -> Result<Buffer<T>> {
        self.take(len)
    }

    fn zeros(&self, len: usize) -> Result<Buffer<T>> {
        let mut buffer = self.take(len)?;
        self.fill_with(T::ZERO, buffer.as_mut_slice())?;
        Ok(buffer)
    }

    fn len(&self, x: &Buffer<T>) -> usize {
        x.as_slice().len()
    }

    fn upload(&self, x: &[T]) -> Result<Buffer<T>> {
        let mut buffer = self.take(x.len())?;
        self.copy_to(x, buffer.as_mut_slice())?;
        Ok(buffer)
    }

    fn write(&self, x: &[T], out: &mut Buffer<T>) -> Result<()> {
        self.copy_to(x, out.as_mut_slice())
    }

    fn upload_indices(&self, x: &[u32]) -> Result<Indices> {
        Ok(Indices(x.to_vec()))
    }

    fn write_indices(&self, x: &[u32], out: &mut Indices) -> Result<()> {
        out.0.clear();
        out.0.extend_from_slice(x);
        Ok(())
    }

    fn download(&self, x: &Buffer<T>) -> Result<Vec<T>> {
        Ok(x.as_slice().to_vec())
    }

    fn read(&self, x: &Buffer<T>, out: &mut [T]) -> Result<()> {
        self.copy_to(x.as_slice(), out)
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }

    fn copy(&self, x: &Buffer<T>, y: &mut Buffer<T>) -> Result<()> {
        self.copy_to(x.as_slice(), y.as_mut_slice())
    }

    fn fill(&self, value: f64, x: &mut Buffer<T>) -> Result<()> {
        self.fill_with(T::from_f64(value), x.as_mut_slice())
    }

    fn add(&self, a: &Buffer<T>, b: &Buffer<T>, y: &mut Buffer<T>) -> Result<()> {
        self.add_to(a.as_slice(), b.as_slice(), y.as_mut_slice())
    }

    fn add_scaled(&self, scale: f64, x: &Buffer<T>, y: &mut Buffer<T>) -> Result<()> {
        self.add_scaled_to(T::from_f64(scale), x.as_slice(), y.as_mut_slice())
    }

    fn silu(&self, x: &Buffer<T>, y: &mut Buffer<T>) -> Result<()> {
        self.silu_forward(x.as_slice(), y.as_mut_slice())
    }

    fn silu_vjp(&self, x: &Buffer<T>, d_y: &Buffer<T>, d_x: &mut Buffer<T>) -> Result<()> {
        self.silu_backward(x.as_slice(), d_y.as_slice(), d_x.as_mut_slice())
    }

    fn silu_gate(&self, a: &Buffer<T>, g: &Buffer<T>, y: &mut Buffer<T>) -> Result<()> {
        self.gate_forward(a.as_slice(), g.as_slice(), y.as_mut_slice(), ops::silu_gate::forward)
    }

    fn silu_gate_vjp(
        &self,
        a: &Buffer<T>,
        g: &Buffer<T>,
        d_y: &Buffer<T>,
        d_a: &mut Buffer<T>,
        d_g: &mut Buffer<T>,
    ) -> Result<()> {
        self.gate_backward(
            a.as_slice(),
            g.as_slice(),
            d_y.as_slice(),
            d_a.as_mut_slice(),
            d_g.as_mut_slice(),
            ops::silu_gate::vjp,
        )
    }

    fn sigmoid_gate(&self, a: &Buffer<T>, g: &Buffer<T>, y: &mut Buffer<T>) -> Result<()> {
        self.gate_forward(a.as_slice(), g.as_slice(), y.as_mut_slice(), ops::sigmoid_gate::forward)
    }

    fn sigmoid_gate_vjp(
        &self,
        a: &Buffer<T>,
        g: &Buffer<T>,
        d_y: &Buffer<T>,
        d_a: &mut Buffer<T>,
        d_g: &mut Buffer<T>,
    ) -> Result<()> {
        self.gate_backward(
            a.as_slice(),
            g.as_slice(),
            d_y.as_slice(),
            d_a.as_mut_slice(),
            d_g.as_mut_slice(),
            ops::sigmoid_gate::vjp,
        )
    }

    fn dropout(&self, mask: &DropMask, x: &Buffer<T>, y: &mut Buffer<T>) -> Result<()> {
        self.drop_some(mask, x.as_slice(), y.as_mut_slice())
    }

    fn move_rows(&self, op: &MoveRows, x: &Buffer<T>, y: &mut Buffer<T>) -> Result<()> {
        self.rows_moved(op, x.as_slice(), y.as_mut_slice())
    }

    fn linear(
        &self,
        dims: LinearDims,
        x: &Buffer<T>,
        w: &Buffer<T>,
        bias: Option<&Buffer<T>>,
        y: &mut Buffer<T>,
    ) -> Result<()> {
        self.linear_forward(&dims, x.as_slice(), w.as_slice(), bias.map(Buffer::as_slice), y.as_mut_slice())
    }

    fn linear_vjp(
        &self,
        dims: LinearDims,
        x: &Buffer<T>,
        w: &Buffer<T>,
        d_y: &Buffer<T>,
        gradients: LinearGradients<'_, Buffer<T>>,
    ) -> Result<()> {
        let LinearGradients { d_x, d_w, d_bias } = gradients;
        let d_x = d_x.map(|d_x| match d_x {
            InputGradient::Set(d_x) => InputGradient::Set(d_x.as_mut_slice()),
            InputGradient::Add(d_x) => InputGradient::Add(d_x.as_mut_slice()),
        });
        let gradients = LinearGradients { d_x, d_w: d_w.as_mut_slice(), d_bias: d_bias.map(Buffer::as_mut_slice) };
        self.linear_backward(&dims, x.as_slice(), w.as_slice(), d_y.as_slice(), gradients)
    }

    fn rms_norm(&self, width: usize, x: &Buffer<T>, weight: &Buffer<T>, y: &mut Buffer<T>) -> Result<()> {
        self.rms_norm_forward(width, x.as_slice(), weight.as_slice(), y.as_mut_slice())
    }

    fn rms_norm_vjp(
        &self,
        width: usize,
        x: &Buffer<T>,
        weight: &Buffer<T>,
        d_y: &Buffer<T>,
        d_x: &mut Buffer<T>,
        d_weight: &mut Buffer<T>,
    ) -> Result<()> {
        let (x, weight, d_y) = (x.as_slice(), weight.as_slice(), d_y.as_slice());
        self.rms_norm_backward(width, x, weight, d_y, d_x.as_mut_slice(), d_weight.as_mut_slice())
    }

    fn l2_norm(&self, width: usize, x: &Buffer<T>, y: &mut Buffer<T>) -> Result<()> {
        self.l2_norm_forward(width, x.as_slice(), y.as_mut_slice())
    }

    fn l2_norm_vjp(&self, width: usize, x: &Buffer<T>, d_y: &Buffer<T>, d_x: &mut Buffer<T>) -> Result<()> {
        self.l2_norm_backward(width, x.as_slice(), d_y.as_slice(), d_x.as_mut_slice())
    }

    fn conv(
        &self,
        dims: ConvDims,
        x: &Buffer<T>,
        tail: Option<&Buffer<T>>,
        w: &Buffer<T>,
        bias: &Buffer<T>,
        y: &mut Buffer<T>,
    ) -> Result<()> {
        let tail = tail.map(Buffer::as_slice);
        self.conv_forward(&dims, x.as_slice(), tail, w.as_slice(), bias.as_slice(), y.as_mut_slice())
    }

    fn conv_vjp(
        &self,
        dims: ConvDims,
        x: &Buffer<T>,
        tail: Option<&Buffer<T>>,
        w: &Buffer<T>,
        d_y: &Buffer<T>,
        gradients: ConvGradients<'_, Buffer<T>>,
    ) -> Result<()> {
        let ConvGradients { d_x, d_w, d_bias } = gradients;
        let (x, tail, w, d_y) = (x.as_slice(), tail.map(Buffer::as_slice), w.as_slice(), d_y.as_slice());
        let (d_x, d_w, d_bias) = (d_x.as_mut_slice(), d_w.as_mut_slice(), d_bias.as_mut_slice());
        self.conv_backward(&dims, x, tail, w, d_y, ConvGradients { d_x, d_w, d_bias })
    }

    fn conv_tail(&self, dims: ConvDims, x: &Buffer<T>, tail: Option<&Buffer<T>>, next: &mut Buffer<T>) -> Result<()> {
        self.conv_next_tail(&dims, x.as_slice(), tail.map(Buffer::as_slice), next.as_mut_slice())
    }

    fn attention(
        &self,
        op: &AttentionOp,
        inputs: AttentionInputs<'_, Self>,
        y: &mut Buffer<T>,
        log_sum: Option<&mut Buffer<T>>,
    ) -> Result<()> {
        self.attention_forward(op, &inputs, y.as_mut_slice(), log_sum.map(Buffer::as_mut_slice))
    }

    fn attention_vjp(
        &self,
        op: &AttentionOp,
        inputs: AttentionInputs<'_, Self>,
        y: &Buffer<T>,
        log_sum: &Buffer<T>,
        d_y: &Buffer<T>,
        gradients: AttentionGradients<'_, Self>,
    ) -> Result<()> {
        self.attention_backward(op, &inputs, y.as_slice(), log_sum.as_slice(), d_y.as_slice(), gradients)
    }

    fn gates(&self, heads: usize, scale: [f64; 3], x: &Buffer<T>, y: &mut Buffer<T>) -> Result<()> {
        self.gates_forward(heads, scale, x.as_slice(), y.as_mut_slice())
    }

    fn gates_vjp(
        &self,
        heads: usize,
        scale: [f64; 3],
        y: &Buffer<T>,
        d_y: &Buffer<T>,
        d_x: &mut Buffer<T>,
    ) -> Result<()> {
        self.gates_backward(heads, scale, y.as_slice(), d_y.as_slice(), d_x.as_mut_slice())
    }

    fn memory_start(&self, batch: usize, heads: usize, w0: &Buffer<T>, state: &mut Buffer<T>) -> Result<()> {
        memory::start(batch, heads, w0.as_slice(), state.as_mut_slice())
    }

    fn memory_start_vjp(&self, batch: usize, heads: usize, d_state: &Buffer<T>, d_w0: &mut Buffer<T>) -> Result<()> {
        memory::start_vjp(batch, heads, d_state.as_slice(), d_w0.as_mut_slice())
    }

    fn memory(&self, op: &MemoryOp, inputs: MemoryInputs<'_, Self>, outputs: MemoryOutputs<'_, Self>) -> Result<u64> {
        self.memory_forward(op, &inputs, outputs)
    }

    fn memory_vjp(
        &self,
        op: &MemoryOp,
        inputs: MemoryInputs<'_, Self>,
        boundaries: &Buffer<T>,
        d_y: Option<&Buffer<T>>,
        d_final: Option<&Buffer<T>>,
        gradients: MemoryGradients<'_, Self>,
    ) -> Result<()> {
        self.memory_backward(op, &inputs, boundaries, d_y, d_final, gradients)
    }

    fn embedding(&self, width: usize, ids: &Indices, table: &Buffer<T>, y: &mut Buffer<T>) -> Result<()> {
        self.embedding_forward(width, &ids.0, table.as_slice(), y.as_mut_slice())
    }

    fn embedding_vjp(&self, width: usize, ids: &Indices, d_y: &Buffer<T>, d_table: &mut Buffer<T>) -> Result<()> {
        self.embedding_backward(width, &ids.0, d_y.as_slice(), d_table.as_mut_slice())
    }

    fn cross_entropy(
        &self,
        classes: usize,
        logits: &Buffer<T>,
        targets: &Indices,
        losses: &mut Buffer<T>,
    ) -> Result<()> {
        self.cross_entropy_forward(classes, logits.as_slice(), &targets.0, losses.as_mut_slice())
    }

    fn cross_entropy_vjp(
        &self,
        classes: usize,
        logits: &Buffer<T>,
        targets: &Indices,
        scale: f64,
        d_logits: &mut Buffer<T>,
    ) -> Result<()> {
        self.cross_entropy_backward(classes, logits.as_slice(), &targets.0, scale, d_logits.as_mut_slice())
    }

    fn squared_error(&self, width: usize, x: &Buffer<T>, target: &Buffer<T>, losses: &mut Buffer<T>) -> Result<()> {
        self.squared_error_forward(width, x.as_slice(), target.as_slice(), losses.as_mut_slice())
    }

    fn squared_error_vjp(
        &self,
        width: usize,
        x: &Buffer<T>,
        target: &Buffer<T>,
        scale: f64,
        d_x: &mut Buffer<T>,
    ) -> Result<()> {
        self.squared_error_backward(width, x.as_slice(), target.as_slice(), scale, d_x.as_mut_slice())
    }

    fn sum_squares(&self, x: &Buffer<T>, total: &mut Buffer<T>) -> Result<()> {
        self.add_sum(true, x.as_slice(), total.as_mut_slice())
    }

    fn sum(&self, x: &Buffer<T>, total: &mut Buffer<T>) -> Result<()> {
        self.add_sum(false, x.as_slice(), total.as_mut_slice())
    }

    fn adamw(
        &self,
        step: &AdamW,
        gradient: &Buffer<T>,
        parameter: &mut Buffer<T>,
        moment1: &mut Buffer<T>,
        moment2: &mut Buffer<T>,
    ) -> Result<()> {
        let (p, m, v) = (parameter.as_mut_slice(), moment1.as_mut_slice(), moment2.as_mut_slice());
        self.adamw_step(step, gradient.as_slice(), p, m, v)
    }
}
