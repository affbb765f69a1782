//! The products against their definition.

use super::super::{Simd, SimdScalar};
use super::{bits, exact, numbers, versions, view};
use crate::arithmetic::{Arithmetic, Beside, Store};
use crate::view::{Mat, MatMut};
use std::vec::Vec;

pub(super) const STORES: [Store; 3] = [Store::Set, Store::Add, Store::Sub];

/// Rows, columns and depths: 1, and around every tile (12, 6, 4 and 2 rows; 1 to 4 registers of 2 to 16 numbers), every
/// block of A's rows and every block of B's depth.
const ROWS: [usize; 11] = [1, 3, 5, 6, 7, 8, 11, 12, 13, 25, 65];
const COLS: [usize; 13] = [1, 3, 4, 5, 8, 9, 15, 17, 31, 33, 48, 63, 65];
const DEPTHS: [usize; 6] = [0, 1, 2, 63, 64, 129];

/// Which part of the product a case asks for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ask {
    Whole,
    Causal(Beside),
    Band(Beside),
}

/// One product on every version, C's rows apart with guards between and behind them. Elements that are unspecified are
/// not compared; A's to the right of what a causal row sees, and the rows of B that no row sees, are NaN.
fn case<T: SimdScalar>(ask: Ask, (m, n, k): (usize, usize, usize), kind: usize, store: Store) {
    let (mut a, mut b) = (exact::<T>(m * k, 1), exact::<T>(k * n, 2));
    let (a_turned, b_turned) = (kind & 1 != 0, kind & 2 != 0);
    let seen = |r: usize| match ask {
        Ask::Causal(Beside { behind, .. }) => behind.saturating_add(r + 1).min(k),
        _ => k,
    };
    if let Ask::Causal(Beside { before, .. }) = ask {
        for r in 0..m {
            (0..r.saturating_sub(before).min(k))
                .for_each(|x| a[if a_turned { x * m + r } else { r * k + x }] = T::ZERO);
        }
    }
    let product: Vec<T> = {
        let (a, b) = (view(&a, m, k, a_turned), view(&b, k, n, b_turned));
        (0..m * n).map(|i| (0..seen(i / n)).fold(T::ZERO, |sum, x| sum + a.at(i / n, x) * b.at(x, i % n))).collect()
    };
    for r in 0..m {
        (seen(r)..k).for_each(|x| a[if a_turned { x * m + r } else { r * k + x }] = T::NAN);
    }
    for x in seen(m - 1)..k {
        (0..n).for_each(|c| b[if b_turned { c * k + x } else { x * n + c }] = T::NAN);
    }
    let (a, b) = (view(&a, m, k, a_turned), view(&b, k, n, b_turned));
    let (stride, guard) = (n + 3, T::from_f64(77.0));
    let old = exact::<T>(m * n, 3);
    for g in versions() {
        let mut c = std::vec![guard; m * stride + 5];
        for (i, &old) in old.iter().enumerate() {
            c[i / n * stride + i % n] = if store == Store::Set { T::NAN } else { old };
        }
        let out = MatMut::strided(&mut c, m, n, stride).unwrap();
        match ask {
            Ask::Whole => g.gemm(store, a, b, out),
            Ask::Causal(beside) => g.causal(store, beside, a, b, out),
            Ask::Band(beside) => g.band(beside, a, b, out),
        }
        for (i, &got) in c.iter().enumerate() {
            let (row, col) = (i / stride, i % stride);
            let at = row * n + col;
            let want = match store {
                _ if row >= m || col >= n => guard,
                Store::Set => product[at],
                Store::Add => old[at] + product[at],
                Store::Sub => old[at] - product[at],
            };
            let inside = row < m && col < n;
            let unspecified = matches!(ask, Ask::Band(Beside { before, behind })
                if inside && (col > row.saturating_add(behind) || row > before.saturating_add(col)));
            let isa = g.isa();
            assert!(
                unspecified || got == want,
                "{ask:?} {m} {n} {k} {kind} {store:?} {isa:?} at {row}, {col}: {got:?}"
            );
        }
    }
}

fn whole<T: SimdScalar>() {
    for m in ROWS {
        for n in COLS {
            for k in DEPTHS {
                for kind in 0..4 {
                    case::<T>(Ask::Whole, (m, n, k), kind, STORES[(m + n + k + kind) % 3]);
                }
            }
        }
    }
    for size in [(259, 17, 3), (7, 65, 1030), (66, 64, 65), (16, 16, 16), (32, 32, 32)] {
        STORES.into_iter().for_each(|store| case::<T>(Ask::Whole, size, 0, store));
    }
    // A is too large to stay in the cache, and k too long for one go.
    for (kind, store) in (0..4).zip(STORES.into_iter().cycle()) {
        case::<T>(Ask::Whole, (67, 70, 1100), kind, store);
    }
}

fn causal_and_band<T: SimdScalar>() {
    for m in ROWS {
        for n in COLS {
            for offset in [0, 1, 5, 16, 63] {
                let kind = m + n + offset;
                let store = STORES[kind % 3];
                // The causal product takes B by rows; a longer k is not looked at.
                for (before, offset) in [(usize::MAX, offset), (offset / 2, offset), (3, usize::MAX)] {
                    let beside = Beside { before, behind: offset };
                    case::<T>(Ask::Causal(beside), (m, n, m + offset.min(70) + n % 3), kind & 1, store);
                    case::<T>(Ask::Band(beside), (m, n, DEPTHS[1 + kind % 5]), kind & 3, Store::Set);
                }
            }
        }
    }
}

#[test]
fn f32_equals_the_definition_around_every_tile() {
    whole::<f32>();
}

#[test]
fn f64_equals_the_definition_around_every_tile() {
    whole::<f64>();
}

#[test]
fn f32_causal_parts_equal_the_definition_and_read_nothing_ahead() {
    causal_and_band::<f32>();
}

#[test]
fn f64_causal_parts_equal_the_definition_and_read_nothing_ahead() {
    causal_and_band::<f64>();
}

/// A step of a chain over every length of a vector, with a guard behind it.
fn steps<T: SimdScalar>() {
    for n in 0..=67 {
        let (x, old) = (exact::<T>(n, 1), exact::<T>(n, 2));
        let w = T::from_f64(1.5);
        for g in versions() {
            for store in [Store::Add, Store::Sub] {
                let mut y = old.clone();
                y.push(T::from_f64(77.0));
                g.axpy(store, w, &x, &mut y[..n]);
                for i in 0..n {
                    let want = if store == Store::Sub { old[i] - w * x[i] } else { old[i] + w * x[i] };
                    assert!(y[i] == want, "{i} of {n} {:?}", g.isa());
                }
                assert!(y[n] == T::from_f64(77.0));
            }
        }
    }
}

#[test]
fn steps_equal_the_definition_at_every_length() {
    steps::<f32>();
    steps::<f64>();
}

#[test]
fn what_is_not_a_number_reaches_its_row_and_column_only() {
    let (m, n, k) = (13, 37, 21);
    let (mut a, mut b) = (numbers::<f32>(m * k, 1), numbers::<f32>(k * n, 2));
    let clean = |a: &[f32], b: &[f32], g: &Simd| {
        let mut c = std::vec![f32::NAN; m * n];
        let (a, b) = (Mat::new(a, m, k).unwrap(), Mat::new(b, k, n).unwrap());
        g.gemm(Store::Set, a, b, MatMut::new(&mut c, m, n).unwrap());
        c
    };
    let before: Vec<_> = versions().iter().map(|g| clean(&a, &b, g)).collect();
    a[5 * k + 20] = f32::NAN;
    b[20 * n + 36] = f32::INFINITY;
    for (g, before) in versions().iter().zip(before) {
        for (i, (got, was)) in clean(&a, &b, g).into_iter().zip(before).enumerate() {
            let touched = i / n == 5 || i % n == 36;
            assert_eq!(!got.is_finite(), touched, "{i}");
            assert!(touched || bits(&[got]) == bits(&[was]));
        }
    }
}

/// Around the squares of 16 × 16, with gaps between rows that stay as they are; columns of a transpose too.
fn transposes<T: SimdScalar>() {
    for (rows, cols) in [(1, 1), (1, 17), (15, 16), (16, 16), (17, 33), (64, 64), (39, 5)] {
        let x = numbers::<T>(rows * (cols + 3), 7);
        let from = Mat::strided(&x, rows, cols, cols + 3, 1).unwrap();
        for g in versions() {
            let mut out = std::vec![T::from_f64(77.0); cols * (rows + 2)];
            g.transpose(from, MatMut::strided(&mut out, cols, rows, rows + 2).unwrap());
            for (i, got) in out.iter().enumerate() {
                let (c, r) = (i / (rows + 2), i % (rows + 2));
                let want = if r < rows { x[r * (cols + 3) + c] } else { T::from_f64(77.0) };
                assert_eq!(got.to_f64(), want.to_f64(), "{rows} × {cols} at ({c}, {r}), {:?}", g.isa());
            }
            let mut back = std::vec![T::NAN; rows * cols];
            let turned = Mat::strided(&out, cols, rows, rows + 2, 1).unwrap();
            g.transpose(turned, MatMut::new(&mut back, rows, cols).unwrap());
            assert!((0..rows * cols).all(|i| back[i].to_f64() == x[i / cols * (cols + 3) + i % cols].to_f64()));
        }
    }
}

#[test]
fn transposes_are_transposes() {
    transposes::<f32>();
    transposes::<f64>();
}
