//! Coefficients and scaled scores: equal bits on every version, and nothing of what lies beyond.

use super::super::SimdScalar;
use super::{bits, numbers, versions};
use crate::arithmetic::{Arithmetic, Factors, Portable, Recurrence, ScoreScaling};
use std::vec::Vec;

/// A, G, Π η, and what is to be read of C and P.
fn rows<T: SimdScalar, G: Arithmetic<T>>(g: &G, chunk: usize, offset: usize, factors: &[Factors<T>]) -> Vec<u64> {
    let n = factors.len();
    let [mut a, mut gg, mut e] = [(); 3].map(|()| std::vec![T::NAN; n + 1]);
    (a[0], gg[0], e[0]) = (T::from_f64(0.75), T::from_f64(0.5), T::from_f64(0.25));
    let [mut c, mut p] = [1, 2].map(|seed| {
        let mut x = std::vec![T::NAN; (n + 1) * chunk];
        x[..offset].copy_from_slice(&numbers(offset, seed));
        x
    });
    g.recur(Recurrence { factors, offset, chunk, a: &mut a, g: &mut gg, e: &mut e, c: &mut c, p: &mut p });
    let mut all = bits(&a);
    [gg, e].iter().for_each(|x| all.extend(bits(x)));
    for t in 0..=n {
        [&c, &p].iter().for_each(|x| all.extend(bits(&x[t * chunk..][..offset + t])));
    }
    all
}

fn recurrences<T: SimdScalar>() {
    for (chunk, offset, n) in [(1, 0, 1), (3, 1, 2), (16, 0, 16), (17, 5, 12), (64, 0, 64), (70, 9, 61), (150, 70, 64)]
    {
        let gates = numbers::<T>(2 * n, 3);
        let factor = |t: usize| {
            // Some that vanish, one that is not a number, some that do not write.
            let eta = match t % 9 {
                0..=4 => 1e-3,
                5 if t == 50 => f64::NAN,
                _ => 0.9,
            };
            let keep = gates[t].to_f64().abs();
            Factors { keep: T::from_f64(keep), eta: T::from_f64(eta), rate: T::ZERO, writes: t % 7 != 3 }
        };
        let factors: Vec<_> = (0..n).map(factor).collect();
        let want = rows(&Portable, chunk, offset, &factors);
        assert!(n < 50 || want.iter().any(|x| f64::from_bits(*x).is_nan()));
        for g in versions() {
            assert!(rows(&g, chunk, offset, &factors) == want, "{chunk} {offset} {n} {:?}", g.isa());
            // One after the other.
            if offset == 0 && chunk == 64 {
                let some = rows(&g, chunk, offset, &factors[..20]);
                assert!(some[..21] == want[..21], "{:?}", g.isa());
            }
        }
    }
}

#[test]
fn coefficients_are_the_same_on_every_version() {
    recurrences::<f32>();
    recurrences::<f64>();
}

fn weights<T: SimdScalar>() {
    for (n, seen, visible) in
        [(1, 1, (1, 1)), (5, 7, (3, 1)), (64, 64, (1, 1)), (33, 40, (0, 1)), (4, 21, (21, 0)), (3, 0, (0, 0))]
    {
        let (c_stride, stride) = (seen + 3, seen + 2);
        let (mut c, mut scores) = (numbers::<T>(n * c_stride, 1), numbers::<T>(n * stride, 2));
        let mut rate = numbers::<T>(seen, 3);
        let sees = |t: usize| visible.0 + t * visible.1;
        for t in 0..n {
            c[t * c_stride + sees(t)..][..c_stride - sees(t)].fill(T::NAN);
            scores[t * stride + sees(t)..][..stride - sees(t)].fill(T::from_f64(f64::INFINITY));
        }
        rate[sees(n - 1)..].fill(T::NAN);
        for g in versions() {
            let mut found = scores.clone();
            g.scale_scores(ScoreScaling { n, seen, visible, c: &c, c_stride, rate: &rate, scores: &mut found, stride });
            for t in 0..n {
                for i in 0..stride {
                    let (old, at) = (scores[t * stride + i], t * c_stride + i);
                    let want = match i {
                        i if i < sees(t) => old * (c[at] * rate[i]),
                        i if i < seen => T::ZERO,
                        _ => old,
                    };
                    assert_eq!(found[t * stride + i].to_f64(), want.to_f64(), "{n} {seen} {t} {i} {:?}", g.isa());
                }
            }
        }
    }
}

#[test]
fn scaled_scores_are_the_definition_and_read_nothing_unseen() {
    weights::<f32>();
    weights::<f64>();
}
