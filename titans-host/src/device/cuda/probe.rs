//! What this machine offers, found out without ever panicking.
//!
//! cudarc panics at the first call into a library that is absent, so each library is looked for by name before
//! anything is called, and the calls themselves are contained: a library may be there in part.

use super::compile;
use crate::error::{Error, Result};
use cudarc::driver::{CudaContext, DriverError};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// One CUDA device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its number, for [`Cuda::new`](super::Cuda::new).
    pub ordinal: usize,
    /// What the driver calls it, e.g. `NVIDIA H200`.
    pub name: String,
    /// Bytes of its memory.
    pub memory: u64,
    /// Major and minor compute capability, e.g. (9, 0).
    pub capability: (i32, i32),
}

/// What [`probe`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// The devices the driver lists. They can be used only where nothing is missing.
    pub devices: Vec<Info>,
    /// Why CUDA cannot be used here, and what to install; `None` when it can.
    pub missing: Option<String>,
}

/// Looks for the driver, cuBLAS, NVRTC and devices. Never panics, costs nothing where there is no driver.
pub fn probe() -> Probe {
    // SAFETY: opens and closes a library by its public name; it runs the library's own initialisers, nothing else.
    let driver = unsafe { cudarc::driver::sys::is_culib_present() };
    if !driver {
        return absent(
            "no NVIDIA driver (libcuda.so.1 was not found); install the driver of your distribution, 580 or newer",
        );
    }
    // SAFETY: as above.
    let cublas = unsafe { cudarc::cublas::sys::is_culib_present() };
    let nvrtc = compile::available();
    let devices = match contain("listing the devices", list) {
        Ok(devices) => devices,
        Err(error) => return absent(error.to_string()),
    };
    let missing = if devices.is_empty() {
        Some("the driver is there but lists no device; see `nvidia-smi` and CUDA_VISIBLE_DEVICES".to_owned())
    } else if !cublas {
        Some(library("cuBLAS", "libcublas.so.13", "nvidia-cublas"))
    } else if !nvrtc {
        Some(library("NVRTC", "libnvrtc.so.13", "nvidia-cuda-nvrtc"))
    } else {
        None
    };
    Probe { devices, missing }
}

fn absent(reason: impl Into<String>) -> Probe {
    Probe { devices: Vec::new(), missing: Some(reason.into()) }
}

fn library(name: &str, file: &str, package: &str) -> String {
    format!(
        "{name} ({file}) was not found; install the CUDA toolkit 13 (or `pip install {package}` and put its folder \
         into LD_LIBRARY_PATH)"
    )
}

fn list() -> std::result::Result<Vec<Info>, DriverError> {
    let count = CudaContext::device_count()?;
    (0..usize::try_from(count).unwrap_or(0))
        .map(|ordinal| {
            let context = CudaContext::new(ordinal)?;
            Ok(Info {
                ordinal,
                name: context.name()?,
                memory: context.total_mem()? as u64,
                capability: context.compute_capability()?,
            })
        })
        .collect()
}

/// An [`Error::Device`] of this device.
pub(super) fn failed(reason: impl Into<String>) -> Error {
    Error::Device { device: "cuda", reason: reason.into() }
}

/// Runs calls into the driver; a panic (a symbol that an old library lacks) becomes an error too.
pub(super) fn contain<T>(doing: &str, body: impl FnOnce() -> std::result::Result<T, DriverError>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => Ok(value),
        // The code's own name: asking the driver for a text could panic again.
        Ok(Err(DriverError(code))) => Err(failed(format!("{doing}: {code:?}"))),
        Err(panic) => Err(failed(format!("{doing}: {}; update the NVIDIA driver", panic_text(panic.as_ref())))),
    }
}

/// The text a panic carries.
pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text.clone(),
        (None, Some(text)) => (*text).to_owned(),
        (None, None) => "a call into the library failed".to_owned(),
    }
}
