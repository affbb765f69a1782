//! The models, written once for every device.
//!
//! Embedding; blocks of `x += Mixer(rms_norm(x))` and `x += SwiGLU(rms_norm(x))`; a final RMS norm; the head. The
//! mixer is a memory, attention, or both ([`Kind`]). The memory learns while the model reads: [`Mode`] says
//! whether it may.
//!
//! [`Model::forward`] runs a batch of sequences on a [`Tape`](crate::tape::Tape), [`Session`] one uncut stream of any
//! cuts on the kernel's streaming model; both give the same numbers.

mod begin;
mod block;
mod config;
mod dropout;
mod forward;
mod init;
mod layout;
mod loss;
mod mixer;
mod recompute;
mod session;
#[cfg(test)]
mod tests;
mod weights;

pub use config::{AttentionConfig, Head, Kinds, MemoryConfig, ModelConfig, Preset, Shortcut};
pub use dropout::Dropout;
pub use forward::{Forward, Input, Source};
pub(crate) use layout::is_gate;
pub use layout::{Declaration, Init};
pub use loss::Targets;
pub use recompute::{Aim, Recompute};
pub use session::{Session, Step, Taken};
pub use titans_kernel::Choice;
pub use titans_kernel::model::{Combine, GateSpan, Kind, MacFeed, MacRead, Mode, Wiring};
pub use weights::{Weights, specs};

use crate::device::Device;
use crate::error::{Error, Result};
use crate::tape::Params;
use layout::Layout;
use std::fmt::{self, Write as _};
use titans_kernel::memory::MemorySpec;

/// A configuration and its parameters on a device.
///
/// ```
/// use titans_host::device::cpu::Cpu;
/// use titans_host::model::{Model, ModelConfig};
///
/// let small = ModelConfig { width: 16, blocks: 1, heads: 1, head_width: 16, feed_forward: 32, ..Default::default() };
/// let model = Model::new(&Cpu::<f32>::new(Some(1))?, small.clone(), 7)?; // seed 7
/// assert_eq!(model.params.count(), small.parameters()?);
/// # Ok::<(), titans_host::Error>(())
/// ```
pub struct Model<D: Device> {
    /// What it is.
    config: ModelConfig,
    /// What it learned. Shapes and names follow from the configuration.
    pub params: Params<D>,
    layout: Layout,
    spec: MemorySpec,
}

impl<D: Device> Model<D> {
    /// A new model whose parameters are drawn from `seed` on the host, each from its own random stream: the same
    /// numbers on every device.
    ///
    /// # Errors
    /// As [`ModelConfig::validate`]; the device's own errors.
    pub fn new(device: &D, config: ModelConfig, seed: u64) -> Result<Self> {
        config.validate()?;
        let mut params = Params::new();
        for (stream, d) in layout::declarations(&config)?.iter().enumerate() {
            let data = init::draw::<D::Elem>(d, seed, stream as u64);
            params.add(device, d.name.clone(), &d.shape, &data, d.decay)?;
        }
        Self::from_params(config, params)
    }

    /// A model whose parameters hold no particular numbers, made without work on the host: to load into, or to plan
    /// with.
    ///
    /// # Errors
    /// As [`Model::new`].
    pub fn blank(device: &D, config: ModelConfig) -> Result<Self> {
        config.validate()?;
        let mut params = Params::new();
        for d in layout::declarations(&config)? {
            params.add_blank(device, d.name, &d.shape, d.decay)?;
        }
        Self::from_params(config, params)
    }

    /// A model of parameters that were loaded.
    ///
    /// # Errors
    /// As [`ModelConfig::validate`]; [`Error::Usage`] when a parameter is missing, has another shape or is one too
    /// many.
    pub fn from_params(config: ModelConfig, params: Params<D>) -> Result<Self> {
        config.validate()?;
        let declarations = layout::declarations(&config)?;
        for d in &declarations {
            let id = params.id(&d.name).ok_or_else(|| Error::usage(format!("parameter {} is missing", d.name)))?;
            let found = params.shape(id)?;
            if found != d.shape {
                let (name, expected) = (&d.name, &d.shape);
                return Err(Error::usage(format!("parameter {name}: expected shape {expected:?}, found {found:?}")));
            }
        }
        if let Some(extra) = params.iter().find(|p| declarations.iter().all(|d| d.name != p.name)) {
            return Err(Error::usage(format!("parameter {}: this configuration has none of that name", extra.name)));
        }
        let layout = Layout::find(&config, &params)?;
        let spec = config.memory_spec()?;
        Ok(Self { config, params, layout, spec })
    }

    /// What it is.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The memory of one head.
    pub fn memory_spec(&self) -> &MemorySpec {
        &self.spec
    }

    /// A table of the parameters: name, shape, count, and their sum.
    pub fn describe(&self) -> String {
        let mut table = String::new();
        let width = self.params.iter().map(|p| p.name.len()).max().unwrap_or(0).max(9);
        // Writing to a String cannot fail.
        let _ = writeln!(table, "{:width$}  {:>16}  {:>10}", "parameter", "shape", "count");
        for p in self.params.iter() {
            let shape = p.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" × ");
            let count = p.shape.iter().product::<usize>();
            let _ = writeln!(table, "{:width$}  {shape:>16}  {count:>10}", p.name);
        }
        let _ = writeln!(table, "{:width$}  {:>16}  {:>10}", "all", "", self.params.count());
        table
    }
}

impl<D: Device> fmt::Debug for Model<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model").field("config", &self.config).field("params", &self.params.count()).finish()
    }
}
