//! Attention.

use super::Cuda;
use super::buffer::DeviceBuffer;
use super::driver::Driver;
use crate::device::{AttentionGradients, AttentionInputs, AttentionOp};
use crate::error::{Error, Result};

impl<R: Driver> Cuda<R> {
    pub(super) fn attention_forward(
        &self,
        _: &AttentionOp,
        _: &AttentionInputs<'_, Self>,
        _: &DeviceBuffer<R>,
        _: Option<&mut DeviceBuffer<R>>,
    ) -> Result<()> {
        Err(Error::usage("attention: not there yet"))
    }

    pub(super) fn attention_backward(
        &self,
        _: &AttentionOp,
        _: &AttentionInputs<'_, Self>,
        _: &DeviceBuffer<R>,
        _: &DeviceBuffer<R>,
        _: &DeviceBuffer<R>,
        _: AttentionGradients<'_, Self>,
    ) -> Result<()> {
        Err(Error::usage("attention: not there yet"))
    }
}
