//! CUDA: buffers in the device's memory, matrix products by cuBLAS, everything else by the kernels of `kernels/*.cu`,
//! compiled by NVRTC at first use.
//!
//! One binary serves machines with and without CUDA: the libraries are looked for at run time, and [`probe()`] says
//! what is missing. The orchestration is generic over [`Driver`], a thin interface to the machine with three
//! implementations: [`Nvidia`]; [`emulator::Emulator`], which compiles the same kernels with the C++ compiler and
//! runs them as loops and fibers, so that the device is tested where there is no GPU; and [`counting::Counting`], which
//! only counts what it is asked. See `docs/CUDA.md`.
//!
//! This is the only part of the host with `unsafe` code: each block says why it is sound.

mod arena;
mod attention;
mod buffer;
mod cache;
mod columns;
pub mod compile;
pub mod counting;
mod device;
mod driver;
pub mod emulator;
mod indices;
mod many;
mod memory;
mod nvidia;
mod ops;
mod probe;
mod product;
mod recorder;
mod repeat;
mod scratch;
mod search;
mod sent;
mod symbols;
mod watch;

pub use buffer::DeviceBuffer;
pub use driver::{Address, Arg, BatchedGemm, Driver, Factor, Grid, Precision, Recording};
pub use indices::DeviceIndices;
pub use nvidia::Nvidia;
pub use probe::{Info, Probe, probe};
pub use repeat::RecordedSteps;
pub use search::LibraryFound;

pub(in crate::device) use indices::words_len;
pub(in crate::device) use memory::{only_asks, walks};
pub(in crate::device) use scratch::scratch;

use crate::device::PoolUsage;
use crate::error::Result;
use arena::Arena;
use std::sync::Arc;

/// A CUDA device, or what a [`Driver`] makes look like one.
#[derive(Debug)]
pub struct Cuda<R: Driver = Nvidia> {
    driver: Arc<Arena<R>>,
    precision: Precision,
    /// Whether training steps are recorded and replayed.
    graph: bool,
}

impl Cuda<Nvidia> {
    /// Opens CUDA device `ordinal` (see [`probe()`]).
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) saying what is missing and what to install, or that there is no such
    /// device.
    pub fn new(ordinal: usize) -> Result<Self> {
        Ok(Self::with_driver(Arc::new(Nvidia::new(ordinal)?)))
    }

    /// Opens the first CUDA device that can be used, and says why those before it cannot (another program has it for
    /// itself, it is older than the compiler knows).
    ///
    /// # Errors
    /// As [`Cuda::new`]'s; where no device can be used, the reasons of all.
    pub fn first() -> Result<(Self, Vec<String>)> {
        let (driver, skipped) = Nvidia::first()?;
        Ok((Self::with_driver(Arc::new(driver)), skipped))
    }
}

impl<R: Driver> Cuda<R> {
    /// The device over any machine.
    pub fn with_driver(driver: Arc<R>) -> Self {
        Self { driver: Arc::new(Arena::new(driver)), precision: Precision::F32, graph: false }
    }

    /// The same, whose linear maps multiply in this precision. Everything else stays `f32`: the memory, attention,
    /// norms, losses, parameters and their moments.
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    /// The same, whose training steps become one launch each, where they can (`docs/CUDA.md`, "One launch a step").
    /// Results have the same bits. While a step is recorded no other thread may use the device.
    pub fn with_graph(self, graph: bool) -> Self {
        Self { graph, ..self }
    }

    /// Bytes in its buffers, and of memory that is kept for the next ones.
    pub fn pool_usage(&self) -> PoolUsage {
        self.driver.usage()
    }
}
