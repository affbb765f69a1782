//! What the device's orchestration asks of a machine: memory, copies, matrix products, kernel launches.
//!
//! The trait is deliberately thin: everything above it (shapes, layouts, which kernel runs on what) is the same for the
//! real machine ([`Nvidia`](super::Nvidia)) and for the emulated one ([`Emulator`](super::emulator::Emulator)), so it
//! is tested on machines without a GPU.

use super::probe::failed;
use crate::device::MemoryUse;
use crate::error::Result;
use titans_kernel::choice;

/// An address in the machine's memory. 0 is no address: an optional argument that is absent.
pub type Address = u64;

/// One argument of a kernel. Kernels take pointers, `long long` and `float`, nothing else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arg {
    /// `float *` or `unsigned *`.
    Address(Address),
    /// `long long`.
    Int(i64),
    /// `float`.
    Float(f32),
}

/// One factor (or the result) of a batched product: a column-major matrix with leading dimension `ld`, the next one
/// of the batch `stride` elements further.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factor {
    /// Address of the first element of the first matrix.
    pub address: Address,
    /// Elements from one column to the next.
    pub ld: i32,
    /// Elements from one matrix of the batch to the next.
    pub stride: i64,
    /// Multiply by the transpose; must be false for the result.
    pub transposed: bool,
}

choice! {
    /// What the factors of a product may be rounded to before they are multiplied. All arrays are `f32`, and so are
    /// sums: their exponents have the range of `f32`, so that training needs no scale of its loss.
    #[derive(Default)]
    pub enum Precision: "precision" {
        /// Not at all: 24 bits.
        #[default]
        F32 = 0, "f32";
        /// 11 bits, from compute capability 8.0 on.
        Tf32 = 1, "tf32";
        /// 8 bits, from compute capability 8.0 on.
        Bf16 = 2, "bf16";
    }
}

/// `C = alpha op(A) op(B) + beta C` for a batch, column-major, as `cublasGemmStridedBatchedEx` defines it: op(A) is
/// m × k, op(B) is k × n, C is m × n. C's old values are not read when beta is 0.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchedGemm {
    /// Of A and B.
    pub precision: Precision,
    /// Rows of op(A) and C.
    pub m: i32,
    /// Columns of op(B) and C.
    pub n: i32,
    /// Columns of op(A), rows of op(B).
    pub k: i32,
    /// Factor of the product.
    pub alpha: f32,
    /// A.
    pub a: Factor,
    /// B.
    pub b: Factor,
    /// Factor of C's old values.
    pub beta: f32,
    /// C.
    pub c: Factor,
    /// Matrices in the batch.
    pub batch: i32,
}

/// The blocks of a launch of a block kernel. All shared memory is the kernel's own, of a size known to the compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid {
    /// Blocks that have something to do, at least 1. Fewer may start: a block kernel takes its units in steps of the
    /// grid.
    pub blocks: i64,
    /// Threads of a block, as the kernel declares them.
    pub threads: u32,
}

/// Operations that a machine recorded: its own number of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recording(pub u64);

/// A machine with its own memory. Operations are enqueued in order and may run after a call returned.
///
/// All sizes are bytes.
pub trait Driver: Send + Sync + std::fmt::Debug + 'static {
    /// For people and logs.
    fn describe(&self) -> String;

    /// How its memory is used, where it can be asked.
    fn memory(&self) -> Option<MemoryUse> {
        None
    }

    /// Reserves `bytes` of unspecified content; `bytes` is at least 1.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when there is no room or the machine failed.
    fn alloc(&self, bytes: usize) -> Result<Address>;

    /// Gives memory back once all operations enqueued before are done. A failure is not reported: the next operation
    /// will fail.
    ///
    /// # Safety
    /// `address` came from [`Driver::alloc`] of this machine, and nothing uses it any more.
    unsafe fn free(&self, address: Address);

    /// Memory that stays reserved is given up: it will be lent again as if it were new. A machine for tests may
    /// spoil it.
    ///
    /// # Safety
    /// As of [`Driver::free`].
    unsafe fn retire(&self, address: Address) {
        let _ = address;
    }

    /// Copies from the host; `host` may be reused when the call returns.
    ///
    /// # Safety
    /// `to` has room for `host`.
    unsafe fn upload(&self, host: &[u8], to: Address) -> Result<()>;

    /// Waits for all enqueued operations and copies to the host.
    ///
    /// # Safety
    /// `from` holds at least as many bytes as `host`.
    unsafe fn download(&self, from: Address, host: &mut [u8]) -> Result<()>;

    /// Copies inside the machine.
    ///
    /// # Safety
    /// Both ranges lie inside live allocations and do not overlap.
    unsafe fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<()>;

    /// Sets every byte to 0.
    ///
    /// # Safety
    /// The range lies inside a live allocation.
    unsafe fn clear(&self, at: Address, bytes: usize) -> Result<()>;

    /// A batched matrix product, whose sums are f32.
    ///
    /// # Safety
    /// Every element that `gemm` names lies inside a live allocation, and C overlaps neither A nor B.
    unsafe fn gemm(&self, gemm: &BatchedGemm) -> Result<()>;

    /// Runs `threads` threads of a kernel of `kernels/*.cu`. The first argument of every kernel is `threads`; more
    /// threads than that may start and return at once.
    ///
    /// # Safety
    /// The arguments have the kinds the kernel declares, and every address covers what the kernel's comment says it
    /// touches.
    unsafe fn launch(&self, kernel: &'static str, threads: i64, args: &[Arg]) -> Result<()>;

    /// Runs a block kernel of `kernels/*.cu`.
    ///
    /// # Safety
    /// As for [`Driver::launch`].
    unsafe fn launch_blocks(&self, kernel: &'static str, grid: Grid, args: &[Arg]) -> Result<()>;

    /// Waits for all enqueued operations.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when one of them failed.
    fn synchronize(&self) -> Result<()>;

    /// From now on copies inside the machine, clears, products and launches are kept instead of run, until
    /// [`Driver::end_recording`].
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) where the machine cannot.
    fn begin_recording(&self) -> Result<()> {
        Err(failed("this machine records nothing"))
    }

    /// What was kept since [`Driver::begin_recording`], which is over whatever comes of it.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) when something was asked meanwhile that cannot be kept.
    fn end_recording(&self) -> Result<Recording> {
        Err(failed("this machine records nothing"))
    }

    /// Enqueues all operations of a recording, as one.
    ///
    /// # Safety
    /// The recording is this machine's and was not given up; all memory that it works on is as it was.
    unsafe fn replay(&self, recording: Recording) -> Result<()> {
        let _ = recording;
        Err(failed("this machine records nothing"))
    }

    /// Gives a recording up, once what was enqueued of it is done.
    ///
    /// # Safety
    /// The recording is this machine's, and is given up once.
    unsafe fn forget(&self, recording: Recording) {
        let _ = recording;
    }
}
