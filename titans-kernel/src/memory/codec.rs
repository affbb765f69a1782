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
use crate::crc::{body_mut, close, closed, saved_bytes};
use crate::error::{Error, Fault, Result};
use crate::header::{self, Field};
use crate::ops::activation::Activation;
use crate::part::Parts;
use crate::scalar::Scalar;

const MAGIC: u64 = header::magic(header::MEMORY);
const VERSION: u64 = 3;
const HEADER: usize = NUMBERS.end();
const SIGNATURE: usize = CLIP.end();

// What a configuration determines.
const NAME: Field = Field::first("magic", 7);
const FORMAT: Field = NAME.then("format version", 1);
const NUMBER_BYTES: Field = FORMAT.then("bytes of a number", 4);
const LAYERS: Field = NUMBER_BYTES.then("layers", 3);
const LAYER_GATES: Field = LAYERS.then("gates of every layer", 1);
const WIDTHS: Field = LAYER_GATES.then_all("widths", 4, MAX_LAYERS + 1);
const CHUNK: Field = WIDTHS.then("chunk", 4);
const COMPUTE_CHUNK: Field = CHUNK.then("tokens computed at once", 4);
const ACTIVATION: Field = COMPUTE_CHUNK.then("activation", 1);
const NETWORK: Field = ACTIVATION.then("network", 1);
const LOSS: Field = NETWORK.then("loss", 1);
const READ: Field = LOSS.then("read", 1);
const CLIP: Field = READ.then("clip, by the bits of an f64", 8);
// What a stream counts.
const COUNTERS: Field = CLIP.then_all("position, clipped, filled", 8, 3);
const NUMBERS: Field = COUNTERS.then("numbers", 8);

/// The fields that a configuration determines, with what another value means.
const FIELDS: [(Field, Fault); 13] = [
    (NAME, Fault::Foreign),
    (FORMAT, Fault::Version),
    (NUMBER_BYTES, Fault::Config),
    (LAYERS, Fault::Config),
    (LAYER_GATES, Fault::Config),
    (WIDTHS, Fault::Config),
    (CHUNK, Fault::Config),
    (COMPUTE_CHUNK, Fault::Config),
    (ACTIVATION, Fault::Config),
    (NETWORK, Fault::Config),
    (LOSS, Fault::Config),
    (READ, Fault::Config),
    (CLIP, Fault::Config),
];

/// The part of the header that a configuration determines.
fn signature<T: Scalar>(spec: &MemorySpec, read: Read) -> [u8; SIGNATURE] {
    let mut out = [0; SIGNATURE];
    NAME.put(&mut out, MAGIC);
    FORMAT.put(&mut out, VERSION);
    NUMBER_BYTES.put(&mut out, T::BYTES as u64);
    LAYERS.put(&mut out, spec.layers() as u64);
    LAYER_GATES.put(&mut out, u64::from(spec.gate_sets() > 1));
    spec.widths.iter().enumerate().for_each(|(i, &width)| WIDTHS.put_at(&mut out, i, width as u64));
    CHUNK.put(&mut out, spec.chunk as u64);
    COMPUTE_CHUNK.put(&mut out, spec.piece_len() as u64);
    ACTIVATION.put(&mut out, spec.activation.code().into());
    NETWORK.put(&mut out, spec.network.code().into());
    LOSS.put(&mut out, spec.loss.code().into());
    READ.put(&mut out, read.code().into());
    CLIP.put(&mut out, spec.clip.unwrap_or(0.0).to_bits());
    out
}

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
        let least = saved_bytes(HEADER, 0);
        if bytes.len() < least {
            return Err(Fault::Length.error("length in bytes, at least", least as u64, bytes.len() as u64));
        }
        NAME.expect(Fault::Foreign, MAGIC, bytes)?;
        FORMAT.expect(Fault::Version, VERSION, bytes)?;
        let (number_bytes, layers) = (NUMBER_BYTES.get(bytes), LAYERS.get(bytes));
        if number_bytes != 4 && number_bytes != 8 {
            return Err(Fault::Corrupt.error("bytes of a number, 4 or 8", 8, number_bytes));
        }
        if layers == 0 || layers > MAX_LAYERS as u64 {
            return Err(Fault::Corrupt.error("layers, up to", MAX_LAYERS as u64, layers));
        }
        let widths = core::array::from_fn::<_, { MAX_LAYERS + 1 }, _>(|l| WIDTHS.at(bytes, l) as usize);
        let mut spec = MemorySpec::new(widths.part(..=layers as usize))?;
        let code = |field: Field| field.get(bytes) as u8;
        spec.layer_gates = code(LAYER_GATES) == 1;
        (spec.chunk, spec.compute_chunk) = (CHUNK.get(bytes) as usize, COMPUTE_CHUNK.get(bytes) as usize);
        spec.activation = Activation::of_code(code(ACTIVATION))?;
        spec.network = Network::of_code(code(NETWORK))?;
        spec.loss = Loss::of_code(code(LOSS))?;
        let clip = f64::from_bits(CLIP.get(bytes));
        spec.clip = (clip != 0.0).then_some(clip);
        spec.validate()?;
        Ok(Self { spec, read: Read::of_code(code(READ))?, number_bytes: number_bytes as usize })
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
        let Counters { position, clipped, filled } = self.counters;
        [position, clipped, filled].into_iter().enumerate().for_each(|(i, x)| COUNTERS.put_at(out, i, x));
        NUMBERS.put(out, self.block.len() as u64);
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
        let length = |needed: usize| Err(Fault::Length.error("length in bytes", needed as u64, bytes.len() as u64));
        let needed = Self::saved_len(self.spec);
        if bytes.len() < HEADER {
            return length(needed);
        }
        let expected = signature::<T>(self.spec, self.read);
        FIELDS.iter().try_for_each(|(field, fault)| field.same(*fault, &expected, bytes))?;
        if bytes.len() != needed {
            return length(needed);
        }
        let body = closed(bytes)?;
        let [position, clipped, filled] = [0, 1, 2].map(|i| COUNTERS.at(bytes, i));
        let most = (self.spec.period_len() as u64).saturating_sub(1);
        if filled > most {
            return Err(Fault::Corrupt.error("tokens in the unfinished period", most, filled));
        }
        NUMBERS.expect(Fault::Corrupt, self.block.len() as u64, bytes)?;
        let counters = Counters { position, clipped, filled };
        for (x, bytes) in self.block.iter_mut().zip(body.part(HEADER..).chunks_exact(T::BYTES)) {
            *x = T::read_le(bytes);
        }
        self.counters = counters;
        Ok(())
    }
}
