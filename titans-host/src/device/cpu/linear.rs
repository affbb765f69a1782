//! Linear maps: rows of the output over the threads; for the gradient of the weight, rows of the weight, each of which
//! sums over all tokens in order.

use titans_kernel::error::expect_len;
use titans_kernel::ops::linear;
use titans_kernel::{Mat, MatMut, Result as KernelResult};

use super::threads::split_rows;
use super::{Cpu, SimdScalar};
use crate::device::{InputGradient, LinearDims, LinearGradients};
use crate::error::Result;

/// Rows of a task are a multiple of the tallest register block.
const TILE_ROWS: usize = 24;

/// Nanoseconds that a linear map takes at about 100 GFLOP/s.
fn cost(dims: &LinearDims) -> usize {
    dims.rows.saturating_mul(dims.inputs).saturating_mul(dims.outputs) / 50
}

/// The weight as `[inputs, outputs]`, however it is stored.
fn weight<'a, T: SimdScalar>(dims: &LinearDims, w: &'a [T]) -> KernelResult<Mat<'a, T>> {
    if dims.transposed {
        Ok(Mat::new(w, dims.outputs, dims.inputs)?.t())
    } else {
        Mat::new(w, dims.inputs, dims.outputs)
    }
}

/// Checks what forward and backward share: `y` is the output or its cotangent.
fn expect<T>(dims: &LinearDims, x: &[T], w: &[T], bias: Option<usize>, y: &[T]) -> KernelResult<()> {
    expect_len("x", dims.rows.saturating_mul(dims.inputs), x.len())?;
    expect_len("w", dims.inputs.saturating_mul(dims.outputs), w.len())?;
    expect_len("y", dims.rows.saturating_mul(dims.outputs), y.len())?;
    bias.map_or(Ok(()), |len| expect_len("bias", dims.outputs, len))
}

impl<T: SimdScalar> Cpu<T> {
    pub(super) fn linear_forward(
        &self,
        dims: &LinearDims,
        x: &[T],
        w: &[T],
        bias: Option<&[T]>,
        y: &mut [T],
    ) -> Result<()> {
        expect(dims, x, w, bias.map(<[T]>::len), y)?;
        let (inputs, outputs) = (dims.inputs, dims.outputs);
        let w = weight(dims, w)?;
        let grain = self.threads.grain(dims.rows, TILE_ROWS);
        self.threads.run(cost(dims), split_rows(y, outputs, grain), |(rows, y)| {
            let n = rows.len();
            let x = Mat::new(&x[rows.start * inputs..rows.end * inputs], n, inputs)?;
            linear::forward(&self.gemm, x, w, bias, MatMut::new(y, n, outputs)?)
        })
    }

    /// Backward of y = x W + bias ([`linear`]): d_x = d_y Wᵀ and d_bias = Σ_r d_y as the kernel has them; of d_w = xᵀ
    /// d_y a thread has some rows, which are columns of x.
    pub(super) fn linear_backward(
        &self,
        dims: &LinearDims,
        x: &[T],
        w: &[T],
        d_y: &[T],
        gradients: LinearGradients<'_, [T]>,
    ) -> Result<()> {
        let LinearGradients { d_x, d_w, d_bias } = gradients;
        expect(dims, x, w, d_bias.as_ref().map(|b| b.len()), d_y)?;
        expect_len("d_w", w.len(), d_w.len())?;
        let (inputs, outputs) = (dims.inputs, dims.outputs);
        if let Some((store, d_x)) = d_x.map(InputGradient::parts) {
            expect_len("d_x", x.len(), d_x.len())?;
            let w = weight(dims, w)?;
            let grain = self.threads.grain(dims.rows, TILE_ROWS);
            self.threads.run(cost(dims), split_rows(d_x, inputs, grain), |(rows, d_x)| {
                let n = rows.len();
                let d_y = Mat::new(&d_y[rows.start * outputs..rows.end * outputs], n, outputs)?;
                linear::vjp_input(&self.gemm, store, w, d_y, MatMut::new(d_x, n, inputs)?)
            })?;
        }
        let (x, d_y) = (Mat::new(x, dims.rows, inputs)?, Mat::new(d_y, dims.rows, outputs)?);
        // (xᵀ d_y)ᵀ = d_yᵀ x: a weight stored the other way round exchanges the two.
        let (left, right) = if dims.transposed { (d_y, x) } else { (x, d_y) };
        // Rows of d_w, never of x: every sum over the tokens is one thread's, in their order.
        let grain = left.cols().div_ceil(self.threads.count()).max(1).next_multiple_of(8);
        self.threads.run(cost(dims), split_rows(d_w, right.cols(), grain), |(rows, d_w)| {
            let part = left.block(0, left.rows(), rows.start, rows.len());
            linear::vjp_weight(&self.gemm, part, right, MatMut::new(d_w, rows.len(), right.cols())?)
        })?;
        match d_bias {
            Some(d_bias) => Ok(linear::vjp_bias(&self.gemm, d_y, d_bias)?),
            None => Ok(()),
        }
    }
}
