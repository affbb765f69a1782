//! Whole models in the kernel: any cut of a stream has the bits of the whole, nothing sees the future, and what is read
//! from outside is checked.

mod bytes;
mod case;
mod plain;
mod reference;
mod refusals;
mod session;

use case::{Dice, Fed, KINDS, MODES, ModelCase, Number, Out, World, buffer, push, saved, whole};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use titans_kernel::memory::{Activation, Network};
use titans_kernel::model::{Kind, Mode, Stream};

/// The same 256 cases in every run, so that a failure is one for everybody.
const SEED: RngSeed = RngSeed::Fixed(2501);

/// Runs a check on both numbers.
macro_rules! on_both {
    ($check:ident) => {
        mod $check {
            #[test]
            fn f32() {
                super::$check::<f32>();
            }
            #[test]
            fn f64() {
                super::$check::<f64>();
            }
        }
    };
}

/// Every kind alone, several times with other options, and hybrids.
fn cases() -> Vec<ModelCase> {
    let alone = KINDS.into_iter().flat_map(|kind| (0..6).map(move |seed| ModelCase::new(seed, &[kind])));
    let hybrids =
        (10..14).map(|seed| ModelCase::new(seed, &[Kind::Mac, Kind::Lmm, Kind::Mag, Kind::Attention, Kind::Mal]));
    alone.chain(hybrids).chain(KINDS.into_iter().flat_map(ModelCase::chosen)).collect()
}

fn finite<T: Number>(out: &Out) -> bool {
    out.outputs.iter().flatten().chain(out.surprise.iter().flatten()).all(|&x| f64::from_bits(x).is_finite())
}

/// Feeds in pieces that `size` names.
fn in_pieces<T: Number>(
    world: &mut World<T>,
    mode: Mode,
    rows: usize,
    fed: &Fed<T>,
    n: usize,
    mut size: impl FnMut() -> usize,
) -> (Out, Vec<u8>) {
    let model = world.model();
    let mut buffer = buffer(&model, rows);
    let mut stream = Stream::new(&T::kernel(), &model, mode, rows, &mut buffer).unwrap();
    let (mut out, mut from) = (Out::default(), 0);
    while from < n {
        let piece = size().min(n - from);
        push(&mut stream, fed, from, piece, &mut out).unwrap();
        from += piece;
        assert_eq!(stream.position(), from as u64);
    }
    (out, saved(&stream))
}

on_both!(cuts_of_1_2_7_and_all_are_the_same_stream);
fn cuts_of_1_2_7_and_all_are_the_same_stream<T: Number>() {
    const N: usize = 75;
    for case in cases() {
        let mut world = World::<T>::new(&case);
        let fed = case.input::<T>(N);
        for mode in MODES {
            let (want, state) = whole(&world.model(), mode, &fed, N);
            assert_eq!(want.outputs.len(), N);
            assert!(finite::<T>(&want), "{case:?}");
            for (size, rows) in [(1, 1), (2, 5), (7, 7), (7, 3), (N, 1), (N, 16)] {
                let (out, end) = in_pieces(&mut world, mode, rows, &fed, N, || size);
                assert_eq!(out, want, "{size} at a time, rows {rows}, {mode:?}: {case:?}");
                assert_eq!(end, state, "state, {size} at a time, rows {rows}, {mode:?}: {case:?}");
            }
        }
    }
}

/// Cuts at random places, and between them forks, or saves and loads into a stream of other rows, and goes on there.
fn wandering<T: Number>(case: &ModelCase, n: usize) {
    let mut world = World::<T>::new(case);
    let (fed, mut dice, model) = (case.input::<T>(n), Dice(case.seed ^ 0xc0), world.model());
    let (mode, g) = (dice.pick(&MODES), T::kernel());
    let (want, state) = whole(&model, mode, &fed, n);
    let rows = [1 + dice.below(9), 1 + dice.below(40)];
    // Two of each size.
    let mut buffers = [0, 0, 1, 1].map(|i| buffer(&model, rows[i]));
    let mut streams = vec![];
    for (i, buffer) in buffers.iter_mut().enumerate() {
        streams.push(Stream::new(&g, &model, dice.pick(&MODES), rows[i / 2], buffer).unwrap());
    }
    streams[0].reset(&g, mode).unwrap();
    let (mut here, mut out, mut from) = (0, Out::default(), 0);
    while from < n {
        let piece = (1 + dice.below(23)).min(n - from);
        push(&mut streams[here], &fed, from, piece, &mut out).unwrap();
        from += piece;
        let next = dice.below(4);
        if next == here {
            continue;
        }
        push(&mut streams[next], &fed, 0, n.min(5), &mut Out::default()).unwrap();
        let bytes = saved(&streams[here]);
        if next / 2 == here / 2 {
            let (low, high) = streams.split_at_mut(here.max(next));
            let (low, high) = (&mut low[here.min(next)], &mut high[0]);
            let (from, to) = if here < next { (low, high) } else { (high, low) };
            from.fork_into(to).unwrap();
        } else {
            streams[next].load(&bytes).unwrap();
        }
        assert_eq!(saved(&streams[next]), bytes);
        assert_eq!(streams[next].mode(), mode);
        // What the one that is left does now does not reach the other.
        push(&mut streams[here], &fed, 0, n.min(9), &mut Out::default()).unwrap();
        here = next;
    }
    assert_eq!(out, want, "{mode:?} {case:?}");
    assert_eq!(saved(&streams[here]), state);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 0, failure_persistence: None, rng_seed: SEED, ..ProptestConfig::default() })]

    #[test]
    fn any_split_saved_loaded_and_forked_has_the_bits_of_the_whole(seed in any::<u64>(), n in 1usize..90) {
        wandering::<f32>(&ModelCase::any(seed), n);
        wandering::<f64>(&ModelCase::any(seed), n);
    }
}

on_both!(nothing_before_a_token_sees_it);
fn nothing_before_a_token_sees_it<T: Number>() {
    const N: usize = 50;
    for case in cases() {
        let mut world = World::<T>::new(&case);
        let model = world.model();
        let fed = case.input::<T>(N);
        let (before, _) = whole(&model, Mode::On, &fed, N);
        for j in [0, 1, 2, 7, 15, 16, 17, 31, 32, N - 1] {
            let mut changed = fed.clone();
            changed.perturb(j, case.spec.input.size());
            let (after, _) = whole(&model, Mode::On, &changed, N);
            assert_eq!(before.outputs[..j], after.outputs[..j], "token {j} is seen too early: {case:?}");
            assert_eq!(before.surprise[..j], after.surprise[..j], "token {j} surprises too early: {case:?}");
            assert_ne!(before.outputs[j], after.outputs[j], "token {j} is not seen at all: {case:?}");
        }
    }
}

/// Without what amplifies rounding without bound: the layer norm of fewer than five numbers is nearly a sign.
fn tame(mut case: ModelCase) -> ModelCase {
    for block in case.blocks.iter_mut().filter(|b| b.head_width < 5) {
        block.memory.network = Network::Plain;
    }
    case
}

on_both!(outputs_and_surprises_are_those_of_the_definition);
fn outputs_and_surprises_are_those_of_the_definition<T: Number>() {
    const N: usize = 53;
    let tolerance = if T::BYTES == 8 { 1e-10 } else { 1e-4 };
    for case in cases().into_iter().map(tame) {
        let mut world = World::<T>::new(&case);
        let (fed, wide) = (case.input::<T>(N), case.input::<f64>(N));
        for mode in MODES {
            let (got, _) = whole(&world.model(), mode, &fed, N);
            let (outputs, surprise) = reference::outputs(&case, mode, &wide);
            for (what, got, want) in [("output", &got.outputs, &outputs), ("surprise", &got.surprise, &surprise)] {
                for (t, (got, want)) in got.iter().zip(want).enumerate() {
                    assert_eq!(got.len(), want.len());
                    for (&got, &want) in got.iter().zip(want) {
                        let (got, allowed) = (f64::from_bits(got), tolerance * want.abs().max(1.0));
                        assert!((got - want).abs() <= allowed, "{what} {t}: {got} but {want}, {mode:?}: {case:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn streams_share_a_model_from_several_threads() {
    const N: usize = 60;
    for case in [ModelCase::any(21), ModelCase::any(22)] {
        let mut world = World::<f32>::new(&case);
        let (model, fed) = (world.model(), case.input::<f32>(N));
        let (want, _) = whole(&model, Mode::On, &fed, N);
        std::thread::scope(|scope| {
            for size in 1..5 {
                let (model, fed, want) = (&model, &fed, &want);
                scope.spawn(move || {
                    let mut buffer = buffer(model, 6);
                    let mut stream = Stream::new(&f32::kernel(), model, Mode::On, 6, &mut buffer).unwrap();
                    let mut out = Out::default();
                    (0..N / size).for_each(|i| push(&mut stream, fed, i * size, size, &mut out).unwrap());
                    assert_eq!(out.outputs, want.outputs[..N / size * size]);
                });
            }
        });
    }
}

#[test]
fn a_frozen_memory_does_not_change_and_an_absent_one_is_silent() {
    const N: usize = 80; // longer than any segment
    for mut case in cases() {
        // A network whose units are all dead, or all of whose weights are forgotten, answers 0 whether it learns or
        // not.
        case.blocks.iter_mut().for_each(|b| (b.memory.activation, b.forgetting) = (Activation::Silu, false));
        let mut world = World::<f64>::new(&case);
        let (model, fed) = (world.model(), case.input::<f64>(N));
        let remembers = model.memories() > 0;
        let [on, frozen, absent] = MODES.map(|mode| whole(&model, mode, &fed, N).0);
        assert_eq!(on.outputs != frozen.outputs, remembers, "{case:?}");
        assert!(absent.surprise.iter().flatten().all(|&s| s == 0));
        let mut buffer = buffer(&model, 4);
        let mut stream = Stream::new(&f64::kernel(), &model, Mode::On, 4, &mut buffer).unwrap();
        let mut out = Out::default();
        push(&mut stream, &fed, 0, N / 2, &mut out).unwrap();
        stream.set_mode(Mode::Frozen).unwrap();
        push(&mut stream, &fed, N / 2, N / 2, &mut out).unwrap();
        assert_eq!(out.outputs[..N / 2], on.outputs[..N / 2]);
        assert_eq!(out.outputs[N / 2..] != on.outputs[N / 2..], remembers, "{case:?}");
    }
}
