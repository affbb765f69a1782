//! Rows that move. Entries of the batch and rows over the threads; where all entries meet in the same rows, rows alone.

use titans_kernel::{Arithmetic, Error as KernelError};

use super::threads::split_rows;
use super::{Cpu, SimdScalar};
use crate::device::MoveRows;
use crate::error::Result;

impl<T: SimdScalar> Cpu<T> {
    pub(super) fn rows_moved(&self, op: &MoveRows, x: &[T], y: &mut [T]) -> Result<()> {
        if !op.check(x.len(), y.len())? {
            return Ok(());
        }
        let MoveRows { batch, rows, width, from, to, add } = *op;
        let hold = to.hold.min(rows);
        let together = batch == 1 || to.stride == 0;
        // The rows that an entry, or all together, may write.
        let entry = if together { rows } else { to.stride };
        let parts = y[to.first * width..].chunks_mut(entry * width).take(if together { 1 } else { batch });
        let grain = self.threads.grain(batch.saturating_mul(rows), hold);
        let tasks = parts.enumerate().flat_map(|(b, part)| {
            let len = part.len().min(rows * width);
            split_rows(&mut part[..len], width, grain).map(move |(at, y)| (b, at, y))
        });
        let cost = batch.saturating_mul(rows).saturating_mul(width) / 4;
        self.threads.run(cost, tasks, |(b, at, y)| {
            let entries = if together { 0..batch } else { b..b + 1 };
            for b in entries {
                let start = b * from.stride + from.first;
                if from.hold == 1 && to.hold == 1 {
                    let x = &x[(start + at.start) * width..][..y.len()];
                    self.put(add, x, y);
                    continue;
                }
                for r in at.clone() {
                    let x = &x[(start + r - r % from.hold) * width..][..width];
                    self.put(add, x, &mut y[(r - r % to.hold - at.start) * width..][..width]);
                }
            }
            Ok::<_, KernelError>(())
        })
    }

    /// `[batch, heads, time, d]` to `[batch, time, heads, d]`, overwriting or adding.
    pub(super) fn interleave(&self, add: bool, [batch, time, heads]: [usize; 3], x: &[T], y: &mut [T]) -> Result<()> {
        let Some(row) = y.len().checked_div(batch * time).filter(|&row| row > 0) else { return Ok(()) };
        let d = row / heads;
        let grain = self.threads.grain(batch * time, 1);
        self.threads.run(y.len() / 4, split_rows(y, row, grain), |(rows, y)| {
            for (row, y) in rows.zip(y.chunks_exact_mut(row)) {
                let (b, t) = (row / time, row % time);
                for (h, y) in y.chunks_exact_mut(d).enumerate() {
                    self.put(add, &x[((b * heads + h) * time + t) * d..][..d], y);
                }
            }
            Ok::<_, KernelError>(())
        })
    }

    /// `y = x` or `y += x`, of one length.
    fn put(&self, add: bool, x: &[T], y: &mut [T]) {
        if !add {
            return y.copy_from_slice(x);
        }
        Arithmetic::<T>::vectorise(
            &self.gemm,
            #[inline(always)]
            || y.iter_mut().zip(x).for_each(|(y, &x)| *y += x),
        );
    }
}
