//! Whole numbers on the device, with what the host knows about them.

use super::arena::Arena;
use super::buffer::{DeviceBuffer, View, bytes_of};
use super::driver::Driver;
use super::watch::Bound;
use crate::device::IGNORE;
use crate::error::{Error, Result};
use std::sync::{Arc, Mutex, PoisonError};
use titans_kernel::error::expect_len;

/// `u32`s in a device's memory. Behind them is room for their places grouped by value, so that what belongs to one
/// value (the gradient of a row of a table) is added up in order, without a search. Only an embedding's gradient wants
/// that: numbers are grouped when the first one asks, and from then on whenever they are written, so that no later one
/// waits for the host.
#[derive(Debug)]
pub struct DeviceIndices<R: Driver> {
    /// The numbers; their places by value, then by place; where each group of equal values starts among these, and ends
    /// up to one more than there are numbers: as many words whatever the numbers are.
    words: DeviceBuffer<R>,
    len: usize,
    groups: Mutex<Groups>,
    /// The largest, and the largest that is not [`IGNORE`]: checked against tables on the host.
    pub(super) largest: Option<u32>,
    pub(super) largest_target: Option<u32>,
}

/// What is known of the groups.
#[derive(Debug)]
enum Groups {
    /// Nobody has asked for them; the numbers.
    Unasked(Vec<u32>),
    /// They are behind the numbers: how many different values there are.
    Known(usize),
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

impl<R: Driver> DeviceIndices<R> {
    pub(super) fn upload(driver: &Arc<Arena<R>>, x: &[u32]) -> Result<Self> {
        Self::new(driver, x, Groups::Unasked(Vec::new()))
    }

    fn new(driver: &Arc<Arena<R>>, x: &[u32], groups: Groups) -> Result<Self> {
        let words = DeviceBuffer::alloc(driver, words_len(x.len()))?;
        let mut indices = Self { words, len: x.len(), groups: Mutex::new(groups), largest: None, largest_target: None };
        indices.write(x)?;
        Ok(indices)
    }

    /// Others in the place of these, whatever their number.
    pub(super) fn replace(&mut self, driver: &Arc<Arena<R>>, x: &[u32]) -> Result<()> {
        if x.len() == self.len {
            return self.write(x);
        }
        let groups = match self.groups.get_mut().unwrap_or_else(PoisonError::into_inner) {
            Groups::Unasked(_) => Groups::Unasked(Vec::new()),
            Groups::Known(_) => Groups::Known(0),
        };
        *self = Self::new(driver, x, groups)?;
        Ok(())
    }

    /// As many others in the place of these.
    fn write(&mut self, x: &[u32]) -> Result<()> {
        expect_len("indices", self.len, x.len())?;
        match self.groups.get_mut().unwrap_or_else(PoisonError::into_inner) {
            Groups::Unasked(numbers) => {
                self.words.write_at(0, &bytes_of(x))?;
                numbers.clear();
                numbers.extend_from_slice(x);
            }
            Groups::Known(groups) => {
                let Grouped { words, count } = grouped(x)?;
                self.words.write(&bytes_of(&[x, &words].concat()))?;
                *groups = count;
            }
        }
        self.largest = x.iter().copied().max();
        self.largest_target = x.iter().copied().filter(|&x| x != IGNORE).max();
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The numbers.
    pub(super) fn values(&self) -> View {
        View { len: self.len, ..self.words.view() }
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
        let mut known = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let groups = match &*known {
            Groups::Known(groups) => *groups,
            Groups::Unasked(numbers) => {
                let Grouped { words, count } = grouped(numbers)?;
                self.words.write_at(self.len, &bytes_of(&words))?;
                count
            }
        };
        *known = Groups::Known(groups);
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
