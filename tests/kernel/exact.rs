//! Pieces of several chunks of a linear memory: the numbers of chunk by chunk, exact gradients, streams, causality.

use crate::case::{Case, case};
use crate::checks::{
    bits, close, for_stream, gradients, gradients_in, on_every_version, stream_is_the_batch, streamed,
};
use crate::forms::{boundaries_change_no_bit, differences};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use std::cell::RefCell;
use titans_kernel::Error;
use titans_kernel::arch::{Isa, Simd};
use titans_kernel::memory::{Form, Loss, MemorySpec, Network, Read, Stream};

/// Memories of one layer whose pieces are 2 to 20 chunks.
fn wide(longest: usize, tame: bool) -> impl Strategy<Value = Case> {
    let linear = case(longest, tame).prop_filter("a matrix", |case| case.spec.is_linear());
    let chunks = 2..20usize;
    (linear, chunks, any::<bool>(), 0usize..6).prop_map(move |(mut case, chunks, alone, alike)| {
        // Half of the cases with every token's own gradient. Gates one a chunk are then one a token.
        if alone && !case.per_chunk {
            case.spec.chunk = 1;
        }
        case.spec.compute_chunk = case.spec.chunk * if case.spec.chunk > 5 { 2 + chunks % 3 } else { chunks };
        if alone && case.spec.chunk == 1 {
            in_range(&mut case, alike, if tame { 0.02 } else { 0.05 });
        }
        case
    })
}

/// Keys of norm at most 1, half of the squared error, θ to 1 and η to 1/2, as models have them; every `alike`-th key is
/// that of the token before it, or 0 by turns. `theta_max` is what θ was drawn up to.
fn in_range(case: &mut Case, alike: usize, theta_max: f64) {
    case.spec.loss = Loss::Half;
    case.theta.iter_mut().for_each(|theta| *theta /= theta_max);
    case.eta.iter_mut().for_each(|eta| *eta *= 0.5);
    let d = case.spec.key_width();
    for key in case.k.chunks_exact_mut(d) {
        let norm = key.iter().map(|x| x * x).sum::<f64>().sqrt().max(1.0);
        key.iter_mut().for_each(|x| *x /= norm);
    }
    for t in (1..case.n).filter(|t| alike > 0 && t % alike == 0) {
        let (before, own) = case.k.split_at_mut(t * d);
        match t / alike % 3 {
            0 => own[..d].fill(0.0),
            _ => own[..d].copy_from_slice(&before[(t - 1) * d..]),
        }
    }
}

fn chunk_by_chunk(case: &Case) -> Case {
    let mut case = case.clone();
    case.spec.compute_chunk = 0;
    case
}

/// The same cases in every run.
const SEED: RngSeed = RngSeed::Fixed(1311);

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 192,
        max_shrink_iters: 0,
        max_local_rejects: 1 << 20,
        failure_persistence: None,
        rng_seed: SEED,
        ..ProptestConfig::default()
    })]

    #[test]
    fn wide_pieces_and_chunks_are_the_same_numbers(case in wide(70, true)) {
        on_every_version(&case, |case| {
            let (want, got) = (chunk_by_chunk(&case).run::<f64>(Form::Chunk), case.run::<f64>(Form::Chunk));
            close("y", &got.y, &want.y, 1e-11)?;
            close("surprise", &got.surprise, &want.surprise, 1e-11)?;
            close("state", &got.state, &want.state, 1e-11)?;
            prop_assert_eq!(got.clipped, want.clipped);
            let token = case.run::<f64>(Form::Token);
            close("y of the token form", &got.y, &token.y, 1e-11)?;
            close("boundaries of the token form", &got.boundaries, &token.boundaries, 1e-11)?;
            let single = case.run::<f32>(Form::Chunk);
            let wide: Vec<f64> = single.y.iter().map(|&y| y.into()).collect();
            close("y in f32", &wide, &want.y, 2e-4)?;
            for (which, (got, want)) in gradients(&case).iter().zip(&gradients(&chunk_by_chunk(&case))).enumerate() {
                close(&format!("gradient {which}"), got, want, 1e-10)?;
            }
            Ok(())
        })?;
    }

    #[test]
    fn gradients_match_finite_differences(case in wide(20, true)) {
        differences(case)?;
    }

    #[test]
    fn gradients_have_the_same_bits_however_many_boundaries_are_kept(case in wide(70, true), keep in prop_oneof![2usize..6, Just(64)]) {
        boundaries_change_no_bit(&case, keep)?;
    }

    #[test]
    fn a_stream_in_any_pieces_gives_the_bits_of_the_batch(
        case in wide(70, false),
        fed in prop_oneof![Just(vec![1]), Just(vec![7]), Just(vec![64]), prop::collection::vec(1usize..20, 1..6)],
    ) {
        on_every_version(&case, |case| stream_is_the_batch(case, &fed))?;
    }

    #[test]
    fn all_versions_with_fused_steps_give_the_same_bits(case in wide(70, false)) {
        let all = RefCell::new(Vec::new());
        on_every_version(&case, |case| {
            if case.kernel.isa() != Isa::Portable {
                let (single, double) = (case.run::<f32>(Form::Chunk), case.run::<f64>(Form::Chunk));
                let outputs = [bits(&single.y), bits(&single.state), bits(&double.y), bits(&double.state)];
                all.borrow_mut().push((outputs, gradients_in::<f32>(&case).map(|d| bits(&d))));
            }
            Ok(())
        })?;
        prop_assert!(all.borrow().windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn nothing_reaches_the_past(case in wide(40, false), at in 0.0..1.0f64, by in prop_oneof![Just(0.7), Just(f64::NAN)]) {
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

/// A case of its own: keys by a function, all else fixed.
fn given(key: impl Fn(usize) -> [f64; 4], alpha: f64, theta: f64, eta: f64) -> Case {
    let n = 150;
    let spec = MemorySpec { chunk: 1, compute_chunk: 64, loss: Loss::Half, ..MemorySpec::new(&[4, 3]).unwrap() };
    let wave = |n: usize, by: f64| (0..n).map(|i| (i as f64 * by).sin()).collect::<Vec<_>>();
    let k: Vec<f64> = (0..n).flat_map(key).collect();
    Case {
        kernel: Simd::best(),
        read: Read::After,
        n,
        q: k.clone(),
        k,
        v: wave(3 * n, 0.7),
        alpha: vec![alpha; n],
        theta: vec![theta; n],
        eta: vec![eta; n],
        mask: None,
        state: started_state(&spec),
        per_chunk: false,
        spec,
    }
}

/// Values of more than two panels of columns, keys of more than one, more tokens than two pieces: batch, chunk by
/// chunk, token form and streams, with gradients.
#[test]
fn widths_of_several_panels_are_the_same_numbers() {
    for (dk, dv) in [(70, 130), (129, 65), (64, 64), (65, 63)] {
        let n = 131;
        let spec = MemorySpec { chunk: 1, compute_chunk: 64, loss: Loss::Half, ..MemorySpec::new(&[dk, dv]).unwrap() };
        let wave = |n: usize, by: f64, top: f64| (0..n).map(|i| top * (i as f64 * by).sin()).collect::<Vec<_>>();
        let short = 1.0 / (dk as f64).sqrt();
        let gate = |by: f64, top: f64| wave(n, by, top).iter().map(|x| x.abs()).collect::<Vec<_>>();
        let case = Case {
            kernel: Simd::best(),
            read: Read::After,
            n,
            k: wave(n * dk, 0.37, short),
            v: wave(n * dv, 0.7, 1.0),
            q: wave(n * dk, 0.91, 1.0),
            alpha: gate(0.3, 0.2),
            theta: gate(0.5, 1.0),
            eta: gate(0.7, 0.5),
            mask: None,
            state: started_state(&spec),
            per_chunk: false,
            spec,
        };
        on_every_version(&case, |case| {
            let (wide, token) = (case.run::<f64>(Form::Chunk), chunk_by_chunk(&case).run::<f64>(Form::Token));
            close("y", &wide.y, &token.y, 1e-12)?;
            close("state", &wide.state, &token.state, 1e-12)?;
            let (a, b) = (gradients(&case), gradients(&chunk_by_chunk(&case)));
            a.iter().zip(&b).try_for_each(|(a, b)| close("gradient", a, b, 1e-10))?;
            stream_is_the_batch(case, &[1, 63, 5, 64])
        })
        .unwrap();
    }
}

fn started_state(spec: &MemorySpec) -> Vec<f64> {
    (0..spec.state_len()).map(|i| if i < spec.params() { (i as f64).cos() } else { 0.0 }).collect()
}

#[test]
fn edges_of_gates_and_keys_are_those_of_the_token_form() {
    let equal = |_: usize| [0.5, 0.5, 0.5, 0.5];
    let nothing = |_: usize| [0.0; 4];
    let turning = |t: usize| [1.0, 0.0, 0.0, 0.0].map(|x: f64| if t.is_multiple_of(2) { x } else { 0.5 });
    for key in [&equal as &dyn Fn(usize) -> [f64; 4], &nothing, &turning] {
        for (alpha, theta, eta) in
            [(0.0, 1.0, 0.5), (1.0, 1.0, 0.5), (0.3, 0.0, 0.9), (0.1, 0.7, 0.0), (0.0, 0.0, 1.0), (0.01, 0.8, 0.3)]
        {
            let case = given(key, alpha, theta, eta);
            let (wide, token) = (case.run::<f64>(Form::Chunk), chunk_by_chunk(&case).run::<f64>(Form::Token));
            close("y", &wide.y, &token.y, 1e-13).unwrap();
            close("state", &wide.state, &token.state, 1e-13).unwrap();
            let (a, b) = (gradients(&case), gradients(&chunk_by_chunk(&case)));
            a.iter().zip(&b).for_each(|(a, b)| close("gradient", a, b, 1e-11).unwrap());
        }
    }
}

/// Without momentum and with half of the squared error this is the gated delta rule of the literature, written down
/// here as such: `M_t = (1 − α_t) M_{t−1} (no decay of what is written) − θ_t k_tᵀ (k_t M_{t−1} − v_t)`.
#[test]
fn without_momentum_it_is_the_gated_delta_rule() {
    let key = |t: usize| [0.2, 0.4, 0.6, 0.8].map(|x: f64| 0.5 * (x * t as f64).sin());
    let mut case = given(key, 0.0, 0.0, 0.0);
    for t in 0..case.n {
        (case.alpha[t], case.theta[t]) = (0.2 + 0.2 * (t as f64).sin(), 0.5 + 0.5 * (0.3 * t as f64).cos());
    }
    let mut m = case.state[..12].to_vec();
    let mut y = Vec::new();
    for t in 0..case.n {
        let (k, v) = (&case.k[4 * t..][..4], &case.v[3 * t..][..3]);
        let error: Vec<f64> = (0..3).map(|j| (0..4).map(|i| k[i] * m[3 * i + j]).sum::<f64>() - v[j]).collect();
        for i in 0..4 {
            for j in 0..3 {
                m[3 * i + j] = (1.0 - case.alpha[t]) * m[3 * i + j] - case.theta[t] * k[i] * error[j];
            }
        }
        y.extend((0..3).map(|j| (0..4).map(|i| k[i] * m[3 * i + j]).sum::<f64>()));
    }
    let out = case.run::<f64>(Form::Chunk);
    close("y", &out.y, &y, 1e-14).unwrap();
    close("M", &out.state[..12], &m, 1e-14).unwrap();
}

fn spec(chunk: usize, compute_chunk: usize) -> MemorySpec {
    MemorySpec { chunk, compute_chunk, network: Network::Plain, ..MemorySpec::new(&[16, 16]).unwrap() }
}

#[test]
fn the_block_is_stated_by_the_piece() {
    let len = |chunk, compute_chunk| Stream::<f32>::len(&spec(chunk, compute_chunk));
    // W, S and two bounds; then n keys, residuals and rates, and one row of coefficients.
    assert_eq!(len(1, 1), 2 * 256 + 2);
    for n in [2, 16, 64] {
        assert_eq!(len(1, n), 2 * 256 + n * (16 + 16 + 1) + 3 + 2 * n + 2);
        // Chunks of several tokens also keep the row of their start.
        assert_eq!(len(2, 2 * n), 2 * 256 + 2 * n * (16 + 16 + 1) + 2 * (3 + 4 * n) + 2);
    }
}

#[test]
fn pieces_are_whole_chunks_and_matrices_alone_have_them() {
    let refused = |s: &MemorySpec| matches!(s.validate(), Err(Error::Config { what, .. }) if what.contains("multiple"));
    assert!(refused(&spec(4, 6)) && refused(&spec(64, 65)));
    assert!([spec(4, 8), spec(1, 7), spec(7, 3)].iter().all(|s| s.validate().is_ok()));
    let deep = MemorySpec { chunk: 4, compute_chunk: 64, ..MemorySpec::new(&[8, 8, 8]).unwrap() };
    assert!(deep.validate().is_ok() && deep.piece_len() == 4 && !deep.wide());
    let residual = MemorySpec { network: Network::Residual, ..spec(1, 64) };
    assert!(residual.validate().is_ok() && residual.token_by_token());
}

/// Momentum alone, of a state that is there: nothing is written, so that nothing but what a piece leaves out can be
/// wrong.
#[test]
fn gradients_in_f32_hold_where_momentum_has_faded() {
    let (n, d) = (64, 16);
    let number = |i: usize| ((i * 7919) % 1009) as f64 / 504.5 - 1.0;
    let numbers = |len: usize, from: usize| (0..len).map(|i| number(i + from)).collect::<Vec<_>>();
    let mut spec = spec(1, n);
    spec.loss = Loss::Half;
    for (halves, end, later) in [
        (20, 0.0, 1.0),
        (20, 0.0, 0.9),
        (23, 0.0, 1.0),
        (24, 0.5, 0.5),
        (12, 1e-3, 1.0),
        (40, 0.5, 1.0),
        (5, 1e-7, 0.5),
    ] {
        let eta = (0..n)
            .map(|t| {
                if t < halves {
                    0.5
                } else if t == halves {
                    end
                } else {
                    later
                }
            })
            .collect();
        let [k, v, q] = [0, 1, 2].map(|i| numbers(n * d, i * 4001).iter().map(|x| 0.4 * x).collect());
        let (alpha, theta, state) = (vec![0.0; n], vec![0.0; n], numbers(2 * d * d, 77));
        let kernel = Simd::best();
        let case = Case {
            kernel,
            spec: spec.clone(),
            read: Read::After,
            n,
            k,
            v,
            q,
            alpha,
            theta,
            eta,
            mask: None,
            state,
            per_chunk: false,
        };
        let mut single = case.clone();
        single.spec.compute_chunk = 1;
        // In f64 token by token.
        for (name, (found, want)) in ["k", "v", "q", "α", "θ", "η", "state"]
            .iter()
            .zip(gradients_in::<f32>(&case).iter().zip(&gradients(&single)))
        {
            let scale = want.iter().fold(1e-30, |m: f64, x| m.max(x.abs()));
            let error = found.iter().zip(want).fold(0.0, |m: f64, (a, b)| m.max((a - b).abs())) / scale;
            assert!(error <= 1e-5, "{name} after {halves} halves, {end}, then {later}: {error:e} of the largest");
        }
    }
}
