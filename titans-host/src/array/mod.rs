//! Arrays with axes ([`ndarray`]) in and out of the library: matrices, a batch through the memory, sessions,
//! parameters.
//!
//! | | |
//! |---|---|
//! | [`mat`], [`mat_mut`], [`view`], [`view_mut`] | the kernel's matrices and two-dimensional views of the same numbers |
//! | [`memory`], [`memory_vjp`] | keys, values, queries and gates through the memory of a device, and the gradients of all of them |
//! | [`weights`], [`weights_mut`], [`momentum`] | the matrices W^l and S^l of a memory's state |
//! | [`push`], [`push_rows`] | a stream of tokens or rows through a model |
//! | [`parameter`], [`set_parameter`] | a model's parameters by name |
//!
//! Arrays of any strides are taken; those that are not row-major without gaps are copied, where nothing else is said.
//! `docs/MATH.md` has the symbols.
//!
//! ```
//! use ndarray::{Array3, Array4, arr1};
//! use titans_host::array::{self, ArrayTokens};
//! use titans_host::device::cpu::Cpu;
//! use titans_kernel::memory::{Form, MemorySpec, Read};
//!
//! # fn main() -> titans_host::Result<()> {
//! let device = Cpu::<f64>::new(None)?;
//! let spec = MemorySpec::new(&[2, 3])?; // keys of 2, values of 3
//! let (b, h, t) = (1, 1, 1); // sequences, heads, tokens
//! let mut k = Array4::zeros((b, h, t, 2));
//! k[[0, 0, 0, 0]] = 1.0;
//! let v = arr1(&[0.5, -0.25, 2.0]).into_shape_with_order((b, h, t, 3)).unwrap();
//! let (none, one) = (Array3::zeros((b, h, t)), Array3::ones((b, h, t)));
//! let tokens = ArrayTokens {
//!     k: k.view(),
//!     v: v.view(),
//!     q: k.view(),
//!     alpha: none.view(),
//!     theta: one.view(),
//!     eta: none.view(),
//!     mask: None,
//! };
//! let start = Array3::zeros((b, h, spec.state_len()));
//! let answers = array::memory(&device, &spec, Read::After, Form::Chunk, &tokens, start.view())?;
//! assert_eq!(answers.y, v); // one step at rate 1 learns a key of length 1
//! # Ok(())
//! # }
//! ```

mod batch;
mod matrix;
mod params;
mod state;
mod stream;
#[cfg(test)]
mod tests;

pub use batch::{Answers, ArrayCotangents, ArrayGradients, ArrayTokens, memory, memory_vjp};
pub use matrix::{mat, mat_mut, view, view_mut};
pub use params::{parameter, set_parameter};
pub use state::{momentum, weights, weights_mut};
pub use stream::{push, push_rows};

use crate::error::{Error, Result};
use ndarray::{Array, ArrayView, Dimension};
use std::borrow::Cow;

/// An array of these numbers, row-major.
pub(crate) fn owned<T, D: Dimension>(axes: D, data: Vec<T>) -> Result<Array<T, D>> {
    let (shape, found) = (axes.slice().to_vec(), data.len());
    Array::from_shape_vec(axes, data)
        .map_err(|_| Error::usage(format!("an array of shape {shape:?}: expected as many numbers, found {found}")))
}

/// The elements in row-major order, copied where they do not lie so.
fn elements<'a, T: Copy, D: Dimension>(what: &str, array: &ArrayView<'a, T, D>) -> Result<Cow<'a, [T]>> {
    if let Some(elements) = array.to_slice() {
        return Ok(Cow::Borrowed(elements));
    }
    let mut copy = Vec::new();
    copy.try_reserve_exact(array.len()).map_err(|_| {
        Error::usage(format!("{what}: no memory for a copy of {} elements: use smaller arrays", array.len()))
    })?;
    copy.extend(array.iter().copied());
    Ok(Cow::Owned(copy))
}

/// An error unless the array has this shape.
fn expect_shape(what: &str, axes: &str, expected: &[usize], found: &[usize]) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    Err(Error::usage(format!("{what}: expected shape {axes} = {expected:?}, found {found:?}")))
}
