//! SiLU and its derivatives, registers at a time.

use super::dispatch::{Job, SimdScalar};
use super::unroll::each;
use super::vector::Vector;
use crate::arithmetic::{Arithmetic, Portable, Silu, SiluOf};
use crate::scalar::Scalar;

impl<T: SimdScalar> Silu<'_, T> {
    pub(super) fn portable(self) {
        Portable.silu(self);
    }
}

impl<T: SimdScalar> Job<T> for Silu<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        let n = self.len();
        let (x, y) = (self.x.map(<[T]>::as_ptr), self.y.map(<[T]>::as_mut_ptr));
        let at = |i: usize, lanes: usize| SiluLanes { x, y, i, lanes };
        let mut i = 0;
        // SAFETY: all slices that `of` uses hold n numbers, and no others are touched. The instructions are the
        // caller's promise.
        unsafe {
            while i + 4 * V::LANES <= n {
                several::<V, 4>(self.of, at(i, V::LANES));
                i += 4 * V::LANES;
            }
            while i < n {
                several::<V, 1>(self.of, at(i, V::LANES.min(n - i)));
                i += V::LANES;
            }
        }
    }
}

/// Numbers from i on; `lanes` of them in a register.
#[derive(Clone, Copy)]
struct SiluLanes<T> {
    x: [*const T; 3],
    y: [*mut T; 2],
    i: usize,
    lanes: usize,
}

impl<T: Scalar> SiluLanes<T> {
    #[inline(always)]
    unsafe fn load<V: Vector<T = T>>(&self, p: *const T) -> V {
        // SAFETY: the caller's promise: so many numbers are valid there.
        unsafe {
            let p = p.add(self.i);
            if self.lanes == V::LANES { V::load(p) } else { V::load_first(p, self.lanes) }
        }
    }

    #[inline(always)]
    unsafe fn store<V: Vector<T = T>>(&self, k: usize, v: V) {
        // SAFETY: the caller's promise: so many numbers are valid there.
        unsafe {
            let p = self.y[k].add(self.i);
            if self.lanes == V::LANES { v.store(p) } else { v.store_first(p, self.lanes) }
        }
    }
}

/// R registers, whose exponentials are computed side by side.
///
/// # Safety
/// The numbers of all slices that `of` uses are valid; V's instructions are enabled.
#[inline(always)]
unsafe fn several<V: Vector, const R: usize>(of: SiluOf, first: SiluLanes<V::T>) {
    // SAFETY: the same contract.
    unsafe {
        let mut z = [V::splat(V::T::ZERO); R];
        let mut seed = z;
        each!(K < R => {
            z[K] = SiluLanes { i: first.i + K * V::LANES, ..first }.load(first.x[0]);
            seed[K] = z[K].below();
        });
        let seed = V::exp(seed);
        each!(K < R => one::<V>(of, SiluLanes { i: first.i + K * V::LANES, ..first }, z[K], seed[K]));
    }
}

/// One register, operation by operation as the portable loops.
#[inline(always)]
unsafe fn one<V: Vector>(of: SiluOf, p: SiluLanes<V::T>, x: V, seed: V) {
    // SAFETY: as `several`.
    unsafe {
        let one = V::splat(V::T::ONE);
        let s = one.unless_negative(seed, x).div(one.add(seed));
        let rest = seed.mul(s).unless_negative(one.sub(s), x);
        let first = s.mul(one.add(x.mul(rest)));
        match of {
            SiluOf::Value => p.store(0, x.mul(s)),
            SiluOf::ValueAndSlope => {
                p.store(0, x.mul(s));
                p.store(1, first);
            }
            SiluOf::Slope => p.store(0, p.load::<V>(p.x[1]).mul(first)),
            SiluOf::AddSlope => p.store(0, p.load::<V>(p.y[0]).add(p.load::<V>(p.x[1]).mul(first))),
            SiluOf::Slopes => {
                let second = s.mul(rest).mul(V::splat(V::T::from_f64(2.0)).add(x.mul(rest.sub(s))));
                let (a, b): (V, V) = (p.load(p.x[1]), p.load(p.x[2]));
                p.store(0, b.mul(first));
                p.store(1, b.mul(a).mul(second));
            }
            SiluOf::Gate => p.store(0, p.load::<V>(p.x[1]).mul(x.mul(s))),
            SiluOf::GateSlopes => {
                let (a, b): (V, V) = (p.load(p.x[1]), p.load(p.x[2]));
                p.store(0, b.mul(x.mul(s)));
                p.store(1, b.mul(a).mul(first));
            }
        }
    }
}
