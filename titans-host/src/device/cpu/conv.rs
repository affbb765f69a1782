//! The causal convolution: pieces of sequences forward, whole sequences backward.

use titans_kernel::error::expect_len;
use titans_kernel::ops::conv;
use titans_kernel::{Mat, MatMut, Result as KernelResult};

use super::norm::add_parts;
use super::threads::split_rows;
use super::{Cpu, SimdScalar};
use crate::device::{ConvDims, ConvGradients};
use crate::error::Result;

/// Nanoseconds for 16 elements and one tap.
const COST: usize = 2;

/// Elements of one sequence and of its tail.
fn sizes(dims: &ConvDims) -> (usize, usize) {
    (dims.time.saturating_mul(dims.channels), dims.width.saturating_sub(1).saturating_mul(dims.channels))
}

/// Checks what all share.
fn expect(dims: &ConvDims, x: usize, tail: Option<usize>) -> KernelResult<()> {
    let (sequence, _) = sizes(dims);
    expect_len("convolution taps", dims.width.max(1), dims.width)?;
    expect_len("x", dims.batch.saturating_mul(sequence), x)?;
    tail.map_or(Ok(()), |len| dims.tail_rows(len).map(drop))
}

/// The tokens before those of sequence b: the last ones of its tail.
fn before<'a, T: SimdScalar>(dims: &ConvDims, tail: &'a [T], b: usize) -> KernelResult<Mat<'a, T>> {
    let (rows, behind) = (dims.tail_rows(tail.len())?, dims.width.saturating_sub(1));
    let from = ((b + 1) * rows - behind) * dims.channels;
    Mat::new(&tail[from..][..behind * dims.channels], behind, dims.channels)
}

/// The cotangents of the tokens in the tail: 0 of those that no tap met, and of the others as of any token a chain over
/// the taps, which met only tokens behind the tail.
fn tail_backward<T: SimdScalar>(dims: &ConvDims, w: &[T], d_y: &[T], d_tail: &mut [T]) -> KernelResult<()> {
    let (rows, behind, channels) = (dims.tail_rows(d_tail.len())?, dims.width.saturating_sub(1), dims.channels);
    d_tail.fill(T::ZERO);
    for (b, d_tail) in d_tail.chunks_exact_mut((rows * channels).max(1)).enumerate() {
        let d_y = &d_y[b * dims.time * channels..][..dims.time * channels];
        for (s, d_tail) in d_tail[(rows - behind) * channels..].chunks_exact_mut(channels).enumerate() {
            for j in 0..=s {
                let Some(d_y) = d_y.get((s - j) * channels..(s - j + 1) * channels) else { continue };
                let taps = w.iter().skip(j).step_by(dims.width);
                d_tail.iter_mut().zip(taps.zip(d_y)).for_each(|(d, (&w, &d_y))| *d += w * d_y);
            }
        }
    }
    Ok(())
}

/// Time of a pass over all sequences.
fn cost(dims: &ConvDims, elements: usize) -> usize {
    (elements / 16).saturating_mul(COST * (dims.width + 1))
}

/// Elements of the sequences' own gradients of filters and biases.
pub(super) fn space(dims: &ConvDims) -> usize {
    dims.batch.saturating_mul(dims.channels.saturating_mul(dims.width.saturating_add(1)))
}

impl<T: SimdScalar> Cpu<T> {
    pub(super) fn conv_forward(
        &self,
        dims: &ConvDims,
        x: &[T],
        tail: Option<&[T]>,
        w: &[T],
        bias: &[T],
        y: &mut [T],
    ) -> Result<()> {
        let (sequence, _) = sizes(dims);
        let (channels, behind) = (dims.channels, dims.width.saturating_sub(1));
        expect(dims, x.len(), tail.map(<[T]>::len))?;
        expect_len("w", channels.saturating_mul(dims.width), w.len())?;
        expect_len("bias", channels, bias.len())?;
        expect_len("y", x.len(), y.len())?;
        // A piece is as long as the tail at least: the tokens before it are its tail.
        let pieces = self.threads.grain(dims.batch * dims.time, 1).max(behind).max(1).min(dims.time.max(1));
        let tasks = y
            .chunks_mut(sequence.max(1))
            .enumerate()
            .flat_map(|(b, y)| split_rows(y, channels, pieces).map(move |(at, y)| (b, at, y)));
        self.threads.run(cost(dims, x.len()), tasks, |(b, at, y)| {
            let x = Mat::new(&x[b * sequence..][..sequence], dims.time, channels)?;
            let before = match at.start.checked_sub(behind) {
                Some(from) if at.start > 0 => Some(x.sub(from, behind)),
                _ => tail.map(|tail| before(dims, tail, b)).transpose()?,
            };
            let y = MatMut::new(y, at.len(), channels)?;
            conv::forward(&self.gemm, x.sub(at.start, at.len()), before, w, bias, y)
        })
    }

    /// Backward of `y[t] = bias + Σ_j w[j] x[t − width + 1 + j]` ([`conv::vjp`]):
    /// `d_x[s] = Σ_j w[j] d_y[s + width − 1 − j]` of every sequence; d_w and d_bias, sums over tokens, first of each
    /// sequence and then over the sequences.
    pub(super) fn conv_backward(
        &self,
        dims: &ConvDims,
        x: &[T],
        tail: Option<&[T]>,
        w: &[T],
        d_y: &[T],
        gradients: ConvGradients<'_, [T]>,
    ) -> Result<()> {
        let ConvGradients { d_x, d_w, d_bias, d_tail } = gradients;
        let (sequence, _) = sizes(dims);
        let channels = dims.channels;
        expect(dims, x.len(), tail.map(<[T]>::len))?;
        expect_len("w", channels.saturating_mul(dims.width), w.len())?;
        expect_len("d_y", x.len(), d_y.len())?;
        expect_len("d_x", x.len(), d_x.len())?;
        expect_len("d_w", w.len(), d_w.len())?;
        expect_len("d_bias", channels, d_bias.len())?;
        // Before the whole-sequence pass and by one thread: a tail has few tokens.
        if let Some(d_tail) = d_tail {
            expect_len("d_tail", tail.map_or(0, <[T]>::len), d_tail.len())?;
            tail_backward(dims, w, d_y, d_tail)?;
        }
        if x.is_empty() {
            return Ok(());
        }
        // Each sequence adds to sums of its own, whatever thread has it; they are added in the order of the sequences.
        let mut parts = self.take(space(dims))?;
        let parts = parts.as_mut_slice();
        parts.fill(T::ZERO);
        let (w_parts, bias_parts) = parts.split_at_mut(dims.batch * w.len());
        let outputs = w_parts.chunks_mut(w.len()).zip(bias_parts.chunks_mut(channels));
        let tasks = d_x.chunks_mut(sequence).zip(outputs).enumerate();
        self.threads.run(cost(dims, x.len()).saturating_mul(2), tasks, |(b, (d_x, (d_w, d_bias)))| {
            let x = Mat::new(&x[b * sequence..][..sequence], dims.time, channels)?;
            let d_y = Mat::new(&d_y[b * sequence..][..sequence], dims.time, channels)?;
            let tail = tail.map(|tail| before(dims, tail, b)).transpose()?;
            conv::vjp(
                &self.gemm,
                x,
                tail,
                w,
                d_y,
                conv::ConvGradients { x: MatMut::new(d_x, dims.time, channels)?, w: d_w, bias: d_bias },
            )
        })?;
        add_parts(w_parts, d_w);
        add_parts(bias_parts, d_bias);
        Ok(())
    }

    pub(super) fn conv_next_tail(&self, dims: &ConvDims, x: &[T], tail: Option<&[T]>, next: &mut [T]) -> Result<()> {
        let (sequence, kept) = sizes(dims);
        let (channels, behind) = (dims.channels, dims.width.saturating_sub(1));
        expect(dims, x.len(), tail.map(<[T]>::len))?;
        for (what, len) in [("tail", tail.map(<[T]>::len)), ("next tail", Some(next.len()))] {
            expect_len(what, dims.batch.saturating_mul(kept), len.unwrap_or(dims.batch.saturating_mul(kept)))?;
        }
        for (b, next) in next.chunks_mut(kept.max(1)).enumerate() {
            let x = Mat::new(&x[b * sequence..][..sequence], dims.time, channels)?;
            let tail = tail.map(|tail| Mat::new(&tail[b * kept..][..kept], behind, channels)).transpose()?;
            conv::next_tail(x, tail, MatMut::new(next, behind, channels)?)?;
        }
        Ok(())
    }
}
