//! Runs a problem on a device.

use super::problem::Problem;
use crate::device::{Device, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
use crate::error::Result;
use titans_kernel::memory::Read;

/// What the memory answered.
#[derive(Debug)]
pub struct Solution<T> {
    /// Read-outs `[n, T, d_v]`.
    pub y: Vec<T>,
    /// `[n, T]`.
    pub surprise: Vec<T>,
    /// Final state `[n, 2 P]`.
    pub state: Vec<T>,
    /// With cotangents.
    pub gradients: Option<ProblemGradients<T>>,
}

/// Gradients, laid out like the problem's inputs.
#[derive(Debug)]
pub struct ProblemGradients<T> {
    /// `[n, T, d_k]`.
    pub k: Vec<T>,
    /// `[n, T, d_v]`.
    pub v: Vec<T>,
    /// `[n, T, d_k]`.
    pub q: Vec<T>,
    /// `[n, T, 3]`.
    pub gates: Vec<T>,
    /// `[n, 2 P]`.
    pub state: Vec<T>,
}

/// Forward, and backward where the problem has cotangents.
pub fn solve<D: Device>(
    device: &D,
    problem: &Problem<D::Elem>,
    read: Read,
    token_form: bool,
) -> Result<Solution<D::Elem>> {
    let [b, h, time] = problem.dims;
    let op = MemoryOp { spec: problem.spec.clone(), batch: b * h, time, heads: 1, read, read_only: false, token_form };
    let inputs = Uploaded {
        k: device.upload(&problem.k)?,
        v: device.upload(&problem.v)?,
        q: device.upload(&problem.q)?,
        gates: device.upload(&problem.gates)?,
        state: device.upload(&problem.state)?,
        mask: problem.mask.as_ref().map(|mask| device.upload_indices(mask)).transpose()?,
    };
    let mut y = device.alloc(problem.v.len())?;
    let mut surprise = device.alloc(op.batch * time)?;
    let mut state = device.alloc(op.state_len())?;
    let outputs = MemoryOutputs { y: &mut y, surprise: Some(&mut surprise), state: Some(&mut state), boundaries: None };
    device.memory(&op, inputs.lend(), outputs)?;
    Ok(Solution {
        y: device.download(&y)?,
        surprise: device.download(&surprise)?,
        state: device.download(&state)?,
        gradients: if problem.cotangents.is_some() { Some(backward(device, problem, op, &inputs)?) } else { None },
    })
}

/// The inputs on the device.
struct Uploaded<D: Device> {
    k: D::Buffer,
    v: D::Buffer,
    q: D::Buffer,
    gates: D::Buffer,
    state: D::Buffer,
    mask: Option<D::Indices>,
}

impl<D: Device> Uploaded<D> {
    fn lend(&self) -> MemoryInputs<'_, D> {
        let Self { k, v, q, gates, state, mask } = self;
        MemoryInputs { k, v, q, gates, state, mask: mask.as_ref() }
    }
}

/// The chunk form's backward, from boundaries of the chunk form.
fn backward<D: Device>(
    device: &D,
    problem: &Problem<D::Elem>,
    op: MemoryOp,
    inputs: &Uploaded<D>,
) -> Result<ProblemGradients<D::Elem>> {
    let op = MemoryOp { token_form: false, ..op };
    let mut y = device.alloc(problem.v.len())?;
    let mut boundaries = device.alloc(op.boundaries_len())?;
    let outputs = MemoryOutputs { y: &mut y, surprise: None, state: None, boundaries: Some(&mut boundaries) };
    device.memory(&op, inputs.lend(), outputs)?;
    let cotangent = |x: Option<&Vec<D::Elem>>| x.map(|x| device.upload(x)).transpose();
    let d_y = cotangent(problem.cotangents.as_ref().and_then(|c| c.y.as_ref()))?;
    let d_final = cotangent(problem.cotangents.as_ref().and_then(|c| c.state.as_ref()))?;
    let mut d_k = device.alloc(problem.k.len())?;
    let mut d_v = device.alloc(problem.v.len())?;
    let mut d_q = device.alloc(problem.q.len())?;
    let mut d_gates = device.alloc(problem.gates.len())?;
    let mut d_state = device.alloc(op.state_len())?;
    let gradients =
        MemoryGradients { d_k: &mut d_k, d_v: &mut d_v, d_q: &mut d_q, d_gates: &mut d_gates, d_state: &mut d_state };
    device.memory_vjp(&op, inputs.lend(), &boundaries, d_y.as_ref(), d_final.as_ref(), gradients)?;
    Ok(ProblemGradients {
        k: device.download(&d_k)?,
        v: device.download(&d_v)?,
        q: device.download(&d_q)?,
        gates: device.download(&d_gates)?,
        state: device.download(&d_state)?,
    })
}
