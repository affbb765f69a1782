//! The two ends of a model: rows of a table by number, and the loss.

use titans_kernel::error::expect_len;
use titans_kernel::ops::{cross_entropy, embedding, pool, squared_error};
use titans_kernel::{Error as KernelError, Mat, MatMut, Result as KernelResult};

use super::threads::split_rows;
use super::{Cpu, SimdScalar};
use crate::device::IGNORE;
use crate::error::Result;

/// Every target is a class or ignored. Checked before the rows are split, so that the index is the caller's.
fn expect_targets(targets: &[u32], classes: usize) -> KernelResult<()> {
    match targets.iter().position(|&t| t != IGNORE && t as usize >= classes) {
        Some(index) => Err(KernelError::Range { what: "targets", index }),
        None => Ok(()),
    }
}

/// No sequence is longer than its rows.
fn expect_lengths(lengths: &[u32], time: usize) -> KernelResult<()> {
    match lengths.iter().position(|&n| n as usize > time) {
        Some(index) => Err(KernelError::Range { what: "lengths", index }),
        None => Ok(()),
    }
}

impl<T: SimdScalar> Cpu<T> {
    pub(super) fn embedding_forward(&self, width: usize, ids: &[u32], table: &[T], y: &mut [T]) -> Result<()> {
        let rows = table.len().checked_div(width).unwrap_or(0);
        expect_len("table, rows of its width", rows * width, table.len())?;
        expect_len("y", ids.len().saturating_mul(width), y.len())?;
        let y = MatMut::new(y, ids.len(), width)?;
        Ok(embedding::forward(Mat::new(table, rows, width)?, ids, y)?)
    }

    /// Backward of `y[r] = table[ids[r]]` ([`embedding::vjp`]): `d_table[ids[r]] += d_y[r]`, by one thread in the order
    /// of r, as rows that share an id add to one row.
    pub(super) fn embedding_backward(&self, width: usize, ids: &[u32], d_y: &[T], d_table: &mut [T]) -> Result<()> {
        let rows = d_table.len().checked_div(width).unwrap_or(0);
        expect_len("d_table, rows of its width", rows * width, d_table.len())?;
        expect_len("d_y", ids.len().saturating_mul(width), d_y.len())?;
        let d_table = MatMut::new(d_table, rows, width)?;
        Ok(embedding::vjp(ids, Mat::new(d_y, ids.len(), width)?, d_table)?)
    }

    pub(super) fn pool_forward(&self, time: usize, width: usize, lengths: &[u32], x: &[T], y: &mut [T]) -> Result<()> {
        let one = time.saturating_mul(width);
        expect_len("x", lengths.len().saturating_mul(one), x.len())?;
        expect_len("y", lengths.len().saturating_mul(width), y.len())?;
        expect_lengths(lengths, time)?;
        let grain = self.threads.grain(lengths.len(), 1);
        self.threads.run(x.len() / 4, split_rows(y, width, grain), |(rows, y)| {
            let (x, n) = (&x[rows.start * one..rows.end * one], rows.len());
            let (x, y) = (Mat::new(x, n * time, width)?, MatMut::new(y, n, width)?);
            pool::forward(&self.gemm, time, &lengths[rows], x, y)
        })
    }

    /// Backward of `y[b] = Σ_{t < n} x[b, t] / n` ([`pool::vjp`]): `d_x[b, t] = d_y[b] / n` for t < n, else 0.
    pub(super) fn pool_backward(
        &self,
        time: usize,
        width: usize,
        lengths: &[u32],
        d_y: &[T],
        d_x: &mut [T],
    ) -> Result<()> {
        let one = time.saturating_mul(width);
        expect_len("d_x", lengths.len().saturating_mul(one), d_x.len())?;
        expect_len("d_y", lengths.len().saturating_mul(width), d_y.len())?;
        expect_lengths(lengths, time)?;
        let grain = self.threads.grain(lengths.len(), 1);
        self.threads.run(d_x.len() / 4, split_rows(d_x, one, grain), |(rows, d_x)| {
            let (d_y, n) = (&d_y[rows.start * width..rows.end * width], rows.len());
            let (d_y, d_x) = (Mat::new(d_y, n, width)?, MatMut::new(d_x, n * time, width)?);
            pool::vjp(&self.gemm, time, &lengths[rows], d_y, d_x)
        })
    }

    pub(super) fn cross_entropy_forward(
        &self,
        classes: usize,
        logits: &[T],
        targets: &[u32],
        losses: &mut [T],
    ) -> Result<()> {
        expect_len("logits", targets.len().saturating_mul(classes), logits.len())?;
        expect_len("losses", targets.len(), losses.len())?;
        expect_targets(targets, classes)?;
        let grain = self.threads.grain(targets.len(), 1);
        self.threads.run(logits.len(), split_rows(losses, 1, grain), |(rows, losses)| {
            let logits = Mat::new(&logits[rows.start * classes..rows.end * classes], rows.len(), classes)?;
            cross_entropy::forward(&self.gemm, logits, &targets[rows], losses)
        })
    }

    /// Backward of ln Σ e^x − x_target for the cotangent `scale` ([`cross_entropy::vjp`]):
    /// `scale (softmax(x) − one-hot)`.
    pub(super) fn cross_entropy_backward(
        &self,
        classes: usize,
        logits: &[T],
        targets: &[u32],
        scale: f64,
        d_logits: &mut [T],
    ) -> Result<()> {
        expect_len("logits", targets.len().saturating_mul(classes), logits.len())?;
        expect_len("d_logits", logits.len(), d_logits.len())?;
        expect_targets(targets, classes)?;
        let (scale, grain) = (T::from_f64(scale), self.threads.grain(targets.len(), 1));
        self.threads.run(logits.len(), split_rows(d_logits, classes, grain), |(rows, d_logits)| {
            let logits = Mat::new(&logits[rows.start * classes..rows.end * classes], rows.len(), classes)?;
            let d_logits = MatMut::new(d_logits, rows.len(), classes)?;
            cross_entropy::vjp(&self.gemm, logits, &targets[rows], scale, d_logits)
        })
    }
    pub(super) fn squared_error_forward(&self, width: usize, x: &[T], target: &[T], losses: &mut [T]) -> Result<()> {
        expect_len("x", losses.len().saturating_mul(width), x.len())?;
        expect_len("target", x.len(), target.len())?;
        let grain = self.threads.grain(losses.len(), 1);
        self.threads.run(x.len() / 4, split_rows(losses, 1, grain), |(rows, losses)| {
            let (at, n) = (rows.start * width..rows.end * width, rows.len());
            let (x, target) = (Mat::new(&x[at.clone()], n, width)?, Mat::new(&target[at], n, width)?);
            squared_error::forward(&self.gemm, x, target, losses)
        })
    }

    /// Backward of Σ (x − target)² / width for the cotangent `scale` ([`squared_error::vjp`]):
    /// `scale 2 (x − target) / width`.
    pub(super) fn squared_error_backward(
        &self,
        width: usize,
        x: &[T],
        target: &[T],
        scale: f64,
        d_x: &mut [T],
    ) -> Result<()> {
        let rows = x.len().checked_div(width).unwrap_or(0);
        expect_len("x, rows of its width", rows * width, x.len())?;
        expect_len("target", x.len(), target.len())?;
        expect_len("d_x", x.len(), d_x.len())?;
        let (scale, grain) = (T::from_f64(scale), self.threads.grain(rows, 1));
        self.threads.run(x.len() / 4, split_rows(d_x, width, grain), |(rows, d_x)| {
            let (at, n) = (rows.start * width..rows.end * width, rows.len());
            let (x, target) = (Mat::new(&x[at.clone()], n, width)?, Mat::new(&target[at], n, width)?);
            squared_error::vjp(&self.gemm, x, target, scale, MatMut::new(d_x, n, width)?)
        })
    }
}
