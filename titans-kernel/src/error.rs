//! Errors of the kernel: small `Copy` values that name the argument, what was expected and what was found.

use core::fmt;

/// What went wrong, with the argument by name and the two numbers that disagree.
///
/// No text is formatted and nothing is allocated until somebody asks with [`fmt::Display`]. Whoever translates errors,
/// as the C interface does, is told of a new one by the compiler.
///
/// ```
/// use titans_kernel::{Error, Mat};
///
/// let error = Mat::new(&[1.0, 2.0, 3.0], 2, 2).unwrap_err();
/// assert!(matches!(error, Error::Buffer { needed: 4, given: 3, .. }), "{error}");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// An argument has the wrong shape or length.
    Shape {
        /// The argument, e.g. `"k rows"`.
        what: &'static str,
        /// The size the operation needs.
        expected: usize,
        /// The size that was given.
        found: usize,
    },
    /// A caller's buffer is too small. Sizes are in elements unless `what` says bytes.
    Buffer {
        /// The buffer, e.g. `"scratch"`.
        what: &'static str,
        /// Elements (or bytes) needed.
        needed: usize,
        /// Elements (or bytes) given.
        given: usize,
    },
    /// A configuration that no memory can have.
    Config {
        /// The field and the rule it breaks, e.g. `"widths: 2 to 5 of them"`.
        what: &'static str,
        /// The offending value.
        found: usize,
    },
    /// An input that must be finite is not.
    Value {
        /// The argument, e.g. `"k"`.
        what: &'static str,
        /// Index of the first offending element in the argument.
        index: usize,
    },
    /// An input outside of its range, or NaN: a gate, an id, a share.
    Range {
        /// The argument, e.g. `"alpha"`.
        what: &'static str,
        /// Index of the first offending element in the argument.
        index: usize,
    },
    /// A token whose write, or whose answer, would leave the range of numbers: it is refused, and a memory's stream
    /// stays what it was after the token before it.
    Diverged {
        /// The token, counted from the first one of the call.
        token: usize,
    },
    /// A model's stream that refused a token before: its blocks stand behind different tokens. Nothing was done.
    Torn,
    /// Bytes that are not what a reader takes.
    Format {
        /// In which way.
        fault: Fault,
        /// What does not fit, e.g. `"checksum"`.
        what: &'static str,
        /// The value the reader expected.
        expected: u64,
        /// The value it found.
        found: u64,
    },
}

/// What is wrong with bytes that a reader refuses.
///
/// ```
/// use titans_kernel::memory::Memory;
/// use titans_kernel::{Error, Fault};
///
/// let mut memory = Memory::linear(4, 4).build()?;
/// assert!(matches!(memory.load(b"no memory at all"), Err(Error::Format { fault: Fault::Length, .. })));
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// They are of no such kind.
    Foreign,
    /// They are of another version of the format.
    Version,
    /// Their numbers have another size than the reader's.
    Numbers,
    /// They cannot be read where they lie: by the order of bytes, or the alignment.
    Place,
    /// There are too few or too many.
    Length,
    /// They are of another configuration, or of another model.
    Config,
    /// They are damaged.
    Corrupt,
}

impl Fault {
    /// [`Error::Format`] with this fault.
    pub const fn error(self, what: &'static str, expected: u64, found: u64) -> Error {
        Error::Format { fault: self, what, expected, found }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Shape { what, expected, found } => {
                write!(f, "{what}: expected {expected}, found {found}; pass a view of that size")
            }
            Self::Buffer { what, needed, given } => {
                write!(f, "{what}: {needed} needed, {given} given; ask the size function of this configuration")
            }
            Self::Config { what, found } => write!(f, "configuration: {what}, found {found}"),
            Self::Value { what, index } => write!(f, "{what}[{index}] is not finite; nothing was changed"),
            Self::Range { what, index } => write!(f, "{what}[{index}] is not in its range; nothing was changed"),
            Self::Diverged { token } => write!(
                f,
                "token {token}: expected a write that keeps the memory finite, found one that does not (an input that is not \
                 finite, or a memory that runs away); it was refused: reset the memory, or lower theta, eta or the input"
            ),
            Self::Torn => write!(
                f,
                "the stream refused a token before, and its blocks stand behind different ones: expected a whole stream; reset \
                 it, load a saved state, or copy back the state of before"
            ),
            Self::Format { what, expected, found, .. } => {
                // A blob is a model, and names itself.
                let of = if what.starts_with("blob") { "" } else { "saved state: " };
                write!(f, "{of}{what}: expected {expected}, found {found}; nothing was changed")
            }
        }
    }
}

impl core::error::Error for Error {}

/// The kernel's result.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// `Ok` when `found == expected`, else [`Error::Shape`] naming `what`.
#[inline]
pub const fn expect_len(what: &'static str, expected: usize, found: usize) -> Result<()> {
    if expected == found { Ok(()) } else { Err(Error::Shape { what, expected, found }) }
}
