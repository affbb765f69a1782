//! Element-wise operations, linear maps, norms and the convolution on the tape.

use super::{Backward, Op, ParamId, Shared, Tape, Var};
use crate::device::{ConvDims, ConvGradients, Device, DropMask, InputGradient, LinearDims, LinearGradients};
use crate::error::{Error, Result};

impl<D: Device> Tape<'_, D> {
    /// `a + b`, of one length.
    ///
    /// # Errors
    /// The device's own, as for every operation of the tape: a wrong length names the argument.
    pub fn add(&mut self, a: &Var<D>, b: &Var<D>) -> Result<Var<D>> {
        let mut y = self.like(a)?;
        self.device.add(&a.buffer, &b.buffer, &mut y)?;
        Ok(self.push(y, || Op::Add { a: a.clone(), b: b.clone() }))
    }

    /// `x σ(x)`.
    ///
    /// # Errors
    /// As [`Tape::add`].
    pub fn silu(&mut self, x: &Var<D>) -> Result<Var<D>> {
        let mut y = self.like(x)?;
        self.device.silu(&x.buffer, &mut y)?;
        Ok(self.push(y, || Op::Silu { x: x.clone() }))
    }

    /// `a ∘ silu(gate)`.
    ///
    /// # Errors
    /// As [`Tape::add`].
    pub fn silu_gate(&mut self, a: &Var<D>, gate: &Var<D>) -> Result<Var<D>> {
        let mut y = self.like(a)?;
        self.device.silu_gate(&a.buffer, &gate.buffer, &mut y)?;
        Ok(self.push(y, || Op::SiluGate { a: a.clone(), gate: gate.clone() }))
    }

    /// `a ∘ σ(gate)`.
    ///
    /// # Errors
    /// As [`Tape::add`].
    pub fn sigmoid_gate(&mut self, a: &Var<D>, gate: &Var<D>) -> Result<Var<D>> {
        let mut y = self.like(a)?;
        self.device.sigmoid_gate(&a.buffer, &gate.buffer, &mut y)?;
        Ok(self.push(y, || Op::SigmoidGate { a: a.clone(), gate: gate.clone() }))
    }

    /// `x / (1 − P)` where the mask keeps, else 0.
    ///
    /// # Errors
    /// As [`Tape::add`].
    pub fn dropout(&mut self, mask: DropMask, x: &Var<D>) -> Result<Var<D>> {
        let mut y = self.like(x)?;
        self.device.dropout(&mask, &x.buffer, &mut y)?;
        Ok(match x.slot {
            Some(x) => self.push(y, || Op::Dropout { mask, x }),
            None => self.constant(y),
        })
    }

    /// `x W + bias` with `W [inputs, outputs]`.
    ///
    /// # Errors
    /// As [`Tape::add`]; also [`Error::Usage`] when the weight is no matrix or `x` not rows of its inputs.
    pub fn linear(&mut self, x: &Var<D>, weight: ParamId, bias: Option<ParamId>) -> Result<Var<D>> {
        let (inputs, outputs) = self.matrix(weight)?;
        self.record_linear(inputs, outputs, false, x, weight, bias)
    }

    /// `x Wᵀ` with `W [outputs, inputs]`: a head tied to its embedding.
    ///
    /// # Errors
    /// As [`Tape::linear`].
    pub fn linear_transposed(&mut self, x: &Var<D>, weight: ParamId) -> Result<Var<D>> {
        let (outputs, inputs) = self.matrix(weight)?;
        self.record_linear(inputs, outputs, true, x, weight, None)
    }

    /// `x W` of a weight that no gradient reaches, nor x by it.
    ///
    /// # Errors
    /// As [`Tape::linear`].
    pub fn linear_fixed(&mut self, x: &Var<D>, weight: ParamId) -> Result<Var<D>> {
        let (inputs, outputs) = self.matrix(weight)?;
        let dims = LinearDims { rows: self.rows("linear: x", &x.buffer, inputs)?, inputs, outputs, transposed: false };
        let mut y = self.device.alloc(dims.rows * outputs)?;
        self.device.linear(dims, &x.buffer, self.params.value(weight)?, None, &mut y)?;
        Ok(self.constant(y))
    }

    fn record_linear(
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
        Ok(self.push(y, || Op::Linear { dims, x: x.clone(), weight, bias }))
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
        Ok(self.push(y, || Op::RmsNorm { width, x: x.clone(), weight }))
    }

    /// `x / √(‖x‖² + 1e-6)` over rows of `width`.
    ///
    /// # Errors
    /// As [`Tape::linear`].
    pub fn l2_norm(&mut self, width: usize, x: &Var<D>) -> Result<Var<D>> {
        self.rows("l2_norm: x", &x.buffer, width)?;
        let mut y = self.like(x)?;
        self.device.l2_norm(width, &x.buffer, &mut y)?;
        Ok(self.push(y, || Op::L2Norm { width, x: x.clone() }))
    }

    /// Causal depth-wise convolution of `x [batch, time, channels]` with `weight [channels, width]`; tokens before
    /// the first are the last ones of `tail [batch, width − 1 or more, channels]`, or zeros.
    ///
    /// # Errors
    /// As [`Tape::linear`].
    pub fn conv(
        &mut self,
        batch: usize,
        x: &Var<D>,
        tail: Option<&Var<D>>,
        weight: ParamId,
        bias: ParamId,
    ) -> Result<Var<D>> {
        let dims = self.conv_dims(batch, x, weight)?;
        let mut y = self.like(x)?;
        let (w, b) = (self.params.value(weight)?, self.params.value(bias)?);
        self.device.conv(dims, &x.buffer, tail.map(Var::buffer), w, b, &mut y)?;
        Ok(self.push(y, || Op::Conv { dims, x: x.clone(), tail: tail.cloned(), weight, bias }))
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

/// The backward of a convolution (its derivation: [`Device::conv_vjp`]); `tail` are the rows before those of `x`.
pub(super) fn conv_vjp<D: Device>(
    run: &mut Backward<'_, D>,
    dims: ConvDims,
    x: &Var<D>,
    tail: Option<&Var<D>>,
    (weight, bias): (ParamId, ParamId),
    d_y: &D::Buffer,
) -> Result<()> {
    let (device, w, mut d_x) = (run.device, run.param(weight)?, run.like(x)?);
    let wanted = tail.filter(|tail| Backward::wants(tail));
    let mut d_tail = wanted.map(|tail| run.like(tail)).transpose()?;
    if let (d_w, Some(d_bias)) = run.gradient_pair(weight, Some(bias))? {
        let gradients = ConvGradients { d_x: &mut d_x, d_w, d_bias, d_tail: d_tail.as_mut() };
        device.conv_vjp(dims, x.buffer(), tail.map(Var::buffer), w, d_y, gradients)?;
    }
    run.give(x, d_x)?;
    wanted.zip(d_tail).map_or(Ok(()), |(tail, d_tail)| run.give(tail, d_tail))
}

/// Backward of y = x W + bias, where dy = dx W + x dW + dbias: `d_x = d_y Wᵀ` joins the cotangent of x, `xᵀ d_y` and
/// `Σ_r d_y[r]` the gradients of W and bias. What other maps of x left at its place is added to by the product itself.
pub(super) fn linear_vjp<D: Device>(
    run: &mut Backward<'_, D>,
    dims: LinearDims,
    x: &Var<D>,
    (weight, bias): (ParamId, Option<ParamId>),
    d_y: &Shared<D>,
) -> Result<()> {
    let (device, w) = (run.device, run.param(weight)?);
    let mut sum = match x.slot {
        Some(slot) => run.cotangent(slot)?,
        None => None,
    };
    if let (Some(slot), Some(d_x)) = (x.slot, sum.as_mut().and_then(Shared::get_mut)) {
        let (d_w, d_bias) = run.gradient_pair(weight, bias)?;
        let gradients = LinearGradients { d_x: Some(InputGradient::Add(d_x)), d_w, d_bias };
        device.linear_vjp(dims, x.buffer(), w, d_y, gradients)?;
        return sum.map_or(Ok(()), |sum| run.seed(slot, sum));
    }
    let mut d_x = if Backward::wants(x) { Some(run.like(x)?) } else { None };
    let (d_w, d_bias) = run.gradient_pair(weight, bias)?;
    let gradients = LinearGradients { d_x: d_x.as_mut().map(InputGradient::Set), d_w, d_bias };
    device.linear_vjp(dims, x.buffer(), w, d_y, gradients)?;
    if let (Some(slot), Some(sum)) = (x.slot, sum) {
        run.seed(slot, sum)?;
    }
    d_x.map_or(Ok(()), |d_x| run.give(x, d_x))
}
