//! Rotation against its definition, its inverse, and its cuts.

use super::{Rotary, forward, vjp};
use crate::arithmetic::Portable;
use crate::ops::check::{SINGLE, assert_close, assert_gradient, inner, poison, values, widen};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};
use std::vec::Vec;

fn run<T: Scalar>(rotary: &Rotary, first: u64, columns: usize, x: &[T]) -> Vec<T> {
    let (n, mut y) = (x.len() / columns, poison(x.len()));
    let out = MatMut::new(&mut y, n, columns).unwrap();
    forward(&Portable, rotary, first, Mat::new(x, n, columns).unwrap(), out).unwrap();
    y
}

/// The definition: for the position of a row, and each head.
fn naive(rotary: &Rotary, position: impl Fn(usize) -> f64, columns: usize, x: &[f64]) -> Vec<f64> {
    let (c, mut y) = (rotary.width, x.to_vec());
    for (r, row) in y.chunks_mut(columns).enumerate() {
        for head in row.chunks_mut(c) {
            for i in 0..c / 2 {
                let angle = position(r) * rotary.base.powf(-2.0 * i as f64 / c as f64);
                let (a, b) = (head[i], head[i + c / 2]);
                head[i] = a * angle.cos() - b * angle.sin();
                head[i + c / 2] = a * angle.sin() + b * angle.cos();
            }
        }
    }
    y
}

#[test]
fn forward_is_the_definition_in_both_precisions() {
    for (c, heads) in [(2, 1), (2, 3), (6, 2), (14, 1), (16, 2), (18, 1), (64, 3), (130, 2), (258, 1)] {
        let rotary = Rotary { width: c, base: 10_000.0, period: 0, shift: 0 };
        let (columns, n) = (c * heads, 7);
        let x = values::<f64>(n * columns, 1);
        let want = naive(&rotary, |r| (r + 90) as f64, columns, &x);
        assert_close("y", &run(&rotary, 90, columns, &x), &want, 1e-13);
        let single = run::<f32>(&rotary, 90, columns, &values(n * columns, 1));
        assert_close("f32 y", &widen(&single), &want, SINGLE);
    }
}

#[test]
fn positions_repeat_by_the_period_and_are_shifted() {
    let x = values::<f64>(11 * 4, 2);
    let rotary = Rotary { width: 4, base: 100.0, period: 5, shift: -5 };
    let want = naive(&rotary, |r| ((r + 3) % 5) as f64 - 5.0, 4, &x);
    assert_close("y", &run(&rotary, 3, 4, &x), &want, 1e-14);
}

#[test]
fn far_positions_are_right_on_both_sides_of_the_exact_reduction() {
    let rotary = Rotary { width: 8, base: 10_000.0, period: 0, shift: 0 };
    let x = values::<f64>(6 * 8, 3);
    for first in [(1 << 20) - 3, 1 << 40] {
        let want = naive(&rotary, |r| (first + r as u64) as f64, 8, &x);
        // An angle of 2^20 is known to 2^−33, one of 2^40 to 2^−13 …
        let known = 4.0 * first as f64 * f64::EPSILON;
        assert_close("y", &run(&rotary, first, 8, &x), &want, known);
    }
    run(&rotary, u64::MAX, 8, &x);
}

#[test]
fn vjp_is_the_finite_difference_and_undoes_the_rotation() {
    let rotary = Rotary { width: 6, base: 50.0, period: 0, shift: 2 };
    let (x, cot) = (values::<f64>(3 * 12, 4), values::<f64>(3 * 12, 5));
    let back = |d: &[f64]| {
        let mut d_x = poison::<f64>(36);
        let out = MatMut::new(&mut d_x, 3, 12).unwrap();
        vjp(&Portable, &rotary, 7, Mat::new(d, 3, 12).unwrap(), out).unwrap();
        d_x
    };
    assert_gradient("d_x", &x, &back(&cot), |x| inner(&run(&rotary, 7, 12, x), &cot));
    assert_close("back", &back(&run(&rotary, 7, 12, &x)), &x, 1e-14);
}

#[test]
fn a_row_has_the_same_bits_alone_and_nan_stays_in_its_pair() {
    let rotary = Rotary { width: 34, base: 10_000.0, period: 0, shift: 0 };
    let mut x = values::<f32>(9 * 68, 6);
    let all = run(&rotary, 100, 68, &x);
    for (r, row) in x.chunks(68).enumerate() {
        assert_eq!(run(&rotary, 100 + r as u64, 68, row), all[r * 68..(r + 1) * 68]);
    }
    x[3] = f32::NAN;
    let y = run(&rotary, 100, 68, &x);
    for (i, (y, all)) in y.iter().zip(&all).enumerate() {
        assert!(if i == 3 || i == 20 { y.is_nan() } else { y == all }, "{i}");
    }
}

#[test]
fn wrong_sizes_are_errors() {
    let (x, mut y) = ([1.0f32; 12], [7.0f32; 12]);
    let good = Rotary { width: 4, base: 10_000.0, period: 0, shift: 0 };
    let mut run = |rotary: Rotary, x: Mat<'_, f32>, rows, cols| {
        forward(&Portable, &rotary, 0, x, MatMut::new(&mut y, rows, cols).unwrap())
    };
    let view = Mat::new(&x, 3, 4).unwrap();
    for bad in [Rotary { width: 0, ..good }, Rotary { width: 3, ..good }, Rotary { width: 6, ..good }] {
        assert!(run(bad, view, 3, 4).is_err(), "{bad:?}");
    }
    for base in [0.5, 0.0, f64::NAN, f64::INFINITY, -1.0] {
        assert!(run(Rotary { base, ..good }, view, 3, 4).is_err());
    }
    assert!(run(good, view, 2, 4).is_err());
    assert!(run(good, view.t(), 4, 3).is_err());
    assert!(run(good, Mat::new(&x, 4, 3).unwrap().t(), 3, 4).is_err());
    assert_eq!(run(good, Mat::strided(&x[..0], 3, 0, 5, 1).unwrap(), 3, 0), Ok(()));
    assert_eq!(y, [7.0; 12]);
}
