//! What `titans stream --state` and the C library write: a stream's bytes behind a short head, which holds what was
//! read and not fed.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `TTNFEED` and the format's version |
//! | 4 | the token that was read and waits to be fed; all ones for none |
//! | 4 | numbers that follow the head |
//! | 4 | CRC-32 of the bytes before and of those numbers |
//! | … | those numbers, `f32`: of a row that is not whole yet, or, of text, what the model says after the last token |
//! | … | what [`Stream::save`](super::Stream::save) writes |

use crate::crc::Crc;
use crate::error::{Error, Fault, Result};
use crate::header::{self, Field};
use crate::part::Parts;
use crate::scalar::Scalar;

const MAGIC: u64 = header::magic(header::KEPT);
const VERSION: u64 = 1;
const NONE: u32 = u32::MAX;

const NAME: Field = Field::first("kept state: magic", 7);
const FORMAT: Field = NAME.then("kept state: version", 1);
const PENDING: Field = FORMAT.then("kept state: token that waits", 4);
const OPEN: Field = PENDING.then("kept state: numbers of the head", 4);
const SUM: Field = OPEN.then("kept state: checksum", 4);
/// Bytes that the checksum begins with.
const SUMMED: usize = OPEN.end();
const HEAD: usize = SUM.end();

/// A state as it is kept, its parts still where they lie.
///
/// ```
/// use titans_kernel::model::KeptState;
///
/// let mut bytes = [0; KeptState::head_len(1)];
/// KeptState::write_head(Some(65), &[0.5], &mut bytes)?; // a token that waits, and one number of an open row
/// let kept = KeptState::parse(&bytes)?;
/// assert_eq!((kept.pending, kept.open().collect(), kept.stream), (Some(65), vec![0.5], &[][..]));
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptState<'a> {
    /// The token that was read and waits to be fed.
    pub pending: Option<u32>,
    open: &'a [u8],
    /// What [`Stream::save`](super::Stream::save) wrote, unchecked.
    pub stream: &'a [u8],
}

impl<'a> KeptState<'a> {
    /// Reads the head; bytes that begin otherwise are taken for a stream's alone. The stream's are for
    /// [`Stream::load`](super::Stream::load) to check.
    ///
    /// # Errors
    /// [`Error::Format`] for a head that is cut short, of another version, or damaged.
    pub fn parse(bytes: &'a [u8]) -> Result<Self> {
        if bytes.len() < NAME.end() || NAME.get(bytes) != MAGIC {
            return Ok(Self { pending: None, open: &[], stream: bytes });
        }
        let short = || Fault::Length.error("kept state: length in bytes", HEAD as u64, bytes.len() as u64);
        let head = bytes.get(..HEAD).ok_or_else(short)?;
        FORMAT.expect(Fault::Version, VERSION, head)?;
        let end = Self::head_len(OPEN.get(head) as usize);
        let open = bytes.get(HEAD..end).ok_or_else(short)?;
        let (expected, found) = (SUM.get(head), sum(head.part(..SUMMED), open));
        if expected != found {
            return Err(SUM.error(Fault::Corrupt, expected, found));
        }
        let pending = Some(PENDING.get(head) as u32).filter(|&id| id != NONE);
        Ok(Self { pending, open, stream: bytes.part(end..) })
    }

    /// The numbers of the head.
    pub fn open(&self) -> impl ExactSizeIterator<Item = f32> + 'a {
        self.open.chunks_exact(4).map(f32::read_le)
    }

    /// Bytes before the stream's, with so many numbers.
    pub const fn head_len(open: usize) -> usize {
        open.saturating_mul(4).saturating_add(HEAD)
    }

    /// Writes what comes before the stream's bytes; returns its length, [`KeptState::head_len`].
    ///
    /// # Errors
    /// [`Error::Buffer`] (in bytes) when `out` is too short; nothing is written.
    pub fn write_head(pending: Option<u32>, open: &[f32], out: &mut [u8]) -> Result<usize> {
        let (needed, given) = (Self::head_len(open.len()), out.len());
        let Some(out) = out.get_mut(..needed) else {
            return Err(Error::Buffer { what: "head of a kept state, bytes", needed, given });
        };
        let (head, numbers) = out.halves_mut(HEAD);
        numbers.chunks_exact_mut(4).zip(open).for_each(|(bytes, x)| x.write_le(bytes));
        NAME.put(head, MAGIC);
        FORMAT.put(head, VERSION);
        PENDING.put(head, pending.unwrap_or(NONE).into());
        OPEN.put(head, open.len() as u64);
        let sum = sum(head.part(..SUMMED), numbers);
        SUM.put(head, sum);
        Ok(needed)
    }
}

fn sum(head: &[u8], open: &[u8]) -> u64 {
    let mut hasher = Crc::default();
    hasher.update(head);
    hasher.update(open);
    hasher.finish().into()
}

#[cfg(test)]
mod tests {
    use super::KeptState;
    use std::{vec, vec::Vec};

    #[test]
    fn what_was_written_is_read_and_damage_is_not() {
        for (pending, open) in [(None, vec![]), (Some(7), vec![]), (None, vec![1.5f32, f32::MIN]), (Some(0), vec![0.0])]
        {
            let mut bytes = vec![0xee; KeptState::head_len(open.len()) + 3];
            assert_eq!(KeptState::write_head(pending, &open, &mut bytes).unwrap(), bytes.len() - 3);
            let kept = KeptState::parse(&bytes).unwrap();
            assert_eq!((kept.pending, kept.stream), (pending, &[0xee; 3][..]));
            assert_eq!(kept.open().collect::<Vec<_>>(), open);
            let short = bytes.len() - 4;
            assert!(KeptState::write_head(pending, &open, &mut bytes[..short]).is_err());
            for bit in 0..8 * (bytes.len() - 3) {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                // Another beginning is another format: the whole goes to the stream, which refuses it.
                let alone = KeptState { pending: None, open: &[], stream: &flipped };
                assert!(KeptState::parse(&flipped).map_or(true, |kept| bit < 56 && kept == alone), "bit {bit}");
            }
            assert!((7..bytes.len() - 3).all(|n| KeptState::parse(&bytes[..n]).is_err()));
        }
    }
}
