//! Forward: the definition, the same bits whatever lies beside it, and nothing from outside of a row's sight.

use super::case::{AttentionCase, CONTEXT, PERSISTENT, Q, Q_ROTATED, Sizes, TOKENS, cases, naive};
use crate::arch::Simd;
use crate::arithmetic::{Arithmetic, Portable};
use crate::ops::attention::{Keys, Queries, Span, forward, scratch_len};
use crate::ops::check::{SINGLE, assert_close, poison, widen};
use crate::view::{Mat, MatMut};
use std::vec::Vec;

const SIZES: Sizes =
    Sizes { span: Span::Window(20), first: 70, n: 61, first_key: 48, c: 17, persistent: 3, context: true };

#[test]
fn forward_is_the_definition_in_both_precisions() {
    for (i, sizes) in cases().into_iter().enumerate() {
        let case = AttentionCase::<f64>::new(sizes, i as u64);
        let (want, sums) = naive(&case);
        for (y, s) in [case.run(&Portable), case.run(&Simd::best())] {
            assert_close(&std::format!("y of {sizes:?}"), &y, &want, 1e-13);
            assert_close(&std::format!("log_sum of {sizes:?}"), &s, &sums, 1e-13);
        }
        let case = AttentionCase::<f32>::new(sizes, i as u64);
        for (y, s) in [case.run(&Portable), case.run(&Simd::best())] {
            assert_close(&std::format!("f32 y of {sizes:?}"), &widen(&y), &want, SINGLE);
            assert_close(&std::format!("f32 log_sum of {sizes:?}"), &widen(&s), &sums, SINGLE);
        }
    }
}

/// Every row alone, and rows in pieces of some sizes, against all at once.
fn the_same_in_pieces<G: Arithmetic<f32>>(g: &G, case: &AttentionCase<f32>) {
    let (n, c) = (case.sizes.n, case.sizes.c);
    let (y, sums) = case.run(g);
    for piece in [1, 3, 15, 16, 17, 33] {
        for from in (0..n).step_by(piece) {
            let rows = piece.min(n - from);
            let (part, s) = case.part(g, from, rows);
            assert_eq!(part, y[from * c..(from + rows) * c], "rows {from} + {rows} of {:?}", case.sizes);
            assert_eq!(s, sums[from..from + rows]);
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_any_company() {
    for (i, sizes) in cases().into_iter().enumerate().filter(|(i, s)| i % 7 == 0 || (s.n > 60 && i % 3 == 0)) {
        let case = AttentionCase::<f32>::new(sizes, i as u64);
        the_same_in_pieces(&Simd::best(), &case);
        the_same_in_pieces(&Portable, &case);
    }
}

#[test]
fn a_row_has_the_same_bits_wherever_its_keys_begin() {
    for span in [Span::Window(20), Span::Segment(40)] {
        let case = AttentionCase::<f32>::new(Sizes { span, first: 120, first_key: 93, ..SIZES }, 1);
        let (y, sums) = case.run(&Simd::best());
        for later in 1..=8 {
            let mut short = case.clone();
            short.sizes.first_key += later;
            for x in &mut short.x[CONTEXT..] {
                x.drain(..later as usize * SIZES.c);
            }
            assert_eq!(short.run(&Simd::best()), (y.clone(), sums.clone()), "{span:?} {later}");
        }
    }
}

/// Poisons token j of keys and values (and context) and returns which rows changed.
fn changed_by(case: &AttentionCase<f32>, j: usize, poison: f32) -> Vec<usize> {
    let c = case.sizes.c;
    let (y, sums) = case.run(&Simd::best());
    let mut other = case.clone();
    for x in other.x[CONTEXT..].iter_mut().filter(|x| !x.is_empty()) {
        x[j * c..(j + 1) * c].fill(poison);
    }
    let (moved, s) = other.run(&Simd::best());
    let differs = |r: &usize| moved[r * c..(r + 1) * c] != y[r * c..(r + 1) * c] || s[*r] != sums[*r];
    (0..case.sizes.n).filter(differs).collect()
}

#[test]
fn a_key_changes_the_rows_that_see_it_and_no_other_also_when_it_is_not_finite() {
    for (n, span) in [(61, Span::Window(20)), (61, Span::Segment(23)), (40, Span::Window(1)), (9, Span::Window(4))] {
        let sizes = Sizes { span, n, ..SIZES };
        let case = AttentionCase::<f32>::new(sizes, 2);
        for j in (0..sizes.tokens()).step_by(3) {
            let number = sizes.first_key + j as u64;
            let sees = |r: &usize| {
                let i = sizes.first + *r as u64;
                span.oldest(i) <= number && number <= i
            };
            let want: Vec<usize> = (0..n).filter(sees).collect();
            for poison in [0.375, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                assert_eq!(changed_by(&case, j, poison), want, "{span:?} {j} {poison}");
            }
        }
    }
}

#[test]
fn nan_in_a_seen_key_value_or_query_makes_the_row_nan() {
    for i in [Q, Q_ROTATED, PERSISTENT, PERSISTENT + 1, CONTEXT, CONTEXT + 1, TOKENS, TOKENS + 1] {
        let mut case =
            AttentionCase::<f32>::new(Sizes { n: 40, first: 48, first_key: 0, span: Span::Window(128), ..SIZES }, 3);
        case.x[i][2] = f32::NAN; // the first row
        let (y, sums) = case.run(&Simd::best());
        let values = i % 2 == 1 && i > Q_ROTATED;
        for r in 0..40 {
            let touched = i > Q_ROTATED || r == 0;
            let row = &y[r * 17..(r + 1) * 17];
            assert_eq!(row[2].is_nan(), touched, "{i} {r}");
            assert_eq!(row[3].is_nan(), touched && !values, "{i} {r}");
            assert_eq!(sums[r].is_nan(), touched && !values, "{i} {r}");
        }
    }
}

#[test]
fn keys_may_be_a_transpose_and_scores_huge() {
    let mut case = AttentionCase::<f32>::new(SIZES, 4);
    for x in &mut case.x[Q_ROTATED] {
        *x *= 1e3;
    }
    let (y, sums) = case.run(&Simd::best());
    assert!(y.iter().chain(&sums).all(|x| x.is_finite()));
    let (rows, c) = (SIZES.tokens(), SIZES.c);
    let mut turned = poison(rows * c);
    for (i, x) in case.x[TOKENS].iter().enumerate() {
        turned[i % c * rows + i / c] = *x;
    }
    let keys = case.keys();
    let turned = Mat::new(&turned, c, rows).unwrap().t();
    for n in [SIZES.n, 7] {
        let mut out = poison(n * c);
        let mut scratch = poison(scratch_len(SIZES.span, n, SIZES.persistent, true));
        let keys = Keys { tokens: (turned, keys.tokens.1), ..keys };
        let (q, rotated) = (case.mat(Q).sub(0, n), case.mat(Q_ROTATED).sub(0, n));
        let view = MatMut::new(&mut out, n, c).unwrap();
        forward(
            &Simd::best(),
            SIZES.span,
            Queries { first: SIZES.first, q, q_rotated: rotated },
            &keys,
            view,
            None,
            &mut scratch,
        )
        .unwrap();
        assert_eq!(out, y[..n * c]);
    }
}

#[test]
fn wrong_sizes_are_errors_that_name_the_argument_and_change_nothing() {
    let case = AttentionCase::<f32>::new(SIZES, 5);
    let (n, c, good) = (SIZES.n, SIZES.c, case.keys());
    let mut y = std::vec![7.0; n * c];
    let mut run = |span, first, q: Mat<'_, f32>, keys: &Keys<'_, f32>, scratch: usize| {
        let (mut scratch, mut sums) = (poison(scratch), [7.0; SIZES.n]);
        let out = MatMut::new(&mut y, n, c).unwrap();
        let result = forward(
            &Portable,
            span,
            Queries { first, q, q_rotated: case.mat(Q_ROTATED) },
            keys,
            out,
            Some(&mut sums),
            &mut scratch,
        );
        assert!(result.is_ok() || sums == [7.0; SIZES.n] && y.iter().all(|&y| y == 7.0));
        result.err().map(|e| std::format!("{e}"))
    };
    let (q, enough) = (case.mat(Q), scratch_len(SIZES.span, n, SIZES.persistent, true));
    let named = |e: Option<std::string::String>, what: &str| assert!(e.as_deref().unwrap().contains(what), "{e:?}");
    named(run(Span::Window(0), 70, q, &good, enough), "window");
    named(run(SIZES.span, 70, q.sub(0, 2), &good, enough), "q");
    named(run(SIZES.span, 71, q, &good, enough), "last query");
    named(run(SIZES.span, 66, q, &good, enough), "first key");
    named(run(SIZES.span, 70, q, &good, enough - 1), "scratch");
    named(run(SIZES.span, u64::MAX, q, &good, enough), "last query");
    named(run(SIZES.span, u64::MAX - 9, q, &Keys { first: u64::MAX - 31, ..good }, enough), "last query");
    let (k, v) = good.tokens;
    named(run(SIZES.span, 70, q, &Keys { tokens: (k, v.sub(0, 5)), ..good }, enough), "token values");
    named(run(SIZES.span, 70, q, &Keys { context: Some((k.sub(0, 5), v)), ..good }, enough), "context keys");
    named(run(SIZES.span, 70, q, &Keys { persistent: Some((k, v.sub(0, 5))), ..good }, enough), "persistent values");
    named(run(SIZES.span, 70, q, &Keys { tokens: (k, v.t()), ..good }, enough), "token values");
    assert_eq!(run(SIZES.span, 70, q, &good, enough), None);
    assert_eq!(scratch_len(Span::Window(usize::MAX), 1, 0, true), usize::MAX);
}
