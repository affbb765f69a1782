//! The memory: one task for each sequence and head.

use titans_kernel::error::expect_len;

use super::{Buffer, Cpu, HostScalar};
use crate::device::{MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
use crate::error::{Error, Result};

/// `state[b, h] = [w0[h] | 0]`.
pub(super) fn start<T: HostScalar>(batch: usize, heads: usize, w0: &[T], state: &mut [T]) -> Result<()> {
    let params = w0.len().checked_div(heads).unwrap_or(0);
    expect_len("w0, whole heads", heads * params, w0.len())?;
    expect_len("state", batch.saturating_mul(w0.len()).saturating_mul(2), state.len())?;
    if params > 0 {
        for (state, w0) in state.chunks_exact_mut(2 * params).zip(w0.chunks_exact(params).cycle()) {
            state[..params].copy_from_slice(w0);
            state[params..].fill(T::ZERO);
        }
    }
    Ok(())
}

/// `d_w0[h] += Σ_b d_state[b, h, .. P]`, sequences in ascending order.
pub(super) fn start_vjp<T: HostScalar>(batch: usize, heads: usize, d_state: &[T], d_w0: &mut [T]) -> Result<()> {
    let params = d_w0.len().checked_div(heads).unwrap_or(0);
    expect_len("d_w0, whole heads", heads * params, d_w0.len())?;
    expect_len("d_state", batch.saturating_mul(d_w0.len()).saturating_mul(2), d_state.len())?;
    if params > 0 {
        for sequence in d_state.chunks_exact(heads * 2 * params) {
            for (d_w0, d_state) in d_w0.chunks_exact_mut(params).zip(sequence.chunks_exact(2 * params)) {
                d_w0.iter_mut().zip(d_state).for_each(|(d_w0, &d)| *d_w0 += d);
            }
        }
    }
    Ok(())
}

impl<T: HostScalar> Cpu<T> {
    pub(super) fn memory_forward(
        &self,
        _op: &MemoryOp,
        _inputs: &MemoryInputs<'_, Self>,
        _outputs: MemoryOutputs<'_, Self>,
    ) -> Result<u64> {
        Err(Error::usage("memory"))
    }

    pub(super) fn memory_backward(
        &self,
        _op: &MemoryOp,
        _inputs: &MemoryInputs<'_, Self>,
        _boundaries: &Buffer<T>,
        _d_y: Option<&Buffer<T>>,
        _d_final: Option<&Buffer<T>>,
        _gradients: MemoryGradients<'_, Self>,
    ) -> Result<()> {
        Err(Error::usage("memory"))
    }
}
