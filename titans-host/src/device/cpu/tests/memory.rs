//! The memory on the device: heads as views, tasks on threads, the kernel's numbers.

use titans_kernel::memory::{self, Cotangents, Form, Gate, Gradients, Loss, Mask, MemorySpec, Read, Tokens};
use titans_kernel::{Mat, MatMut};

use super::super::{Buffer, Cpu, Indices, Isa};
use super::{eager, numbers, same_for_any_threads};
use crate::device::{Device, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};

fn op(batch: usize, time: usize, heads: usize) -> MemoryOp {
    let mut spec = MemorySpec::new(&[5, 9, 5]).unwrap();
    (spec.chunk, spec.loss, spec.clip) = (4, Loss::Sum, Some(1.5));
    MemoryOp { spec, batch, time, heads, read: Read::After, read_only: false, token_form: false }
}

/// The exact form, in pieces of 4 tokens.
fn exact(batch: usize, time: usize, heads: usize) -> MemoryOp {
    let mut op = op(batch, time, heads);
    op.spec = MemorySpec { chunk: 1, compute_chunk: 4, ..MemorySpec::new(&[5, 7]).unwrap() };
    op
}

/// With gates of every layer's own.
fn of_layers(mut op: MemoryOp) -> MemoryOp {
    op.spec.layer_gates = true;
    op
}

/// Host copies of the inputs: k, v, q, gates, state, mask.
struct Data {
    k: Vec<f32>,
    v: Vec<f32>,
    q: Vec<f32>,
    gates: Vec<f32>,
    state: Vec<f32>,
    mask: Vec<u32>,
}

impl Data {
    fn new(op: &MemoryOp) -> Self {
        let rows = op.batch * op.time * op.heads;
        let positive = |seed| numbers(op.gates_len(), seed).iter().map(|x| x.abs() * 0.4).collect();
        Self {
            k: numbers(rows * op.spec.key_width(), 1),
            v: numbers(rows * op.spec.value_width(), 2),
            q: numbers(rows * op.spec.key_width(), 3),
            gates: positive(4),
            state: numbers(op.state_len(), 5),
            mask: (0..op.batch * op.time).map(|i| u32::from(i % 5 == 3)).collect(),
        }
    }

    /// Calls `run` with the inputs on the device.
    fn lend<R>(
        &self,
        cpu: &Cpu<f32>,
        masked: bool,
        run: impl FnOnce(MemoryInputs<'_, Buffer<f32>, Indices>) -> R,
    ) -> R {
        let [k, v, q] = [&self.k, &self.v, &self.q].map(|x| cpu.upload(x).unwrap());
        let (gates, state) = (cpu.upload(&self.gates).unwrap(), cpu.upload(&self.state).unwrap());
        let mask = cpu.upload_indices(&self.mask).unwrap();
        run(MemoryInputs { k: &k, v: &v, q: &q, gates: &gates, state: &state, mask: masked.then_some(&mask) })
    }

    /// The tokens of one head, copied out of the token-major arrays.
    fn head<R>(&self, op: &MemoryOp, masked: bool, b: usize, h: usize, run: impl FnOnce(&Tokens<'_, f32>) -> R) -> R {
        let (n, heads) = (op.time, op.heads);
        let rows = |x: &[f32], d: usize| pick(x, b, n, heads, h, d);
        let (d_0, d_l) = (op.spec.key_width(), op.spec.value_width());
        let (k, v, q) = (rows(&self.k, d_0), rows(&self.v, d_l), rows(&self.q, d_0));
        let layers = op.spec.gate_sets();
        let gate = |g: usize| pick(&self.gates, b, n, 3 * heads, g * heads + h, layers);
        let (alpha, theta, eta) = (gate(0), gate(1), gate(2));
        run(&Tokens {
            k: Mat::new(&k, n, d_0).unwrap(),
            v: Mat::new(&v, n, d_l).unwrap(),
            q: Mat::new(&q, n, d_0).unwrap(),
            alpha: Gate::strided_tokens(&alpha, layers).layers(layers, 1),
            theta: Gate::strided_tokens(&theta, layers).layers(layers, 1),
            eta: Gate::strided_tokens(&eta, layers).layers(layers, 1),
            mask: match (op.read_only, masked) {
                (true, _) => Mask::ReadOnly,
                (_, true) => Mask::Tokens(&self.mask[b * n..][..n]),
                _ => Mask::Write,
            },
        })
    }
}

/// Column group `h` of width `d` of sequence `b` in `[batch, n, heads, d]`.
fn pick(x: &[f32], b: usize, n: usize, heads: usize, h: usize, d: usize) -> Vec<f32> {
    (0..n).flat_map(|t| x[((b * n + t) * heads + h) * d..][..d].to_vec()).collect()
}

/// y, surprise, final state, boundaries and the number of clipped tokens.
fn forward(cpu: &Cpu<f32>, op: &MemoryOp, data: &Data, masked: bool) -> (Vec<Vec<f32>>, u64) {
    let gate = op.batch * op.time * op.heads;
    let mut y = cpu.alloc(gate * op.spec.value_width()).unwrap();
    let mut surprise = cpu.alloc(gate).unwrap();
    let mut state = cpu.alloc(op.state_len()).unwrap();
    let mut boundaries = cpu.alloc(op.boundaries_len()).unwrap();
    let clipped = data.lend(cpu, masked, |inputs| {
        let outputs = MemoryOutputs {
            y: &mut y,
            surprise: Some(&mut surprise),
            state: Some(&mut state),
            boundaries: Some(&mut boundaries),
        };
        cpu.memory(op, inputs, outputs).unwrap()
    });
    ([y, surprise, state, boundaries].iter().map(|x| cpu.download(x).unwrap()).collect(), clipped)
}

#[test]
fn forward_is_the_kernels_for_every_head() {
    let mut variants = vec![op(2, 11, 3), op(1, 4, 1), op(3, 1, 2)];
    variants.push(MemoryOp { token_form: true, ..op(2, 7, 2) });
    variants.push(MemoryOp { read_only: true, ..op(2, 7, 2) });
    variants.push(MemoryOp { read: Read::Before, ..op(2, 7, 2) });
    variants.extend([exact(2, 11, 3), exact(1, 4, 1), MemoryOp { read: Read::ChunkStart, ..exact(2, 9, 2) }]);
    variants.push(of_layers(op(2, 7, 3)));
    for (op, masked) in variants.iter().flat_map(|op| [(op, false), (op, true)]) {
        let data = Data::new(op);
        let run = |cpu: &Cpu<f32>| {
            let (mut out, clipped) = forward(cpu, op, &data, masked);
            out.push(vec![clipped as f32]);
            out
        };
        for (cpu, got) in same_for_any_threads(run) {
            let mut clipped = 0;
            let (state_len, d_l) = (op.spec.state_len(), op.spec.value_width());
            let boundaries_len = op.spec.boundaries_len(op.time);
            for i in 0..op.batch * op.heads {
                let (b, h) = (i / op.heads, i % op.heads);
                let mut state = data.state[i * state_len..][..state_len].to_vec();
                let (mut y, mut surprise) = (vec![f32::NAN; op.time * d_l], vec![f32::NAN; op.time]);
                let mut boundaries = vec![f32::NAN; boundaries_len];
                let form = if op.token_form { Form::Token } else { Form::Chunk };
                let mut scratch = vec![f32::NAN; memory::forward_scratch_len(&op.spec, form)];
                clipped += data.head(op, masked, b, h, |tokens| {
                    let y = MatMut::new(&mut y, op.time, d_l).unwrap();
                    let extra = (Some(&mut surprise[..]), Some(&mut boundaries[..]));
                    memory::forward(
                        &cpu.gemm,
                        &op.spec,
                        form,
                        op.read,
                        tokens,
                        memory::Outputs { state: &mut state, y, surprise: extra.0, boundaries: extra.1 },
                        &mut scratch,
                    )
                    .unwrap()
                });
                assert_eq!(pick(&got[0], b, op.time, op.heads, h, d_l), y);
                assert_eq!(pick(&got[1], b, op.time, op.heads, h, 1), surprise);
                assert_eq!(got[2][i * state_len..][..state_len], state);
                assert_eq!(got[3][i * boundaries_len..][..boundaries_len], boundaries);
            }
            assert_eq!(got[4], [clipped as f32]);
        }
    }
}

#[test]
fn backward_is_the_kernels_for_every_head() {
    let own = [(of_layers(op(2, 6, 3)), true), (of_layers(op(1, 5, 1)), false)];
    for (op, masked) in [(op(2, 11, 3), false), (op(2, 6, 2), true), (op(1, 3, 1), false)].into_iter().chain(own) {
        let data = Data::new(&op);
        let (d_0, d_l, state_len) = (op.spec.key_width(), op.spec.value_width(), op.spec.state_len());
        let rows = op.batch * op.time * op.heads;
        let (d_y, d_final) = (numbers(rows * d_l, 6), numbers(op.state_len(), 7));
        let run = |cpu: &Cpu<f32>| {
            let boundaries = cpu.upload(&forward(cpu, &op, &data, masked).0[3]).unwrap();
            let (d_y, d_final) = (cpu.upload(&d_y).unwrap(), cpu.upload(&d_final).unwrap());
            let mut all =
                [rows * d_0, rows * d_l, rows * d_0, op.gates_len(), op.state_len()].map(|n| cpu.alloc(n).unwrap());
            let [d_k, d_v, d_q, d_gates, d_state] = &mut all;
            let gradients = MemoryGradients { d_k, d_v, d_q, d_gates, d_state };
            data.lend(cpu, masked, |inputs| {
                cpu.memory_vjp(&op, inputs, &boundaries, Some(&d_y), Some(&d_final), gradients).unwrap();
            });
            let mut out: Vec<Vec<f32>> = all.iter().map(|x| cpu.download(x).unwrap()).collect();
            out.push(cpu.download(&boundaries).unwrap());
            out
        };
        for (cpu, got) in same_for_any_threads(run) {
            let n = op.time;
            for i in 0..op.batch * op.heads {
                let (b, h) = (i / op.heads, i % op.heads);
                let (layers, gates) = (op.spec.gate_sets(), n * op.spec.gate_sets());
                let sizes = [n * d_0, n * d_l, n * d_0, gates, gates, gates, state_len];
                let mut want = sizes.map(|n| vec![f32::NAN; n]);
                let [k, v, q, alpha, theta, eta, state] = &mut want;
                let gradients = Gradients {
                    k: MatMut::new(k, n, d_0).unwrap(),
                    v: MatMut::new(v, n, d_l).unwrap(),
                    q: MatMut::new(q, n, d_0).unwrap(),
                    alpha,
                    theta,
                    eta,
                    state,
                };
                let d_y = pick(&d_y, b, n, op.heads, h, d_l);
                let cotangents = Cotangents {
                    y: Some(Mat::new(&d_y, n, d_l).unwrap()),
                    state: Some(&d_final[i * state_len..][..state_len]),
                };
                let len = op.spec.boundaries_len(n);
                let boundaries = &got[5][i * len..][..len];
                let mut scratch = vec![f32::NAN; memory::vjp_scratch_len(&op.spec)];
                data.head(&op, masked, b, h, |tokens| {
                    let g = &cpu.gemm;
                    memory::vjp(
                        g,
                        &op.spec,
                        memory::Record { read: op.read, tokens, boundaries },
                        cotangents,
                        gradients,
                        &mut scratch,
                    )
                    .unwrap();
                });
                let gate = |g: usize| pick(&got[3], b, n, 3 * op.heads, g * op.heads + h, layers);
                let heads = |x: usize, d: usize| pick(&got[x], b, n, op.heads, h, d);
                let state = got[4][i * state_len..][..state_len].to_vec();
                let found = [heads(0, d_0), heads(1, d_l), heads(2, d_0), gate(0), gate(1), gate(2), state];
                assert_eq!(found, want);
            }
        }
    }
}

#[test]
fn start_repeats_the_weights_and_its_backward_sums_them() {
    let cpu = eager(2, Isa::best());
    let w0 = cpu.upload(&[1.0, 2.0, 3.0, 4.0]).unwrap();
    let mut state = cpu.alloc(16).unwrap();
    cpu.memory_start(2, 2, &w0, &mut state).unwrap();
    let one = [1.0, 2.0, 0.0, 0.0, 3.0, 4.0, 0.0, 0.0];
    assert_eq!(cpu.download(&state).unwrap(), [one, one].concat());
    let d_state: Vec<f32> = (0..16).map(|i| i as f32).collect();
    let mut d_w0 = cpu.upload(&[0.5; 4]).unwrap();
    cpu.memory_start_vjp(2, 2, &cpu.upload(&d_state).unwrap(), &mut d_w0).unwrap();
    assert_eq!(cpu.download(&d_w0).unwrap(), [8.5, 10.5, 16.5, 18.5]);
}

#[test]
fn no_tokens_leave_the_state_and_pass_its_cotangent() {
    let cpu = eager(2, Isa::best());
    let op = op(2, 0, 3);
    let data = Data::new(&op);
    let (out, clipped) = forward(&cpu, &op, &data, true);
    assert_eq!((&out[2], clipped), (&data.state, 0));
    let d_final = numbers(op.state_len(), 7);
    for cotangent in [None, Some(cpu.upload(&d_final).unwrap())] {
        let mut none: [Buffer<f32>; 4] = std::array::from_fn(|_| cpu.alloc(0).unwrap());
        let [d_k, d_v, d_q, d_gates] = &mut none;
        let mut d_state = cpu.alloc(op.state_len()).unwrap();
        let gradients = MemoryGradients { d_k, d_v, d_q, d_gates, d_state: &mut d_state };
        let boundaries = cpu.alloc(0).unwrap();
        data.lend(&cpu, false, |inputs| {
            cpu.memory_vjp(&op, inputs, &boundaries, None, cotangent.as_ref(), gradients).unwrap();
        });
        let want = if cotangent.is_some() { d_final.clone() } else { vec![0.0; op.state_len()] };
        assert_eq!(cpu.download(&d_state).unwrap(), want);
    }
}

#[test]
fn wrong_lengths_are_errors() {
    let cpu = eager(2, Isa::best());
    let right = op(2, 3, 2);
    let data = Data::new(&right);
    let mut y = cpu.alloc(2 * 3 * 2 * 5).unwrap();
    let mut try_it = |op: &MemoryOp, surprise: usize| {
        let mut surprise = cpu.alloc(surprise).unwrap();
        let outputs = MemoryOutputs { y: &mut y, surprise: Some(&mut surprise), state: None, boundaries: None };
        data.lend(&cpu, true, |inputs| cpu.memory(op, inputs, outputs))
    };
    assert!(try_it(&right, 12).is_ok());
    assert!(try_it(&right, 11).unwrap_err().to_string().contains("surprise"));
    for wrong in [
        MemoryOp { time: 4, ..right.clone() },
        MemoryOp { heads: 0, ..right.clone() },
        MemoryOp { batch: usize::MAX, heads: usize::MAX, ..right.clone() },
    ] {
        assert!(try_it(&wrong, 12).unwrap_err().to_string().contains("expected"), "{wrong:?}");
    }
}
