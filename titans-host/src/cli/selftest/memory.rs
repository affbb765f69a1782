//! The memory operation in its forms, forward and backward.

use super::{Bench, Check, Outputs, error};
use crate::device::cpu::Cpu;
use crate::device::{Device, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
use crate::error::Result;
use titans_kernel::memory::{Activation, MemorySpec, Network, Read};

/// Rounding of f32 through a few chunks of learning.
const ALLOWED: f64 = 2e-4;

/// Name, widths, network, activation, read, whether in the token form.
type Case = (&'static str, &'static [usize], Network, Activation, Read, bool);

/// Networks, reads and forms.
pub fn checks<D: Device>(device: &D, reference: &Cpu<f64>) -> Vec<Check> {
    let cases: [Case; 6] = [
        ("memory, 1 layer, after", &[24, 24], Network::Plain, Activation::Silu, Read::After, false),
        ("memory, 1 layer, token form", &[24, 20], Network::Plain, Activation::Silu, Read::Before, true),
        ("memory, 2 layers, before", &[16, 40, 16], Network::Residual, Activation::Silu, Read::Before, false),
        ("memory, 2 layers, token form", &[16, 24, 16], Network::Residual, Activation::Gelu, Read::After, true),
        (
            "memory, 3 layers, chunk-start",
            &[9, 17, 5, 11],
            Network::Plain,
            Activation::GeluTanh,
            Read::ChunkStart,
            false,
        ),
        ("memory, 4 layers, after", &[8, 12, 12, 12, 8], Network::Plain, Activation::Relu, Read::After, false),
    ];
    let check = |(name, widths, network, activation, read, token_form): Case| {
        let both = || {
            let mut spec = MemorySpec::new(widths)?;
            (spec.network, spec.activation, spec.chunk) = (network, activation, 8);
            let op = MemoryOp { spec, batch: 2, time: 29, heads: 3, read, read_only: false, token_form };
            Ok(error(&case(&mut Bench::new(reference), &op)?, &case(&mut Bench::new(device), &op)?))
        };
        Check::new(name, ALLOWED, both())
    };
    cases.into_iter().map(check).collect()
}

/// Start, forward with all outputs, backward of the chunk form, with and without a mask.
fn case<D: Device>(b: &mut Bench<'_, D>, op: &MemoryOp) -> Result<Outputs> {
    let (rows, spec) = (op.batch * op.time * op.heads, &op.spec);
    let [d_k, d_v] = [spec.key_width(), spec.value_width()];
    let unit = 1.0 / (d_k as f64).sqrt();
    let [k, q] = [b.numbers(rows * d_k, -unit, unit), b.numbers(rows * d_k, -unit, unit)];
    let (k, v, q) = (b.put(&k)?, b.random(rows * d_v)?, b.put(&q)?);
    let mut gates = b.numbers(3 * rows, 0.0, 0.1);
    gates.iter_mut().enumerate().filter(|(i, _)| i / op.heads % 3 == 2).for_each(|(_, eta)| *eta *= 8.0);
    let gates = b.put(&gates)?;
    let w0 = b.numbers(op.heads * spec.params(), -0.4, 0.4);
    let w0 = b.put(&w0)?;
    let mut state = b.poison(op.state_len())?;
    b.device.memory_start(op.batch, op.heads, &w0, &mut state)?;
    let mask: Vec<u32> = (0..op.batch * op.time).map(|i| u32::from(i % 7 == 3)).collect();
    let mask = b.device.upload_indices(&mask)?;
    let inputs = || MemoryInputs { k: &k, v: &v, q: &q, gates: &gates, state: &state, mask: Some(&mask) };
    let (mut y, mut surprise) = (b.poison(rows * d_v)?, b.poison(rows)?);
    let (mut last, mut boundaries) = (b.poison(op.state_len())?, b.poison(op.boundaries_len())?);
    let outputs = MemoryOutputs {
        y: &mut y,
        surprise: Some(&mut surprise),
        state: Some(&mut last),
        boundaries: Some(&mut boundaries),
    };
    b.device.memory(op, inputs(), outputs)?;
    let (c_y, c_last) = (b.random(rows * d_v)?, b.random(op.state_len())?);
    let [mut d_k, mut d_v, mut d_q] = [b.poison(rows * d_k)?, b.poison(rows * d_v)?, b.poison(rows * d_k)?];
    let (mut d_gates, mut d_state) = (b.poison(3 * rows)?, b.poison(op.state_len())?);
    let gradients =
        MemoryGradients { d_k: &mut d_k, d_v: &mut d_v, d_q: &mut d_q, d_gates: &mut d_gates, d_state: &mut d_state };
    let chunked = MemoryOp { token_form: false, ..op.clone() };
    b.device.memory_vjp(&chunked, inputs(), &boundaries, Some(&c_y), Some(&c_last), gradients)?;
    let mut d_w0 = b.random(op.heads * spec.params())?;
    b.device.memory_start_vjp(op.batch, op.heads, &d_state, &mut d_w0)?;
    b.all(&[&y, &surprise, &last, &d_k, &d_v, &d_q, &d_gates, &d_state, &d_w0])
}
