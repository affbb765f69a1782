//! The CPU: the kernel's operations scheduled over a pool of threads, with a matrix product for its instructions.
//!
//! Results do not depend on the number of threads, and all instruction sets with fused multiply-add give the same
//! bits. Inputs are not searched for NaN operation by operation; ids and targets are checked.

mod attention;
mod buffer;
mod conv;
mod device;
mod elementwise;
mod ends;
mod gemm;
mod linear;
mod memory;
mod norm;
mod patience;
mod rows;
mod scratch;
#[cfg(test)]
mod tests;
mod threads;
mod training;

pub use super::PoolUsage;
pub use buffer::{Buffer, Indices};
pub use gemm::{Isa, Simd, SimdScalar, isa_named, simd};

pub(in crate::device) use buffer::size_class;
pub(in crate::device) use scratch::scratch;

use std::sync::Arc;

use crate::error::Result;
use buffer::Pool;
use threads::Threads;

/// This machine's processor, computing with `f32` or `f64`. Operations have ended when their call returns.
///
/// ```
/// use titans_host::device::Device;
/// use titans_host::device::cpu::Cpu;
///
/// let cpu = Cpu::<f64>::new(Some(1))?; // one thread; `None`: all
/// let (x, mut y) = (cpu.upload(&[-1.0, 0.0, 2.0])?, cpu.zeros(3)?);
/// cpu.silu(&x, &mut y)?;
/// assert_eq!(cpu.download(&y)?[1], 0.0);
/// # Ok::<(), titans_host::Error>(())
/// ```
#[derive(Debug)]
pub struct Cpu<T: SimdScalar> {
    threads: Threads,
    gemm: Simd,
    pool: Arc<Pool<T>>,
}

impl<T: SimdScalar> Cpu<T> {
    /// A device of `threads` threads (all the machine offers if none are given) and the best instructions it has.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] for 0 threads, [`crate::Error::Device`] when the system gives no threads.
    pub fn new(threads: Option<usize>) -> Result<Self> {
        Self::with_instruction_set(threads, Isa::best())
    }

    /// Like [`Cpu::new`] with a chosen instruction set.
    ///
    /// # Errors
    /// As [`Cpu::new`], and [`crate::Error::Device`] when the processor lacks the instructions.
    pub fn with_instruction_set(threads: Option<usize>, isa: Isa) -> Result<Self> {
        let available = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = Threads::new(threads.unwrap_or_else(available))?;
        Ok(Self { threads, gemm: simd(isa)?, pool: Arc::default() })
    }

    /// Threads at work.
    pub fn threads(&self) -> usize {
        self.threads.count()
    }

    /// `avx512`, `avx2` or `portable`.
    pub fn instruction_set(&self) -> &'static str {
        self.gemm.isa().name()
    }

    /// The matrix product it lends to the kernel.
    pub fn gemm(&self) -> &Simd {
        &self.gemm
    }

    /// The memory in its buffers.
    pub fn pool_usage(&self) -> PoolUsage {
        self.pool.usage()
    }

    /// Measures the peak of [`Cpu::pool_usage`] from here on.
    pub fn restart_peak(&self) {
        self.pool.restart_peak();
    }

    /// A buffer of unspecified content.
    fn take(&self, len: usize) -> Result<Buffer<T>> {
        self.pool.take(len)
    }
}
