//! Memory of the machine that buffers gave back, kept for the next ones of the same size: a step that is like the
//! one before asks the machine for none.

use super::driver::{Address, Driver};
use super::probe::failed;
use super::watch::Watch;
use crate::device::PoolUsage;
use crate::error::Result;
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Memory, and the number of who has it.
pub(super) type OwnedPlace = (Address, u64);
/// Memory, and its bytes.
pub(super) type SizedPlace = (Address, usize);

/// A machine, and what its buffers gave back.
///
/// All work runs in one order, so that memory may be lent again while operations that use it still wait.
#[derive(Debug)]
pub(super) struct Arena<R: Driver> {
    pub(super) machine: Arc<R>,
    shelves: Mutex<Shelves>,
    /// The step that is being repeated, if one is.
    pub(super) watch: Mutex<Option<Watch>>,
}

#[derive(Debug, Default)]
struct Shelves {
    idle: BTreeMap<usize, Shelf>,
    /// All memory of the machine: its bytes, and the number of who has it; nobody has number 0.
    all: BTreeMap<Address, (usize, u64)>,
    /// Counts what is lent.
    owners: u64,
    /// Counts what is given back.
    clock: u64,
    /// Bytes on the shelves.
    idle_bytes: usize,
    /// Bytes in buffers.
    live: usize,
    /// The most there ever were.
    peak: usize,
    /// The most there were.
    recent: usize,
}

/// Idle memory of one size, and when some was last given back.
#[derive(Debug, Default)]
struct Shelf {
    addresses: Vec<Address>,
    given: u64,
}

impl Shelves {
    fn take(&mut self, bytes: usize) -> Option<Address> {
        let address = self.idle.get_mut(&bytes)?.addresses.pop()?;
        self.idle_bytes -= bytes;
        Some(address)
    }

    fn lent(&mut self, address: Address, bytes: usize) {
        self.owners += 1;
        self.all.insert(address, (bytes, self.owners));
        self.live += bytes;
        self.peak = self.peak.max(self.live);
        self.recent = self.recent.max(self.live);
    }

    /// One of the size that nobody asked for for the longest time.
    fn oldest(&mut self) -> Option<Address> {
        let shelves = self.idle.iter_mut().filter(|(_, shelf)| !shelf.addresses.is_empty());
        let (&bytes, shelf) = shelves.min_by_key(|(_, shelf)| shelf.given)?;
        let address = shelf.addresses.pop()?;
        self.idle_bytes -= bytes;
        self.all.remove(&address);
        Some(address)
    }
}

impl<R: Driver> Arena<R> {
    pub fn new(machine: Arc<R>) -> Self {
        Self { machine, shelves: Mutex::default(), watch: Mutex::default() }
    }

    /// `bytes` of unspecified content, at least 1.
    pub fn alloc(&self, bytes: usize) -> Result<Address> {
        let found = self.lock().take(bytes);
        let recording = self.watch().as_ref().is_some_and(|watch| watch.recording);
        let address = match found {
            Some(address) => address,
            // What a recording asks of the machine would come and go with each replay.
            None if recording => return Err(failed("a step that is recorded needs memory that no step before it had")),
            // Idle memory of other sizes may be all that is in the way.
            None => self.machine.alloc(bytes).or_else(|error| match self.give_all_back() {
                0 => Err(error),
                _ => self.machine.alloc(bytes),
            })?,
        };
        self.lock().lent(address, bytes);
        if let Some(watch) = &mut *self.watch() {
            watch.lent.insert(address);
        }
        Ok(address)
    }

    /// Keeps memory for later. What is idle is never more than one and a half times what was ever in use at once:
    /// memory of the size that was not needed for the longest time goes back to the machine, but within a step that is
    /// repeated.
    ///
    /// # Safety
    /// `address` came from [`Arena::alloc`] with these `bytes`, and nothing uses it any more but what is enqueued
    /// already.
    pub unsafe fn free(&self, address: Address, bytes: usize) {
        // A step that will be replayed needs all its scratch again, at once.
        let repeated = self.watch().is_some();
        let mut shelves = self.lock();
        shelves.live -= bytes;
        shelves.all.insert(address, (bytes, 0));
        while !repeated && shelves.idle_bytes + bytes > shelves.peak + shelves.peak / 2 {
            let Some(oldest) = shelves.oldest() else { break };
            // SAFETY: idle memory of this machine, off the shelves and so freed once.
            unsafe { self.machine.free(oldest) };
        }
        // SAFETY: the caller gave it up; it is lent again by `alloc` alone.
        unsafe { self.machine.retire(address) };
        shelves.idle_bytes += bytes;
        shelves.clock += 1;
        let clock = shelves.clock;
        let shelf = shelves.idle.entry(bytes).or_default();
        shelf.given = clock;
        shelf.addresses.push(address);
    }

    /// What is in buffers, and idle.
    pub fn usage(&self) -> PoolUsage {
        let shelves = self.lock();
        let (live_bytes, peak_bytes) = (shelves.live, shelves.recent);
        PoolUsage { live_bytes, peak_bytes, held_bytes: live_bytes + shelves.idle_bytes }
    }

    /// Whose memory a step worked on: what others had, with their numbers, and what it took, with its bytes.
    pub fn owners(&self, watch: &Watch) -> (Vec<OwnedPlace>, Vec<SizedPlace>) {
        let shelves = self.lock();
        let pieces = watch.places.iter().filter_map(|at| shelves.all.range(..=at).next_back());
        let mut fixed: Vec<_> =
            pieces.filter(|(at, _)| !watch.lent.contains(at)).map(|(&at, &(_, owner))| (at, owner)).collect();
        fixed.dedup();
        let own = watch.lent.iter().filter_map(|&at| Some((at, shelves.all.get(&at)?.0)));
        (fixed, own.collect())
    }

    /// Whether all these have their memory still, and whether nobody has that.
    pub fn has(&self, fixed: &[OwnedPlace], scratch: &[SizedPlace]) -> (bool, bool) {
        let shelves = self.lock();
        let of = |at: &Address| shelves.all.get(at).copied();
        let kept = fixed.iter().all(|(at, owner)| of(at).is_some_and(|(_, now)| now == *owner && now != 0));
        let there = scratch.iter().all(|(at, bytes)| of(at).is_some_and(|(now, _)| now == *bytes));
        let idle = scratch.iter().all(|(at, _)| of(at).is_some_and(|(_, owner)| owner == 0));
        (kept && there, idle)
    }

    /// Empties the shelves; how many pieces of memory lay there.
    fn give_all_back(&self) -> usize {
        let mut shelves = self.lock();
        let mut count = 0;
        while let Some(address) = shelves.oldest() {
            // SAFETY: idle memory of this machine, off the shelves and so freed once.
            unsafe { self.machine.free(address) };
            count += 1;
        }
        count
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R: Driver> Drop for Arena<R> {
    fn drop(&mut self) {
        self.give_all_back();
    }
}

impl<R: Driver> Deref for Arena<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.machine
    }
}

#[cfg(test)]
mod tests {
    use super::Arena;
    use crate::device::cuda::counting::Counting;
    use std::sync::Arc;

    #[test]
    fn memory_recycles_by_size_and_never_hoards() {
        let machine = Arc::new(Counting::default());
        let arena = Arena::new(machine.clone());
        // SAFETY: what this frees was just lent with these bytes.
        let give = |address, bytes| unsafe { arena.free(address, bytes) };
        let first = arena.alloc(1000).unwrap();
        give(first, 1000);
        assert_eq!((arena.alloc(1000).unwrap(), machine.counts().allocations), (first, 1));
        assert_ne!(arena.alloc(999).unwrap(), first, "another size is other memory");
        give(first, 1000);
        for bytes in 1..2000 {
            give(arena.alloc(bytes).unwrap(), bytes);
        }
        let (usage, counts) = (arena.usage(), machine.counts());
        assert_eq!(usage.live_bytes, 999);
        assert!(usage.held_bytes - usage.live_bytes <= usage.peak_bytes * 3 / 2, "{usage:?}");
        assert!(counts.frees > 0 && counts.live == usage.held_bytes, "{counts:?}");
        drop(arena);
        assert_eq!(machine.counts().live, 999, "what is idle goes with the device");
    }

    #[test]
    fn idle_memory_goes_back_before_there_is_no_room() {
        let machine = Arc::new(Counting::with_room(1000));
        let arena = Arena::new(machine.clone());
        let first = arena.alloc(600).unwrap();
        let error = arena.alloc(500).unwrap_err().to_string();
        assert!(error.contains("500 bytes") && error.contains("400"), "{error}");
        // SAFETY: lent with these bytes, and not used any more.
        unsafe { arena.free(first, 600) };
        assert_eq!((arena.usage().held_bytes, machine.counts().frees), (600, 0));
        arena.alloc(500).unwrap();
        assert_eq!((arena.usage().held_bytes, machine.counts().frees), (500, 1));
    }
}
