//! Attention.

use super::{Cpu, SimdScalar};
use crate::device::{AttentionGradients, AttentionInputs, AttentionOp};
use crate::error::{Error, Result};

/// Lengths of what a forward takes from the pool.
pub(super) fn forward_space(_: &AttentionOp, _: bool, _: usize) -> Result<[usize; 1]> {
    Ok([0])
}

/// The same of a backward.
pub(super) fn backward_space(_: &AttentionOp, _: bool, _: usize) -> Result<[usize; 1]> {
    Ok([0])
}

impl<T: SimdScalar> Cpu<T> {
    pub(super) fn attention_forward(
        &self,
        _: &AttentionOp,
        _: &AttentionInputs<'_, Self>,
        _: &mut [T],
        _: Option<&mut [T]>,
    ) -> Result<()> {
        Err(Error::usage("attention: not there yet"))
    }

    pub(super) fn attention_backward(
        &self,
        _: &AttentionOp,
        _: &AttentionInputs<'_, Self>,
        _: &[T],
        _: &[T],
        _: &[T],
        _: AttentionGradients<'_, Self>,
    ) -> Result<()> {
        Err(Error::usage("attention: not there yet"))
    }
}
