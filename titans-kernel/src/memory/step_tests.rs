//! Pieces of one token on every instruction set: any cuts and all fused versions give the same bits, and the numbers of
//! the plain definition.

use std::vec;
use std::vec::Vec;

use crate::arch::{Isa, Simd};
use crate::arithmetic::Arithmetic;
use crate::memory::{
    Form, Gate, Loss, Mask, MemorySpec, Network, Outputs, Read, Stream, Tokens, forward, forward_scratch_len,
};
use crate::ops::check::{assert_close, values};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

const N: usize = 70;

/// y, surprise and state of N tokens: all at once, or `pieces` at a time through a stream.
fn run<T: Scalar, G: Arithmetic<T>>(
    g: &G,
    spec: &MemorySpec,
    read: Read,
    form: Form,
    pieces: Option<usize>,
) -> [Vec<T>; 3] {
    let (dk, dv) = (spec.key_width(), spec.value_width());
    let small = |n: usize, seed: u64, by: f64| -> Vec<T> {
        values::<T>(n, seed).iter().map(|x| *x * T::from_f64(by)).collect()
    };
    let by = 0.5 / (dk as f64).sqrt();
    let (k, v, q) = (small(N * dk, 1, by), small(N * dv, 2, 0.5), small(N * dk, 3, by));
    let gate = |seed: u64, low: f64, by: f64| -> Vec<T> {
        values::<T>(N, seed).iter().map(|x| T::from_f64(low + by * (x.to_f64() + 2.0))).collect()
    };
    let (alpha, theta, eta) = (gate(4, 0.0, 0.02), gate(5, 0.01, 0.01), gate(6, 0.1, 0.1));
    let mask: Vec<u32> = (0..N as u32).map(|t| u32::from(t % 5 == 3)).collect();
    let tokens = |from: usize, n: usize| Tokens {
        k: Mat::new(&k[from * dk..], n, dk).unwrap(),
        v: Mat::new(&v[from * dv..], n, dv).unwrap(),
        q: Mat::new(&q[from * dk..], n, dk).unwrap(),
        alpha: Gate::tokens(&alpha[from..]),
        theta: Gate::tokens(&theta[from..]),
        eta: Gate::tokens(&eta[from..]),
        mask: Mask::Tokens(&mask[from..from + n]),
    };
    let (mut y, mut surprise) = (vec![T::NAN; N * dv], vec![T::NAN; N]);
    let mut state = vec![T::ZERO; spec.state_len()];
    state[..spec.params()].copy_from_slice(&small(spec.params(), 7, 0.3));
    let Some(pieces) = pieces else {
        let mut scratch = vec![T::NAN; forward_scratch_len(spec, form)];
        let out = MatMut::new(&mut y, N, dv).unwrap();
        forward(
            g,
            spec,
            form,
            read,
            &tokens(0, N),
            Outputs { state: &mut state, y: out, surprise: Some(&mut surprise), boundaries: None },
            &mut scratch,
        )
        .unwrap();
        return [y, surprise, state];
    };
    let mut block = vec![T::NAN; Stream::<T>::len(spec)];
    let mut stream = Stream::new(spec, read, &state[..spec.params()], &mut block).unwrap();
    let mut scratch = vec![T::NAN; Stream::<T>::scratch_len(spec)];
    let mut from = 0;
    while from < N {
        let n = pieces.min(N - from);
        let out = MatMut::new(&mut y[from * dv..(from + n) * dv], n, dv).unwrap();
        let surprise = Some(&mut surprise[from..from + n]);
        stream.write(g, &tokens(from, n), Some(out), surprise, &mut scratch).unwrap();
        from += n;
    }
    assert_eq!(stream.position(), N as u64);
    stream.state(g, &mut state, &mut scratch).unwrap();
    [y, surprise, state]
}

#[test]
fn chunks_of_one_token_have_one_result() {
    let shapes: [(&[usize], Network, Option<f64>); 6] = [
        (&[17, 33], Network::Plain, None),
        (&[64, 64], Network::Plain, None),
        (&[31, 20], Network::Plain, Some(0.5)),
        (&[16, 16], Network::Residual, None),
        (&[17, 65, 17], Network::Residual, Some(0.5)),
        (&[8, 33, 15, 5], Network::Plain, None),
    ];
    for (widths, network, clip) in shapes {
        let mut spec = MemorySpec::new(widths).unwrap();
        (spec.network, spec.clip, spec.loss) = (network, clip, Loss::Sum);
        (spec.chunk, spec.compute_chunk) = (1, 1);
        for read in [Read::After, Read::Before, Read::ChunkStart] {
            let want = run::<f64, _>(&crate::Portable, &spec, read, Form::Token, None);
            let mut fused = None;
            for g in Isa::ALL.into_iter().filter_map(Simd::new) {
                let all = run::<f32, _>(&g, &spec, read, Form::Chunk, None);
                for (got, want) in all.iter().zip(&want) {
                    let got: Vec<f64> = got.iter().map(|x| x.to_f64()).collect();
                    assert_close("chunk 1", &got, want, 1e-4);
                }
                let bits = |x: &[Vec<f32>; 3]| x.clone().map(|x| x.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
                let want = bits(&all);
                for pieces in [1, 3, 7, 64] {
                    let got = run(&g, &spec, read, Form::Chunk, Some(pieces));
                    assert_eq!(bits(&got), want, "{widths:?} {read:?} {pieces} {}", g.isa().name());
                }
                if g.isa() != Isa::Portable {
                    assert_eq!(*fused.get_or_insert_with(|| want.clone()), want, "{widths:?} {read:?}");
                }
            }
        }
    }
}
