//! [`Device`] for [`Cpu`]: every operation to its file.

use super::{Buffer, Cpu, Indices, Simd, SimdScalar, memory};
use crate::device::memory::ask_by_memory_vjp;
use crate::device::repeat::no_repeat;
use crate::device::rows::given;
use crate::device::segments::no_walk;
use crate::device::{
    ConvGradients, Device, InputGradient, LinearGradients, MemoryOp, MemoryUse, Operation, SegmentsOp,
};
use crate::error::Result;
use titans_kernel::ops;

impl<T: SimdScalar> Device for Cpu<T> {
    type Elem = T;
    type Buffer = Buffer<T>;
    type Indices = Indices;
    type RecordedSteps = ();

    fn describe(&self) -> String {
        let (n, isa) = (self.threads(), self.instruction_set());
        format!("cpu: {n} thread{}, {isa}", if n == 1 { "" } else { "s" })
    }

    fn arithmetic(&self) -> Simd {
        self.gemm
    }

    fn memory_use(&self) -> Option<MemoryUse> {
        None
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

    fn asks_state(&self, _op: &MemoryOp) -> bool {
        false
    }

    fn walks_segments(&self, _op: &SegmentsOp) -> bool {
        false
    }

    fn run(&self, operation: Operation<'_, Buffer<T>, Indices>) -> Result<u64> {
        use Operation as Op;
        match operation {
            Op::Memory { op, inputs, outputs } => return self.memory_forward(op, &inputs, outputs),
            Op::MemoryVjp { op, inputs, boundaries, d_y, d_final, gradients } => {
                self.memory_backward(op, &inputs, boundaries, d_y, d_final, gradients)
            }
            Op::AskVjp { op, inputs, boundaries, d_y, d_q, d_state } => {
                ask_by_memory_vjp(self, op, inputs, boundaries, d_y, d_q, d_state)
            }
            Op::Segments { .. } | Op::SegmentsVjp { .. } => Err(no_walk(&self.describe())),
            Op::MemoryStart { batch, heads, w0, state } => memory::start(batch, heads, w0, state),
            Op::MemoryStartVjp { batch, heads, d_state, d_w0 } => memory::start_vjp(batch, heads, d_state, d_w0),
            Op::Gates { heads, scale, x, y } => self.gates_forward(heads, scale, x, y),
            Op::GatesVjp { heads, scale, y, d_y, d_x } => self.gates_backward(heads, scale, y, d_y, d_x),

            Op::Copy { x, y } => self.copy_to(x, y),
            Op::Fill { value, x } => self.fill_with(T::from_f64(value), x),
            Op::Add { a, b, y } => self.add_to(a, b, y),
            Op::AddScaled { scale, x, y } => self.add_scaled_to(T::from_f64(scale), x, y),
            Op::Silu { x, y } => self.map_forward(x, y, ops::silu::forward),
            Op::SiluVjp { x, d_y, d_x } => self.map_backward(x, d_y, d_x, ops::silu::vjp),
            Op::SiluGate { a, g, y } => self.gate_forward(a, g, y, ops::silu_gate::forward),
            Op::SiluGateVjp { a, g, d_y, d_a, d_g } => self.gate_backward(a, g, d_y, d_a, d_g, ops::silu_gate::vjp),
            Op::SigmoidGate { a, g, y } => self.gate_forward(a, g, y, ops::sigmoid_gate::forward),
            Op::SigmoidGateVjp { a, g, d_y, d_a, d_g } => {
                self.gate_backward(a, g, d_y, d_a, d_g, ops::sigmoid_gate::vjp)
            }
            Op::Dropout { mask, x, y } => self.drop_some(mask, x, y),
            Op::MoveRows { op, x, y } => self.rows_moved(op, x, y),
            Op::Split { cut, first, x, parts } => {
                given(first, parts).try_for_each(|(i, part)| self.rows_moved(&cut.part(i), x, part))
            }
            Op::Join { cut, first, parts, y } => {
                given(first, parts).try_for_each(|(i, part)| self.rows_moved(&cut.placed(i), part, y))
            }

            Op::Linear { dims, x, w, bias, y } => self.linear_forward(&dims, x, w, slice(bias), y),
            Op::LinearVjp { dims, x, w, d_y, gradients: LinearGradients { d_x, d_w, d_bias } } => {
                let d_x = d_x.map(|d_x| match d_x {
                    InputGradient::Set(d_x) => InputGradient::Set(d_x.as_mut_slice()),
                    InputGradient::Add(d_x) => InputGradient::Add(d_x.as_mut_slice()),
                });
                let (d_w, d_bias) = (d_w.as_mut_slice(), d_bias.map(Buffer::as_mut_slice));
                self.linear_backward(&dims, x, w, d_y, LinearGradients { d_x, d_w, d_bias })
            }
            Op::RmsNorm { width, x, weight, y } => self.rms_norm_forward(width, x, weight, y),
            Op::RmsNormVjp { width, x, weight, d_y, d_x, d_weight } => {
                self.rms_norm_backward(width, x, weight, d_y, d_x, d_weight)
            }
            Op::L2Norm { width, x, y } => self.l2_norm_forward(width, x, y),
            Op::L2NormVjp { width, x, d_y, d_x } => self.l2_norm_backward(width, x, d_y, d_x),

            Op::Conv { dims, x, tail, w, bias, y } => self.conv_forward(&dims, x, slice(tail), w, bias, y),
            Op::ConvVjp { dims, x, tail, w, d_y, gradients: ConvGradients { d_x, d_w, d_bias, d_tail } } => {
                let (d_x, d_w, d_bias) = (d_x.as_mut_slice(), d_w.as_mut_slice(), d_bias.as_mut_slice());
                let d_tail = d_tail.map(Buffer::as_mut_slice);
                self.conv_backward(&dims, x, slice(tail), w, d_y, ConvGradients { d_x, d_w, d_bias, d_tail })
            }
            Op::ConvTail { dims, x, tail, next } => self.conv_next_tail(&dims, x, slice(tail), next),
            Op::Attention { op, inputs, y, log_sum } => {
                self.attention_forward(op, &inputs, y, log_sum.map(Buffer::as_mut_slice))
            }
            Op::AttentionVjp { op, inputs, y, log_sum, d_y, gradients } => {
                self.attention_backward(op, &inputs, y, log_sum, d_y, gradients)
            }

            Op::Embedding { width, ids, table, y } => self.embedding_forward(width, &ids.0, table, y),
            Op::EmbeddingVjp { width, ids, d_y, d_table } => self.embedding_backward(width, &ids.0, d_y, d_table),
            Op::Pool { time, width, lengths, x, y } => self.pool_forward(time, width, &lengths.0, x, y),
            Op::PoolVjp { time, width, lengths, d_y, d_x } => self.pool_backward(time, width, &lengths.0, d_y, d_x),
            Op::CrossEntropy { classes, logits, targets, losses } => {
                self.cross_entropy_forward(classes, logits, &targets.0, losses)
            }
            Op::CrossEntropyVjp { classes, logits, targets, scale, d_logits } => {
                self.cross_entropy_backward(classes, logits, &targets.0, scale, d_logits)
            }
            Op::SquaredError { width, x, target, losses } => self.squared_error_forward(width, x, target, losses),
            Op::SquaredErrorVjp { width, x, target, scale, d_x } => {
                self.squared_error_backward(width, x, target, scale, d_x)
            }

            Op::SumSquares { x, total } => self.add_sum(true, x, total),
            Op::Sum { x, total } => self.add_sum(false, x, total),
            Op::AdamW { step, gradient, parameter, moment1, moment2 } => {
                self.adamw_step(step, gradient, parameter, moment1, moment2)
            }
            Op::ClearAll { xs } => xs.iter_mut().try_for_each(|x| self.fill_with(T::ZERO, x)),
            Op::SumSquaresAll { xs, total } => xs.iter().try_for_each(|x| self.add_sum(true, x, total)),
            Op::AdamWClipped { .. } => Err(no_repeat(&self.describe())),
            Op::AdamWAll { updates } => {
                updates.each()?.try_for_each(|u| self.adamw_step(u.step, u.gradient, u.parameter, u.moment1, u.moment2))
            }
        }?;
        Ok(0)
    }
}

fn slice<T: SimdScalar>(buffer: Option<&Buffer<T>>) -> Option<&[T]> {
    buffer.map(Buffer::as_slice)
}
