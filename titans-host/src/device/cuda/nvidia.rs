//! The real machine: the CUDA driver, cuBLAS, and kernels compiled at first use.

use super::compile;
use super::driver::{Address, Arg, BatchedGemm, Driver};
use super::probe::{contain, failed, panic_text, probe};
use crate::error::Result;
use cudarc::cublas::{CudaBlas, result as cublas, sys::cublasOperation_t};
use cudarc::driver::{CudaContext, CudaFunction, CudaModule, CudaStream, DriverError, result};
use std::collections::HashMap;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// Threads of a block of every launch.
const BLOCK: u32 = 256;

/// The kernels of one device: the module, and the functions looked up so far.
#[derive(Debug, Default)]
struct Kernels {
    module: Option<Arc<CudaModule>>,
    functions: HashMap<&'static str, CudaFunction>,
}

/// A CUDA device. Everything runs in order on its default stream.
#[derive(Debug)]
pub struct Nvidia {
    context: Arc<CudaContext>,
    stream: Arc<CudaStream>,
    blas: Mutex<CudaBlas>,
    kernels: Mutex<Kernels>,
    description: String,
    architecture: String,
    pooled: bool,
}

impl Nvidia {
    /// Opens device `ordinal`.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) saying what is missing and what to install, or that there is no such device.
    pub fn new(ordinal: usize) -> Result<Self> {
        let found = probe();
        if let Some(reason) = found.missing {
            return Err(failed(reason));
        }
        let Some(info) = found.devices.get(ordinal) else {
            return Err(failed(format!("there is no device {ordinal}, only 0 to {}", found.devices.len() - 1)));
        };
        let (context, stream, pooled) = contain("opening the device", || {
            let context = CudaContext::new(ordinal)?;
            let stream = context.default_stream();
            let pooled = context.has_async_alloc();
            Ok((context, stream, pooled))
        })?;
        let blas = match catch_unwind(AssertUnwindSafe(|| CudaBlas::new(stream.clone()))) {
            Ok(Ok(blas)) => blas,
            Ok(Err(error)) => return Err(failed(format!("opening cuBLAS: {:?}", error.0))),
            Err(panic) => return Err(failed(format!("opening cuBLAS: {}", panic_text(panic.as_ref())))),
        };
        let (major, minor) = info.capability;
        Ok(Self {
            context,
            stream,
            blas: Mutex::new(blas),
            kernels: Mutex::default(),
            description: format!("cuda: {} (compute {major}.{minor}, {} GiB)", info.name, info.memory >> 30),
            architecture: format!("sm_{major}{minor}"),
            pooled,
        })
    }

    /// Runs driver calls in this device's context.
    fn call<T>(&self, doing: &str, body: impl FnOnce() -> std::result::Result<T, DriverError>) -> Result<T> {
        contain(doing, || {
            self.context.bind_to_thread()?;
            body()
        })
    }

    /// The function behind a kernel's name; compiles all kernels the first time.
    fn function(&self, name: &'static str) -> Result<CudaFunction> {
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = kernels.functions.get(name) {
            return Ok(function.clone());
        }
        let module = match &kernels.module {
            Some(module) => module.clone(),
            None => {
                let code = compile::cubin("kernels", &compile::unit(compile::SOURCES), &self.architecture)?;
                let ptx = cudarc::nvrtc::Ptx::from_binary(code);
                let module = self.call("loading the kernels", || self.context.load_module(ptx))?;
                kernels.module = Some(module.clone());
                module
            }
        };
        let function = self.call(name, || module.load_function(name))?;
        kernels.functions.insert(name, function.clone());
        Ok(function)
    }
}

impl Driver for Nvidia {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn alloc(&self, bytes: usize) -> Result<Address> {
        let doing = format!("reserving {bytes} bytes on the device (use a smaller batch if memory is short)");
        // SAFETY: the address is only handed on; the stream belongs to the bound context.
        self.call(&doing, || unsafe {
            if self.pooled { result::malloc_async(self.stream.cu_stream(), bytes) } else { result::malloc_sync(bytes) }
        })
    }

    unsafe fn free(&self, address: Address) {
        // SAFETY: the caller gives up an address of `alloc`, which took it from the same allocator. A device that
        // failed reports it at the next operation; there is nothing else to do here.
        let _ = self.call("freeing memory", || unsafe {
            if self.pooled { result::free_async(address, self.stream.cu_stream()) } else { result::free_sync(address) }
        });
    }

    unsafe fn upload(&self, host: &[u8], to: Address) -> Result<()> {
        // SAFETY: the caller promises room at `to`; `host` stays borrowed until the copy is done.
        self.call("copying to the device", || unsafe {
            result::memcpy_htod_async(to, host, self.stream.cu_stream())?;
            self.stream.synchronize()
        })
    }

    unsafe fn download(&self, from: Address, host: &mut [u8]) -> Result<()> {
        // SAFETY: the caller promises the bytes at `from`; `host` stays borrowed until the copy is done.
        self.call("copying from the device", || unsafe {
            result::memcpy_dtoh_async(host, from, self.stream.cu_stream())?;
            self.stream.synchronize()
        })
    }

    unsafe fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<()> {
        // SAFETY: the caller promises both ranges.
        self.call("copying on the device", || unsafe {
            result::memcpy_dtod_async(to, from, bytes, self.stream.cu_stream())
        })
    }

    unsafe fn clear(&self, at: Address, bytes: usize) -> Result<()> {
        // SAFETY: the caller promises the range.
        self.call("clearing memory", || unsafe { result::memset_d8_async(at, 0, bytes, self.stream.cu_stream()) })
    }

    unsafe fn gemm(&self, g: &BatchedGemm) -> Result<()> {
        let op = |t| if t { cublasOperation_t::CUBLAS_OP_T } else { cublasOperation_t::CUBLAS_OP_N };
        let blas = self.blas.lock().unwrap_or_else(PoisonError::into_inner);
        self.call("a matrix product", || Ok(()))?;
        // SAFETY: the caller promises that every element named lies in live memory; alpha and beta are read before
        // the call returns (host pointer mode, the default).
        let done = catch_unwind(AssertUnwindSafe(|| unsafe {
            cublas::sgemm_strided_batched(
                *blas.handle(),
                op(g.a.transposed),
                op(g.b.transposed),
                g.m,
                g.n,
                g.k,
                &g.alpha,
                g.a.address as *const f32,
                g.a.ld,
                g.a.stride,
                g.b.address as *const f32,
                g.b.ld,
                g.b.stride,
                &g.beta,
                g.c.address as *mut f32,
                g.c.ld,
                g.c.stride,
                g.batch,
            )
        }));
        match done {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(format!("a matrix product: {:?} ({g:?})", error.0))),
            Err(panic) => Err(failed(format!("a matrix product: {}", panic_text(panic.as_ref())))),
        }
    }

    unsafe fn launch(&self, kernel: &'static str, threads: i64, args: &[Arg]) -> Result<()> {
        let function = self.function(kernel)?;
        let blocks = u32::try_from(threads.div_euclid(i64::from(BLOCK)) + 1)
            .ok()
            .filter(|&b| b <= i32::MAX as u32)
            .ok_or_else(|| failed(format!("{kernel}: {threads} threads are more than one launch can start")))?;
        let mut params: Vec<*mut c_void> = args
            .iter()
            .map(|arg| match arg {
                Arg::Address(x) => std::ptr::from_ref(x).cast_mut().cast(),
                Arg::Int(x) => std::ptr::from_ref(x).cast_mut().cast(),
                Arg::Float(x) => std::ptr::from_ref(x).cast_mut().cast(),
            })
            .collect();
        // SAFETY: the caller promises kinds and ranges; the driver copies the arguments before it returns.
        self.call(kernel, || unsafe {
            result::launch_kernel(
                function.cu_function(),
                (blocks, 1, 1),
                (BLOCK, 1, 1),
                0,
                self.stream.cu_stream(),
                &mut params,
            )
        })
    }

    fn synchronize(&self) -> Result<()> {
        self.call("waiting for the device", || self.stream.synchronize())
    }
}
