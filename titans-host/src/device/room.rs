//! Space of the host that is asked for, and not taken for granted.

use crate::error::{Error, Result};
use titans_kernel::Scalar;

/// A vector of zeros, or an error where the system has no such space: `what` it is for, and `remedy`, what would need
/// less.
pub(crate) fn zeros<T: Scalar>(len: usize, what: &str, remedy: &str) -> Result<Vec<T>> {
    let mut data = Vec::new();
    data.try_reserve_exact(len).map_err(|_| Error::NoMemory {
        what: what.into(),
        bytes: len.saturating_mul(T::BYTES),
        remedy: remedy.into(),
    })?;
    data.resize(len, T::ZERO);
    Ok(data)
}
