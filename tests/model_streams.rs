//! The model is causal, its sequences are independent, and a stream gives the numbers of a batch however it is cut.

use std::sync::Arc;
use titans_host::device::Device;
use titans_host::device::cpu::Cpu;
use titans_host::model::{Forward, Input, MemoryMode, Model, ModelConfig, Session, Step, StreamState};
use titans_host::tape::Tape;
use titans_kernel::Scalar;
use titans_kernel::memory::Read;

const VOCABULARY: usize = 11;
const TIME: usize = 150;

fn config(layers: usize, read: Read) -> ModelConfig {
    let mut config = ModelConfig {
        vocabulary: VOCABULARY,
        width: 12,
        blocks: 2,
        heads: 3,
        head_width: 8,
        feed_forward: 9,
        alpha_bias: -3.0,
        ..ModelConfig::default()
    };
    config.memory.layers = layers;
    config.memory.hidden = 10;
    config.memory.chunk = 16;
    config.memory.read = read;
    config
}

fn configs() -> Vec<ModelConfig> {
    vec![
        config(1, Read::After),
        config(1, Read::Before),
        config(2, Read::After),
        config(2, Read::ChunkStart),
        ModelConfig { conv_width: 1, tied: false, ..config(1, Read::After) },
    ]
}

fn ids(n: usize, seed: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * i * 7 + i * (seed + 3) + seed) % 31 % VOCABULARY) as u32).collect()
}

/// A device and a model whose logits are not all but equal.
struct World<D: Device> {
    device: D,
    model: Model<D>,
}

impl<D: Device> World<D> {
    fn new(device: D, config: ModelConfig) -> Self {
        let mut model = Model::new(&device, config, 1).unwrap();
        let id = model.params.id("embedding.weight").unwrap();
        let table: Vec<D::Elem> =
            model.params.download_f64(&device, id).unwrap().iter().map(|x| D::Elem::from_f64(x * 40.0)).collect();
        device.write(&table, model.params.value_mut(id).unwrap()).unwrap();
        Self { device, model }
    }

    fn forward(
        &self,
        ids: &[u32],
        batch: usize,
        mode: MemoryMode,
        state: Option<&mut StreamState<D>>,
    ) -> Vec<Vec<u64>> {
        self.steps(ids, batch, mode, state).into_iter().map(|(logits, _)| logits).collect()
    }

    /// The bits of the logits and the surprises of every row.
    fn steps(
        &self,
        ids: &[u32],
        batch: usize,
        mode: MemoryMode,
        state: Option<&mut StreamState<D>>,
    ) -> Vec<(Vec<u64>, Vec<Vec<u64>>)> {
        let indices = Arc::new(self.device.upload_indices(ids).unwrap());
        let mut tape = Tape::inference(&self.device, &self.model.params);
        let input = Input { mode, state, surprise: true, ..Input::new(&indices, batch, ids.len() / batch) };
        let Forward { logits, surprise, .. } = self.model.forward(&mut tape, input).unwrap();
        let logits = self.device.download(logits.buffer()).unwrap();
        let surprise: Vec<_> = surprise.iter().map(|s| self.device.download(s).unwrap()).collect();
        let heads = self.model.config().heads;
        (0..ids.len())
            .map(|t| {
                let row = bits(&logits[t * VOCABULARY..][..VOCABULARY]);
                (row, surprise.iter().map(|s| bits(&s[t * heads..][..heads])).collect())
            })
            .collect()
    }
}

fn bits<T: Scalar>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

fn step_bits<T: Scalar>(step: &Step<T>) -> (Vec<u64>, Vec<Vec<u64>>) {
    (bits(&step.logits), step.surprise.iter().map(|s| bits(s)).collect())
}

/// Runs a check on both numbers the CPU computes with.
macro_rules! on_both {
    ($check:ident) => {
        mod $check {
            use super::*;
            #[test]
            fn f32() {
                super::$check(|| Cpu::<f32>::new(Some(2)).unwrap());
            }
            #[test]
            fn f64() {
                super::$check(|| Cpu::<f64>::new(Some(2)).unwrap());
            }
        }
    };
}

on_both!(no_logit_sees_the_future);
fn no_logit_sees_the_future<D: Device>(device: impl Fn() -> D) {
    for config in configs() {
        let world = World::new(device(), config);
        let tokens = ids(TIME, 0);
        let before = world.forward(&tokens, 1, MemoryMode::On, None);
        for j in [0, 1, 15, 16, 17, 40, 127, 128, TIME - 1] {
            let mut changed = tokens.clone();
            changed[j] = (changed[j] + 1) % VOCABULARY as u32;
            let after = world.forward(&changed, 1, MemoryMode::On, None);
            assert_eq!(before[..j], after[..j], "token {j} is seen before it is read");
            assert_ne!(before[j], after[j], "token {j} is not seen at all");
            let mut session = Session::new(&world.device, &world.model, MemoryMode::On).unwrap();
            let streamed: Vec<_> = changed.chunks(29).flat_map(|c| session.push(c).unwrap()).collect();
            for (t, step) in streamed.iter().enumerate().take(j) {
                assert_eq!(before[t], bits(&step.logits), "streaming: token {j} is seen at {t}");
            }
        }
    }
}

on_both!(any_cut_of_a_stream_gives_the_bits_of_the_whole);
fn any_cut_of_a_stream_gives_the_bits_of_the_whole<D: Device>(device: impl Fn() -> D) {
    for config in configs() {
        let world = World::new(device(), config);
        for mode in [MemoryMode::On, MemoryMode::Frozen, MemoryMode::Absent] {
            let tokens = ids(TIME, 2);
            let whole = world.steps(&tokens, 1, mode, None);
            for cut in [1, 7, 64, TIME] {
                let mut session = Session::new(&world.device, &world.model, mode).unwrap();
                let mut steps = Vec::new();
                for piece in tokens.chunks(cut) {
                    steps.extend(session.push(piece).unwrap());
                    assert_eq!(session.position(), steps.len() as u64);
                }
                assert_eq!(steps.len(), TIME);
                for (t, (step, whole)) in steps.iter().zip(&whole).enumerate() {
                    assert_eq!(step_bits(step), *whole, "{mode:?}, cuts of {cut}, token {t}");
                }
            }
        }
    }
}

on_both!(a_long_push_is_run_in_segments);
fn a_long_push_is_run_in_segments<D: Device>(device: impl Fn() -> D) {
    let world = World::new(device(), config(1, Read::After));
    let tokens = ids(2500, 4);
    let whole = world.steps(&tokens, 1, MemoryMode::On, None);
    let mut session = Session::new(&world.device, &world.model, MemoryMode::On).unwrap();
    let steps = session.push(&tokens).unwrap();
    assert!(steps.iter().map(step_bits).eq(whole));
}

on_both!(segments_with_a_state_are_one_pass);
fn segments_with_a_state_are_one_pass<D: Device>(device: impl Fn() -> D) {
    const BATCH: usize = 2;
    for config in configs() {
        let world = World::new(device(), config);
        for mode in [MemoryMode::On, MemoryMode::Frozen] {
            let rows: Vec<_> = (0..BATCH).map(|b| ids(TIME, b)).collect();
            let whole = world.steps(&rows.concat(), BATCH, mode, None);
            let mut state = StreamState::new(&world.device, &world.model, BATCH).unwrap();
            let mut from = 0;
            for time in [16, 96, 38] {
                let segment: Vec<u32> = rows.iter().flat_map(|r| r[from..from + time].to_vec()).collect();
                let steps = world.steps(&segment, BATCH, mode, Some(&mut state));
                for b in 0..BATCH {
                    assert_eq!(steps[b * time..][..time], whole[b * TIME + from..][..time], "{mode:?} from {from}");
                }
                from += time;
                assert_eq!(state.position(), from as u64);
            }
        }
    }
}

on_both!(sequences_of_a_batch_do_not_meet);
fn sequences_of_a_batch_do_not_meet<D: Device>(device: impl Fn() -> D) {
    for config in configs() {
        let world = World::new(device(), config);
        let rows: Vec<_> = (0..3).map(|b| ids(37, b + 5)).collect();
        let together = world.steps(&rows.concat(), 3, MemoryMode::On, None);
        for (b, row) in rows.iter().enumerate() {
            assert_eq!(world.steps(row, 1, MemoryMode::On, None), together[b * 37..][..37], "sequence {b}");
        }
    }
}

on_both!(frozen_memories_stay_and_absent_ones_say_nothing);
fn frozen_memories_stay_and_absent_ones_say_nothing<D: Device>(device: impl Fn() -> D) {
    let world = World::new(device(), config(2, Read::After));
    let tokens = ids(64, 1);
    let state_after = |mode| {
        let mut state = StreamState::new(&world.device, &world.model, 1).unwrap();
        let start: Vec<_> = state.layers().iter().map(|l| bits(&world.device.download(&l.memory).unwrap())).collect();
        let steps = world.steps(&tokens, 1, mode, Some(&mut state));
        let end: Vec<_> = state.layers().iter().map(|l| bits(&world.device.download(&l.memory).unwrap())).collect();
        (steps, start == end)
    };
    let (on, stayed) = state_after(MemoryMode::On);
    assert!(!stayed, "the memory was to learn");
    let (frozen, stayed) = state_after(MemoryMode::Frozen);
    assert!(stayed, "the memory was to stay");
    let (absent, stayed) = state_after(MemoryMode::Absent);
    assert!(stayed);
    assert_ne!(on[63].0, frozen[63].0);
    assert_ne!(frozen[63].0, absent[63].0);
    assert!(on.iter().all(|(_, s)| s.len() == 2) && absent.iter().all(|(_, s)| s.is_empty()));
    // Without memories nothing mixes tokens: equal tokens have equal logits.
    for t in 0..64 {
        let first = tokens.iter().position(|id| *id == tokens[t]).unwrap();
        assert_eq!(absent[t].0, absent[first].0, "token {t}");
    }
    // Frozen memories see the past through the convolutions only: 3 tokens a block.
    let mut changed = tokens.clone();
    changed[20] = (changed[20] + 1) % VOCABULARY as u32;
    let other = world.steps(&changed, 1, MemoryMode::Frozen, None);
    assert_ne!(frozen[26].0, other[26].0);
    assert!((27..64).all(|t| frozen[t].0 == other[t].0));
}

#[test]
fn what_cannot_be_is_refused_and_changes_nothing() {
    let world = World::new(Cpu::<f32>::new(Some(1)).unwrap(), config(1, Read::After));
    let (device, model) = (&world.device, &world.model);
    let mut state = StreamState::new(device, model, 1).unwrap();
    let forward = |ids: &[u32], batch, mode, state: &mut StreamState<_>| {
        let indices = Arc::new(device.upload_indices(ids).unwrap());
        let mut tape = Tape::inference(device, &model.params);
        let input = Input { mode, state: Some(state), ..Input::new(&indices, batch, ids.len() / batch) };
        model.forward(&mut tape, input).map(|_| ()).map_err(|e| e.to_string())
    };
    let two = forward(&[1, 2], 2, MemoryMode::On, &mut state).unwrap_err();
    assert!(two.contains("expected a batch of 1, found 2"), "{two}");
    let empty = forward(&[], 1, MemoryMode::On, &mut state).unwrap_err();
    assert!(empty.contains("1 token or more"), "{empty}");
    assert!(forward(&[VOCABULARY as u32; 16], 1, MemoryMode::On, &mut state).is_err());
    assert_eq!(state.position(), 0);
    forward(&ids(16, 0), 1, MemoryMode::On, &mut state).unwrap();
    let gone = forward(&ids(16, 0), 1, MemoryMode::Absent, &mut state).unwrap_err();
    assert!(gone.contains("begin a new one"), "{gone}");
    forward(&ids(5, 0), 1, MemoryMode::On, &mut state).unwrap();
    let cut = forward(&ids(5, 0), 1, MemoryMode::On, &mut state).unwrap_err();
    assert!(cut.contains("21 tokens") && cut.contains("chunks of 16"), "{cut}");

    let mut session = Session::new(device, model, MemoryMode::On).unwrap();
    let mut other = Session::new(device, model, MemoryMode::On).unwrap();
    session.push(&ids(21, 0)).unwrap();
    other.push(&ids(21, 0)).unwrap();
    let error = session.push(&[1, 2, 999]).unwrap_err().to_string();
    assert!(error.contains("token 2") && error.contains("999"), "{error}");
    assert!(session.push(&[]).unwrap().is_empty());
    assert_eq!(session.push(&[3]).unwrap(), other.push(&[3]).unwrap());
    let step = session.push(&[4]).unwrap().remove(0);
    let sum: f64 = step.log_probabilities().iter().map(|x| x.exp()).sum();
    assert!((sum - 1.0).abs() < 1e-12, "{sum}");
}
