//! The Titans test-time memory over fixed buffers.
#![no_std]
#![forbid(unsafe_code)]
#![doc = ""]

#[cfg(test)]
extern crate std;

pub mod error;
pub mod gemm;
pub mod memory;
pub mod ops;
pub mod scalar;
pub mod scratch;
pub mod view;

pub use error::{Error, Result};
pub use gemm::{Gemm, Portable, Store};
pub use scalar::Scalar;
pub use scratch::Scratch;
pub use view::{Mat, MatMut};

/// The README's examples, held to by `cargo test`.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
