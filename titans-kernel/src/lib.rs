//! The Titans test-time memory over fixed buffers: no std, no allocation; `unsafe` in [`arch`] only.
//!
//! ```
//! use titans_kernel::memory::{Gates, Memory};
//!
//! # fn main() -> titans_kernel::Result<()> {
//! let mut memory = Memory::linear(4, 4).build()?; // keys of 4, values of 4; `build_in`: in your buffer
//! let (key, value, mut answer) = ([1.0, 0.0, 0.0, 0.0], [0.3, -0.5, 0.1, 0.9], [0.0; 4]);
//! let gates = Gates { alpha: 0.0, theta: 1.0, eta: 0.0 }; // α forgets, θ learns, η carries on
//! let surprise = memory.write(&key, &value, gates)?; // ½ ‖M(key) − value‖² before it learned
//! memory.read(&key, &mut answer)?;
//! assert!(surprise > 0.5 && answer == value);
//! # Ok(())
//! # }
//! ```
//!
//! [`memory`] is the memory: a small network whose weights learn at test time (arXiv 2501.00663, section 3), in batches
//! ([`memory::forward`], [`memory::vjp`]) and in streams ([`memory::Stream`]). [`ops`] are the operations of a model
//! around it, forward and backward; [`model`] is a whole stack of them as a stream. Everything borrows the caller's
//! slices through [`Mat`] and [`MatMut`]; sizes are functions of the configuration; errors are small, [`Copy`], and
//! name the argument.
//!
//! The first argument of what is heavy is an [`Arithmetic`]: [`Portable`], or a caller's faster matrix product.
//!
//! Features, all on by default: `alloc` (memories and sessions in a `Vec`), `avx2` and `avx512` (versions for these
//! instructions), `crc32fast` (fast checksums, 16 KiB of tables), `strict`: a mistake of the kernel's own sizes panics.
//! Without `strict` nothing panics, which programs for bare metal count on. `serde`, off: choices by their names.
#![no_std]
#![deny(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod arch;
pub mod arithmetic;
mod block;
pub mod choice;
mod crc;
pub mod error;
pub mod header;
pub mod memory;
pub mod model;
pub mod ops;
mod part;
pub mod scalar;
pub mod scratch;
pub mod view;

pub use arithmetic::{Arithmetic, Portable, Store};
pub use choice::Choice;
pub use error::{Error, Fault, Result};
pub use scalar::Scalar;
pub use scratch::Scratch;
pub use view::{Mat, MatMut};

/// The README's examples, held to by `cargo test`.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
