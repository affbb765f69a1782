//! Every element is one chain: equal bits whatever lies beside it, at any cut, on every version with fused
//! multiply-add.

use super::super::{Isa, SimdScalar};
use super::products::STORES;
use super::{bits, numbers, versions, view};
use crate::arithmetic::{Arithmetic, Beside, Store};
use crate::view::{Mat, MatMut};
use std::vec::Vec;

/// The product of every kind of views in one vector.
fn products<T: SimdScalar>(
    (m, n, k): (usize, usize, usize),
    run: impl Fn(Store, Mat<'_, T>, Mat<'_, T>, MatMut<'_, T>),
) -> Vec<u64> {
    let (a, b, c0) = (numbers(m * k, 4), numbers(k * n, 5), numbers(m * n, 6));
    let mut all = Vec::new();
    for kind in 0..4 {
        for store in STORES {
            let mut c = c0.clone();
            let (a, b) = (view(&a, m, k, kind & 1 != 0), view(&b, k, n, kind & 2 != 0));
            run(store, a, b, MatMut::new(&mut c, m, n).unwrap());
            all.extend(bits(&c));
        }
    }
    all
}

fn cuts<T: SimdScalar>() {
    for g in versions() {
        for size in [(67, 97, 70), (9, 65, 129), (5, 7, 3), (70, 65, 257), (258, 33, 9), (67, 20, 1030)] {
            let (m, _, k) = size;
            let whole = products::<T>(size, |store, a, b, c| g.gemm(store, a, b, c));
            for rows in [1, 2, 4, 64] {
                let cut = products::<T>(size, |store, a, b, mut c| {
                    for i in (0..m).step_by(rows) {
                        let rows = rows.min(m - i);
                        g.gemm(store, a.sub(i, rows), b, c.rb().sub(i, rows));
                    }
                });
                assert!(whole == cut, "{size:?} by {rows} rows {:?}", g.isa());
            }
            for at in [1, 2, k - 1] {
                let cut = products::<T>(size, |store, a, b, mut c| {
                    let rest = if store == Store::Set { Store::Add } else { store };
                    g.gemm(store, a.block(0, m, 0, at), b.sub(0, at), c.rb());
                    g.gemm(rest, a.block(0, m, at, k - at), b.sub(at, k - at), c);
                });
                assert!(whole == cut, "{size:?} cut at {at} {:?}", g.isa());
            }
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_a_sum_may_be_cut_anywhere() {
    cuts::<f32>();
    cuts::<f64>();
}

fn steps<T: SimdScalar>() {
    for g in versions() {
        let (m, n) = (37, 41);
        let (a, b, c0) = (numbers::<T>(m * m, 7), numbers::<T>(m * n, 8), numbers::<T>(m * n, 9));
        let (av, bv) = (Mat::new(&a, m, m).unwrap(), Mat::new(&b, m, n).unwrap());
        for store in STORES {
            let mut c = if store == Store::Set { std::vec![T::NAN; m * n] } else { c0.clone() };
            g.causal(store, Beside::lower(0), av, bv, MatMut::new(&mut c, m, n).unwrap());
            for r in 0..m {
                let mut row = if store == Store::Set { std::vec![T::ZERO; n] } else { c0[r * n..][..n].to_vec() };
                for k in 0..=r {
                    let step = if store == Store::Sub { Store::Sub } else { Store::Add };
                    g.axpy(step, av.at(r, k), bv.row(k), &mut row);
                }
                assert_eq!(bits(&row), bits(&c[r * n..][..n]), "row {r} {store:?} {:?}", g.isa());
            }
        }
    }
}

#[test]
fn steps_and_causal_products_continue_a_chain() {
    steps::<f32>();
    steps::<f64>();
}

fn fused<T: SimdScalar>() {
    let fused: Vec<_> = versions().into_iter().filter(|g| g.isa() != Isa::Portable).collect();
    for (m, n, k) in [(67, 97, 70), (8, 130, 33), (3, 5, 200), (65, 64, 63)] {
        for pair in fused.windows(2) {
            let whole = [0, 1].map(|i| products::<T>((m, n, k), |s, a, b, c| pair[i].gemm(s, a, b, c)));
            assert!(whole[0] == whole[1], "{m} {n} {k}");
            // The causal product takes B by rows.
            let causal = [0, 1].map(|i| {
                products::<T>((m, n, m + 4), |s, a, b, c| {
                    if b.col_stride() == 1 {
                        pair[i].causal(s, Beside::lower(4 - 1), a, b, c);
                    }
                })
            });
            assert!(causal[0] == causal[1], "causal {m} {n}");
        }
    }
}

#[test]
fn versions_with_fused_multiply_add_give_the_same_bits() {
    fused::<f32>();
    fused::<f64>();
}
