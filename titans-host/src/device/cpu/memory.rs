//! The memory: one task for each sequence and head. Tasks read their head as a strided view and write to head-major
//! buffers, which are then brought into the token-major order of the operation; with one head both are the same.

use std::sync::atomic::{AtomicU64, Ordering};

use titans_kernel::error::expect_len;
use titans_kernel::memory::{self, Cotangents, Form, Gate, Gradients, Mask, Tokens};
use titans_kernel::{Mat, MatMut, Result as KernelResult};

use super::threads::{default_parts, whole_lines};
use super::{Buffer, Cpu, Indices, SimdScalar};
use crate::device::{MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
use crate::error::{Error, Result};

/// `state[b, h] = [w0[h] | 0]`.
pub(super) fn start<T: SimdScalar>(batch: usize, heads: usize, w0: &[T], state: &mut [T]) -> Result<()> {
    let params = w0.len().checked_div(heads).unwrap_or(0);
    expect_len("w0, whole heads", heads * params, w0.len())?;
    expect_len("state", batch.saturating_mul(w0.len()).saturating_mul(2), state.len())?;
    if params > 0 {
        for (state, w0) in state.chunks_exact_mut(2 * params).zip(w0.chunks_exact(params).cycle()) {
            state[..params].copy_from_slice(w0);
            state[params..].fill(T::ZERO);
        }
    }
    Ok(())
}

/// Backward of [`start`]: every sequence began with w0, the momentum with a constant, so
/// `d_w0[h] += Σ_b d_state[b, h, .. P]`, sequences in ascending order.
pub(super) fn start_vjp<T: SimdScalar>(batch: usize, heads: usize, d_state: &[T], d_w0: &mut [T]) -> Result<()> {
    let params = d_w0.len().checked_div(heads).unwrap_or(0);
    expect_len("d_w0, whole heads", heads * params, d_w0.len())?;
    expect_len("d_state", batch.saturating_mul(d_w0.len()).saturating_mul(2), d_state.len())?;
    if params > 0 {
        for sequence in d_state.chunks_exact(heads * 2 * params) {
            for (d_w0, d_state) in d_w0.chunks_exact_mut(params).zip(sequence.chunks_exact(2 * params)) {
                d_w0.iter_mut().zip(d_state).for_each(|(d_w0, &d)| *d_w0 += d);
            }
        }
    }
    Ok(())
}

/// Lengths of an operation's buffers; saturated where they overflow, so that no buffer fits then.
struct BufferLens {
    /// Memories: batch · heads.
    tasks: usize,
    /// Keys and queries, values and read-outs, one gate.
    keys: usize,
    values: usize,
    gate: usize,
    state: usize,
    boundaries: usize,
}

impl BufferLens {
    fn new(op: &MemoryOp) -> KernelResult<Self> {
        op.spec.validate()?;
        let tasks = op.batch.saturating_mul(op.heads);
        let gate = tasks.saturating_mul(op.time);
        let state = tasks.saturating_mul(op.spec.state_len());
        Ok(Self {
            tasks,
            keys: gate.saturating_mul(op.spec.key_width()),
            values: gate.saturating_mul(op.spec.value_width()),
            gate,
            state,
            boundaries: tasks.saturating_mul(op.spec.boundaries_len(op.time)),
        })
    }

    /// Nanoseconds of a forward: about 12 operations a weight and token.
    fn cost(&self, op: &MemoryOp) -> usize {
        self.gate.saturating_mul(op.spec.params() / 8 + 50)
    }

    /// And of a backward.
    fn backward_cost(&self, op: &MemoryOp) -> usize {
        self.cost(op).saturating_mul(4)
    }
}

/// The same operation with a period no longer than its tokens: the same numbers, and scratch for the tokens there are.
fn within(op: &MemoryOp) -> MemoryOp {
    let spec = op.spec.within(op.time);
    MemoryOp { spec, ..op.clone() }
}

/// What is brought into another order by heads: nothing where there is one head, whose order is that of the operation.
fn by_heads(op: &MemoryOp, len: usize) -> usize {
    if op.heads == 1 { 0 } else { len }
}

/// Lengths of what a forward takes from the pool: a state, read-outs and surprise by heads, scratch; 0 where it takes
/// nothing.
fn forward_lens(op: &MemoryOp, sizes: &BufferLens, surprise: bool, state: bool, parts: usize) -> [usize; 4] {
    let form = if op.token_form { Form::Token } else { Form::Chunk };
    let scratch = whole_lines(memory::forward_scratch_len(&op.spec, form)).saturating_mul(parts);
    let surprise = if surprise { by_heads(op, sizes.gate) } else { 0 };
    [if state { 0 } else { sizes.state }, by_heads(op, sizes.values), surprise, scratch]
}

/// Lengths of what a backward takes: gradients of keys, values, queries and gates by heads, scratch.
fn backward_lens(op: &MemoryOp, sizes: &BufferLens, parts: usize) -> [usize; 5] {
    let scratch = whole_lines(memory::vjp_scratch_len(&op.spec)).saturating_mul(parts);
    let [keys, values] = [sizes.keys, sizes.values].map(|len| by_heads(op, len));
    [keys, values, keys, op.gates_len(), scratch]
}

/// The same for a device of `threads` threads that is not there, with and without outputs of surprise and state.
pub(super) fn forward_space(op: &MemoryOp, surprise: bool, state: bool, threads: usize) -> Result<[usize; 4]> {
    let (sizes, op) = (BufferLens::new(op)?, &within(op));
    Ok(forward_lens(op, &sizes, surprise, state, default_parts(threads, sizes.cost(op), sizes.tasks)))
}

/// As [`forward_space`].
pub(super) fn backward_space(op: &MemoryOp, threads: usize) -> Result<[usize; 5]> {
    let (sizes, op) = (BufferLens::new(op)?, &within(op));
    Ok(backward_lens(op, &sizes, default_parts(threads, sizes.backward_cost(op), sizes.tasks)))
}

/// The operands of every task.
struct MemoryOperands<'a, T> {
    op: &'a MemoryOp,
    k: &'a [T],
    v: &'a [T],
    q: &'a [T],
    gates: &'a [T],
    mask: Option<&'a [u32]>,
}

impl<'a, T: SimdScalar> MemoryOperands<'a, T> {
    fn new(op: &'a MemoryOp, sizes: &BufferLens, inputs: &MemoryInputs<'a, Buffer<T>, Indices>) -> KernelResult<Self> {
        let MemoryInputs { k, v, q, gates, state, mask } = *inputs;
        let (k, v, q, gates) = (k.as_slice(), v.as_slice(), q.as_slice(), gates.as_slice());
        expect_len("k", sizes.keys, k.len())?;
        expect_len("v", sizes.values, v.len())?;
        expect_len("q", sizes.keys, q.len())?;
        expect_len("gates", op.gates_len(), gates.len())?;
        expect_len("state", sizes.state, state.as_slice().len())?;
        let mask = mask.map(|mask| mask.0.as_slice());
        if let Some(mask) = mask {
            expect_len("mask", op.batch.saturating_mul(op.time), mask.len())?;
        }
        Ok(Self { op, k, v, q, gates, mask })
    }

    /// The tokens of task `i` = b · heads + h. `time` is not 0.
    fn tokens(&self, i: usize) -> KernelResult<Tokens<'a, T>> {
        let (time, heads) = (self.op.time, self.op.heads);
        let (b, h) = (i / heads, i % heads);
        let (d_0, d_l) = (self.op.spec.key_width(), self.op.spec.value_width());
        let layers = self.op.spec.gate_sets();
        let gate = |g: usize| {
            let first = ((b * time * 3 + g) * heads + h) * layers;
            Gate::strided_tokens(&self.gates[first..], 3 * heads * layers).layers(layers, 1)
        };
        Ok(Tokens {
            k: head(self.k, b, h, time, heads, d_0)?,
            v: head(self.v, b, h, time, heads, d_l)?,
            q: head(self.q, b, h, time, heads, d_0)?,
            alpha: gate(0),
            theta: gate(1),
            eta: gate(2),
            mask: match self.mask {
                _ if self.op.read_only => Mask::ReadOnly,
                Some(mask) => Mask::Tokens(&mask[b * time..][..time]),
                None => Mask::Write,
            },
        })
    }
}

/// Head h of sequence b in `[batch, rows, heads, width]`. There are rows.
pub(super) fn head<T: Copy>(
    x: &[T],
    b: usize,
    h: usize,
    rows: usize,
    heads: usize,
    width: usize,
) -> KernelResult<Mat<'_, T>> {
    Mat::strided(&x[(b * rows * heads + h) * width..], rows, width, heads * width, 1)
}

/// An output cut into its tasks' parts; as many `None` without one. `tasks` is not 0.
pub(super) fn parts<T>(x: Option<&mut [T]>, tasks: usize) -> impl Iterator<Item = Option<&mut [T]>> {
    let mut parts = x.map(|x| {
        let len = (x.len() / tasks).max(1);
        x.chunks_mut(len)
    });
    std::iter::repeat_with(move || parts.as_mut().and_then(Iterator::next)).take(tasks)
}

/// Where tasks write what belongs to `out`: see [`by_heads`].
fn of_tasks<'a, T: SimdScalar>(op: &MemoryOp, by_heads: &'a mut Buffer<T>, out: &'a mut [T]) -> &'a mut [T] {
    if op.heads == 1 { out } else { by_heads.as_mut_slice() }
}

impl<T: SimdScalar> Cpu<T> {
    /// From the order of the tasks to that of the operation.
    fn in_order(&self, op: &MemoryOp, by_heads: &Buffer<T>, out: &mut [T]) -> Result<()> {
        if op.heads == 1 {
            return Ok(());
        }
        self.interleave(false, [op.batch, op.time, op.heads], by_heads.as_slice(), out)
    }

    pub(super) fn memory_forward(
        &self,
        op: &MemoryOp,
        inputs: &MemoryInputs<'_, Buffer<T>, Indices>,
        outputs: MemoryOutputs<'_, Buffer<T>>,
    ) -> Result<u64> {
        let sizes = BufferLens::new(op)?;
        let op = &within(op);
        let operands = MemoryOperands::new(op, &sizes, inputs)?;
        let y = outputs.y.as_mut_slice();
        let mut surprise = outputs.surprise.map(Buffer::as_mut_slice);
        let boundaries = outputs.boundaries.map(Buffer::as_mut_slice);
        expect_len("y", sizes.values, y.len())?;
        for (what, expected, found) in [
            ("surprise", sizes.gate, surprise.as_deref().map(<[T]>::len)),
            ("final state", sizes.state, outputs.state.as_deref().map(|s| s.as_slice().len())),
            ("boundaries", sizes.boundaries, boundaries.as_deref().map(<[T]>::len)),
        ] {
            expect_len(what, expected, found.unwrap_or(expected))?;
        }
        let cost = sizes.cost(op);
        let parts_of_threads = self.threads.parts(cost, sizes.tasks);
        let [own_state, y_len, surprise_len, scratch_len] =
            forward_lens(op, &sizes, surprise.is_some(), outputs.state.is_some(), parts_of_threads);
        // The kernel works in the state itself, so there is one even where nobody asks for the last one.
        let mut spare = None;
        let state = match outputs.state {
            Some(state) => state,
            None => spare.insert(self.take(own_state)?),
        };
        self.copy_to(inputs.state.as_slice(), state.as_mut_slice())?;
        if sizes.gate == 0 {
            return Ok(0);
        }
        let mut y_heads = self.take(y_len)?;
        let mut surprise_heads = self.take(surprise_len)?;
        let y_tasks = of_tasks(op, &mut y_heads, y);
        let surprise_tasks = surprise.as_deref_mut().map(|out| of_tasks(op, &mut surprise_heads, out));
        let form = if op.token_form { Form::Token } else { Form::Chunk };
        let mut scratch = self.take(scratch_len)?;
        let clipped = AtomicU64::new(0);
        let tasks = parts(Some(state.as_mut_slice()), sizes.tasks)
            .zip(parts(Some(y_tasks), sizes.tasks))
            .zip(parts(surprise_tasks, sizes.tasks))
            .zip(parts(boundaries, sizes.tasks))
            .enumerate();
        let scratch = scratch.as_mut_slice();
        self.threads.run_with(cost, tasks, scratch, |(i, (((state, y), surprise), boundaries)), scratch| {
            let (Some(state), Some(y)) = (state, y) else { return Ok(()) };
            let tokens = operands.tokens(i)?;
            let y = MatMut::new(y, op.time, op.spec.value_width())?;
            let n = memory::forward(
                &self.gemm,
                &op.spec,
                form,
                op.read,
                &tokens,
                memory::Outputs { state, y, surprise, boundaries },
                scratch,
            )?;
            // Whole numbers: their sum has no order.
            clipped.fetch_add(n, Ordering::Relaxed);
            Ok::<_, Error>(())
        })?;
        self.in_order(op, &y_heads, y)?;
        if let Some(surprise) = surprise {
            self.in_order(op, &surprise_heads, surprise)?;
        }
        Ok(clipped.into_inner())
    }

    /// Backward of [`Cpu::memory_forward`]: [`memory::vjp`] of every sequence and head (`docs/MATH.md` section 4),
    /// which share nothing; their gradients are then brought from the order of tasks into that of the operation.
    pub(super) fn memory_backward(
        &self,
        op: &MemoryOp,
        inputs: &MemoryInputs<'_, Buffer<T>, Indices>,
        boundaries: &Buffer<T>,
        d_y: Option<&Buffer<T>>,
        d_final: Option<&Buffer<T>>,
        gradients: MemoryGradients<'_, Buffer<T>>,
    ) -> Result<()> {
        let sizes = BufferLens::new(op)?;
        let op = &within(op);
        let operands = MemoryOperands::new(op, &sizes, inputs)?;
        let (d_y, d_final) = (d_y.map(Buffer::as_slice), d_final.map(Buffer::as_slice));
        let boundaries = boundaries.as_slice();
        let MemoryGradients { d_k, d_v, d_q, d_gates, d_state } = gradients;
        for (what, expected, found) in [
            ("boundaries", sizes.boundaries, boundaries.len()),
            ("d_y", sizes.values, d_y.map_or(sizes.values, <[T]>::len)),
            ("d_final", sizes.state, d_final.map_or(sizes.state, <[T]>::len)),
            ("d_k", sizes.keys, d_k.as_slice().len()),
            ("d_v", sizes.values, d_v.as_slice().len()),
            ("d_q", sizes.keys, d_q.as_slice().len()),
            ("d_gates", op.gates_len(), d_gates.as_slice().len()),
            ("d_state", sizes.state, d_state.as_slice().len()),
        ] {
            expect_len(what, expected, found)?;
        }
        if sizes.gate == 0 {
            return match d_final {
                Some(d_final) => self.copy_to(d_final, d_state.as_mut_slice()),
                None => self.fill_with(T::ZERO, d_state.as_mut_slice()),
            };
        }
        let (n, d_0, d_l) = (op.time, op.spec.key_width(), op.spec.value_width());
        let (layers, gate) = (op.spec.gate_sets(), n * op.spec.gate_sets());
        let cost = sizes.backward_cost(op);
        let [keys, values, queries, gates, scratch] = backward_lens(op, &sizes, self.threads.parts(cost, sizes.tasks));
        let (mut k_heads, mut v_heads, mut q_heads) = (self.take(keys)?, self.take(values)?, self.take(queries)?);
        let mut gate_heads = self.take(gates)?; // [batch, heads, 3, time, L]
        let mut scratch = self.take(scratch)?;
        let (state_len, boundaries_len) = (op.spec.state_len(), boundaries.len() / sizes.tasks);
        let tasks = of_tasks(op, &mut k_heads, d_k.as_mut_slice())
            .chunks_mut(n * d_0)
            .zip(of_tasks(op, &mut v_heads, d_v.as_mut_slice()).chunks_mut(n * d_l))
            .zip(of_tasks(op, &mut q_heads, d_q.as_mut_slice()).chunks_mut(n * d_0))
            .zip(gate_heads.as_mut_slice().chunks_mut(3 * gate))
            .zip(d_state.as_mut_slice().chunks_mut(state_len))
            .enumerate();
        let scratch = scratch.as_mut_slice();
        self.threads.run_with(cost, tasks, scratch, |(i, ((((k, v), q), gates), state)), scratch| {
            let tokens = operands.tokens(i)?;
            let d_y = d_y.map(|d| head(d, i / op.heads, i % op.heads, n, op.heads, d_l)).transpose()?;
            let cotangents = Cotangents { y: d_y, state: d_final.map(|d| &d[i * state_len..][..state_len]) };
            let (alpha, rest) = gates.split_at_mut(gate);
            let (theta, eta) = rest.split_at_mut(gate);
            let (k, v, q) = (MatMut::new(k, n, d_0)?, MatMut::new(v, n, d_l)?, MatMut::new(q, n, d_0)?);
            let gradients = Gradients { k, v, q, alpha, theta, eta, state };
            let boundaries = &boundaries[i * boundaries_len..][..boundaries_len];
            memory::vjp(
                &self.gemm,
                &op.spec,
                memory::Record { read: op.read, tokens: &tokens, boundaries },
                cotangents,
                gradients,
                scratch,
            )
        })?;
        for (by_heads, out) in [(&k_heads, d_k), (&v_heads, d_v), (&q_heads, d_q)] {
            self.in_order(op, by_heads, out.as_mut_slice())?;
        }
        let gates = gate_heads.as_slice();
        for (row, out) in d_gates.as_mut_slice().chunks_exact_mut(3 * op.heads * layers).enumerate() {
            let (b, t) = (row / n, row % n);
            for (gh, out) in out.chunks_exact_mut(layers).enumerate() {
                let (g, h) = (gh / op.heads, gh % op.heads);
                let from = &gates[(((b * op.heads + h) * 3 + g) * n + t) * layers..];
                out.iter_mut().zip(from).for_each(|(out, &d)| *out = d);
            }
        }
        Ok(())
    }
}
