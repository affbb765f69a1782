//! Chunks computed in pieces: the numbers of whole chunks, exact gradients, streams, causality.

use crate::case::{Case, case};
use crate::checks::{bits, close, for_stream, gradients, on_every_version, stream_is_the_batch, streamed};
use crate::forms::{boundaries_change_no_bit, differences};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use titans_kernel::Fault;
use titans_kernel::memory::{Form, MemorySpec, Network, Read, Stream, forward_scratch_len, vjp_scratch_len};

/// Cases whose chunks of 2 tokens or more come in pieces of 1 up to one token less.
fn pieces(longest: usize, tame: bool) -> impl Strategy<Value = Case> {
    let cut = case(longest, tame).prop_filter("a chunk that can be cut", |case| case.spec.chunk > 1);
    (cut, 0..64usize).prop_map(|(mut case, piece)| {
        case.spec.compute_chunk = 1 + piece % (case.spec.chunk - 1);
        case
    })
}

fn whole(case: &Case) -> Case {
    let mut case = case.clone();
    case.spec.compute_chunk = 0;
    case
}

/// The same cases in every run.
const SEED: RngSeed = RngSeed::Fixed(2412);

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, max_shrink_iters: 0, failure_persistence: None, rng_seed: SEED, ..ProptestConfig::default() })]

    #[test]
    fn pieces_and_whole_chunks_are_the_same_numbers(case in pieces(70, true)) {
        on_every_version(&case, |case| {
            let (want, got) = (whole(&case).run::<f64>(Form::Chunk), case.run::<f64>(Form::Chunk));
            close("y", &got.y, &want.y, 1e-11)?;
            close("surprise", &got.surprise, &want.surprise, 1e-11)?;
            close("state", &got.state, &want.state, 1e-11)?;
            close("boundaries", &got.boundaries, &want.boundaries, 1e-11)?;
            prop_assert_eq!(got.clipped, want.clipped);
            let token = case.run::<f64>(Form::Token);
            close("y of the token form", &got.y, &token.y, 1e-11)?;
            for (which, (got, want)) in gradients(&case).iter().zip(&gradients(&whole(&case))).enumerate() {
                close(&format!("gradient {which}"), got, want, 1e-10)?;
            }
            Ok(())
        })?;
    }

    #[test]
    fn gradients_match_finite_differences(case in pieces(20, true)) {
        differences(case)?;
    }

    #[test]
    fn gradients_have_the_same_bits_however_many_boundaries_are_kept(case in pieces(70, true), keep in prop_oneof![2usize..6, Just(64)]) {
        boundaries_change_no_bit(&case, keep)?;
    }

    #[test]
    fn a_stream_in_any_pieces_gives_the_bits_of_the_batch(
        case in pieces(70, false),
        fed in prop_oneof![Just(vec![1]), Just(vec![7]), Just(vec![64]), prop::collection::vec(1usize..20, 1..6)],
    ) {
        on_every_version(&case, |case| stream_is_the_batch(case, &fed))?;
    }

    #[test]
    fn nothing_reaches_the_past(case in pieces(40, false), at in 0.0..1.0f64, by in prop_oneof![Just(0.7), Just(f64::NAN)]) {
        let case = for_stream(case);
        let (j, dv, dk) = ((case.n as f64 * at) as usize, case.spec.value_width(), case.spec.key_width());
        let mut moved = case.clone();
        moved.k[j * dk] += by;
        moved.v[j * dv] -= by;
        moved.q[j * dk] += by;
        (moved.alpha[j], moved.eta[j]) = (1.0 - moved.alpha[j], 0.5 * moved.eta[j]);
        moved.theta[j] += by;
        let (a, b) = (case.run::<f32>(Form::Chunk), moved.run::<f32>(Form::Chunk));
        prop_assert_eq!((bits(&a.y[..j * dv]), bits(&a.surprise[..j])), (bits(&b.y[..j * dv]), bits(&b.surprise[..j])));
        let (a, b) = (streamed::<f32>(&case, &[3]), streamed::<f32>(&moved, &[3]));
        prop_assert_eq!(bits(&a.0[..j * dv]), bits(&b.0[..j * dv]));
    }
}

fn spec(chunk: usize, compute_chunk: usize) -> MemorySpec {
    MemorySpec { chunk, compute_chunk, network: Network::Plain, ..MemorySpec::new(&[16, 16]).unwrap() }
}

#[test]
fn long_chunks_need_the_space_of_their_pieces() {
    let (long, short) = (spec(1 << 16, 64), spec(64, 0));
    let anchor = long.params();
    assert_eq!(forward_scratch_len(&long, Form::Chunk), forward_scratch_len(&short, Form::Chunk) + anchor);
    assert_eq!(Stream::<f32>::len(&long), Stream::<f32>::len(&short) + anchor);
    assert_eq!(Stream::<f32>::scratch_len(&long), Stream::<f32>::scratch_len(&short));
    // The backward computes the states at the pieces' starts again.
    let states = ((1 << 16) / 64 - 1) * long.state_len();
    assert_eq!(vjp_scratch_len(&long), vjp_scratch_len(&short) + anchor + states);
    assert_eq!(Stream::<f32>::len(&spec(64, 64)), Stream::<f32>::len(&short));
    for same in [64, 65, 1 << 20] {
        let deep = |compute_chunk| MemorySpec { chunk: 64, compute_chunk, ..MemorySpec::new(&[8, 8, 8]).unwrap() };
        assert_eq!(Stream::<f32>::len(&deep(same)), Stream::<f32>::len(&deep(0)));
    }
}

#[test]
fn a_saved_stream_is_refused_by_one_of_other_pieces() {
    let saved = |spec: &MemorySpec| {
        let mut block = vec![f32::NAN; Stream::<f32>::len(spec)];
        let stream = Stream::new(spec, Read::After, &vec![0.5; spec.params()], &mut block).unwrap();
        let mut bytes = vec![0; Stream::<f32>::saved_len(spec)];
        stream.save(&mut bytes).unwrap();
        bytes
    };
    let (a, b) = (spec(12, 4), spec(12, 6));
    let mut block = vec![f32::NAN; Stream::<f32>::len(&b)];
    let mut stream = Stream::new(&b, Read::After, &vec![0.0; b.params()], &mut block).unwrap();
    assert_eq!(stream.load(&saved(&a)), Err(Fault::Config.error("tokens computed at once", 6, 4)));
    stream.load(&saved(&b)).unwrap();
    // A chunk that is not cut is the same however that is said.
    let (c, d) = (spec(12, 0), spec(12, 12));
    assert_eq!(saved(&c), saved(&d));
}
