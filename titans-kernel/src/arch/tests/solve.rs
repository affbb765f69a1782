//! Substitutions: against their definition around every block, and bits.

use super::super::SimdScalar;
use super::{bits, exact, numbers, versions};
use crate::arithmetic::{Arithmetic, Order, SOLVED, Substitution};
use crate::view::{Mat, MatMut};
use std::vec::Vec;

/// Around every block (4 rows and 1) and every strip (1, 2 and 4 registers of 2 to 16 numbers).
const ROWS: [usize; 10] = [1, 2, 3, 4, 5, 8, 9, 13, 16, 23];
const COLS: [usize; 9] = [1, 3, 7, 8, 15, 16, 17, 33, 64];

/// What a case is made of: rows two numbers apart with 77 between them, weights that are not numbers where none is
/// read.
struct SolveCase<T> {
    order: Order,
    m: usize,
    width: usize,
    with_values: bool,
    weights: Vec<T>,
    rows: Vec<T>,
    values: Vec<T>,
}

impl<T: SimdScalar> SolveCase<T> {
    fn new(order: Order, (m, width): (usize, usize), with_values: bool, numbers: fn(usize, u64) -> Vec<T>) -> Self {
        let mut rows = std::vec![T::from_f64(77.0); m * (width + 2)];
        for (r, x) in numbers(m * width, 2).chunks(width).enumerate() {
            rows[r * (width + 2)..][..width].copy_from_slice(x);
        }
        let mut weights = numbers(m * m, 1);
        (0..m).for_each(|r| weights[r * m + r..(r + 1) * m].fill(T::NAN));
        Self { order, m, width, with_values, weights, rows, values: numbers(m * width, 3) }
    }

    fn known_rows(&self) -> usize {
        if let Order::Down(solved) = self.order { solved } else { 0 }
    }

    fn run(&self, g: &impl Arithmetic<T>) -> Vec<T> {
        let (m, width, left) = (self.m, self.width, self.m - self.known_rows());
        let values = Mat::new(&self.values[self.known_rows() * width..], left, width).unwrap();
        let mut rows = self.rows.clone();
        g.substitute(Substitution {
            weights: Mat::new(&self.weights[self.known_rows() * m..], left, m).unwrap(),
            rows: MatMut::strided(&mut rows, m, width, width + 2).unwrap(),
            values: self.with_values.then_some(values),
            scale: T::from_f64(0.5),
            order: self.order,
        });
        rows
    }

    /// Row by row and number by number.
    fn defined(&self) -> Vec<T> {
        let (m, width, stride) = (self.m, self.width, self.width + 2);
        let mut x = self.rows.clone();
        for step in self.known_rows()..m {
            let r = if self.order == Order::Up { m - 1 - step } else { step };
            for j in 0..width {
                let mut sum = x[r * stride + j];
                for before in 0..step {
                    let (i, w) = match self.order {
                        Order::Up => (m - 1 - before, self.weights[(m - 1 - before) * m + r]),
                        Order::Down(_) => (before, self.weights[r * m + before]),
                    };
                    sum -= w * x[i * stride + j];
                }
                if self.with_values {
                    sum -= self.values[r * width + j];
                }
                x[r * stride + j] = T::from_f64(0.5) * sum;
            }
        }
        x
    }
}

fn orders(m: usize) -> [Order; 4] {
    [Order::Down(0), Order::Down(m / 2), Order::Down(m), Order::Up]
}

fn definition<T: SimdScalar>() {
    for (i, size) in ROWS.into_iter().flat_map(|m| COLS.map(|width| (m, width))).enumerate() {
        for order in orders(size.0) {
            let case = SolveCase::<T>::new(order, size, i % 2 == 0, |n, seed| {
                // Small enough that a long chain of rows does not grow, few bits so that most sums are exact.
                exact::<T>(n, seed).iter().map(|x| *x * T::from_f64(0.125)).collect()
            });
            let want = case.defined();
            for g in versions() {
                for (at, (got, want)) in case.run(&g).into_iter().zip(&want).enumerate() {
                    let close = (got.to_f64() - want.to_f64()).abs() <= 1e-5 * (1.0 + want.to_f64().abs());
                    assert!(close, "{size:?} {order:?} {:?} at {at}: {got:?}, {want:?}", g.isa());
                }
            }
        }
    }
}

#[test]
fn substitutions_equal_the_definition_around_every_block() {
    definition::<f32>();
    definition::<f64>();
}

/// Versions with fused multiply-add agree; a column does not depend on its company, nor a row on what is solved with
/// it.
fn equal_bits<T: SimdScalar>() {
    let small = |n: usize, seed: u64| numbers::<T>(n, seed).iter().map(|x| *x * T::from_f64(0.3)).collect::<Vec<T>>();
    for order in orders(23) {
        let case = SolveCase::<T>::new(order, (23, 37), true, small);
        let all: Vec<_> =
            versions().iter().filter(|g| g.isa() != super::Isa::Portable).map(|g| bits(&case.run(g))).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{order:?}");
    }
    for g in versions() {
        let case = SolveCase::<T>::new(Order::Down(0), (23, 37), true, small);
        let whole = case.run(&g);
        let rest = SolveCase { order: Order::Down(9), rows: [&whole[..9 * 39], &case.rows[9 * 39..]].concat(), ..case };
        assert_eq!(bits(&whole), bits(&rest.run(&g)), "{:?}", g.isa());
    }
}

#[test]
fn substitutions_have_equal_bits_in_any_company() {
    equal_bits::<f32>();
    equal_bits::<f64>();
}

#[test]
fn sizes_that_disagree_are_refused() {
    extern crate std;
    for g in versions() {
        for (m, weights, solved) in [(4, 3, 0), (4, 4, 1), (4, 0, 5), (SOLVED + 1, SOLVED + 1, 0)] {
            let run = || {
                let mut x = std::vec![1.0f32; m];
                let w = std::vec![1.0f32; weights * m];
                g.substitute(Substitution {
                    weights: Mat::new(&w, weights, m).unwrap(),
                    rows: MatMut::new(&mut x, m, 1).unwrap(),
                    values: None,
                    scale: 1.0,
                    order: Order::Down(solved),
                });
            };
            assert!(std::panic::catch_unwind(run).is_err(), "{m} {weights} {solved} {:?}", g.isa());
        }
    }
}
