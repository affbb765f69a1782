//! CRC-32 (that of zip) of saved bytes and blobs: crc32fast's tables and instructions, or, without its feature, a table
//! of 64 bytes.

use crate::error::{Fault, Result};
use crate::part::Parts;

/// Bytes of a checksum, which stands little-endian behind all that it is of.
pub const CHECKSUM: usize = 4;

/// Bytes of what is saved: a header, a body and the checksum of both.
pub(crate) const fn saved_bytes(header: usize, body: usize) -> usize {
    body.saturating_add(header + CHECKSUM)
}

/// The body between the header and the checksum, to write.
pub(crate) fn body_mut(saved: &mut [u8], header: usize) -> &mut [u8] {
    let end = saved.len().saturating_sub(CHECKSUM);
    saved.part_mut(header..end)
}

/// Writes the last bytes of what is saved, from all before them.
pub(crate) fn close(saved: &mut [u8]) {
    let (body, sum) = saved.halves_mut(saved.len().saturating_sub(CHECKSUM));
    sum.become_copy(&Crc::of(body).to_le_bytes());
}

/// What [`close`] closed, without its checksum.
///
/// # Errors
/// [`Error::Format`](crate::Error::Format) where the checksum is another one.
pub(crate) fn closed(saved: &[u8]) -> Result<&[u8]> {
    let (body, sum) = saved.halves(saved.len().saturating_sub(CHECKSUM));
    let expected = sum.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte));
    match u64::from(Crc::of(body)) {
        found if found == expected => Ok(body),
        found => Err(Fault::Corrupt.error("checksum", expected, found)),
    }
}

/// A checksum on the way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crc {
    #[cfg(feature = "crc32fast")]
    inner: crc32fast::Hasher,
    #[cfg(not(feature = "crc32fast"))]
    inner: small::Hasher,
}

impl Crc {
    /// Takes the next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.inner.update(bytes);
    }

    /// Of all bytes so far.
    pub(crate) fn finish(self) -> u32 {
        self.inner.finalize()
    }

    /// Of these bytes.
    pub(crate) fn of(bytes: &[u8]) -> u32 {
        let mut crc = Self::default();
        crc.update(bytes);
        crc.finish()
    }
}

#[cfg(any(test, not(feature = "crc32fast")))]
mod small {
    /// The remainders of four bits.
    const TABLE: [u32; 16] = {
        let mut table = [0; 16];
        let mut i = 0;
        while i < 16 {
            let (mut crc, mut bit) = (i as u32, 0);
            while bit < 4 {
                crc = if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 };
                bit += 1;
            }
            table[i] = crc;
            i += 1;
        }
        table
    };

    /// The complement of the checksum.
    #[derive(Clone, Debug, Default)]
    pub struct Hasher(u32);

    impl Hasher {
        pub fn update(&mut self, bytes: &[u8]) {
            let mut crc = !self.0;
            for byte in bytes {
                crc ^= u32::from(*byte);
                crc = TABLE[(crc & 15) as usize] ^ (crc >> 4);
                crc = TABLE[(crc & 15) as usize] ^ (crc >> 4);
            }
            self.0 = !crc;
        }

        pub fn finalize(self) -> u32 {
            self.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Crc, small};

    #[test]
    fn both_ways_give_the_checksum_of_zip() {
        let bytes: std::vec::Vec<u8> = (0..1000u32).map(|i| (i * 37 + i / 7) as u8).collect();
        for cut in [0, 1, 7, 500, 1000] {
            let mut hasher = small::Hasher::default();
            hasher.update(&bytes[..cut]);
            hasher.update(&bytes[cut..]);
            assert_eq!(hasher.finalize(), Crc::of(&bytes));
        }
        assert_eq!(Crc::of(b"123456789"), 0xCBF4_3926, "the standard's check value");
    }
}
