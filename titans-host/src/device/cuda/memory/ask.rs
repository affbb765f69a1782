//! Linear memories that answer and are not written to: one launch forward, and one back beside clearing what is asked
//! for and gets nothing.

use super::check_inputs;
use super::linear::{CudaInputs, fits};
use super::space::Sizes;
use crate::device::cuda::buffer::DeviceBuffer;
use crate::device::cuda::compile::TILE;
use crate::device::cuda::driver::Arg;
use crate::device::cuda::product::args;
use crate::device::cuda::{Cuda, Driver};
use crate::device::{InputGradient, MemoryGradients, MemoryOp, MemoryOutputs};
use crate::error::Result;
use titans_kernel::Store;
use titans_kernel::error::expect_len;

/// Does an operation take this path? Its one boundary is then the state.
pub(in crate::device) fn only_asks(op: &MemoryOp) -> bool {
    op.read_only && fits(&op.spec) && op.boundaries_len() == op.state_len()
}

/// Tiles of so many rows or columns.
fn tiles(len: usize) -> usize {
    len.div_ceil(TILE)
}

impl<R: Driver> Cuda<R> {
    /// Read-outs; the state stays what it is.
    pub(super) fn ask_forward(
        &self,
        sizes: Sizes<'_>,
        inputs: &CudaInputs<'_, R>,
        outputs: &MemoryOutputs<'_, DeviceBuffer<R>>,
    ) -> Result<()> {
        let (op, d_in, d_out) = (sizes.op, sizes.spec().key_width(), sizes.top());
        for kept in [outputs.boundaries.as_deref(), outputs.state.as_deref()].into_iter().flatten() {
            kept.copy_from(inputs.state)?;
        }
        let args = args![op.heads, op.time, d_in, d_out, inputs.q, inputs.state, &*outputs.y];
        self.launch_blocks("linear_ask", sizes.count * tiles(op.time) * tiles(d_out), args)
    }

    /// The cotangents of queries and state alone ([`Cuda::ask_products`]).
    pub(in crate::device::cuda) fn ask_state_vjp(
        &self,
        op: &MemoryOp,
        inputs: &CudaInputs<'_, R>,
        d_y: &DeviceBuffer<R>,
        d_q: &DeviceBuffer<R>,
        d_state: InputGradient<'_, DeviceBuffer<R>>,
    ) -> Result<()> {
        check_inputs(op, inputs)?;
        let (store, d_state) = d_state.parts();
        expect_len("d_y", inputs.v.len(), d_y.len())?;
        expect_len("d_q", inputs.q.len(), d_q.len())?;
        expect_len("d_state", op.state_len(), d_state.len())?;
        self.ask_products(Sizes::new(op), inputs, d_y, [d_q, &*d_state], store == Store::Add)
    }

    /// The cotangents of queries and state, to which the last state's is added; nothing reaches the others.
    pub(super) fn ask_boundary_vjp(
        &self,
        sizes: Sizes<'_>,
        inputs: &CudaInputs<'_, R>,
        d_y: Option<&DeviceBuffer<R>>,
        d_final: Option<&DeviceBuffer<R>>,
        gradients: &MemoryGradients<'_, DeviceBuffer<R>>,
    ) -> Result<()> {
        let MemoryGradients { d_k, d_v, d_q, d_gates, d_state } = gradients;
        self.clear_some(&[&**d_k, &**d_v, &**d_gates])?;
        if let Some(d_final) = d_final {
            d_state.copy_from(d_final)?;
        }
        let Some(d_y) = d_y else {
            let rest = [&**d_q, &**d_state];
            return self.clear_some(if d_final.is_some() { &rest[..1] } else { &rest });
        };
        self.ask_products(sizes, inputs, d_y, [&**d_q, &**d_state], d_final.is_some())
    }

    /// As Y = Q W by the weights at the start, dY = dQ W + Q dW: d_Q = d_Y Wᵀ, and d_W = Qᵀ d_Y, d_S = 0, added where
    /// `add` says so.
    fn ask_products(
        &self,
        sizes: Sizes<'_>,
        inputs: &CudaInputs<'_, R>,
        d_y: &DeviceBuffer<R>,
        [d_q, d_state]: [&DeviceBuffer<R>; 2],
        add: bool,
    ) -> Result<()> {
        let (op, d_in, d_out) = (sizes.op, sizes.spec().key_width(), sizes.top());
        let sized: &[Arg] = args![op.heads, op.time, d_in, d_out, sizes.count, usize::from(add)];
        let args = [sized, args![inputs.q, inputs.state, d_y, d_q, d_state]].concat();
        let units = sizes.count * tiles(d_in) * (tiles(op.time) + tiles(d_out));
        self.launch_blocks("linear_ask_vjp", units, &args)
    }
}
