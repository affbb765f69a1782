//! Tests of the convolution: the definition, finite differences, tails, causality.

use super::{ConvGradients, forward, next_tail, vjp};
use crate::arithmetic::Portable;
use crate::ops::check::{SINGLE, added, assert_close, assert_gradient, inner, poison, values, widen};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};
use std::vec::Vec;

/// Tokens, channels, taps: around the 64 channels of a block and the 4 taps of a pass.
const SIZES: [(usize, usize, usize); 11] = [
    (1, 1, 1),
    (1, 2, 4),
    (2, 3, 7),
    (5, 1, 3),
    (7, 5, 4),
    (3, 7, 5),
    (5, 63, 2),
    (3, 64, 4),
    (4, 65, 3),
    (3, 130, 4),
    (11, 2, 9),
];

struct ConvCase<T> {
    size: (usize, usize, usize),
    x: Vec<T>,
    tail: Option<Vec<T>>,
    w: Vec<T>,
    bias: Vec<T>,
}

fn case<T: Scalar>(size: (usize, usize, usize), with_tail: bool) -> ConvCase<T> {
    let (t, c, width) = size;
    let tail = with_tail.then(|| values((width - 1) * c, 2));
    ConvCase { size, x: values(t * c, 1), tail, w: values(c * width, 3), bias: values(c, 4) }
}

impl<T: Scalar> ConvCase<T> {
    fn tail(&self) -> Option<Mat<'_, T>> {
        let (_, c, width) = self.size;
        self.tail.as_ref().map(|tail| Mat::new(tail, width - 1, c).unwrap())
    }

    fn run(&self, x: &[T], w: &[T], bias: &[T]) -> Vec<T> {
        let (t, c, _) = self.size;
        let mut y = poison(t * c);
        let out = MatMut::new(&mut y, t, c).unwrap();
        forward(&Portable, Mat::new(x, t, c).unwrap(), self.tail(), w, bias, out).unwrap();
        y
    }

    fn vjp(&self, cot: &[T], d_w: &[T], d_bias: &[T]) -> [Vec<T>; 3] {
        let (t, c, _) = self.size;
        let (mut d_x, mut d_w, mut d_bias) = (poison(t * c), d_w.to_vec(), d_bias.to_vec());
        let (x, d_y) = (Mat::new(&self.x, t, c).unwrap(), Mat::new(cot, t, c).unwrap());
        let out = MatMut::new(&mut d_x, t, c).unwrap();
        vjp(&Portable, x, self.tail(), &self.w, d_y, ConvGradients { x: out, w: &mut d_w, bias: &mut d_bias }).unwrap();
        [d_x, d_w, d_bias]
    }
}

/// The definition, tap by tap.
fn plain(case: &ConvCase<f64>) -> Vec<f64> {
    let (t, c, width) = case.size;
    let mut y = Vec::new();
    for i in 0..t {
        for ch in 0..c {
            let mut sum = case.bias[ch];
            for j in 0..width {
                let token = match (i + j + 1).checked_sub(width) {
                    Some(s) => case.x[s * c + ch],
                    None => case.tail.as_ref().map_or(0.0, |tail| tail[(i + j) * c + ch]),
                };
                sum += case.w[ch * width + j] * token;
            }
            y.push(sum);
        }
    }
    y
}

#[test]
fn forward_is_the_definition_in_both_precisions() {
    for size in SIZES {
        for with_tail in [false, true] {
            let double = case::<f64>(size, with_tail);
            let want = plain(&double);
            assert_eq!(double.run(&double.x, &double.w, &double.bias), want, "{size:?}: one chain, the same bits");
            let single = case::<f32>(size, with_tail);
            assert_close("f32 y", &widen(&single.run(&single.x, &single.w, &single.bias)), &want, SINGLE);
        }
    }
}

#[test]
fn vjp_is_the_finite_difference_and_agrees_in_f32() {
    for size in SIZES {
        let (t, c, width) = size;
        for with_tail in [false, true] {
            let k = case::<f64>(size, with_tail);
            let (cot, w0, b0) = (values::<f64>(t * c, 5), values(c * width, 6), values(c, 7));
            let [d_x, d_w, d_bias] = k.vjp(&cot, &w0, &b0);
            assert_gradient("d_x", &k.x, &d_x, |x| inner(&k.run(x, &k.w, &k.bias), &cot));
            assert_gradient("d_w", &k.w, &added(&d_w, &w0), |w| inner(&k.run(&k.x, w, &k.bias), &cot));
            assert_gradient("d_bias", &k.bias, &added(&d_bias, &b0), |b| inner(&k.run(&k.x, &k.w, b), &cot));
            let single = case::<f32>(size, with_tail).vjp(&values(t * c, 5), &values(c * width, 6), &values(c, 7));
            for (name, got, want) in [("d_x", 0, &d_x), ("d_w", 1, &d_w), ("d_bias", 2, &d_bias)] {
                assert_close(name, &widen(&single[got]), want, SINGLE);
            }
        }
    }
}

#[test]
fn later_tokens_change_nothing_before_them() {
    let k = case::<f32>((9, 5, 4), true);
    let before = k.run(&k.x, &k.w, &k.bias);
    for j in 0..9 {
        let mut x = k.x.clone();
        x[j * 5..(j + 1) * 5].fill(f32::NAN);
        let after = k.run(&x, &k.w, &k.bias);
        assert_eq!(after[..j * 5], before[..j * 5]);
        assert!(after[j * 5..(j + 4).min(9) * 5].iter().all(|y| y.is_nan()));
        assert_eq!(after[(j + 4).min(9) * 5..], before[(j + 4).min(9) * 5..]);
    }
}

#[test]
fn the_next_tail_is_the_end_of_tail_and_tokens() {
    let (x, tail) = ([1, 2, 3, 4, 5].map(f64::from), [-3.0, -2.0, -1.0]);
    for t in 0..=5 {
        for (old, start) in [(Some(Mat::new(&tail, 3, 1).unwrap()), tail), (None, [0.0; 3])] {
            let mut next = [f64::NAN; 3];
            next_tail(Mat::new(&x[..t], t, 1).unwrap(), old, MatMut::new(&mut next, 3, 1).unwrap()).unwrap();
            let all = [&start[..], &x[..t]].concat();
            assert_eq!(next, all[t..]);
        }
    }
    let mut none: [f64; 0] = [];
    next_tail(Mat::new(&x, 5, 1).unwrap(), None, MatMut::new(&mut none, 0, 1).unwrap()).unwrap();
}

#[test]
fn mistakes_are_errors_and_change_nothing() {
    let (a, mut y, mut d_w, mut d_b) = ([1.0f32; 12], [7.0f32; 6], [7.0f32; 12], [7.0f32; 3]);
    let x = Mat::new(&a, 2, 3).unwrap();
    let tail = |rows| Some(Mat::new(&a, rows, 3).unwrap());
    let mut try_forward = |x, tail, w: &[f32], b: &[f32], rows, cols| {
        forward(&Portable, x, tail, w, b, MatMut::new(&mut y, rows, cols).unwrap()).is_err()
    };
    assert!(try_forward(x, None, &a[..11], &a[..3], 2, 3), "no whole taps");
    assert!(try_forward(x, None, &[], &a[..3], 2, 3), "no taps");
    assert!(try_forward(x, tail(2), &a, &a[..3], 2, 3), "short tail");
    assert!(try_forward(x, None, &a, &a[..2], 2, 3), "bias");
    assert!(try_forward(x, None, &a, &a[..3], 1, 3), "y");
    assert!(try_forward(x.t(), None, &a, &a[..2], 3, 2), "columns apart");
    let d_x = MatMut::new(&mut y, 2, 3).unwrap();
    assert!(vjp(&Portable, x, None, &a, x, ConvGradients { x: d_x, w: &mut d_w[..11], bias: &mut d_b }).is_err());
    let d_x = MatMut::new(&mut y, 2, 3).unwrap();
    assert!(vjp(&Portable, x, None, &a, x, ConvGradients { x: d_x, w: &mut d_w, bias: &mut d_b[..2] }).is_err());
    let d_x = MatMut::new(&mut y, 2, 3).unwrap();
    assert!(vjp(&Portable, x, None, &a, x.sub(0, 1), ConvGradients { x: d_x, w: &mut d_w, bias: &mut d_b }).is_err());
    assert!(next_tail(x, tail(3), MatMut::new(&mut y, 2, 3).unwrap()).is_err());
    assert!(next_tail(x, None, MatMut::new(&mut y, 2, 2).unwrap()).is_err());
    assert_eq!((y, d_w, d_b), ([7.0; 6], [7.0; 12], [7.0; 3]));
    let empty = Mat::strided(&a[..0], 2, 0, 5, 1).unwrap();
    forward(&Portable, empty, None, &[], &[], MatMut::new(&mut [], 2, 0).unwrap()).unwrap();
}
