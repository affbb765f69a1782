//! (b) The memory on the CPU device, forward and backward. Measured: the second call and two more, the caller's buffers
//! made before. The first call fills the device's pool.

use crate::taken;
use titans_host::device::cpu::Cpu;
use titans_host::device::{Boundaries, Device, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
use titans_kernel::memory::{MemorySpec, Read};

type Machine = Cpu<f32>;

pub fn check() {
    for threads in [1, 2, 3] {
        let cpu = Machine::new(Some(threads)).unwrap();
        for (widths, chunk, compute_chunk) in [(&[16, 16][..], 8, 0), (&[16, 16], 1, 16), (&[16, 24, 16], 8, 0)] {
            let mut spec = MemorySpec::new(widths).unwrap();
            (spec.chunk, spec.compute_chunk) = (chunk, compute_chunk);
            spec.clip = Some(1.0);
            // 3 sequences of 23 heads: more tasks than are dealt out at once.
            for (batch, heads, boundaries) in [(1, 4, Boundaries::Sqrt), (3, 23, Boundaries::All)] {
                let spec = spec.clone();
                let mut op =
                    MemoryOp { spec, batch, time: 60, heads, read: Read::After, read_only: false, token_form: false };
                op.keep(boundaries);
                let mut call = call(&cpu, &op);
                call();
                let found = taken(|| (0..3).for_each(|_| call()));
                assert_eq!(found, 0, "{threads} threads, {widths:?}, {chunk}, {batch} sequences of {heads} heads");
            }
        }
    }
}

/// Forward and backward of one operation with all its outputs.
fn call<'a>(cpu: &'a Machine, op: &'a MemoryOp) -> impl FnMut() + 'a {
    let rows = op.batch * op.time * op.heads;
    let wave = |len: usize, scale: f32| -> Vec<f32> { (0..len).map(|i| scale * (1.7 * i as f32).sin()).collect() };
    let gates: Vec<f32> = wave(3 * rows, 0.05).iter().map(|x| x.abs()).collect();
    let [k, v, q] = [(); 3].map(|()| cpu.upload(&wave(rows * 16, 0.3)).unwrap());
    let (gates, state) = (cpu.upload(&gates).unwrap(), cpu.upload(&wave(op.state_len(), 0.1)).unwrap());
    let empty = |len| cpu.alloc(len).unwrap();
    let (mut y, mut surprise, mut last) = (empty(rows * 16), empty(rows), empty(op.state_len()));
    let mut boundaries = empty(op.boundaries_len());
    let [mut d_k, mut d_v, mut d_q] = [(); 3].map(|()| empty(rows * 16));
    let (mut d_gates, mut d_state) = (empty(3 * rows), empty(op.state_len()));
    move || {
        let inputs = || MemoryInputs { k: &k, v: &v, q: &q, gates: &gates, state: &state, mask: None };
        let outputs = MemoryOutputs {
            y: &mut y,
            surprise: Some(&mut surprise),
            state: Some(&mut last),
            boundaries: Some(&mut boundaries),
        };
        cpu.memory(op, inputs(), outputs).unwrap();
        let gradients = MemoryGradients {
            d_k: &mut d_k,
            d_v: &mut d_v,
            d_q: &mut d_q,
            d_gates: &mut d_gates,
            d_state: &mut d_state,
        };
        cpu.memory_vjp(op, inputs(), &boundaries, Some(&y), Some(&last), gradients).unwrap();
    }
}
