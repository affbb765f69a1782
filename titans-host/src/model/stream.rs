//! What a stream carries from one segment to the next.

use super::layout::Mixer;
use super::{MemoryMode, Model};
use crate::device::Device;
use crate::error::{Error, Result};
use crate::tape::Shared;
use std::fmt;

/// What one layer carries.
pub struct LayerState<D: Device> {
    /// The memories' weights and momentum `[batch, heads, 2 P]`.
    pub memory: Shared<D>,
    /// The convolutions' last `conv_width − 1` inputs `[batch, conv_width − 1, heads · head_width]`, of q, k and v.
    pub tails: [Shared<D>; 3],
}

/// The state of `batch` streams after a whole number of chunks, on the device. Cloning is cheap: buffers are shared
/// and replaced, never changed in place.
pub struct StreamState<D: Device> {
    pub(super) batch: usize,
    pub(super) position: u64,
    pub(super) absent: Option<bool>,
    pub(super) layers: Vec<LayerState<D>>,
}

impl<D: Device> Clone for LayerState<D> {
    fn clone(&self) -> Self {
        Self { memory: self.memory.clone(), tails: self.tails.clone() }
    }
}

impl<D: Device> Clone for StreamState<D> {
    fn clone(&self) -> Self {
        Self { batch: self.batch, position: self.position, absent: self.absent, layers: self.layers.clone() }
    }
}

impl<D: Device> StreamState<D> {
    /// `batch` streams before their first token.
    ///
    /// # Errors
    /// [`Error::Usage`] for a batch of 0; the device's own errors.
    pub fn new(device: &D, model: &Model<D>, batch: usize) -> Result<Self> {
        if batch == 0 {
            return Err(Error::usage("stream: expected a batch of 1 or more, found 0"));
        }
        let (c, p) = (&model.config, model.spec.params());
        let tail = batch * c.conv_width.saturating_sub(1) * c.inner();
        let layer = |block: &super::layout::Block| {
            let (Mixer::Lmm { memory: params, .. }, None) = (&block.mixer, block.persistent) else {
                return Err(Error::usage("stream: expected a model of lmm blocks without persistent tokens"));
            };
            let mut memory = device.alloc(batch * c.heads * 2 * p)?;
            device.memory_start(batch, c.heads, model.params.value(params.w0)?, &mut memory)?;
            let zeros = Shared::<D>::new(device.zeros(tail)?);
            let tails = [zeros.clone(), zeros.clone(), zeros];
            Ok(LayerState { memory: Shared::new(memory), tails })
        };
        let layers = model.layout.blocks.iter().map(layer).collect::<Result<_>>()?;
        Ok(Self { batch, position: 0, absent: None, layers })
    }

    /// Tokens of each stream so far.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Streams.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// What each layer carries.
    pub fn layers(&self) -> &[LayerState<D>] {
        &self.layers
    }

    /// Whether a segment of `batch` streams may follow.
    pub(super) fn check(&self, model: &Model<D>, batch: usize, mode: MemoryMode) -> Result<()> {
        let chunk = model.spec.chunk as u64;
        if self.layers.len() != model.layout.blocks.len() {
            let (e, f) = (model.layout.blocks.len(), self.layers.len());
            return Err(Error::usage(format!("stream: expected {e} layers, found {f}: it is another model's")));
        }
        if self.batch != batch {
            return Err(Error::usage(format!("stream: expected a batch of {}, found {batch}", self.batch)));
        }
        if !self.position.is_multiple_of(chunk) {
            return Err(Error::usage(format!(
                "stream: {} tokens are no whole number of chunks of {chunk}, so no segment can follow; cut segments at \
                 multiples of the chunk or use a Session",
                self.position
            )));
        }
        if self.absent.is_some_and(|absent| absent != (mode == MemoryMode::Absent)) {
            return Err(Error::usage("stream: the memory cannot come or go within a stream; begin a new one"));
        }
        Ok(())
    }
}

impl<D: Device> fmt::Debug for LayerState<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LayerState").finish_non_exhaustive()
    }
}

impl<D: Device> fmt::Debug for StreamState<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamState")
            .field("batch", &self.batch)
            .field("position", &self.position)
            .field("layers", &self.layers.len())
            .finish()
    }
}
