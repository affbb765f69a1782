//! A stream as one block of bytes and back: little-endian, versioned, with its configuration and a CRC-32.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `TTNSTRM` and the format's version |
//! | 8 | bytes of a number (4 or 8), number of layers, the last byte of which is 1 where every layer has gates of its own |
//! | 20 | d_0 … d_4, unused ones 0 |
//! | 20 | chunk, tokens computed at once; activation, network, loss, read (one byte each); clip as `f64` (0 for none) |
//! | 24 | position, clipped, filled |
//! | 8 | numbers that follow |
//! | … | the stream's block |
//! | 4 | CRC-32 of all bytes before |

use super::spec::{Loss, MAX_LAYERS, MemorySpec, Network, Read};
use super::stream::{Counters, Stream};
use crate::Choice;
use crate::crc::{body_mut, close, closed, half_word, saved_bytes, word};
use crate::error::{Error, Result};
use crate::ops::activation::Activation;
use crate::part::Parts;
use crate::scalar::Scalar;

const MAGIC: [u8; 8] = *b"TTNSTRM\x03";
const HEADER: usize = SIGNATURE + 32;
const SIGNATURE: usize = 56;

/// The part of the header that a configuration determines.
fn signature<T: Scalar>(spec: &MemorySpec, read: Read) -> [u8; SIGNATURE] {
    let mut out = [0; SIGNATURE];
    out.part_mut(..8).become_copy(&MAGIC);
    out.part_mut(8..12).become_copy(&(T::BYTES as u32).to_le_bytes());
    out.part_mut(12..16).become_copy(&(spec.layers() as u32).to_le_bytes());
    // The layers are few: their number's last byte is free.
    out.put(15, u8::from(spec.gate_sets() > 1));
    for (i, &w) in spec.widths.iter().enumerate() {
        out.part_mut(16 + 4 * i..20 + 4 * i).become_copy(&(w as u32).to_le_bytes());
    }
    out.part_mut(36..40).become_copy(&(spec.chunk as u32).to_le_bytes());
    out.part_mut(40..44).become_copy(&(spec.piece_len() as u32).to_le_bytes());
    out.put(44, spec.activation.code());
    out.put(45, spec.network.code());
    out.put(46, spec.loss.code());
    out.put(47, read.code());
    out.part_mut(48..56).become_copy(&spec.clip.unwrap_or(0.0).to_le_bytes());
    out
}

/// Names of the fields of [`signature`], by where they end.
const FIELDS: [(usize, &str); 13] = [
    (7, "magic"),
    (8, "format version"),
    (12, "bytes of a number"),
    (15, "layers"),
    (16, "gates of every layer"),
    (36, "widths"),
    (40, "chunk"),
    (44, "tokens computed at once"),
    (45, "activation"),
    (46, "network"),
    (47, "loss"),
    (48, "read"),
    (56, "clip, by the bits of an f64"),
];

/// What a saved stream says of itself, for who does not know its configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedHeader {
    /// Its configuration.
    pub spec: MemorySpec,
    /// Which weights answer.
    pub read: Read,
    /// Bytes of a number: 4 or 8.
    pub number_bytes: usize,
}

impl SavedHeader {
    /// Reads the first bytes of what [`Stream::save`] wrote; [`Stream::load`] checks the rest.
    ///
    /// # Errors
    /// [`Error::Format`] for bytes that no stream begins with, [`Error::Config`] for a configuration that cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let format = |what, expected: usize, found: usize| {
            Err(Error::Format { what, expected: expected as u64, found: found as u64 })
        };
        let least = saved_bytes(HEADER, 0);
        if bytes.len() < least {
            return format("length in bytes, at least", least, bytes.len());
        }
        let [expected, found] = [&MAGIC[..], bytes].map(|b| word(b, 0) << 8 >> 8);
        if found != expected {
            return Err(Error::Format { what: "magic", expected, found });
        }
        if bytes.item(7) != MAGIC.item(7) {
            return format("format version", MAGIC.item(7).into(), bytes.item(7).into());
        }
        let half = |at| half_word(bytes, at) as usize;
        let (number_bytes, layers) = (half(8), half(12) & 0xff_ffff);
        if number_bytes != 4 && number_bytes != 8 {
            return format("bytes of a number, 4 or 8", 8, number_bytes);
        }
        if layers == 0 || layers > MAX_LAYERS {
            return format("layers, up to", MAX_LAYERS, layers);
        }
        let widths = core::array::from_fn::<_, { MAX_LAYERS + 1 }, _>(|l| half(16 + 4 * l));
        let mut spec = MemorySpec::new(widths.part(..=layers))?;
        spec.layer_gates = bytes.item(15) == 1;
        (spec.chunk, spec.compute_chunk) = (half(36), half(40));
        spec.activation = Activation::of_code(bytes.item(44))?;
        spec.network = Network::of_code(bytes.item(45))?;
        spec.loss = Loss::of_code(bytes.item(46))?;
        let clip = f64::from_bits(word(bytes, 48));
        spec.clip = (clip != 0.0).then_some(clip);
        spec.validate()?;
        Ok(Self { spec, read: Read::of_code(bytes.item(47))?, number_bytes })
    }
}

impl<T: Scalar> Stream<'_, T> {
    /// Bytes that [`Stream::save`] writes.
    pub fn saved_len(spec: &MemorySpec) -> usize {
        saved_bytes(HEADER, Self::len(spec).saturating_mul(T::BYTES))
    }

    /// Writes the whole state; returns the bytes written, [`Stream::saved_len`].
    ///
    /// # Errors
    /// [`Error::Buffer`] (in bytes) when `out` is too short; nothing is written.
    pub fn save(&self, out: &mut [u8]) -> Result<usize> {
        let (needed, given) = (Self::saved_len(self.spec), out.len());
        if given < needed {
            return Err(Error::Buffer { what: "saved stream, bytes", needed, given });
        }
        out.part_mut(..SIGNATURE).become_copy(&signature::<T>(self.spec, self.read));
        let c = self.counters;
        for (i, x) in [c.position, c.clipped, c.filled, self.block.len() as u64].into_iter().enumerate() {
            out.part_mut(SIGNATURE + 8 * i..).part_mut(..8).become_copy(&x.to_le_bytes());
        }
        let body = body_mut(out.part_mut(..needed), HEADER);
        for (bytes, x) in body.chunks_exact_mut(T::BYTES).zip(self.block.iter()) {
            x.write_le(bytes);
        }
        close(out.part_mut(..needed));
        Ok(needed)
    }

    /// Becomes the stream that was saved; it continues with the bits it would have given uncut.
    ///
    /// # Errors
    /// [`Error::Format`] when the bytes are of another length, format, configuration or checksum; nothing changes.
    pub fn load(&mut self, bytes: &[u8]) -> Result<()> {
        let format = |what, expected: u64, found: u64| Err(Error::Format { what, expected, found });
        let needed = Self::saved_len(self.spec);
        if bytes.len() < HEADER {
            return format("length in bytes", needed as u64, bytes.len() as u64);
        }
        let expected = signature::<T>(self.spec, self.read);
        let mut from = 0;
        for (to, what) in FIELDS {
            if bytes.part(from..to) != expected.part(from..to) {
                // Of a field of several numbers the first that differs.
                let step = if to - from > 8 { 4 } else { to - from };
                let differs = |&at: &usize| bytes.part(at..at + step) != expected.part(at..at + step);
                let at = (from..to).step_by(step.max(1)).find(differs).unwrap_or(from);
                let number = |b: &[u8]| b.part(at..at + step).iter().rev().fold(0u64, |n, &x| n << 8 | u64::from(x));
                return format(what, number(&expected), number(bytes));
            }
            from = to;
        }
        if bytes.len() != needed {
            return format("length in bytes", needed as u64, bytes.len() as u64);
        }
        let body = closed(bytes)?;
        let [position, clipped, filled, numbers] = [0, 8, 16, 24].map(|at| word(bytes, SIGNATURE + at));
        let counters = Counters { position, clipped, filled };
        if counters.filled >= self.spec.period_len() as u64 {
            return format("tokens in the unfinished period", self.spec.period_len() as u64 - 1, counters.filled);
        }
        if numbers != self.block.len() as u64 {
            return format("numbers", self.block.len() as u64, numbers);
        }
        for (x, bytes) in self.block.iter_mut().zip(body.part(HEADER..).chunks_exact(T::BYTES)) {
            *x = T::read_le(bytes);
        }
        self.counters = counters;
        Ok(())
    }
}
