//! The matrix product on every instruction set that this machine has.

use titans_kernel::{Gemm, Mat, MatMut, Scalar, Store};

use super::super::{Isa, Simd, SimdScalar, isa_named, simd};
use super::{bits, numbers, sets};

const STORES: [Store; 3] = [Store::Set, Store::Add, Store::Sub];

fn view<T: Copy>(data: &[T], rows: usize, cols: usize, transposed: bool) -> Mat<'_, T> {
    if transposed { Mat::new(data, cols, rows).unwrap().t() } else { Mat::new(data, rows, cols).unwrap() }
}

/// Multiples of 1/8 up to 2: all sums below are exact, in any order.
fn exact<T: Scalar>(len: usize, seed: u64) -> Vec<T> {
    numbers(len, seed).iter().map(|x| T::from_f64(f64::from((x * 16.0).round()) / 8.0)).collect()
}

fn equals_the_definition<T: SimdScalar>() {
    let sets: Vec<Simd> = sets().into_iter().map(|isa| simd(isa).unwrap()).collect();
    for &m in &[1, 3, 4, 5, 7, 8, 9, 64, 65] {
        for &n in &[1, 4, 7, 9, 16, 17, 31, 33, 63, 65, 97] {
            for &k in &[0, 1, 2, 63, 64, 65] {
                let (a, b, c0) = (exact::<T>(m * k, 1), exact::<T>(k * n, 2), exact::<T>(m * n, 3));
                for kind in 0..4 {
                    let (a, b) = (view(&a, m, k, kind & 1 != 0), view(&b, k, n, kind & 2 != 0));
                    let mut product = vec![T::ZERO; m * n];
                    for i in 0..m {
                        for x in 0..k {
                            for j in 0..n {
                                product[i * n + j] += a.at(i, x) * b.at(x, j);
                            }
                        }
                    }
                    for (store, gemm) in STORES.iter().flat_map(|&s| sets.iter().map(move |g| (s, g))) {
                        let mut c = if store == Store::Set { vec![T::NAN; m * n] } else { c0.clone() };
                        gemm.gemm(store, a, b, MatMut::new(&mut c, m, n).unwrap());
                        let wants = product.iter().zip(&c0).map(|(&p, &c)| match store {
                            Store::Set => p,
                            Store::Add => c + p,
                            Store::Sub => c - p,
                        });
                        for (i, (want, &got)) in wants.zip(&c).enumerate() {
                            assert!(want == got, "{m} {n} {k} {kind} {store:?} {:?} at {i}", gemm.isa());
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn f32_equals_the_definition_around_every_tile() {
    equals_the_definition::<f32>();
}

#[test]
fn f64_equals_the_definition_around_every_tile() {
    equals_the_definition::<f64>();
}

/// The product of every kind of views in one vector.
fn products(
    m: usize,
    n: usize,
    k: usize,
    run: impl Fn(Store, Mat<'_, f32>, Mat<'_, f32>, MatMut<'_, f32>),
) -> Vec<u32> {
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

#[test]
fn a_row_has_the_same_bits_alone_and_a_sum_may_be_cut_anywhere() {
    for gemm in sets().into_iter().map(|isa| simd(isa).unwrap()) {
        for (m, n, k) in [(67, 97, 70), (9, 65, 129), (5, 7, 3), (70, 65, 257), (258, 33, 9)] {
            let whole = products(m, n, k, |store, a, b, c| gemm.gemm(store, a, b, c));
            for rows in [1, 2, 4, 64] {
                let cut = products(m, n, k, |store, a, b, mut c| {
                    for i in (0..m).step_by(rows) {
                        let rows = rows.min(m - i);
                        gemm.gemm(store, a.sub(i, rows), b, c.rb().sub(i, rows));
                    }
                });
                assert!(whole == cut, "{m} {n} {k} by {rows} rows {:?}", gemm.isa());
            }
            for at in [1, 2, k - 1] {
                let cut = products(m, n, k, |store, a, b, mut c| {
                    let rest = if store == Store::Set { Store::Add } else { store };
                    gemm.gemm(store, a.block(0, m, 0, at), b.sub(0, at), c.rb());
                    gemm.gemm(rest, a.block(0, m, at, k - at), b.sub(at, k - at), c);
                });
                assert!(whole == cut, "{m} {n} {k} cut at {at} {:?}", gemm.isa());
            }
        }
    }
}

#[test]
fn fused_instruction_sets_give_the_same_bits() {
    let fused: Vec<Simd> = [Isa::Avx512, Isa::Avx2].iter().filter_map(|&isa| simd(isa).ok()).collect();
    for (m, n, k) in [(67, 97, 70), (8, 130, 33), (3, 5, 200)] {
        let plain = |gemm: &Simd| products(m, n, k, |s, a, b, c| gemm.gemm(s, a, b, c));
        // The causal product takes B by rows.
        let causal = |gemm: &Simd| {
            products(m, n, m + 4, |s, a, b, c| {
                if b.col_stride() == 1 {
                    gemm.causal(s, 4 - 1, a, b, c);
                }
            })
        };
        for pair in fused.windows(2) {
            assert!(plain(&pair[0]) == plain(&pair[1]), "{m} {n} {k}");
            assert!(causal(&pair[0]) == causal(&pair[1]), "causal {m} {n}");
        }
    }
}

#[test]
fn steps_and_causal_products_continue_a_chain() {
    for gemm in sets().into_iter().map(|isa| simd(isa).unwrap()) {
        let (m, n) = (37, 41);
        let (a, b, c0) = (numbers(m * m, 7), numbers(m * n, 8), numbers(m * n, 9));
        let (av, bv) = (Mat::new(&a, m, m).unwrap(), Mat::new(&b, m, n).unwrap());
        for store in STORES {
            let mut c = if store == Store::Set { vec![f32::NAN; m * n] } else { c0.clone() };
            gemm.causal(store, 0, av, bv, MatMut::new(&mut c, m, n).unwrap());
            for r in 0..m {
                let mut row = if store == Store::Set { vec![0.0; n] } else { c0[r * n..][..n].to_vec() };
                for k in 0..=r {
                    let step = if store == Store::Sub { Store::Sub } else { Store::Add };
                    gemm.axpy(step, av.at(r, k), bv.row(k), &mut row);
                }
                assert_eq!(bits(&row), bits(&c[r * n..][..n]), "row {r} {store:?} {:?}", gemm.isa());
            }
        }
    }
}

#[test]
fn sets_have_names_and_absent_ones_are_errors() {
    for isa in Isa::ALL {
        assert_eq!(isa_named(isa.name()).unwrap(), isa);
        assert_eq!(simd(isa).is_ok(), isa.available());
    }
    assert!(Isa::Portable.available() && Isa::best().available());
    assert!(isa_named("sse9").unwrap_err().to_string().contains("sse9"));
}
