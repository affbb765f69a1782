//! Gates of every layer's own: the definition in plain loops, both forms, gradients, pieces, streams, causality,
//! refusals.

mod definition;
mod sizes;

use crate::case::{Case, case};
use crate::checks::{bits, close, for_stream, gradients, on_every_version, started, stream_is_the_batch, streamed};
use crate::forms::{agree, both_forms, differences};
use definition::definition;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use titans_kernel::memory::{Activation, Form, Stream};

/// Values `[entries, layers]` of a gate, from one for all layers.
fn spread(gate: &[f64], layers: usize, of: impl Fn(usize, usize) -> f64) -> Vec<f64> {
    (0..gate.len()).flat_map(|e| (0..layers).map(move |l| (e, l))).map(|(e, l)| of(e, l)).collect()
}

/// Every layer's own values, in the range of those that were drawn; 0 and the largest among them.
fn apart(gate: &[f64], layers: usize, seed: usize) -> Vec<f64> {
    spread(gate, layers, |e, l| gate[(e + (seed + 2) * l) % gate.len()] * [1.0, 0.7, 1.0, 0.4][(l + seed) % 4])
}

/// Memories of several layers. Some gates are one for all layers all the same.
pub fn layered(longest: usize, tame: bool) -> impl Strategy<Value = Case> {
    let deep = case(longest, tame).prop_filter("several layers", |case| case.spec.layers() > 1);
    (deep, prop::array::uniform3(prop_oneof![3 => Just(true), 1 => Just(false)])).prop_map(|(mut case, own)| {
        let layers = case.spec.layers();
        case.spec.layer_gates = true;
        for (seed, (gate, own)) in [&mut case.alpha, &mut case.theta, &mut case.eta].into_iter().zip(own).enumerate() {
            if own {
                *gate = apart(gate, layers, seed);
            }
        }
        case
    })
}

/// The same with chunks of 2 tokens or more in pieces.
fn in_pieces(longest: usize, tame: bool) -> impl Strategy<Value = Case> {
    let cut = layered(longest, tame).prop_filter("a chunk that can be cut", |case| case.spec.chunk > 1);
    (cut, 0..64usize).prop_map(|(mut case, piece)| {
        case.spec.compute_chunk = 1 + piece % (case.spec.chunk - 1);
        case
    })
}

/// One gate for all layers, and the same values once more for every layer.
fn shared_and_repeated(case: &Case) -> [Case; 2] {
    let (mut shared, layers) = (case.clone(), case.spec.layers());
    let entries = shared.entries();
    for gate in [&mut shared.alpha, &mut shared.theta, &mut shared.eta] {
        *gate = gate.chunks(gate.len() / entries).map(|row| row[0]).collect();
    }
    let mut repeated = shared.clone();
    shared.spec.layer_gates = false;
    for gate in [&mut repeated.alpha, &mut repeated.theta, &mut repeated.eta] {
        *gate = spread(gate, layers, |e, _| gate[e]);
    }
    [shared, repeated]
}

/// The same cases in every run.
const SEED: RngSeed = RngSeed::Fixed(2509);

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 0, failure_persistence: None, rng_seed: SEED, ..ProptestConfig::default() })]

    #[test]
    fn both_forms_are_the_definition(case in layered(40, true)) {
        on_every_version(&case, |mut case| {
            if matches!(case.spec.activation, Activation::Gelu | Activation::GeluTanh) {
                case.spec.activation = Activation::Silu;
            }
            let want = definition(&case);
            for form in [Form::Token, Form::Chunk] {
                agree(&case.run::<f64>(form), &want)?;
            }
            Ok(())
        })?;
    }

    #[test]
    fn token_form_and_chunk_form_are_the_same_numbers(case in layered(70, true)) {
        on_every_version(&case, |case| both_forms(&case))?;
    }

    #[test]
    fn gradients_match_finite_differences(case in layered(9, true)) {
        on_every_version(&case, differences)?;
    }

    #[test]
    fn gradients_of_pieces_match_finite_differences(case in in_pieces(16, true)) {
        differences(case)?;
    }

    #[test]
    fn equal_gates_are_the_bits_of_one_for_all_layers(case in layered(40, false), cut in any::<bool>()) {
        on_every_version(&case, |mut case| {
            case.spec.compute_chunk = if cut { 3.min(case.spec.chunk) } else { 0 };
            let [shared, repeated] = shared_and_repeated(&case);
            for form in [Form::Token, Form::Chunk] {
                let (a, b) = (shared.run::<f32>(form), repeated.run::<f32>(form));
                prop_assert_eq!((bits(&a.y), bits(&a.surprise), bits(&a.state), bits(&a.boundaries), a.clipped),
                                (bits(&b.y), bits(&b.surprise), bits(&b.state), bits(&b.boundaries), b.clipped));
            }
            Ok(())
        })?;
    }

    #[test]
    fn equal_gates_have_the_gradients_of_one_for_all_layers(case in layered(40, true)) {
        let mut case = case;
        case.spec.clip = None;
        let [shared, repeated] = shared_and_repeated(&case);
        let (a, b) = (gradients(&shared), gradients(&repeated));
        for which in [0, 1, 2, 6] {
            prop_assert_eq!(bits(&a[which]), bits(&b[which]), "gradient {}", which);
        }
        for which in [3, 4, 5] {
            let sums: Vec<f64> = b[which].chunks(case.spec.layers()).map(|row| row.iter().sum()).collect();
            close(&format!("gradient {which}"), &sums, &a[which], 1e-11)?;
        }
    }

    #[test]
    fn pieces_and_whole_chunks_are_the_same_numbers(case in in_pieces(70, true), keep in 2usize..6) {
        let mut whole = case.clone();
        whole.spec.compute_chunk = 0;
        let (want, got) = (whole.run::<f64>(Form::Chunk), case.run::<f64>(Form::Chunk));
        close("y", &got.y, &want.y, 1e-11)?;
        close("state", &got.state, &want.state, 1e-11)?;
        let (d_got, d_want) = (gradients(&case), gradients(&whole));
        for (which, (got, want)) in d_got.iter().zip(&d_want).enumerate() {
            close(&format!("gradient {which}"), got, want, 1e-10)?;
        }
        for case in [case, whole] {
            let mut some = case.clone();
            some.spec.keep_every = keep;
            for (a, b) in gradients(&case).iter().zip(&gradients(&some)) {
                prop_assert_eq!(bits(a), bits(b));
            }
        }
    }

    #[test]
    fn a_stream_in_any_pieces_gives_the_bits_of_the_batch(
        case in prop_oneof![layered(70, false).boxed(), in_pieces(70, false).boxed()],
        fed in prop_oneof![Just(vec![1]), Just(vec![7]), Just(vec![64]), prop::collection::vec(1usize..20, 1..6)],
    ) {
        on_every_version(&case, |case| stream_is_the_batch(case, &fed))?;
    }

    #[test]
    fn nothing_reaches_the_past(case in prop_oneof![layered(40, false).boxed(), in_pieces(40, false).boxed()], at in 0.0..1.0f64, by in prop_oneof![Just(0.7), Just(1e30), Just(f64::NAN)]) {
        on_every_version(&case, |case| {
            let case = for_stream(case);
            let (j, dv) = ((case.n as f64 * at) as usize, case.spec.value_width());
            let mut moved = case.clone();
            // The last layer's gates.
            for (gate, by) in [(&mut moved.alpha, 0.3), (&mut moved.theta, by), (&mut moved.eta, 0.2)] {
                let layers = gate.len() / case.n;
                gate[j * layers + layers - 1] += by;
            }
            for form in [Form::Token, Form::Chunk] {
                let (a, b) = (case.run::<f32>(form), moved.run::<f32>(form));
                prop_assert_eq!(bits(&a.y[..j * dv]), bits(&b.y[..j * dv]));
                prop_assert_eq!(bits(&a.surprise[..=j]), bits(&b.surprise[..=j]));
            }
            let (a, b) = (streamed::<f32>(&case, &[3]), streamed::<f32>(&moved, &[3]));
            prop_assert_eq!(bits(&a.0[..j * dv]), bits(&b.0[..j * dv]));
            Ok(())
        })?;
    }

    #[test]
    fn tokens_that_only_read_change_nothing(case in layered(40, false)) {
        let mut case = for_stream(case);
        case.mask = Some(vec![1; case.n]);
        for form in [Form::Token, Form::Chunk] {
            let out = case.run::<f64>(form);
            prop_assert_eq!(bits(&out.state), bits(&case.state));
            prop_assert_eq!(out.clipped, 0);
        }
    }

    /// A stream's block ends with bounds of ‖W‖ and ‖S‖.
    #[test]
    fn no_norm_is_above_its_bound(case in prop_oneof![layered(60, false).boxed(), in_pieces(60, false).boxed()]) {
        let case = started(case);
        let (spec, inputs) = (&case.spec, case.inputs::<f64>());
        let mut block = vec![f64::NAN; Stream::<f64>::len(spec)];
        let mut scratch = vec![f64::NAN; Stream::<f64>::scratch_len(spec)];
        let mut state = vec![f64::NAN; spec.state_len()];
        let mut stream = Stream::new(spec, case.read, &inputs.state[..spec.params()], &mut block).unwrap();
        let (mut norms, mut from) = (Vec::new(), 0);
        while from < case.n {
            let n = if case.per_chunk { spec.chunk.min(case.n - from) } else { 1 };
            if stream.write(&case.kernel, &inputs.tokens(from, n), None, None, &mut scratch).is_err() {
                break;
            }
            stream.state(&case.kernel, &mut state, &mut scratch).unwrap();
            let counters = stream.counters();
            let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
            norms.push([norm(&state[..spec.params()]), norm(&state[spec.params()..])]);
            let bounds = [block[block.len() - 2], block[block.len() - 1]];
            for (norm, bound) in norms[norms.len() - 1].iter().zip(bounds) {
                prop_assert!(*norm <= bound * (1.0 + 1e-9), "token {from}: {norm} above {bound}");
            }
            stream = Stream::attach(spec, case.read, counters, &mut block).unwrap();
            from += n;
        }
    }
}
