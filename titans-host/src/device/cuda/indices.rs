//! Whole numbers on the device, with what the host knows about them.

use super::arena::Arena;
use super::buffer::{DeviceBuffer, View, bytes_of};
use super::driver::{Address, Driver};
use super::watch::Bound;
use crate::device::IGNORE;
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use titans_kernel::error::expect_len;

/// `u32`s in a device's memory. Behind them is room for their places grouped by value, so that what belongs to one
/// value (the gradient of a row of a table) is added up in order, without a search. Only an embedding's gradient wants
/// that: numbers are grouped when the first one asks, and from then on whenever they are written, so that no later one
/// waits for the host.
///
/// What is written may stay on the host until the first operation that reads it, or go to the device together with all
/// else that a repeated step reads.
#[derive(Debug)]
pub struct DeviceIndices<R: Driver> {
    /// The numbers; their places by value, then by place; where each group of equal values starts among these, and ends
    /// up to one more than there are numbers: as many words whatever the numbers are.
    words: DeviceBuffer<R>,
    len: usize,
    host: Mutex<HostWords>,
    /// The largest, and the largest that is not [`IGNORE`]: checked against tables on the host.
    pub(super) largest: Option<u32>,
    pub(super) largest_target: Option<u32>,
}

/// The words as the host knows them.
#[derive(Debug)]
struct HostWords {
    /// The numbers, and behind them their groups once somebody asked for these.
    words: Vec<u32>,
    /// How many different values there are, once somebody asked.
    groups: Option<usize>,
    /// The device has other ones yet.
    unsent: bool,
}

/// Groups on the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByValue {
    /// How many there are.
    pub groups: usize,
    /// The places of equal numbers, group after group.
    pub places: View,
    /// Where each group starts among these.
    pub starts: View,
}

/// When numbers go to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Now,
    /// When an operation, or a repeated step, reads them.
    Later,
}

impl<R: Driver> DeviceIndices<R> {
    pub(super) fn upload(driver: &Arc<Arena<R>>, x: &[u32]) -> Result<Self> {
        Self::new(driver, x, None, Sent::Now)
    }

    fn new(driver: &Arc<Arena<R>>, x: &[u32], groups: Option<usize>, sent: Sent) -> Result<Self> {
        let words = DeviceBuffer::alloc(driver, words_len(x.len()))?;
        let host = Mutex::new(HostWords { words: Vec::new(), groups, unsent: false });
        let mut indices = Self { words, len: x.len(), host, largest: None, largest_target: None };
        indices.write(x, sent)?;
        Ok(indices)
    }

    /// Others in the place of these, whatever their number.
    pub(super) fn replace(&mut self, driver: &Arc<Arena<R>>, x: &[u32], sent: Sent) -> Result<()> {
        if x.len() != self.len {
            let groups = self.host().groups;
            *self = Self::new(driver, x, groups, sent)?;
            return Ok(());
        }
        self.write(x, sent)
    }

    /// As many others in the place of these.
    fn write(&mut self, x: &[u32], sent: Sent) -> Result<()> {
        expect_len("indices", self.len, x.len())?;
        let host = self.host.get_mut().unwrap_or_else(PoisonError::into_inner);
        let grouped = host.groups.map(|_| grouped(x)).transpose()?;
        host.words.clear();
        host.words.extend_from_slice(x);
        if let Some(Grouped { words, count }) = grouped {
            host.words.extend_from_slice(&words);
            host.groups = Some(count);
        }
        host.unsent = true;
        self.largest = x.iter().copied().max();
        self.largest_target = x.iter().copied().filter(|&x| x != IGNORE).max();
        if sent == Sent::Now { self.send() } else { Ok(()) }
    }

    fn host(&self) -> MutexGuard<'_, HostWords> {
        self.host.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies to the device what it does not have yet.
    fn send(&self) -> Result<()> {
        let mut host = self.host();
        if host.unsent {
            self.words.write_at(0, &bytes_of(&host.words))?;
            host.unsent = false;
        }
        Ok(())
    }

    /// The bytes that the device does not have yet, if there are any.
    pub(super) fn unsent(&self) -> Option<Vec<u8>> {
        let host = self.host();
        host.unsent.then(|| bytes_of(&host.words))
    }

    /// Takes so many words from a place of a block on the device.
    pub(super) fn take(&self, block: &DeviceBuffer<R>, offset: usize, len: usize) -> Result<()> {
        self.words.copy_range(block, offset, len)
    }

    /// Says whether the device has them yet.
    pub(super) fn mark(&self, unsent: bool) {
        self.host().unsent = unsent;
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Where the numbers are, or will be.
    pub(super) fn place(&self) -> Address {
        self.words.view().address
    }

    /// The numbers. The first who asks sends them.
    pub(super) fn values(&self) -> Result<View> {
        self.send()?;
        Ok(View { len: self.len, ..self.words.view() })
    }

    /// Whether the numbers keep to a bound.
    pub(super) fn keeps(&self, bound: Bound) -> bool {
        match bound {
            Bound::Ids(entries) => self.largest.is_none_or(|id| (id as usize) < entries),
            Bound::Lengths(time) => self.largest.is_none_or(|length| length as usize <= time),
            Bound::Targets(classes) => self.largest_target.is_none_or(|target| (target as usize) < classes),
        }
    }

    /// Their places by value. The first who asks waits for the device.
    pub(super) fn by_value(&self) -> Result<ByValue> {
        self.send()?;
        let mut host = self.host();
        let groups = match host.groups {
            Some(groups) => groups,
            None => {
                let Grouped { words, count } = grouped(&host.words)?;
                self.words.write_at(self.len, &bytes_of(&words))?;
                host.words.extend_from_slice(&words);
                count
            }
        };
        host.groups = Some(groups);
        Ok(ByValue { groups, places: self.words.from(self.len), starts: self.words.from(2 * self.len) })
    }
}

/// Words on the device of so many indices.
pub(in crate::device) fn words_len(indices: usize) -> usize {
    3 * indices + 1
}

/// Places by value, and where each group starts, up to one more than there are numbers.
struct Grouped {
    words: Vec<u32>,
    /// Different values.
    count: usize,
}

fn grouped(x: &[u32]) -> Result<Grouped> {
    let len = u32::try_from(x.len()).map_err(|_| Error::usage(format!("{} indices are more than 2^32", x.len())))?;
    let mut keys: Vec<u64> = x.iter().zip(0..len).map(|(&x, i)| u64::from(x) << 32 | u64::from(i)).collect();
    keys.sort_unstable();
    let mut words: Vec<u32> = keys.iter().map(|&key| key as u32).collect();
    for (i, key) in (0..len).zip(&keys) {
        if i == 0 || keys[i as usize - 1] >> 32 != key >> 32 {
            words.push(i);
        }
    }
    let count = words.len() - x.len();
    words.resize(words_len(x.len()) - x.len(), len);
    Ok(Grouped { words, count })
}

#[cfg(test)]
mod tests {
    use super::super::Cuda;
    use super::super::counting::Counting;
    use super::{Grouped, grouped};
    use crate::device::Device;
    use std::sync::Arc;

    #[test]
    fn equal_numbers_are_together_and_in_order() {
        let Grouped { words, count } = grouped(&[7, 0, 7, u32::MAX, 0, 7]).unwrap();
        assert_eq!((words, count), (vec![1, 4, 0, 2, 5, 3, 0, 2, 5, 6, 6, 6, 6], 3));
        let Grouped { words, count } = grouped(&[]).unwrap();
        assert_eq!((words, count), (vec![0], 0));
    }

    /// Uploads, and their bytes, of what is done.
    #[test]
    fn only_who_asks_for_groups_pays_for_them() {
        let machine = Arc::new(Counting::default());
        let d = Cuda::with_driver(machine.clone());
        let uploads = |what: &mut dyn FnMut()| {
            machine.restart();
            what();
            let counts = machine.counts();
            (counts.uploads, counts.uploaded)
        };
        let mut ids = d.upload_indices(&[1, 0, 1]).unwrap();
        assert_eq!(uploads(&mut || d.write_indices(&[1, 1, 1], &mut ids).unwrap()), (1, 12));
        let mut d_table = d.zeros(2).unwrap();
        let d_y = d.zeros(3).unwrap();
        let mut ask = |ids: &_| uploads(&mut || d.embedding_vjp(1, ids, &d_y, &mut d_table).unwrap());
        assert_eq!((ask(&ids), ask(&ids)), ((1, 28), (0, 0)));
        // Those who asked once get them with the numbers.
        assert_eq!(uploads(&mut || d.write_indices(&[0, 1, 0], &mut ids).unwrap()), (1, 40));
        assert_eq!(uploads(&mut || d.write_indices(&[0, 1], &mut ids).unwrap()), (1, 28));
        assert_eq!((ids.by_value().unwrap().groups, ids.len()), (2, 2));
    }
}
