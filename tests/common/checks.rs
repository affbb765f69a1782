//! Checks of a memory that several tests make: forms, gradients, streams.

use crate::case::Case;
use proptest::prelude::*;
use titans_kernel::arch::{Isa, Simd, SimdScalar};
use titans_kernel::memory::{Cotangents, Form, Gradients, Record, Stream, vjp, vjp_scratch_len};
use titans_kernel::{Error, Mat, MatMut, Scalar};

pub fn close(what: &str, a: &[f64], b: &[f64], tolerance: f64) -> Result<(), TestCaseError> {
    let scale = b.iter().fold(1.0, |m: f64, x| m.max(x.abs()));
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        prop_assert!((a - b).abs() <= tolerance * scale, "{what}[{i}]: {a} and {b}");
    }
    Ok(())
}

/// The check with every version of the kernel's arithmetic that this machine has.
pub fn on_every_version(case: &Case, check: impl Fn(Case) -> Result<(), TestCaseError>) -> Result<(), TestCaseError> {
    Isa::ALL.into_iter().filter_map(Simd::new).try_for_each(|kernel| check(Case { kernel, ..case.clone() }))
}

pub fn bits<T: Scalar>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

/// The same, of zeros without their sign (`docs/NUMERICS.md`, "Which results have equal bits").
fn bits_but_of_zeros<T: Scalar>(x: &[T]) -> Vec<u64> {
    // −0 + 0 = 0.
    x.iter().map(|x| (x.to_f64() + 0.0).to_bits()).collect()
}

/// The number that a test of gradients differentiates: ⟨y, cot⟩ + ⟨final state, cot⟩.
pub fn loss(case: &Case) -> f64 {
    let out = case.run::<f64>(Form::Chunk);
    let dot = |x: &[f64], seed: usize| x.iter().zip(cotangent(x.len(), seed)).map(|(x, c)| x * c).sum::<f64>();
    dot(&out.y, 1) + dot(&out.state, 2)
}

pub fn cotangent(n: usize, seed: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 31 + seed * 47) % 19) as f64 / 9.5 - 0.9).collect()
}

/// Gradients of [`loss`] in the order k, v, q, α, θ, η, state.
pub fn gradients(case: &Case) -> [Vec<f64>; 7] {
    gradients_in::<f64>(case)
}

/// The same, computed in T.
pub fn gradients_in<T: SimdScalar>(case: &Case) -> [Vec<f64>; 7] {
    let inputs = case.inputs::<T>();
    let boundaries = case.run::<T>(Form::Chunk).boundaries;
    let (n, dk, dv) = (case.n, case.spec.key_width(), case.spec.value_width());
    let single = |x: Vec<f64>| x.into_iter().map(T::from_f64).collect::<Vec<T>>();
    let (d_y, d_final) = (single(cotangent(n * dv, 1)), single(cotangent(case.spec.state_len(), 2)));
    let sizes = [n * dk, n * dv, n * dk, case.alpha.len(), case.theta.len(), case.eta.len(), d_final.len()];
    let nan = T::from_f64(f64::NAN);
    let mut d = sizes.map(|n| vec![nan; n]);
    let mut scratch = vec![nan; vjp_scratch_len(&case.spec)];
    let [k, v, q, alpha, theta, eta, state] = &mut d;
    vjp(
        &case.kernel,
        &case.spec,
        Record { read: case.read, tokens: &inputs.tokens(0, n), boundaries: &boundaries },
        Cotangents { y: Some(Mat::new(&d_y, n, dv).unwrap()), state: Some(&d_final) },
        Gradients {
            k: MatMut::new(k, n, dk).unwrap(),
            v: MatMut::new(v, n, dv).unwrap(),
            q: MatMut::new(q, n, dk).unwrap(),
            alpha,
            theta,
            eta,
            state,
        },
        &mut scratch,
    )
    .unwrap();
    d.map(|d| d.into_iter().map(T::to_f64).collect())
}

/// One of the inputs, to move.
pub fn input(case: &mut Case, which: usize) -> &mut Vec<f64> {
    match which {
        0 => &mut case.k,
        1 => &mut case.v,
        2 => &mut case.q,
        3 => &mut case.alpha,
        4 => &mut case.theta,
        5 => &mut case.eta,
        _ => &mut case.state,
    }
}

/// Derivative of [`loss`] with respect to one number, by central differences of fourth order.
pub fn difference(case: &Case, which: usize, i: usize) -> f64 {
    const H: f64 = 1e-5;
    let at = |by: f64| {
        let mut moved = case.clone();
        input(&mut moved, which)[i] += by;
        loss(&moved)
    };
    (8.0 * (at(H) - at(-H)) - (at(2.0 * H) - at(-2.0 * H))) / (12.0 * H)
}

/// Feeds a stream in pieces, saving and loading into another block after each, up to the first token that it refuses.
pub fn streamed<T: SimdScalar>(case: &Case, pieces: &[usize]) -> (Vec<T>, Vec<T>, Vec<T>, u64) {
    let (inputs, dv, spec) = (case.inputs::<T>(), case.spec.value_width(), &case.spec);
    let (mut y, mut surprise) = (vec![T::NAN; case.n * dv], vec![T::NAN; case.n]);
    let mut block = vec![T::NAN; Stream::<T>::len(spec)];
    let mut stream = Stream::new(spec, case.read, &inputs.state[..spec.params()], &mut block).unwrap();
    let mut bytes = vec![0; Stream::<T>::saved_len(spec)];
    let mut from = 0;
    for &piece in pieces.iter().cycle() {
        if from == case.n {
            break;
        }
        let n = piece.min(case.n - from);
        let mut scratch = vec![T::NAN; Stream::<T>::scratch_len(spec)];
        let out = MatMut::new(&mut y[from * dv..(from + n) * dv], n, dv).unwrap();
        let surprise = Some(&mut surprise[from..from + n]);
        match stream.write(&case.kernel, &inputs.tokens(from, n), Some(out), surprise, &mut scratch) {
            Ok(()) => {}
            // What is not finite is refused: the tokens before it are in.
            Err(Error::Diverged { token }) => {
                assert_eq!(stream.position(), (from + token) as u64);
                break;
            }
            Err(e) => panic!("{e}"),
        }
        from += n;
        stream.save(&mut bytes).unwrap();
        stream.reset(&vec![T::ONE; spec.params()]).unwrap();
        stream.load(&bytes).unwrap();
        assert_eq!(stream.position(), from as u64);
    }
    let mut state = vec![T::NAN; spec.state_len()];
    stream.state(&case.kernel, &mut state, &mut vec![T::NAN; Stream::<T>::scratch_len(spec)]).unwrap();
    (y, surprise, state, stream.clipped())
}

/// A stream in these pieces has the bits of the batch, in both precisions.
pub fn stream_is_the_batch(case: Case, pieces: &[usize]) -> Result<(), TestCaseError> {
    fn one<T: SimdScalar>(case: &Case, pieces: &[usize]) -> Result<(), TestCaseError> {
        let batch = case.run::<T>(Form::Chunk);
        let (y, surprise, state, clipped) = streamed::<T>(case, pieces);
        prop_assert_eq!(bits_but_of_zeros(&y), bits_but_of_zeros(&batch.y));
        prop_assert_eq!(bits(&surprise), bits(&batch.surprise));
        prop_assert_eq!(bits_but_of_zeros(&state), bits_but_of_zeros(&batch.state));
        prop_assert_eq!(clipped, batch.clipped);
        Ok(())
    }
    let case = started(case);
    one::<f32>(&case, pieces)?;
    one::<f64>(&case, pieces)
}

/// A stream starts without momentum.
pub fn started(mut case: Case) -> Case {
    let p = case.spec.params();
    case.state[p..].fill(0.0);
    case
}

/// The same, with gates one a token.
pub fn for_stream(case: Case) -> Case {
    let mut case = started(case);
    if case.per_chunk {
        let entries = case.entries();
        let of = |gate: &[f64]| {
            let rows = gate.chunks(gate.len() / entries).collect::<Vec<_>>();
            (0..case.n).flat_map(|t| rows[t / case.spec.chunk].to_vec()).collect::<Vec<_>>()
        };
        (case.alpha, case.theta, case.eta) = (of(&case.alpha), of(&case.theta), of(&case.eta));
        case.per_chunk = false;
    }
    case
}
