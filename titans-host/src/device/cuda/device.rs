//! [`Device`] for [`Cuda`]: lengths are checked, then kernels and products are enqueued.

use super::buffer::{DeviceBuffer, bytes_of};
use super::driver::{Arg, Driver};
use super::indices::Sent;
use super::memory::{only_asks, walks};
use super::ops::rows;
use super::product::args;
use super::{Cuda, DeviceIndices, RecordedSteps};
use crate::device::memory::ask_by_memory_vjp;
use crate::device::{Device, MemoryOp, MemoryUse, Operation, PoolUsage, RepeatedStep, SegmentsOp};
use crate::error::Result;
use titans_kernel::Result as KernelResult;
use titans_kernel::arch::Simd;
use titans_kernel::error::expect_len;

impl<R: Driver> Device for Cuda<R> {
    type Elem = f32;
    type Buffer = DeviceBuffer<R>;
    type Indices = DeviceIndices<R>;
    type RecordedSteps = RecordedSteps<R>;

    fn describe(&self) -> String {
        self.driver.describe()
    }

    fn arithmetic(&self) -> Simd {
        Simd::best()
    }

    fn memory_use(&self) -> Option<MemoryUse> {
        let PoolUsage { live_bytes, held_bytes, .. } = self.pool_usage();
        // What is idle goes back before there is no room.
        let idle = held_bytes.saturating_sub(live_bytes) as u64;
        self.driver.memory().map(|memory| MemoryUse { free: memory.free.saturating_add(idle), ..memory })
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
        DeviceIndices::upload(&self.driver, x)
    }

    fn write_indices(&self, x: &[u32], out: &mut Self::Indices) -> Result<()> {
        let sent = if self.graph { Sent::Later } else { Sent::Now };
        out.replace(&self.driver, x, sent)
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

    fn asks_state(&self, op: &MemoryOp) -> bool {
        only_asks(op)
    }

    fn walks_segments(&self, op: &SegmentsOp) -> bool {
        walks(op)
    }

    fn run(&self, operation: Operation<'_, DeviceBuffer<R>, DeviceIndices<R>>) -> Result<u64> {
        use Operation as Op;
        match operation {
            Op::Memory { op, inputs, outputs } => return self.memory_forward(op, inputs, outputs),
            Op::MemoryVjp { op, inputs, boundaries, d_y, d_final, gradients } => {
                self.memory_backward(op, inputs, boundaries, d_y, d_final, gradients)
            }
            Op::AskVjp { op, inputs, d_y, d_q, d_state, .. } if only_asks(op) => {
                self.ask_state_vjp(op, &inputs, d_y, d_q, d_state)
            }
            Op::AskVjp { op, inputs, boundaries, d_y, d_q, d_state } => {
                ask_by_memory_vjp(self, op, inputs, boundaries, d_y, d_q, d_state)
            }
            Op::Segments { op, inputs, weights, made, boundaries } => {
                let made = made.try_map(|x| Ok(&*x))?;
                self.segments_forward(op, inputs, weights, made, boundaries.map(|x| &*x))
            }
            Op::SegmentsVjp { op, inputs, weights, made, boundaries, gradients } => {
                self.segments_backward(op, inputs, weights, (made, boundaries), gradients)
            }
            Op::MemoryStart { batch, heads, w0, state } => {
                rows("w0 in whole heads", heads, w0.len())?;
                expect_len("state", batch * 2 * w0.len(), state.len())?;
                self.launch("memory_start", state.len(), args![heads, w0.len() / heads, w0, state])
            }
            Op::MemoryStartVjp { batch, heads, d_state, d_w0 } => {
                rows("d_w0 in whole heads", heads, d_w0.len())?;
                expect_len("d_state", batch * 2 * d_w0.len(), d_state.len())?;
                self.launch("memory_start_vjp", d_w0.len(), args![batch, d_w0.len() / heads, d_state, d_w0])
            }
            Op::Gates { heads, scale: [alpha, theta, eta], x, y } => {
                rows("gates in whole rows", 3 * heads, x.len())?;
                expect_len("y", x.len(), y.len())?;
                self.launch("gates_forward", y.len(), args![heads, alpha, theta, eta, x, y])
            }
            Op::GatesVjp { heads, scale: [alpha, theta, eta], y, d_y, d_x } => {
                rows("gates in whole rows", 3 * heads, y.len())?;
                expect_lens(y.len(), [("d_y", d_y.len()), ("d_x", d_x.len())])?;
                self.launch("gates_vjp", y.len(), args![heads, alpha, theta, eta, y, d_y, d_x])
            }

            Op::Copy { x, y } => {
                expect_len("y", x.len(), y.len())?;
                y.copy_from(x)
            }
            Op::Fill { value, x } => self.launch("fill", x.len(), args![value, x]),
            Op::Add { a, b, y } => {
                expect_lens(a.len(), [("b", b.len()), ("y", y.len())])?;
                self.launch("add", y.len(), args![a, b, y])
            }
            Op::AddScaled { scale, x, y } => {
                expect_len("y", x.len(), y.len())?;
                self.launch("add_scaled", y.len(), args![scale, x, y])
            }
            Op::Silu { x, y } => {
                expect_len("y", x.len(), y.len())?;
                self.launch("silu_forward", y.len(), args![x, y])
            }
            Op::SiluVjp { x, d_y, d_x } => {
                expect_lens(x.len(), [("d_y", d_y.len()), ("d_x", d_x.len())])?;
                self.launch("silu_vjp", x.len(), args![x, d_y, d_x])
            }
            Op::SiluGate { a, g, y } => {
                expect_lens(a.len(), [("gate", g.len()), ("y", y.len())])?;
                self.launch("silu_gate_forward", y.len(), args![a, g, y])
            }
            Op::SiluGateVjp { a, g, d_y, d_a, d_g } => self.gate_backward("silu_gate_vjp", a, g, d_y, d_a, d_g),
            Op::SigmoidGate { a, g, y } => {
                expect_lens(a.len(), [("gate", g.len()), ("y", y.len())])?;
                self.launch("sigmoid_gate_forward", y.len(), args![a, g, y])
            }
            Op::SigmoidGateVjp { a, g, d_y, d_a, d_g } => self.gate_backward("sigmoid_gate_vjp", a, g, d_y, d_a, d_g),
            Op::Dropout { mask, x, y } => self.drop_some(mask, x, y),
            Op::MoveRows { op, x, y } => self.rows_moved(op, x, y),
            Op::Split { cut, first, x, parts } => {
                self.parts_many("split_rows", cut, x, first, &parts.map(|part| part.map(|part| &*part)))
            }
            Op::Join { cut, first, parts, y } => self.parts_many("join_rows", cut, y, first, &parts),

            Op::Linear { dims, x, w, bias, y } => self.linear_forward(dims, x, w, bias, y),
            Op::LinearVjp { dims, x, w, d_y, gradients } => self.linear_backward(dims, x, w, d_y, gradients),
            Op::RmsNorm { width, x, weight, y } => self.norm(width, x, Some(weight), y),
            Op::RmsNormVjp { width, x, weight, d_y, d_x, d_weight } => {
                self.norm_backward(width, x, Some(weight), d_y, d_x, Some(d_weight))
            }
            Op::L2Norm { width, x, y } => self.norm(width, x, None, y),
            Op::L2NormVjp { width, x, d_y, d_x } => self.norm_backward(width, x, None, d_y, d_x, None),

            Op::Conv { dims, x, tail, w, bias, y } => self.conv_forward(dims, x, tail, w, bias, y),
            Op::ConvVjp { dims, x, tail, w, d_y, gradients } => self.conv_backward(dims, x, tail, w, d_y, gradients),
            Op::ConvTail { dims, x, tail, next } => self.conv_next_tail(dims, x, tail, next),
            Op::Attention { op, inputs, y, log_sum } => self.attention_forward(op, &inputs, y, log_sum),
            Op::AttentionVjp { op, inputs, y, log_sum, d_y, gradients } => {
                self.attention_backward(op, &inputs, y, log_sum, d_y, gradients)
            }

            Op::Embedding { width, ids, table, y } => {
                let ids_len = self.check_ids(ids, rows("table in whole rows", width, table.len())?)?;
                expect_len("y", ids_len * width, y.len())?;
                self.launch("embedding_forward", y.len(), args![width, ids.values()?, table, y])
            }
            Op::EmbeddingVjp { width, ids, d_y, d_table } => {
                let ids_len = self.check_ids(ids, rows("d_table in whole rows", width, d_table.len())?)?;
                expect_len("d_y", ids_len * width, d_y.len())?;
                self.embedding_backward(width, ids, d_y, d_table)
            }
            Op::Pool { time, width, lengths, x, y } => {
                let count = self.check_lengths(lengths, time)?;
                expect_len("x", count.saturating_mul(time).saturating_mul(width), x.len())?;
                expect_len("y", count.saturating_mul(width), y.len())?;
                self.launch("pool_forward", y.len(), args![time, width, lengths.values()?, x, y])
            }
            Op::PoolVjp { time, width, lengths, d_y, d_x } => {
                let count = self.check_lengths(lengths, time)?;
                expect_len("d_x", count.saturating_mul(time).saturating_mul(width), d_x.len())?;
                expect_len("d_y", count.saturating_mul(width), d_y.len())?;
                self.launch("pool_vjp", d_x.len(), args![time, width, lengths.values()?, d_y, d_x])
            }
            Op::CrossEntropy { classes, logits, targets, losses } => {
                let rows = self.check_targets(classes, logits, targets)?;
                expect_len("losses", rows, losses.len())?;
                self.launch_rows("cross_entropy_forward", rows, args![classes, logits, targets.values()?, losses])
            }
            Op::CrossEntropyVjp { classes, logits, targets, scale, d_logits } => {
                let rows = self.check_targets(classes, logits, targets)?;
                expect_len("d_logits", logits.len(), d_logits.len())?;
                let (scale, place) = self.loss_scale(scale);
                let args = args![classes, scale, Arg::Address(place), logits, targets.values()?, d_logits];
                self.launch_rows("cross_entropy_vjp", rows, args)
            }
            Op::SquaredError { width, x, target, losses } => {
                expect_len("x", losses.len().saturating_mul(width), x.len())?;
                expect_len("target", x.len(), target.len())?;
                self.launch_rows("squared_error_forward", losses.len(), args![width, x, target, losses])
            }
            Op::SquaredErrorVjp { width, x, target, scale, d_x } => {
                rows("x in whole rows", width, x.len())?;
                expect_lens(x.len(), [("target", target.len()), ("d_x", d_x.len())])?;
                let (scale, place) = self.loss_scale(scale);
                self.launch("squared_error_vjp", x.len(), args![width, scale, Arg::Address(place), x, target, d_x])
            }

            Op::SumSquares { x, total } => self.add_sum(true, x, total),
            Op::Sum { x, total } => self.add_sum(false, x, total),
            Op::AdamW { step, gradient, parameter, moment1, moment2 } => {
                self.adamw_step(step, gradient, parameter, moment1, moment2)
            }
            Op::ClearAll { xs } => self.clear_many(xs),
            Op::SumSquaresAll { xs, total } => self.squares_many(xs, total),
            Op::AdamWClipped { by, updates } => self.adamw_scaled(by, &updates.each()?.collect::<Vec<_>>()),
            Op::AdamWAll { updates } => self.adamw_many(&updates.each()?.collect::<Vec<_>>(), None),
        }?;
        Ok(0)
    }

    fn repeats(&self) -> bool {
        self.graph
    }

    fn repeat(
        &self,
        kept: &mut RecordedSteps<R>,
        step: &RepeatedStep<'_, DeviceIndices<R>>,
        work: &mut dyn FnMut() -> Result<()>,
    ) -> Result<()> {
        self.replay_or_run(kept, step, work)
    }
}

/// Two operands that must be as long as a first one.
fn expect_lens(expected: usize, operands: [(&'static str, usize); 2]) -> KernelResult<()> {
    operands.into_iter().try_for_each(|(what, found)| expect_len(what, expected, found))
}
