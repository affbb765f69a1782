//! The blob: a model as one block of bytes, little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `TTNMODL` and the format's version |
//! | 4 | bytes of a number, 4 or 8 |
//! | 4 | input: 0 tokens, 1 rows; head's bias; tied; shortcut |
//! | 16 | size of the input, outputs, width, blocks |
//! | 8 | numbers in all parameters |
//! | 24 | zeros |
//! | 128 each | the blocks (`record.rs`) |
//! | … | the parameters in the order of [`ModelSpec::tensors`], row-major |
//! | 4 | CRC-32 of all bytes before |

use super::record::{RECORD, Reader, Writer, encode, record};
use super::spec::{Input, ModelSpec};
use super::{BlockSpec, Model};
use crate::crc::{CHECKSUM, Crc};
use crate::error::{Error, Fault, Result, expect_len};
use crate::header::{self, Field};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::Count;
use bytemuck::Pod;

const NAME: Field = Field::first("blob: magic", 7);
const FORMAT: Field = NAME.then("blob: version", 1);
const MAGIC: u64 = header::magic(header::MODEL);
const VERSION: u64 = 2;
const HEADER: usize = 64;

/// Where the parts of a blob begin behind its first [`HEADER`] bytes.
struct BlobPlaces {
    /// The blocks' records.
    records: usize,
    /// The parameters.
    numbers: usize,
    checksum: usize,
    end: usize,
}

impl BlobPlaces {
    /// Of a model of so many blocks, whose parameters are so many bytes.
    const fn of(blocks: usize, number_bytes: usize) -> Self {
        let mut blob = Count(0);
        blob.place(HEADER);
        let records = blob.place(blocks.saturating_mul(RECORD));
        let numbers = blob.place(number_bytes);
        let checksum = blob.place(CHECKSUM);
        Self { records, numbers, checksum, end: blob.0 }
    }
}

/// Bytes before the parameters: a multiple of 64, so that they lie as the blob does.
pub const fn header_len(blocks: usize) -> usize {
    BlobPlaces::of(blocks, 0).numbers
}

/// Bytes of a whole blob of numbers of type T.
///
/// # Errors
/// [`Error::Config`] for a model that cannot be.
pub fn blob_len<T: Scalar>(spec: &ModelSpec, blocks: &[BlockSpec]) -> Result<usize> {
    let numbers = spec.parameters(blocks)?.saturating_mul(T::BYTES);
    Ok(BlobPlaces::of(blocks.len(), numbers).end)
}

/// Writes the header; the caller writes the parameters behind it ([`Scalar::write_le`]) and then the [`checksum`] of
/// all of it. Returns its bytes, [`header_len`].
///
/// # Errors
/// [`Error::Config`] for a model that cannot be, [`Error::Buffer`] (in bytes) when `out` is too short; nothing is
/// written.
pub fn encode_header<T: Scalar>(spec: &ModelSpec, blocks: &[BlockSpec], out: &mut [u8]) -> Result<usize> {
    let numbers = spec.parameters(blocks)?;
    let (needed, given) = (header_len(blocks.len()), out.len());
    let Some(out) = out.get_mut(..needed) else {
        return Err(Error::Buffer { what: "blob header, bytes", needed, given });
    };
    out.fill(0);
    let mut w = Writer { out, at: 0 };
    w.bytes(header::MODEL);
    w.bytes(&[VERSION as u8]);
    w.word(T::BYTES);
    w.bytes(&[u8::from(spec.input.is_rows()), u8::from(spec.head_bias), u8::from(spec.tied), u8::from(spec.shortcut)]);
    [spec.input.size(), spec.outputs, spec.width, spec.blocks].into_iter().for_each(|x| w.word(x));
    w.bytes(&(numbers as u64).to_le_bytes());
    for (i, block) in blocks.iter().enumerate() {
        w.at = header_len(i);
        encode(block, &mut w);
    }
    Ok(needed)
}

/// The last bytes of a blob, from all before them.
pub fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    Crc::of(bytes).to_le_bytes()
}

/// The largest common divisor; that of 0 and x is x.
const fn common(mut a: usize, mut b: usize) -> usize {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A blob whose every byte is accounted for, but for what the parameters are.
struct Parsed<'a> {
    spec: ModelSpec,
    records: &'a [u8],
    body: &'a [u8],
    checksum: u32,
    heads: usize,
    cut: usize,
}

/// Bytes of a number in this blob, 4 or 8, so that a caller knows with which type to read it.
///
/// # Errors
/// [`Error::Format`] for bytes that are no blob of this version.
pub fn number_bytes(bytes: &[u8]) -> Result<usize> {
    let mut r = Reader { bytes };
    let begins = r.take::<8>();
    NAME.expect(Fault::Foreign, MAGIC, &begins)?;
    FORMAT.expect(Fault::Version, VERSION, &begins)?;
    match r.word() {
        bytes @ (4 | 8) => Ok(bytes),
        other => Err(Fault::Corrupt.error("blob: bytes of a number (4 or 8)", 4, other as u64)),
    }
}

/// `trusted`: the checksum was compared before.
fn parse<T: Scalar>(bytes: &[u8], trusted: bool) -> Result<Parsed<'_>> {
    let size = number_bytes(bytes)?;
    if size != T::BYTES {
        return Err(Fault::Numbers.error("blob: bytes of a number", T::BYTES as u64, size as u64));
    }
    let mut r = Reader { bytes: bytes.get(12..).unwrap_or(&[]) };
    let rows = r.variant("blob: input", &[false, true])?;
    let head_bias = r.variant("blob: bias of the head", &[false, true])?;
    let tied = r.variant("blob: tied", &[false, true])?;
    let shortcut = r.variant("blob: shortcut", &[false, true])?;
    let [size, outputs, width, blocks] = [(); 4].map(|()| r.word());
    let declared = u64::from_le_bytes(r.take());
    r.zeros("blob: zeros of the header", 24)?;
    let input = if rows { Input::Rows(size) } else { Input::Tokens(size) };
    let spec = ModelSpec { input, outputs, head_bias, width, tied, shortcut, blocks };
    spec.validate()?;
    let at = BlobPlaces::of(blocks, 0);
    let short = |needed: usize| Fault::Length.error("blob: bytes", needed as u64, bytes.len() as u64);
    let records = bytes.get(at.records..at.numbers).ok_or_else(|| short(at.numbers))?;
    let (mut sum, mut heads, mut cut) = (0usize, 0usize, 0);
    for i in 0..blocks {
        let block = record(records, i)?;
        sum = sum.saturating_add(block.parameters(width));
        heads = heads.saturating_add(block.memories());
        if block.kind.has_context() {
            cut = common(cut, block.segment);
        }
    }
    let numbers = spec.count(core::iter::once(sum))?;
    if declared != numbers as u64 {
        return Err(Fault::Corrupt.error("blob: numbers of this configuration", numbers as u64, declared));
    }
    let at = BlobPlaces::of(blocks, numbers.saturating_mul(T::BYTES));
    let body = bytes.get(at.numbers..at.checksum).ok_or_else(|| short(at.end))?;
    let mut last = Reader { bytes: bytes.get(at.checksum..).unwrap_or(&[]) };
    if bytes.len() != at.end {
        return Err(short(at.end));
    }
    let expected = u32::from_le_bytes(last.take());
    let found = if trusted { expected } else { Crc::of(bytes.part(..at.checksum)) };
    if expected != found {
        return Err(Fault::Corrupt.error("blob: checksum", u64::from(expected), u64::from(found)));
    }
    Ok(Parsed { spec, records, body, checksum: found, heads, cut })
}

impl<'a, T: Scalar> Model<'a, T> {
    fn new(parsed: Parsed<'a>, numbers: &'a [T]) -> Self {
        let Parsed { spec, records, checksum, heads, cut, .. } = parsed;
        Self { spec, records, numbers, checksum, heads, cut }
    }

    /// The model of a blob, whose parameters stay where they are.
    ///
    /// # Errors
    /// [`Error::Format`] or [`Error::Config`] for bytes that are no blob of this number format, or damaged; also where
    /// the parameters do not lie at a multiple of the number's alignment, or the processor is big-endian: then
    /// [`Model::read_into`] copies them.
    pub fn parse(bytes: &'a [u8]) -> Result<Self>
    where
        T: Pod,
    {
        Self::lying(parse::<T>(bytes, false)?)
    }

    /// The same for bytes that [`Model::parse`] has seen before: the checksum is not computed again, which is what
    /// takes the time. Other bytes may be another model, and nothing worse.
    ///
    /// # Errors
    /// As [`Model::parse`], but for the checksum.
    pub fn trusted(bytes: &'a [u8]) -> Result<Self>
    where
        T: Pod,
    {
        Self::lying(parse::<T>(bytes, true)?)
    }

    fn lying(parsed: Parsed<'a>) -> Result<Self>
    where
        T: Pod,
    {
        if cfg!(target_endian = "big") {
            return Err(Fault::Place.error(
                "blob: little-endian processor; use read_into here: bytes of a number",
                1,
                0,
            ));
        }
        let off = parsed.body.as_ptr().align_offset(align_of::<T>()) as u64;
        let numbers = bytemuck::try_cast_slice(parsed.body).map_err(|_| {
            Fault::Place.error("blob: aligned parameters (or use read_into); bytes to the next such place", 0, off)
        })?;
        Ok(Self::new(parsed, numbers))
    }

    /// The model of a blob, with its parameters copied into `numbers` (exactly as many as it has); of the blob it keeps
    /// the header.
    ///
    /// # Errors
    /// [`Error::Format`] or [`Error::Config`] for bytes that are no blob of this number format, or damaged;
    /// [`Error::Shape`] for a buffer of another length. `numbers` is not touched then.
    pub fn read_into(bytes: &'a [u8], numbers: &'a mut [T]) -> Result<Self> {
        let parsed = parse::<T>(bytes, false)?;
        expect_len("parameters", parsed.body.len() / T::BYTES, numbers.len())?;
        for (x, bytes) in numbers.iter_mut().zip(parsed.body.chunks_exact(T::BYTES)) {
            *x = T::read_le(bytes);
        }
        Ok(Self::new(parsed, numbers))
    }
}
