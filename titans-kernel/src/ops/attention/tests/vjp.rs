//! Backward: finite differences, `f32` against `f64`, any pieces, and nothing from outside of a row's sight.

use super::case::{AttentionCase, CONTEXT, Q_ROTATED, Sizes, TOKENS, cases};
use crate::arch::Simd;
use crate::arithmetic::{Arithmetic, Portable};
use crate::ops::attention::Span;
use crate::ops::check::{SINGLE, assert_close, assert_gradient, inner, values, widen};

const NAMES: [&str; 8] = ["q", "q_rotated", "persistent k", "v", "context k", "v", "token k", "v"];

fn is_the_difference<G: Arithmetic<f64>>(g: &G, sizes: Sizes, seed: u64) {
    let case = AttentionCase::<f64>::new(sizes, seed);
    let cot = values::<f64>(sizes.n * sizes.c, 99);
    let d = case.gradients(g, &cot, 0.5, &[]);
    for i in 0..8 {
        let before = if i > Q_ROTATED { 0.5 } else { 0.0 };
        let d: std::vec::Vec<f64> = d[i].iter().map(|x| x - before).collect();
        let what = std::format!("d of {} of {sizes:?}", NAMES[i]);
        assert_gradient(&what, &case.x[i], &d, |x| {
            let mut moved = case.clone();
            moved.x[i] = x.to_vec();
            inner(&moved.run(g).0, &cot)
        });
    }
}

#[test]
fn vjp_is_the_finite_difference() {
    let base = Sizes { span: Span::Window(6), first: 9, n: 5, first_key: 2, c: 4, persistent: 2, context: true };
    is_the_difference(&Portable, base, 1);
    is_the_difference(&Simd::best(), Sizes { n: 36, c: 2, ..base }, 2);
    is_the_difference(&Simd::best(), Sizes { span: Span::Segment(7), first_key: 7, n: 19, c: 2, ..base }, 3);
    is_the_difference(&Simd::best(), Sizes { n: 1, persistent: 0, context: false, c: 1, ..base }, 4);
    is_the_difference(&Portable, Sizes { first: 0, first_key: 0, n: 34, c: 2, persistent: 0, ..base }, 5);
}

#[test]
fn gradients_agree_in_f32_and_come_in_any_pieces_with_the_same_bits() {
    for (i, sizes) in cases().into_iter().enumerate().filter(|(i, _)| i % 3 == 0) {
        let (case, n) = (AttentionCase::<f32>::new(sizes, i as u64), sizes.n);
        let all = case.gradients(&Simd::best(), &values(n * sizes.c, 99), 0.0, &[]);
        let double = AttentionCase::<f64>::new(sizes, i as u64);
        let want = double.gradients(&Portable, &values(n * sizes.c, 99), 0.0, &[]);
        for (k, (d, want)) in all.iter().zip(&want).enumerate() {
            assert_close(&std::format!("f32 d of {} of {sizes:?}", NAMES[k]), &widen(d), want, SINGLE);
        }
        for cuts in [&[n / 3, n / 2][..], &[1, 1 + 16 * (n / 20)], &[n - 1]] {
            let cuts: std::vec::Vec<usize> = cuts.iter().copied().filter(|&c| c <= n).collect();
            let pieces = case.gradients(&Simd::best(), &values(n * sizes.c, 99), 0.0, &cuts);
            assert_eq!(pieces, all, "{cuts:?} of {sizes:?}");
        }
    }
}

/// Which rows of the gradient i changed between two cases.
fn changed(a: &[f32], b: &[f32], c: usize) -> std::vec::Vec<usize> {
    let rows = a.chunks(c).zip(b.chunks(c)).enumerate();
    rows.filter(|(_, (a, b))| a != b).map(|(r, _)| r).collect()
}

#[test]
fn what_is_not_finite_reaches_only_what_sees_it() {
    for span in [Span::Window(20), Span::Segment(23)] {
        let sizes = Sizes { span, first: 70, n: 61, first_key: 46, c: 5, persistent: 0, context: true };
        let (case, cot) = (AttentionCase::<f32>::new(sizes, 7), values::<f32>(61 * 5, 98));
        let clean = case.gradients(&Simd::best(), &cot, 0.0, &[]);
        let token = |r: usize| r as u64 + sizes.first;
        // A value of d_y or q reaches the tokens that its row sees.
        for r in [0, 1, 15, 16, 31, 40, 60] {
            let seen = (span.oldest(token(r)) - 46) as usize..=(token(r) - 46) as usize;
            for bad in [f32::NAN, f32::INFINITY] {
                let (mut d_y, mut other) = (cot.clone(), case.clone());
                d_y[r * 5 + 1] = bad;
                other.x[Q_ROTATED][r * 5 + 1] = bad;
                for d in [case.gradients(&Simd::best(), &d_y, 0.0, &[]), other.gradients(&Simd::best(), &cot, 0.0, &[])]
                {
                    assert_eq!(changed(&d[Q_ROTATED], &clean[Q_ROTATED], 5), [r], "{span:?} {bad}");
                    for i in [CONTEXT, TOKENS] {
                        let k = changed(&d[i], &clean[i], 5);
                        assert_eq!(k, seen.clone().collect::<std::vec::Vec<_>>(), "{span:?} {r} {bad}");
                    }
                }
            }
        }
        // A key or value reaches the rows that see it.
        for j in [0, 10, 24, 25, 40, 55, 84] {
            let number = 46 + j as u64;
            let sees = |r: &usize| span.oldest(token(*r)) <= number && number <= token(*r);
            let rows: std::vec::Vec<usize> = (0..61).filter(sees).collect();
            for i in [TOKENS, TOKENS + 1, CONTEXT, CONTEXT + 1] {
                for bad in [f32::NAN, f32::INFINITY] {
                    let mut other = case.clone();
                    other.x[i][j * 5 + 1] = bad;
                    let d = other.gradients(&Simd::best(), &cot, 0.0, &[]);
                    assert_eq!(changed(&d[Q_ROTATED], &clean[Q_ROTATED], 5), rows, "{span:?} {i} {j} {bad}");
                }
            }
        }
    }
}
