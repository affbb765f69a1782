//! A whole model over one block of bytes, and streams through it: any stack of blocks, without an allocation.
//!
//! [`ModelSpec`] and [`BlockSpec`]s say what a model is. [`encode_header`] and [`blob_len`] lay out its *blob*, one
//! block of bytes with the configuration, all parameters and a checksum; [`Model`] reads it where it lies (in memory,
//! mapped, in flash), and [`Stream`] runs it in one buffer of numbers that the caller lends. Many streams may share one
//! model, from several threads.

mod blob;
mod feed;
mod kept;
mod position;
mod record;
mod saved;
mod session;
mod spec;
mod stream;

pub use crate::block::{
    BlockSpec, BlockWeights, Combine, GateSpan, Kind, MacFeed, MacRead, Mode, Projection, ROTARY_BASE, Tensor,
    WeightSource, Wiring,
};
use crate::block::{Numbers, scratch_len, state_len};
pub use crate::crc::CHECKSUM;
use crate::error::Result;
pub use crate::memory::LIMIT;
use crate::scalar::Scalar;
use crate::scratch::Count;
use crate::view::Mat;
pub use blob::{blob_len, checksum, encode_header, header_len, number_bytes};
pub use feed::Feed;
pub use kept::KeptState;
pub use position::Position;
pub use session::Session;
pub use spec::{FirstWeights, Input, LastWeights, MAX_BLOCKS, ModelSpec};
use stream::RowSpace;
pub use stream::Stream;

/// A model that borrows its parameters. Copies are cheap and share them.
///
/// ```
/// use titans_kernel::model::{BlockSpec, CHECKSUM, Input, Kind, Model, ModelSpec, blob_len, checksum, encode_header};
///
/// let blocks = [BlockSpec::new(Kind::Lmm, 1, 4)?];
/// let spec = ModelSpec {
///     input: Input::Tokens(5),
///     outputs: 5,
///     head_bias: false,
///     width: 4,
///     tied: true,
///     shortcut: false,
///     blocks: 1,
/// };
/// // What `titans export` writes: the header, the parameters (here zeros), and a checksum of both.
/// let mut blob = vec![0; blob_len::<f32>(&spec, &blocks)?];
/// encode_header::<f32>(&spec, &blocks, &mut blob)?;
/// let end = blob.len() - CHECKSUM;
/// let sum = checksum(&blob[..end]);
/// blob[end..].copy_from_slice(&sum);
///
/// let mut numbers = vec![0.0f32; spec.parameters(&blocks)?];
/// let model = Model::read_into(&blob, &mut numbers)?; // `Model::parse` leaves them in an aligned blob
/// assert_eq!((*model.spec(), model.block(0)?, model.memories()), (spec, blocks[0].clone(), 1));
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Model<'a, T> {
    spec: ModelSpec,
    /// The blob's records of blocks, checked.
    records: &'a [u8],
    numbers: &'a [T],
    checksum: u32,
    heads: usize,
    /// Pushes are cut at multiples of this: the end of a segment is one. 0 for nowhere.
    cut: usize,
}

impl<'a, T: Scalar> Model<'a, T> {
    /// What it is, but for its blocks.
    pub const fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    /// Block i, from 0.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) when there is none.
    pub fn block(&self, i: usize) -> Result<BlockSpec> {
        record::record(self.records, i)
    }

    /// Every parameter, in the order of [`ModelSpec::tensors`].
    pub const fn numbers(&self) -> &'a [T] {
        self.numbers
    }

    /// The blob's checksum: it names the configuration and the parameters.
    pub const fn checksum(&self) -> u32 {
        self.checksum
    }

    /// Memories of all blocks together: the columns of a push's surprise, block after block.
    pub const fn memories(&self) -> usize {
        self.heads
    }

    /// Numbers in the buffer of a [`Stream`] that takes up to `rows` tokens at once; longer pushes are cut.
    pub fn stream_len(&self, rows: usize) -> usize {
        let blocks = (0..self.spec.blocks).filter_map(|i| self.block(i).ok());
        stream_len::<T>(&self.spec, blocks, rows)
    }

    /// Numbers at the start of such a buffer that are the stream's state: with a copy of them and [`Stream::place`] one
    /// can go back to where it stood. The numbers behind them are scratch.
    pub fn state_len(&self, rows: usize) -> usize {
        let mut room = Count::default();
        for block in (0..self.spec.blocks).filter_map(|i| self.block(i).ok()) {
            room.place(state_len::<T>(&block, rows));
        }
        room.0
    }

    /// Calls `visit` with the configuration and the parameters of every block in order; returns those behind them.
    /// `numbers` are the parameters from the first block's on.
    fn blocks(
        &self,
        numbers: &mut Numbers<'a, T>,
        mut visit: impl FnMut(&BlockSpec, &BlockWeights<Mat<'a, T>, &'a [T]>) -> Result<()>,
    ) -> Result<LastWeights<Mat<'a, T>, &'a [T]>> {
        for i in 0..self.spec.blocks {
            let spec = self.block(i)?;
            visit(&spec, &spec.weights(self.spec.width, numbers)?)?;
        }
        self.spec.last(numbers)
    }
}

/// [`Model::stream_len`] before there is a model; `usize::MAX` where it would be more than that.
pub fn stream_len<T: Scalar>(spec: &ModelSpec, blocks: impl IntoIterator<Item = BlockSpec>, rows: usize) -> usize {
    let (mut room, mut scratch) = (Count::default(), 0);
    for block in blocks {
        room.place(state_len::<T>(&block, rows));
        scratch = scratch.max(scratch_len::<T>(&block, spec.width, rows));
    }
    // What the shortcut says, when the blocks are done.
    scratch = scratch.max(if spec.shortcut { rows.saturating_mul(spec.outputs) } else { 0 });
    let taken: Result<RowSpace<'_, T>> = RowSpace::take(&mut room, rows, spec.width);
    room.place(scratch);
    if taken.is_ok() { room.0 } else { usize::MAX }
}
