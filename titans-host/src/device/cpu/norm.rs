//! Norms of rows. The gradient of a learned scale is summed over blocks of rows of a fixed size, then over the blocks
//! in order.

use titans_kernel::error::expect_len;
use titans_kernel::ops::{l2_norm, rms_norm};
use titans_kernel::{Mat, MatMut, Result as KernelResult};

use super::threads::split_rows;
use super::{Cpu, SimdScalar};
use crate::error::Result;

/// Rows whose gradients of the scale are summed together: a constant, or else the sum would depend on the threads.
const BLOCK: usize = 256;

/// Nanoseconds for 16 elements of a norm.
const COST: usize = 8;

/// Rows of `width` in `len` elements.
fn rows_of(width: usize, len: usize) -> KernelResult<usize> {
    let rows = len.checked_div(width).unwrap_or(0);
    expect_len("x, rows of the norm's width", rows * width, len)?;
    Ok(rows)
}

/// Elements of the partial sums of the gradient of a scale, over `len` elements in rows of `width`.
pub(super) fn space(width: usize, len: usize) -> usize {
    len.checked_div(width).unwrap_or(0).div_ceil(BLOCK).saturating_mul(width)
}

impl<T: SimdScalar> Cpu<T> {
    pub(super) fn rms_norm_forward(&self, width: usize, x: &[T], weight: &[T], y: &mut [T]) -> Result<()> {
        let rows = rows_of(width, x.len())?;
        expect_len("weight", width, weight.len())?;
        expect_len("y", x.len(), y.len())?;
        let grain = self.threads.grain(rows, 1);
        self.threads.run(x.len() / 16 * COST, split_rows(y, width, grain), |(at, y)| {
            let x = Mat::new(&x[at.start * width..at.end * width], at.len(), width)?;
            rms_norm::forward(&self.gemm, x, weight, MatMut::new(y, at.len(), width)?)
        })
    }

    /// Backward of y = ρ x ∘ weight, ρ = 1 / rms(x) ([`rms_norm::vjp`]): with e = `d_y ∘ weight`,
    /// `d_x = ρ (e − x ρ² (e·x) / d)` row by row; `d_weight += Σ_r d_y ∘ x ρ`, over blocks of rows, then the blocks.
    pub(super) fn rms_norm_backward(
        &self,
        width: usize,
        x: &[T],
        weight: &[T],
        d_y: &[T],
        d_x: &mut [T],
        d_weight: &mut [T],
    ) -> Result<()> {
        rows_of(width, x.len())?;
        expect_len("weight", width, weight.len())?;
        expect_len("d_y", x.len(), d_y.len())?;
        expect_len("d_x", x.len(), d_x.len())?;
        expect_len("d_weight", width, d_weight.len())?;
        let mut partial = self.take(space(width, x.len()))?;
        let partial = partial.as_mut_slice();
        partial.fill(T::ZERO);
        let tasks = split_rows(d_x, width, BLOCK).zip(partial.chunks_mut(width.max(1)));
        self.threads.run(x.len() / 8 * COST, tasks, |((at, d_x), d_weight)| {
            let (from, to, n) = (at.start * width, at.end * width, at.len());
            let (x, d_y) = (Mat::new(&x[from..to], n, width)?, Mat::new(&d_y[from..to], n, width)?);
            rms_norm::vjp(&self.gemm, x, weight, d_y, MatMut::new(d_x, n, width)?, d_weight)
        })?;
        add_parts(partial, d_weight);
        Ok(())
    }

    pub(super) fn l2_norm_forward(&self, width: usize, x: &[T], y: &mut [T]) -> Result<()> {
        let rows = rows_of(width, x.len())?;
        expect_len("y", x.len(), y.len())?;
        let grain = self.threads.grain(rows, 1);
        self.threads.run(x.len() / 16 * COST, split_rows(y, width, grain), |(at, y)| {
            let x = Mat::new(&x[at.start * width..at.end * width], at.len(), width)?;
            l2_norm::forward(&self.gemm, x, MatMut::new(y, at.len(), width)?)
        })
    }

    /// Backward of y = ρ x, ρ = (‖x‖² + eps)^(−1/2) ([`l2_norm::vjp`]): d_x = ρ (d_y − x ρ² (d_y·x)).
    pub(super) fn l2_norm_backward(&self, width: usize, x: &[T], d_y: &[T], d_x: &mut [T]) -> Result<()> {
        let rows = rows_of(width, x.len())?;
        expect_len("d_y", x.len(), d_y.len())?;
        expect_len("d_x", x.len(), d_x.len())?;
        let grain = self.threads.grain(rows, 1);
        self.threads.run(x.len() / 8 * COST, split_rows(d_x, width, grain), |(at, d_x)| {
            let (from, to, n) = (at.start * width, at.end * width, at.len());
            let (x, d_y) = (Mat::new(&x[from..to], n, width)?, Mat::new(&d_y[from..to], n, width)?);
            l2_norm::vjp(&self.gemm, x, d_y, MatMut::new(d_x, n, width)?)
        })
    }
}

/// `sum += part` for every part of `sum`'s length, in order.
pub(super) fn add_parts<T: SimdScalar>(parts: &[T], sum: &mut [T]) {
    for part in parts.chunks_exact(sum.len().max(1)) {
        for (sum, &part) in sum.iter_mut().zip(part) {
            *sum += part;
        }
    }
}
