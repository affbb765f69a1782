//! The token step for any [`Vector`]: sweeps over a strip of columns of W and S.
//!
//! A strip is up to [`Vector::ACROSS`] registers wide. Every element of a product x W is two chains of fused
//! multiply-adds, over the even and over the odd rows, each ascending, which are added at the end: two, so that even a
//! strip of one register keeps the multiplier busy. That, and everything else, is the same for every strip and every
//! register.

use super::unroll::each;
use super::vector::Vector;
use crate::scalar::Scalar;

/// Columns of W and S.
#[derive(Clone, Copy)]
pub(super) struct TokenStrip<T> {
    pub w: *mut T,
    /// Not used where nothing is learned.
    pub s: *mut T,
    /// From one row to the next.
    pub stride: usize,
    pub rows: usize,
    /// Columns in the register of a strip with a mask.
    pub rest: usize,
}

/// What a sweep does to a strip; all x have as many numbers as the strip has rows.
#[derive(Clone, Copy)]
pub(super) struct Change<V: Vector, const N: usize> {
    pub x: *const V::T,
    pub delta: [V; N],
    pub keep: V,
    pub eta: V,
}

/// Changes the strip if `change` says how, and multiplies `p` and `q` by what it holds then.
///
/// # Safety
/// Only inside a function that enables V's instructions. The strip's elements are valid (for N = 1 with `MASK` only the
/// first `rest` columns) and so are all x.
#[inline(always)]
pub(super) unsafe fn pass<V: Vector, const N: usize, const MASK: bool>(
    strip: TokenStrip<V::T>,
    change: Option<Change<V, N>>,
    p: Option<*const V::T>,
    q: Option<*const V::T>,
) -> [[V; N]; 2] {
    // SAFETY: the same contract; a sweep without `LEARN` does not look at the change, one of fewer probes not at the
    // others.
    unsafe {
        let none = strip.w.cast_const();
        let zero = V::splat(V::T::ZERO);
        match (change, p, q) {
            (Some(c), Some(p), Some(q)) => sweep::<V, N, MASK, true, 2>(strip, c, [p, q]),
            (Some(c), Some(p), None) => sweep::<V, N, MASK, true, 1>(strip, c, [p, none]),
            (Some(c), None, Some(q)) => {
                let [y, nothing] = sweep::<V, N, MASK, true, 1>(strip, c, [q, none]);
                [nothing, y]
            }
            (Some(c), None, None) => sweep::<V, N, MASK, true, 0>(strip, c, [none, none]),
            (None, p, q) => {
                let c = Change { x: none, delta: [zero; N], keep: zero, eta: zero };
                match (p, q) {
                    (Some(p), Some(q)) => sweep::<V, N, MASK, false, 2>(strip, c, [p, q]),
                    (Some(p), None) => sweep::<V, N, MASK, false, 1>(strip, c, [p, none]),
                    (None, Some(q)) => {
                        let [y, nothing] = sweep::<V, N, MASK, false, 1>(strip, c, [q, none]);
                        [nothing, y]
                    }
                    (None, None) => [[zero; N]; 2],
                }
            }
        }
    }
}

/// [`pass`] with P probes.
#[inline(always)]
unsafe fn sweep<V: Vector, const N: usize, const MASK: bool, const LEARN: bool, const P: usize>(
    strip: TokenStrip<V::T>,
    c: Change<V, N>,
    probes: [*const V::T; 2],
) -> [[V; N]; 2] {
    // SAFETY: the same contract.
    unsafe {
        let zero = [[V::splat(V::T::ZERO); N]; 2];
        let [mut even, odd] = rows::<V, N, MASK, LEARN, P>(strip, c, probes, [zero; 2]);
        each!(I < 2 => each!(J < N => even[I][J] = even[I][J].add(odd[I][J])));
        even
    }
}

/// The chains of [`pass`], even and odd, continued over a strip's rows.
#[inline(always)]
pub(super) unsafe fn rows<V: Vector, const N: usize, const MASK: bool, const LEARN: bool, const P: usize>(
    strip: TokenStrip<V::T>,
    c: Change<V, N>,
    probes: [*const V::T; 2],
    [mut even, mut odd]: [[[V; N]; 2]; 2],
) -> [[[V; N]; 2]; 2] {
    // SAFETY: the caller's promise; rows 0 .. rows are visited once each.
    unsafe {
        let (mut w, mut s, mut i) = (strip.w, strip.s, 0);
        while i + 2 <= strip.rows {
            row::<V, N, MASK, LEARN, P>(&mut even, w, s, i, strip.rest, &c, probes);
            (w, s) = (w.wrapping_add(strip.stride), s.wrapping_add(strip.stride));
            row::<V, N, MASK, LEARN, P>(&mut odd, w, s, i + 1, strip.rest, &c, probes);
            (w, s) = (w.wrapping_add(strip.stride), s.wrapping_add(strip.stride));
            i += 2;
        }
        if i < strip.rows {
            row::<V, N, MASK, LEARN, P>(&mut even, w, s, i, strip.rest, &c, probes);
        }
        [even, odd]
    }
}

/// Row i of a sweep.
#[inline(always)]
unsafe fn row<V: Vector, const N: usize, const MASK: bool, const LEARN: bool, const P: usize>(
    sum: &mut [[V; N]; 2],
    w: *mut V::T,
    s: *mut V::T,
    i: usize,
    rest: usize,
    c: &Change<V, N>,
    probes: [*const V::T; 2],
) {
    // SAFETY: the caller's promise: row i of the strip, and element i of x and of the first P probes, are valid.
    unsafe {
        let zero = V::splat(V::T::ZERO);
        let x = if LEARN { V::splat(*c.x.add(i)) } else { zero };
        let mut probe = [zero; 2];
        each!(I < 2 => if I < P { probe[I] = V::splat(*probes[I].add(i)) });
        each!(J < N => {
            let (w, s) = (w.add(J * V::LANES), s.wrapping_add(J * V::LANES));
            let mut new = if MASK { V::load_first(w, rest) } else { V::load(w) };
            if LEARN {
                let old = if MASK { V::load_first(s, rest) } else { V::load(s) };
                let momentum = x.mul_add(c.delta[J], c.eta.mul(old));
                new = c.keep.mul_add(new, momentum);
                if MASK {
                    momentum.store_first(s, rest);
                    new.store_first(w, rest);
                } else {
                    momentum.store(s);
                    new.store(w);
                }
            }
            each!(I < 2 => if I < P { sum[I][J] = probe[I].mul_add(new, sum[I][J]) });
        });
    }
}

/// Runs `$body` over the columns `0 .. $d` in strips: `$n` registers from column `$j` on, `$mask` for the last columns
/// that fill no register.
macro_rules! strips {
    ($V:ident, $d:expr, $across:expr, |$j:ident, $n:ident, $mask:ident| $body:expr) => {{
        let (d, mut $j): (usize, usize) = ($d, 0);
        if $V::ACROSS >= 4 && $across >= 4 {
            const $n: usize = 4;
            const $mask: bool = false;
            while $j + $n * $V::LANES <= d {
                $body;
                $j += $n * $V::LANES;
            }
        }
        if $across >= 2 {
            const $n: usize = 2;
            const $mask: bool = false;
            while $j + $n * $V::LANES <= d {
                $body;
                $j += $n * $V::LANES;
            }
        }
        {
            const $n: usize = 1;
            const $mask: bool = false;
            while $j + $V::LANES <= d {
                $body;
                $j += $V::LANES;
            }
        }
        if $j < d {
            const $n: usize = 1;
            const $mask: bool = true;
            $body;
        }
    }};
}

pub(super) use strips;

/// The first N registers from `p`, or `rest` numbers with `MASK`.
#[inline(always)]
pub(super) unsafe fn load<V: Vector, const N: usize, const MASK: bool>(p: *const V::T, rest: usize) -> [V; N] {
    // SAFETY: the caller's promise: so many numbers are valid.
    unsafe {
        let mut out = [V::splat(V::T::ZERO); N];
        each!(J < N => out[J] = if MASK { V::load_first(p, rest) } else { V::load(p.add(J * V::LANES)) });
        out
    }
}

/// N registers to `p`, or `rest` numbers with `MASK`.
#[inline(always)]
pub(super) unsafe fn store<V: Vector, const N: usize, const MASK: bool>(x: [V; N], p: *mut V::T, rest: usize) {
    // SAFETY: the caller's promise: so many numbers are valid.
    unsafe {
        each!(J < N => if MASK { x[J].store_first(p, rest) } else { x[J].store(p.add(J * V::LANES)) });
    }
}
