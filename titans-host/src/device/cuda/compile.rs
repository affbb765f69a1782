//! The kernels' sources, and NVRTC: CUDA C to machine code for one architecture, at run time. What was compiled is kept
//! on disk.

use super::cache::{self, Made};
use super::probe::{driver, failed};
use super::search::{LibraryFound, MAJORS, Wanted};
use super::symbols::{CallStatus, Handle, NvrtcLibrary};
use crate::device::IGNORE;
use crate::error::Result;
use std::ffi::{CString, c_char, c_int};
use std::sync::OnceLock;
use titans_kernel::Choice;
use titans_kernel::memory::Activation;
use titans_kernel::ops::{l2_norm, layer_norm, rms_norm};

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

/// What every kernel file starts from: macros, and what the threads of a block do together.
pub const COMMON: &[KernelFile] = &sources![
    "common.cuh",
    "sums.cuh",
    "block.cuh",
    "norms.cuh",
    "columns.cuh",
    "tiles.cuh",
    "attention.cuh",
    "linear.cuh",
    "slices.cuh",
    "linear_vjp.cuh",
    "segments.cuh"
];

/// All kernel files; each compiles after [`COMMON`].
pub const SOURCES: &[KernelFile] = &sources![
    "elementwise.cu",
    "rows.cu",
    "columns.cu",
    "conv.cu",
    "ends.cu",
    "training.cu",
    "tokens.cu",
    "rotary.cu",
    "attention.cu",
    "attention_vjp.cu",
    "coefficients.cu",
    "network.cu",
    "read.cu",
    "exact.cu",
    "residual.cu",
    "linear.cu",
    "linear_forward.cu",
    "linear_backward.cu",
    "linear_vjp.cu",
    "linear_gates.cu",
    "linear_ask.cu",
    "segments.cu",
    "segments_vjp.cu",
    "segments_sums.cu",
];

/// `enum { SILU = 0, …, ACTIVATIONS = 5 };`: a choice's variants by their names, each its byte, and how many there are.
fn enumeration<T: Choice>(all: &str) -> String {
    let variant = |x: &T| format!("{} = {}", x.name().to_uppercase().replace('-', "_"), x.code());
    let variants = T::ALL.iter().map(variant).chain([format!("{all} = {}", T::ALL.len())]);
    format!("enum {{ {} }};\n", variants.collect::<Vec<_>>().join(", "))
}

/// Rows, or columns, of a tile of a product that a block has in shared memory.
pub(super) const TILE: usize = 64;

/// The numbers that the kernels have in common with the rest.
fn constants() -> String {
    let epsilons =
        [("LAYER_NORM_EPS", layer_norm::EPS), ("RMS_NORM_EPS", rms_norm::EPS), ("L2_NORM_EPS", l2_norm::EPS)];
    let epsilons = epsilons.map(|(name, value)| format!("#define {name} {value:e}\n")).concat();
    format!("#define TILE {TILE}\n#define IGNORE {IGNORE}u\n{epsilons}{}", enumeration::<Activation>("ACTIVATIONS"))
}

/// The numbers of this library, then [`COMMON`] and the given files, with line directives so that messages name the
/// files.
pub fn unit(files: &[KernelFile]) -> String {
    let mut text = constants();
    for file in COMMON.iter().chain(files) {
        text.push_str(&format!("#line 1 \"{}\"\n{}\n", file.name, file.text));
    }
    text
}

/// A kernel as its file declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kernel<'a> {
    /// What it is launched by.
    pub name: &'a str,
    /// The threads of its blocks, a number or a constant of the files; none where its threads know nothing of one
    /// another.
    pub threads: Option<&'a str>,
}

/// The kernels in a text, in order.
pub fn declared(text: &str) -> impl Iterator<Item = Kernel<'_>> {
    text.lines().filter_map(|line| {
        let (threads, rest) = match line.strip_prefix("BLOCK_KERNEL(").map(|rest| rest.split_once(") ")) {
            // Behind the threads may stand how many blocks a multiprocessor should hold.
            Some(of_block) => of_block.map(|(bounds, rest)| (bounds.split(',').next(), rest))?,
            None => (None, line.strip_prefix("KERNEL ")?),
        };
        Some(Kernel { name: rest.split('(').next()?, threads })
    })
}

/// What code is made for: a compute capability, as ten times its major and its minor number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Machine code for devices of this capability, with all that they have (`sm_80`, `sm_90a`).
    Code(i32),
    /// Code that the driver makes machine code of, for devices that the compiler does not know yet (`compute_120`).
    Intermediate(i32),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            // From 9.0 on a device has instructions that no later one has.
            Self::Code(at) if *at >= 90 => write!(f, "sm_{at}a"),
            Self::Code(at) => write!(f, "sm_{at}"),
            Self::Intermediate(at) => write!(f, "compute_{at}"),
        }
    }
}

/// NVRTC, as it was found.
pub(super) type OpenNvrtc = (NvrtcLibrary, LibraryFound);

/// NVRTC of this machine, looked for once; no newer than the driver, where there is one.
pub(super) fn compiler() -> Result<&'static OpenNvrtc> {
    static COMPILER: OnceLock<std::result::Result<OpenNvrtc, String>> = OnceLock::new();
    let wanted = Wanted {
        name: "NVRTC",
        stem: "nvrtc",
        needs: "libnvrtc-builtins.so.",
        package: "nvidia-cuda-nvrtc",
        version: |library: &NvrtcLibrary| {
            let (mut major, mut minor) = (0, 0);
            // SAFETY: addresses for the answers.
            (unsafe { (library.version)(&mut major, &mut minor) } == 0).then_some((major, minor))
        },
    };
    let most = driver().map_or(MAJORS[0], |driver| driver.version.0);
    COMPILER.get_or_init(|| wanted.find(most)).as_ref().map_err(failed)
}

/// Where NVRTC was found, and its version.
///
/// # Errors
/// [`Error::Device`](crate::Error::Device) saying what was looked for and what to install.
pub fn found() -> Result<LibraryFound> {
    compiler().map(|found| found.1.clone())
}

/// What the compiler makes for a device of a compute capability.
///
/// # Errors
/// [`Error::Device`](crate::Error::Device) for a device older than all that the compiler knows; where NVRTC is absent.
pub fn target((major, minor): (i32, i32)) -> Result<Target> {
    let (library, found) = compiler()?;
    let mut count: c_int = 0;
    // SAFETY: an address for the answer.
    check("the architectures", unsafe { (library.architecture_count)(&mut count) })?;
    let mut known: Vec<c_int> = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: room for as many as it counted.
    check("the architectures", unsafe { (library.architectures)(known.as_mut_ptr()) })?;
    let at = 10 * major + minor;
    if known.contains(&at) {
        return Ok(Target::Code(at));
    }
    match known.iter().copied().filter(|&x| x <= at).max() {
        Some(below) => Ok(Target::Intermediate(below)),
        None => Err(failed(format!(
            "compute capability {major}.{minor} is older than all that {found} makes code for (from {} on); an older CUDA toolkit \
             may know it",
            known.iter().min().map_or_else(String::new, |x| format!("{}.{}", x / 10, x % 10))
        ))),
    }
}

/// All kernels for a target: from the folder of kept code, or compiled and kept there.
///
/// # Errors
/// As [`code`]'s.
pub(super) fn kernels(target: Target) -> Result<Vec<u8>> {
    let source = unit(SOURCES);
    let made = Made { source: &source, target, compiler: compiler()?.1.version };
    let folder = cache::folder();
    if let Some(code) = folder.as_deref().and_then(|folder| made.kept(folder)) {
        return Ok(code);
    }
    let code = code("kernels", &source, target)?;
    // Where it cannot be kept it is compiled again the next time, in a second or two.
    let _ = folder.map(|folder| made.keep(&folder, &code));
    Ok(code)
}

/// Machine code (or, for [`Target::Intermediate`], PTX, a text that ends in 0) of `source`.
///
/// # Errors
/// [`Error::Device`](crate::Error::Device) when NVRTC is absent, does not know the target, or refuses the source
/// (with its log).
pub fn code(name: &str, source: &str, target: Target) -> Result<Vec<u8>> {
    let library = &compiler()?.0;
    let code = compile(library, name, source, target, None).and_then(|program| program.code(target));
    code.map_err(|reason| failed(format!("compiling {name} for {target}: {reason}")))
}

/// [`code`]'s, and what the compiler says about it: of every kernel its registers, its shared memory, its local memory
/// and how much of that are spilled registers.
///
/// # Errors
/// As [`code`]'s.
pub fn reported(name: &str, source: &str, target: Target) -> Result<(Vec<u8>, String)> {
    let library = &compiler()?.0;
    let both = compile(library, name, source, target, Some("--ptxas-options=-v"))
        .and_then(|program| Ok((program.code(target)?, program.log()?)));
    both.map_err(|reason| failed(format!("compiling {name} for {target}: {reason}")))
}

fn check(doing: &str, status: CallStatus) -> Result<()> {
    told(status).map_err(|reason| failed(format!("NVRTC: {doing}: {reason}")))
}

fn told(status: CallStatus) -> std::result::Result<(), String> {
    match status {
        0 => Ok(()),
        1 => Err("out of memory".to_owned()),
        3 => Err("the input is not valid".to_owned()),
        5 => Err("an option is not valid: does NVRTC know --gpu-architecture's value?".to_owned()),
        6 => Err("the source has errors".to_owned()),
        7 => Err("its built-in functions (libnvrtc-builtins) were not found beside it".to_owned()),
        other => Err(format!("error {other} of NVRTC")),
    }
}

/// An NVRTC program, destroyed at the end.
struct Program<'a>(&'a NvrtcLibrary, Handle);

impl Drop for Program<'_> {
    fn drop(&mut self) {
        // SAFETY: made by create, destroyed once. A failure to destroy leaves nothing to do.
        let _ = unsafe { (self.0.destroy)(&mut self.1) };
    }
}

impl Program<'_> {
    /// A result of a length that NVRTC says, by the two functions that give length and bytes.
    fn bytes(
        &self,
        len: unsafe extern "C" fn(Handle, *mut usize) -> CallStatus,
        bytes: unsafe extern "C" fn(Handle, *mut c_char) -> CallStatus,
    ) -> std::result::Result<Vec<u8>, String> {
        let mut size = 0;
        // SAFETY: the program is alive and `size` is where the answer goes.
        told(unsafe { len(self.1, &mut size) })?;
        let mut out = vec![0u8; size];
        // SAFETY: `out` has the size NVRTC asked for.
        told(unsafe { bytes(self.1, out.as_mut_ptr().cast()) })?;
        Ok(out)
    }

    fn log(&self) -> std::result::Result<String, String> {
        let log = self.bytes(self.0.log_len, self.0.log)?;
        Ok(String::from_utf8_lossy(&log).trim_end_matches('\0').to_owned())
    }

    fn code(&self, target: Target) -> std::result::Result<Vec<u8>, String> {
        match target {
            Target::Code(_) => self.bytes(self.0.code_len, self.0.code),
            Target::Intermediate(_) => self.bytes(self.0.ptx_len, self.0.ptx),
        }
    }
}

/// The compiled program; `more` is an option that changes nothing of the code.
fn compile<'a>(
    library: &'a NvrtcLibrary,
    name: &str,
    source: &str,
    target: Target,
    more: Option<&str>,
) -> std::result::Result<Program<'a>, String> {
    let text = |text: String| CString::new(text).map_err(|e| e.to_string());
    let (source, name) = (text(source.to_owned())?, text(name.to_owned())?);
    let mut program: Handle = std::ptr::null_mut();
    // SAFETY: texts that end in 0 and live as long as the call; no headers.
    told(unsafe {
        (library.create)(&mut program, source.as_ptr(), name.as_ptr(), 0, std::ptr::null(), std::ptr::null())
    })?;
    let program = Program(library, program);
    // Contraction to fused multiply-add is off: the kernels round as they are written.
    let architecture = format!("--gpu-architecture={target}");
    let options = ["--std=c++17", "--fmad=false", &architecture].into_iter().chain(more);
    let options = options.map(|option| text(option.to_owned())).collect::<std::result::Result<Vec<_>, _>>()?;
    let pointers: Vec<_> = options.iter().map(|option| option.as_ptr()).collect();
    // SAFETY: the program is alive; the options' texts outlive the call.
    let status = unsafe { (library.compile)(program.1, pointers.len() as c_int, pointers.as_ptr()) };
    if let Err(reason) = told(status) {
        return Err(format!("{reason}\n{}", program.log()?));
    }
    Ok(program)
}
