//! host
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod device;
pub mod error;

pub use error::{Error, Result};
