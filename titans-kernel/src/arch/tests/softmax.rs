//! Softmax in columns and in rows: the definition, zeros where nothing is seen, and equal bits.

use super::super::{Isa, Simd, SimdScalar};
use super::{bits, numbers, versions};
use crate::arithmetic::{Arithmetic, Columns, QUERIES, SUMS, Seen};
use crate::scalar::grid::{even, ulp};
use crate::view::MatMut;
use std::vec::Vec;

const ALL: Seen = Seen { first: 0, len: 0, ahead: usize::MAX, behind: usize::MAX, lane: 0 };

/// Persistent keys and a band, as attention makes them; windows and segments, wider and narrower than a register.
fn cases() -> Vec<(usize, Vec<Seen>)> {
    let mut cases = Vec::new();
    for (queries, persistent, ahead, behind) in [
        (32, 0, 0, 63),
        (32, 3, 0, 63),
        (32, 1, 7, 12),
        (17, 0, 40, 40),
        (16, 5, 2, 0),
        (1, 2, 1, 20),
        (31, 0, 0, 0),
        (20, 9, 32, 5),
    ] {
        let banded = Seen { first: persistent, len: behind + queries, ahead, behind, lane: 5 };
        cases.push((queries, std::vec![Seen { len: persistent, ..ALL }, banded]));
    }
    cases
}

fn sees(run: &Seen, r: usize, s: usize) -> bool {
    r <= run.ahead.saturating_add(s) && s <= run.behind.saturating_add(r)
}

/// The weights of every query and its m and sum, by definition.
fn definition(
    scale: f64,
    queries: usize,
    keys: &[Seen],
    scores: &[[f64; QUERIES]],
) -> (Vec<[f64; QUERIES]>, Vec<[f64; 2]>) {
    let (mut p, mut found) = (std::vec![[0.0; QUERIES]; scores.len()], Vec::new());
    for r in 0..queries {
        let seen = || keys.iter().flat_map(|k| (0..k.len).filter(move |&s| sees(k, r, s)).map(|s| k.first + s));
        let m = seen().map(|s| scores[s][r]).fold(f64::NEG_INFINITY, f64::max);
        seen().for_each(|s| p[s][r] = (scale * (scores[s][r] - m)).exp());
        found.push([m, seen().map(|s| p[s][r]).sum()]);
    }
    (p, found)
}

fn columns<T: SimdScalar>(tolerance: f64) {
    for (queries, keys) in cases() {
        let rows = keys.iter().map(|k| k.len).sum::<usize>();
        let plain: Vec<T> = numbers::<T>(rows * QUERIES, 3).iter().map(|&x| x * T::from_f64(9.0)).collect();
        let wide = |x: &[[T; QUERIES]]| x.iter().map(|x| x.map(T::to_f64)).collect::<Vec<_>>();
        let (want, found) = definition(0.3, queries, &keys, &wide(plain.as_chunks().0));
        let mut fused: Option<Vec<u64>> = None;
        for g in versions() {
            let mut scores: Vec<[T; QUERIES]> = plain.as_chunks().0.to_vec();
            // What a query does not see may be anything.
            for k in &keys {
                for (s, r) in (0..k.len).flat_map(|s| (0..QUERIES).map(move |r| (s, r))) {
                    if r < queries && !sees(k, r, s) {
                        scores[k.first + s][r] = if r % 2 == 0 { T::NAN } else { T::from_f64(f64::INFINITY) };
                    }
                }
            }
            let [m, sums] =
                g.softmax_columns(Columns { scale: T::from_f64(0.3), queries, keys: &keys, scores: &mut scores });
            for r in 0..queries {
                assert_eq!(m[r].to_f64(), found[r][0], "{:?}", g.isa());
                assert!((sums[r].to_f64() / found[r][1] - 1.0).abs() <= tolerance, "{:?}", g.isa());
                for k in &keys {
                    // What nobody of a sixteen sees is not written.
                    for s in k.range(r / SUMS * SUMS, SUMS) {
                        let (got, want) = (scores[k.first + s][r].to_f64(), want[k.first + s][r]);
                        assert!((got - want).abs() <= tolerance * want, "{:?} {keys:?} {s} {r}: {got} {want}", g.isa());
                    }
                }
            }
            if g.isa() != Isa::Portable {
                let weights = keys.iter().flat_map(|k| k.range(0, queries.min(SUMS)).map(|s| scores[k.first + s]));
                let weights: Vec<T> = weights.flat_map(|x| x.into_iter().take(queries.min(SUMS))).collect();
                let seen = [bits(&m[..queries]), bits(&sums[..queries]), bits(&weights)].concat();
                assert_eq!(*fused.get_or_insert(seen.clone()), seen, "{:?}", g.isa());
            }
        }
    }
}

#[test]
fn columns_are_the_definition_and_what_is_not_seen_is_zero() {
    columns::<f32>(2e-6);
    columns::<f64>(1e-14);
}

fn a_row_has_the_bits_of_its_column<T: SimdScalar>() {
    for g in versions() {
        for len in [16, 32, 48, 80, 144] {
            let x = numbers::<T>(len, 8);
            let (mut row, mut column) = (x.clone(), std::vec![[T::ZERO; QUERIES]; len]);
            for (column, &x) in column.iter_mut().zip(&x) {
                column[19] = x;
            }
            let keys = [Seen { len, ..ALL }];
            let [m, sum] = g.softmax_row(T::from_f64(0.7), &mut row);
            let all =
                g.softmax_columns(Columns { scale: T::from_f64(0.7), queries: 20, keys: &keys, scores: &mut column });
            assert_eq!(bits(&[m, sum]), bits(&[all[0][19], all[1][19]]), "{:?} {len}", g.isa());
            assert_eq!(bits(&row), bits(&column.iter().map(|x| x[19]).collect::<Vec<_>>()));
        }
    }
}

#[test]
fn a_row_and_its_column_have_the_same_bits() {
    a_row_has_the_bits_of_its_column::<f32>();
    a_row_has_the_bits_of_its_column::<f64>();
}

#[test]
fn keys_behind_the_scores_are_refused_before_anything_is_written() {
    for g in versions() {
        for (queries, first, len) in [(33, 0, 4), (16, 1, 4), (16, usize::MAX, 2)] {
            let mut scores = [[7.0f32; QUERIES]; 4];
            let keys = [Seen { first, len, ..ALL }];
            let columns = Columns { scale: 1.0, queries, keys: &keys, scores: &mut scores };
            let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| g.softmax_columns(columns)));
            assert!(refused.is_err() && scores == [[7.0; QUERIES]; 4], "{:?}", g.isa());
        }
    }
}

/// e^x of every x, through rows whose largest score is 0.
fn exponentials(g: Simd, x: &[f32]) -> Vec<f32> {
    let of_some = |x: &[f32]| {
        let mut row = [0.0; SUMS];
        row[1..=x.len()].copy_from_slice(x);
        g.softmax_row(1.0, &mut row);
        row[1..=x.len()].to_vec()
    };
    x.chunks(SUMS - 1).flat_map(of_some).collect()
}

#[test]
fn exponentials_are_right_to_the_stated_error() {
    let x: Vec<f32> = even(-100.0, 0.0, 300_001)
        .chain([-f32::INFINITY, f32::NAN, -86.6, -0.0, f32::MIN_POSITIVE.copysign(-1.0)])
        .collect();
    for g in versions() {
        let mut worst = 0.0f64;
        for (&x, e) in x.iter().zip(exponentials(g, &x)) {
            let exact = f64::from(x).exp();
            match x {
                _ if x.is_nan() => assert!(e.is_nan()),
                _ if x < -86.6 => assert_eq!(e, 0.0),
                _ => worst = worst.max((f64::from(e) - exact).abs() / ulp(exact)),
            }
        }
        assert!(worst <= if g.isa() == Isa::Portable { 1.1 } else { 1.0 }, "{:?}: {worst} ULP", g.isa());
    }
}

fn scaled<T: SimdScalar>() {
    for (rows, width, stride) in [(1, 1, 1), (3, 5, 7), (32, 64, 64), (7, 33, 40), (2, 130, 131), (0, 4, 4)] {
        let (y, factors) = (numbers::<T>(rows * stride, 5), numbers::<T>(rows, 6));
        let scale = |g: &Simd, x: &mut [T]| g.scale_rows(&factors, MatMut::strided(x, rows, width, stride).unwrap());
        for g in versions() {
            // Beside the last number of every row, all is left as it was; infinity there is not noticed.
            let mut found = y.clone();
            (0..rows).for_each(|r| found[r * stride + width..(r + 1) * stride].fill(T::from_f64(f64::INFINITY)));
            let mut want = found.clone();
            (0..rows).for_each(|r| want[r * stride..][..width].iter_mut().for_each(|y| *y *= factors[r]));
            assert!(scale(&g, &mut found), "{rows} {width} {:?}", g.isa());
            assert_eq!(bits(&found), bits(&want), "{rows} {width} {:?}", g.isa());
            for (r, c) in (0..rows).flat_map(|r| [0, width / 2, width - 1].map(|c| (r, c))) {
                for x in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                    let mut one = y.clone();
                    one[r * stride + c] = T::from_f64(x);
                    assert!(!scale(&g, &mut one), "{rows} {width} {r} {c} {:?}", g.isa());
                }
            }
        }
    }
}

#[test]
fn rows_are_scaled_and_what_is_not_finite_is_noticed() {
    scaled::<f32>();
    scaled::<f64>();
}
