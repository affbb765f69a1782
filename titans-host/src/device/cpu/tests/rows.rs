//! Rows that move, and the squared error, which goes by rows.

use titans_kernel::{Mat, MatMut, ops};

use super::super::Isa;
use super::{eager, numbers, same_for_any_threads};
use crate::device::{Device, MoveRows, Place};

/// [`MoveRows`] by its definition.
fn moved(op: &MoveRows, x: &[f32], y: &mut [f32]) {
    let at = |place: Place, b: usize, r: usize| b * place.stride + place.first + r - r % place.hold;
    for (b, r) in (0..op.batch).flat_map(|b| (0..op.rows).map(move |r| (b, r))) {
        for c in 0..op.width {
            let x = x[at(op.from, b, r) * op.width + c];
            let y = &mut y[at(op.to, b, r) * op.width + c];
            *y = if op.add { *y + x } else { x };
        }
    }
}

#[test]
fn rows_move_as_defined_and_others_stay() {
    let place = |stride, first, hold| Place { stride, first, hold };
    let (a, b) = (place(11, 2, 1), place(7, 0, 1));
    for (batch, rows, width, from, to) in [
        (3, 7, 5, a, b),
        (3, 7, 5, b, a),
        (1, 1, 1, b, a),
        (3, 7, 17, place(0, 1, 1), a),
        (3, 7, 2, place(7, 0, 3), a),
        (2, 65, 3, place(65, 0, 16), place(67, 1, 1)),
        (2, 5, 3, place(5, 0, 1000), place(5, 0, 1)),
        (0, 7, 5, a, b),
        (3, 0, 5, a, b),
        (3, 7, 0, a, b),
    ] {
        let forward = MoveRows { batch, rows, width, from, to, add: false };
        for op in [forward, MoveRows { add: true, ..forward }, forward.reversed()] {
            let len = |place: Place| (batch * place.stride + place.first + rows) * width;
            let (x_len, y_len) = (len(op.from), len(op.to));
            for (_, got) in same_for_any_threads(|cpu| {
                let x = cpu.upload(&numbers(x_len, 1)).unwrap();
                let mut y = cpu.upload(&numbers(y_len, 2)).unwrap();
                cpu.move_rows(&op, &x, &mut y).unwrap();
                vec![cpu.download(&y).unwrap()]
            }) {
                let mut want = numbers(y_len, 2);
                moved(&op, &numbers(x_len, 1), &mut want);
                assert_eq!(got[0], want, "{op:?}");
            }
        }
    }
}

#[test]
fn moves_that_cannot_be_are_refused() {
    let cpu = eager(2, Isa::best());
    let good = MoveRows { batch: 2, rows: 3, width: 2, from: Place::new(3, 0), to: Place::new(4, 1), add: false };
    let run = |op: MoveRows, x: usize, y: usize| {
        let (x, mut y) = (cpu.upload(&numbers(x, 1)).unwrap(), cpu.upload(&numbers(y, 2)).unwrap());
        cpu.move_rows(&op, &x, &mut y).map_err(|e| e.to_string())
    };
    run(good, 12, 16).unwrap();
    for (op, x, y, expected) in [
        (good, 10, 16, "x: expected 12, found 10"),
        (good, 12, 14, "y: expected 16, found 14"),
        (good, 13, 16, "x: expected 12, found 13"),
        (MoveRows { to: Place::new(2, 1), ..good }, 12, 16, "overlap"),
        (MoveRows { to: Place::new(0, 1), ..good }, 12, 16, "only be added"),
        (MoveRows { to: Place { hold: 2, ..good.to }, ..good }, 12, 16, "only be added"),
        (MoveRows { from: Place { hold: 0, ..good.from }, ..good }, 12, 16, "found 0"),
        (MoveRows { batch: usize::MAX, ..good }, 12, 16, "x: expected"),
        (MoveRows { rows: usize::MAX, to: Place::new(usize::MAX, 1), ..good }, 12, 16, "x: expected"),
        (MoveRows { from: Place::new(3, usize::MAX), ..good }, 12, 16, "x: expected"),
    ] {
        let error = run(op, x, y).unwrap_err();
        assert!(error.contains(expected), "{error} ({expected})");
    }
}

#[test]
fn pool() {
    for (batch, time, width) in [(1, 1, 1), (37, 5, 3), (300, 17, 2), (0, 3, 4), (3, 2, 0)] {
        let lengths: Vec<u32> = (0..batch as u32).map(|b| b * 7 % (time as u32 + 1)).collect();
        let (n, m) = (batch * time * width, batch * width);
        for (cpu, got) in same_for_any_threads(|cpu| {
            let (x, d_y) = (cpu.upload(&numbers(n, 1)).unwrap(), cpu.upload(&numbers(m, 2)).unwrap());
            let (mut y, mut d_x) = (cpu.alloc(m).unwrap(), cpu.alloc(n).unwrap());
            let lengths = cpu.upload_indices(&lengths).unwrap();
            cpu.pool(time, width, &lengths, &x, &mut y).unwrap();
            cpu.pool_vjp(time, width, &lengths, &d_y, &mut d_x).unwrap();
            vec![cpu.download(&y).unwrap(), cpu.download(&d_x).unwrap()]
        }) {
            let (x, d_y) = (numbers(n, 1), numbers(m, 2));
            let (mut y, mut d_x) = (vec![f32::NAN; m], vec![f32::NAN; n]);
            let (x, d_y) = (Mat::new(&x, batch * time, width).unwrap(), Mat::new(&d_y, batch, width).unwrap());
            ops::pool::forward(&cpu.gemm, time, &lengths, x, MatMut::new(&mut y, batch, width).unwrap()).unwrap();
            let d = MatMut::new(&mut d_x, batch * time, width).unwrap();
            ops::pool::vjp(&cpu.gemm, time, &lengths, d_y, d).unwrap();
            assert_eq!(got, [y, d_x]);
        }
    }
}

#[test]
fn squared_error() {
    for (rows, width) in [(1, 1), (37, 5), (300, 17), (0, 3)] {
        let n = rows * width;
        for (cpu, got) in same_for_any_threads(|cpu| {
            let (x, t) = (cpu.upload(&numbers(n, 1)).unwrap(), cpu.upload(&numbers(n, 2)).unwrap());
            let (mut losses, mut d_x) = (cpu.alloc(rows).unwrap(), cpu.alloc(n).unwrap());
            cpu.squared_error(width, &x, &t, &mut losses).unwrap();
            cpu.squared_error_vjp(width, &x, &t, 0.5, &mut d_x).unwrap();
            vec![cpu.download(&losses).unwrap(), cpu.download(&d_x).unwrap()]
        }) {
            let (x, t) = (numbers(n, 1), numbers(n, 2));
            let (mut losses, mut d_x) = (vec![f32::NAN; rows], vec![f32::NAN; n]);
            let [x, t] = [&x, &t].map(|x| Mat::new(x, rows, width).unwrap());
            ops::squared_error::forward(&cpu.gemm, x, t, &mut losses).unwrap();
            let d = MatMut::new(&mut d_x, rows, width).unwrap();
            ops::squared_error::vjp(&cpu.gemm, x, t, 0.5, d).unwrap();
            assert_eq!(got, [losses, d_x]);
        }
    }
}
