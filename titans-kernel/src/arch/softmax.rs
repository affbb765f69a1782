//! Softmax of queries in columns, a register of queries at a time, and of a query in a row.

use crate::part::sure;
use core::ops::Range;

use super::dispatch::{Job, SimdScalar};
use super::unroll::each;
use super::vector::Vector;
use crate::arithmetic::{Arithmetic, Columns, Portable, QUERIES, SUMS, Seen, tree};
use crate::scalar::Scalar;
use crate::view::MatMut;

impl<T: SimdScalar> Columns<'_, T> {
    pub(super) fn portable(self) -> [[T; QUERIES]; 2] {
        Portable.softmax_columns(self)
    }
}

impl<T: SimdScalar> Job<T> for Columns<'_, T> {
    type Output = [[T; QUERIES]; 2];

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) -> Self::Output {
        const { assert!(SUMS.is_multiple_of(V::LANES)) };
        let mut found = [[T::ZERO; QUERIES]; 2];
        if !self.check() {
            return found;
        }
        let Self { scale, queries, keys, scores } = self;
        let scores = scores.as_mut_ptr().cast::<T>();
        // Groups as wide as their sums' readers take them: what the group sees is written in all of its lanes.
        for group in (0..queries).step_by(SUMS) {
            for r in (group..group + SUMS).step_by(V::LANES) {
                // SAFETY: `check` found the keys of every run inside the scores, whose rows hold the registers of all
                // groups. The instructions are the caller's promise.
                unsafe {
                    let m = largest::<V>(keys, scores.add(r), group, r);
                    let sum = exponentials::<V>(scale, keys, scores.add(r), group, m);
                    m.store(found[0].as_mut_ptr().add(r));
                    sum.store(found[1].as_mut_ptr().add(r));
                }
            }
        }
        found
    }
}

/// The largest score of a register of queries; −∞ comes where a query does not see a key.
#[inline(always)]
unsafe fn largest<V: Vector>(keys: &[Seen], scores: *mut V::T, group: usize, r: usize) -> V {
    // SAFETY: as `run`.
    unsafe {
        let nothing = V::splat(V::T::from_f64(f64::NEG_INFINITY));
        let mut m = [nothing; 4];
        for run in keys {
            let (range, whole) = (run.range(group, SUMS), run.by_all(r, V::LANES));
            let low = whole.start.clamp(range.start, range.end);
            let high = whole.end.clamp(low, range.end);
            let at = |s: usize| scores.add((run.first + s) * QUERIES);
            // The registers of the first keys see one key more with every key, those of the last keys one less.
            m[0] = corner(run, range.start..low, r, at(0), m[0]);
            m[1] = corner(run, high..range.end, r, at(0), m[1]);
            let mut s = low;
            while s + 4 <= high {
                each!(J < 4 => m[J] = V::load(at(s + J)).max(m[J]));
                s += 4;
            }
            while s < high {
                m[0] = V::load(at(s)).max(m[0]);
                s += 1;
            }
        }
        m[2].max(m[0]).max(m[3].max(m[1]))
    }
}

/// −∞ where one of a register of queries does not see one of the keys `range`; the larger of m and what they see.
#[inline(always)]
unsafe fn corner<V: Vector>(run: &Seen, range: Range<usize>, r: usize, scores: *mut V::T, m: V) -> V {
    // SAFETY: as `run`.
    unsafe {
        let nothing = V::splat(V::T::from_f64(f64::NEG_INFINITY));
        let mut m = m;
        let at = |s: usize| scores.add(s * QUERIES);
        let (mut from, mut to) = run.lanes(range.start, r, V::LANES);
        if run.lanes(range.end.saturating_sub(1), r, V::LANES).0 == 0 && to > 0 {
            for s in range {
                let x = V::load(at(s)).keep(0, to, nothing);
                x.store(at(s));
                (m, to) = (x.max(m), (to + 1).min(V::LANES));
            }
        } else if to == V::LANES && from > 0 {
            for s in range {
                let x = V::load(at(s)).keep(from, V::LANES, nothing);
                x.store(at(s));
                (m, from) = (x.max(m), (from + 1).min(V::LANES));
            }
        } else {
            for s in range {
                let (from, to) = run.lanes(s, r, V::LANES);
                let x = V::load(at(s)).keep(from, to, nothing);
                x.store(at(s));
                m = x.max(m);
            }
        }
        m
    }
}

/// `e^(scale (x − m))` of a register of queries, in place; their sums.
#[inline(always)]
unsafe fn exponentials<V: Vector>(scale: V::T, keys: &[Seen], scores: *mut V::T, group: usize, m: V) -> V {
    // SAFETY: as `run`.
    unsafe {
        let scale = V::splat(scale);
        let mut sums = [V::splat(V::T::ZERO); SUMS];
        for run in keys {
            let range = run.range(group, SUMS);
            let mut at = scores.wrapping_add((run.first + range.start) * QUERIES);
            let mut lane = run.lane + range.start;
            let mut left = range.len();
            while left >= 8 {
                several::<V, 8>(m, scale, at, lane, &mut sums);
                (at, lane, left) = (at.wrapping_add(8 * QUERIES), lane + 8, left - 8);
            }
            if left >= 4 {
                several::<V, 4>(m, scale, at, lane, &mut sums);
                (at, lane, left) = (at.wrapping_add(4 * QUERIES), lane + 4, left - 4);
            }
            for _ in 0..left {
                several::<V, 1>(m, scale, at, lane, &mut sums);
                (at, lane) = (at.wrapping_add(QUERIES), lane + 1);
            }
        }
        // The tree of all reductions over rows, for every query.
        add_half::<V, 8>(&mut sums);
        add_half::<V, 4>(&mut sums);
        add_half::<V, 2>(&mut sums);
        add_half::<V, 1>(&mut sums);
        sums[0]
    }
}

/// One level of the tree: sums HALF .. 2 HALF onto those before them.
#[inline(always)]
unsafe fn add_half<V: Vector, const HALF: usize>(sums: &mut [V; SUMS]) {
    for i in 0..HALF {
        // SAFETY: the caller enables the instructions.
        sums[i] = unsafe { sums[i].add(sums[i + HALF]) };
    }
}

/// R keys of [`exponentials`], operation by operation.
#[inline(always)]
unsafe fn several<V: Vector, const R: usize>(m: V, scale: V, at: *mut V::T, lane: usize, sums: &mut [V; SUMS]) {
    // SAFETY: as `run`: R rows of scores from `at` on.
    unsafe {
        let mut x = [m; R];
        each!(I < R => x[I] = V::load(at.add(I * QUERIES)).sub(m));
        each!(I < R => x[I] = x[I].mul(scale));
        let e = V::exp(x);
        each!(I < R => e[I].store(at.add(I * QUERIES)));
        each!(I < R => sums[(lane + I) % SUMS] = sums[(lane + I) % SUMS].add(e[I]));
    }
}

/// The operands of [`Arithmetic::softmax_row`].
pub struct Row<'a, T>(pub T, pub &'a mut [T]);

impl<T: SimdScalar> Row<'_, T> {
    pub(super) fn portable(self) -> [T; 2] {
        Portable.softmax_row(self.0, self.1)
    }
}

impl<T: SimdScalar> Job<T> for Row<'_, T> {
    type Output = [T; 2];

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) -> [T; 2] {
        const { assert!(SUMS.is_multiple_of(V::LANES)) };
        let (blocks, _) = self.1.as_chunks_mut::<SUMS>();
        let (mut largest, mut sums) = ([T::from_f64(f64::NEG_INFINITY); SUMS], [T::ZERO; SUMS]);
        for l in (0..SUMS).step_by(V::LANES) {
            // SAFETY: blocks hold whole registers. The instructions are the caller's promise.
            unsafe {
                let mut m = V::load(largest.as_ptr().add(l));
                for x in blocks.iter() {
                    m = V::load(x.as_ptr().add(l)).max(m);
                }
                m.store(largest.as_mut_ptr().add(l));
            }
        }
        let m = largest.iter().fold(largest[0], |m, &x| if x > m { x } else { m });
        for l in (0..SUMS).step_by(V::LANES) {
            // SAFETY: as above.
            unsafe {
                let (m, scale, mut sum) = (V::splat(m), V::splat(self.0), V::splat(T::ZERO));
                let (fours, rest) = blocks.as_chunks_mut::<4>();
                for four in fours {
                    let mut x = [m; 4];
                    each!(J < 4 => x[J] = V::load(four[J].as_ptr().add(l)).sub(m).mul(scale));
                    let e = V::exp(x);
                    each!(J < 4 => e[J].store(four[J].as_mut_ptr().add(l)));
                    each!(J < 4 => sum = sum.add(e[J]));
                }
                for one in rest {
                    let [e] = V::exp([V::load(one.as_ptr().add(l)).sub(m).mul(scale)]);
                    e.store(one.as_mut_ptr().add(l));
                    sum = sum.add(e);
                }
                sum.store(sums.as_mut_ptr().add(l));
            }
        }
        [m, tree(&sums)]
    }
}

/// The operands of [`Arithmetic::scale_rows`].
pub struct Scaled<'a, T>(pub &'a [T], pub MatMut<'a, T>);

impl<T: SimdScalar> Scaled<'_, T> {
    pub(super) fn portable(self) -> bool {
        Portable.scale_rows(self.0, self.1)
    }
}

impl<T: SimdScalar> Job<T> for Scaled<'_, T> {
    type Output = bool;

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) -> bool {
        let Self(factors, mut y) = self;
        sure!(factors.len() == y.rows(), "a factor for every row", false);
        let (width, stride) = (y.cols(), y.row_stride());
        let y = y.data_mut().as_mut_ptr();
        // SAFETY: rows of `width` numbers, `stride` apart, lie inside y. The instructions are the caller's promise.
        unsafe {
            // NaN from x · 0 stays in its sum.
            let zero = V::splat(T::ZERO);
            let mut zeros = [zero; 4];
            for (r, &factor) in factors.iter().enumerate() {
                let (row, factor, mut c) = (y.add(r * stride), V::splat(factor), 0);
                while c + 4 * V::LANES <= width {
                    each!(J < 4 => {
                        let at = row.add(c + J * V::LANES);
                        let x = V::load(at).mul(factor);
                        x.store(at);
                        zeros[J] = x.mul_add(zero, zeros[J]);
                    });
                    c += 4 * V::LANES;
                }
                while c < width {
                    let (at, some) = (row.add(c), V::LANES.min(width - c));
                    let x = V::load_first(at, some).mul(factor);
                    x.store_first(at, some);
                    zeros[0] = x.mul_add(zero, zeros[0]);
                    c += V::LANES;
                }
            }
            let mut all = [T::ZERO; 16];
            zeros[0].add(zeros[1]).add(zeros[2].add(zeros[3])).store(all.as_mut_ptr());
            all.iter().all(|&zero| zero == T::ZERO)
        }
    }
}
