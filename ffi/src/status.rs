//! Status codes: stable numbers in families of ten, with a name and a sentence each.

use core::ffi::{CStr, c_char};

/// What a function returns: 0 is success, everything else is negative. The numbers never change and are never
/// used again for something else. Unless its text says otherwise, after an error nothing has changed: not the
/// memory, not one output.
#[allow(non_camel_case_types, reason = "the names are those of the C header")]
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum titans_status {
    /// Success.
    TITANS_OK = 0,
    /// A pointer is NULL that must not be.
    TITANS_ERROR_NULL = -10,
    /// A `struct_size` is not the size of a structure this library knows, or unknown trailing fields are not zero.
    TITANS_ERROR_STRUCT_SIZE = -11,
    /// The length that came with a buffer is not the one this call needs.
    TITANS_ERROR_LENGTH = -12,
    /// A pointer is not aligned for its type, or a block not to `titans_memory_align()`.
    TITANS_ERROR_MISALIGNED = -13,
    /// An output overlaps another argument, or an argument overlaps the memory.
    TITANS_ERROR_OVERLAP = -14,
    /// An input holds NaN or infinity.
    TITANS_ERROR_NOT_FINITE = -15,
    /// A gate is out of range: alpha and eta lie in [0, 1], theta is at least 0.
    TITANS_ERROR_GATE_RANGE = -16,
    /// The program was compiled against the header of another ABI.
    TITANS_ERROR_ABI_VERSION = -17,
    /// A token id is not below the model's vocabulary.
    TITANS_ERROR_TOKEN_RANGE = -18,
    /// The model reads rows of numbers and was given token ids, or the other way round.
    TITANS_ERROR_INPUT_KIND = -19,
    /// A field of a configuration has a value that no memory can have.
    TITANS_ERROR_CONFIG = -20,
    /// A reserved flag is set.
    TITANS_ERROR_FLAGS = -21,
    /// The memory would be larger than the address space.
    TITANS_ERROR_TOO_LARGE = -22,
    /// The caller's buffer is smaller than the size function said.
    TITANS_ERROR_BUFFER_TOO_SMALL = -30,
    /// The block holds zeros: nothing was initialised in it.
    TITANS_ERROR_UNINITIALISED = -40,
    /// The block holds something else.
    TITANS_ERROR_FOREIGN = -41,
    /// The block was made by a library of another ABI.
    TITANS_ERROR_BLOCK_VERSION = -42,
    /// The head of the block contradicts itself: it was overwritten.
    TITANS_ERROR_CORRUPT = -43,
    /// An earlier call on this memory or stream did not come to its end (an internal error, or two calls at once). It
    /// is lost; initialise it again.
    TITANS_ERROR_POISONED = -44,
    /// No token was written since the memory was initialised, reset or loaded.
    TITANS_ERROR_NO_TOKEN = -45,
    /// The stream belongs to another model, or the blob behind the model is not the one it was opened over.
    TITANS_ERROR_OTHER_MODEL = -46,
    /// The stream refused a token before and keeps nothing to go back to (`undo` 0). Reset it, or load a state.
    TITANS_ERROR_TORN = -47,
    /// The bytes are not a saved memory or stream.
    TITANS_ERROR_SAVED_FOREIGN = -50,
    /// The bytes were saved in a format this library cannot read.
    TITANS_ERROR_SAVED_VERSION = -51,
    /// The bytes are a saved memory of another configuration, or a stream of another model.
    TITANS_ERROR_SAVED_CONFIG = -52,
    /// The bytes are shorter or longer than what was saved.
    TITANS_ERROR_SAVED_LENGTH = -53,
    /// The bytes were changed after they were saved.
    TITANS_ERROR_SAVED_CORRUPT = -54,
    /// A token was refused because numbers would not stay finite: inputs far too large, or a memory that runs away.
    /// The tokens of the call before it are written; the memory or stream is what it was after them.
    TITANS_ERROR_DIVERGED = -60,
    /// The stream is at the end of all positions, 2 to the power of 62.
    TITANS_ERROR_END = -61,
    /// The bytes are not an exported model.
    TITANS_ERROR_MODEL_FOREIGN = -70,
    /// The model was exported in a format this library cannot read.
    TITANS_ERROR_MODEL_VERSION = -71,
    /// The model has numbers of 64 bits; the library computes with 32.
    TITANS_ERROR_MODEL_NUMBERS = -72,
    /// The bytes are shorter or longer than the exported model.
    TITANS_ERROR_MODEL_LENGTH = -73,
    /// The bytes were changed after they were exported.
    TITANS_ERROR_MODEL_CORRUPT = -74,
    /// The bytes describe a model that cannot be, or that this processor cannot read where it lies.
    TITANS_ERROR_MODEL_CONFIG = -75,
    /// The model's own first numbers do not stay finite: initial weights or persistent rows of a memory.
    TITANS_ERROR_MODEL_NOT_FINITE = -76,
    /// The operating system refuses a file.
    TITANS_ERROR_IO = -80,
    /// The content of a file is not what it should be.
    TITANS_ERROR_FILE = -81,
    /// An argument cannot be used with this model or file.
    TITANS_ERROR_USAGE = -82,
    /// The system has no memory or no thread for it.
    TITANS_ERROR_SYSTEM = -83,
    /// A progress function said to stop. What was done is kept.
    TITANS_ERROR_STOPPED = -84,
    /// Another process is writing there.
    TITANS_ERROR_HELD = -85,
    /// A bug in the library, caught at its edge. The memory of the call is poisoned; other memories are not affected.
    TITANS_ERROR_INTERNAL = -90,
}

use titans_status::*;

/// The statuses with their sentences; one that is missing does not compile.
macro_rules! texts {
    ($($status:ident: $sentence:literal,)+) => {
        /// Every status, for lookups by number.
        pub(crate) const ALL: &[titans_status] = &[$($status,)+];

        impl titans_status {
            /// The name and the sentence.
            pub(crate) const fn texts(self) -> (&'static CStr, &'static CStr) {
                match self {
                    $($status => (c_str(concat!(stringify!($status), "\0")), c_str(concat!($sentence, "\0"))),)+
                }
            }
        }
    };
}

const fn c_str(text: &str) -> &CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    }
}

texts! {
    TITANS_OK: "success",
    TITANS_ERROR_NULL: "a required pointer is NULL",
    TITANS_ERROR_STRUCT_SIZE: "struct_size is unknown or trailing fields are not zero; use the init function or sizeof",
    TITANS_ERROR_LENGTH: "the length of a buffer is not the one the call needs",
    TITANS_ERROR_MISALIGNED: "a pointer is not aligned",
    TITANS_ERROR_OVERLAP: "an output overlaps another argument, or an argument overlaps the memory",
    TITANS_ERROR_NOT_FINITE: "an input is NaN or infinite",
    TITANS_ERROR_GATE_RANGE: "a gate is out of range: alpha, eta in [0, 1], theta at least 0",
    TITANS_ERROR_ABI_VERSION: "header and library have different ABI versions; compile again",
    TITANS_ERROR_TOKEN_RANGE: "a token id is not below the vocabulary",
    TITANS_ERROR_INPUT_KIND: "the model reads the other kind of input: ids or rows",
    TITANS_ERROR_CONFIG: "the configuration has a value no memory can have",
    TITANS_ERROR_FLAGS: "a reserved flag is set; flags must be 0",
    TITANS_ERROR_TOO_LARGE: "larger than the address space",
    TITANS_ERROR_BUFFER_TOO_SMALL: "the buffer is too small; ask the size function",
    TITANS_ERROR_UNINITIALISED: "nothing was initialised in this block",
    TITANS_ERROR_FOREIGN: "the block holds something else",
    TITANS_ERROR_BLOCK_VERSION: "the block was made by a library of another ABI",
    TITANS_ERROR_CORRUPT: "the head of the block was overwritten",
    TITANS_ERROR_POISONED: "an earlier call did not come to its end; initialise it again",
    TITANS_ERROR_NO_TOKEN: "no token was written since the memory was initialised, reset or loaded",
    TITANS_ERROR_OTHER_MODEL: "the stream belongs to another model, or the blob has changed",
    TITANS_ERROR_TORN: "the stream refused a token and has no way back; reset it or load a state",
    TITANS_ERROR_SAVED_FOREIGN: "the bytes are no saved memory or stream",
    TITANS_ERROR_SAVED_VERSION: "saved in a format this library cannot read",
    TITANS_ERROR_SAVED_CONFIG: "saved with another configuration or model",
    TITANS_ERROR_SAVED_LENGTH: "the bytes are cut short or too many",
    TITANS_ERROR_SAVED_CORRUPT: "the saved bytes were changed",
    TITANS_ERROR_DIVERGED: "the memory would not stay finite; lower theta, eta or the input, or reset it",
    TITANS_ERROR_END: "the end of all positions; reset the stream",
    TITANS_ERROR_MODEL_FOREIGN: "the bytes are no exported model; `titans export` writes one",
    TITANS_ERROR_MODEL_VERSION: "the model was exported in a format this library cannot read; export it again",
    TITANS_ERROR_MODEL_NUMBERS: "the library computes with numbers of 32 bits; export the model with them",
    TITANS_ERROR_MODEL_LENGTH: "the bytes are cut short or too many",
    TITANS_ERROR_MODEL_CORRUPT: "the exported bytes were changed",
    TITANS_ERROR_MODEL_CONFIG: "the bytes describe a model that cannot be",
    TITANS_ERROR_MODEL_NOT_FINITE: "the model's initial weights or persistent rows do not stay finite",
    TITANS_ERROR_IO: "the operating system refuses the file; titans_host_error says why",
    TITANS_ERROR_FILE: "the file is not what it should be; titans_host_error says why",
    TITANS_ERROR_USAGE: "an argument cannot be used; titans_host_error says why",
    TITANS_ERROR_SYSTEM: "no memory or no thread; titans_host_error says why",
    TITANS_ERROR_STOPPED: "a progress function said to stop",
    TITANS_ERROR_HELD: "another process is writing there",
    TITANS_ERROR_INTERNAL: "internal error; please report it",
}

/// The texts of any number.
fn describe(status: i32) -> (&'static CStr, &'static CStr) {
    match ALL.iter().find(|s| **s as i32 == status) {
        Some(s) => s.texts(),
        None => (c"TITANS_UNKNOWN", c"not a status of this library"),
    }
}

/// The name of a status, e.g. "TITANS_ERROR_NULL"; "TITANS_UNKNOWN" for other numbers. Static: never free it.
#[unsafe(no_mangle)]
pub extern "C" fn titans_status_name(status: i32) -> *const c_char {
    describe(status).0.as_ptr()
}

/// One sentence about a status: what is wrong and what to do. Static: never free it.
#[unsafe(no_mangle)]
pub extern "C" fn titans_status_message(status: i32) -> *const c_char {
    describe(status).1.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::{ALL, titans_status};

    #[test]
    fn numbers_are_distinct_and_names_are_those_of_the_constants() {
        for (i, a) in ALL.iter().enumerate() {
            assert_eq!(a.texts().0.to_str().unwrap(), format!("{a:?}"));
            assert!(ALL[..i].iter().all(|b| *b as i32 != *a as i32), "{a:?} twice");
            assert!((*a as i32 <= -10) != (*a == titans_status::TITANS_OK), "{a:?}");
        }
    }
}
