//! The token step's operations as work for every instruction set.

use super::dispatch::{Job, SimdScalar};
use super::vector::Vector;
use super::{back, carry, sweep};
use crate::arithmetic::{Arithmetic, Carried, Carry, Learn, Portable, Probe};

/// The operands of [`Arithmetic::vecmat`].
pub struct VecMat<'a, T> {
    pub x: &'a [T],
    pub w: &'a [T],
    pub out: &'a mut [T],
}

impl<T: SimdScalar> VecMat<'_, T> {
    pub fn portable(self) {
        Portable.vecmat(self.x, self.w, self.out);
    }
}

impl<T: SimdScalar> Job<T> for VecMat<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: the same contract.
        unsafe { sweep::vecmat::<V>(self.x, self.w, self.out) }
    }
}

/// The operands of [`Arithmetic::matvec`].
pub struct MatVec<'a, T> {
    pub w: &'a [T],
    pub delta: &'a [T],
    pub out: &'a mut [T],
}

impl<T: SimdScalar> MatVec<'_, T> {
    pub fn portable(self) {
        Portable.matvec(self.w, self.delta, self.out);
    }
}

impl<T: SimdScalar> Job<T> for MatVec<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: the same contract.
        unsafe { back::matvec::<V>(self.w, self.delta, self.out) }
    }
}

/// The operands of [`Arithmetic::learn`].
pub struct Learning<'a, T> {
    pub change: Learn<'a, T>,
    pub w: &'a mut [T],
    pub s: &'a mut [T],
    pub probes: [Option<Probe<'a, T>>; 2],
}

impl<T: SimdScalar> Learning<'_, T> {
    pub fn portable(self) {
        Portable.learn(self.change, self.w, self.s, self.probes);
    }
}

impl<T: SimdScalar> Job<T> for Learning<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: the same contract.
        unsafe { sweep::learn::<V>(self.change, self.w, self.s, self.probes) }
    }
}

/// The operands of [`Arithmetic::carry`].
pub struct Carrying<'a, T> {
    pub tokens: Carry<'a, T>,
    pub out: Carried<'a, T>,
}

impl<T: SimdScalar> Carrying<'_, T> {
    pub fn portable(self) {
        Portable.carry(self.tokens, self.out);
    }
}

impl<T: SimdScalar> Job<T> for Carrying<'_, T> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector<T = T>>(self) {
        // SAFETY: the same contract.
        unsafe { carry::carry::<V>(self.tokens, self.out) }
    }
}
