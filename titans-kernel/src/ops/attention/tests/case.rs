//! A case of attention with its numbers, the definition in `f64`, and calls of the operation.

use crate::arithmetic::Arithmetic;
use crate::ops::attention::{
    Answered, AttentionGradients, Keys, Queries, Span, forward, scratch_len, vjp, vjp_scratch_len,
};
use crate::ops::check::{poison, values};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};
use std::vec::Vec;

/// Sizes: `n` queries from number `first` on, keys from number `first_key` to the last query, heads of width c.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub(super) span: Span,
    pub(super) first: u64,
    pub(super) n: usize,
    pub(super) first_key: u64,
    pub(super) c: usize,
    pub(super) persistent: usize,
    pub(super) context: bool,
}

impl Sizes {
    pub(super) fn tokens(&self) -> usize {
        (self.first - self.first_key) as usize + self.n
    }
}

/// All inputs: q, q_rotated, then keys and values of persistent, context and tokens.
#[derive(Clone, Debug)]
pub(super) struct AttentionCase<T> {
    pub(super) sizes: Sizes,
    pub(super) x: [Vec<T>; 8],
}

/// Which of [`AttentionCase::x`].
pub(super) const Q: usize = 0;
pub(super) const Q_ROTATED: usize = 1;
pub(super) const PERSISTENT: usize = 2;
pub(super) const CONTEXT: usize = 4;
pub(super) const TOKENS: usize = 6;

impl<T: Scalar> AttentionCase<T> {
    pub(super) fn new(sizes: Sizes, seed: u64) -> Self {
        let Sizes { n, c, .. } = sizes;
        let (p, t) = (sizes.persistent, sizes.tokens());
        let h = if sizes.context { t } else { 0 };
        let rows = [n, n, p, p, h, h, t, t];
        let x = core::array::from_fn(|i| values(rows[i] * c, 10 * seed + i as u64));
        Self { sizes, x }
    }

    pub(super) fn mat(&self, i: usize) -> Mat<'_, T> {
        let c = self.sizes.c;
        Mat::new(&self.x[i], self.x[i].len() / c, c).unwrap()
    }

    pub(super) fn keys(&self) -> Keys<'_, T> {
        let pair = |i| (self.mat(i), self.mat(i + 1));
        Keys {
            persistent: (self.sizes.persistent > 0).then(|| pair(PERSISTENT)),
            context: self.sizes.context.then(|| pair(CONTEXT)),
            tokens: pair(TOKENS),
            first: self.sizes.first_key,
        }
    }

    /// Queries `from .. from + n` of the case: (y, log_sum).
    pub(super) fn part<G: Arithmetic<T>>(&self, g: &G, from: usize, n: usize) -> (Vec<T>, Vec<T>) {
        let Sizes { span, c, persistent, context, first, .. } = self.sizes;
        let (mut y, mut sums) = (poison(n * c), poison(n));
        let mut scratch = poison(scratch_len(span, n, persistent, context));
        let (q, rotated) = (self.mat(Q).sub(from, n), self.mat(Q_ROTATED).sub(from, n));
        let out = MatMut::new(&mut y, n, c).unwrap();
        forward(
            g,
            span,
            Queries { first: first + from as u64, q, q_rotated: rotated },
            &self.keys(),
            out,
            Some(&mut sums),
            &mut scratch,
        )
        .unwrap();
        (y, sums)
    }

    pub(super) fn run<G: Arithmetic<T>>(&self, g: &G) -> (Vec<T>, Vec<T>) {
        self.part(g, 0, self.sizes.n)
    }

    /// Gradients of everything, in the order of [`AttentionCase::x`], of queries in pieces that end at `cuts`; those of
    /// keys and values are added to `before`.
    pub(super) fn gradients<G: Arithmetic<T>>(&self, g: &G, d_y: &[T], before: T, cuts: &[usize]) -> [Vec<T>; 8] {
        let Sizes { span, c, persistent, context, first, n, .. } = self.sizes;
        let (y, sums) = self.run(g);
        let mut d: [Vec<T>; 8] = core::array::from_fn(|i| match i {
            Q | Q_ROTATED => poison(n * c),
            _ => std::vec![before; self.x[i].len()],
        });
        let mut from = 0;
        for to in cuts.iter().copied().chain([n]) {
            let rows = to - from;
            let mut views = d.iter_mut().map(|d| {
                let rows = d.len() / c;
                MatMut::new(d, rows, c).unwrap()
            });
            let mut next = || views.next().unwrap();
            let gradients = AttentionGradients {
                q: next().sub(from, rows),
                q_rotated: next().sub(from, rows),
                persistent: Some((next(), next())),
                context: Some((next(), next())),
                tokens: (next(), next()),
            };
            let (y, d_y) = (Mat::new(&y[from * c..], rows, c).unwrap(), Mat::new(&d_y[from * c..], rows, c).unwrap());
            let (q, rotated) = (self.mat(Q).sub(from, rows), self.mat(Q_ROTATED).sub(from, rows));
            let mut scratch = poison(vjp_scratch_len(span, rows, persistent, context));
            let (at, sums) = (first + from as u64, &sums[from..to]);
            vjp(
                g,
                span,
                Queries { first: at, q, q_rotated: rotated },
                &self.keys(),
                Answered { y, log_sum: sums, d_y },
                gradients,
                &mut scratch,
            )
            .unwrap();
            from = to;
        }
        d
    }
}

/// The definition: (y, log_sum).
pub(super) fn naive(case: &AttentionCase<f64>) -> (Vec<f64>, Vec<f64>) {
    let Sizes { span, first, n, first_key, c, .. } = case.sizes;
    let (mut y, mut sums) = (Vec::new(), Vec::new());
    for r in 0..n {
        let i = first + r as u64;
        let sees = |j: u64| match span {
            Span::Window(w) => j <= i && j + w as u64 > i,
            Span::Segment(c) => j <= i && j / c as u64 == i / c as u64,
        };
        let mut seen = Vec::new(); // (score, value)
        for (query, keys) in [(Q, PERSISTENT), (Q_ROTATED, CONTEXT), (Q_ROTATED, TOKENS)] {
            let q = &case.x[query][r * c..(r + 1) * c];
            let rows = case.x[keys].chunks(c).zip(case.x[keys + 1].chunks(c)).enumerate();
            for (_, (k, v)) in rows.filter(|(j, _)| keys == PERSISTENT || sees(first_key + *j as u64)) {
                let score = q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>() / (c as f64).sqrt();
                seen.push((score, v));
            }
        }
        let sum: f64 = seen.iter().map(|(s, _)| s.exp()).sum();
        sums.push(sum.ln());
        y.extend((0..c).map(|l| seen.iter().map(|(s, v)| s.exp() / sum * v[l]).sum::<f64>()));
    }
    (y, sums)
}

/// Cases of every kind of edge: windows and segments below, at and above the blocks of 16 and 32, starts and ends of
/// sequences, widths of 1, primes, and one off registers.
pub(super) fn cases() -> Vec<Sizes> {
    use Span::{Segment, Window};
    let mut all = Vec::new();
    for (i, &n) in [1, 2, 5, 15, 16, 17, 31, 32, 33, 47, 64, 65, 101].iter().enumerate() {
        for (k, &span) in [1, 2, 3, 7, 15, 16, 17, 31, 32, 33, 64, 100].iter().enumerate() {
            let c = [1, 2, 7, 16, 17, 33, 64][(i + k) % 7];
            let (persistent, context) = ([0, 1, 5, 16, 17][(i + 2 * k) % 5], (i + k) % 3 == 0);
            for (first, first_key) in [(0, 0), (1, 1), (50, 0), (150, 48), (1000, 896)] {
                for span in [Window(span), Segment(span)] {
                    if span.oldest(first) >= first_key {
                        all.push(Sizes { span, first, n, first_key, c, persistent, context });
                    }
                }
            }
        }
    }
    all
}
