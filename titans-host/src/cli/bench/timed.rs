//! A device that notes how long each kind of operation takes. Two looks at the clock an operation: nothing beside what
//! the operations of a model take. It needs a device whose operations have ended when their call returns.

use crate::device::{
    AdamW, AttentionGradients, AttentionInputs, AttentionOp, ConvDims, ConvGradients, Device, DropMask, LinearDims,
    LinearGradients, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs, MoveRows,
};
use crate::error::Result;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Kinds of operations, as the report names them.
pub const KINDS: [&str; 8] =
    ["linear", "attention", "memory", "convolution", "norms", "elementwise", "ends", "optimiser"];

const LINEAR: usize = 0;
const ATTENTION: usize = 1;
const MEMORY: usize = 2;
const CONVOLUTION: usize = 3;
const NORMS: usize = 4;
const ELEMENTWISE: usize = 5;
const ENDS: usize = 6;
const OPTIMISER: usize = 7;

/// `D` with a clock.
pub struct Timed<D> {
    device: D,
    nanoseconds: [AtomicU64; KINDS.len()],
}

impl<D: Device> Timed<D> {
    /// A clock around `device`.
    pub fn new(device: D) -> Self {
        Self { device, nanoseconds: Default::default() }
    }

    /// Seconds of each of [`KINDS`] since the last call.
    pub fn take_seconds(&self) -> [f64; KINDS.len()] {
        self.nanoseconds.each_ref().map(|n| 1e-9 * n.swap(0, Ordering::Relaxed) as f64)
    }

    fn time<R>(&self, kind: usize, work: impl FnOnce() -> R) -> R {
        let begin = Instant::now();
        let result = work();
        self.nanoseconds[kind].fetch_add(begin.elapsed().as_nanos() as u64, Ordering::Relaxed);
        result
    }
}

/// What the memory reads, lent to the device inside.
fn inside<D: Device>(inputs: MemoryInputs<'_, Timed<D>>) -> MemoryInputs<'_, D> {
    let MemoryInputs { k, v, q, gates, state, mask } = inputs;
    MemoryInputs { k, v, q, gates, state, mask }
}

/// The same of an attention.
fn attended<D: Device>(inputs: AttentionInputs<'_, Timed<D>>) -> AttentionInputs<'_, D> {
    let AttentionInputs { q, k, v, persistent, context } = inputs;
    AttentionInputs { q, k, v, persistent, context }
}

/// Methods that pass on what they are given, under the clock of their kind or none.
macro_rules! pass_on {
    ($($kind:tt $name:ident($($arg:ident: $t:ty),*) -> $out:ty;)+) => {
        $(fn $name(&self, $($arg: $t),*) -> $out {
            pass_on!(@ $kind, self, self.device.$name($($arg),*))
        })+
    };
    (@ _, $self:ident, $call:expr) => { $call };
    (@ $kind:ident, $self:ident, $call:expr) => { $self.time($kind, || $call) };
}

impl<D: Device> Device for Timed<D> {
    type Elem = D::Elem;
    type Buffer = D::Buffer;
    type Indices = D::Indices;

    pass_on! {
        _ describe() -> String;
        _ alloc(len: usize) -> Result<D::Buffer>;
        _ len(x: &D::Buffer) -> usize;
        _ upload(x: &[D::Elem]) -> Result<D::Buffer>;
        _ write(x: &[D::Elem], out: &mut D::Buffer) -> Result<()>;
        _ upload_indices(x: &[u32]) -> Result<D::Indices>;
        _ write_indices(x: &[u32], out: &mut D::Indices) -> Result<()>;
        _ download(x: &D::Buffer) -> Result<Vec<D::Elem>>;
        _ read(x: &D::Buffer, out: &mut [D::Elem]) -> Result<()>;
        _ synchronize() -> Result<()>;
        ELEMENTWISE zeros(len: usize) -> Result<D::Buffer>;
        ELEMENTWISE copy(x: &D::Buffer, y: &mut D::Buffer) -> Result<()>;
        ELEMENTWISE fill(value: f64, x: &mut D::Buffer) -> Result<()>;
        ELEMENTWISE add(a: &D::Buffer, b: &D::Buffer, y: &mut D::Buffer) -> Result<()>;
        ELEMENTWISE add_scaled(scale: f64, x: &D::Buffer, y: &mut D::Buffer) -> Result<()>;
        ELEMENTWISE silu(x: &D::Buffer, y: &mut D::Buffer) -> Result<()>;
        ELEMENTWISE silu_vjp(x: &D::Buffer, d_y: &D::Buffer, d_x: &mut D::Buffer) -> Result<()>;
        ELEMENTWISE silu_gate(a: &D::Buffer, g: &D::Buffer, y: &mut D::Buffer) -> Result<()>;
        ELEMENTWISE silu_gate_vjp(
            a: &D::Buffer, g: &D::Buffer, d_y: &D::Buffer, d_a: &mut D::Buffer, d_g: &mut D::Buffer
        ) -> Result<()>;
        ELEMENTWISE sigmoid_gate(a: &D::Buffer, g: &D::Buffer, y: &mut D::Buffer) -> Result<()>;
        ELEMENTWISE sigmoid_gate_vjp(
            a: &D::Buffer, g: &D::Buffer, d_y: &D::Buffer, d_a: &mut D::Buffer, d_g: &mut D::Buffer
        ) -> Result<()>;
        ELEMENTWISE dropout(mask: &DropMask, x: &D::Buffer, y: &mut D::Buffer) -> Result<()>;
        ELEMENTWISE move_rows(op: &MoveRows, x: &D::Buffer, y: &mut D::Buffer) -> Result<()>;
        LINEAR linear(
            dims: LinearDims, x: &D::Buffer, w: &D::Buffer, bias: Option<&D::Buffer>, y: &mut D::Buffer
        ) -> Result<()>;
        LINEAR linear_vjp(
            dims: LinearDims, x: &D::Buffer, w: &D::Buffer, d_y: &D::Buffer,
            gradients: LinearGradients<'_, D::Buffer>
        ) -> Result<()>;
        NORMS rms_norm(width: usize, x: &D::Buffer, weight: &D::Buffer, y: &mut D::Buffer) -> Result<()>;
        NORMS rms_norm_vjp(
            width: usize, x: &D::Buffer, weight: &D::Buffer, d_y: &D::Buffer, d_x: &mut D::Buffer,
            d_weight: &mut D::Buffer
        ) -> Result<()>;
        NORMS l2_norm(width: usize, x: &D::Buffer, y: &mut D::Buffer) -> Result<()>;
        NORMS l2_norm_vjp(width: usize, x: &D::Buffer, d_y: &D::Buffer, d_x: &mut D::Buffer) -> Result<()>;
        CONVOLUTION conv(
            dims: ConvDims, x: &D::Buffer, tail: Option<&D::Buffer>, w: &D::Buffer, bias: &D::Buffer, y: &mut D::Buffer
        ) -> Result<()>;
        CONVOLUTION conv_vjp(
            dims: ConvDims, x: &D::Buffer, tail: Option<&D::Buffer>, w: &D::Buffer, d_y: &D::Buffer,
            gradients: ConvGradients<'_, D::Buffer>
        ) -> Result<()>;
        CONVOLUTION conv_tail(
            dims: ConvDims, x: &D::Buffer, tail: Option<&D::Buffer>, next: &mut D::Buffer
        ) -> Result<()>;
        ELEMENTWISE gates(heads: usize, scale: [f64; 3], x: &D::Buffer, y: &mut D::Buffer) -> Result<()>;
        ELEMENTWISE gates_vjp(
            heads: usize, scale: [f64; 3], y: &D::Buffer, d_y: &D::Buffer, d_x: &mut D::Buffer
        ) -> Result<()>;
        MEMORY memory_start(batch: usize, heads: usize, w0: &D::Buffer, state: &mut D::Buffer) -> Result<()>;
        MEMORY memory_start_vjp(batch: usize, heads: usize, d_state: &D::Buffer, d_w0: &mut D::Buffer) -> Result<()>;
        ENDS embedding(width: usize, ids: &D::Indices, table: &D::Buffer, y: &mut D::Buffer) -> Result<()>;
        ENDS embedding_vjp(width: usize, ids: &D::Indices, d_y: &D::Buffer, d_table: &mut D::Buffer) -> Result<()>;
        ENDS cross_entropy(
            classes: usize, logits: &D::Buffer, targets: &D::Indices, losses: &mut D::Buffer
        ) -> Result<()>;
        ENDS cross_entropy_vjp(
            classes: usize, logits: &D::Buffer, targets: &D::Indices, scale: f64, d_logits: &mut D::Buffer
        ) -> Result<()>;
        ENDS squared_error(
            width: usize, x: &D::Buffer, target: &D::Buffer, losses: &mut D::Buffer
        ) -> Result<()>;
        ENDS squared_error_vjp(
            width: usize, x: &D::Buffer, target: &D::Buffer, scale: f64, d_x: &mut D::Buffer
        ) -> Result<()>;
        OPTIMISER sum_squares(x: &D::Buffer, total: &mut D::Buffer) -> Result<()>;
        ENDS sum(x: &D::Buffer, total: &mut D::Buffer) -> Result<()>;
        OPTIMISER adamw(
            step: &AdamW, gradient: &D::Buffer, parameter: &mut D::Buffer, moment1: &mut D::Buffer,
            moment2: &mut D::Buffer
        ) -> Result<()>;
    }

    fn attention(
        &self,
        op: &AttentionOp,
        inputs: AttentionInputs<'_, Self>,
        y: &mut D::Buffer,
        log_sum: Option<&mut D::Buffer>,
    ) -> Result<()> {
        self.time(ATTENTION, || self.device.attention(op, attended(inputs), y, log_sum))
    }

    fn attention_vjp(
        &self,
        op: &AttentionOp,
        inputs: AttentionInputs<'_, Self>,
        y: &D::Buffer,
        log_sum: &D::Buffer,
        d_y: &D::Buffer,
        gradients: AttentionGradients<'_, Self>,
    ) -> Result<()> {
        let AttentionGradients { d_q, d_k, d_v, d_persistent, d_context } = gradients;
        let gradients = AttentionGradients { d_q, d_k, d_v, d_persistent, d_context };
        self.time(ATTENTION, || self.device.attention_vjp(op, attended(inputs), y, log_sum, d_y, gradients))
    }

    fn memory(&self, op: &MemoryOp, inputs: MemoryInputs<'_, Self>, outputs: MemoryOutputs<'_, Self>) -> Result<u64> {
        let MemoryOutputs { y, surprise, state, boundaries } = outputs;
        let outputs = MemoryOutputs { y, surprise, state, boundaries };
        self.time(MEMORY, || self.device.memory(op, inside(inputs), outputs))
    }

    fn memory_vjp(
        &self,
        op: &MemoryOp,
        inputs: MemoryInputs<'_, Self>,
        boundaries: &D::Buffer,
        d_y: Option<&D::Buffer>,
        d_final: Option<&D::Buffer>,
        gradients: MemoryGradients<'_, Self>,
    ) -> Result<()> {
        let MemoryGradients { d_k, d_v, d_q, d_gates, d_state } = gradients;
        let gradients = MemoryGradients { d_k, d_v, d_q, d_gates, d_state };
        self.time(MEMORY, || self.device.memory_vjp(op, inside(inputs), boundaries, d_y, d_final, gradients))
    }
}

#[cfg(test)]
mod tests {
    use super::{KINDS, Timed};
    use crate::device::Device;
    use crate::device::cpu::Cpu;

    #[test]
    fn operations_pass_through_and_leave_their_time() {
        let timed = Timed::new(Cpu::<f64>::new(Some(1)).unwrap());
        let (x, mut y) = (timed.upload(&[3.0; 4096]).unwrap(), timed.zeros(4096).unwrap());
        timed.take_seconds();
        timed.rms_norm(64, &x, &timed.upload(&[1.0; 64]).unwrap(), &mut y).unwrap();
        assert!((timed.download(&y).unwrap()[4095] - 1.0).abs() < 1e-6);
        let seconds = timed.take_seconds();
        for (kind, seconds) in KINDS.iter().zip(seconds) {
            assert_eq!(seconds > 0.0, *kind == "norms", "{kind}");
        }
        assert_eq!(timed.take_seconds(), [0.0; KINDS.len()]);
    }
}
