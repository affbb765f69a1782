//! Every block and option: causal to the bit, sequences of a batch apart, and the options do what they say.

use crate::cases::{cases, tiny};
use crate::feed;
use crate::feed::Fed;
use std::sync::Arc;
use titans_host::device::Device;
use titans_host::device::cpu::Cpu;
use titans_host::model::{Head, Input, Kind, Kinds, Mode, Model, ModelConfig, Wiring};
use titans_host::tape::Tape;

const TIME: usize = 27;

struct World {
    device: Cpu<f32>,
    model: Model<Cpu<f32>>,
}

impl World {
    /// Parameters far from special points, so that every path carries something.
    fn new(config: ModelConfig) -> Self {
        let device = Cpu::new(Some(2)).unwrap();
        let mut model = Model::new(&device, config, 1).unwrap();
        let mut x = 1u64;
        for id in model.params.iter().map(|p| p.id).collect::<Vec<_>>() {
            let mut value = model.params.download(&device, id).unwrap();
            for v in &mut value {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *v += 0.3 * ((x >> 40) as f32 / (1 << 23) as f32 - 1.0);
            }
            device.write(&value, model.params.value_mut(id).unwrap()).unwrap();
        }
        Self { device, model }
    }

    /// The bits of what the model says and of the surprises, token by token.
    fn run(&self, ids: &[u32], batch: usize, mode: Mode) -> Vec<Vec<u32>> {
        let fed = Fed::input(&self.device, self.model.config(), ids);
        let said = self.run_of(&fed, batch, ids.len() / batch, mode);
        assert!(said.iter().flatten().all(|&x| f32::from_bits(x).is_finite()));
        said
    }

    fn run_of(&self, fed: &Fed<Cpu<f32>>, batch: usize, time: usize, mode: Mode) -> Vec<Vec<u32>> {
        let mut tape = Tape::inference(&self.device, &self.model.params);
        let input = Input { surprise: true, mode, ..Input::of(fed.source(), batch, time) };
        let (logits, surprise) = tape_forward(&self.model, &mut tape, input);
        let rows = batch * time;
        (0..rows)
            .map(|t| {
                let of = |x: &Vec<f32>| {
                    let width = x.len() / rows;
                    x[t * width..][..width].iter().map(|x| x.to_bits()).collect::<Vec<_>>()
                };
                std::iter::once(&logits).chain(&surprise).flat_map(of).collect()
            })
            .collect()
    }
}

fn tape_forward(
    model: &Model<Cpu<f32>>,
    tape: &mut Tape<'_, Cpu<f32>>,
    input: Input<'_, Cpu<f32>>,
) -> (Vec<f32>, Vec<Vec<f32>>) {
    let forward = model.forward(tape, input).unwrap();
    let device = tape.device();
    let surprise = forward.surprise.iter().map(|s| device.download(s).unwrap()).collect();
    (device.download(forward.logits.buffer()).unwrap(), surprise)
}

fn ids(n: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * i * 5 + i * 3 + 1) % 31 % 7) as u32).collect()
}

#[test]
fn a_token_changes_nothing_before_it_and_something_after() {
    for (what, config) in cases() {
        let world = World::new(config);
        for mode in [Mode::On, Mode::Frozen, Mode::Absent] {
            let before = ids(TIME);
            let plain = world.run(&before, 1, mode);
            for j in [0, 1, 3, 4, 7, 8, 9, 15, 16, 23, 24, TIME - 1] {
                let mut changed = before.clone();
                changed[j] = (changed[j] + 3) % 7;
                let perturbed = world.run(&changed, 1, mode);
                assert_eq!(plain[..j], perturbed[..j], "{what}, {mode:?}: token {j} is seen by those before it");
                assert_ne!(plain[j], perturbed[j], "{what}, {mode:?}: token {j} does not see itself");
            }
        }
    }
}

#[test]
fn sequences_of_a_batch_are_apart() {
    for (what, config) in cases() {
        let world = World::new(config);
        let (a, b) = (ids(TIME), ids(2 * TIME)[TIME..].to_vec());
        for mode in [Mode::On, Mode::Frozen, Mode::Absent] {
            let together = world.run(&[a.clone(), b.clone()].concat(), 2, mode);
            assert_eq!(together[..TIME], world.run(&a, 1, mode), "{what}, {mode:?}");
            assert_eq!(together[TIME..], world.run(&b, 1, mode), "{what}, {mode:?}");
        }
    }
}

/// What a window, a segment and a memory let through: how far back a token is seen by a single block.
#[test]
fn reach_is_what_the_options_say() {
    let reach = |config: ModelConfig, mode| {
        let world = World::new(ModelConfig { blocks: 1, block: config.block.clone(), ..config });
        let plain = world.run(&ids(TIME), 1, mode);
        let mut changed = ids(TIME);
        changed[9] = (changed[9] + 3) % 7;
        let perturbed = world.run(&changed, 1, mode);
        (0..TIME).filter(|&t| plain[t] != perturbed[t]).collect::<Vec<_>>()
    };
    let all: Vec<_> = (9..TIME).collect();
    let letter = |mut config: ModelConfig| {
        config.set_wiring(Wiring::Letter);
        config
    };
    // Token 9 is in the windows of 5 that end at 9 to 13, and in the second segment of 8; convolutions of three taps
    // carry it to the keys of 10 and 11.
    assert_eq!(reach(letter(tiny(Kind::Attention)), Mode::On), [9, 10, 11, 12, 13]);
    assert_eq!(reach(tiny(Kind::Attention), Mode::On), [9, 10, 11, 12, 13, 14, 15]);
    for kind in [Kind::Lmm, Kind::Mag, Kind::Mal, Kind::Mac] {
        assert_eq!(reach(tiny(kind), Mode::On), all, "{kind:?}");
    }
    let mac = ModelConfig { conv_width: 0, ..tiny(Kind::Mac) };
    assert_eq!(reach(letter(mac.clone()), Mode::Absent), [9], "without a memory the product is 0");
    assert_eq!(reach(mac, Mode::Absent), (9..16).collect::<Vec<_>>(), "attention adds for itself");
    let mut sum = letter(tiny(Kind::Mac));
    sum.combine = titans_host::model::Combine::Sum;
    assert_eq!(reach(sum, Mode::Absent), (9..16).collect::<Vec<_>>());
    let lmm = ModelConfig { conv_width: 0, ..tiny(Kind::Lmm) };
    assert_eq!(reach(lmm, Mode::Frozen), [9]);
}

#[test]
fn rows_of_numbers_give_predictions() {
    let config = ModelConfig { inputs: 3, head: Head::Regression, outputs: 2, tied: false, ..tiny(Kind::Mag) };
    let world = World::new(ModelConfig { block: Kinds::Each(vec![Kind::Mac, Kind::Mag]), ..config });
    let numbers: Vec<f32> = (0..TIME * 3).map(|i| ((i * 37 % 19) as f32 - 9.0) / 7.0).collect();
    let run = |numbers: &[f32]| world.run_of(&Fed::numbers(&world.device, numbers), 1, TIME, Mode::On);
    let plain = run(&numbers);
    assert_eq!(plain[0].len(), 2 + 2 * 2, "two numbers, and the surprise of two heads in two blocks");
    let mut changed = numbers.clone();
    changed[13 * 3 + 1] += 0.5;
    let perturbed = run(&changed);
    assert_eq!(plain[..13], perturbed[..13]);
    assert!((13..TIME).all(|t| plain[t] != perturbed[t]));
    let indices = Arc::new(world.device.upload_indices(&ids(3)).unwrap());
    let mut tape = Tape::inference(&world.device, &world.model.params);
    let error = world.model.forward(&mut tape, Input::new(&indices, 1, 3)).unwrap_err().to_string();
    assert!(error.contains("rows of numbers"), "{error}");
}

/// A NaN times 0 is not 0: what a mask or a window hides must not be multiplied away.
#[test]
fn a_nan_reaches_nothing_before_it_and_no_other_sequence() {
    for (what, config) in cases().into_iter().filter(|(_, config)| config.inputs > 0) {
        let (width, world) = (config.inputs, World::new(config));
        let numbers: Vec<f32> = feed::rows(width, &ids(2 * TIME));
        for mode in [Mode::On, Mode::Frozen, Mode::Absent] {
            let run = |numbers: &[f32]| world.run_of(&Fed::numbers(&world.device, numbers), 2, TIME, mode);
            let plain = run(&numbers);
            for j in [0, 1, 4, 7, 8, 15, 16, TIME - 1] {
                let mut spoilt = numbers.clone();
                spoilt[j * width] = f32::NAN;
                let found = run(&spoilt);
                assert_eq!(plain[..j], found[..j], "{what}, {mode:?}: row {j} is seen by those before it");
                assert_eq!(plain[TIME..], found[TIME..], "{what}, {mode:?}: row {j} is seen by the other sequence");
                let nan = |x: &u32| f32::from_bits(*x).is_nan();
                assert!(found[j].iter().any(nan), "{what}, {mode:?}: row {j} does not see itself");
            }
        }
    }
}
