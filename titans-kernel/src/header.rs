//! Headers of saved bytes, little-endian: a field's place is said once, for who writes it, who reads it and who finds
//! that it does not fit. And the words that the project's files begin with, each with a byte for its version behind.

use crate::error::{Fault, Result};
use crate::part::Parts;

/// A model, as `titans export` writes it ([`crate::model::Model::parse`]).
pub const MODEL: &[u8; 7] = b"TTNMODL";
/// A stream of a memory ([`crate::memory::Stream::save`]).
pub const MEMORY: &[u8; 7] = b"TTNSTRM";
/// A stream through a model ([`crate::model::Stream::save`]).
pub const STREAM: &[u8; 7] = b"TTNSESS";
/// What comes before one of those that `titans stream --state` and the C library keep ([`crate::model::KeptState`]).
pub const KEPT: &[u8; 7] = b"TTNFEED";

/// The word as a number of a header, without its version.
pub(crate) const fn magic(&[a, b, c, d, e, f, g]: &[u8; 7]) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, g, 0])
}

/// A field of a header: some numbers of so many bytes.
#[derive(Clone, Copy)]
pub(crate) struct Field {
    what: &'static str,
    /// Where its first byte lies.
    from: usize,
    /// Bytes of a number.
    size: usize,
    numbers: usize,
}

impl Field {
    /// One number of so many bytes at the beginning.
    pub(crate) const fn first(what: &'static str, size: usize) -> Self {
        Self { what, from: 0, size, numbers: 1 }
    }

    /// One number of so many bytes behind this field.
    pub(crate) const fn then(self, what: &'static str, size: usize) -> Self {
        self.then_all(what, size, 1)
    }

    /// Several numbers of so many bytes behind this field.
    pub(crate) const fn then_all(self, what: &'static str, size: usize, numbers: usize) -> Self {
        Self { what, from: self.end(), size, numbers }
    }

    /// Where the next field begins.
    pub(crate) const fn end(self) -> usize {
        self.from + self.size * self.numbers
    }

    fn place(self, i: usize) -> core::ops::Range<usize> {
        let at = self.from + self.size * i;
        at..at + self.size
    }

    /// Its number `i`.
    pub(crate) fn at(self, header: &[u8], i: usize) -> u64 {
        header.part(self.place(i)).iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

    /// Its first number.
    pub(crate) fn get(self, header: &[u8]) -> u64 {
        self.at(header, 0)
    }

    /// Writes its number `i`, the low bytes of `number`.
    pub(crate) fn put_at(self, header: &mut [u8], i: usize, number: u64) {
        let bytes = number.to_le_bytes();
        header.part_mut(self.place(i)).become_copy(bytes.part(..self.size));
    }

    /// Writes its first number.
    pub(crate) fn put(self, header: &mut [u8], number: u64) {
        self.put_at(header, 0, number);
    }

    /// Has it the same numbers in both headers?
    ///
    /// # Errors
    /// [`Error::Format`](crate::Error::Format) with this fault and the first numbers that differ.
    pub(crate) fn same(self, fault: Fault, expected: &[u8], found: &[u8]) -> Result<()> {
        (0..self.numbers).try_for_each(|i| self.equal(fault, self.at(expected, i), self.at(found, i)))
    }

    /// Is its first number the expected one?
    ///
    /// # Errors
    /// [`Error::Format`](crate::Error::Format) with this fault and both numbers.
    pub(crate) fn expect(self, fault: Fault, expected: u64, header: &[u8]) -> Result<()> {
        self.equal(fault, expected, self.get(header))
    }

    const fn equal(self, fault: Fault, expected: u64, found: u64) -> Result<()> {
        if expected == found { Ok(()) } else { Err(self.error(fault, expected, found)) }
    }

    /// [`Error::Format`](crate::Error::Format) that names this field.
    pub(crate) const fn error(self, fault: Fault, expected: u64, found: u64) -> crate::Error {
        fault.error(self.what, expected, found)
    }
}
