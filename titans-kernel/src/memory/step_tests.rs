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

/// Widths at which every sweep has whole strips, a rest, or both: 1, primes, and one off registers and strips of 4 to
/// 32 numbers.
const COLUMNS: [usize; 13] = [1, 2, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65];

/// y, surprise, W and S of the chunk form's sweeps and of the equations to the letter, in `f64`: 1e-12 of the largest
/// number, or of 1, is what some hundred roundings add up to, and no error of a gate, a sign or an order hides in it.
fn sweeps_are_the_equations(spec: &MemorySpec, read: Read) {
    let want = run::<f64, _>(&crate::Portable, spec, read, Form::Token, None);
    for g in Isa::ALL.into_iter().filter_map(Simd::new) {
        for pieces in [None, Some(3)] {
            let got = run::<f64, _>(&g, spec, read, Form::Chunk, pieces);
            for ((what, got), want) in ["y", "surprise", "state"].into_iter().zip(&got).zip(&want) {
                let what = std::format!("{what} of {:?} {read:?} {pieces:?} {}", spec.widths, g.isa().name());
                assert_close(&what, got, want, 1e-12);
            }
        }
    }
}

/// A memory whose every token is a piece.
fn token_by_token(widths: &[usize], network: Network, clip: Option<f64>) -> MemorySpec {
    MemorySpec { network, clip, chunk: 1, compute_chunk: 1, ..MemorySpec::new(widths).unwrap() }
}

#[test]
fn sweeps_around_every_strip_are_the_equations_in_f64() {
    let reads = [Read::After, Read::Before, Read::ChunkStart].into_iter().cycle();
    // Keys of 128 numbers are the longest whose strip of two AVX-512 registers is copied side by side.
    let sizes = [1, 2, 7, 33, 128, 129].into_iter().flat_map(|rows| COLUMNS.map(|columns| (rows, columns)));
    for ((rows, columns), read) in sizes.zip(reads) {
        // Carried, strip by strip; and swept, a token at a time.
        sweeps_are_the_equations(&token_by_token(&[rows, columns], Network::Plain, None), read);
        sweeps_are_the_equations(&token_by_token(&[rows, columns], Network::Plain, Some(0.5)), read);
    }
}

#[test]
fn sweeps_in_row_order_and_of_deep_memories_are_the_equations_in_f64() {
    // Matrices just below and above 256 KiB of `f64`, from which rows are taken in order, and rows of a panel of 512
    // numbers, one more, and few.
    for widths in [[180, 182], [181, 182], [64, 512], [65, 513], [1100, 31]] {
        sweeps_are_the_equations(&token_by_token(&widths, Network::Plain, Some(0.5)), Read::After);
    }
    for (widths, network) in [
        (&[17, 65, 17][..], Network::Residual),
        (&[16, 33, 31, 16], Network::Residual),
        (&[8, 33, 15, 5], Network::Plain),
        (&[1, 1, 1], Network::Residual),
    ] {
        for (read, clip) in [(Read::After, None), (Read::Before, Some(0.5)), (Read::ChunkStart, Some(0.5))] {
            sweeps_are_the_equations(&token_by_token(widths, network, clip), read);
        }
    }
}
