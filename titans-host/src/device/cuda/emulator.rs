//! A machine without a GPU: the kernels compiled with the system's C++ compiler and run as loops, products in plain
//! loops, memory on the host.
//!
//! For tests. It checks what a GPU would not say: the number and kinds of every kernel's arguments, a guard zone at
//! both ends of every allocation and of every array of shared memory; fresh memory is full of NaN. Threads run in
//! ascending or in descending order, those of a block kernel as fibers in an order that is drawn between barriers, and
//! a kernel whose result depends on that is wrong. A barrier that not all threads come to is an error (`fibers.h`).

use super::compile::{self, Kernel, KernelFile, SOURCES};
use super::driver::{Address, Arg, BatchedGemm, Driver, Factor, Grid, Precision, Recording};
use super::probe::failed;
use super::recorder::{Enqueued, Recorder};
use crate::error::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The order in which the threads of a launch run; each has draws of its own for the threads of a block kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Thread 0 first.
    #[default]
    Ascending,
    /// Thread 0 last.
    Descending,
}

/// Elements of guard before and behind an allocation, and what is in them.
const GUARD: usize = 64;
const GUARD_WORD: u32 = 0x7fa5_5a5a;
/// A quiet NaN: what fresh memory holds.
const FRESH: u32 = 0x7fc0_0000;
/// Threads of a block: small and odd, so that a kernel that confuses the two shows.
const BLOCK: c_uint = 33;
/// Blocks of a block kernel that start at the most: few, so that its loop over its units shows.
const MOST_BLOCKS: i64 = 3;

/// `emulate` of the compiled file: name, kinds, arguments, blocks, block, descending; see `emulator.h`.
type Emulate = unsafe extern "C" fn(*const c_char, *const c_char, *mut *mut c_void, c_uint, c_uint, c_int) -> c_int;

/// `emulation_fault`: why this thread's last launch stopped.
type Fault = unsafe extern "C" fn() -> *const c_char;

/// The emulated machine.
#[derive(Debug)]
pub struct Emulator {
    emulate: Emulate,
    fault: Fault,
    /// Keeps `emulate` loaded.
    _library: libloading::Library,
    /// What the sanitizer's reports name the lines by.
    _folder: Option<tempfile::TempDir>,
    order: Order,
    launched: Mutex<BTreeSet<&'static str>>,
    /// By the address behind the first guard zone.
    memory: Mutex<BTreeMap<Address, Vec<u32>>>,
    recorder: Recorder,
}

impl Emulator {
    /// Compiles the kernels with `$CXX`, or `c++`.
    ///
    /// # Errors
    /// [`Error::Device`] when there is no compiler or it refuses the kernels.
    pub fn new(order: Order) -> Result<Self> {
        Self::with_kernels(order, SOURCES)
    }

    /// Compiles other kernels.
    ///
    /// # Errors
    /// As [`Emulator::new`]'s.
    pub fn with_kernels(order: Order, kernels: &[KernelFile]) -> Result<Self> {
        Self::compiled(order, kernels, &[])
    }

    /// Compiles kernels for the thread sanitizer, which then reports races of a block's threads (`fibers.h`). Its
    /// library must be in the process from the start (`LD_PRELOAD`); the compiler is GCC.
    ///
    /// # Errors
    /// As [`Emulator::new`]'s.
    pub fn watched(order: Order, kernels: &[KernelFile]) -> Result<Self> {
        Self::compiled(order, kernels, &["-fsanitize=thread", "-g"])
    }

    fn compiled(order: Order, kernels: &[KernelFile], flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(|e| Error::io(std::env::temp_dir(), "making a folder", e))?;
        let (file, library) = (folder.path().join("kernels.cpp"), folder.path().join("libkernels.so"));
        std::fs::write(&file, source(kernels)).map_err(|e| Error::io(&file, "writing the kernels", e))?;
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
        let output = Command::new(&compiler)
            .args(["-std=c++17", "-O1", "-Wall", "-Wno-unused-function", "-ffp-contract=off", "-shared", "-fPIC", "-o"])
            .args([&library, &file])
            .args(flags)
            .env_remove("LD_PRELOAD") // the compiler is not watched
            .output()
            .map_err(|e| failed(format!("the emulator needs a C++ compiler; {compiler}: {e} (set CXX)")))?;
        if !output.status.success() {
            return Err(failed(format!(
                "{compiler} refuses the kernels:\n{}",
                String::from_utf8_lossy(&output.stderr)
            )));
        }
        // SAFETY: the library was made here from our own sources and has no initialisers.
        let library = unsafe { libloading::Library::new(&library) }.map_err(|e| failed(e.to_string()))?;
        // SAFETY: `source` declares `emulate` with this signature.
        let emulate = *unsafe { library.get::<Emulate>(b"emulate\0") }.map_err(|e| failed(e.to_string()))?;
        // SAFETY: `fibers.h` declares `emulation_fault` with this signature.
        let fault = *unsafe { library.get::<Fault>(b"emulation_fault\0") }.map_err(|e| failed(e.to_string()))?;
        let folder = (!flags.is_empty()).then_some(folder);
        Ok(Self {
            emulate,
            fault,
            _library: library,
            _folder: folder,
            order,
            launched: Mutex::default(),
            memory: Mutex::default(),
            recorder: Recorder::default(),
        })
    }

    /// The kernels that ran so far.
    pub fn kernels_run(&self) -> BTreeSet<&'static str> {
        self.launched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many recordings it holds.
    pub fn recordings(&self) -> usize {
        self.recorder.count()
    }

    /// How often one was replayed.
    pub fn replays(&self) -> u64 {
        self.recorder.replays()
    }

    /// Whether replays are errors from now on.
    pub fn refuse_replays(&self, refuse: bool) {
        self.recorder.refuse(refuse);
    }

    /// A fault for the tests to find: from now on every launch of `kernel` that is recorded has this argument, n being
    /// number 0, in the place of its own.
    pub fn plant(&self, kernel: &'static str, argument: usize, stale: Arg) {
        self.recorder.plant(Some((kernel, argument, stale)));
    }

    /// Takes all of these away.
    pub fn plant_nothing(&self) {
        self.recorder.plant(None);
    }

    /// Runs blocks of a kernel.
    ///
    /// # Safety
    /// As [`Driver::launch`].
    unsafe fn start(&self, kernel: &'static str, blocks: i64, threads: c_uint, args: &[Arg]) -> Result<()> {
        let name = CString::new(kernel).map_err(|e| failed(e.to_string()))?;
        let mut kinds: Vec<u8> = Vec::new();
        let mut params: Vec<*mut c_void> = Vec::new();
        for arg in args {
            let (kind, param): (u8, *mut c_void) = match arg {
                Arg::Address(x) => (b'p', std::ptr::from_ref(x).cast_mut().cast()),
                Arg::Int(x) => (b'i', std::ptr::from_ref(x).cast_mut().cast()),
                Arg::Float(x) => (b'f', std::ptr::from_ref(x).cast_mut().cast()),
            };
            kinds.push(kind);
            params.push(param);
        }
        let kinds = CString::new(kinds).map_err(|e| failed(e.to_string()))?;
        let blocks = c_uint::try_from(blocks).map_err(|e| failed(e.to_string()))?;
        let descending = c_int::from(self.order == Order::Descending);
        // SAFETY: the shim compares the arguments' number and kinds before it reads them; what the addresses cover is
        // the caller's promise.
        let code =
            unsafe { (self.emulate)(name.as_ptr(), kinds.as_ptr(), params.as_mut_ptr(), blocks, threads, descending) };
        match code {
            0 => {
                self.launched.lock().unwrap_or_else(PoisonError::into_inner).insert(kernel);
                Ok(())
            }
            1 => Err(failed(format!("{kernel} does not take the arguments {args:?}"))),
            // SAFETY: a text of this thread, which lives until its next launch.
            3 => Err(failed(format!("{kernel}: {}", unsafe { CStr::from_ptr((self.fault)()) }.to_string_lossy()))),
            4 => Err(failed(format!("{kernel} is not declared for blocks of {threads} threads"))),
            _ => Err(failed(format!("there is no kernel {kernel}"))),
        }
    }

    fn memory(&self) -> MutexGuard<'_, BTreeMap<Address, Vec<u32>>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `len` bytes at `address` lie inside one allocation.
    fn inside(&self, address: Address, len: usize) -> Result<()> {
        let memory = self.memory();
        let found = memory.range(..=address).next_back();
        let end = found.map(|(start, words)| start + ((words.len() - 2 * GUARD) * 4) as u64);
        match end {
            Some(end) if address + len as u64 <= end => Ok(()),
            _ => Err(failed(format!("{len} bytes at {address:#x} lie in no allocation"))),
        }
    }
}

/// Were both guard zones left alone?
fn intact(words: &[u32]) -> bool {
    let end = words.len() - GUARD;
    words[..GUARD].iter().chain(&words[end..]).all(|&w| w == GUARD_WORD)
}

/// The C++ text of the machine: shim, kernels, and `emulate` with one branch a kernel.
pub fn source(files: &[KernelFile]) -> String {
    let kernels = compile::unit(files).replace("extern \"C\" __global__", "__global__");
    let mut text = format!("{}\n{}\n{kernels}\n", include_str!("emulator.h"), include_str!("fibers.h"));
    text.push_str(
        "extern \"C\" int emulate(const char *name, const char *kinds, void **args, unsigned blocks, unsigned block, \
         int descending) {\n    const Launch launch{kinds, args, blocks, block, descending};\n",
    );
    for Kernel { name, threads } in files.iter().flat_map(|file| compile::declared(file.text)) {
        let call = match threads {
            Some(threads) => format!("run_blocks({name}, launch, {threads})"),
            None => format!("run({name}, launch)"),
        };
        text.push_str(&format!("    if (std::strcmp(name, \"{name}\") == 0) return {call};\n"));
    }
    text.push_str("    return NO_KERNEL;\n}\n");
    text
}

/// A factor of a product, to the nearest number of so many bits, ties to even, as the hardware rounds it.
fn rounded(x: f32, precision: Precision) -> f32 {
    let dropped = match precision {
        Precision::F32 => return x,
        Precision::Tf32 => 13,
        Precision::Bf16 => 16,
    };
    let bits = x.to_bits();
    if !x.is_finite() {
        return x;
    }
    let half = (1 << (dropped - 1)) - 1 + (bits >> dropped & 1);
    f32::from_bits((bits + half) >> dropped << dropped)
}

impl Driver for Emulator {
    fn describe(&self) -> String {
        "cuda: emulated on the host".to_owned()
    }

    fn alloc(&self, bytes: usize) -> Result<Address> {
        self.recorder.expect_none("reserving memory")?;
        let mut words = vec![GUARD_WORD; 2 * GUARD + bytes.div_ceil(4)];
        let end = words.len() - GUARD;
        words[GUARD..end].fill(FRESH);
        let address = words[GUARD..].as_mut_ptr() as Address;
        self.memory().insert(address, words);
        Ok(address)
    }

    unsafe fn free(&self, address: Address) {
        let mut memory = self.memory();
        // A broken guard stays, for `synchronize` to find.
        if memory.get(&address).is_some_and(|words| intact(words)) {
            memory.remove(&address);
        }
    }

    unsafe fn retire(&self, address: Address) {
        if let Some(words) = self.memory().get_mut(&address) {
            let end = words.len() - GUARD;
            words[GUARD..end].fill(FRESH);
        }
    }

    unsafe fn upload(&self, host: &[u8], to: Address) -> Result<()> {
        self.recorder.expect_none("a copy from the host")?;
        self.inside(to, host.len())?;
        // SAFETY: the range was checked; `host` is no part of the device's memory.
        unsafe { std::ptr::copy_nonoverlapping(host.as_ptr(), to as *mut u8, host.len()) };
        Ok(())
    }

    unsafe fn download(&self, from: Address, host: &mut [u8]) -> Result<()> {
        self.synchronize()?;
        self.inside(from, host.len())?;
        // SAFETY: the range was checked; `host` is no part of the device's memory.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, host.as_mut_ptr(), host.len()) };
        Ok(())
    }

    unsafe fn copy(&self, from: Address, to: Address, bytes: usize) -> Result<()> {
        if self.recorder.keeps(|| Enqueued::Copy { from, to, bytes }) {
            return Ok(());
        }
        self.inside(from, bytes)?;
        self.inside(to, bytes)?;
        // SAFETY: both ranges were checked; the caller promises that they do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }

    unsafe fn clear(&self, at: Address, bytes: usize) -> Result<()> {
        if self.recorder.keeps(|| Enqueued::Clear { at, bytes }) {
            return Ok(());
        }
        self.inside(at, bytes)?;
        // SAFETY: the range was checked.
        unsafe { std::ptr::write_bytes(at as *mut u8, 0, bytes) };
        Ok(())
    }

    unsafe fn gemm(&self, g: &BatchedGemm) -> Result<()> {
        if self.recorder.keeps(|| Enqueued::Product(*g)) {
            return Ok(());
        }
        let (m, n, k) = (g.m as usize, g.n as usize, g.k as usize);
        let shape = |f: &Factor, rows: usize, cols: usize| if f.transposed { (cols, rows) } else { (rows, cols) };
        for (f, (rows, cols)) in [(&g.a, shape(&g.a, m, k)), (&g.b, shape(&g.b, k, n)), (&g.c, (m, n))] {
            // What cuBLAS refuses.
            if g.m < 0 || g.n < 0 || g.k < 0 || f.ld < rows.max(1) as i32 || f.stride < 0 {
                return Err(failed(format!("a matrix product: invalid value ({g:?})")));
            }
            let last = (g.batch as usize - 1) * f.stride as usize + cols.saturating_sub(1) * f.ld as usize + rows;
            self.inside(f.address, last * 4)?;
        }
        let at = |f: &Factor, z: usize, i: usize, j: usize| {
            let (i, j) = if f.transposed { (j, i) } else { (i, j) };
            (f.address as *mut f32).wrapping_add(z * f.stride as usize + j * f.ld as usize + i)
        };
        for z in 0..g.batch as usize {
            for j in 0..n {
                for i in 0..m {
                    let mut sum = 0.0;
                    for x in 0..k {
                        // SAFETY: every element up to the last one of the last matrix was checked above.
                        let (a, b) = unsafe { (*at(&g.a, z, i, x), *at(&g.b, z, x, j)) };
                        sum += rounded(a, g.precision) * rounded(b, g.precision);
                    }
                    let c = at(&g.c, z, i, j);
                    // SAFETY: as above; C overlaps neither A nor B.
                    unsafe { *c = g.alpha * sum + if g.beta == 0.0 { 0.0 } else { g.beta * *c } };
                }
            }
        }
        Ok(())
    }

    unsafe fn launch(&self, kernel: &'static str, threads: i64, args: &[Arg]) -> Result<()> {
        if self.recorder.keeps(|| Enqueued::Threads { kernel, threads, args: args.to_vec() }) {
            return Ok(());
        }
        // SAFETY: the caller's promise.
        unsafe { self.start(kernel, threads / i64::from(BLOCK) + 1, BLOCK, args) }
    }

    unsafe fn launch_blocks(&self, kernel: &'static str, grid: Grid, args: &[Arg]) -> Result<()> {
        if self.recorder.keeps(|| Enqueued::Blocks { kernel, grid, args: args.to_vec() }) {
            return Ok(());
        }
        // SAFETY: the caller's promise.
        unsafe { self.start(kernel, grid.blocks.min(MOST_BLOCKS), grid.threads, args) }
    }

    fn begin_recording(&self) -> Result<()> {
        self.recorder.begin()
    }

    fn end_recording(&self) -> Result<Recording> {
        self.recorder.end()
    }

    unsafe fn replay(&self, recording: Recording) -> Result<()> {
        let operations = self.recorder.operations(recording)?;
        // SAFETY: the caller promises that all memory is as it was when they were asked for.
        operations.iter().try_for_each(|operation| unsafe { operation.run(self) })
    }

    unsafe fn forget(&self, recording: Recording) {
        self.recorder.forget(recording);
    }

    fn synchronize(&self) -> Result<()> {
        self.recorder.expect_none("a wait for the device")?;
        match self.memory().iter().find(|(_, words)| !intact(words)) {
            Some((address, words)) => Err(failed(format!(
                "a kernel wrote outside an allocation of {} elements at {address:#x}",
                words.len() - 2 * GUARD
            ))),
            None => Ok(()),
        }
    }
}
