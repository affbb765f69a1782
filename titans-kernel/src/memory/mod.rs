//! The memory: a small network whose weights learn at test time.

mod boundaries;
mod builder;
mod choices;
mod close;
mod close_vjp;
mod codec;
mod coefficients;
mod exact;
mod exact_panels;
mod exact_piece;
mod exact_vjp;
mod feed;
mod forward;
mod frame;
mod gates;
mod guard;
mod guarded;
mod inside;
mod layout;
mod open;
mod owner;
#[cfg(test)]
mod owner_tests;
mod pair;
mod push;
mod query;
mod read;
mod read_vjp;
mod sets;
mod settle;
mod source;
mod spec;
mod step;
#[cfg(test)]
mod step_tests;
mod stream;
mod token;
mod vjp;
mod work;
mod write;
mod write_vjp;

pub use crate::ops::activation::Activation;
pub use builder::{Builder, Start};
pub use codec::SavedHeader;
pub use forward::{Form, Outputs, forward, forward_scratch_len};
pub use gates::{Gate, Mask, Tokens};
pub use owner::{Gates, Memory};
pub use query::{query, query_scratch_len};
pub use spec::{LIMIT, Loss, MAX_LAYERS, MemorySpec, Network, Read, USUAL_PIECE};
pub use stream::{Counters, Stream};
pub use vjp::{Cotangents, Gradients, Record, vjp, vjp_scratch_len};
