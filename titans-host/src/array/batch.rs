//! A batch of tokens through the memory of any device, and its gradients.

use super::{elements, expect_shape, owned};
use crate::device::{Device, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
use crate::error::{Error, Result};
use ndarray::{Array3, Array4, ArrayView3, ArrayView4, Ix3, Ix4};
use titans_kernel::Scalar;
use titans_kernel::memory::{Form, MemorySpec, Read};

const K_AXES: &str = "[B, H, T, d_k]";
const V_AXES: &str = "[B, H, T, d_v]";
const GATE_AXES: &str = "[B, H, T]";
const STATE_AXES: &str = "[B, H, 2 P]";

/// What the tokens of B sequences bring to H memories each. Every memory starts and learns on its own.
///
/// ```
/// use ndarray::{Array3, Array4, arr0};
/// use titans_host::array::{self, ArrayTokens};
/// use titans_host::device::cpu::Cpu;
/// use titans_kernel::memory::{Form, MemorySpec, Read};
///
/// let (spec, x, half) = (MemorySpec::new(&[2, 2])?, Array4::ones((3, 1, 5, 2)), arr0(0.5));
/// let (x, gate) = (x.view(), half.broadcast((3, 1, 5)).unwrap()); // one number for all tokens
/// let mask = Array3::from_elem((3, 1, 5), true);
/// let mask = Some(mask.view());
/// let tokens = ArrayTokens { k: x, v: x, q: x, alpha: gate, theta: gate, eta: gate, mask };
/// let start = Array3::from_elem((3, 1, spec.state_len()), 0.25);
/// let cpu = Cpu::<f64>::new(None)?;
/// let answers = array::memory(&cpu, &spec, Read::After, Form::Chunk, &tokens, start.view())?;
/// assert_eq!(answers.state, start); // masked tokens read, and write nothing
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ArrayTokens<'a, T> {
    /// Keys `[B, H, T, d_k]`.
    pub k: ArrayView4<'a, T>,
    /// Values `[B, H, T, d_v]`.
    pub v: ArrayView4<'a, T>,
    /// Queries `[B, H, T, d_k]`.
    pub q: ArrayView4<'a, T>,
    /// α `[B, H, T]`, 0 to 1: how much is forgotten. `array.broadcast` makes one number a whole array.
    pub alpha: ArrayView3<'a, T>,
    /// θ `[B, H, T]`, 0 or more: the step's size.
    pub theta: ArrayView3<'a, T>,
    /// η `[B, H, T]`, 0 to 1: how much of the momentum stays.
    pub eta: ArrayView3<'a, T>,
    /// `[B, H, T]`: tokens that read but do not write.
    pub mask: Option<ArrayView3<'a, bool>>,
}

/// What the memories answer. An example is at the head of [the module](super).
#[derive(Clone, Debug, PartialEq)]
pub struct Answers<T> {
    /// Read-outs `[B, H, T, d_v]`.
    pub y: Array4<T>,
    /// The inner loss c ‖M(k) − v‖² at the weights of the chunk's start `[B, H, T]`.
    pub surprise: Array3<T>,
    /// The state after the last token `[B, H, 2 P]`, for the next call, or for [`weights`](super::weights).
    pub state: Array3<T>,
}

/// Cotangents of the answers; one that is absent is 0. An example is beside [`memory_vjp`].
#[derive(Clone, Copy, Debug)]
pub struct ArrayCotangents<'a, T> {
    /// Of the read-outs `[B, H, T, d_v]`.
    pub y: Option<ArrayView4<'a, T>>,
    /// Of the final state `[B, H, 2 P]`.
    pub state: Option<ArrayView3<'a, T>>,
}

/// Gradients, each shaped like what it is of. An example is beside [`memory_vjp`].
#[derive(Clone, Debug, PartialEq)]
pub struct ArrayGradients<T> {
    /// Of the keys.
    pub k: Array4<T>,
    /// Of the values.
    pub v: Array4<T>,
    /// Of the queries.
    pub q: Array4<T>,
    /// Of α.
    pub alpha: Array3<T>,
    /// Of θ.
    pub theta: Array3<T>,
    /// Of η.
    pub eta: Array3<T>,
    /// Of the state at the start.
    pub state: Array3<T>,
}

/// Writes and reads B × H memories over T tokens, from the state `[B, H, 2 P]` at the start (`P` is
/// [`MemorySpec::params`]; zeros are a memory that knows nothing, if it has one layer).
///
/// Numbers are not searched for those that are not finite, nor gates for those out of range: what follows from such is
/// in the answers. An example is at the head of [the module](super).
///
/// # Errors
/// [`Error::Usage`] for an array of another shape, which it names, for none of any element, or for gates of every
/// layer's own; [`Error::Kernel`] for a configuration that is not valid; the device's own errors.
pub fn memory<D: Device>(
    device: &D,
    spec: &MemorySpec,
    read: Read,
    form: Form,
    tokens: &ArrayTokens<'_, D::Elem>,
    state: ArrayView3<'_, D::Elem>,
) -> Result<Answers<D::Elem>> {
    let batch = ArrayBatch::upload(device, spec, read, tokens, state)?;
    let op = MemoryOp { token_form: form == Form::Token, ..batch.op.clone() };
    let mut y = device.alloc(batch.values())?;
    let mut surprise = device.alloc(op.batch * op.time)?;
    let mut state = device.alloc(op.state_len())?;
    let outputs = MemoryOutputs { y: &mut y, surprise: Some(&mut surprise), state: Some(&mut state), boundaries: None };
    device.memory(&op, batch.lend(), outputs)?;
    Ok(Answers {
        y: owned(batch.axes(spec.value_width()), device.download(&y)?)?,
        surprise: owned(batch.gate_axes(), device.download(&surprise)?)?,
        state: owned(batch.state_axes(), device.download(&state)?)?,
    })
}

/// The gradients of ⟨cotangents, outputs of [`memory`]⟩ in its chunk form: exact, through every write (`docs/MATH.md`,
/// section 4).
///
/// ```
/// use ndarray::{Array3, Array4};
/// use titans_host::array::{self, ArrayCotangents, ArrayTokens};
/// use titans_host::device::cpu::Cpu;
/// use titans_kernel::memory::{MemorySpec, Read};
///
/// # fn main() -> titans_host::Result<()> {
/// let device = Cpu::<f64>::new(None)?;
/// let spec = MemorySpec::new(&[2, 2])?;
/// let (b, h, t) = (3, 2, 4);
/// let k = Array4::from_elem((b, h, t, 2), 0.5);
/// let gate = Array3::from_elem((b, h, t), 0.25);
/// let gate = gate.view();
/// let tokens = ArrayTokens { k: k.view(), v: k.view(), q: k.view(), alpha: gate, theta: gate, eta: gate, mask: None };
/// let start = Array3::zeros((b, h, spec.state_len()));
/// let d_y = Array4::ones((b, h, t, 2));
/// let cotangents = ArrayCotangents { y: Some(d_y.view()), state: None };
/// let gradients = array::memory_vjp(&device, &spec, Read::After, &tokens, start.view(), &cotangents)?;
/// assert_eq!(gradients.k.dim(), (b, h, t, 2));
/// assert!(gradients.theta[[2, 1, 0]] > 0.0); // a larger step, a larger answer
/// assert_eq!(gradients.theta[[2, 1, 0]], gradients.theta[[0, 0, 0]]); // all sequences are alike here
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`memory`].
pub fn memory_vjp<D: Device>(
    device: &D,
    spec: &MemorySpec,
    read: Read,
    tokens: &ArrayTokens<'_, D::Elem>,
    state: ArrayView3<'_, D::Elem>,
    cotangents: &ArrayCotangents<'_, D::Elem>,
) -> Result<ArrayGradients<D::Elem>> {
    let batch = ArrayBatch::upload(device, spec, read, tokens, state)?;
    let op = &batch.op;
    let mut boundaries = device.alloc(op.boundaries_len())?;
    let mut y = device.alloc(batch.values())?;
    let outputs = MemoryOutputs { y: &mut y, surprise: None, state: None, boundaries: Some(&mut boundaries) };
    device.memory(op, batch.lend(), outputs)?;
    let d_y = match &cotangents.y {
        Some(d_y) => {
            let [b, h, t] = batch.dims;
            expect_shape("the cotangent of y", V_AXES, &[b, h, t, spec.value_width()], d_y.shape())?;
            Some(device.upload(&elements("the cotangent of y", d_y)?)?)
        }
        None => None,
    };
    let d_final = match &cotangents.state {
        Some(d_state) => Some(batch.upload_state(device, "the cotangent of the state", d_state)?),
        None => None,
    };
    let keys = op.batch * op.time * spec.key_width();
    let (mut d_k, mut d_v, mut d_q) = (device.alloc(keys)?, device.alloc(batch.values())?, device.alloc(keys)?);
    let (mut d_gates, mut d_state) = (device.alloc(op.gates_len())?, device.alloc(op.state_len())?);
    let gradients =
        MemoryGradients { d_k: &mut d_k, d_v: &mut d_v, d_q: &mut d_q, d_gates: &mut d_gates, d_state: &mut d_state };
    device.memory_vjp(op, batch.lend(), &boundaries, d_y.as_ref(), d_final.as_ref(), gradients)?;
    let d_gates = device.download(&d_gates)?;
    let gate = |g: usize| owned(batch.gate_axes(), d_gates.iter().copied().skip(g).step_by(3).collect());
    Ok(ArrayGradients {
        k: owned(batch.axes(spec.key_width()), device.download(&d_k)?)?,
        v: owned(batch.axes(spec.value_width()), device.download(&d_v)?)?,
        q: owned(batch.axes(spec.key_width()), device.download(&d_q)?)?,
        alpha: gate(0)?,
        theta: gate(1)?,
        eta: gate(2)?,
        state: owned(batch.state_axes(), device.download(&d_state)?)?,
    })
}

/// The inputs on the device. Every (sequence, head) is a sequence of its own with one head: then `[B, H, T, …]` is the
/// device's layout as it is, and masks and gates may differ by head.
struct ArrayBatch<D: Device> {
    op: MemoryOp,
    dims: [usize; 3],
    k: D::Buffer,
    v: D::Buffer,
    q: D::Buffer,
    gates: D::Buffer,
    state: D::Buffer,
    mask: Option<D::Indices>,
}

impl<D: Device> ArrayBatch<D> {
    fn upload(
        device: &D,
        spec: &MemorySpec,
        read: Read,
        tokens: &ArrayTokens<'_, D::Elem>,
        state: ArrayView3<'_, D::Elem>,
    ) -> Result<Self> {
        spec.validate()?;
        if spec.gate_sets() != 1 {
            return Err(Error::usage(
                "layer_gates: expected a memory whose layers share their gates, found gates of every layer's own",
            ));
        }
        let ArrayTokens { k, v, q, alpha, theta, eta, mask } = tokens;
        let (b, h, t, _) = k.dim();
        expect_shape("k", K_AXES, &[b, h, t, spec.key_width()], k.shape())?;
        expect_shape("q", K_AXES, k.shape(), q.shape())?;
        expect_shape("v", V_AXES, &[b, h, t, spec.value_width()], v.shape())?;
        for (what, gate) in [("alpha", alpha), ("theta", theta), ("eta", eta)] {
            expect_shape(what, GATE_AXES, &[b, h, t], gate.shape())?;
        }
        expect_shape("the state", STATE_AXES, &[b, h, spec.state_len()], state.shape())?;
        if k.is_empty() {
            return Err(Error::usage(format!("k: expected at least one element, found shape {:?}", k.shape())));
        }
        let mask = match mask {
            Some(mask) => {
                expect_shape("mask", GATE_AXES, &[b, h, t], mask.shape())?;
                let mask: Vec<u32> = mask.iter().map(|&masked| masked.into()).collect();
                Some(device.upload_indices(&mask)?)
            }
            None => None,
        };
        let mut gates = vec![D::Elem::ZERO; 3 * b * h * t];
        for (g, gate) in [alpha, theta, eta].into_iter().enumerate() {
            gates.iter_mut().skip(g).step_by(3).zip(gate).for_each(|(to, &from)| *to = from);
        }
        let spec = spec.clone();
        Ok(Self {
            op: MemoryOp { spec, batch: b * h, time: t, heads: 1, read, read_only: false, token_form: false },
            dims: [b, h, t],
            k: device.upload(&elements("k", k)?)?,
            v: device.upload(&elements("v", v)?)?,
            q: device.upload(&elements("q", q)?)?,
            gates: device.upload(&gates)?,
            state: device.upload(&elements("the state", &state)?)?,
            mask,
        })
    }

    fn upload_state(&self, device: &D, what: &str, state: &ArrayView3<'_, D::Elem>) -> Result<D::Buffer> {
        let [b, h, _] = self.dims;
        expect_shape(what, STATE_AXES, &[b, h, self.op.spec.state_len()], state.shape())?;
        device.upload(&elements(what, state)?)
    }

    fn lend(&self) -> MemoryInputs<'_, D::Buffer, D::Indices> {
        let Self { k, v, q, gates, state, mask, .. } = self;
        MemoryInputs { k, v, q, gates, state, mask: mask.as_ref() }
    }

    /// Elements of the values.
    fn values(&self) -> usize {
        self.op.batch * self.op.time * self.op.spec.value_width()
    }

    fn axes(&self, width: usize) -> Ix4 {
        let [b, h, t] = self.dims;
        Ix4(b, h, t, width)
    }

    fn gate_axes(&self) -> Ix3 {
        let [b, h, t] = self.dims;
        Ix3(b, h, t)
    }

    fn state_axes(&self) -> Ix3 {
        let [b, h, _] = self.dims;
        Ix3(b, h, self.op.spec.state_len())
    }
}
