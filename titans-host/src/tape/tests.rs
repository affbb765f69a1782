//! The tape against central differences in f64, and what it keeps and refuses.

mod attention;
mod rows;
mod segments;

use super::{Gradients, MemoryVars, ParamId, Params, Tape, Var};
use crate::device::cpu::Cpu;
use crate::device::{Device, DropMask, MemoryOp};
use titans_kernel::memory::{Loss, MemorySpec, Read};

type Machine = Cpu<f64>;

/// Steps of the differences: H and 2 H, extrapolated to fourth order.
const H: f64 = 1e-5;

fn wave(len: usize, seed: f64) -> Vec<f64> {
    (0..len).map(|i| (1.7 * i as f64 + seed).sin() * 0.8).collect()
}

struct World {
    device: Machine,
    params: Params<Machine>,
}

impl World {
    fn new(shapes: &[(&str, &[usize])]) -> Self {
        let device = Machine::new(Some(1)).unwrap();
        let mut params = Params::new();
        for (i, (name, shape)) in shapes.iter().enumerate() {
            let len = shape.iter().product();
            params.add(&device, *name, shape, &wave(len, i as f64), true).unwrap();
        }
        Self { device, params }
    }

    fn id(&self, name: &str) -> ParamId {
        self.params.id(name).unwrap()
    }

    fn constant(&self, len: usize, seed: f64) -> Var<Machine> {
        Var::constant(self.device.upload(&wave(len, seed)).unwrap())
    }

    /// Checks the gradient of `Σ cotangent ∘ build(…)` for every element of every parameter.
    fn check(&mut self, build: impl Fn(&Self, &mut Tape<'_, Machine>) -> Var<Machine>) {
        let mut gradients = Gradients::zeros_like(&self.device, &self.params).unwrap();
        let mut tape = Tape::recording(&self.device, &self.params);
        let y = build(self, &mut tape);
        let cotangent = wave(self.device.len(y.buffer()), 0.3);
        tape.backward_from(&y, self.device.upload(&cotangent).unwrap(), &mut gradients).unwrap();
        self.compare(&gradients, |world| {
            let y = build(world, &mut Tape::inference(&world.device, &world.params));
            let y = world.device.download(y.buffer()).unwrap();
            y.iter().zip(&cotangent).map(|(y, c)| y * c).sum::<f64>()
        });
    }

    /// Checks that `gradients` are those of `value`, for every element of every parameter.
    fn compare(&mut self, gradients: &Gradients<Machine>, loss: impl Fn(&Self) -> f64) {
        for index in 0..self.params.len() {
            let id = ParamId(index);
            let gradient = self.device.download(gradients.get(id).unwrap()).unwrap();
            let largest = gradient.iter().fold(0.0f64, |m, x| m.max(x.abs()));
            assert!(largest > 1e-3, "parameter {index}: no gradient arrives");
            let value = self.params.download(&self.device, id).unwrap();
            for place in 0..value.len() {
                let mut at = |x: f64| {
                    let mut moved = value.clone();
                    moved[place] = x;
                    self.device.write(&moved, self.params.value_mut(id).unwrap()).unwrap();
                    loss(self)
                };
                let mut between = |h: f64| (at(value[place] + h) - at(value[place] - h)) / (2.0 * h);
                let difference = (4.0 * between(H) - between(2.0 * H)) / 3.0;
                let error = (difference - gradient[place]).abs();
                assert!(error <= 1e-7 * largest + 1e-9, "{index}[{place}]: {difference} and {}", gradient[place]);
            }
            self.device.write(&value, self.params.value_mut(id).unwrap()).unwrap();
        }
    }
}

#[test]
fn a_variable_may_be_used_many_times() {
    let mut world = World::new(&[("w", &[3, 4]), ("scale", &[4]), ("square", &[4, 4])]);
    world.check(|world, tape| {
        let x = tape.linear(&world.constant(6, 2.0), world.id("w"), None).unwrap();
        let twice = tape.add(&x, &x).unwrap();
        let gated = tape.silu_gate(&x, &x).unwrap();
        let normed = tape.rms_norm(&x, world.id("scale")).unwrap();
        let shut = tape.sigmoid_gate(&x, &x).unwrap();
        let sum = tape.add(&twice, &gated).unwrap();
        let sum = tape.add(&shut, &sum).unwrap();
        let sum = tape.add(&normed, &sum).unwrap();
        let sum = tape.linear_transposed(&sum, world.id("square")).unwrap();
        tape.linear(&sum, world.id("square"), None).unwrap()
    });
}

#[test]
fn the_backward_of_dropout_drops_the_same() {
    let mut world = World::new(&[("w", &[3, 4]), ("square", &[4, 4])]);
    let masks = [1, 2].map(|key| DropMask::new(0.4, key).unwrap());
    world.check(|world, tape| {
        let x = tape.linear(&world.constant(12, 2.0), world.id("w"), None).unwrap();
        let y = tape.dropout(masks[0], &x).unwrap();
        let y = tape.linear(&y, world.id("square"), None).unwrap();
        let y = tape.dropout(masks[1], &y).unwrap();
        tape.add(&x, &y).unwrap()
    });
    let mut tape = Tape::recording(&world.device, &world.params);
    let y = tape.dropout(masks[0], &world.constant(9, 1.0)).unwrap();
    assert!(y.slot.is_none() && tape.slots == 0, "a constant is none the less for it");
}

/// The second segment's read-outs depend on the first one's inputs through the state alone.
#[test]
fn maps_of_one_variable_add_to_what_others_left_and_leave_alone_what_is_shared() {
    let mut world = World::new(&[("w", &[3, 4]), ("a", &[4, 4]), ("b", &[4, 4])]);
    world.check(|world, tape| {
        let x = tape.linear(&world.constant(6, 2.0), world.id("w"), None).unwrap();
        // x's cotangent is that of the sum, and so is the map's.
        let mapped = tape.linear(&x, world.id("a"), None).unwrap();
        let y = tape.add(&x, &mapped).unwrap();
        let [a, b] = ["a", "b"].map(|p| tape.linear(&y, world.id(p), None).unwrap());
        tape.add(&a, &b).unwrap()
    });
}

#[test]
fn a_gradient_flows_through_the_state_of_a_memory() {
    let spec = MemorySpec { chunk: 2, loss: Loss::Sum, clip: None, ..MemorySpec::new(&[3, 2, 3]).unwrap() };
    let shapes: [(&str, &[usize]); 5] =
        [("k", &[4, 6]), ("v", &[4, 6]), ("q", &[4, 6]), ("gates", &[4, 6]), ("w0", &[2, spec.params()])];
    let mut world = World::new(&shapes);
    world.check(|world, tape| {
        let mut state = tape.memory_start(1, world.id("w0")).unwrap();
        let mut last = None;
        for (time, seed) in [(3, 1.0), (2, 5.0)] {
            let x = world.constant(time * 4, seed);
            let [k, v, q, gates] = ["k", "v", "q", "gates"].map(|p| tape.linear(&x, world.id(p), None).unwrap());
            let k = tape.l2_norm(3, &k).unwrap();
            let gates = tape.gates(2, [1.0, 0.4, 0.9], &gates).unwrap();
            let op = MemoryOp {
                spec: spec.clone(),
                batch: 1,
                time,
                heads: 2,
                read: Read::After,
                read_only: false,
                token_form: false,
            };
            let read =
                tape.memory(&op, MemoryVars { k: &k, v: &v, q: &q, gates: &gates, state: &state }, false).unwrap();
            (state, last) = (read.state, Some(read.y));
        }
        last.unwrap()
    });
}

#[test]
fn inference_keeps_nothing_and_backward_frees() {
    let world = World::new(&[("w", &[4, 4])]);
    let x = world.constant(8, 1.0);
    let live = || world.device.pool_usage().live_bytes;
    let mut gradients = Gradients::zeros_like(&world.device, &world.params).unwrap();
    let (before, one) = (live(), 16 * 8); // 8 numbers of 8 bytes lie in the size class of 16
    let silu = |tape: &mut Tape<'_, Machine>| {
        let y = tape.linear(&x, world.id("w"), None).unwrap();
        tape.silu(&y).unwrap()
    };
    let mut tape = Tape::inference(&world.device, &world.params);
    let y = silu(&mut tape);
    assert_eq!(live(), before + one, "the linear map's output is gone");
    drop((y, tape));
    let mut tape = Tape::recording(&world.device, &world.params);
    let y = silu(&mut tape);
    assert_eq!(live(), before + 2 * one);
    tape.backward_from(&y, world.device.upload(&wave(8, 0.0)).unwrap(), &mut gradients).unwrap();
    assert_eq!(live(), before + one);
    drop(y);
    let mut tape = Tape::recording(&world.device, &world.params);
    drop(silu(&mut tape));
    assert_eq!(live(), before + one, "the record keeps its operand, nobody the result");
    drop(tape);
    assert_eq!(live(), before, "a tape that never goes backward frees too");
}

#[test]
fn what_cannot_go_backward_is_refused() {
    let world = World::new(&[("w", &[4, 4]), ("bias", &[4])]);
    let (device, params, x) = (&world.device, &world.params, world.constant(8, 1.0));
    let cotangent = |len| device.upload(&wave(len, 0.0)).unwrap();
    let mut gradients = Gradients::zeros_like(device, params).unwrap();
    let message = |r: crate::Result<()>| r.unwrap_err().to_string();

    let mut inference = Tape::inference(device, params);
    let y = inference.linear(&x, world.id("w"), None).unwrap();
    let error = message(inference.backward_from(&y, cotangent(8), &mut gradients));
    assert!(error.contains("Tape::recording"), "{error}");

    let mut first = Tape::recording(device, params);
    let y = first.linear(&x, world.id("w"), None).unwrap();
    let mut second = Tape::recording(device, params);
    let z = second.silu(&y).unwrap();
    let error = message(second.backward_from(&z, cotangent(8), &mut gradients));
    assert!(error.contains("another tape"), "{error}");
    let error = message(first.backward_from(&y, cotangent(7), &mut gradients));
    assert!(error.contains("expected 8 elements, found 7"), "{error}");

    let few = World::new(&[("w", &[4, 4])]);
    let mut tape = Tape::recording(device, params);
    let y = tape.linear(&x, world.id("w"), None).unwrap();
    let mut other = Gradients::zeros_like(&few.device, &few.params).unwrap();
    let error = message(tape.backward_from(&y, cotangent(8), &mut other));
    assert!(error.contains("zeros_like"), "{error}");

    let mut tape = Tape::recording(&few.device, &few.params);
    assert!(tape.linear(&x, world.id("bias"), None).is_err(), "a parameter of another model");
    let mut tape = Tape::recording(device, params);
    let error = tape.linear(&x, world.id("bias"), None).unwrap_err().to_string();
    assert!(error.contains("expected a matrix"), "{error}");
    let error = tape.l2_norm(3, &x).unwrap_err().to_string();
    assert!(error.contains("rows of 3 elements, found 8"), "{error}");
}

#[test]
fn parameters_load_by_name_or_not_at_all() {
    let mut world = World::new(&[("w", &[2, 3])]);
    let before = world.params.download(&world.device, world.id("w")).unwrap();
    let (device, params) = (&world.device, &mut world.params);
    let cases: [(&str, &[usize], &[f64], &str); 4] = [
        ("u", &[2, 3], &[0.0; 6], "none of that name"),
        ("w", &[3, 2], &[0.0; 6], "expected shape [2, 3], found [3, 2]"),
        ("w", &[2, 3], &[0.0; 5], "6 numbers, found 5"),
        ("w", &[2, 3], &[0.0, 0.0, 0.0, f64::NAN, 0.0, 0.0], "element 3 is not finite"),
    ];
    for (name, shape, data, expected) in cases {
        let error = params.load(device, name, shape, data).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    assert!(params.add(device, "w", &[1], &[0.0], true).is_err());
    let id = params.id("w").unwrap();
    assert_eq!(params.download(device, id).unwrap(), before);
    params.load(device, "w", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).unwrap();
    assert_eq!(params.download_f64(device, id).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!((params.len(), params.count()), (1, 6));
}
