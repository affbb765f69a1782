//! A model's weights as one blob: what streams run on, and what `titans export` writes.

use super::{Head, Kind, Model, ModelConfig, Shortcut};
use crate::device::Device;
use crate::error::{Error, Result};
use std::fmt;
use titans_kernel::arch::SimdScalar;
use titans_kernel::model as kernel;

/// A blob in memory, aligned for its numbers. Streams of several threads may share it.
///
/// ```
/// use titans_host::device::cpu::Cpu;
/// use titans_host::model::{Model, ModelConfig, Weights};
///
/// let cpu = Cpu::<f32>::new(Some(1))?;
/// let small = ModelConfig { width: 16, blocks: 1, heads: 1, head_width: 16, feed_forward: 32, ..Default::default() };
/// let weights = Weights::of(&cpu, &Model::new(&cpu, small, 1)?)?;
/// let bytes = weights.bytes(); // what the kernel's model and the C library run on
/// assert_eq!(Weights::<f32>::from_bytes(bytes)?.model()?.spec().width, 16);
/// assert!(Weights::<f32>::from_bytes(&bytes[1..]).is_err());
/// # Ok::<(), titans_host::Error>(())
/// ```
pub struct Weights<T> {
    /// The blob, and behind it what fills the last word.
    words: Vec<T>,
    bytes: usize,
}

impl<T: SimdScalar> Weights<T> {
    /// The weights of a model, downloaded.
    ///
    /// # Errors
    /// What the device reports; [`Error::Kernel`] for a configuration that the kernel refuses.
    pub fn of<D: Device<Elem = T>>(device: &D, model: &Model<D>) -> Result<Self> {
        let (spec, blocks) = specs(&model.config)?;
        let mut weights = Self::blank(kernel::blob_len::<T>(&spec, &blocks)?);
        let header = kernel::encode_header::<T>(&spec, &blocks, weights.bytes_mut())?;
        let mut at = header;
        for p in model.params.iter() {
            let numbers = device.download(p.value)?;
            let out = weights.bytes_mut().get_mut(at..at + numbers.len() * T::BYTES);
            let out =
                out.ok_or_else(|| Error::usage(format!("parameter {}: more numbers than the blob has", p.name)))?;
            out.chunks_exact_mut(T::BYTES).zip(&numbers).for_each(|(bytes, x)| x.write_le(bytes));
            at += numbers.len() * T::BYTES;
        }
        if at + kernel::CHECKSUM != weights.bytes {
            let expected = weights.bytes - kernel::CHECKSUM - header;
            return Err(Error::usage(format!("parameters: expected {expected} bytes, found {}", at - header)));
        }
        let checksum = kernel::checksum(&weights.bytes()[..at]);
        weights.bytes_mut()[at..].copy_from_slice(&checksum);
        Ok(weights)
    }

    /// A blob from a file or from memory; it is copied and checked.
    ///
    /// # Errors
    /// [`Error::Kernel`] for bytes that are no blob of such numbers, or damaged.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut weights = Self::blank(bytes.len());
        weights.bytes_mut().copy_from_slice(bytes);
        kernel::Model::<T>::parse(weights.bytes())?;
        Ok(weights)
    }

    fn blank(bytes: usize) -> Self {
        Self { words: vec![T::ZERO; bytes.div_ceil(T::BYTES)], bytes }
    }

    /// The blob.
    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.bytes]
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.bytes]
    }

    /// The kernel's model over it.
    ///
    /// # Errors
    /// None that weights which were made can meet.
    pub fn model(&self) -> Result<kernel::Model<'_, T>> {
        Ok(kernel::Model::trusted(self.bytes())?)
    }
}

impl<T> fmt::Debug for Weights<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Weights").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// A configuration in the kernel's words.
///
/// # Errors
/// As [`ModelConfig::validate`].
pub fn specs(c: &ModelConfig) -> Result<(kernel::ModelSpec, Vec<kernel::BlockSpec>)> {
    c.validate()?;
    unchecked(c)
}

/// The same of a configuration that may not be valid.
pub(super) fn unchecked(c: &ModelConfig) -> Result<(kernel::ModelSpec, Vec<kernel::BlockSpec>)> {
    let memory = c.memory_spec()?;
    let block = |kind: Kind| kernel::BlockSpec {
        kind,
        wiring: c.wiring,
        memory: memory.clone(),
        read: c.memory.read,
        heads: c.heads,
        head_width: c.head_width,
        conv_width: c.conv_width,
        theta_max: c.theta_max,
        eta_max: c.eta_max,
        forgetting: c.forgetting,
        momentum: c.momentum,
        gate_span: c.gates,
        persistent: c.persistent,
        attention_heads: c.query_heads(),
        kv_heads: c.kv_heads(),
        window: c.attention.window,
        segment: c.attention.segment,
        rotary: if c.attention.rotary { kernel::ROTARY_BASE } else { 0.0 },
        combine: c.combine,
        mac_feed: c.attention.feed,
        mac_read: c.attention.read,
        feed_forward: c.feed_forward,
    };
    let spec = kernel::ModelSpec {
        input: if c.inputs > 0 { kernel::Input::Rows(c.inputs) } else { kernel::Input::Tokens(c.vocabulary) },
        outputs: c.said(),
        head_bias: match c.head {
            Head::Regression => true,
            Head::Tokens | Head::Classes => false,
        },
        width: c.width,
        tied: c.tied,
        shortcut: c.shortcut != Shortcut::None,
        blocks: c.blocks,
    };
    Ok((spec, c.kinds().map(block).collect()))
}
