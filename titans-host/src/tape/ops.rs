//! Element-wise operations, linear maps, norms and the convolution on the tape.

use super::{Backward, ParamId, Tape, Var};
use crate::device::{ConvDims, Device, LinearDims};
use crate::error::{Error, Result};
use std::sync::Arc;

impl<D: Device> Tape<'_, D> {
    /// `a + b`, of one length.
    ///
    /// # Errors
    /// The device's own, as for every operation of the tape: a wrong length names the argument.
    pub fn add(&mut self, a: &Var<D>, b: &Var<D>) -> Result<Var<D>> {
        let mut y = self.like(a)?;
        self.device.add(&a.buffer, &b.buffer, &mut y)?;
        let (a, b) = (a.clone(), b.clone());
        // The sum's cotangent is both terms' own: shared, never copied.
        let slot = self.push_many(1, move |run, mut cotangents| match cotangents.pop().flatten() {
            Some(d_y) => {
                run.give(&b, Arc::clone(&d_y))?;
                run.give(&a, d_y)
            }
            None => Ok(()),
        });
        Ok(Var { buffer: Arc::new(y), slot })
    }

    /// `x σ(x)`.
    ///
    /// # Errors
    /// As [`Tape::add`].
    pub fn silu(&mut self, x: &Var<D>) -> Result<Var<D>> {
        let mut y = self.like(x)?;
        self.device.silu(&x.buffer, &mut y)?;
        let x = x.clone();
        Ok(self.push(y, move |run, d_y| {
            let mut d_x = run.like(&x)?;
            run.device().silu_vjp(&x.buffer, d_y, &mut d_x)?;
            run.give(&x, d_x)
        }))
    }

    /// `a ∘ silu(gate)`.
    ///
    /// # Errors
    /// As [`Tape::add`].
    pub fn silu_gate(&mut self, a: &Var<D>, gate: &Var<D>) -> Result<Var<D>> {
        let mut y = self.like(a)?;
        self.device.silu_gate(&a.buffer, &gate.buffer, &mut y)?;
        let (a, gate) = (a.clone(), gate.clone());
        Ok(self.push(y, move |run, d_y| {
            let (mut d_a, mut d_gate) = (run.like(&a)?, run.like(&gate)?);
            run.device().silu_gate_vjp(&a.buffer, &gate.buffer, d_y, &mut d_a, &mut d_gate)?;
            run.give(&gate, d_gate)?;
            run.give(&a, d_a)
        }))
    }

    /// `x W + bias` with `W [inputs, outputs]`.
    ///
    /// # Errors
    /// As [`Tape::add`]; also [`Error::Usage`] when the weight is no matrix or `x` not rows of its inputs.
    pub fn linear(&mut self, x: &Var<D>, weight: ParamId, bias: Option<ParamId>) -> Result<Var<D>> {
        let (inputs, outputs) = self.matrix(weight)?;
        self.linear_as(inputs, outputs, false, x, weight, bias)
    }

    /// `x Wᵀ` with `W [outputs, inputs]`: a head tied to its embedding.
    ///
    /// # Errors
    /// As [`Tape::linear`].
    pub fn linear_transposed(&mut self, x: &Var<D>, weight: ParamId) -> Result<Var<D>> {
        let (outputs, inputs) = self.matrix(weight)?;
        self.linear_as(inputs, outputs, true, x, weight, None)
    }

    fn linear_as(
        &mut self,
        inputs: usize,
        outputs: usize,
        transposed: bool,
        x: &Var<D>,
        weight: ParamId,
        bias: Option<ParamId>,
    ) -> Result<Var<D>> {
        let dims = LinearDims { rows: self.rows("linear: x", &x.buffer, inputs)?, inputs, outputs, transposed };
        let mut y = self.device.alloc(dims.rows * outputs)?;
        let b = bias.map(|b| self.params.value(b)).transpose()?;
        self.device.linear(dims, &x.buffer, self.params.value(weight)?, b, &mut y)?;
        let x = x.clone();
        Ok(self.push(y, move |run, d_y| {
            let (device, w) = (run.device(), run.param(weight)?);
            let mut d_x = if Backward::wants(&x) { Some(run.like(&x)?) } else { None };
            let (d_w, d_bias) = run.gradient_pair(weight, bias)?;
            device.linear_vjp(dims, &x.buffer, w, d_y, d_x.as_mut(), d_w, d_bias)?;
            d_x.map_or(Ok(()), |d_x| run.give(&x, d_x))
        }))
    }

    /// `x / rms(x) ∘ weight` over rows of the weight's length.
    ///
    /// # Errors
    /// As [`Tape::linear`].
    pub fn rms_norm(&mut self, x: &Var<D>, weight: ParamId) -> Result<Var<D>> {
        let w = self.params.value(weight)?;
        let width = self.device.len(w);
        self.rows("rms_norm: x", &x.buffer, width)?;
        let mut y = self.like(x)?;
        self.device.rms_norm(width, &x.buffer, w, &mut y)?;
        let x = x.clone();
        Ok(self.push(y, move |run, d_y| {
            let (device, w) = (run.device(), run.param(weight)?);
            let mut d_x = run.like(&x)?;
            device.rms_norm_vjp(width, &x.buffer, w, d_y, &mut d_x, run.gradient(weight)?)?;
            run.give(&x, d_x)
        }))
    }

    /// `x / √(‖x‖² + 1e-6)` over rows of `width`.
    ///
    /// # Errors
    /// As [`Tape::linear`].
    pub fn l2_norm(&mut self, width: usize, x: &Var<D>) -> Result<Var<D>> {
        self.rows("l2_norm: x", &x.buffer, width)?;
        let mut y = self.like(x)?;
        self.device.l2_norm(width, &x.buffer, &mut y)?;
        let x = x.clone();
        Ok(self.push(y, move |run, d_y| {
            let mut d_x = run.like(&x)?;
            run.device().l2_norm_vjp(width, &x.buffer, d_y, &mut d_x)?;
            run.give(&x, d_x)
        }))
    }

    /// Causal depth-wise convolution of `x [batch, time, channels]` with `weight [channels, width]`; tokens before
    /// the first come from `tail [batch, width − 1, channels]`, a constant, or are zeros.
    ///
    /// # Errors
    /// As [`Tape::linear`].
    pub fn conv(
        &mut self,
        batch: usize,
        x: &Var<D>,
        tail: Option<Arc<D::Buffer>>,
        weight: ParamId,
        bias: ParamId,
    ) -> Result<Var<D>> {
        let dims = self.conv_dims(batch, x, weight)?;
        let mut y = self.like(x)?;
        let (w, b) = (self.params.value(weight)?, self.params.value(bias)?);
        self.device.conv(dims, &x.buffer, tail.as_deref(), w, b, &mut y)?;
        let x = x.clone();
        Ok(self.push(y, move |run, d_y| {
            let (device, w) = (run.device(), run.param(weight)?);
            let mut d_x = run.like(&x)?;
            if let (d_w, Some(d_bias)) = run.gradient_pair(weight, Some(bias))? {
                device.conv_vjp(dims, &x.buffer, tail.as_deref(), w, d_y, &mut d_x, d_w, d_bias)?;
            }
            run.give(&x, d_x)
        }))
    }

    /// The tail that a next segment's [`Tape::conv`] starts from: no gradient flows through it.
    ///
    /// # Errors
    /// As [`Tape::conv`].
    pub fn conv_tail(&self, batch: usize, x: &Var<D>, tail: Option<&D::Buffer>, weight: ParamId) -> Result<D::Buffer> {
        let dims = self.conv_dims(batch, x, weight)?;
        let mut next = self.device.alloc(batch * (dims.width - 1) * dims.channels)?;
        self.device.conv_tail(dims, &x.buffer, tail, &mut next)?;
        Ok(next)
    }

    fn conv_dims(&self, batch: usize, x: &Var<D>, weight: ParamId) -> Result<ConvDims> {
        let (channels, width) = self.matrix(weight)?;
        let time = self.rows("conv: x", &x.buffer, batch.saturating_mul(channels))?;
        if width == 0 {
            return Err(Error::usage("conv: weight: expected a width of 1 or more, found 0"));
        }
        Ok(ConvDims { batch, time, channels, width })
    }

    /// The two sizes of a parameter that is a matrix.
    pub(super) fn matrix(&self, id: ParamId) -> Result<(usize, usize)> {
        match *self.params.shape(id)? {
            [rows, cols] => Ok((rows, cols)),
            ref shape => Err(Error::usage(format!("weight: expected a matrix, found shape {shape:?}"))),
        }
    }
}
