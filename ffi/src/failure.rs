//! Why a call failed, inside the library; it becomes a status and, if asked for, a `titans_error_info`.

use crate::status::titans_status::{self, *};
use titans_kernel::{Error, Fault};

/// The numbers that make a failure precise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// The status says it all.
    None,
    /// Two numbers disagree.
    Sizes { expected: u64, found: u64 },
    /// A number breaks the rule that the argument's name states.
    Found(u64),
    /// Element `index` of the argument is at fault.
    Index(u64),
}

/// A status with the argument it is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure {
    pub(crate) code: titans_status,
    /// Position of the argument in the call, from 1; 0 when no single one is at fault.
    pub(crate) arg: i32,
    /// The argument or the field.
    pub(crate) what: &'static str,
    pub(crate) detail: Detail,
}

/// The result of everything inside the library.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// A part that sizes make sure of.
pub(crate) fn sure<T>(part: Option<T>) -> Outcome<T> {
    part.ok_or(Failure::new(TITANS_ERROR_INTERNAL, 0, "library"))
}

/// `to.copy_from_slice(from)` of slices of one length.
pub(crate) fn copy<T: Copy>(to: &mut [T], from: &[T]) {
    debug_assert_eq!(to.len(), from.len());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
}

impl Failure {
    pub(crate) const fn new(code: titans_status, arg: i32, what: &'static str) -> Self {
        Self { code, arg, what, detail: Detail::None }
    }

    pub(crate) const fn sizes(code: titans_status, arg: i32, what: &'static str, expected: u64, found: u64) -> Self {
        Self { code, arg, what, detail: Detail::Sizes { expected, found } }
    }

    pub(crate) const fn index(code: titans_status, arg: i32, what: &'static str, index: usize) -> Self {
        Self { code, arg, what, detail: Detail::Index(index as u64) }
    }

    /// A number breaks the rule that `what` states.
    pub(crate) const fn found(code: titans_status, arg: i32, what: &'static str, found: u64) -> Self {
        Self { code, arg, what, detail: Detail::Found(found) }
    }

    /// A number in a configuration breaks a rule, e.g. "chunk: 1 to 1048576".
    pub(crate) const fn rule(arg: i32, rule: &'static str, found: u64) -> Self {
        Self::found(TITANS_ERROR_CONFIG, arg, rule, found)
    }

    /// A configuration the kernel refuses.
    pub(crate) fn config(arg: i32, error: Error) -> Self {
        match error {
            Error::Config { what, found } => Self::rule(arg, what, found as u64),
            other => Self::internal(other),
        }
    }

    /// Values the kernel refuses, NaN and infinity or a gate out of range; `at` finds an argument by its name.
    pub(crate) fn value(at: impl Fn(&str) -> i32, error: Error) -> Self {
        match error {
            Error::Value { what, index } => Self::index(TITANS_ERROR_NOT_FINITE, at(what), what, index),
            Error::Range { what, index } => Self::index(TITANS_ERROR_GATE_RANGE, at(what), what, index),
            other => Self::internal(other),
        }
    }

    /// The kernel refused a token; `before` tokens of the call came before those that it was given.
    pub(crate) const fn write(at: i32, before: usize, error: Error) -> Self {
        match error {
            Error::Diverged { token } => Self::index(TITANS_ERROR_DIVERGED, at, "token", before + token),
            other => Self::internal(other),
        }
    }

    /// What the kernel refuses to feed a stream, before anything changes.
    pub(crate) fn fed(error: Error) -> Self {
        match error {
            Error::Range { what, index } => Self::index(TITANS_ERROR_TOKEN_RANGE, 3, what, index),
            Error::Value { what, index } => Self::index(TITANS_ERROR_NOT_FINITE, 3, what, index),
            Error::Config { found, .. } => Self::found(TITANS_ERROR_END, 1, "stream: tokens of the call", found as u64),
            other => Self::internal(other),
        }
    }

    /// What the reader of saved bytes refuses: of a memory or of a model's stream.
    pub(crate) fn saved(arg: i32, error: Error) -> Self {
        let Error::Format { fault, what, expected, found } = error else { return Self::internal(error) };
        let code = match fault {
            Fault::Foreign => TITANS_ERROR_SAVED_FOREIGN,
            Fault::Version => TITANS_ERROR_SAVED_VERSION,
            Fault::Length => TITANS_ERROR_SAVED_LENGTH,
            Fault::Numbers | Fault::Place | Fault::Config => TITANS_ERROR_SAVED_CONFIG,
            Fault::Corrupt => TITANS_ERROR_SAVED_CORRUPT,
        };
        Self::sizes(code, arg, what, expected, found)
    }

    /// An error that the checks before the kernel should have made impossible.
    pub(crate) const fn internal(error: Error) -> Self {
        let (what, expected, found) = match error {
            Error::Shape { what, expected, found } => (what, expected as u64, found as u64),
            Error::Buffer { what, needed, given } => (what, needed as u64, given as u64),
            Error::Config { what, found } => (what, 0, found as u64),
            Error::Value { what, index } | Error::Range { what, index } => {
                return Self::index(TITANS_ERROR_INTERNAL, 0, what, index);
            }
            Error::Diverged { token } => return Self::index(TITANS_ERROR_INTERNAL, 0, "token", token),
            Error::Torn => ("torn", 0, 0),
            Error::Format { what, expected, found, .. } => (what, expected, found),
        };
        Self::sizes(TITANS_ERROR_INTERNAL, 0, what, expected, found)
    }
}
