//! One computation whose bits are recorded: what cannot be run side by side on one machine is compared through it.

use super::super::{Isa, Simd, SimdScalar};
use super::{bits, numbers, versions};
use crate::arithmetic::{Arithmetic, Beside, Store};
use crate::memory::{Form, Gate, Loss, Mask, MemorySpec, Outputs, Read, Tokens, forward, forward_scratch_len};
use crate::ops::activation::{self, Activation};
use crate::ops::attention::{self, AttentionGradients, Keys, Span, scratch_len, vjp_scratch_len};
use crate::view::{Mat, MatMut};
use std::vec::Vec;

/// Products, activations, a memory of two layers over two and a half chunks and one of a matrix in the exact form.
fn computation<T: SimdScalar>(g: &Simd) -> Vec<u64> {
    let (m, n, k) = (37, 50, 70);
    let (a, b, mut c) = (numbers::<T>(m * k, 1), numbers::<T>(k * n, 2), numbers::<T>(m * n, 3));
    for store in [Store::Sub, Store::Add] {
        let (a, b) = (Mat::new(&a, m, k).unwrap(), Mat::new(&b, k, n).unwrap());
        g.gemm(store, a, b, MatMut::new(&mut c, m, n).unwrap());
        g.causal(store, Beside::lower(3), a, b, MatMut::new(&mut c, m, n).unwrap());
    }
    let mut all = bits(&c);
    for a in [Activation::Silu, Activation::Gelu, Activation::GeluTanh] {
        let [mut value, mut slope, mut second] = [(); 3].map(|()| std::vec![T::NAN; c.len()]);
        activation::forward(g, a, &c, &mut value);
        activation::vjp_vjp(g, a, &c, &c, &c, &mut slope, &mut second);
        [value, slope, second].iter().for_each(|x| all.extend(bits(x)));
    }
    let mut deep = MemorySpec::new(&[12, 20, 12]).unwrap();
    (deep.chunk, deep.loss, deep.clip) = (16, Loss::Sum, None);
    let exact = MemorySpec { chunk: 1, compute_chunk: 24, ..MemorySpec::new(&[12, 12]).unwrap() };
    for spec in [deep, exact] {
        all.extend(memory::<T>(g, &spec));
    }
    all.extend(attention::<T>(g));
    all
}

/// Read-outs and last state of a memory over 40 tokens.
fn memory<T: SimdScalar>(g: &Simd, spec: &MemorySpec) -> Vec<u64> {
    let t = 40;
    let [keys, v, q] = [4, 5, 6].map(|seed| numbers::<T>(t * 12, seed));
    let gate = |seed, scale| {
        let gate = numbers::<T>(t, seed);
        gate.iter().map(|&x| (x + T::ONE) * T::from_f64(scale)).collect::<Vec<_>>()
    };
    let (alpha, theta, eta) = (gate(7, 0.01), gate(8, 0.02), gate(9, 0.4));
    let mut state = numbers::<T>(spec.state_len(), 10).iter().map(|&x| x * T::from_f64(0.25)).collect::<Vec<_>>();
    let tokens = Tokens {
        k: Mat::new(&keys, t, 12).unwrap(),
        v: Mat::new(&v, t, 12).unwrap(),
        q: Mat::new(&q, t, 12).unwrap(),
        alpha: Gate::tokens(&alpha),
        theta: Gate::tokens(&theta),
        eta: Gate::tokens(&eta),
        mask: Mask::Write,
    };
    let (mut y, mut scratch) = (std::vec![T::NAN; t * 12], std::vec![T::NAN; forward_scratch_len(spec, Form::Chunk)]);
    let out = MatMut::new(&mut y, t, 12).unwrap();
    forward(
        g,
        spec,
        Form::Chunk,
        Read::After,
        &tokens,
        Outputs { state: &mut state, y: out, surprise: None, boundaries: None },
        &mut scratch,
    )
    .unwrap();
    assert!(y.iter().chain(&state).all(|x| x.finite()));
    [bits(&y), bits(&state)].concat()
}

/// Sliding-window attention of 41 queries, and of the last 5 of them alone, and its backward.
fn attention<T: SimdScalar>(g: &Simd) -> Vec<u64> {
    let (t, c, span) = (41, 20, Span::Window(18));
    let [q, k, v, d_y] = [11, 12, 13, 14].map(|seed| numbers::<T>(t * c, seed));
    let mat = |x| Mat::new(x, t, c).unwrap();
    let (q, d_y) = (mat(&q[..]), mat(&d_y[..]));
    let keys = Keys { persistent: None, context: None, tokens: (mat(&k), mat(&v)), first: 0 };
    let (mut y, mut sums) = (std::vec![T::NAN; t * c], std::vec![T::NAN; t]);
    let mut scratch = std::vec![T::NAN; scratch_len(span, t, 0, false).max(vjp_scratch_len(span, t, 0, false))];
    let out = MatMut::new(&mut y, t, c).unwrap();
    attention::forward(
        g,
        span,
        attention::Queries { first: 0, q, q_rotated: q },
        &keys,
        out,
        Some(&mut sums),
        &mut scratch,
    )
    .unwrap();
    let (mut few, last) = (std::vec![T::NAN; 5 * c], q.sub(t - 5, 5));
    let out = MatMut::new(&mut few, 5, c).unwrap();
    attention::forward(
        g,
        span,
        attention::Queries { first: t as u64 - 5, q: last, q_rotated: last },
        &keys,
        out,
        None,
        &mut scratch,
    )
    .unwrap();
    assert_eq!(bits(&few), bits(&y[(t - 5) * c..]));
    let mut d = [(); 4].map(|()| std::vec![T::ZERO; t * c]);
    let [d_q, q_rotated, d_k, d_v] = d.each_mut().map(|x| MatMut::new(x, t, c).unwrap());
    let gradients = AttentionGradients { q: d_q, q_rotated, persistent: None, context: None, tokens: (d_k, d_v) };
    attention::vjp(
        g,
        span,
        attention::Queries { first: 0, q, q_rotated: q },
        &keys,
        attention::Answered { y: mat(&y), log_sum: &sums, d_y },
        gradients,
        &mut scratch,
    )
    .unwrap();
    [&y, &sums, &d[1], &d[2], &d[3]].into_iter().flat_map(|x| bits(x)).collect()
}

fn checksum<T: SimdScalar>(g: &Simd) -> u32 {
    let bytes: Vec<u8> = computation::<T>(g).iter().flat_map(|x| x.to_le_bytes()).collect();
    crc32fast::hash(&bytes)
}

/// Recorded with AVX2. A change of the order of any sum changes them: record them anew then, and say so.
const FUSED: [u32; 2] = [1_853_438_735, 4_098_330_438];
/// The same with two roundings a step, on any processor.
const PORTABLE: [u32; 2] = [2_884_826_633, 297_556_530];

#[test]
fn every_version_on_every_processor_gives_the_recorded_bits() {
    let found: Vec<_> = versions().iter().map(|g| (g.isa(), [checksum::<f32>(g), checksum::<f64>(g)])).collect();
    let recorded = |isa| if isa == Isa::Portable { PORTABLE } else { FUSED };
    let want: Vec<_> = versions().iter().map(|g| (g.isa(), recorded(g.isa()))).collect();
    assert_eq!(found, want);
}
