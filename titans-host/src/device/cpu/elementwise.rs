//! Operations element by element, cut into pieces.

use titans_kernel::error::expect_len;
use titans_kernel::{Arithmetic, Error as KernelError, Result as KernelResult, ops};

use super::threads::split_rows;
use super::{Cpu, Simd, SimdScalar};
use crate::device::DropMask;
use crate::error::Result;

/// Guesses at nanoseconds per 16 elements: one that only moves numbers, and one with an exponential.
const MOVE: usize = 4;
const EXP: usize = 16;

impl<T: SimdScalar> Cpu<T> {
    /// Time that `len` elements take.
    fn cost(len: usize, per_16: usize) -> usize {
        (len / 16).saturating_mul(per_16)
    }

    /// Elements of a task: whole cache lines.
    fn piece(&self, len: usize) -> usize {
        self.threads.grain(len, 64)
    }

    pub(super) fn copy_to(&self, x: &[T], y: &mut [T]) -> Result<()> {
        expect_len("copy to", x.len(), y.len())?;
        let piece = self.piece(y.len());
        self.threads.run(Self::cost(x.len(), MOVE), split_rows(y, 1, piece), |(at, y)| {
            y.copy_from_slice(&x[at]);
            Ok::<_, KernelError>(())
        })
    }

    pub(super) fn fill_with(&self, value: T, x: &mut [T]) -> Result<()> {
        let piece = self.piece(x.len());
        self.threads.run(Self::cost(x.len(), MOVE), split_rows(x, 1, piece), |(_, x)| {
            x.fill(value);
            Ok::<_, KernelError>(())
        })
    }

    pub(super) fn add_to(&self, a: &[T], b: &[T], y: &mut [T]) -> Result<()> {
        expect_len("b", a.len(), b.len())?;
        expect_len("y", a.len(), y.len())?;
        let piece = self.piece(y.len());
        self.threads.run(Self::cost(a.len(), MOVE), split_rows(y, 1, piece), |(at, y)| {
            let (a, b) = (&a[at.clone()], &b[at]);
            Arithmetic::<T>::vectorise(
                &self.gemm,
                #[inline(always)]
                || y.iter_mut().zip(a).zip(b).for_each(|((y, &a), &b)| *y = a + b),
            );
            Ok::<_, KernelError>(())
        })
    }

    pub(super) fn add_scaled_to(&self, scale: T, x: &[T], y: &mut [T]) -> Result<()> {
        expect_len("y", x.len(), y.len())?;
        let piece = self.piece(y.len());
        self.threads.run(Self::cost(x.len(), MOVE), split_rows(y, 1, piece), |(at, y)| {
            let x = &x[at];
            Arithmetic::<T>::vectorise(
                &self.gemm,
                #[inline(always)]
                || y.iter_mut().zip(x).for_each(|(y, &x)| *y += scale * x),
            );
            Ok::<_, KernelError>(())
        })
    }

    /// A function of each element, `op` being the kernel's.
    pub(super) fn map_forward(
        &self,
        x: &[T],
        y: &mut [T],
        op: impl Fn(&Simd, &[T], &mut [T]) -> KernelResult<()> + Sync,
    ) -> Result<()> {
        expect_len("y", x.len(), y.len())?;
        let piece = self.piece(y.len());
        self.threads.run(Self::cost(x.len(), EXP), split_rows(y, 1, piece), |(at, y)| op(&self.gemm, &x[at], y))
    }

    /// Backward of y = ψ(x), `op` being the kernel's: d_x = d_y ∘ ψ′(x), so pieces know nothing of one another.
    pub(super) fn map_backward(
        &self,
        x: &[T],
        d_y: &[T],
        d_x: &mut [T],
        op: impl Fn(&Simd, &[T], &[T], &mut [T]) -> KernelResult<()> + Sync,
    ) -> Result<()> {
        expect_len("d_y", x.len(), d_y.len())?;
        expect_len("d_x", x.len(), d_x.len())?;
        let piece = self.piece(x.len());
        self.threads.run(Self::cost(x.len(), EXP), split_rows(d_x, 1, piece), |(at, d_x)| {
            op(&self.gemm, &x[at.clone()], &d_y[at], d_x)
        })
    }

    /// A gate's forward, `op` being the kernel's.
    pub(super) fn gate_forward(
        &self,
        a: &[T],
        gate: &[T],
        y: &mut [T],
        op: impl Fn(&Simd, &[T], &[T], &mut [T]) -> KernelResult<()> + Sync,
    ) -> Result<()> {
        expect_len("gate", a.len(), gate.len())?;
        expect_len("y", a.len(), y.len())?;
        let piece = self.piece(y.len());
        self.threads.run(Self::cost(a.len(), EXP), split_rows(y, 1, piece), |(at, y)| {
            op(&self.gemm, &a[at.clone()], &gate[at], y)
        })
    }

    /// Backward of y = a ∘ ψ(gate), `op` being the kernel's: d_a = d_y ∘ ψ(gate), d_gate = d_y ∘ a ∘ ψ′(gate).
    pub(super) fn gate_backward(
        &self,
        a: &[T],
        gate: &[T],
        d_y: &[T],
        d_a: &mut [T],
        d_gate: &mut [T],
        op: impl Fn(&Simd, &[T], &[T], &[T], &mut [T], &mut [T]) -> KernelResult<()> + Sync,
    ) -> Result<()> {
        for (what, len) in [("gate", gate.len()), ("d_y", d_y.len()), ("d_a", d_a.len()), ("d_gate", d_gate.len())] {
            expect_len(what, a.len(), len)?;
        }
        let piece = self.piece(a.len());
        let tasks = split_rows(d_a, 1, piece).zip(split_rows(d_gate, 1, piece));
        self.threads.run(Self::cost(a.len(), 2 * EXP), tasks, |((at, d_a), (_, d_gate))| {
            op(&self.gemm, &a[at.clone()], &gate[at.clone()], &d_y[at], d_a, d_gate)
        })
    }

    pub(super) fn drop_some(&self, mask: &DropMask, x: &[T], y: &mut [T]) -> Result<()> {
        expect_len("y", x.len(), y.len())?;
        let piece = self.piece(y.len());
        self.threads.run(Self::cost(x.len(), EXP), split_rows(y, 1, piece), |(at, y)| {
            ops::dropout::forward(&self.gemm, mask, at.start, &x[at], y)
        })
    }

    pub(super) fn gates_forward(&self, heads: usize, scale: [f64; 3], x: &[T], y: &mut [T]) -> Result<()> {
        expect_len("y", x.len(), y.len())?;
        let width = gate_width(heads, x.len())?;
        let grain = self.threads.grain(x.len() / width, 1);
        self.threads.run(Self::cost(x.len(), EXP), split_rows(y, width, grain), |(rows, y)| {
            ops::gates::forward(&self.gemm, heads, scale, &x[rows.start * width..rows.end * width], y)
        })
    }

    /// Backward of y = scale σ(x) from y ([`ops::gates::vjp`]): d_x = d_y y (1 − y / scale), whole rows of gates a
    /// piece.
    pub(super) fn gates_backward(
        &self,
        heads: usize,
        scale: [f64; 3],
        y: &[T],
        d_y: &[T],
        d_x: &mut [T],
    ) -> Result<()> {
        expect_len("d_y", y.len(), d_y.len())?;
        expect_len("d_x", y.len(), d_x.len())?;
        let width = gate_width(heads, y.len())?;
        let grain = self.threads.grain(y.len() / width, 1);
        self.threads.run(Self::cost(y.len(), EXP), split_rows(d_x, width, grain), |(rows, d_x)| {
            let at = rows.start * width..rows.end * width;
            ops::gates::vjp(&self.gemm, heads, scale, &y[at.clone()], &d_y[at], d_x)
        })
    }
}

/// Elements of a row `[3, heads]` (1 where there are none), of which `len` must be a multiple.
fn gate_width(heads: usize, len: usize) -> Result<usize> {
    let width = heads.saturating_mul(3).max(1);
    if heads == 0 {
        expect_len("gates of no heads", 0, len)?;
    }
    expect_len("gates of whole rows", len - len % width, len)?;
    Ok(width)
}
