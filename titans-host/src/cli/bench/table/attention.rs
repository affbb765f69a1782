//! Rows of attention: one head over one sequence.

use super::super::peak;
use super::super::timing::beside;
use super::report::Measured;
use super::rows::TableRow;
use crate::device::Device;
use crate::device::cpu::{Buffer, Cpu, simd};
use crate::error::Result;
use titans_kernel::ops::attention::{
    Answered, AttentionGradients, Keys, Queries, Span, forward, scratch_len, vjp, vjp_scratch_len,
};
use titans_kernel::{Mat, MatMut};

/// Tokens of the sequence: queries, keys, values and outputs fit into L2.
const TOKENS: usize = 512;
/// Width of the head.
const WIDTH: usize = 64;

/// Operations of one token: a multiplication and an addition for every number of every key and value that it sees; five
/// products of that size instead of two in the backward.
fn operations(window: usize, grad: bool) -> f64 {
    let seen = (0..TOKENS).map(|i| window.min(i + 1)).sum::<usize>() as f64 / TOKENS as f64;
    2.0 * WIDTH as f64 * seen * if grad { 5.0 } else { 2.0 }
}

fn rows(x: &Buffer<f32>) -> Result<Mat<'_, f32>> {
    Ok(Mat::new(x.as_slice(), TOKENS, WIDTH)?)
}

fn rows_mut(x: &mut Buffer<f32>) -> Result<MatMut<'_, f32>> {
    Ok(MatMut::new(x.as_mut_slice(), TOKENS, WIDTH)?)
}

/// Sliding-window attention on one thread, forward (with what a backward needs of it) or its backward alone.
pub fn measure(row: &TableRow, window: usize, grad: bool, time: f64) -> Result<Measured> {
    let (gemm, span) = (simd(row.isa)?, Span::Window(window));
    let cpu = Cpu::<f32>::with_instruction_set(Some(1), row.isa)?;
    let numbers = |seed: usize| {
        let x: Vec<_> = (0..TOKENS * WIDTH).map(|i| ((i * 37 + seed * 71) % 199) as f32 / 99.0 - 1.0).collect();
        cpu.upload(&x)
    };
    let (q, k, v, d_y) = (numbers(1)?, numbers(2)?, numbers(3)?, numbers(4)?);
    let (mut y, mut d_q, mut d_rotated) = (numbers(5)?, numbers(6)?, numbers(7)?);
    let (mut d_k, mut d_v) = (numbers(8)?, numbers(9)?);
    let (q, d_y) = (rows(&q)?, rows(&d_y)?);
    let keys = Keys { persistent: None, context: None, tokens: (rows(&k)?, rows(&v)?), first: 0 };
    let mut log_sum = vec![0.0; TOKENS];
    let mut scratch = vec![0.0; scratch_len(span, TOKENS, 0, false).max(vjp_scratch_len(span, TOKENS, 0, false))];
    let operations = operations(window, grad);
    let limit = || Ok(peak::cpu(row.isa, 1) / operations);
    let mut answer = || {
        let out = rows_mut(&mut y)?;
        Result::Ok(forward(
            &gemm,
            span,
            Queries { first: 0, q, q_rotated: q },
            &keys,
            out,
            Some(&mut log_sum),
            &mut scratch,
        )?)
    };
    let found = if grad {
        answer()?;
        let y = rows(&y)?;
        beside(TOKENS as f64, time, limit, || {
            let tokens = (rows_mut(&mut d_k)?, rows_mut(&mut d_v)?);
            let (q_rotated, d_q) = (rows_mut(&mut d_rotated)?, rows_mut(&mut d_q)?);
            let out = AttentionGradients { q: d_q, q_rotated, persistent: None, context: None, tokens };
            Ok(vjp(
                &gemm,
                span,
                Queries { first: 0, q, q_rotated: q },
                &keys,
                Answered { y, log_sum: &log_sum, d_y },
                out,
                &mut scratch,
            )?)
        })?
    } else {
        beside(TOKENS as f64, time, limit, answer)?
    };
    Ok(Measured {
        peak_gflops: Some(found.limit.times(1e-9 * operations)),
        repetitions: found.repetitions,
        ..Measured::new(row, "share of peak", found.share, found.rate, operations)
    })
}
