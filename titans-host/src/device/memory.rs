//! One memory operation: its sizes, what it reads, what it writes.

use super::{Device, InputGradient};
use crate::error::Result;
use titans_kernel::choice;
use titans_kernel::memory::{MemorySpec, Read};

choice! {
    /// How many boundaries of a memory wait for its backward: states at the starts of its periods
    /// ([`MemorySpec::period_len`]).
    #[derive(Default)]
    pub enum Boundaries: "boundaries" {
        /// The state at every period's start: memory grows with the number n of periods.
        #[default]
        All = 0, "all";
        /// Every ⌈√n⌉-th, those between computed again, a segment at a time: memory grows with √n, and the backward
        /// runs the memories' writes once more.
        Sqrt = 1, "sqrt";
    }
}

/// One memory operation: `batch × heads` independent memories over `time` tokens.
///
/// ```
/// use titans_host::device::{Boundaries, MemoryOp};
/// use titans_kernel::memory::{MemorySpec, Read};
///
/// let spec = MemorySpec::new(&[4, 4])?; // P = 16
/// let op = MemoryOp { spec, batch: 2, time: 1000, heads: 3, read: Read::After, read_only: false, token_form: false };
/// assert_eq!((op.state_len(), op.gates_len()), (2 * 3 * 2 * 16, 2 * 1000 * 3 * 3));
/// let mut sparse = op.clone();
/// sparse.keep(Boundaries::Sqrt);
/// assert!(sparse.boundaries_len() < op.boundaries_len());
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryOp {
    /// The network, the loss, the chunk.
    pub spec: MemorySpec,
    /// Sequences.
    pub batch: usize,
    /// Tokens of each.
    pub time: usize,
    /// Memories a sequence.
    pub heads: usize,
    /// Which weights answer a query.
    pub read: Read,
    /// No token writes: every query is answered by the initial weights.
    pub read_only: bool,
    /// Walk the tokens instead of the chunk's matrix products: the same numbers, slower.
    pub token_form: bool,
}

impl MemoryOp {
    /// Elements of a state buffer `[batch, heads, 2 P]`: weights, then momentum ([`MemorySpec::state_len`]).
    pub fn state_len(&self) -> usize {
        self.batch * self.heads * self.spec.state_len()
    }

    /// Elements of the gates' buffer `[batch, time, 3, heads, L]`; saturated where they overflow.
    pub fn gates_len(&self) -> usize {
        [self.time, 3, self.heads, self.spec.gate_sets()].into_iter().fold(self.batch, usize::saturating_mul)
    }

    /// Chooses which chunk boundaries the backward finds; it changes no number.
    pub fn keep(&mut self, boundaries: Boundaries) {
        self.spec.keep_every = match boundaries {
            Boundaries::All => 1,
            Boundaries::Sqrt => {
                let periods = self.spec.periods(self.time);
                let root = periods.isqrt();
                (root + usize::from(root * root < periods)).clamp(1, 1 << 20)
            }
        };
    }

    /// Elements of the buffer of chunk boundaries that the backward needs: `[batch, heads, …]`, of every memory the
    /// kept states `[periods, 2 P]` and where a piece is several chunks Δ `[time, d_L]`
    /// ([`MemorySpec::boundaries_len`]).
    pub fn boundaries_len(&self) -> usize {
        self.batch * self.heads * self.spec.boundaries_len(self.time)
    }
}

/// What a memory operation reads.
#[derive(Debug)]
pub struct MemoryInputs<'a, B: ?Sized, I: ?Sized> {
    /// Keys `[batch, time, heads, d_0]`.
    pub k: &'a B,
    /// Values `[batch, time, heads, d_L]`.
    pub v: &'a B,
    /// Queries `[batch, time, heads, d_0]`.
    pub q: &'a B,
    /// Gates `[batch, time, 3, heads, L]`: α, θ, η (see [`Device::gates`](super::Device::gates)), L being 1 where all
    /// layers share them ([`MemorySpec::gate_sets`]).
    pub gates: &'a B,
    /// State at the start `[batch, heads, 2 P]`.
    pub state: &'a B,
    /// `[batch, time]`: tokens whose entry is not 0 read but do not write.
    pub mask: Option<&'a I>,
}

/// What a memory operation writes. All but `y` on request.
#[derive(Debug)]
pub struct MemoryOutputs<'a, B: ?Sized> {
    /// Read-outs `[batch, time, heads, d_L]`.
    pub y: &'a mut B,
    /// The inner loss c ‖M(k_t) − v_t‖² `[batch, time, heads]`.
    pub surprise: Option<&'a mut B>,
    /// State after the last token `[batch, heads, 2 P]`.
    pub state: Option<&'a mut B>,
    /// For the backward, [`MemoryOp::boundaries_len`] elements.
    pub boundaries: Option<&'a mut B>,
}

/// Gradients of a memory operation, each overwritten, each shaped like its input.
#[derive(Debug)]
pub struct MemoryGradients<'a, B: ?Sized> {
    /// Of the keys.
    pub d_k: &'a mut B,
    /// Of the values.
    pub d_v: &'a mut B,
    /// Of the queries.
    pub d_q: &'a mut B,
    /// Of the gates `[batch, time, 3, heads, L]`.
    pub d_gates: &'a mut B,
    /// Of the initial state `[batch, heads, 2 P]`.
    pub d_state: &'a mut B,
}

/// [`Device::ask_vjp`] by [`Device::memory_vjp`], on a device without a way of its own. Where no token writes, that
/// gives q̄_t = (∂M/∂q)ᵀ ȳ_t and W̄ = Σ_t (∂M/∂W)ᵀ ȳ_t, and zeros for keys, values and gates, which are dropped.
pub(super) fn ask_by_memory_vjp<D: Device + ?Sized>(
    device: &D,
    op: &MemoryOp,
    inputs: MemoryInputs<'_, D::Buffer, D::Indices>,
    boundaries: &D::Buffer,
    d_y: &D::Buffer,
    d_q: &mut D::Buffer,
    d_state: InputGradient<'_, D::Buffer>,
) -> Result<()> {
    let room = |x: &D::Buffer| device.alloc(device.len(x));
    let [mut d_k, mut d_v, mut d_gates] = [room(inputs.k)?, room(inputs.v)?, room(inputs.gates)?];
    let mut own = match d_state {
        InputGradient::Set(_) => None,
        InputGradient::Add(_) => Some(room(inputs.state)?),
    };
    let (InputGradient::Set(out) | InputGradient::Add(out)) = d_state;
    let to = own.as_mut().unwrap_or(&mut *out);
    let gradients = MemoryGradients { d_k: &mut d_k, d_v: &mut d_v, d_q, d_gates: &mut d_gates, d_state: to };
    device.memory_vjp(op, inputs, boundaries, Some(d_y), None, gradients)?;
    own.map_or(Ok(()), |own| device.add_scaled(1.0, &own, out))
}
