//! Rows that move, and the squared error.

use super::{Machine, World, wave};
use crate::device::Device;
use crate::tape::{Gradients, Tape, Var};

const BATCH: usize = 2;
const TIME: usize = 7;
const WIDTH: usize = 3;

/// `[BATCH, TIME, WIDTH]` that depends on the parameter `w [2, 3]`.
fn sequences(world: &World, tape: &mut Tape<'_, Machine>) -> Var<Machine> {
    tape.linear(&world.constant(BATCH * TIME * 2, 1.0), world.id("w"), None).unwrap()
}

#[test]
fn slices_take_rows_and_assemblies_put_them_back() {
    let world = World::new(&[("w", &[2, 3])]);
    let mut tape = Tape::inference(&world.device, &world.params);
    let x = sequences(&world, &mut tape);
    let numbers = |x: &Var<Machine>| world.device.download(x.buffer()).unwrap();
    let all = numbers(&x);
    let mut whole = tape.assemble(BATCH, TIME, WIDTH).unwrap();
    for (from, rows) in [(0, 1), (1, 0), (1, 4), (5, 2)] {
        let slice = tape.slice(&x, BATCH, from, rows, WIDTH).unwrap();
        let of = |b: usize| &all[(b * TIME + from) * WIDTH..][..rows * WIDTH];
        assert_eq!(numbers(&slice), [of(0), of(1)].concat());
        whole.place(&mut tape, from, rows, &slice).unwrap();
    }
    assert_eq!(numbers(&whole.finish(&mut tape).unwrap()), all);
    let held = tape.hold(&x, BATCH, 3, WIDTH).unwrap();
    for (i, held) in numbers(&held).chunks(WIDTH).enumerate() {
        let (b, t) = (i / TIME, i % TIME);
        assert_eq!(held, &all[(b * TIME + t - t % 3) * WIDTH..][..WIDTH]);
    }
    let rows = world.params.download(&world.device, world.id("w")).unwrap();
    assert_eq!(numbers(&tape.repeat(world.id("w"), 3).unwrap()), [&rows[..], &rows[..], &rows[..]].concat());
}

/// Slices that overlap, beside uses of the whole; parts that depend on parts placed before them.
#[test]
fn gradients_of_slices_and_assemblies() {
    let mut world = World::new(&[("w", &[2, 3]), ("v", &[3, 3])]);
    world.check(|world, tape| {
        let x = sequences(world, tape);
        let mut whole = tape.assemble(BATCH, TIME, WIDTH).unwrap();
        let mut before = tape.slice(&x, BATCH, 2, 1, WIDTH).unwrap();
        for from in 0..TIME {
            let part = tape.slice(&x, BATCH, from, 1, WIDTH).unwrap();
            let part = tape.silu_gate(&part, &before).unwrap();
            before = tape.linear(&part, world.id("v"), None).unwrap();
            whole.place(tape, from, 1, &before).unwrap();
        }
        let middle = tape.slice(&x, BATCH, 1, TIME - 2, WIDTH).unwrap();
        let whole = whole.finish(tape).unwrap();
        let end = tape.slice(&whole, BATCH, 2, TIME - 2, WIDTH).unwrap();
        let middle = tape.silu_gate(&middle, &end).unwrap();
        let mut ends = tape.assemble(BATCH, TIME, WIDTH).unwrap();
        ends.place(tape, 0, 2, &world.constant(BATCH * 2 * WIDTH, 0.5)).unwrap();
        ends.place(tape, 2, TIME - 2, &middle).unwrap();
        let ends = ends.finish(tape).unwrap();
        let sum = tape.add(&ends, &x).unwrap();
        tape.silu_gate(&sum, &whole).unwrap()
    });
}

#[test]
fn gradients_of_rows_repeated_and_held() {
    for chunk in [1, 2, 3, TIME, 100] {
        let mut world = World::new(&[("w", &[2, 3]), ("rows", &[TIME, 3])]);
        world.check(|world, tape| {
            let x = sequences(world, tape);
            let rows = tape.repeat(world.id("rows"), BATCH).unwrap();
            let sum = tape.add(&x, &rows).unwrap();
            let held = tape.hold(&sum, BATCH, chunk, WIDTH).unwrap();
            tape.silu_gate(&held, &rows).unwrap()
        });
    }
}

#[test]
fn gradients_of_means_over_sequences_of_several_lengths() {
    for lengths in [[7, 3], [1, 0], [5, 5]] {
        let mut world = World::new(&[("w", &[2, 3]), ("v", &[3, 3])]);
        world.check(|world, tape| {
            let lengths = std::sync::Arc::new(world.device.upload_indices(&lengths).unwrap());
            let x = sequences(world, tape);
            let pooled = tape.pool(TIME, WIDTH, &lengths, &x).unwrap();
            tape.linear(&pooled, world.id("v"), None).unwrap()
        });
    }
    let world = World::new(&[("w", &[2, 3])]);
    let mut tape = Tape::inference(&world.device, &world.params);
    let x = sequences(&world, &mut tape);
    let lengths = |n: &[u32]| std::sync::Arc::new(world.device.upload_indices(n).unwrap());
    let error = |e: crate::Error| e.to_string();
    assert!(error(tape.pool(TIME, WIDTH, &lengths(&[8, 1]), &x).unwrap_err()).contains("lengths[0]"));
    assert!(error(tape.pool(TIME, WIDTH, &lengths(&[1, 1, 1]), &x).unwrap_err()).contains("x: expected 63"));
    assert!(error(tape.pool(TIME + 1, WIDTH, &lengths(&[1, 1]), &x).unwrap_err()).contains("pool: x"));
}

#[test]
fn the_gradient_of_the_squared_error() {
    let mut world = World::new(&[("w", &[2, 3])]);
    let target = world.constant(BATCH * TIME * WIDTH, 4.0).share();
    let mut gradients = Gradients::zeros_like(&world.device, &world.params).unwrap();
    let mut tape = Tape::recording(&world.device, &world.params);
    let x = sequences(&world, &mut tape);
    let losses = tape.squared_error(&x, &target, WIDTH).unwrap();
    assert_eq!(world.device.len(losses.buffer()), BATCH * TIME);
    tape.backward(&losses, 0.75, &mut gradients).unwrap();
    world.compare(&gradients, |world| {
        let mut tape = Tape::inference(&world.device, &world.params);
        let x = sequences(world, &mut tape);
        let losses = tape.squared_error(&x, &target, WIDTH).unwrap();
        0.75 * world.device.download(losses.buffer()).unwrap().iter().sum::<f64>()
    });
}

/// Were every slice to bring a cotangent of the whole's length, or a new one, this would hold dozens of them.
#[test]
fn many_slices_share_one_cotangent() {
    const MANY: usize = 64;
    let world = World::new(&[("w", &[2, 3])]);
    let (device, whole) = (&world.device, MANY * WIDTH * 8);
    let mut gradients = Gradients::zeros_like(device, &world.params).unwrap();
    let input = world.constant(MANY * 2, 1.0);
    let mut tape = Tape::recording(device, &world.params);
    let x = tape.linear(&input, world.id("w"), None).unwrap();
    let mut y = tape.assemble(1, MANY, WIDTH).unwrap();
    for from in 0..MANY {
        let part = tape.slice(&x, 1, from, 1, WIDTH).unwrap();
        y.place(&mut tape, from, 1, &part).unwrap();
    }
    let y = y.finish(&mut tape).unwrap();
    let cotangent = device.upload(&wave(MANY * WIDTH, 0.0)).unwrap();
    drop(x);
    let before = device.pool_usage().live_bytes;
    device.restart_peak();
    tape.backward_from(&y, cotangent, &mut gradients).unwrap();
    let more = device.pool_usage().peak_bytes - before;
    assert!(more <= 3 * whole, "{more} bytes more than before, the whole has {whole}");
}

#[test]
fn rows_that_are_not_there_are_refused() {
    let world = World::new(&[("w", &[2, 3])]);
    let mut tape = Tape::recording(&world.device, &world.params);
    let x = sequences(&world, &mut tape);
    let one = tape.slice(&x, BATCH, 0, 1, WIDTH).unwrap();
    let message = |e: crate::Error| e.to_string();
    let error = message(tape.slice(&x, BATCH, 5, 3, WIDTH).unwrap_err());
    assert!(error.contains("rows from 5, 3 of them: sequences have 7"), "{error}");
    assert!(tape.slice(&x, BATCH, usize::MAX, 2, WIDTH).is_err());
    assert!(tape.slice(&x, 5, 0, 1, WIDTH).is_err());
    let error = message(tape.hold(&x, BATCH, 0, WIDTH).unwrap_err());
    assert!(error.contains("hold: expected 1 or more"), "{error}");
    let error = message(tape.squared_error(&x, &one.share(), WIDTH).unwrap_err());
    assert!(error.contains("target"), "{error}");

    let mut whole = tape.assemble(BATCH, 2, WIDTH).unwrap();
    let error = message(whole.place(&mut tape, 1, 1, &one).unwrap_err());
    assert!(error.contains("expected row 0, found 1"), "{error}");
    let error = message(whole.place(&mut tape, 0, 2, &one).unwrap_err());
    assert!(error.contains("expected 12 elements, found 6"), "{error}");
    whole.place(&mut tape, 0, 1, &one).unwrap();
    let mut other = Tape::recording(&world.device, &world.params);
    let error = message(whole.place(&mut other, 1, 1, &one).unwrap_err());
    assert!(error.contains("another tape"), "{error}");
    let error = message(whole.finish(&mut tape).unwrap_err());
    assert!(error.contains("expected 2 rows placed, found 1"), "{error}");
}
