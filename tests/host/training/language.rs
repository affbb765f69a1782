//! Continuations against a session that reads token by token, and apart from one another to the bit.

use super::support::{Device, device, model};
use titans_host::model::{Kind, Kinds, Mode, Model, Session};
use titans_host::task::language::{Continuation, ContinuationScore, score};

const KINDS: [Kind; 5] = [Kind::Lmm, Kind::Mac, Kind::Mag, Kind::Mal, Kind::Attention];

fn of_kind(device: &Device, kind: Kind) -> Model<Device> {
    let mut config = model(32);
    (config.block, config.blocks, config.persistent) = (Kinds::All(kind), 2, 3);
    (config.attention.segment, config.attention.window) = (8, 8);
    Model::new(device, config, 3).unwrap()
}

fn continuation(seed: u32, before: usize, said: usize) -> Continuation {
    let id = |i: usize| (i as u32 * (7 + seed) + seed * seed + i as u32 * i as u32) % 32;
    Continuation { before: (0..before).map(id).collect(), said: (before..before + said).map(id).collect() }
}

fn some() -> Vec<Continuation> {
    [(1, 1), (20, 3), (5, 1), (13, 9), (20, 1), (41, 2)]
        .iter()
        .zip(0..)
        .map(|(&(b, s), i)| continuation(i, b, s))
        .collect()
}

/// What a session says of one.
fn expected(device: &Device, model: &Model<Device>, one: &Continuation, mode: Mode) -> ContinuationScore {
    let mut session = Session::new(device, model, mode).unwrap();
    let mut last = session.push(&one.before).unwrap().pop().unwrap();
    let mut said = ContinuationScore { nats: 0.0, greedy: true, tokens: one.said.len() };
    for &id in &one.said {
        let odds = last.log_probabilities();
        said.nats -= odds[id as usize];
        said.greedy &= odds.iter().all(|&x| x <= odds[id as usize]);
        last = session.push(&[id]).unwrap().pop().unwrap();
    }
    said
}

#[test]
fn scores_are_what_a_session_says_whatever_the_blocks_and_the_memory() {
    let device = device();
    for kind in KINDS {
        let model = of_kind(&device, kind);
        for mode in [Mode::On, Mode::Frozen, Mode::Absent] {
            let items = some();
            for (one, found) in items.iter().zip(score(&device, &model, &items, mode).unwrap()) {
                let expected = expected(&device, &model, one, mode);
                assert!((found.nats - expected.nats).abs() < 1e-4, "{kind:?} {mode:?}: {found:?} {expected:?}");
                assert_eq!((found.greedy, found.tokens), (expected.greedy, expected.tokens), "{kind:?} {mode:?}");
            }
        }
    }
}

#[test]
fn a_score_does_not_depend_on_the_others_nor_on_their_order() {
    let device = device();
    for kind in KINDS {
        let model = of_kind(&device, kind);
        let items = some();
        let bits = |items: &[Continuation]| -> Vec<u64> {
            score(&device, &model, items, Mode::On).unwrap().iter().map(|s| s.nats.to_bits()).collect()
        };
        let together = bits(&items);
        for (i, one) in items.iter().enumerate() {
            assert_eq!(bits(std::slice::from_ref(one)), [together[i]], "{kind:?} {i}: alone");
        }
        let mut other = items.clone();
        other.reverse();
        assert_eq!(bits(&other).into_iter().rev().collect::<Vec<_>>(), together, "{kind:?}: in another order");
        // Another choice beside the same one: what it says may be anything.
        other[2] = continuation(9, 13, 4);
        let mixed = bits(&other);
        assert!(mixed.iter().rev().zip(&together).enumerate().all(|(i, (a, b))| i == 3 || a == b), "{kind:?}");
        assert_ne!(mixed[2], together[3], "{kind:?}: the test sees a difference");
    }
}

#[test]
fn what_is_said_first_matters_and_what_comes_after_does_not() {
    let device = device();
    let model = of_kind(&device, Kind::Lmm);
    let nats = |c: &Continuation| score(&device, &model, std::slice::from_ref(c), Mode::On).unwrap()[0].nats;
    let whole = continuation(2, 12, 6);
    let ids = [&whole.before[..], &whole.said].concat();
    // The nats of a continuation are those of its tokens, each behind the ones before it.
    let parts: f64 = (12..18).map(|i| nats(&Continuation { before: ids[..i].into(), said: vec![ids[i]] })).sum();
    assert!((nats(&whole) - parts).abs() < 1e-9);
    let mut other = whole.clone();
    other.before[0] ^= 1;
    assert_ne!(nats(&other), nats(&whole));
}

#[test]
fn a_long_continuation_is_read_as_a_stream() {
    let device = device();
    let model = of_kind(&device, Kind::Lmm);
    let long = continuation(4, 9000, 3);
    let found = score(&device, &model, &[long.clone(), continuation(1, 5, 2)], Mode::On).unwrap();
    let expected = expected(&device, &model, &long, Mode::On);
    assert!((found[0].nats - expected.nats).abs() < 1e-4, "{found:?} {expected:?}");
    assert_eq!(found[0].greedy, expected.greedy);
    assert_eq!(found[1], score(&device, &model, &[continuation(1, 5, 2)], Mode::On).unwrap()[0]);
}

#[test]
fn nothing_to_read_or_to_say_is_refused() {
    let device = device();
    let model = of_kind(&device, Kind::Lmm);
    for (before, said) in [(0, 1), (1, 0)] {
        let items = [continuation(1, 2, 2), continuation(1, before, said)];
        let error = score(&device, &model, &items, Mode::On).unwrap_err().to_string();
        assert!(error.contains("continuation 1: expected a token"), "{error}");
    }
    let beyond = Continuation { before: vec![1], said: vec![32] };
    assert!(score(&device, &model, &[beyond], Mode::On).is_err());
    assert_eq!(score(&device, &model, &[], Mode::On).unwrap(), []);
}
