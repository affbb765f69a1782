//! A stream's state as one block of bytes and back: little-endian, versioned, with its model's checksum and its own.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `TTNSESS` and the format's version |
//! | 4 | bytes of a number, 4 or 8 |
//! | 4 | the model's checksum |
//! | 8 | mode (0 on, 1 frozen, 2 absent), zeros |
//! | 24 | position, clipped, numbers that follow |
//! | … | the states of the blocks, without what no later token can see |
//! | 4 | CRC-32 of all bytes before |

use super::position::END;
use super::stream::Stream;
use super::{Mode, Model};
use crate::Choice;
use crate::block::{StatePart, parts};
use crate::crc::{body_mut, close, closed, saved_bytes};
use crate::error::{Error, Fault, Result};
use crate::header::{self, Field};
use crate::part::Parts;
use crate::scalar::Scalar;

const MAGIC: u64 = header::magic(header::STREAM);
const VERSION: u64 = 1;
const HEADER: usize = NUMBERS.end();

const NAME: Field = Field::first("magic", 7);
const FORMAT: Field = NAME.then("version", 1);
const NUMBER_BYTES: Field = FORMAT.then("bytes of a number", 4);
const CHECKSUM: Field = NUMBER_BYTES.then("the model's checksum", 4);
const MODE: Field = CHECKSUM.then("mode", 8);
const POSITION: Field = MODE.then("position, at most", 8);
const CLIPPED: Field = POSITION.then("clipped", 8);
const NUMBERS: Field = CLIPPED.then("numbers", 8);

/// Calls `visit` with every part of a state in order, and with its first number's place.
fn each_part<T: Scalar>(model: &Model<'_, T>, rows: usize, position: u64, mut visit: impl FnMut(usize, StatePart)) {
    let mut at = 0usize;
    for spec in (0..model.spec().blocks).filter_map(|i| model.block(i).ok()) {
        for part in parts::<T>(&spec, rows, position) {
            visit(at, part);
            at = at.saturating_add(part.len);
        }
    }
}

/// Numbers of a state that are saved.
fn saved_numbers<T: Scalar>(model: &Model<'_, T>) -> usize {
    let mut sum = 0usize;
    each_part(model, 1, 0, |_, part| sum = sum.saturating_add(part.saved));
    sum
}

impl<T: Scalar> Model<'_, T> {
    /// Bytes that [`Stream::save`] writes.
    pub fn saved_len(&self) -> usize {
        saved_bytes(HEADER, saved_numbers(self).saturating_mul(T::BYTES))
    }
}

impl<T: Scalar> Stream<'_, T> {
    /// Writes the whole state; returns the bytes written, [`Model::saved_len`]. Streams of the same model read it,
    /// whatever their `rows`.
    ///
    /// # Errors
    /// [`Error::Buffer`] (in bytes) when `out` is too short, [`Error::Torn`] after a token was refused; nothing is
    /// written.
    pub fn save(&self, out: &mut [u8]) -> Result<usize> {
        self.whole()?;
        let (needed, given) = (self.model.saved_len(), out.len());
        let Some(out) = out.get_mut(..needed) else {
            return Err(Error::Buffer { what: "saved stream, bytes", needed, given });
        };
        out.part_mut(..HEADER).become_copy(&self.head());
        let mut places = body_mut(out, HEADER).chunks_exact_mut(T::BYTES);
        each_part(&self.model, self.rows, self.position, |at, part| {
            let used = self.state.get(at..at.saturating_add(part.used)).unwrap_or(&[]);
            for (&x, bytes) in used.iter().zip(places.by_ref()) {
                x.write_le(bytes);
            }
            for bytes in places.by_ref().take(part.saved - part.used) {
                T::ZERO.write_le(bytes);
            }
        });
        close(out);
        Ok(needed)
    }

    fn head(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        NAME.put(&mut out, MAGIC);
        FORMAT.put(&mut out, VERSION);
        NUMBER_BYTES.put(&mut out, T::BYTES as u64);
        CHECKSUM.put(&mut out, self.model.checksum().into());
        MODE.put(&mut out, self.mode.code().into());
        POSITION.put(&mut out, self.position);
        CLIPPED.put(&mut out, self.clipped);
        NUMBERS.put(&mut out, saved_numbers(&self.model) as u64);
        out
    }

    /// Becomes the stream that was saved; it continues with the bits it would have given uncut. What it was before,
    /// torn or whole, does not matter.
    ///
    /// # Errors
    /// [`Error::Format`] when the bytes are of another length, format, model or checksum, or hold a number that is not
    /// finite, as no stream leaves one behind; nothing changes.
    pub fn load(&mut self, bytes: &[u8]) -> Result<()> {
        let needed = self.model.saved_len();
        if bytes.len() != needed {
            return Err(Fault::Length.error("length in bytes", needed as u64, bytes.len() as u64));
        }
        let ours = self.head();
        NAME.same(Fault::Foreign, &ours, bytes)?;
        FORMAT.same(Fault::Version, &ours, bytes)?;
        NUMBER_BYTES.same(Fault::Config, &ours, bytes)?;
        CHECKSUM.same(Fault::Config, &ours, bytes)?;
        let body = closed(bytes)?;
        let mode = Mode::of_code(u8::try_from(MODE.get(bytes)).unwrap_or(u8::MAX))?;
        let (position, clipped) = (POSITION.get(bytes), CLIPPED.get(bytes));
        if position > END {
            return Err(POSITION.error(Fault::Corrupt, END, position));
        }
        NUMBERS.same(Fault::Corrupt, &ours, bytes)?;
        let mut wrong = 0;
        body.part(HEADER..).chunks_exact(T::BYTES).for_each(|bytes| wrong += u64::from(!T::read_le(bytes).finite()));
        if wrong > 0 {
            return Err(Fault::Corrupt.error("numbers that are not finite", 0, wrong));
        }
        (self.mode, self.position, self.clipped, self.torn) = (mode, position, clipped, false);
        let mut numbers = body.part(HEADER..).chunks_exact(T::BYTES).map(T::read_le);
        let state = &mut *self.state;
        each_part(&self.model, self.rows, position, |at, part| {
            let used = state.get_mut(at..at.saturating_add(part.used)).unwrap_or(&mut []);
            for (x, number) in used.iter_mut().zip(numbers.by_ref()) {
                *x = number;
            }
            numbers.by_ref().take(part.saved - part.used).for_each(drop);
        });
        Ok(())
    }
}
