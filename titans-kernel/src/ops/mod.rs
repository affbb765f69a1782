//! The operations of a model around the memory: forward and backward side by side, one file each.
//!
//! | module | forward |
//! |---|---|
//! | [`linear`] | `y = x W + bias` |
//! | [`rms_norm`] | `y = x / rms(x) ∘ weight` |
//! | [`l2_norm`] | `y = x / sqrt(‖x‖² + ε)` |
//! | [`conv`] | causal depth-wise convolution; [`Tail`] is its state in a stream |
//! | [`silu`] | `y = x σ(x)` |
//! | [`silu_gate`] | `y = a ∘ silu(gate)` |
//! | [`sigmoid_gate`] | `y = a ∘ σ(gate)` |
//! | [`dropout`] | `y = x / (1 − P)` or 0, by a mask of a key |
//! | [`gates`] | `y = scale σ(x)` for α, θ, η |
//! | [`activation`] | `φ(x)` of the memory network, and φ′, φ″ |
//! | [`layer_norm`] | `x̂ = (x − mean) / deviation`, twice differentiable |
//! | [`embedding`] | `y = table[ids]` |
//! | [`rotary`] | `y = x`, its pairs turned by the angle of their position |
//! | [`attention`] | `y = softmax(q kᵀ / √c) v` over a window or a segment |
//! | [`pool`] | `y = mean` of a sequence's rows |
//! | [`cross_entropy`] | `loss = −ln softmax(logits)[target]` |
//! | [`squared_error`] | `loss = mean (x − target)²` |
//!
//! # Conventions
//!
//! - `forward` overwrites its output and never reads it; `vjp` takes the operation's inputs and the cotangent `d_y` of
//!   its output. Gradients of activations are overwritten (that of a linear map is added if asked for), gradients of
//!   parameters (weights, biases, tables) are added to what is there.
//! - Rows are tokens. Inputs and outputs are views whose rows may lie apart; but for [`linear`], whose views may also
//!   be transposes, the elements of a row are neighbours.
//! - All sizes are checked before anything is written; a mistake is an [`Error`](crate::Error) that names the
//!   argument, and the outputs are as they were. Sizes of 0 are valid. Nothing allocates, nothing panics.
//! - Every sum has one fixed order: over a row 16 partial sums, over rows ascending. So the bits of a row do not depend
//!   on the rows around it, nor on the instruction set (but for the matrix product and the e^x of a softmax and of
//!   SiLU, see [`Arithmetic`](crate::Arithmetic)).
//! - NaN in gives NaN out in every element that depends on it.
//! - The first argument lends the arithmetic: [`Portable`](crate::Portable), or a faster
//!   [`Arithmetic`](crate::Arithmetic).
//!
//! # Example
//!
//! A linear map and a SiLU, forward and back:
//!
//! ```
//! use titans_kernel::ops::{linear, silu};
//! use titans_kernel::{Mat, MatMut, Portable, Result};
//!
//! fn main() -> Result<()> {
//!     let (x, w) = ([1.0f32, 2.0], [0.5, -1.0, 0.25, 0.0, 1.0, -0.5]); // one row of 2; 2 × 3
//!     let (mut z, mut y) = ([0.0; 3], [0.0; 3]);
//!     linear::forward(&Portable, Mat::new(&x, 1, 2)?, Mat::new(&w, 2, 3)?, None, MatMut::new(&mut z, 1, 3)?)?;
//!     assert_eq!(z, [0.5, 1.0, -0.75]);
//!     silu::forward(&Portable, &z, &mut y)?;
//!
//!     let (d_y, mut d_z, mut d_w) = ([1.0; 3], [0.0; 3], [0.0; 6]);
//!     silu::vjp(&Portable, &z, &d_y, &mut d_z)?;
//!     linear::vjp_weight(&Portable, Mat::new(&x, 1, 2)?, Mat::new(&d_z, 1, 3)?, MatMut::new(&mut d_w, 2, 3)?)?;
//!     assert_eq!(d_w[3..], [2.0 * d_z[0], 2.0 * d_z[1], 2.0 * d_z[2]]);
//!     Ok(())
//! }
//! ```

pub mod activation;
pub mod attention;
#[cfg(test)]
pub(crate) mod check;
pub mod conv;
pub mod cross_entropy;
pub mod dropout;
pub mod embedding;
pub mod gates;
pub mod l2_norm;
pub mod layer_norm;
pub mod linear;
pub mod pool;
pub mod rms_norm;
pub mod rotary;
pub(crate) mod rows;
pub mod sigmoid_gate;
pub mod silu;
pub mod silu_gate;
pub mod squared_error;
mod tail;

pub use tail::Tail;
