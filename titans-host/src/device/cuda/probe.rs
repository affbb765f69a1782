//! What this machine offers, found out without a context on any device, once a process, and without ever panicking.

use super::compile;
use super::search::{LibraryFound, Wanted};
use super::symbols::{CallStatus, CublasLibrary, DriverLibrary, Symbols};
use crate::error::{Error, Result};
use libloading::Library;
use std::ffi::{CStr, c_char, c_int};
use std::sync::OnceLock;

/// Of `cuDeviceGetAttribute`.
const COMPUTE_MODE: c_int = 20;
const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;
const MEMORY_POOLS: c_int = 115;
/// The compute mode in which no context can be made.
const PROHIBITED: c_int = 2;
/// The oldest major version of a driver that is known to work.
const OLDEST: i32 = 12;

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
    /// Whether it has memory pools, which make reserving memory cheap.
    pub pools: bool,
    /// Why it cannot be used, as far as that is known before it is opened.
    pub unusable: Option<String>,
}

/// What [`probe`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probe {
    /// The newest CUDA version that the driver supports.
    pub driver: Option<(i32, i32)>,
    /// The libraries that were found.
    pub libraries: Vec<LibraryFound>,
    /// The devices the driver lists. They can be used only where nothing is missing.
    pub devices: Vec<Info>,
    /// Why CUDA cannot be used here, and what to install; `None` when it can.
    pub missing: Option<String>,
}

/// The driver, initialised.
#[derive(Debug)]
pub(super) struct OpenDriver {
    pub calls: DriverLibrary,
    /// The newest CUDA version that it supports.
    pub version: (i32, i32),
}

/// cuBLAS, as it was found.
pub(super) type OpenCublas = (CublasLibrary, LibraryFound);

/// The driver of this machine, looked for once.
pub(super) fn driver() -> Result<&'static OpenDriver> {
    static DRIVER: OnceLock<std::result::Result<OpenDriver, String>> = OnceLock::new();
    DRIVER.get_or_init(open_driver).as_ref().map_err(failed)
}

/// cuBLAS of this machine, looked for once.
pub(super) fn cublas() -> Result<&'static OpenCublas> {
    static CUBLAS: OnceLock<std::result::Result<OpenCublas, String>> = OnceLock::new();
    let wanted = Wanted {
        name: "cuBLAS",
        stem: "cublas",
        needs: "libcublasLt.so.",
        package: "nvidia-cublas",
        version: |library: &CublasLibrary| {
            let (mut major, mut minor) = (0, 0);
            // SAFETY: properties 0 and 1, an address for the answer to each.
            let statuses = unsafe { [(library.property)(0, &mut major), (library.property)(1, &mut minor)] };
            (statuses == [0, 0]).then_some((major, minor))
        },
    };
    let most = driver()?.version.0;
    CUBLAS.get_or_init(|| wanted.find(most)).as_ref().map_err(failed)
}

fn open_driver() -> std::result::Result<OpenDriver, String> {
    // SAFETY: opens a library by its public name; it runs the library's own initialisers.
    let library = ["libcuda.so.1", "libcuda.so"].into_iter().find_map(|name| unsafe { Library::new(name) }.ok());
    let Some(library) = library else {
        return Err(
            "no NVIDIA driver (libcuda.so.1 was not found); install the driver of your distribution, 525 or newer for CUDA 12, \
             580 or newer for CUDA 13"
                .to_owned(),
        );
    };
    let lacks =
        |symbol| format!("the NVIDIA driver has no function {symbol}; update the NVIDIA driver to 525 or newer");
    let calls = DriverLibrary::load(library).map_err(lacks)?;
    let mut version: c_int = 0;
    // SAFETY: an address for the answer.
    let status = unsafe { (calls.version)(&mut version) };
    let version = (version / 1000, version % 1000 / 10);
    if status != 0 || version.0 < OLDEST {
        let (major, minor) = version;
        return Err(format!(
            "the NVIDIA driver supports CUDA {major}.{minor} at the most; expected 12 or 13: install driver 525 or newer for CUDA \
             12, 580 or newer for CUDA 13"
        ));
    }
    // SAFETY: no flags, as documented.
    let status = unsafe { (calls.init)(0) };
    let driver = OpenDriver { calls, version };
    match status {
        0 => Ok(driver),
        status => Err(format!("starting the driver: {}; see `nvidia-smi`", driver.name(status))),
    }
}

impl OpenDriver {
    /// The driver's own name of what went wrong.
    pub fn name(&self, status: CallStatus) -> String {
        let mut name: *const c_char = std::ptr::null();
        // SAFETY: an address for the answer.
        let known = unsafe { (self.calls.error_name)(status, &mut name) };
        if known != 0 || name.is_null() {
            return format!("error {status}");
        }
        // SAFETY: the driver's own constant text.
        unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
    }

    /// An error that says what was being done, where a call did not succeed.
    pub fn check(&self, doing: &str, status: CallStatus) -> Result<()> {
        match status {
            0 => Ok(()),
            status => Err(failed(format!("{doing}: {}", self.name(status)))),
        }
    }

    fn count(&self) -> Result<usize> {
        let mut count: c_int = 0;
        // SAFETY: an address for the answer.
        let status = unsafe { (self.calls.device_count)(&mut count) };
        // 100: no device, which is an answer.
        if status == 100 {
            return Ok(0);
        }
        self.check("listing the devices", status)?;
        Ok(usize::try_from(count).unwrap_or(0))
    }

    /// The driver's handle of a device.
    pub fn device(&self, ordinal: usize) -> Result<c_int> {
        let mut device: c_int = 0;
        let number = c_int::try_from(ordinal).unwrap_or(c_int::MAX);
        // SAFETY: an address for the answer.
        self.check("finding the device", unsafe { (self.calls.device)(&mut device, number) })?;
        Ok(device)
    }

    fn attribute(&self, device: c_int, which: c_int) -> Result<c_int> {
        let mut value: c_int = 0;
        // SAFETY: an address for the answer, and a device of this driver.
        self.check("asking for a device's attribute", unsafe {
            (self.calls.device_attribute)(&mut value, which, device)
        })?;
        Ok(value)
    }

    fn info(&self, ordinal: usize) -> Result<Info> {
        let device = self.device(ordinal)?;
        let (mut name, mut memory): ([c_char; 128], usize) = ([0; 128], 0);
        // SAFETY: room of that length, and a device of this driver.
        self.check("asking for a device's name", unsafe {
            (self.calls.device_name)(name.as_mut_ptr(), name.len() as c_int, device)
        })?;
        // SAFETY: an address for the answer, and a device of this driver.
        self.check("asking for a device's memory", unsafe { (self.calls.device_memory)(&mut memory, device) })?;
        let name: Vec<u8> = name.iter().take_while(|&&c| c != 0).map(|&c| c as u8).collect();
        let capability = (self.attribute(device, CAPABILITY_MAJOR)?, self.attribute(device, CAPABILITY_MINOR)?);
        let unusable = if self.attribute(device, COMPUTE_MODE)? == PROHIBITED {
            Some("its compute mode forbids every use; `nvidia-smi --compute-mode 0` allows it".to_owned())
        } else {
            compile::target(capability).err().map(|error| reason(&error))
        };
        Ok(Info {
            ordinal,
            name: String::from_utf8_lossy(&name).into_owned(),
            memory: memory as u64,
            capability,
            pools: self.attribute(device, MEMORY_POOLS)? != 0,
            unusable,
        })
    }
}

/// Looks for the driver, cuBLAS, NVRTC and devices; no device is opened. Never panics, costs nothing where there is no
/// driver.
pub fn probe() -> Probe {
    let driver = match driver() {
        Ok(driver) => driver,
        Err(error) => return Probe { missing: Some(reason(&error)), ..Probe::default() },
    };
    let mut found = Probe { driver: Some(driver.version), ..Probe::default() };
    let count = match driver.count() {
        Ok(count) => count,
        Err(error) => return Probe { missing: Some(reason(&error)), ..found },
    };
    let (cublas, nvrtc) = (cublas().map(|found| &found.1), compile::compiler().map(|found| &found.1));
    found.libraries.extend([&cublas, &nvrtc].into_iter().flatten().copied().cloned());
    found.devices.extend((0..count).map(|ordinal| {
        driver.info(ordinal).unwrap_or_else(|error| Info {
            ordinal,
            name: format!("device {ordinal}"),
            memory: 0,
            capability: (0, 0),
            pools: false,
            unusable: Some(reason(&error)),
        })
    }));
    found.missing = match (count, cublas, nvrtc) {
        (0, ..) => {
            Some("the driver is there but lists no device; see `nvidia-smi` and CUDA_VISIBLE_DEVICES".to_owned())
        }
        (_, Err(error), _) | (_, _, Err(error)) => Some(reason(&error)),
        _ if found.devices.iter().all(|info| info.unusable.is_some()) => {
            let each = found.devices.iter().filter_map(|info| Some((info.ordinal, info.unusable.as_ref()?)));
            Some(each.map(|(ordinal, why)| format!("device {ordinal}: {why}")).collect::<Vec<_>>().join("; "))
        }
        _ => None,
    };
    found
}

/// An [`Error::Device`] of this device.
pub(super) fn failed(reason: impl ToString) -> Error {
    Error::Device { device: "cuda", reason: reason.to_string() }
}

/// What an error says, without the device's name before it.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Device { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}
