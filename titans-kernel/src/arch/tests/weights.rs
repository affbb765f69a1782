//! What the chunk form does with W and S at once: rows blended, rows scaled, and the state closed.

use super::super::SimdScalar;
use super::{bits, exact, numbers, versions};
use crate::arithmetic::{Arithmetic, Blend, GROUP, RateScaling, Update, scaled_len};
use crate::view::{Mat, MatMut};
use std::vec::Vec;

/// Around every tile (6, 4 and 1 rows; 1 and 2 registers of 2 to 16 numbers), and what four steps at a time leave over.
const ROWS: [usize; 10] = [1, 2, 3, 4, 5, 6, 7, 11, 13, 64];
const COLS: [usize; 12] = [1, 2, 3, 5, 8, 15, 16, 17, 32, 33, 64, 71];
const DEPTHS: [usize; 5] = [0, 1, 4, 6, 67];

/// Z by `g`, rows of Z three numbers further apart than they are long, with 77 between them.
fn blended<T: SimdScalar>(
    g: &impl Arithmetic<T>,
    (n, width, k): (usize, usize, usize),
    numbers: fn(usize, u64) -> Vec<T>,
    step: usize,
) -> Vec<T> {
    let (x, stride) = (numbers(n * (k + 1), 1), width + 3);
    let [w, s] = [2, 3].map(|seed| numbers(k * (width + 2) + width, seed));
    let [a, gg] = [4, 5].map(|seed| numbers(n, seed));
    let few = (n - 1) * step + 1;
    let mut z = std::vec![T::from_f64(77.0); n * stride];
    (0..n).for_each(|r| z[r * stride..][..width].fill(T::NAN));
    g.blend(Blend {
        x: Mat::strided(&x, n, k, k + 1, 1).unwrap(),
        a: &a[..few],
        g: &gg[..few],
        step,
        w: Mat::strided(&w, k, width, width + 2, 1).unwrap(),
        s: Mat::strided(&s, k, width, width + 1, 1).unwrap(),
        z: MatMut::strided(&mut z, n, width, stride).unwrap(),
    });
    z
}

fn blends<T: SimdScalar>() {
    for (i, (n, width)) in ROWS.into_iter().flat_map(|n| COLS.map(|width| (n, width))).enumerate() {
        for k in DEPTHS {
            let step = i % 2;
            let (x, stride) = (exact::<T>(n * (k + 1), 1), width + 3);
            let [w, s] = [2, 3].map(|seed| exact::<T>(k * (width + 2) + width, seed));
            let [a, gg] = [4, 5].map(|seed| exact::<T>(n, seed));
            let chain = |weights: &[T], stride: usize, r: usize, c: usize| {
                (0..k).fold(T::ZERO, |sum, m| sum + x[r * (k + 1) + m] * weights[m * stride + c])
            };
            for g in versions() {
                for (at, &z) in blended(&g, (n, width, k), exact::<T>, step).iter().enumerate() {
                    let (r, c) = (at / stride, at % stride);
                    let want = match c < width {
                        false => T::from_f64(77.0),
                        true => a[r * step] * chain(&w, width + 2, r, c) + gg[r * step] * chain(&s, width + 1, r, c),
                    };
                    assert!(z == want, "{n} {width} {k} {step} {:?} at {r}, {c}: {z:?}", g.isa());
                }
            }
        }
    }
}

#[test]
fn blends_equal_the_definition_around_every_tile() {
    blends::<f32>();
    blends::<f64>();
}

/// Versions with fused multiply-add agree, and a row does not depend on its company.
fn blends_have_equal_bits<T: SimdScalar>() {
    for (n, width, k) in [(13, 37, 21), (64, 64, 64), (9, 16, 5), (5, 8, 3)] {
        let all: Vec<_> = versions()
            .iter()
            .map(|g| {
                (
                    g.isa(),
                    bits(&blended(g, (n, width, k), numbers::<T>, 1)),
                    bits(&blended(g, (1, width, k), numbers::<T>, 1)),
                )
            })
            .collect();
        for (isa, z, first) in &all {
            assert!(z[..width] == first[..width], "{isa:?} {n} {width} {k}");
            assert!(*isa == super::Isa::Portable || *z == all[0].1, "{isa:?} {n} {width} {k}");
        }
    }
}

#[test]
fn blended_rows_have_the_same_bits_in_any_company_and_on_every_version() {
    blends_have_equal_bits::<f32>();
    blends_have_equal_bits::<f64>();
}

/// Rows scaled, by every version; NaN where nothing may be read.
fn scaled<T: SimdScalar>(n: usize, width: usize, [by_step, rate_step]: [usize; 2]) {
    let stride = width + 2;
    let mut x = numbers::<T>(n * stride, 1);
    (0..n).for_each(|t| x[t * stride + width..(t + 1) * stride].fill(T::NAN));
    let [c, p, rate] = [2, 3, 4].map(|seed| numbers::<T>(n, seed));
    for g in versions() {
        let mut out = std::vec![T::NAN; scaled_len(n, width) + 1];
        g.scale_by_rates(RateScaling {
            x: Mat::strided(&x, n, width, stride, 1).unwrap(),
            by: [&c, &p],
            by_step,
            rate: &rate,
            rate_step,
            out: &mut out,
        });
        assert!(out.pop().is_some_and(|guard| guard.to_f64().is_nan()));
        for (at, got) in out.into_iter().enumerate() {
            let (group, t, half, j) = (at / (2 * GROUP * n), at / (2 * GROUP) % n, at / GROUP % 2, at % GROUP);
            let column = group * GROUP + j;
            let by = if half == 0 { &c } else { &p };
            let want = match column < width {
                true => -(by[t * by_step] * rate[t * rate_step]) * x[t * stride + column],
                false => T::ZERO,
            };
            assert!(got == want, "{n} {width} {:?}: token {t}, column {column}", g.isa());
        }
    }
}

#[test]
fn scaled_rows_are_the_definition_on_every_version() {
    for n in [1, 3, 16] {
        for width in [1, 7, 16, 31, 32, 33, 64] {
            for steps in [[1, 1], [0, 1], [1, 0]] {
                scaled::<f32>(n, width, steps);
                scaled::<f64>(n, width, steps);
            }
        }
    }
    // A factor that is not a number spreads over its row, not behind it.
    let x = [1.0f32; 3];
    for g in versions() {
        let mut out = [7.0; scaled_len(1, 3)];
        let (x, by) = (Mat::new(&x, 1, 3).unwrap(), [&[f32::NAN][..], &[f32::INFINITY]]);
        g.scale_by_rates(RateScaling { x, by, by_step: 0, rate: &[1.0], rate_step: 0, out: &mut out });
        for half in out.chunks(GROUP) {
            assert!(half[..3].iter().all(|x| !x.is_finite()) && half[3..].iter().all(|&x| x == 0.0), "{:?}", g.isa());
        }
    }
}

/// W and S closed by every version, with and without prefetch.
fn closed<T: SimdScalar>(n: usize, rows: usize, width: usize, transposed: bool) {
    let stride = width + 3;
    let h = exact::<T>(n * rows, 1);
    let h = if transposed { Mat::new(&h, rows, n).unwrap().t() } else { Mat::new(&h, n, rows).unwrap() };
    let x = exact::<T>(n * width, 2);
    let [c, mut p] = [3, 4].map(|seed| exact::<T>(n, seed));
    // What is said to have faded has.
    let faded = n / 3;
    p[..faded].fill(T::ZERO);
    let [w, s] = [5, 6].map(|seed| exact::<T>(rows * stride, seed));
    let decay = [0.5, -0.25, 0.75].map(T::from_f64);
    let ones = std::vec![-T::ONE; n];
    for g in versions() {
        let mut scaled = std::vec![T::NAN; scaled_len(n, width)];
        let x = Mat::new(&x, n, width).unwrap();
        g.scale_by_rates(RateScaling { x, by: [&c, &p], by_step: 1, rate: &ones, rate_step: 1, out: &mut scaled });
        for ahead in [0, rows * stride] {
            let (mut w_new, mut s_new) = (w.clone(), s.clone());
            g.update(Update {
                decay,
                h,
                scaled: &scaled,
                w: MatMut::strided(&mut w_new, rows, width, stride).unwrap(),
                s: MatMut::strided(&mut s_new, rows, width, stride).unwrap(),
                ahead,
                faded,
            });
            for (at, (got_w, got_s)) in w_new.into_iter().zip(s_new).enumerate() {
                let (r, j) = (at / stride, at % stride);
                let sum = |by: &[T]| (0..n).fold(T::ZERO, |sum, t| sum + h.at(t, r) * (by[t] * x.at(t, j)));
                let want = match j < width {
                    true => [decay[0] * w[at] + decay[1] * s[at] + sum(&c), decay[2] * s[at] + sum(&p)],
                    false => [w[at], s[at]],
                };
                assert!([got_w, got_s] == want, "{n} {rows} {width} {:?} at {r}, {j}", g.isa());
            }
        }
    }
}

#[test]
fn a_closed_state_is_the_definition_around_every_tile() {
    for (i, (rows, width)) in ROWS.into_iter().flat_map(|rows| COLS.map(|width| (rows, width))).enumerate() {
        let n = [1, 3, 4, 7, 16, 37][i % 6];
        closed::<f32>(n, rows, width, i % 5 == 0);
        closed::<f64>(n, rows, width, i % 7 == 0);
    }
}

/// Sizes that lie: more rows than any memory holds, all of them the same number.
#[test]
fn lengths_that_overflow_are_refused() {
    extern crate std;
    let x = [1.0f32];
    for g in versions() {
        let rows = Mat::strided(&x, 1 << 58, 1, 0, 1).unwrap();
        let scale = || {
            g.scale_by_rates(RateScaling { x: rows, by: [&x, &x], by_step: 0, rate: &x, rate_step: 0, out: &mut [] })
        };
        assert!(std::panic::catch_unwind(scale).is_err(), "{:?}", g.isa());
        let update = || {
            let (mut w, mut s) = ([1.0], [1.0]);
            let [w, s] = [&mut w, &mut s].map(|x| MatMut::new(x, 1, 1).unwrap());
            g.update(Update { decay: [1.0; 3], h: rows, scaled: &[], w, s, ahead: 0, faded: 0 });
        };
        assert!(std::panic::catch_unwind(update).is_err(), "{:?}", g.isa());
    }
}
