//! The blob: a model as one block of bytes, little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `TTNMODL` and the format's version |
//! | 4 | bytes of a number, 4 or 8 |
//! | 4 | input: 0 tokens, 1 rows; head's bias; tied; 0 |
//! | 16 | size of the input, outputs, width, blocks |
//! | 8 | numbers in all parameters |
//! | 24 | zeros |
//! | 128 each | the blocks (below) |
//! | … | the parameters in the order of [`ModelSpec::tensors`], row-major |
//! | 4 | CRC-32 of all bytes before |
//!
//! A block: kind (LMM, MAC, MAG, MAL, attention), combine (product, silu, sigmoid, sum), forgetting, momentum, gates by chunk,
//! MAC reads at the segment's start; of the memory activation, network, loss, read, layers; a zero (12 bytes); d_0 … d_4,
//! unused ones 0 (20); chunk, heads, head width, taps, persistent, heads of attention, of its keys, window, segment,
//! feed-forward (40); clip (0 for none), θ's maximum, base of the rotary positions as `f64` (24); zeros (32). Numbers of
//! variants are never given a second time. `keep_every` of a memory matters in training only and is not stored.

use super::spec::{Input, ModelSpec};
use super::{BlockSpec, Combine, Kind, Model};
use crate::error::{Error, Result, expect_len};
use crate::memory::{Activation, Loss, MAX_LAYERS, MemorySpec, Network, Read};
use crate::scalar::Scalar;
use bytemuck::Pod;

const MAGIC: [u8; 8] = *b"TTNMODL\x01";
const HEADER: usize = 64;
const RECORD: usize = 128;

/// Bytes of the checksum at a blob's end.
pub const CHECKSUM: usize = 4;

const KINDS: [Kind; 5] = [Kind::Lmm, Kind::Mac, Kind::Mag, Kind::Mal, Kind::Attention];
const COMBINES: [Combine; 4] = [Combine::Product, Combine::Silu, Combine::Sigmoid, Combine::Sum];
const ACTIVATIONS: [Activation; 5] =
    [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu, Activation::Identity];
const NETWORKS: [Network; 2] = [Network::Plain, Network::Residual];
const LOSSES: [Loss; 3] = [Loss::Sum, Loss::Half, Loss::Mean];
const READS: [Read; 3] = [Read::After, Read::Before, Read::ChunkStart];

/// Bytes before the parameters: a multiple of 64, so that they lie as the blob does.
pub const fn header_len(blocks: usize) -> usize {
    blocks.saturating_mul(RECORD).saturating_add(HEADER)
}

/// Bytes of a whole blob of numbers of type T.
///
/// # Errors
/// [`Error::Config`] for a model that cannot be.
pub fn blob_len<T: Scalar>(spec: &ModelSpec, blocks: &[BlockSpec]) -> Result<usize> {
    let numbers = spec.parameters(blocks)?.saturating_mul(T::BYTES);
    Ok(numbers.saturating_add(header_len(blocks.len())).saturating_add(CHECKSUM))
}

/// Writes the header; the caller writes the parameters behind it ([`Scalar::write_le`]) and then the [`checksum`] of all of it.
/// Returns its bytes, [`header_len`].
///
/// # Errors
/// [`Error::Config`] for a model that cannot be, [`Error::Buffer`] (in bytes) when `out` is too short; nothing is written.
pub fn encode_header<T: Scalar>(spec: &ModelSpec, blocks: &[BlockSpec], out: &mut [u8]) -> Result<usize> {
    let numbers = spec.parameters(blocks)?;
    let (needed, given) = (header_len(blocks.len()), out.len());
    let Some(out) = out.get_mut(..needed) else {
        return Err(Error::Buffer { what: "blob header, bytes", needed, given });
    };
    out.fill(0);
    let mut w = Writer { out, at: 0 };
    w.bytes(&MAGIC);
    w.word(T::BYTES);
    let rows = matches!(spec.input, Input::Rows(_));
    w.bytes(&[u8::from(rows), u8::from(spec.head_bias), u8::from(spec.tied), 0]);
    [spec.input.size(), spec.outputs, spec.width, spec.blocks].into_iter().for_each(|x| w.word(x));
    w.bytes(&(numbers as u64).to_le_bytes());
    for (i, block) in blocks.iter().enumerate() {
        w.at = HEADER + i * RECORD;
        encode(block, &mut w);
    }
    Ok(needed)
}

/// The last bytes of a blob, from all before them.
pub fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    crc32fast::hash(bytes).to_le_bytes()
}

/// Writes fields one after another.
struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        self.out[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }

    /// Sizes are at most [`super::LIMIT`].
    fn word(&mut self, x: usize) {
        self.bytes(&(x as u32).to_le_bytes());
    }
}

/// The number of a variant.
fn number<V: PartialEq>(all: &[V], x: &V) -> u8 {
    all.iter().position(|v| v == x).unwrap_or(usize::from(u8::MAX)) as u8
}

fn encode(b: &BlockSpec, w: &mut Writer<'_>) {
    let m = &b.memory;
    let flags = [b.forgetting, b.momentum, b.gates_by_chunk, b.mac_read_segment].map(u8::from);
    w.bytes(&[number(&KINDS, &b.kind), number(&COMBINES, &b.combine)]);
    w.bytes(&flags);
    w.bytes(&[number(&ACTIVATIONS, &m.activation), number(&NETWORKS, &m.network)]);
    w.bytes(&[number(&LOSSES, &m.loss), number(&READS, &b.read), m.layers() as u8, 0]);
    (0..=MAX_LAYERS).for_each(|i| w.word(m.widths.get(i).copied().unwrap_or(0)));
    let sizes = [
        m.chunk,
        b.heads,
        b.head_width,
        b.conv_width,
        b.persistent,
        b.attention_heads,
        b.kv_heads,
        b.window,
        b.segment,
        b.feed_forward,
    ];
    sizes.into_iter().for_each(|x| w.word(x));
    [m.clip.unwrap_or(0.0), b.theta_max, b.rotary].into_iter().for_each(|x| w.bytes(&x.to_le_bytes()));
}

/// Reads fields one after another; what lies behind the end is 0.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> [u8; N] {
        let (head, rest) = self.bytes.split_at(N.min(self.bytes.len()));
        self.bytes = rest;
        let mut out = [0; N];
        out[..head.len()].copy_from_slice(head);
        out
    }

    fn word(&mut self) -> usize {
        u32::from_le_bytes(self.take()) as usize
    }

    fn float(&mut self) -> f64 {
        f64::from_le_bytes(self.take())
    }

    fn variant<V: Copy>(&mut self, what: &'static str, all: &[V]) -> Result<V> {
        let [x] = self.take();
        all.get(usize::from(x)).copied().ok_or_else(|| format(what, all.len() as u64 - 1, u64::from(x)))
    }

    fn zeros(&mut self, what: &'static str, n: usize) -> Result<()> {
        (0..n).try_for_each(|_| self.variant(what, &[()]))
    }
}

fn format(what: &'static str, expected: u64, found: u64) -> Error {
    Error::Format { what, expected, found }
}

fn decode(bytes: &[u8]) -> Result<BlockSpec> {
    let mut r = Reader { bytes };
    let kind = r.variant("block: kind", &KINDS)?;
    let combine = r.variant("block: combine", &COMBINES)?;
    let mut flag = |what| r.variant(what, &[false, true]);
    let (forgetting, momentum) = (flag("block: forgetting")?, flag("block: momentum")?);
    let (gates_by_chunk, mac_read_segment) = (flag("block: gates by chunk")?, flag("block: mac_read_segment")?);
    let activation = r.variant("block: activation", &ACTIVATIONS)?;
    let network = r.variant("block: network", &NETWORKS)?;
    let (loss, read) = (r.variant("block: loss", &LOSSES)?, r.variant("block: read", &READS)?);
    let layers = r.variant("block: layers of the memory", &[0, 1, 2, 3, 4])?;
    r.zeros("block: a zero", 1)?;
    let mut memory = MemorySpec::new(&[1, 1])?;
    memory.widths.clear();
    for i in 0..=MAX_LAYERS {
        let width = r.word();
        if i > layers && width != 0 {
            return Err(format("block: a width of no layer", 0, width as u64));
        }
        // There is room for all of them.
        let _ = if i <= layers { memory.widths.push(width) } else { Ok(()) };
    }
    (memory.activation, memory.network, memory.loss, memory.chunk) = (activation, network, loss, r.word());
    let [heads, head_width, conv_width, persistent] = [(); 4].map(|()| r.word());
    let [attention_heads, kv_heads, window, segment, feed_forward] = [(); 5].map(|()| r.word());
    let clip = r.float();
    memory.clip = (clip != 0.0).then_some(clip);
    let (theta_max, rotary) = (r.float(), r.float());
    r.zeros("block: zeros at the end", 32)?;
    let spec = BlockSpec {
        kind,
        memory,
        read,
        heads,
        head_width,
        conv_width,
        theta_max,
        forgetting,
        momentum,
        gates_by_chunk,
        persistent,
        attention_heads,
        kv_heads,
        window,
        segment,
        rotary,
        combine,
        mac_read_segment,
        feed_forward,
    };
    spec.validate()?;
    Ok(spec)
}

/// Block i of checked records.
pub(super) fn record(records: &[u8], i: usize) -> Result<BlockSpec> {
    let missing = Error::Shape { what: "blocks, more than", expected: records.len() / RECORD, found: i };
    decode(records.chunks_exact(RECORD).nth(i).ok_or(missing)?)
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
    let magic = r.take::<8>();
    if magic != MAGIC {
        return Err(format("blob: magic and version", u64::from_le_bytes(MAGIC), u64::from_le_bytes(magic)));
    }
    match r.word() {
        bytes @ (4 | 8) => Ok(bytes),
        other => Err(format("blob: bytes of a number (4 or 8)", 4, other as u64)),
    }
}

/// `trusted`: the checksum was compared before.
fn parse<T: Scalar>(bytes: &[u8], trusted: bool) -> Result<Parsed<'_>> {
    let size = number_bytes(bytes)?;
    if size != T::BYTES {
        return Err(format("blob: bytes of a number", T::BYTES as u64, size as u64));
    }
    let mut r = Reader { bytes: bytes.get(12..).unwrap_or(&[]) };
    let rows = r.variant("blob: input", &[false, true])?;
    let head_bias = r.variant("blob: bias of the head", &[false, true])?;
    let tied = r.variant("blob: tied", &[false, true])?;
    r.zeros("blob: a zero", 1)?;
    let [size, outputs, width, blocks] = [(); 4].map(|()| r.word());
    let declared = u64::from_le_bytes(r.take());
    r.zeros("blob: zeros of the header", 24)?;
    let input = if rows { Input::Rows(size) } else { Input::Tokens(size) };
    let spec = ModelSpec { input, outputs, head_bias, width, tied, blocks };
    spec.validate()?;
    let begin = header_len(blocks);
    let short = |needed: usize| format("blob: bytes", needed as u64, bytes.len() as u64);
    let records = bytes.get(HEADER..begin).ok_or_else(|| short(begin))?;
    let (mut sum, mut heads, mut cut) = (0usize, 0usize, 0);
    for i in 0..blocks {
        let block = record(records, i)?;
        sum = sum.saturating_add(block.parameters(width));
        heads = heads.saturating_add(block.memories());
        if block.kind == Kind::Mac {
            cut = common(cut, block.segment);
        }
    }
    let numbers = spec.count(core::iter::once(sum))?;
    if declared != numbers as u64 {
        return Err(format("blob: numbers of this configuration", numbers as u64, declared));
    }
    let end = numbers.saturating_mul(T::BYTES).saturating_add(begin);
    let body = bytes.get(begin..end).ok_or_else(|| short(end.saturating_add(CHECKSUM)))?;
    let mut last = Reader { bytes: bytes.get(end..).unwrap_or(&[]) };
    if last.bytes.len() != CHECKSUM {
        return Err(short(end.saturating_add(CHECKSUM)));
    }
    let expected = u32::from_le_bytes(last.take());
    let found = if trusted { expected } else { crc32fast::hash(&bytes[..end]) };
    if expected != found {
        return Err(format("blob: checksum", u64::from(expected), u64::from(found)));
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
    /// [`Error::Format`] or [`Error::Config`] for bytes that are no blob of this number format, or damaged; also where the
    /// parameters do not lie at a multiple of the number's alignment, or the processor is big-endian: then
    /// [`Model::read_into`] copies them.
    pub fn parse(bytes: &'a [u8]) -> Result<Self>
    where
        T: Pod,
    {
        Self::lying(parse::<T>(bytes, false)?)
    }

    /// The same for bytes that [`Model::parse`] has seen before: the checksum is not computed again, which is what takes the
    /// time. Other bytes may be another model, and nothing worse.
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
            return Err(format("blob: little-endian processor; use read_into here: bytes of a number", 1, 0));
        }
        let off = parsed.body.as_ptr().align_offset(align_of::<T>()) as u64;
        let numbers = bytemuck::try_cast_slice(parsed.body)
            .map_err(|_| format("blob: aligned parameters (or use read_into); bytes to the next such place", 0, off))?;
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
