//! The state file of a forecaster: rows that are looked back at, what was expected, and every memory's own bytes.

use crate::data::series::LatestDate;
use crate::error::{Error, Result};
use crate::train::store::FORECAST;
use flate2::Crc;
use std::path::Path;

const VERSION: u8 = 2;
/// Bytes of the magic, and of the checksum at the end.
const ENDS: [usize; 2] = [8, 4];

/// Where a forecaster stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ForecastState {
    /// Rows so far.
    pub(super) seen: u64,
    /// The date of the last one.
    pub(super) date: LatestDate,
    /// The last rows, column by column, standardised.
    pub(super) rows: Vec<Vec<f64>>,
    /// The forecast of the next row, by column; empty before there is one.
    pub(super) expected: Vec<f64>,
    /// What a session saved of each memory; none of one that has read nothing.
    pub(super) memories: Vec<Option<Vec<u8>>>,
}

impl ForecastState {
    /// Before the first row.
    pub(super) fn new(columns: usize, memories: usize) -> Self {
        let (date, rows) = (LatestDate::default(), vec![Vec::new(); columns]);
        Self { seen: 0, date, rows, expected: Vec::new(), memories: vec![None; memories] }
    }

    /// Reads a file, if it is there.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        match std::fs::read(path) {
            Ok(bytes) => Self::parse(&bytes).map(Some).ok_or_else(|| {
                Error::file(
                    path,
                    "is not the state of a forecaster of this version, or is damaged; name another file to begin anew",
                )
            }),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io(path, "reading the state", e)),
        }
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let (body, sum) = bytes.split_at_checked(bytes.len().checked_sub(ENDS[1])?)?;
        if body.get(..ENDS[0])? != [&FORECAST[..], &[VERSION]].concat() || sum != crc(body) {
            return None;
        }
        let mut rest = StateBytes(&body[ENDS[0]..]);
        let seen = rest.word()?;
        let len = rest.count(1)?;
        let date = LatestDate::of(std::str::from_utf8(rest.take(len)?).ok()?);
        let rows = (0..rest.count(8)?).map(|_| rest.numbers()).collect::<Option<_>>()?;
        let expected = rest.numbers()?;
        let mut memories = Vec::new();
        for _ in 0..rest.count(8)? {
            let len = rest.count(1)?;
            memories.push(Some(rest.take(len)?.to_vec()).filter(|memory| !memory.is_empty()));
        }
        rest.0.is_empty().then_some(Self { seen, date, rows, expected, memories })
    }

    /// What is written.
    pub(super) fn bytes(&self) -> Vec<u8> {
        fn word(bytes: &mut Vec<u8>, x: u64) {
            bytes.extend(x.to_le_bytes());
        }
        fn numbers(bytes: &mut Vec<u8>, all: &[f64]) {
            word(bytes, all.len() as u64);
            all.iter().for_each(|x| word(bytes, x.to_bits()));
        }
        let mut bytes = [&FORECAST[..], &[VERSION]].concat();
        word(&mut bytes, self.seen);
        word(&mut bytes, self.date.text().len() as u64);
        bytes.extend(self.date.text().as_bytes());
        word(&mut bytes, self.rows.len() as u64);
        self.rows.iter().for_each(|row| numbers(&mut bytes, row));
        numbers(&mut bytes, &self.expected);
        word(&mut bytes, self.memories.len() as u64);
        for memory in &self.memories {
            let memory = memory.as_deref().unwrap_or_default();
            word(&mut bytes, memory.len() as u64);
            bytes.extend(memory);
        }
        let sum = crc(&bytes);
        bytes.extend(sum);
        bytes
    }

    /// That it is one of such a run, by the state before its first row.
    pub(super) fn check(&self, fresh: &Self, lookback: usize, targets: &[usize]) -> std::result::Result<(), String> {
        let rows = self.seen.min(lookback as u64) as usize;
        let whole = self.rows.iter().all(|column| column.len() == rows && column.iter().all(|x| x.is_finite()));
        let expected = if self.seen < lookback as u64 { 0 } else { targets.len() };
        let (columns, memories) = (fresh.rows.len(), fresh.memories.len());
        if whole && (self.rows.len(), self.memories.len(), self.expected.len()) == (columns, memories, expected) {
            return Ok(());
        }
        Err(format!(
            "expected the state of a run with {columns} columns, a look-back of {lookback} and {memories} memories, found {} columns and {} \
             memories; name another file to begin anew",
            self.rows.len(),
            self.memories.len()
        ))
    }
}

/// Bytes that are read one after another.
struct StateBytes<'a>(&'a [u8]);

impl<'a> StateBytes<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(head)
    }

    fn word(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    /// How many things of `size` bytes or more follow: no more than there are bytes for.
    fn count(&mut self, size: usize) -> Option<usize> {
        let count = usize::try_from(self.word()?).ok()?;
        (count <= self.0.len() / size).then_some(count)
    }

    fn numbers(&mut self) -> Option<Vec<f64>> {
        (0..self.count(8)?).map(|_| self.word().map(f64::from_bits)).collect()
    }
}

fn crc(bytes: &[u8]) -> [u8; 4] {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum().to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::{ForecastState, LatestDate};

    #[test]
    fn a_state_comes_back_and_no_damaged_one_does() {
        let state = ForecastState {
            seen: 7,
            date: LatestDate::of("2020-01-02"),
            rows: vec![vec![1.0, -2.5], vec![0.0, f64::MAX]],
            expected: vec![0.25],
            memories: vec![Some(vec![1, 2, 3]), None],
        };
        let bytes = state.bytes();
        assert_eq!(ForecastState::parse(&bytes), Some(state.clone()));
        for i in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[i] ^= 1;
            assert_eq!(ForecastState::parse(&bad), None, "byte {i}");
            assert_eq!(ForecastState::parse(&bytes[..i]), None, "{i} bytes");
        }
        let fresh = ForecastState::new(2, 2);
        state.check(&fresh, 2, &[1]).unwrap();
        for (columns, memories, lookback, targets) in
            [(1, 2, 2, &[1][..]), (2, 3, 2, &[1]), (2, 2, 3, &[1]), (2, 2, 2, &[])]
        {
            assert!(state.check(&ForecastState::new(columns, memories), lookback, targets).is_err());
        }
        fresh.check(&fresh, 2, &[1]).unwrap();
    }
}
