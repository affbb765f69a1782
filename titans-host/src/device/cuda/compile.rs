//! The kernels' sources, and NVRTC: CUDA C to machine code for one architecture, at run time.

use super::probe::{failed, panic_text};
use crate::error::Result;
use cudarc::nvrtc::{result, sys};
use std::ffi::{CStr, CString};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;
use titans_kernel::Choice;
use titans_kernel::memory::Activation;

/// A file of `kernels/`.
#[derive(Clone, Copy, Debug)]
pub struct KernelFile {
    /// The file's name.
    pub name: &'static str,
    /// Its text.
    pub text: &'static str,
}

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        [$(KernelFile { name: $name, text: include_str!(concat!("kernels/", $name)) }),*]
    };
}

/// What every kernel file starts from: macros and the activations.
pub const COMMON: KernelFile = KernelFile { name: "common.cuh", text: include_str!("kernels/common.cuh") };

/// All kernel files; each compiles after [`COMMON`].
pub const SOURCES: &[KernelFile] = &sources![
    "elementwise.cu",
    "rows.cu",
    "conv.cu",
    "ends.cu",
    "training.cu",
    "tokens.cu",
    "attention.cu",
    "coefficients.cu",
    "network.cu",
    "read.cu",
    "exact.cu",
    "residual.cu",
];

/// `enum { SILU = 0, … }`: a choice's variants by their names, each its byte.
fn enumeration<T: Choice>() -> String {
    let variant = |x: &T| format!("{} = {}", x.name().to_uppercase().replace('-', "_"), x.code());
    format!("enum {{ {} }};\n", T::ALL.iter().map(variant).collect::<Vec<_>>().join(", "))
}

/// The numbers of activations, then [`COMMON`] and the given files, with line directives so that messages name the files.
pub fn unit(files: &[KernelFile]) -> String {
    let mut text = enumeration::<Activation>();
    for file in std::iter::once(&COMMON).chain(files) {
        text.push_str(&format!("#line 1 \"{}\"\n{}\n", file.name, file.text));
    }
    text
}

/// The names of the kernels in a text, in order.
pub fn kernel_names(text: &str) -> Vec<&str> {
    text.split("\nKERNEL ").skip(1).filter_map(|rest| rest.split('(').next()).collect()
}

/// Whether NVRTC can be loaded: from the folder `TITANS_NVRTC_DIR`, or where the system's loader looks.
pub fn available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| {
        if let Some(folder) = std::env::var_os("TITANS_NVRTC_DIR") {
            preload(Path::new(&folder));
        }
        // SAFETY: opens and closes a library by its public name; it runs the library's own initialisers, nothing else.
        unsafe { sys::is_culib_present() }
    })
}

/// Loads the two files of NVRTC and keeps them, so that a later look-up by name finds them.
fn preload(folder: &Path) {
    for name in ["libnvrtc-builtins.so.13.0", "libnvrtc.so.13"] {
        // SAFETY: runs the initialisers of a library that the user named; it is never unloaded.
        if let Ok(library) = unsafe { libloading::Library::new(folder.join(name)) } {
            std::mem::forget(library);
        }
    }
}

/// Machine code of `source` for an architecture such as `sm_90`.
///
/// # Errors
/// [`Error::Device`](crate::Error::Device) when NVRTC is absent, does not know the architecture, or refuses the source
/// (with its log).
pub fn cubin(name: &str, source: &str, architecture: &str) -> Result<Vec<u8>> {
    if !available() {
        return Err(failed(
            "NVRTC (libnvrtc.so.13) was not found; install the CUDA toolkit 13, or set TITANS_NVRTC_DIR",
        ));
    }
    match catch_unwind(AssertUnwindSafe(|| compile(name, source, architecture))) {
        Ok(Ok(code)) => Ok(code),
        Ok(Err(reason)) => Err(failed(format!("compiling {name} for {architecture}: {reason}"))),
        Err(panic) => Err(failed(format!("compiling {name}: NVRTC: {}", panic_text(panic.as_ref())))),
    }
}

/// An NVRTC program, destroyed at the end.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    fn drop(&mut self) {
        // SAFETY: made by create_program, destroyed once. A failure to destroy leaves nothing to do.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

fn compile(name: &str, source: &str, architecture: &str) -> std::result::Result<Vec<u8>, String> {
    let text = |e: result::NvrtcError| format!("{:?}", e.0);
    let source = CString::new(source).map_err(|e| e.to_string())?;
    let name = CString::new(name).map_err(|e| e.to_string())?;
    let program = Program(result::create_program(&source, Some(&name)).map_err(text)?);
    // Contraction to fused multiply-add is off: the kernels round as they are written.
    let options = [format!("--gpu-architecture={architecture}"), "--std=c++17".to_owned(), "--fmad=false".to_owned()];
    // SAFETY: the program is alive; source and name outlive it.
    if let Err(error) = unsafe { result::compile_program(program.0, &options) } {
        // SAFETY: the program is alive.
        let log = unsafe { result::get_program_log(program.0) }.map_err(text)?;
        // SAFETY: c_char and u8 have one size and alignment; the slice is the log's.
        let bytes = unsafe { std::slice::from_raw_parts(log.as_ptr().cast::<u8>(), log.len()) };
        let log = CStr::from_bytes_until_nul(bytes).map(CStr::to_string_lossy).unwrap_or_default();
        return Err(format!("{:?}\n{log}", error.0));
    }
    let mut size = 0;
    // SAFETY: the program is alive and `size` is where the answer goes.
    unsafe { sys::nvrtcGetCUBINSize(program.0, &mut size) }.result().map_err(text)?;
    let mut code = vec![0u8; size];
    // SAFETY: `code` has the size NVRTC asked for.
    unsafe { sys::nvrtcGetCUBIN(program.0, code.as_mut_ptr().cast()) }.result().map_err(text)?;
    Ok(code)
}
