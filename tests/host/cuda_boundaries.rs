//! Of a memory's boundaries some kept and the others computed again, on the emulated machine: the bits of all kept.

use crate::cuda_emulator::emulated;
use titans_host::device::cuda::Cuda;
use titans_host::device::cuda::emulator::Emulator;
use titans_host::device::{Boundaries, Device, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
use titans_kernel::memory::{MemorySpec, Network, Read};

const TIME: usize = 23;

/// An operation of 2 × 2 memories whose chunks are computed one at a time, or several as a piece.
pub fn operation(widths: &[usize], [chunk, piece]: [usize; 2], clip: Option<f64>, keep_every: usize) -> MemoryOp {
    let mut spec = MemorySpec::new(widths).unwrap();
    (spec.chunk, spec.compute_chunk, spec.clip, spec.keep_every) = (chunk, piece, clip, keep_every);
    spec.network = if widths.len() > 2 { Network::Residual } else { Network::Plain };
    MemoryOp { spec, batch: 2, time: TIME, heads: 2, read: Read::After, read_only: false, token_form: false }
}

/// Read-outs, last state and all gradients, as bits.
pub fn bits(d: &Cuda<Emulator>, op: &MemoryOp, masked: bool) -> Vec<Vec<u32>> {
    let wave =
        |n: usize, size: f32| d.upload(&(0..n).map(|i| size * (0.7 * i as f32).sin()).collect::<Vec<_>>()).unwrap();
    let (tokens, width) = (op.batch * op.time * op.heads, op.spec.key_width());
    let (k, v, q) = (wave(tokens * width, 0.6), wave(tokens * width, 1.0), wave(tokens * width, 0.5));
    let gates: Vec<f32> = (0..op.gates_len()).map(|i| 0.3 + 0.25 * (1.3 * i as f32).sin()).collect();
    let (gates, state) = (d.upload(&gates).unwrap(), wave(op.state_len(), 0.4));
    let mask = d.upload_indices(&(0..op.batch * op.time).map(|t| u32::from(t % 5 == 2)).collect::<Vec<_>>()).unwrap();
    let inputs = || MemoryInputs { k: &k, v: &v, q: &q, gates: &gates, state: &state, mask: masked.then_some(&mask) };
    let (mut y, mut last) = (d.alloc(tokens * width).unwrap(), d.alloc(op.state_len()).unwrap());
    let mut boundaries = d.alloc(op.boundaries_len()).unwrap();
    let outputs =
        MemoryOutputs { y: &mut y, surprise: None, state: Some(&mut last), boundaries: Some(&mut boundaries) };
    d.memory(op, inputs(), outputs).unwrap();
    let mut d_tokens = [(); 3].map(|()| d.alloc(tokens * width).unwrap());
    let (mut d_gates, mut d_state) = (d.alloc(op.gates_len()).unwrap(), d.alloc(op.state_len()).unwrap());
    let [d_k, d_v, d_q] = &mut d_tokens;
    let gradients = MemoryGradients { d_k, d_v, d_q, d_gates: &mut d_gates, d_state: &mut d_state };
    d.memory_vjp(op, inputs(), &boundaries, Some(&y), Some(&last), gradients).unwrap();
    let [d_k, d_v, d_q] = &d_tokens;
    let all = [&y, &last, d_k, d_v, d_q, &d_gates, &d_state];
    all.map(|x| d.download(x).unwrap().into_iter().map(f32::to_bits).collect()).into()
}

#[test]
fn gradients_have_the_bits_of_all_boundaries_kept() {
    let d = emulated();
    for (widths, cut, clip, masked) in [
        (&[5, 5][..], [4, 0], None, false),
        (&[5, 5], [1, 0], Some(2.0), true),
        (&[6, 9, 6], [3, 0], Some(4.0), true),
        (&[6, 9, 6], [4, 0], None, false),
        (&[5, 5], [1, 4], None, true),
        (&[5, 5], [2, 8], None, false),
        (&[5, 5], [2, 6], Some(2.0), false),
    ] {
        let whole = bits(&d, &operation(widths, cut, clip, 1), masked);
        assert!(whole.iter().flatten().all(|&x| f32::from_bits(x).is_finite()));
        for keep_every in [2, 3, 5, 100] {
            let op = operation(widths, cut, clip, keep_every);
            assert!(op.boundaries_len() < operation(widths, cut, clip, 1).boundaries_len());
            assert!(bits(&d, &op, masked) == whole, "{widths:?} {cut:?} {clip:?}, one in {keep_every}");
        }
    }
}

/// So many memories that a device is given one piece at a time.
#[test]
fn spans_longer_than_a_group_have_the_bits_of_all_kept() {
    if crate::left_for_long_runs() {
        return;
    }
    let d = emulated();
    let op = |keep_every| MemoryOp { batch: 1, heads: 1100, time: 61, ..operation(&[1, 1], [1, 60], None, keep_every) };
    assert!(bits(&d, &op(2), false) == bits(&d, &op(1), false));
}

#[test]
fn the_root_of_the_periods_is_kept() {
    let mut op = operation(&[2, 2], [2, 0], None, 1);
    (op.time, op.batch, op.heads) = (20, 1, 1);
    op.keep(Boundaries::Sqrt);
    assert_eq!((op.spec.keep_every, op.boundaries_len()), (4, 3 * 8), "the root of 10 chunks, rounded up");
    assert_eq!(
        bits(&emulated(), &op, false),
        bits(&emulated(), &MemoryOp { spec: MemorySpec { keep_every: 1, ..op.spec.clone() }, ..op.clone() }, false)
    );
}
