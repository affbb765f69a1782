//! What the orchestration asks of a machine, by the driver's and cuBLAS's calls.

use super::{Nvidia, POOL_RESERVED, POOL_USED};
use crate::device::MemoryUse;
use crate::device::cuda::driver::{Address, Arg, BatchedGemm, Driver, Grid, Precision, Recording};
use crate::device::cuda::probe::failed;
use crate::device::cuda::symbols::CallStatus;
use crate::error::Result;
use std::ffi::{c_int, c_void};
use std::sync::PoisonError;

/// Threads of a block where a kernel's threads know nothing of one another.
const BLOCK: u32 = 256;
/// Blocks that one launch can start.
const MOST_BLOCKS: u32 = i32::MAX as u32;
/// `CUDA_ERROR_OUT_OF_MEMORY`.
const OUT_OF_MEMORY: CallStatus = 2;

impl Driver for Nvidia {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn memory(&self) -> Option<MemoryUse> {
        let (mut free, mut total) = (0, 0);
        // SAFETY: addresses for the answers.
        self.call("asking for the memory", |driver| unsafe { (driver.calls.memory)(&mut free, &mut total) }).ok()?;
        let (free, total) = (free as u64, total as u64);
        let Some(pool) = self.pool else { return Some(MemoryUse { used: total - free, free, total }) };
        let [used, reserved] = [POOL_USED, POOL_RESERVED].map(|which| self.pool_number(pool, which).unwrap_or(0));
        // What the pool keeps and nobody uses is free for us.
        Some(MemoryUse { used, free: free + reserved.saturating_sub(used), total })
    }

    fn alloc(&self, bytes: usize) -> Result<Address> {
        let (mut address, mut status) = (0, 0);
        let done = self.call("reserving memory", |driver| {
            // SAFETY: an address for the answer; the stream belongs to the context.
            status = unsafe {
                match self.pool {
                    Some(_) => (driver.calls.alloc_pooled)(&mut address, bytes, self.stream.0),
                    None => (driver.calls.alloc)(&mut address, bytes),
                }
            };
            status
        });
        match done {
            Err(_) if status == OUT_OF_MEMORY => Err(failed(self.no_room(bytes))),
            done => done.map(|()| address),
        }
    }

    unsafe fn free(&self, address: Address) {
        // SAFETY: the caller gives up an address of `alloc`, which took it from the same allocator. A device that
        // failed reports it at the next operation; there is nothing else to do here.
        let _ = self.call("freeing memory", |driver| unsafe {
            match self.pool {
                Some(_) => (driver.calls.free_pooled)(address, self.stream.0),
                None => (driver.calls.free)(address),
            }
        });
    }

    unsafe fn upload(&self, host: &[u8], to: Address) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.send(host, to) }
    }

    unsafe fn download(&self, from: Address, host: &mut [u8]) -> Result<()> {
        // SAFETY: the caller promises the bytes at `from`; `host` stays borrowed until the copy is done.
        self.call("copying from the device", |driver| unsafe {
            (driver.calls.copy_from_device)(host.as_mut_ptr().cast(), from, host.len(), self.stream.0)
        })?;
        self.synchronize()
    }

    unsafe fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<()> {
        // SAFETY: the caller promises both ranges.
        self.call("copying on the device", |driver| unsafe {
            (driver.calls.copy_on_device)(to, from, bytes, self.stream.0)
        })
    }

    unsafe fn clear(&self, at: Address, bytes: usize) -> Result<()> {
        // SAFETY: the caller promises the range.
        self.call("clearing memory", |driver| unsafe { (driver.calls.fill_bytes)(at, 0, bytes, self.stream.0) })
    }

    unsafe fn gemm(&self, g: &BatchedGemm) -> Result<()> {
        let blas = self.blas.lock().unwrap_or_else(PoisonError::into_inner);
        self.call("a matrix product", |_| 0)?;
        // SAFETY: the caller promises that every element named lies in live memory; alpha and beta are read before
        // the call returns (host pointer mode, the default).
        let status = unsafe {
            (self.cublas.0.product)(
                blas.0,
                c_int::from(g.a.transposed),
                c_int::from(g.b.transposed),
                g.m,
                g.n,
                g.k,
                (&raw const g.alpha).cast(),
                g.a.address as *const c_void,
                REAL_32,
                g.a.ld,
                g.a.stride,
                g.b.address as *const c_void,
                REAL_32,
                g.b.ld,
                g.b.stride,
                (&raw const g.beta).cast(),
                g.c.address as *mut c_void,
                REAL_32,
                g.c.ld,
                g.c.stride,
                g.batch,
                compute_type(g.precision),
                USUAL_ALGORITHM,
            )
        };
        self.product_call(&format!("a matrix product of {} × {} × {}, {} times", g.m, g.k, g.n, g.batch), status)
    }

    unsafe fn launch(&self, kernel: &'static str, threads: i64, args: &[Arg]) -> Result<()> {
        let blocks = u32::try_from(threads.div_euclid(i64::from(BLOCK)) + 1)
            .ok()
            .filter(|&b| b <= MOST_BLOCKS)
            .ok_or_else(|| failed(format!("{kernel}: {threads} threads are more than one launch can start")))?;
        // SAFETY: the caller promises kinds and ranges.
        unsafe { self.start(kernel, blocks, BLOCK, args) }
    }

    unsafe fn launch_blocks(&self, kernel: &'static str, grid: Grid, args: &[Arg]) -> Result<()> {
        // What is beyond one grid the kernel's own loop reaches.
        let blocks = u32::try_from(grid.blocks).unwrap_or(u32::MAX).min(MOST_BLOCKS);
        // SAFETY: the caller promises kinds and ranges.
        unsafe { self.start(kernel, blocks, grid.threads, args) }
    }

    fn synchronize(&self) -> Result<()> {
        self.wait()
    }

    fn begin_recording(&self) -> Result<()> {
        self.begin_graph()
    }

    fn end_recording(&self) -> Result<Recording> {
        self.end_graph()
    }

    unsafe fn replay(&self, recording: Recording) -> Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.launch_graph(recording) }
    }

    unsafe fn forget(&self, recording: Recording) {
        // SAFETY: the caller's promise.
        unsafe { self.destroy_graph(recording) }
    }
}

/// `CUDA_R_32F` and `CUBLAS_GEMM_DEFAULT`.
const REAL_32: c_int = 0;
const USUAL_ALGORITHM: c_int = -1;

/// `CUBLAS_COMPUTE_32F`, and the two that allow the library to round the factors to TF32 and bf16. Where the hardware
/// has none, it does not.
const fn compute_type(precision: Precision) -> c_int {
    match precision {
        Precision::F32 => 68,
        Precision::Tf32 => 77,
        Precision::Bf16 => 75,
    }
}

impl Nvidia {
    /// Enqueues a launch.
    ///
    /// # Safety
    /// As [`Driver::launch`].
    unsafe fn start(&self, kernel: &'static str, blocks: u32, threads: u32, args: &[Arg]) -> Result<()> {
        let function = self.function(kernel)?;
        let mut params: Vec<*mut c_void> = args
            .iter()
            .map(|arg| match arg {
                Arg::Address(x) => std::ptr::from_ref(x).cast_mut().cast(),
                Arg::Int(x) => std::ptr::from_ref(x).cast_mut().cast(),
                Arg::Float(x) => std::ptr::from_ref(x).cast_mut().cast(),
            })
            .collect();
        let (stream, none) = (self.stream.0, std::ptr::null_mut());
        // SAFETY: the caller promises kinds and ranges; the driver copies the arguments before it returns.
        self.call(kernel, |driver| unsafe {
            (driver.calls.launch)(function.0, blocks, 1, 1, threads, 1, 1, 0, stream, params.as_mut_ptr(), none)
        })
    }
}
