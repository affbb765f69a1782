//! Sequences in parts, convolutions that go on from rows before, memories that are only asked.

use super::{Machine, World, wave};
use crate::device::{Cut, Device, MemoryOp};
use crate::tape::{Tape, Var};
use titans_kernel::memory::{MemorySpec, Read};

/// Three parts of 3, 3 and 1 rows.
const CUT: Cut = Cut { batch: 2, time: 7, width: 3, rows: 3 };

/// `[batch, time, width]` of the cut, of the parameter `w [2, 3]`.
fn sequences(world: &World, tape: &mut Tape<'_, Machine>) -> Var<Machine> {
    tape.linear(&world.constant(CUT.batch * CUT.time * 2, 1.0), world.id("w"), None).unwrap()
}

#[test]
fn parts_are_slices_and_join_to_the_whole() {
    let world = World::new(&[("w", &[2, 3])]);
    let numbers = |x: &Var<Machine>| world.device.download(x.buffer()).unwrap();
    let mut tape = Tape::inference(&world.device, &world.params);
    let x = sequences(&world, &mut tape);
    for rows in [1, 2, 3, 7, 9] {
        let cut = Cut { rows, ..CUT };
        let (parts, whole) = (tape.split(&x, cut).unwrap(), tape.parts(cut));
        for i in (0..cut.count()).rev() {
            let (part, from) = (tape.part(parts, i).unwrap(), i * rows);
            let slice = tape.slice(&x, CUT.batch, from, rows.min(CUT.time - from), CUT.width).unwrap();
            assert_eq!(numbers(&part), numbers(&slice), "part {i} of {rows} rows");
            tape.put(whole, i, &part).unwrap();
        }
        assert_eq!(numbers(&tape.join(whole).unwrap()), numbers(&x));
    }
}

/// All parts of one cut are used and one of another, beside the whole; some of what is joined is constant.
#[test]
fn gradients_of_parts_and_what_they_become() {
    for rows in [3, 7] {
        let mut world = World::new(&[("w", &[2, 3]), ("v", &[3, 3])]);
        world.check(|world, tape| {
            let (x, cut) = (sequences(world, tape), Cut { rows, ..CUT });
            let (parts, more) = (tape.split(&x, cut).unwrap(), tape.split(&x, cut).unwrap());
            let (joined, mixed) = (tape.parts(cut), tape.parts(cut));
            for i in 0..cut.count() {
                let part = tape.part(parts, i).unwrap();
                let part = tape.linear(&part, world.id("v"), None).unwrap();
                tape.put(joined, i, &part).unwrap();
                let other = match i {
                    0 => tape.part(more, 0).unwrap(),
                    _ => world.constant(cut.part_len(i), 0.5),
                };
                tape.put(mixed, i, &other).unwrap();
            }
            let (joined, mixed) = (tape.join(joined).unwrap(), tape.join(mixed).unwrap());
            let y = tape.silu_gate(&joined, &mixed).unwrap();
            let y = tape.silu_gate(&y, &x).unwrap();
            tape.add(&y, &x).unwrap()
        });
    }
}

#[test]
fn parts_that_are_not_there_are_refused() {
    let world = World::new(&[("w", &[2, 3])]);
    let mut tape = Tape::recording(&world.device, &world.params);
    let x = sequences(&world, &mut tape);
    let parts = tape.split(&x, CUT).unwrap();
    let one = tape.part(parts, 1).unwrap();
    let message = |e: crate::Error| e.to_string();
    assert!(message(tape.part(parts, 1).unwrap_err()).contains("handed out before"));
    assert!(message(tape.part(parts, 3).unwrap_err()).contains("part 3"));
    assert!(message(tape.split(&x, Cut { time: 8, ..CUT }).unwrap_err()).contains("expected 48 elements, found 42"));
    let joined = tape.parts(CUT);
    tape.put(joined, 0, &one).unwrap();
    assert!(message(tape.put(joined, 2, &one).unwrap_err()).contains("expected 6 elements, found 18"));
    assert!(message(tape.put(joined, 5, &one).unwrap_err()).contains("beyond the last"));
    assert!(message(tape.join(joined).unwrap_err()).contains("expected 3 parts, found 1"));
    let mut other = Tape::recording(&world.device, &world.params);
    assert!(message(other.part(parts, 0).unwrap_err()).contains("another tape"));
    assert!(message(other.put(parts, 0, &one).unwrap_err()).contains("another tape"));
}

#[test]
fn gradients_of_convolutions_that_go_on() {
    for before in [2, 5] {
        let mut world = World::new(&[("w", &[2, 3]), ("taps", &[3, 3]), ("bias", &[3])]);
        world.check(|world, tape| {
            let mut rows = |n: usize| tape.linear(&world.constant(2 * n * 2, 1.0), world.id("w"), None).unwrap();
            let (tail, x) = (rows(before), rows(4));
            let conv = |tape: &mut Tape<'_, Machine>, x: &Var<Machine>, tail: Option<&Var<Machine>>| {
                tape.conv(2, x, tail, world.id("taps"), world.id("bias")).unwrap()
            };
            let first = conv(tape, &x, Some(&tail));
            let second = conv(tape, &first, Some(&x));
            let third = conv(tape, &second, Some(&world.constant(2 * 2 * 3, 0.2)));
            tape.silu_gate(&third, &x).unwrap()
        });
    }
}

fn asked(chunk: usize, read_only: bool) -> MemoryOp {
    let spec = MemorySpec { chunk, compute_chunk: 0, ..MemorySpec::new(&[3, 3]).unwrap() };
    MemoryOp { spec, batch: 2, time: 5, heads: 2, read: Read::After, read_only, token_form: false }
}

#[test]
fn gradients_of_what_a_memory_is_asked() {
    let mut world = World::new(&[("q", &[2, 6]), ("w0", &[2, 9])]);
    world.check(|world, tape| {
        let op = asked(5, true);
        let q = tape.linear(&world.constant(2 * 5 * 2, 1.0), world.id("q"), None).unwrap();
        let gates = Var::constant(world.device.zeros(op.gates_len()).unwrap());
        let state = tape.memory_start(2, world.id("w0")).unwrap();
        let first = tape.ask(&op, &q, &gates, &state).unwrap();
        let second = tape.ask(&op, &first, &gates, &state).unwrap();
        tape.silu_gate(&second, &q).unwrap()
    });
    let mut tape = Tape::recording(&world.device, &world.params);
    let state = tape.memory_start(2, world.id("w0")).unwrap();
    let (q, gates) = (world.constant(60, 1.0), Var::constant(world.device.upload(&wave(60, 0.0)).unwrap()));
    for op in [asked(5, false), asked(2, true)] {
        let error = tape.ask(&op, &q, &gates, &state).unwrap_err().to_string();
        assert!(error.contains("read-only memory operation of one chunk"), "{error}");
    }
}
