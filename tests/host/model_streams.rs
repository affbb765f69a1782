//! A stream gives the numbers of a batch, however it is cut, saved and loaded, for every block and option; it is
//! causal, and says what it cannot do.

mod holds;
mod refusals;

use crate::cases::{cases, tiny};
use crate::feed::Fed;
use crate::{cases, feed};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::sync::Arc;
use titans_host::device::Device;
use titans_host::device::cpu::{Cpu, SimdScalar};
use titans_host::model::{Head, Input, Kind, Mode, Model, ModelConfig, Session, Source, Step, Weights};
use titans_host::tape::Tape;
use titans_kernel::Scalar;

const MODES: [Mode; 3] = [Mode::On, Mode::Frozen, Mode::Absent];

/// A model whose parameters are far from special points.
struct World<T: SimdScalar> {
    device: Cpu<T>,
    model: Model<Cpu<T>>,
}

fn noise(seed: u64) -> impl FnMut() -> f64 {
    let mut x = seed | 1;
    move || {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 40) as f64 / (1u64 << 23) as f64 - 1.0
    }
}

impl<T: SimdScalar> World<T> {
    fn new(config: ModelConfig) -> Self {
        let device = Cpu::new(Some(1)).unwrap();
        let mut model = Model::new(&device, config, 1).unwrap();
        let mut random = noise(3);
        for id in model.params.iter().map(|p| p.id).collect::<Vec<_>>() {
            let mut value = model.params.download(&device, id).unwrap();
            value.iter_mut().for_each(|v| *v += T::from_f64(0.3 * random()));
            device.write(&value, model.params.value_mut(id).unwrap()).unwrap();
        }
        Self { device, model }
    }

    /// Logits and surprises of every token, from one batch.
    fn batch(&self, source: Source<'_, Cpu<T>>, time: usize, mode: Mode) -> Vec<Step<T>> {
        let mut tape = Tape::inference(&self.device, &self.model.params);
        let input = Input { surprise: true, mode, ..Input::of(source, 1, time) };
        let forward = self.model.forward(&mut tape, input).unwrap();
        let logits = self.device.download(forward.logits.buffer()).unwrap();
        let surprise: Vec<_> = forward.surprise.iter().map(|s| self.device.download(s).unwrap()).collect();
        let part = |x: &Vec<T>, t: usize| x[t * (x.len() / time)..][..x.len() / time].to_vec();
        let step = |t| Step { logits: part(&logits, t), surprise: surprise.iter().map(|s| part(s, t)).collect() };
        (0..time).map(step).collect()
    }

    fn of_ids(&self, ids: &[u32], mode: Mode) -> Vec<Step<T>> {
        let fed = Fed::input(&self.device, self.model.config(), ids);
        self.batch(fed.source(), ids.len(), mode)
    }

    fn session(&self, mode: Mode) -> Session<T> {
        Session::new(&self.device, &self.model, mode).unwrap()
    }
}

/// Feeds ids, or the rows that stand for them where the model reads rows.
fn push<T: SimdScalar>(session: &mut Session<T>, ids: &[u32]) -> Vec<Step<T>> {
    let input = session.weights().model().unwrap().spec().input;
    match input {
        titans_kernel::model::Input::Tokens(_) => session.push(ids).unwrap(),
        titans_kernel::model::Input::Rows(width) => session.push_rows(&feed::rows(width, ids)).unwrap(),
    }
}

fn ids(n: usize, seed: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * i * 7 + i * (seed + 3) + seed) % 31 % 7) as u32).collect()
}

fn numbers<T: Scalar>(steps: &[Step<T>]) -> Vec<f64> {
    steps.iter().flat_map(|s| s.logits.iter().chain(s.surprise.iter().flatten())).map(|x| x.to_f64()).collect()
}

fn bits<T: Scalar>(steps: &[Step<T>]) -> Vec<u64> {
    numbers(steps).into_iter().map(f64::to_bits).collect()
}

/// Largest difference, relative to the largest number.
fn apart<T: Scalar>(a: &[Step<T>], b: &[Step<T>]) -> f64 {
    let (a, b) = (numbers(a), numbers(b));
    assert_eq!(a.len(), b.len());
    let largest = a.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let worst =
        a.iter().zip(&b).fold(0.0f64, |m, (a, b)| if (a - b).is_nan() { f64::NAN } else { m.max((a - b).abs()) });
    worst / largest
}

/// The same bits: the promise is 1e-10 (f64) and 1e-4 (f32), but deep residual memories amplify a last bit beyond both.
fn streams_are_batches<T: SimdScalar>() {
    for (what, config) in cases() {
        let world = World::<T>::new(config);
        // No chunk, window or segment divides these.
        for time in [1, 7, 29, 61] {
            for mode in MODES {
                let tokens = ids(time, time);
                let batch = world.of_ids(&tokens, mode);
                let stream = push(&mut world.session(mode), &tokens);
                assert!(numbers(&batch).iter().all(|x| x.is_finite()));
                assert_eq!(
                    bits(&batch),
                    bits(&stream),
                    "{what}, {mode:?}, {time} tokens: {:e}",
                    apart(&batch, &stream)
                );
            }
        }
    }
}

#[test]
fn streams_are_batches_f32() {
    streams_are_batches::<f32>();
}

#[test]
fn streams_are_batches_f64() {
    streams_are_batches::<f64>();
}

#[test]
fn streams_of_numbers_are_batches() {
    for kind in cases::KINDS {
        let config = ModelConfig { inputs: 3, head: Head::Regression, outputs: 2, tied: false, ..tiny(kind) };
        let world = World::<f64>::new(config);
        let mut random = noise(9);
        let rows: Vec<f64> = (0..3 * 29).map(|_| random()).collect();
        let batch = world.batch(Fed::numbers(&world.device, &rows).source(), 29, Mode::On);
        let mut session = world.session(Mode::On);
        let stream: Vec<_> = rows.chunks(3 * 5).flat_map(|rows| session.push_rows(rows).unwrap()).collect();
        assert_eq!(bits(&batch), bits(&stream), "{kind:?}: {:e}", apart(&batch, &stream));
        assert!(session.push_rows(&rows[..4]).is_err());
        assert!(session.push(&[1]).is_err());
        assert_eq!(session.position(), 29);
    }
}

/// A long push is cut inside.
#[test]
fn long_streams_are_batches() {
    for kind in cases::KINDS {
        let world = World::<f64>::new(tiny(kind));
        let tokens = ids(700, 4);
        let batch = world.of_ids(&tokens, Mode::On);
        let stream = world.session(Mode::On).push(&tokens).unwrap();
        assert_eq!(bits(&batch), bits(&stream), "{kind:?}: {:e}", apart(&batch, &stream));
    }
}

/// 256 random streams: block, option, mode, length and cuts; at every cut the state may go through bytes into another
/// session.
#[test]
fn any_cut_gives_the_bits_of_the_whole() {
    let worlds: Vec<_> = cases().into_iter().map(|(what, config)| (what, World::<f32>::new(config))).collect();
    let sets: Vec<_> =
        worlds.iter().map(|(_, world)| Arc::new(Weights::of(&world.device, &world.model).unwrap())).collect();
    let cuts = prop::collection::vec((1usize..23, any::<bool>()), 1..9);
    let strategy = (0..worlds.len(), 0..MODES.len(), any::<u16>(), cuts);
    let mut runner = TestRunner::new(Config { cases: 256, failure_persistence: None, ..Config::default() });
    let run = |(case, mode, seed, cuts): (usize, usize, u16, Vec<(usize, bool)>)| {
        let (what, mode) = (&worlds[case].0, MODES[mode]);
        let start = || Session::of(Arc::clone(&sets[case]), worlds[case].1.device.arithmetic(), mode).unwrap();
        let tokens = ids(cuts.iter().map(|(n, _)| n).sum(), usize::from(seed));
        let whole = push(&mut start(), &tokens);
        let (mut session, mut steps, mut rest) = (start(), Vec::new(), &tokens[..]);
        for (n, saved) in cuts {
            let (now, later) = rest.split_at(n);
            steps.extend(push(&mut session, now));
            rest = later;
            if saved {
                let bytes = session.save().unwrap();
                session = start();
                push(&mut session, &ids(5, 1));
                session.load(&bytes).unwrap();
                prop_assert_eq!(session.position(), steps.len() as u64);
                prop_assert_eq!(session.save().unwrap(), bytes);
            }
        }
        prop_assert_eq!(bits(&steps), bits(&whole), "{}, {:?}", what, mode);
        Ok(())
    };
    runner.run(&strategy, run).unwrap();
}

#[test]
fn no_token_of_a_stream_sees_the_future() {
    for (what, config) in cases() {
        let world = World::<f32>::new(config);
        let tokens = ids(27, 2);
        for mode in MODES {
            let plain = push(&mut world.session(mode), &tokens);
            for j in [0, 3, 4, 7, 8, 15, 16, 26] {
                let mut changed = tokens.clone();
                changed[j] = (changed[j] + 3) % 7;
                let mut session = world.session(mode);
                let other: Vec<_> = changed.chunks(5).flat_map(|c| push(&mut session, c)).collect();
                assert_eq!(
                    bits(&plain[..j]),
                    bits(&other[..j]),
                    "{what}, {mode:?}: token {j} is seen before it is read"
                );
                assert_ne!(bits(&plain[j..=j]), bits(&other[j..=j]), "{what}, {mode:?}: token {j} is not seen at all");
            }
        }
    }
}

#[test]
fn a_fork_goes_its_own_way_and_threads_share_weights() {
    let world = World::<f32>::new(tiny(Kind::Mac));
    let mut session = world.session(Mode::On);
    session.push(&ids(13, 0)).unwrap();
    let mut fork = session.clone();
    fork.push(&ids(9, 5)).unwrap();
    let alone = world.session(Mode::On).push(&[ids(13, 0), ids(20, 1)].concat()).unwrap();
    assert_eq!(bits(&session.push(&ids(20, 1)).unwrap()), bits(&alone[13..]));
    let weights = Arc::clone(session.weights());
    let arithmetic = world.device.arithmetic();
    let run = |seed| Session::of(Arc::clone(&weights), arithmetic, Mode::On).unwrap().push(&ids(50, seed)).unwrap();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(move || bits(&run(seed)))).collect();
        for (seed, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap(), bits(&run(seed)), "stream {seed}");
        }
    });
}

#[test]
fn frozen_memories_stay_and_may_thaw() {
    let world = World::<f32>::new(tiny(Kind::Lmm));
    let tokens = ids(40, 3);
    let [on, frozen, absent] = MODES.map(|mode| world.session(mode).push(&tokens).unwrap());
    assert!(bits(&on[39..]) != bits(&frozen[39..]) && bits(&frozen[39..]) != bits(&absent[39..]));
    assert!(on.iter().all(|s| s.surprise.len() == 2) && absent.iter().all(|s| s.surprise.is_empty()));
    let mut session = world.session(Mode::Frozen);
    session.push(&tokens[..20]).unwrap();
    session.set_mode(Mode::On).unwrap();
    let later = session.push(&tokens[20..]).unwrap();
    assert_ne!(bits(&later), bits(&frozen[20..]));
    assert!(session.set_mode(Mode::Absent).is_err());
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let world = World::<f32>::new(tiny(Kind::Mag));
    let (mut session, mut other) = (world.session(Mode::On), world.session(Mode::On));
    session.push(&ids(21, 0)).unwrap();
    other.push(&ids(21, 0)).unwrap();
    let error = session.push(&[1, 2, 999]).unwrap_err().to_string();
    assert!(error.contains("token 2") && error.contains("999"), "{error}");
    assert!(session.push(&[]).unwrap().is_empty());
    assert!(session.push_rows(&[1.0, 2.0]).is_err());
    let saved = session.save().unwrap();
    for cut in [0, 1, saved.len() / 2, saved.len() - 1] {
        assert!(session.load(&saved[..cut]).is_err());
    }
    for at in [0, 9, saved.len() / 3, saved.len() / 2, saved.len() - 1] {
        let mut damaged = saved.clone();
        damaged[at] ^= 4;
        assert!(session.load(&damaged).is_err(), "byte {at}");
    }
    let foreign = World::<f32>::new(tiny(Kind::Mal)).session(Mode::On).save().unwrap();
    assert!(session.load(&foreign).is_err());
    assert_eq!(session.push(&[3]).unwrap(), other.push(&[3]).unwrap());
    let step = session.push(&[4]).unwrap().remove(0);
    let sum: f64 = step.log_probabilities().iter().map(|x| x.exp()).sum();
    assert!((sum - 1.0).abs() < 1e-12, "{sum}");

    let weights = Weights::of(&world.device, &world.model).unwrap();
    let again = Weights::<f32>::from_bytes(weights.bytes()).unwrap();
    assert_eq!(weights.bytes(), again.bytes());
    let mut damaged = weights.bytes().to_vec();
    damaged[weights.bytes().len() / 2] ^= 1;
    assert!(Weights::<f32>::from_bytes(&damaged).is_err());
    assert!(Weights::<f64>::from_bytes(weights.bytes()).is_err());
    assert!(Weights::<f32>::from_bytes(b"short").is_err());
}
