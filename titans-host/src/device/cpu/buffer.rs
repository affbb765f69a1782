//! Buffers that come back: a pool of vectors by size, so that a training step allocates nothing after the first.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use titans_kernel::Scalar;

use crate::device::{PoolUsage, room};
use crate::error::Result;

/// Numbers in the host's memory. Dropping one gives its space back to the device's pool.
#[derive(Debug)]
pub struct Buffer<T: Scalar> {
    /// Of the size class of `len`, so that buffers of similar lengths recycle each other.
    data: Aligned<T>,
    len: usize,
    pool: Arc<Pool<T>>,
}

impl<T: Scalar> Buffer<T> {
    /// The elements.
    pub fn as_slice(&self) -> &[T] {
        &self.data.as_slice()[..self.len]
    }

    /// The elements, to write.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.data.as_mut_slice()[..self.len]
    }
}

impl<T: Scalar> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        self.as_slice()
    }
}

impl<T: Scalar> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        self.as_mut_slice()
    }
}

impl<T: Scalar> Drop for Buffer<T> {
    fn drop(&mut self) {
        self.pool.give(std::mem::take(&mut self.data));
    }
}

/// Bytes of a cache line. Registers of 64 bytes that straddle two lines take twice the time to load.
const LINE: usize = 64;

/// A vector of which the elements from the first cache line's start on are used.
#[derive(Debug, Default)]
struct Aligned<T> {
    data: Vec<T>,
    start: usize,
    len: usize,
}

impl<T: Scalar> Aligned<T> {
    /// `len` zeros.
    fn zeros(len: usize) -> Result<Self> {
        let spare = LINE / T::BYTES;
        let data: Vec<T> = allocate(len.saturating_add(spare))?;
        // The offset of an aligned start, if the machine will tell; else any place is as good.
        let start = data.as_ptr().align_offset(LINE).min(spare);
        Ok(Self { data, start, len })
    }

    fn len(&self) -> usize {
        self.len
    }

    fn as_slice(&self) -> &[T] {
        &self.data[self.start..self.start + self.len]
    }

    fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.data[self.start..self.start + self.len]
    }
}

/// Vectors that nobody uses now, by their length.
#[derive(Debug, Default)]
pub(super) struct Pool<T> {
    state: Mutex<PoolState<T>>,
}

#[derive(Debug)]
struct PoolState<T> {
    idle: BTreeMap<usize, Class<T>>,
    /// Counts what is given back.
    clock: u64,
    /// Elements in `idle`, in buffers, and the most there ever were in buffers.
    idle_len: usize,
    live_len: usize,
    peak_len: usize,
    /// The most in buffers since [`Pool::restart_peak`].
    recent_len: usize,
}

/// The idle vectors of one length, and when one of them was last given back.
#[derive(Debug)]
struct Class<T> {
    vectors: Vec<Aligned<T>>,
    given: u64,
}

impl<T> Default for Class<T> {
    fn default() -> Self {
        Self { vectors: Vec::new(), given: 0 }
    }
}

impl<T> Default for PoolState<T> {
    fn default() -> Self {
        Self { idle: BTreeMap::new(), clock: 0, idle_len: 0, live_len: 0, peak_len: 0, recent_len: 0 }
    }
}

/// The length that vectors for `len` elements have: at most an eighth more.
pub(in crate::device) fn size_class(len: usize) -> usize {
    let step = (len.checked_next_power_of_two().unwrap_or(len) / 16).max(16);
    len.checked_next_multiple_of(step).unwrap_or(len)
}

impl<T: Scalar> Pool<T> {
    /// A buffer of `len` elements of unspecified content: NaN in debug builds, so that reading before writing shows.
    pub(super) fn take(self: &Arc<Self>, len: usize) -> Result<Buffer<T>> {
        let class = size_class(len);
        let recycled = {
            let mut state = self.lock();
            let found = state.idle.get_mut(&class).and_then(|class| class.vectors.pop());
            if found.is_some() {
                state.idle_len -= class;
            }
            found
        };
        let mut data = match recycled {
            Some(data) => data,
            None => Aligned::zeros(class)?,
        };
        if cfg!(debug_assertions) {
            data.as_mut_slice().fill(T::NAN);
        }
        let mut state = self.lock();
        state.live_len += class;
        state.peak_len = state.peak_len.max(state.live_len);
        state.recent_len = state.recent_len.max(state.live_len);
        Ok(Buffer { data, len, pool: Arc::clone(self) })
    }

    /// Keeps a vector for later. The idle ones together are never more than one and a half times what was ever in use
    /// at once: those of the length that was not needed for the longest time make place. (Once what was in use is not
    /// enough for work in segments: its many lengths have their most at different times.)
    fn give(&self, data: Aligned<T>) {
        let mut state = self.lock();
        state.live_len -= data.len();
        while state.idle_len + data.len() > state.peak_len + state.peak_len / 2 {
            let oldest = state.idle.values_mut().filter(|class| !class.vectors.is_empty()).min_by_key(|c| c.given);
            let Some(oldest) = oldest.and_then(|class| class.vectors.pop()) else { return };
            state.idle_len -= oldest.len();
        }
        state.idle_len += data.len();
        state.clock += 1;
        let clock = state.clock;
        let class = state.idle.entry(data.len()).or_default();
        class.given = clock;
        class.vectors.push(data);
    }

    /// What the pool holds.
    pub(super) fn usage(&self) -> PoolUsage {
        let state = self.lock();
        let [live, peak, held] =
            [state.live_len, state.recent_len, state.live_len + state.idle_len].map(|len| len.saturating_mul(T::BYTES));
        PoolUsage { live_bytes: live, peak_bytes: peak, held_bytes: held }
    }

    /// Measures the peak from here on.
    pub(super) fn restart_peak(&self) {
        let mut state = self.lock();
        state.recent_len = state.live_len;
    }

    /// Elements kept for later.
    #[cfg(test)]
    pub(super) fn idle_len(&self) -> usize {
        self.lock().idle_len
    }

    fn lock(&self) -> MutexGuard<'_, PoolState<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn allocate<T: Scalar>(len: usize) -> Result<Vec<T>> {
    room::zeros(len, "a buffer", "smaller batches, shorter sequences or pieces (compute_chunk), or a smaller model")
}

/// `u32`s in the host's memory: token ids, targets, masks.
#[derive(Clone, Debug)]
pub struct Indices(pub(super) Vec<u32>);

#[cfg(test)]
mod tests {
    use super::{Pool, size_class};
    use std::sync::Arc;

    #[test]
    fn buffers_recycle_within_their_class_and_never_hoard() {
        let pool = Arc::new(Pool::<f32>::default());
        let first = pool.take(1000).unwrap();
        let address = first.as_slice().as_ptr();
        drop(first);
        let again = pool.take(999).unwrap();
        assert_eq!((again.as_slice().as_ptr(), again.as_slice().len()), (address, 999));
        drop(again);
        assert_eq!(pool.idle_len(), size_class(1000));
        for len in 1..2000 {
            drop(pool.take(len).unwrap());
        }
        assert!(pool.idle_len() <= size_class(1999) * 3 / 2, "{} idle", pool.idle_len());
        assert!(pool.take(usize::MAX / 8).is_err());
        assert_eq!(pool.take(0).unwrap().as_slice().len(), 0);
    }

    #[test]
    fn what_is_used_now_stays_and_what_was_used_once_goes() {
        let pool = Arc::new(Pool::<f32>::default());
        let hold = |len: usize, count: usize| (0..count).map(|_| pool.take(len).unwrap()).collect::<Vec<_>>();
        drop(hold(1000, 10));
        drop(hold(1250, 4)); // the pool is full of these
        drop(hold(500, 4));
        let addresses = |buffers: &[super::Buffer<f32>]| {
            let mut all: Vec<_> = buffers.iter().map(|b| b.as_slice().as_ptr()).collect();
            all.sort();
            all
        };
        let again = hold(500, 4);
        let before = addresses(&again);
        drop(again);
        assert_eq!(addresses(&hold(500, 4)), before, "the same four again");
        assert!(pool.idle_len() <= 15 * size_class(1000));
    }

    #[test]
    fn buffers_start_at_a_cache_line() {
        let (single, double) = (Arc::new(Pool::<f32>::default()), Arc::new(Pool::<f64>::default()));
        for len in [1, 16, 100, 5000] {
            let (a, b) = (single.take(len).unwrap(), double.take(len).unwrap());
            assert_eq!((a.as_slice().as_ptr() as usize % 64, b.as_slice().as_ptr() as usize % 64), (0, 0));
        }
    }

    #[test]
    fn a_class_wastes_at_most_an_eighth() {
        for len in (0..5000).chain([usize::MAX, usize::MAX / 2 + 1]) {
            let class = size_class(len);
            assert!(class >= len && (class - len) as f64 <= (len as f64 / 8.0).max(16.0), "{len} {class}");
        }
    }

    #[test]
    fn fresh_and_recycled_buffers_are_poisoned_in_debug_builds() {
        let pool = Arc::new(Pool::<f64>::default());
        for _ in 0..2 {
            let mut buffer = pool.take(7).unwrap();
            assert_eq!(buffer.as_slice().iter().all(|x| x.is_nan()), cfg!(debug_assertions));
            buffer.as_mut_slice().fill(1.0);
        }
    }
}
