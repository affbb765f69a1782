//! The real machine: the CUDA driver, cuBLAS, and kernels compiled at first use.

mod graph;
mod machine;
mod uploads;

use super::compile::{self, Target};
use super::driver::{Address, Driver};
use super::probe::{Info, OpenCublas, OpenDriver, cublas, driver, failed, probe, reason};
use super::symbols::{CallStatus, Handle};
use crate::device::MemoryUse;
use crate::error::Result;
use std::collections::HashMap;
use std::ffi::{CString, c_int, c_uint};
use std::sync::{Mutex, PoisonError};
use uploads::UnderWay;

/// Of `cuStreamCreate`: the stream does not wait for the legacy default stream, nor that for it.
const NON_BLOCKING: c_uint = 1;
/// Of `cuMemPoolSetAttribute`: bytes of unused memory that a pool keeps at a synchronisation.
const RELEASE_THRESHOLD: c_int = 4;
/// Of `cuMemPoolGetAttribute`.
const POOL_RESERVED: c_int = 5;
const POOL_USED: c_int = 7;

/// A handle of the driver's or of cuBLAS's.
#[derive(Clone, Copy, Debug)]
struct DriverHandle(Handle);

// SAFETY: the driver may be called from any thread with any handle of its own (it locks inside); cuBLAS's handle is
// used under a lock alone.
unsafe impl Send for DriverHandle {}
// SAFETY: as above.
unsafe impl Sync for DriverHandle {}

/// The kernels of one device: the module, and the functions looked up so far.
#[derive(Debug, Default)]
struct Kernels {
    module: Option<DriverHandle>,
    functions: HashMap<&'static str, DriverHandle>,
}

/// A CUDA device. Everything runs in order on a stream of its own.
#[derive(Debug)]
pub struct Nvidia {
    driver: &'static OpenDriver,
    cublas: &'static OpenCublas,
    device: c_int,
    context: DriverHandle,
    stream: DriverHandle,
    /// The device's memory pool, if it has one.
    pool: Option<DriverHandle>,
    blas: Mutex<DriverHandle>,
    /// Memory that products work in while they are recorded: cuBLAS would reserve its own then.
    workspace: Mutex<Option<Address>>,
    /// Whether cuBLAS would take much.
    large_workspace: bool,
    /// Copies to the device that nobody waited for.
    under_way: Mutex<UnderWay>,
    kernels: Mutex<Kernels>,
    description: String,
    target: Target,
}

impl Nvidia {
    /// Opens device `ordinal`.
    ///
    /// # Errors
    /// [`Error::Device`](crate::Error::Device) saying what is missing and what to install, that there is no such
    /// device, or why it cannot be used now.
    pub fn new(ordinal: usize) -> Result<Self> {
        let found = probe();
        let Some(info) = found.devices.get(ordinal) else {
            let count = found.devices.len();
            return Err(failed(found.missing.unwrap_or_else(|| {
                format!("there is no device {ordinal}: expected 0 to {}", count.saturating_sub(1))
            })));
        };
        if let Some(reason) = found.missing.as_ref().or(info.unusable.as_ref()) {
            return Err(failed(reason));
        }
        Self::open(info)
    }

    /// Opens the first device that can be used, and says why those before it cannot.
    ///
    /// # Errors
    /// As [`Nvidia::new`]'s; where no device can be used, the reasons of all.
    pub fn first() -> Result<(Self, Vec<String>)> {
        let found = probe();
        if let Some(reason) = found.missing {
            return Err(failed(reason));
        }
        let mut skipped = Vec::new();
        for info in &found.devices {
            let opened = match &info.unusable {
                Some(reason) => Err(failed(reason)),
                None => Self::open(info),
            };
            match opened {
                Ok(device) => return Ok((device, skipped)),
                Err(error) => skipped.push(format!(
                    "CUDA device {} ({}) is passed over: {}",
                    info.ordinal,
                    info.name,
                    reason(&error)
                )),
            }
        }
        Err(failed(format!("no device can be used: {}", skipped.join("; "))))
    }

    fn open(info: &Info) -> Result<Self> {
        let (driver, cublas) = (driver()?, cublas()?);
        let device = driver.device(info.ordinal)?;
        let mut context = std::ptr::null_mut();
        // SAFETY: an address for the answer; the context is released once, when the device goes.
        let status = unsafe { (driver.calls.retain_context)(&mut context, device) };
        driver.check("opening the device (is another program using it alone?)", status)?;
        let (major, minor) = info.capability;
        // From here on what was opened is closed, whatever fails.
        let mut opened = Self {
            driver,
            cublas,
            device,
            context: DriverHandle(context),
            stream: DriverHandle(std::ptr::null_mut()),
            pool: None,
            blas: Mutex::new(DriverHandle(std::ptr::null_mut())),
            workspace: Mutex::default(),
            large_workspace: major >= 9,
            under_way: Mutex::default(),
            kernels: Mutex::default(),
            description: format!("cuda: {} (compute {major}.{minor}, {} GiB)", info.name, info.memory >> 30),
            target: compile::target(info.capability)?,
        };
        let (mut stream, mut blas) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: an address for the answer, in the device's context.
        opened.call("making a stream", |driver| unsafe { (driver.calls.create_stream)(&mut stream, NON_BLOCKING) })?;
        opened.stream = DriverHandle(stream);
        if info.pools {
            opened.pool = Some(opened.keeping_pool()?);
        }
        // SAFETY: an address for the answer; `call` has made the context current for this thread.
        opened.product_call("opening cuBLAS", unsafe { (cublas.0.create)(&mut blas) })?;
        opened.blas = Mutex::new(DriverHandle(blas));
        // SAFETY: both handles are alive.
        opened.product_call("opening cuBLAS", unsafe { (cublas.0.set_stream)(blas, stream) })?;
        Ok(opened)
    }

    /// The device's pool, told to keep what it has: else it would give unused memory back to the system whenever we
    /// wait.
    fn keeping_pool(&self) -> Result<DriverHandle> {
        let (mut pool, mut all) = (std::ptr::null_mut(), u64::MAX);
        self.call("finding the memory pool", |driver| {
            // SAFETY: an address for the answer, and a device of this driver.
            unsafe { (driver.calls.device_pool)(&mut pool, self.device) }
        })?;
        self.call("setting up the memory pool", |driver| {
            // SAFETY: the pool is the device's own; the attribute is a 64-bit number.
            unsafe { (driver.calls.set_pool)(pool, RELEASE_THRESHOLD, (&raw mut all).cast()) }
        })?;
        Ok(DriverHandle(pool))
    }

    /// Runs a driver call in this device's context.
    fn call(&self, doing: &str, body: impl FnOnce(&OpenDriver) -> CallStatus) -> Result<()> {
        // SAFETY: the context is alive as long as `self`.
        self.driver.check(doing, unsafe { (self.driver.calls.set_context)(self.context.0) })?;
        self.driver.check(doing, body(self.driver))
    }

    /// What a call of cuBLAS came to.
    fn product_call(&self, doing: &str, status: CallStatus) -> Result<()> {
        let name = match status {
            0 => return Ok(()),
            1 => "not initialised",
            3 => "no room",
            7 => "a value is not valid",
            8 => "the device's architecture is not supported",
            13 => "execution failed",
            14 => "internal error",
            15 => "not supported",
            _ => "failed",
        };
        Err(failed(format!("{doing}: {} (status {status} of {})", name, self.cublas.1)))
    }

    /// The function behind a kernel's name; finds or compiles all kernels the first time.
    fn function(&self, name: &'static str) -> Result<DriverHandle> {
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(function) = kernels.functions.get(name) {
            return Ok(*function);
        }
        let module = match kernels.module {
            Some(module) => module,
            None => {
                let (code, mut module) = (compile::kernels(self.target)?, std::ptr::null_mut());
                self.call("loading the kernels", |driver| {
                    // SAFETY: `code` is a whole module (PTX ends in 0), read before the call returns.
                    unsafe { (driver.calls.load_module)(&mut module, code.as_ptr().cast()) }
                })?;
                *kernels.module.insert(DriverHandle(module))
            }
        };
        let symbol = CString::new(name).map_err(|e| failed(format!("{name}: {e}")))?;
        let mut function = std::ptr::null_mut();
        // SAFETY: the module is alive, the name ends in 0.
        self.call(name, |driver| unsafe { (driver.calls.module_function)(&mut function, module.0, symbol.as_ptr()) })?;
        kernels.functions.insert(name, DriverHandle(function));
        Ok(DriverHandle(function))
    }

    /// Why there is no room for so many bytes.
    fn no_room(&self, bytes: usize) -> String {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        let state = self.memory().map_or_else(String::new, |MemoryUse { used, free, total }| {
            format!(": {} MiB are free of {} MiB, {} MiB are in use here", mib(free), mib(total), mib(used))
        });
        format!(
            "no room for {} MiB ({bytes} bytes) more on the device{state}; lower --batch or --context, or train with --recompute \
             or --boundaries sqrt (titans inspect --memory --device cuda says where it goes)",
            mib(bytes as u64)
        )
    }

    fn pool_number(&self, pool: DriverHandle, which: c_int) -> Result<u64> {
        let mut number = 0u64;
        self.call("asking the memory pool", |driver| {
            // SAFETY: the pool is the device's own; the attribute is a 64-bit number.
            unsafe { (driver.calls.pool_attribute)(pool.0, which, (&raw mut number).cast()) }
        })?;
        Ok(number)
    }
}

impl Drop for Nvidia {
    fn drop(&mut self) {
        let blas = self.blas.get_mut().unwrap_or_else(PoisonError::into_inner).0;
        let workspace = self.workspace.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let module = self.kernels.get_mut().unwrap_or_else(PoisonError::into_inner).module;
        let under_way = self.under_way.get_mut().unwrap_or_else(PoisonError::into_inner).any();
        let calls = &self.driver.calls;
        // A device that failed refuses all of this too, and there is nothing left to do about it.
        // SAFETY: each handle was made for this device and is given up once; null was never made.
        unsafe {
            let _ = (calls.set_context)(self.context.0);
            if under_way {
                let _ = (calls.wait_for_stream)(self.stream.0);
            }
            if !blas.is_null() {
                let _ = (self.cublas.0.destroy)(blas);
            }
            if let Some(workspace) = workspace {
                let _ = (calls.free)(workspace);
            }
            if let Some(module) = module {
                let _ = (calls.unload_module)(module.0);
            }
            if !self.stream.0.is_null() {
                let _ = (calls.destroy_stream)(self.stream.0);
            }
            let _ = (calls.release_context)(self.device);
        }
    }
}
