//! Properties of the memory over random shapes, splits, gates and masks: two forms, gradients, streams, causality.

mod refusals;

use crate::case::{Case, case};
use crate::checks::{bits, close, difference, for_stream, gradients, on_every_version, stream_is_the_batch, streamed};
use crate::forms::{both_forms, differences};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use titans_kernel::memory::{Activation, Form, Mask, Outputs, Read, Stream};
use titans_kernel::{Error, Mat, MatMut};

/// The same 256 cases in every run, so that a failure is one for everybody.
const SEED: RngSeed = RngSeed::Fixed(2501);

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 0, failure_persistence: None, rng_seed: SEED, ..ProptestConfig::default() })]

    #[test]
    fn token_form_and_chunk_form_are_the_same_numbers(case in case(70, true)) {
        on_every_version(&case, |case| both_forms(&case))?;
    }

    #[test]
    fn gradients_match_finite_differences(case in case(9, true)) {
        on_every_version(&case, differences)?;
    }

    #[test]
    fn a_stream_in_any_pieces_gives_the_bits_of_the_batch(
        case in case(70, false),
        pieces in prop_oneof![Just(vec![1]), Just(vec![7]), Just(vec![64]), prop::collection::vec(1usize..20, 1..6)],
    ) {
        on_every_version(&case, |case| stream_is_the_batch(case, &pieces))?;
    }

    #[test]
    fn nothing_reaches_the_past(case in case(40, false), at in 0.0..1.0f64, by in prop_oneof![Just(0.7), Just(1e30), Just(f64::NAN)]) {
        on_every_version(&case, |case| {
            let case = for_stream(case);
            let (j, dv, dk) = ((case.n as f64 * at) as usize, case.spec.value_width(), case.spec.key_width());
            let mut moved = case.clone();
            moved.k[j * dk] += by;
            moved.v[j * dv] -= by;
            moved.q[j * dk] += by;
            moved.alpha[j] = 1.0 - moved.alpha[j];
            moved.theta[j] += by;
            moved.eta[j] *= 0.5;
            for form in [Form::Token, Form::Chunk] {
                let (a, b) = (case.run::<f32>(form), moved.run::<f32>(form));
                prop_assert_eq!(bits(&a.y[..j * dv]), bits(&b.y[..j * dv]));
                prop_assert_eq!(bits(&a.surprise[..j]), bits(&b.surprise[..j]));
            }
            let (a, b) = (streamed::<f32>(&case, &[3]), streamed::<f32>(&moved, &[3]));
            prop_assert_eq!(bits(&a.0[..j * dv]), bits(&b.0[..j * dv]));
            Ok(())
        })?;
    }

    #[test]
    fn tokens_that_only_read_change_nothing(case in case(40, false)) {
        on_every_version(&case, |case| {
            let mut case = for_stream(case);
            case.mask = Some(vec![1; case.n]);
            for form in [Form::Token, Form::Chunk] {
                let out = case.run::<f64>(form);
                prop_assert_eq!(bits(&out.state), bits(&case.state));
                prop_assert_eq!(out.clipped, 0);
            }
            // A query of a stream gets the answer of a token that reads but does not write.
            let (spec, inputs) = (&case.spec, case.inputs::<f64>());
            let mut block = vec![f64::NAN; Stream::<f64>::len(spec)];
            let mut stream = Stream::new(spec, Read::After, &inputs.state[..spec.params()], &mut block).unwrap();
            let mut scratch = vec![f64::NAN; Stream::<f64>::scratch_len(spec)];
            let (half, dv, dk) = (case.n / 2, spec.value_width(), spec.key_width());
            let mut tokens = inputs.tokens(0, half);
            tokens.mask = Mask::Write;
            stream.write(&case.kernel, &tokens, None, None, &mut scratch).unwrap();
            let rest = case.n - half;
            let (mut asked, mut fed) = (vec![f64::NAN; rest * dv], vec![f64::NAN; rest * dv]);
            let q = Mat::new(&inputs.q[half * dk..], rest, dk).unwrap();
            stream.read(&case.kernel, q, MatMut::new(&mut asked, rest, dv).unwrap(), &mut scratch).unwrap();
            let out = MatMut::new(&mut fed, rest, dv).unwrap();
            stream.write(&case.kernel, &inputs.tokens(half, rest), Some(out), None, &mut scratch).unwrap();
            close("read", &asked, &fed, 1e-12)?;
            Ok(())
        })?;
    }
}

fn one(seed: u64, n: usize) -> Case {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(ProptestConfig::default(), rng);
    loop {
        let case = for_stream(case(n, true).new_tree(&mut runner).unwrap().current());
        if case.n == n {
            return case;
        }
    }
}

#[test]
fn the_checker_of_gradients_sees_a_planted_error() {
    let mut case = one(3, 6);
    case.spec.activation = Activation::Silu;
    case.spec.clip = None;
    case.mask = None;
    let mut d = gradients(&case);
    assert!((d[1][0] - difference(&case, 1, 0)).abs() < 1e-7);
    d[1][0] += 1e-3;
    assert!((d[1][0] - difference(&case, 1, 0)).abs() > 1e-4);
}

#[test]
fn a_clip_bounds_every_token_s_gradient_and_counts() {
    let mut case = one(5, 12);
    case.mask = None;
    case.alpha.fill(0.0);
    case.eta.fill(0.0);
    case.theta.fill(1.0);
    case.spec.chunk = 1;
    case.spec.clip = Some(1e-4);
    let out = case.run::<f64>(Form::Chunk);
    assert!(out.clipped > 0 && out.clipped <= 12);
    // With η = 0 and θ = 1 the momentum after a token is its gradient.
    let p = case.spec.params();
    let norm = out.state[p..].iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!(norm <= 1e-4 * (1.0 + 1e-12), "{norm}");
    case.spec.clip = Some(1e9);
    let free = case.run::<f64>(Form::Chunk);
    assert_eq!(free.clipped, 0);
    case.spec.clip = None;
    assert_eq!(case.run::<f64>(Form::Chunk).state, free.state);
}

#[test]
fn a_saved_stream_that_was_touched_is_refused_and_nothing_changes() {
    let case = one(8, 7);
    let (spec, inputs) = (&case.spec, case.inputs::<f32>());
    let mut block = vec![0.0f32; Stream::<f32>::len(spec)];
    let mut stream = Stream::new(spec, case.read, &inputs.state[..spec.params()], &mut block).unwrap();
    let mut scratch = vec![0.0; Stream::<f32>::scratch_len(spec)];
    stream.write(&case.kernel, &inputs.tokens(0, 7), None, None, &mut scratch).unwrap();
    let mut saved = vec![0; Stream::<f32>::saved_len(spec)];
    assert_eq!(stream.save(&mut saved).unwrap(), saved.len());
    assert!(matches!(stream.save(&mut vec![0; saved.len() - 1]), Err(Error::Buffer { .. })));
    let same = |stream: &Stream<'_, f32>| {
        let mut now = vec![0; saved.len()];
        stream.save(&mut now).unwrap();
        assert_eq!(now, saved);
    };
    for len in 0..saved.len() {
        assert!(matches!(stream.load(&saved[..len]), Err(Error::Format { .. })), "{len} bytes");
    }
    for bit in 0..saved.len() * 8 {
        let mut bad = saved.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(stream.load(&bad), Err(Error::Format { .. })), "bit {bit}");
    }
    same(&stream);
    let mut other = spec.clone();
    other.chunk += 1;
    let mut block = vec![0.0f32; Stream::<f32>::len(&other)];
    let mut foreign = Stream::new(&other, case.read, &inputs.state[..spec.params()], &mut block).unwrap();
    assert!(matches!(foreign.load(&saved), Err(Error::Format { what: "chunk", .. })));
    stream.load(&saved).unwrap();
    same(&stream);
}

#[test]
fn wrong_sizes_are_named_and_nothing_is_written() {
    use titans_kernel::memory::{forward, forward_scratch_len};
    let case = one(2, 5);
    let (spec, inputs, dv) = (&case.spec, case.inputs::<f64>(), case.spec.value_width());
    let needed = forward_scratch_len(spec, Form::Chunk);
    let try_it = |state_len: usize, y_rows: usize, scratch: usize| {
        let mut state = vec![1.0; state_len];
        let mut y = vec![f64::NAN; y_rows * dv];
        let out = MatMut::new(&mut y, y_rows, dv).unwrap();
        let tokens = inputs.tokens(0, 5);
        let mut scratch = vec![0.0; scratch];
        let result = forward(
            &case.kernel,
            spec,
            Form::Chunk,
            case.read,
            &tokens,
            Outputs { state: &mut state, y: out, surprise: None, boundaries: None },
            &mut scratch,
        );
        if result.is_err() {
            assert!(y.iter().all(|y| y.is_nan()) && state.iter().all(|&s| s == 1.0));
        }
        result
    };
    let len = spec.state_len();
    assert!(try_it(len, 5, needed).is_ok());
    assert_eq!(try_it(len - 1, 5, needed), Err(Error::Shape { what: "state", expected: len, found: len - 1 }));
    assert_eq!(try_it(len, 4, needed), Err(Error::Shape { what: "y rows", expected: 5, found: 4 }));
    assert_eq!(try_it(len, 5, needed - 1), Err(Error::Buffer { what: "scratch", needed, given: needed - 1 }));
    let mut bad = case.inputs::<f64>();
    bad.v[0] = f64::INFINITY;
    assert_eq!(bad.tokens(0, 5).check_values(0, spec.chunk), Err(Error::Value { what: "v", index: 0 }));
    bad = case.inputs::<f64>();
    bad.eta[3] = 1.5;
    assert_eq!(bad.tokens(0, 5).check_values(0, spec.chunk), Err(Error::Range { what: "eta", index: 3 }));
}
