//! Numbers of the interface that stand for a choice.

use crate::failure::{Failure, Outcome};
use titans_kernel::Choice;
use titans_kernel::model::Mode;

/// The kernel's choice of a number of the interface, which is its byte.
///
/// # Errors
/// `TITANS_ERROR_CONFIG` with all variants there are.
pub(crate) fn chosen<T: Choice>(position: i32, number: i32) -> Outcome<T> {
    let choice = u8::try_from(number).ok().and_then(|code| T::of_code(code).ok());
    choice.ok_or_else(|| Failure::rule(position, T::RULE, i64::from(number) as u64))
}

/// The number 0 or 1 of an argument, which `rule` names.
///
/// # Errors
/// `TITANS_ERROR_CONFIG` for other numbers.
pub(crate) fn flag(position: i32, rule: &'static str, number: i32) -> Outcome<bool> {
    match number {
        0 => Ok(false),
        1 => Ok(true),
        other => Err(Failure::rule(position, rule, i64::from(other) as u64)),
    }
}

/// What the memories do by the argument `read_only`.
///
/// # Errors
/// As [`flag`].
pub(crate) fn read_only(position: i32, number: i32) -> Outcome<Mode> {
    Ok(if flag(position, "read_only: 0 or 1", number)? { Mode::Frozen } else { Mode::On })
}
