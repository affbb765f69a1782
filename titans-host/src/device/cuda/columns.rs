//! Sums over rows, a result a column, in two stages (`kernels/columns.cuh`): a few thousand rows are enough blocks for
//! any chip, however few columns there are. A table's gradient is a sum a row of it.

use super::buffer::{DeviceBuffer, View};
use super::driver::Driver;
use super::indices::ByValue;
use super::product::args;
use super::{Cuda, DeviceIndices};
use crate::device::ConvDims;
use crate::error::Result;

/// Columns that a block does at once.
const TILE: usize = 32;
/// Rows of a slice at the least, and slices at the most; of the sizes alone, so that each sum has its one order.
const SLICE: usize = 64;
const SLICES: usize = 256;

/// Rows that plain sums add in one stage: a second launch would take longer than the longer columns.
const FEW: usize = 1024;

pub(super) fn slices(rows: usize) -> usize {
    rows.div_ceil(SLICE).clamp(1, SLICES)
}

/// Slices of a plain sum.
pub(super) fn plain_slices(rows: usize) -> usize {
    if rows <= FEW { 1 } else { slices(rows) }
}

impl<R: Driver> Cuda<R> {
    /// `out[c] += Σ x[r, c]` over `rows`.
    pub(super) fn sum_rows(&self, rows: usize, x: &DeviceBuffer<R>, out: &DeviceBuffer<R>) -> Result<()> {
        let (slices, width) = (plain_slices(rows), out.len());
        if slices == 1 {
            return self.add_rows(rows, x.view(), out);
        }
        let partial = DeviceBuffer::alloc(&self.driver, slices * width)?;
        let units = slices * width.div_ceil(TILE);
        self.launch_blocks("sum_rows", units, args![slices, rows, width, x, &partial])?;
        self.add_rows(slices, partial.view(), out)
    }

    /// The gradient of a norm's weight, added. y = x s ∘ weight with s one number a row (`inverse`), so
    /// `d_weight[c] += Σ_r d_y[r, c] x[r, c] s[r]`.
    pub(super) fn norm_weight_backward(
        &self,
        x: &DeviceBuffer<R>,
        inverse: &DeviceBuffer<R>,
        d_y: &DeviceBuffer<R>,
        d_weight: &DeviceBuffer<R>,
    ) -> Result<()> {
        let (rows, width) = (inverse.len(), d_weight.len());
        let slices = slices(rows);
        let partial = DeviceBuffer::alloc(&self.driver, slices * width)?;
        let units = slices * width.div_ceil(TILE);
        self.launch_blocks("norm_weight_vjp", units, args![slices, rows, width, x, inverse, d_y, &partial])?;
        self.add_rows(slices, partial.view(), d_weight)
    }

    /// The gradients of a convolution's filters, in which y is linear, and of its biases, added:
    /// `d_w[c, j] += Σ_{b,t} d_y[b, t, c] x[b, t − width + 1 + j, c]`, `d_bias[c] += Σ_{b,t} d_y[b, t, c]`. `before`
    /// rows of the tail stand before a sequence.
    pub(super) fn conv_weight_backward(
        &self,
        d: ConvDims,
        before: usize,
        (x, tail): (&DeviceBuffer<R>, Option<&DeviceBuffer<R>>),
        d_y: &DeviceBuffer<R>,
        [d_w, d_bias]: [&DeviceBuffer<R>; 2],
    ) -> Result<()> {
        let slices = plain_slices(d.batch * d.time);
        let sums = if slices > 1 { slices * (d_w.len() + d_bias.len()) } else { 0 };
        let partial = DeviceBuffer::alloc(&self.driver, sums)?;
        let units = slices * (d.width + 1) * d.channels.div_ceil(TILE);
        let partial = Some(&partial).filter(|_| slices > 1);
        let args = args![slices, d.batch, d.time, d.channels, d.width, before, x, tail, d_y, partial, d_w, d_bias];
        self.launch_blocks("conv_vjp_weight", units, args)?;
        let Some(partial) = partial else { return Ok(()) };
        let args = args![slices, d.channels, d.width, partial, d_w, d_bias];
        self.launch_blocks("conv_add_rows", (d_w.len() + d_bias.len()).div_ceil(TILE), args)
    }

    /// The last stage, for few rows.
    pub(super) fn add_rows(&self, rows: usize, x: View, out: &DeviceBuffer<R>) -> Result<()> {
        self.launch_blocks("add_rows", out.len().div_ceil(TILE), args![rows, out.len(), x, out])
    }

    /// Backward of `y[r] = table[ids[r]]`: row i of the table is every y of an r whose id is i, so
    /// `d_table[ids[r]] += d_y[r]` for all rows, one sum for every id.
    pub(super) fn embedding_backward(
        &self,
        width: usize,
        ids: &DeviceIndices<R>,
        d_y: &DeviceBuffer<R>,
        d_table: &DeviceBuffer<R>,
    ) -> Result<()> {
        let ByValue { groups, places, starts } = ids.by_value()?;
        // How many groups there are is each step's own; those behind the last one are empty.
        let groups = if self.in_repeated_step() { ids.len() } else { groups };
        let args = args![width, ids.values()?, places, starts, d_y, d_table];
        self.launch_blocks("embedding_vjp", groups * width.div_ceil(TILE), args)
    }
}
