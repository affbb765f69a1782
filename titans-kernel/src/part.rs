//! Places of slices that the sizes of an operation make sure of.
//!
//! Sizes are checked where a caller's buffers come in; inside, a place out of reach is a mistake of the kernel's own.
//! With the feature `strict`, and in tests, it panics, as slices do. Without it nothing of the kernel can panic, which
//! programs for bare metal count on (`.ci/mcu` looks for what could): a part out of reach is empty, a number there
//! is 0, and what is written there is dropped.

use core::slice::SliceIndex;

/// That something holds, or else the function returns what is named last (nothing, if nothing is): the kernel's
/// `assert!`.
macro_rules! sure {
    ($holds:expr, $what:literal $(, $otherwise:expr)?) => {
        if cfg!(any(debug_assertions, feature = "strict")) {
            assert!($holds, $what);
        } else if !$holds {
            return $($otherwise)?;
        }
    };
}
pub(crate) use sure;

/// Parts of a slice.
pub(crate) trait Parts<T> {
    /// `&self[range]`.
    fn part<R: SliceIndex<[T], Output = [T]>>(&self, range: R) -> &[T];
    /// `&mut self[range]`.
    fn part_mut<R: SliceIndex<[T], Output = [T]>>(&mut self, range: R) -> &mut [T];
    /// `self.split_at(at)`.
    fn halves(&self, at: usize) -> (&[T], &[T]);
    /// `self.split_at_mut(at)`.
    fn halves_mut(&mut self, at: usize) -> (&mut [T], &mut [T]);
    /// `self[i]`.
    fn item(&self, i: usize) -> T
    where
        T: Copy + Default;
    /// `self[i] = x`.
    fn put(&mut self, i: usize, x: T);
    /// `self.copy_within(from..from + n, to)`.
    fn move_within(&mut self, from: usize, n: usize, to: usize)
    where
        T: Copy;
    /// `self.copy_from_slice(from)`.
    fn become_copy(&mut self, from: &[T])
    where
        T: Copy;
}

#[cfg(any(debug_assertions, feature = "strict"))]
impl<T> Parts<T> for [T] {
    #[inline(always)]
    #[track_caller]
    fn part<R: SliceIndex<[T], Output = [T]>>(&self, range: R) -> &[T] {
        &self[range]
    }
    #[inline(always)]
    #[track_caller]
    fn part_mut<R: SliceIndex<[T], Output = [T]>>(&mut self, range: R) -> &mut [T] {
        &mut self[range]
    }
    #[inline(always)]
    #[track_caller]
    fn halves(&self, at: usize) -> (&[T], &[T]) {
        self.split_at(at)
    }
    #[inline(always)]
    #[track_caller]
    fn halves_mut(&mut self, at: usize) -> (&mut [T], &mut [T]) {
        self.split_at_mut(at)
    }
    #[inline(always)]
    #[track_caller]
    fn item(&self, i: usize) -> T
    where
        T: Copy + Default,
    {
        self[i]
    }
    #[inline(always)]
    #[track_caller]
    fn put(&mut self, i: usize, x: T) {
        self[i] = x;
    }
    #[inline(always)]
    #[track_caller]
    fn move_within(&mut self, from: usize, n: usize, to: usize)
    where
        T: Copy,
    {
        self.copy_within(from..from + n, to);
    }
    #[inline(always)]
    #[track_caller]
    fn become_copy(&mut self, from: &[T])
    where
        T: Copy,
    {
        self.copy_from_slice(from);
    }
}

#[cfg(not(any(debug_assertions, feature = "strict")))]
impl<T> Parts<T> for [T] {
    #[inline(always)]
    fn part<R: SliceIndex<[T], Output = [T]>>(&self, range: R) -> &[T] {
        self.get(range).unwrap_or(&[])
    }
    #[inline(always)]
    fn part_mut<R: SliceIndex<[T], Output = [T]>>(&mut self, range: R) -> &mut [T] {
        self.get_mut(range).unwrap_or(&mut [])
    }
    #[inline(always)]
    fn halves(&self, at: usize) -> (&[T], &[T]) {
        self.split_at(at.min(self.len()))
    }
    #[inline(always)]
    fn halves_mut(&mut self, at: usize) -> (&mut [T], &mut [T]) {
        let at = at.min(self.len());
        self.split_at_mut(at)
    }
    #[inline(always)]
    fn item(&self, i: usize) -> T
    where
        T: Copy + Default,
    {
        self.get(i).copied().unwrap_or_default()
    }
    #[inline(always)]
    fn put(&mut self, i: usize, x: T) {
        if let Some(place) = self.get_mut(i) {
            *place = x;
        }
    }
    #[inline(always)]
    fn move_within(&mut self, from: usize, n: usize, to: usize)
    where
        T: Copy,
    {
        // `copy_within` has panics that the compiler does not see through.
        let mut one = |i: usize| {
            if let Some(&x) = self.get(from + i)
                && let Some(place) = self.get_mut(to + i)
            {
                *place = x;
            }
        };
        if to <= from { (0..n).for_each(&mut one) } else { (0..n).rev().for_each(one) }
    }
    #[inline(always)]
    fn become_copy(&mut self, from: &[T])
    where
        T: Copy,
    {
        let n = self.len().min(from.len());
        self[..n].copy_from_slice(&from[..n]);
    }
}
