//! Every operation but the memory, forward and backward, on numbers that f32 holds exactly.

use super::{Bench, Check, Outputs, error};
use crate::device::cpu::Cpu;
use crate::device::{AdamW, ConvDims, Device, IGNORE, LinearDims};
use crate::error::Result;

/// Rounding of f32 over sums of this length.
const ALLOWED: f64 = 2e-5;

macro_rules! checks {
    ($($name:ident),+ $(,)?) => {
        /// One check an operation and its backward.
        pub fn checks<D: Device>(device: &D, reference: &Cpu<f64>) -> Vec<Check> {
            vec![$({
                let found = $name(&mut Bench::new(device));
                let expected = $name(&mut Bench::new(reference));
                let error = found.and_then(|found| Ok(error(&expected?, &found)));
                Check::new(stringify!($name), ALLOWED, error)
            }),+]
        }
    };
}

checks!(
    elements,
    silu,
    silu_gate,
    linear,
    linear_transposed,
    rms_norm,
    l2_norm,
    conv,
    gates,
    embedding,
    cross_entropy,
    sums,
    adamw
);

const N: usize = 1027;

fn elements<D: Device>(b: &mut Bench<'_, D>) -> Result<Outputs> {
    let (x, y) = (b.random(N)?, b.random(N)?);
    let (mut sum, mut copy, mut filled) = (b.poison(N)?, b.poison(N)?, b.poison(N)?);
    b.device.add(&x, &y, &mut sum)?;
    b.device.copy(&sum, &mut copy)?;
    b.device.add_scaled(-0.75, &x, &mut copy)?;
    b.device.fill(2.5, &mut filled)?;
    b.all(&[&sum, &copy, &filled])
}

fn silu<D: Device>(b: &mut Bench<'_, D>) -> Result<Outputs> {
    let numbers = b.numbers(N, -20.0, 20.0);
    let (x, d_y) = (b.put(&numbers)?, b.random(N)?);
    let (mut y, mut d_x) = (b.poison(N)?, b.poison(N)?);
    b.device.silu(&x, &mut y)?;
    b.device.silu_vjp(&x, &d_y, &mut d_x)?;
    b.all(&[&y, &d_x])
}

fn silu_gate<D: Device>(b: &mut Bench<'_, D>) -> Result<Outputs> {
    let (a, g, d_y) = (b.random(N)?, b.random(N)?, b.random(N)?);
    let (mut y, mut d_a, mut d_g) = (b.poison(N)?, b.poison(N)?, b.poison(N)?);
    b.device.silu_gate(&a, &g, &mut y)?;
    b.device.silu_gate_vjp(&a, &g, &d_y, &mut d_a, &mut d_g)?;
    b.all(&[&y, &d_a, &d_g])
}

fn linear<D: Device>(b: &mut Bench<'_, D>) -> Result<Outputs> {
    any_linear(b, false)
}

fn linear_transposed<D: Device>(b: &mut Bench<'_, D>) -> Result<Outputs> {
    any_linear(b, true)
}

fn any_linear<D: Device>(b: &mut Bench<'_, D>, transposed: bool) -> Result<Outputs> {
    let dims = LinearDims { rows: 37, inputs: 53, outputs: 29, transposed };
    let (x, w, bias, d_y) = (b.random(37 * 53)?, b.random(53 * 29)?, b.random(29)?, b.random(37 * 29)?);
    let (mut y, mut d_x) = (b.poison(37 * 29)?, b.poison(37 * 53)?);
    let (mut d_w, mut d_bias) = (b.random(53 * 29)?, b.random(29)?);
    b.device.linear(dims, &x, &w, Some(&bias), &mut y)?;
    b.device.linear_vjp(dims, &x, &w, &d_y, Some(&mut d_x), &mut d_w, Some(&mut d_bias))?;
    b.all(&[&y, &d_x, &d_w, &d_bias])
}

fn rms_norm<D: Device>(b: &mut Bench<'_, D>) -> Result<Outputs> {
    let (rows, width) = (19, 33);
    let (x, weight, d_y) = (b.random(rows * width)?, b.random(width)?, b.random(rows * width)?);
    let (mut y, mut d_x, mut d_weight) = (b.poison(rows * width)?, b.poison(rows * width)?, b.random(width)?);
    b.device.rms_norm(width, &x, &weight, &mut y)?;
    b.device.rms_norm_vjp(width, &x, &weight, &d_y, &mut d_x, &mut d_weight)?;
    b.all(&[&y, &d_x, &d_weight])
}

fn l2_norm<D: Device>(b: &mut Bench<'_, D>) -> Result<Outputs> {
    let (x, d_y) = (b.random(19 * 33)?, b.random(19 * 33)?);
    let (mut y, mut d_x) = (b.poison(19 * 33)?, b.poison(19 * 33)?);
    b.device.l2_norm(33, &x, &mut y)?;
    b.device.l2_norm_vjp(33, &x, &d_y, &mut d_x)?;
    b.all(&[&y, &d_x])
}

fn conv<D: Device>(b: &mut Bench<'_, D>) -> Result<Outputs> {
    let dims = ConvDims { batch: 3, time: 11, channels: 13, width: 4 };
    let (n, tail) = (3 * 11 * 13, 3 * 3 * 13);
    let (x, before, w, bias, d_y) = (b.random(n)?, b.random(tail)?, b.random(52)?, b.random(13)?, b.random(n)?);
    let (mut y, mut fresh, mut d_x, mut next) = (b.poison(n)?, b.poison(n)?, b.poison(n)?, b.poison(tail)?);
    let (mut d_w, mut d_bias) = (b.random(52)?, b.random(13)?);
    b.device.conv(dims, &x, Some(&before), &w, &bias, &mut y)?;
    b.device.conv(dims, &x, None, &w, &bias, &mut fresh)?;
    b.device.conv_vjp(dims, &x, Some(&before), &w, &d_y, &mut d_x, &mut d_w, &mut d_bias)?;
    b.device.conv_tail(dims, &x, Some(&before), &mut next)?;
    b.all(&[&y, &fresh, &d_x, &d_w, &d_bias, &next])
}

fn gates<D: Device>(b: &mut Bench<'_, D>) -> Result<Outputs> {
    let (heads, n) = (5, 21 * 3 * 5);
    let numbers = b.numbers(n, -9.0, 9.0);
    let (x, d_y) = (b.put(&numbers)?, b.random(n)?);
    let (mut y, mut d_x) = (b.poison(n)?, b.poison(n)?);
    let scale = [1.0, 0.5, 0.25];
    b.device.gates(heads, scale, &x, &mut y)?;
    b.device.gates_vjp(heads, scale, &y, &d_y, &mut d_x)?;
    b.all(&[&y, &d_x])
}

fn embedding<D: Device>(b: &mut Bench<'_, D>) -> Result<Outputs> {
    let ids: Vec<u32> = (0..40).map(|i| i * i % 11).collect();
    let ids = b.device.upload_indices(&ids)?;
    let (table, d_y) = (b.random(11 * 17)?, b.random(40 * 17)?);
    let (mut y, mut d_table) = (b.poison(40 * 17)?, b.random(11 * 17)?);
    b.device.embedding(17, &ids, &table, &mut y)?;
    b.device.embedding_vjp(17, &ids, &d_y, &mut d_table)?;
    b.all(&[&y, &d_table])
}

fn cross_entropy<D: Device>(b: &mut Bench<'_, D>) -> Result<Outputs> {
    let targets: Vec<u32> = (0..23).map(|i| if i % 5 == 0 { IGNORE } else { i * 7 % 31 }).collect();
    let targets = b.device.upload_indices(&targets)?;
    let numbers = b.numbers(23 * 31, -10.0, 10.0);
    let logits = b.put(&numbers)?;
    let (mut losses, mut d_logits) = (b.poison(23)?, b.poison(23 * 31)?);
    b.device.cross_entropy(31, &logits, &targets, &mut losses)?;
    b.device.cross_entropy_vjp(31, &logits, &targets, 0.125, &mut d_logits)?;
    b.all(&[&losses, &d_logits])
}

fn sums<D: Device>(b: &mut Bench<'_, D>) -> Result<Outputs> {
    let numbers = b.numbers(N, 0.0, 1.0);
    let x = b.put(&numbers)?;
    let (mut sum, mut squares) = (b.device.zeros(1)?, b.put(&[3.0])?);
    b.device.sum(&x, &mut sum)?;
    b.device.sum_squares(&x, &mut squares)?;
    b.all(&[&sum, &squares])
}

fn adamw<D: Device>(b: &mut Bench<'_, D>) -> Result<Outputs> {
    let step = AdamW {
        learning_rate: 0.01,
        beta1: 0.9,
        beta2: 0.98,
        epsilon: 1e-8,
        weight_decay: 0.1,
        gradient_scale: 0.5,
        step: 3,
    };
    let (gradient, mut parameter, mut moment1) = (b.random(N)?, b.random(N)?, b.random(N)?);
    let numbers = b.numbers(N, 0.1, 1.0);
    let mut moment2 = b.put(&numbers)?;
    b.device.adamw(&step, &gradient, &mut parameter, &mut moment1, &mut moment2)?;
    b.all(&[&parameter, &moment1, &moment2])
}
