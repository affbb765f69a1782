//! The token step's operations: every version against `f64`, against each other, and within their bounds.

use std::vec;
use std::vec::Vec;

use super::{Isa, Simd, SimdScalar};
use crate::arithmetic::{Arithmetic, Carried, Carry, Factors, Learn, Portable, Probe, carry, carry_len};
use crate::ops::check::{assert_close, values, widen};
use crate::view::{Mat, MatMut};

/// 1, primes, and one off every strip.
const SIZES: [usize; 13] = [1, 2, 7, 15, 16, 17, 31, 33, 63, 64, 65, 100, 257];

fn versions() -> Vec<Simd> {
    Isa::ALL.into_iter().filter_map(Simd::new).collect()
}

fn fused() -> Vec<Simd> {
    versions().into_iter().filter(|v| v.isa() != Isa::Portable).collect()
}

/// Numbers between −2 and 2, with `pad` NaN on either side, so that a read beyond the ends shows.
fn padded<T: SimdScalar>(n: usize, seed: u64, pad: usize) -> Vec<T> {
    let mut out = vec![T::NAN; n + 2 * pad];
    out[pad..pad + n].copy_from_slice(&values::<T>(n, seed));
    out
}

fn bits<T: SimdScalar>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

/// What a change with two probes leaves: W, S, x W after the change twice, and x W and W δ before it; between NaN.
fn step<T: SimdScalar, G: Arithmetic<T>>(g: &G, rows: usize, d: usize) -> [Vec<T>; 6] {
    const PAD: usize = 17;
    let inside = |n: usize| PAD..PAD + n;
    let (mut w, mut s) = (padded::<T>(rows * d, 1, PAD), padded::<T>(rows * d, 2, PAD));
    let (x, delta) = (padded::<T>(rows, 3, PAD), padded::<T>(d, 4, PAD));
    let (p, q) = (padded::<T>(rows, 5, PAD), padded::<T>(rows, 6, PAD));
    let mut out = [d, d, d, rows].map(|n| vec![T::NAN; n + 2 * PAD]);
    let [first, second, before, back] = &mut out;
    let [x, p, q] = [&x, &p, &q].map(|x| &x[inside(rows)]);
    let delta = &delta[inside(d)];
    g.vecmat(x, &w[inside(rows * d)], &mut before[inside(d)]);
    g.matvec(&w[inside(rows * d)], delta, &mut back[inside(rows)]);
    let probes = [Some(Probe { x: p, out: &mut first[inside(d)] }), Some(Probe { x: q, out: &mut second[inside(d)] })];
    let change = Learn { x, delta, keep: T::from_f64(0.75), eta: T::from_f64(0.6) };
    g.learn(change, &mut w[inside(rows * d)], &mut s[inside(rows * d)], probes);
    let [first, second, before, back] = out;
    [w, s, first, second, before, back].map(|x| {
        let n = x.len() - 2 * PAD;
        assert!(x[..PAD].iter().chain(&x[PAD + n..]).all(|x| !x.finite()), "written beyond the ends");
        x[inside(n)].to_vec()
    })
}

#[test]
fn every_version_of_a_step_is_near_the_plain_one_in_f64() {
    for rows in SIZES {
        for d in SIZES {
            let want = step::<f64, _>(&Portable, rows, d);
            for g in versions() {
                for (got, want) in step::<f64, _>(&g, rows, d).iter().zip(&want) {
                    assert_close("step", got, want, 1e-13);
                }
                // n roundings of sums that stay below 16 √n or so, as numbers of both signs do, seldom the same way.
                for (got, want) in step::<f32, _>(&g, rows, d).iter().zip(&want) {
                    let size = rows.max(d) as f64;
                    for (got, want) in widen(got).iter().zip(want) {
                        assert!(
                            (got - want).abs() <= 6e-8 * 16.0 * (size + 4.0),
                            "{rows} x {d} {}: {got} {want}",
                            g.isa().name()
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn versions_with_fused_multiply_add_give_the_same_bits() {
    for (rows, d) in SIZES.into_iter().flat_map(|r| SIZES.map(|d| (r, d))).chain([(300, 301), (70, 1100)]) {
        let all: Vec<_> = fused().iter().map(|g| step::<f32, _>(g, rows, d).map(|x| bits(&x))).collect();
        assert!(all.windows(2).all(|v| v[0] == v[1]), "{rows} x {d}");
    }
    let all: Vec<_> = fused().iter().map(|g| step::<f64, _>(g, 257, 135).map(|x| bits(&x))).collect();
    assert!(all.windows(2).all(|v| v[0] == v[1]));
}

/// W, S, y and Σ e² after `n` tokens, `pieces` at a time; every third token does not write.
fn carried<T: SimdScalar>(
    (rows, d, n): (usize, usize, usize),
    after: bool,
    pieces: usize,
    run: impl Fn(Carry<'_, T>, Carried<'_, T>),
) -> [Vec<T>; 4] {
    let (mut w, mut s) = (values::<T>(rows * d, 1), values::<T>(rows * d, 2));
    let (k, v, q) = (values::<T>(n * rows, 3), values::<T>(n * d, 4), values::<T>(n * rows, 5));
    let (mut y, mut squares) = (vec![T::NAN; n * d], vec![T::NAN; n]);
    let rate = 0.5 / rows as f64;
    let factors: Vec<_> = (0..n)
        .map(|t| Factors {
            keep: T::from_f64(1.0 - 0.01 * t as f64),
            eta: T::from_f64(0.4),
            rate: T::from_f64(rate),
            writes: t % 3 != 1,
        })
        .collect();
    let mut from = 0;
    while from < n {
        let m = pieces.min(n - from);
        let tokens = Carry {
            k: Mat::new(&k[from * rows..], m, rows).unwrap(),
            v: Mat::new(&v[from * d..], m, d).unwrap(),
            q: Mat::new(&q[from * rows..], m, rows).unwrap(),
            after,
            scale: T::from_f64(2.0),
            factors: &factors[from..from + m],
        };
        let mut work = vec![T::NAN; carry_len(rows, d)];
        let y = Some(MatMut::new(&mut y[from * d..(from + m) * d], m, d).unwrap());
        run(tokens, Carried { w: &mut w, s: &mut s, y, squares: &mut squares[from..from + m], work: &mut work });
        from += m;
    }
    [w, s, y, squares]
}

#[test]
fn carried_tokens_have_the_bits_of_single_steps_in_any_pieces() {
    for rows in [1, 2, 7, 16, 33, 64, 130] {
        for d in [1, 7, 15, 16, 17, 31, 33, 63, 64, 65, 100] {
            for after in [true, false] {
                let size = (rows, d, 11);
                let want = carried::<f64>(size, after, 11, |c, o| carry(&Portable, c, o));
                let mut first = None;
                for g in fused() {
                    let single = carried::<f32>(size, after, 11, |c, o| carry(&g, c, o)).map(|x| bits(&x));
                    for pieces in [1, 2, 5, 11] {
                        let got = carried::<f32>(size, after, pieces, |c, o| g.carry(c, o));
                        for (got, want) in got.iter().zip(&want) {
                            assert_close("carried", &widen(got), want, 2e-5);
                        }
                        assert_eq!(got.map(|x| bits(&x)), single, "{size:?} {pieces} {}", g.isa().name());
                    }
                    let first = first.get_or_insert_with(|| single.clone());
                    assert_eq!(*first, single, "{size:?} {}", g.isa().name());
                    for (got, want) in carried::<f64>(size, after, 4, |c, o| g.carry(c, o)).iter().zip(&want) {
                        assert_close("carried", got, want, 1e-12);
                    }
                }
            }
        }
    }
}
