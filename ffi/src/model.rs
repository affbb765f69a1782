//! `titans_model`: an exported model, read where it lies.

use crate::boundary;
use crate::failure::{Failure, Outcome};
use crate::info::titans_error_info;
use crate::pointer::{Arg, addresses, apart, arg, input, output, store};
use crate::status::titans_status::*;
use crate::version::TITANS_ABI_VERSION;
use core::ffi::c_void;
use core::ops::Range;
use titans_kernel::model::Model;
use titans_kernel::{Error, Fault};

/// A model over exported bytes, as `titans_model_open` fills it: an address, a length and what tells them from others.
/// It lives where you put it, needs no destruction, and may be copied; its contents belong to the library.
#[allow(non_camel_case_types, reason = "the name is that of the C header")]
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct titans_model {
    /// The library's own.
    pub opaque: [u64; 6],
}

/// "TITANSB" and a zero, read as a little-endian number.
const MAGIC: u64 = u64::from_le_bytes(*b"TITANSB\0");

/// A model that was checked, for the length of a call.
#[derive(Debug)]
pub(crate) struct Opened<'a> {
    pub(crate) model: Model<'a, f32>,
    /// Addresses of the structure and of the blob.
    pub(crate) addresses: [Range<usize>; 2],
}

impl titans_model {
    fn new(blob: *const u8, bytes: usize, checksum: u32) -> Self {
        let mut opaque =
            [MAGIC, u64::from(TITANS_ABI_VERSION), blob.addr() as u64, bytes as u64, u64::from(checksum), 0];
        opaque[5] = seal(&opaque);
        Self { opaque }
    }
}

/// FNV-1a over the words before the last.
fn seal(words: &[u64; 6]) -> u64 {
    words[..5].iter().fold(0xcbf2_9ce4_8422_2325, |hash, &word| (hash ^ word).wrapping_mul(0x0000_0100_0000_01b3))
}

/// What the reader of a blob refuses, as a status.
fn refused(error: Error) -> Failure {
    let blob = 4;
    let Error::Format { fault, what, expected, found } = error else {
        return match error {
            Error::Config { what, found } => Failure::found(TITANS_ERROR_MODEL_CONFIG, blob, what, found as u64),
            other => Failure::internal(other),
        };
    };
    let code = match fault {
        Fault::Foreign => TITANS_ERROR_MODEL_FOREIGN,
        Fault::Version => TITANS_ERROR_MODEL_VERSION,
        Fault::Numbers => TITANS_ERROR_MODEL_NUMBERS,
        Fault::Length => TITANS_ERROR_MODEL_LENGTH,
        Fault::Place | Fault::Config => TITANS_ERROR_MODEL_CONFIG,
        Fault::Corrupt => TITANS_ERROR_MODEL_CORRUPT,
    };
    Failure::sizes(code, blob, what, expected, found)
}

/// Borrows a model that was opened before.
///
/// # Safety
/// A pointer that is not NULL points to a readable structure; if `titans_model_open` filled it, the blob is still
/// there, and nobody writes either during the call.
pub(crate) unsafe fn borrow_model<'a>(arg: Arg, model: *const titans_model) -> Outcome<Opened<'a>> {
    // SAFETY: readable by promise; any bytes are a value.
    let [own] = unsafe { input(arg, model, 1, 1) }? else { return Err(arg.fail(TITANS_ERROR_NULL)) };
    let words = &own.opaque;
    if words[0] == 0 {
        return Err(arg.fail(TITANS_ERROR_UNINITIALISED));
    }
    if words[0] != MAGIC {
        return Err(Failure::sizes(TITANS_ERROR_FOREIGN, arg.position, arg.name, MAGIC, words[0]));
    }
    if words[1] != u64::from(TITANS_ABI_VERSION) {
        let expected = u64::from(TITANS_ABI_VERSION);
        return Err(Failure::sizes(TITANS_ERROR_BLOCK_VERSION, arg.position, arg.name, expected, words[1]));
    }
    if words[5] != seal(words) {
        return Err(arg.fail(TITANS_ERROR_CORRUPT));
    }
    let (blob, len) = (core::ptr::with_exposed_provenance::<u8>(words[2] as usize), words[3] as usize);
    // SAFETY: the structure is sealed, so it was filled by `titans_model_open`, and by promise its blob is still there.
    let bytes = unsafe { core::slice::from_raw_parts(blob, len) };
    // What was checked whole when it was opened is not looked through again.
    let model = Model::trusted(bytes).ok().filter(|model| u64::from(model.checksum()) == words[4]);
    let model = model.ok_or(arg.fail(TITANS_ERROR_OTHER_MODEL))?;
    Ok(Opened { model, addresses: [addresses(model_pointer(own), 1), addresses(blob, len)] })
}

const fn model_pointer(model: &titans_model) -> *const titans_model {
    core::ptr::from_ref(model)
}

/// Opens an exported model: `blob` holds the `blob_bytes` bytes of a file that `titans export` wrote, in memory,
/// mapped, or in flash, at an address divisible by 4 (by 64 is best). All of it is checked here, its checksum too.
/// Nothing is copied: the blob must stay as it is for as long as the model is used. Fill `model_size` with
/// sizeof(titans_model) and `abi_version` with `TITANS_ABI_VERSION`.
///
/// Any number of streams may use the model, from any number of threads: nobody writes it. It needs no destruction.
///
/// Errors: `NULL`, `STRUCT_SIZE`, `ABI_VERSION`, `MISALIGNED`, `OVERLAP`, `MODEL_FOREIGN`, `MODEL_VERSION`,
/// `MODEL_NUMBERS`, `MODEL_LENGTH`, `MODEL_CORRUPT`, `MODEL_CONFIG`, `TOO_LARGE` for a blob that no address space
/// holds. The structure is not touched then.
///
/// # Safety
/// Pointers are NULL or valid for their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn titans_model_open(
    model: *mut titans_model,
    model_size: usize,
    abi_version: u32,
    blob: *const c_void,
    blob_bytes: usize,
    info: *mut titans_error_info,
) -> i32 {
    let to = Opening { model: arg(1, "model"), size: arg(2, "model_size"), abi: arg(3, "abi_version") };
    // SAFETY: the caller's promises are the same.
    let body = || unsafe { to.open(model, model_size, abi_version, blob, blob_bytes) };
    // SAFETY: the caller promises `info`.
    unsafe { boundary::call(info, body) }
}

/// Which arguments of a call say where a model goes.
pub(crate) struct Opening {
    pub(crate) model: Arg,
    pub(crate) size: Arg,
    pub(crate) abi: Arg,
}

impl Opening {
    /// Checks the blob and fills the model.
    ///
    /// # Safety
    /// As [`titans_model_open`]'s.
    pub(crate) unsafe fn open(
        self,
        model: *mut titans_model,
        model_size: usize,
        abi_version: u32,
        blob: *const c_void,
        blob_bytes: usize,
    ) -> Outcome<()> {
        let Self { model: at, size, abi } = self;
        if abi_version != TITANS_ABI_VERSION {
            let (expected, found) = (u64::from(TITANS_ABI_VERSION), u64::from(abi_version));
            return Err(Failure::sizes(TITANS_ERROR_ABI_VERSION, abi.position, abi.name, expected, found));
        }
        if model_size != size_of::<titans_model>() {
            let (expected, found) = (size_of::<titans_model>() as u64, model_size as u64);
            return Err(Failure::sizes(TITANS_ERROR_STRUCT_SIZE, size.position, size.name, expected, found));
        }
        let out = output(at, model, 1, 1)?;
        if blob.is_null() {
            return Err(arg(4, "blob").fail(TITANS_ERROR_NULL));
        }
        if !blob.addr().is_multiple_of(align_of::<f32>()) {
            let found = (blob.addr() % align_of::<f32>()) as u64;
            return Err(Failure::sizes(TITANS_ERROR_MISALIGNED, 4, "blob (address modulo 4)", 0, found));
        }
        // SAFETY: the caller promises `blob`.
        let bytes = unsafe { input(arg(4, "blob"), blob.cast::<u8>(), blob_bytes, blob_bytes) }?;
        apart(at, &out.addresses(), &addresses(bytes.as_ptr(), bytes.len()))?;
        let checksum = Model::<f32>::parse(bytes).map_err(refused)?.checksum();
        blob.expose_provenance();
        // SAFETY: not NULL and aligned (checked above), writable by promise.
        unsafe { store(at, model, titans_model::new(bytes.as_ptr(), bytes.len(), checksum), &[]) }
    }
}
