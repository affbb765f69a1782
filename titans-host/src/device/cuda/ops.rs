//! The operations that take more than one launch, or more checks.

use super::buffer::DeviceBuffer;
use super::driver::Driver;
use super::product::{Matrix, args};
use super::watch::Bound;
use super::{Cuda, DeviceIndices};
use crate::device::{AdamW, ConvDims, ConvGradients, DropMask, InputGradient, LinearDims, LinearGradients, MoveRows};
use crate::error::{Error, Result};
use titans_kernel::Store;
use titans_kernel::error::expect_len;

/// Elements that one block adds up, and blocks of a sum of more than that: of the sizes alone, so that each sum has its
/// one order.
const SUM: usize = 8192;
const SUMS: usize = 1024;

/// Blocks of a sum over so many elements; more than one leave their sums in scratch.
pub(super) fn sums(len: usize) -> usize {
    len.div_ceil(SUM).min(SUMS)
}

/// Rows of a block of a norm's backward that makes the weight's sums too: `NORMED` in `kernels/rows.cu`.
pub(super) const NORMED: usize = 16;

/// So few rows that a launch less is worth more than sums over longer slices.
pub(super) fn few_normed(rows: usize) -> bool {
    rows <= 4096
}

/// Rows of `width` in `len` elements.
pub(super) fn rows(what: &'static str, width: usize, len: usize) -> Result<usize> {
    match len.checked_rem(width) {
        Some(0) => Ok(len / width),
        Some(rest) => Err(titans_kernel::Error::Shape { what, expected: len - rest, found: len }.into()),
        None => Err(Error::usage(format!("{what}: rows of no width"))),
    }
}

fn check_linear<R: Driver>(d: LinearDims, x: &DeviceBuffer<R>, w: &DeviceBuffer<R>, y: &DeviceBuffer<R>) -> Result<()> {
    expect_len("x", d.rows * d.inputs, x.len())?;
    expect_len("w", d.inputs * d.outputs, w.len())?;
    Ok(expect_len("y", d.rows * d.outputs, y.len())?)
}

/// Rows of the tail, after the lengths of a convolution's arguments were checked.
fn check_conv<R: Driver>(
    d: ConvDims,
    x: &DeviceBuffer<R>,
    tail: Option<&DeviceBuffer<R>>,
    w: Option<&DeviceBuffer<R>>,
) -> Result<usize> {
    if d.width == 0 {
        return Err(Error::usage("convolution: a filter of no taps; width is at least 1"));
    }
    expect_len("x", d.batch * d.time * d.channels, x.len())?;
    if let Some(w) = w {
        expect_len("w", d.channels * d.width, w.len())?;
    }
    Ok(tail.map_or(Ok(d.width - 1), |tail| d.tail_rows(tail.len()))?)
}

impl<R: Driver> Cuda<R> {
    /// Backward of y = a ∘ ψ(g), `kernel` being its name: d_a = d_y ∘ ψ(g), d_g = d_y ∘ a ∘ ψ′(g).
    pub(super) fn gate_backward(
        &self,
        kernel: &'static str,
        a: &DeviceBuffer<R>,
        g: &DeviceBuffer<R>,
        d_y: &DeviceBuffer<R>,
        d_a: &DeviceBuffer<R>,
        d_g: &DeviceBuffer<R>,
    ) -> Result<()> {
        for (what, x) in [("gate", g), ("d_y", d_y), ("d_a", d_a), ("d_gate", d_g)] {
            expect_len(what, a.len(), x.len())?;
        }
        self.launch(kernel, a.len(), args![a, g, d_y, d_a, d_g])
    }

    pub(super) fn drop_some(&self, mask: &DropMask, x: &DeviceBuffer<R>, y: &DeviceBuffer<R>) -> Result<()> {
        expect_len("y", x.len(), y.len())?;
        let ([low, high], threshold) = (mask.key().map(i64::from), i64::from(mask.threshold()));
        self.launch("dropout", y.len(), args![low, high, threshold, mask.scale(), x, y])
    }

    pub(super) fn linear_forward(
        &self,
        d: LinearDims,
        x: &DeviceBuffer<R>,
        w: &DeviceBuffer<R>,
        bias: Option<&DeviceBuffer<R>>,
        y: &DeviceBuffer<R>,
    ) -> Result<()> {
        check_linear(d, x, w, y)?;
        if let Some(bias) = bias {
            expect_len("bias", d.outputs, bias.len())?;
            self.launch("repeat_row", y.len(), args![d.outputs, bias, y])?;
        }
        let beta = if bias.is_some() { 1.0 } else { 0.0 };
        let c = Matrix::new(y.view(), d.rows, d.outputs);
        self.linear_product(Matrix::new(x.view(), d.rows, d.inputs), weight(d, w), beta, c)
    }

    /// Backward of y = x W + bias. As dy = dx W + x dW + dbias in every row,
    ///
    /// ```text
    /// d_x = (or +=) d_y Wᵀ,  d_w += xᵀ d_y (d_yᵀ x of a transposed weight),  d_bias += Σ_r d_y[r]
    /// ```
    pub(super) fn linear_backward(
        &self,
        d: LinearDims,
        x: &DeviceBuffer<R>,
        w: &DeviceBuffer<R>,
        d_y: &DeviceBuffer<R>,
        gradients: LinearGradients<'_, DeviceBuffer<R>>,
    ) -> Result<()> {
        let LinearGradients { d_x, d_w, d_bias } = gradients;
        check_linear(d, x, w, d_y)?;
        expect_len("d_w", w.len(), d_w.len())?;
        let (x_rows, y_rows) = (Matrix::new(x.view(), d.rows, d.inputs), Matrix::new(d_y.view(), d.rows, d.outputs));
        if let Some((store, d_x)) = d_x.map(InputGradient::parts) {
            let beta = if store == Store::Set { 0.0 } else { 1.0 };
            expect_len("d_x", x.len(), d_x.len())?;
            let c = Matrix::new(d_x.view(), d.rows, d.inputs);
            self.linear_product(y_rows, weight(d, w).t(), beta, c)?;
        }
        if d.transposed {
            self.linear_product(y_rows.t(), x_rows, 1.0, Matrix::new(d_w.view(), d.outputs, d.inputs))?;
        } else {
            self.linear_product(x_rows.t(), y_rows, 1.0, Matrix::new(d_w.view(), d.inputs, d.outputs))?;
        }
        if let Some(d_bias) = d_bias {
            expect_len("d_bias", d.outputs, d_bias.len())?;
            self.sum_rows(d.rows, d_y, d_bias)?;
        }
        Ok(())
    }

    /// RMS norm with a weight, l2 norm without.
    pub(super) fn norm(
        &self,
        width: usize,
        x: &DeviceBuffer<R>,
        weight: Option<&DeviceBuffer<R>>,
        y: &DeviceBuffer<R>,
    ) -> Result<()> {
        expect_len("y", x.len(), y.len())?;
        let (rows, divisor) = norm_rows(width, x, weight)?;
        self.launch_rows("norm_forward", rows, args![width, divisor, x, weight, y])
    }

    /// Backward of [`Cuda::norm`], y = s x ∘ weight with s = (‖x‖² / divisor + eps)^(−1/2) and ds = −s³ x·dx / divisor.
    /// With e = d_y ∘ weight: d_x = s (e − x s² (e·x) / divisor); `d_weight` += Σ_r d_y ∘ x s where there is a weight.
    pub(super) fn norm_backward(
        &self,
        width: usize,
        x: &DeviceBuffer<R>,
        weight: Option<&DeviceBuffer<R>>,
        d_y: &DeviceBuffer<R>,
        d_x: &DeviceBuffer<R>,
        d_weight: Option<&mut DeviceBuffer<R>>,
    ) -> Result<()> {
        expect_len("d_y", x.len(), d_y.len())?;
        expect_len("d_x", x.len(), d_x.len())?;
        let (rows, divisor) = norm_rows(width, x, weight)?;
        if let Some(d_weight) = d_weight.as_deref().filter(|_| few_normed(rows)) {
            expect_len("d_weight", width, d_weight.len())?;
            let partial = DeviceBuffer::alloc(&self.driver, rows.div_ceil(NORMED) * width)?;
            let args = args![rows, width, divisor, x, weight, d_y, d_x, &partial];
            self.launch_blocks("norm_vjp_few", rows.div_ceil(NORMED), args)?;
            return self.add_rows(rows.div_ceil(NORMED), partial.view(), d_weight);
        }
        let inverse = DeviceBuffer::alloc(&self.driver, rows)?;
        self.launch_rows("norm_vjp", rows, args![width, divisor, x, weight, d_y, d_x, &inverse])?;
        match d_weight {
            Some(d_weight) => {
                expect_len("d_weight", width, d_weight.len())?;
                self.norm_weight_backward(x, &inverse, d_y, d_weight)
            }
            None => Ok(()),
        }
    }

    pub(super) fn conv_forward(
        &self,
        d: ConvDims,
        x: &DeviceBuffer<R>,
        tail: Option<&DeviceBuffer<R>>,
        w: &DeviceBuffer<R>,
        bias: &DeviceBuffer<R>,
        y: &DeviceBuffer<R>,
    ) -> Result<()> {
        let before = check_conv(d, x, tail, Some(w))?;
        expect_len("bias", d.channels, bias.len())?;
        expect_len("y", x.len(), y.len())?;
        self.launch("conv_forward", x.len(), args![d.time, d.channels, d.width, before, x, tail, w, bias, y])
    }

    /// Backward of `y[t, c] = bias[c] + Σ_j w[c, j] x[t − width + 1 + j, c]`, where token s meets tap j in the output
    /// of t = s + width − 1 − j:
    ///
    /// ```text
    /// d_x[s, c] = Σ_j w[c, j] d_y[s + width − 1 − j, c]
    /// d_w[c, j] += Σ_t d_y[t, c] x[t − width + 1 + j, c],  d_bias[c] += Σ_t d_y[t, c]
    /// ```
    pub(super) fn conv_backward(
        &self,
        d: ConvDims,
        x: &DeviceBuffer<R>,
        tail: Option<&DeviceBuffer<R>>,
        w: &DeviceBuffer<R>,
        d_y: &DeviceBuffer<R>,
        gradients: ConvGradients<'_, DeviceBuffer<R>>,
    ) -> Result<()> {
        let ConvGradients { d_x, d_w, d_bias, d_tail } = gradients;
        let (d_x, d_w, d_bias, d_tail) = (&*d_x, &*d_w, &*d_bias, d_tail.as_deref());
        let before = check_conv(d, x, tail, Some(w))?;
        let (of_tail, tail_len) = (d_tail.map_or(0, DeviceBuffer::len), tail.map_or(0, DeviceBuffer::len));
        expect_len("d_tail", if d_tail.is_some() { tail_len } else { 0 }, of_tail)?;
        expect_len("d_y", x.len(), d_y.len())?;
        expect_len("d_x", x.len(), d_x.len())?;
        expect_len("d_w", w.len(), d_w.len())?;
        expect_len("d_bias", d.channels, d_bias.len())?;
        let args = args![d.time, d.channels, d.width, before, x.len(), w, d_y, d_x, d_tail];
        self.launch("conv_vjp_input", x.len() + of_tail, args)?;
        self.conv_weight_backward(d, before, (x, tail), d_y, [d_w, d_bias])
    }

    pub(super) fn conv_next_tail(
        &self,
        d: ConvDims,
        x: &DeviceBuffer<R>,
        tail: Option<&DeviceBuffer<R>>,
        next: &DeviceBuffer<R>,
    ) -> Result<()> {
        expect_len("tail", d.width.saturating_sub(1), check_conv(d, x, tail, None)?)?;
        expect_len("next", d.batch * (d.width - 1) * d.channels, next.len())?;
        self.launch("conv_tail", next.len(), args![d.time, d.channels, d.width, x, tail, next])
    }

    /// A thread for every element that is written: it adds up the rows that meet there.
    pub(super) fn rows_moved(&self, op: &MoveRows, x: &DeviceBuffer<R>, y: &DeviceBuffer<R>) -> Result<()> {
        if !op.check(x.len(), y.len())? {
            return Ok(());
        }
        let MoveRows { batch, rows, width, from, to, add } = *op;
        let (from_hold, to_hold) = (from.hold.min(rows), to.hold.min(rows));
        let entries = if to.stride == 0 { 1 } else { batch };
        let args = args![
            entries,
            batch,
            rows,
            width,
            from.stride,
            from.first,
            from_hold,
            to.stride,
            to.first,
            to_hold,
            usize::from(add),
            x,
            y
        ];
        self.launch("move_rows", entries * rows.div_ceil(to_hold) * width, args)
    }

    /// The ids' count, once every id is known to be a row of a table of `entries`.
    pub(super) fn check_ids(&self, ids: &DeviceIndices<R>, entries: usize) -> Result<usize> {
        self.bounded(ids, Bound::Ids(entries));
        match ids.largest {
            Some(id) if !ids.keeps(Bound::Ids(entries)) => Err(Error::usage(format!(
                "embedding: id {id} in a table of {entries} rows (0 to {})",
                entries.max(1) - 1
            ))),
            _ => Ok(ids.len()),
        }
    }

    /// The sequences' count, once none is known to be longer than `time`.
    pub(super) fn check_lengths(&self, lengths: &DeviceIndices<R>, time: usize) -> Result<usize> {
        self.bounded(lengths, Bound::Lengths(time));
        match lengths.largest {
            Some(length) if !lengths.keeps(Bound::Lengths(time)) => {
                Err(Error::usage(format!("pool: lengths: expected {time} at most, found {length}")))
            }
            _ => Ok(lengths.len()),
        }
    }

    /// Rows of logits, once every target is known to be a class.
    pub(super) fn check_targets(
        &self,
        classes: usize,
        logits: &DeviceBuffer<R>,
        targets: &DeviceIndices<R>,
    ) -> Result<usize> {
        self.bounded(targets, Bound::Targets(classes));
        let rows = rows("logits in whole rows", classes, logits.len())?;
        expect_len("targets", rows, targets.len())?;
        match targets.largest_target {
            Some(t) if !targets.keeps(Bound::Targets(classes)) => {
                Err(Error::usage(format!("cross entropy: target {t} of {classes} classes (0 to {})", classes - 1)))
            }
            _ => Ok(rows),
        }
    }

    /// `total[0] += Σ x` or `Σ x²`.
    pub(super) fn add_sum(&self, squares: bool, x: &DeviceBuffer<R>, total: &DeviceBuffer<R>) -> Result<()> {
        expect_len("total", 1, total.len())?;
        let (units, squares) = (sums(x.len()), usize::from(squares));
        if units <= 1 {
            return self.launch_blocks("total_sum", 1, args![x.len(), squares, x, total]);
        }
        let partial = DeviceBuffer::alloc(&self.driver, units)?;
        self.launch_blocks("partial_sums", units, args![x.len(), squares, x, &partial])?;
        self.launch_blocks("total_sum", 1, args![units, 0usize, &partial, total])
    }

    pub(super) fn adamw_step(
        &self,
        s: &AdamW,
        gradient: &DeviceBuffer<R>,
        parameter: &DeviceBuffer<R>,
        moment1: &DeviceBuffer<R>,
        moment2: &DeviceBuffer<R>,
    ) -> Result<()> {
        for (what, x) in [("gradient", gradient), ("moment 1", moment1), ("moment 2", moment2)] {
            expect_len(what, parameter.len(), x.len())?;
        }
        let ([rate, decay], [first, second]) = (s.rates(), s.corrections());
        let args = args![
            rate,
            s.beta1,
            s.beta2,
            s.epsilon,
            decay,
            s.gradient_scale,
            first,
            second,
            gradient,
            parameter,
            moment1,
            moment2
        ];
        self.launch("adamw", parameter.len(), args)
    }
}

/// Rows, and what their squared lengths are divided by: the width for the RMS norm, 1 for the l2 norm.
fn norm_rows<R: Driver>(width: usize, x: &DeviceBuffer<R>, weight: Option<&DeviceBuffer<R>>) -> Result<(usize, f64)> {
    let rows = rows("x in whole rows", width, x.len())?;
    let Some(weight) = weight else { return Ok((rows, 1.0)) };
    expect_len("weight", width, weight.len())?;
    Ok((rows, width as f64))
}

/// `[inputs, outputs]`, as a factor.
fn weight<R: Driver>(d: LinearDims, w: &DeviceBuffer<R>) -> Matrix {
    if d.transposed {
        Matrix::new(w.view(), d.outputs, d.inputs).t()
    } else {
        Matrix::new(w.view(), d.inputs, d.outputs)
    }
}
