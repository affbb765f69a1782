//! Whole numbers on the device, with what the host knows about them.

use super::arena::Arena;
use super::buffer::{DeviceBuffer, View, bytes_of};
use super::driver::Driver;
use crate::device::IGNORE;
use crate::error::{Error, Result};
use std::sync::Arc;
use titans_kernel::error::expect_len;

/// `u32`s in a device's memory; behind them their places grouped by value, so that what belongs to one value (the gradient of
/// a row of a table) is added up in order, without a search.
#[derive(Debug)]
pub struct DeviceIndices<R: Driver> {
    /// The numbers; their places by value, then by place; where each group of equal values starts among these, and ends up to
    /// one more than there are numbers: as many words whatever the numbers are.
    words: DeviceBuffer<R>,
    len: usize,
    /// Different values.
    pub(super) groups: usize,
    /// The largest, and the largest that is not [`IGNORE`]: checked against tables on the host.
    pub(super) largest: Option<u32>,
    pub(super) largest_target: Option<u32>,
}

impl<R: Driver> DeviceIndices<R> {
    pub(super) fn upload(driver: &Arc<Arena<R>>, x: &[u32]) -> Result<Self> {
        let words = DeviceBuffer::alloc(driver, words_len(x.len()))?;
        let mut indices = Self { words, len: x.len(), groups: 0, largest: None, largest_target: None };
        indices.write(x)?;
        Ok(indices)
    }

    /// As many others in the place of these.
    pub(super) fn write(&mut self, x: &[u32]) -> Result<()> {
        expect_len("indices", self.len, x.len())?;
        let Grouped { places, mut starts } = grouped(x)?;
        let groups = starts.len() - 1;
        starts.resize(x.len() + 1, starts[groups]);
        self.words.write(&bytes_of(&[x, &places, &starts].concat()))?;
        self.groups = groups;
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

    /// The places of equal numbers, group after group, and where each group starts.
    pub(super) fn grouped(&self) -> [View; 2] {
        [self.words.from(self.len), self.words.from(2 * self.len)]
    }
}

/// Words on the device of so many indices.
pub(in crate::device) fn words_len(indices: usize) -> usize {
    3 * indices + 1
}

struct Grouped {
    places: Vec<u32>,
    starts: Vec<u32>,
}

fn grouped(x: &[u32]) -> Result<Grouped> {
    let len = u32::try_from(x.len()).map_err(|_| Error::usage(format!("{} indices are more than 2^32", x.len())))?;
    let mut keys: Vec<u64> = x.iter().zip(0..len).map(|(&x, i)| u64::from(x) << 32 | u64::from(i)).collect();
    keys.sort_unstable();
    let mut starts = Vec::new();
    for (i, key) in (0..len).zip(&keys) {
        if i == 0 || keys[i as usize - 1] >> 32 != key >> 32 {
            starts.push(i);
        }
    }
    starts.push(len);
    Ok(Grouped { places: keys.into_iter().map(|key| key as u32).collect(), starts })
}

#[cfg(test)]
mod tests {
    use super::{Grouped, grouped};

    #[test]
    fn equal_numbers_are_together_and_in_order() {
        let Grouped { places, starts } = grouped(&[7, 0, 7, u32::MAX, 0, 7]).unwrap();
        assert_eq!((places, starts), (vec![1, 4, 0, 2, 5, 3], vec![0, 2, 5, 6]));
        let Grouped { places, starts } = grouped(&[]).unwrap();
        assert_eq!((places, starts), (vec![], vec![0]));
    }
}
