//! The memory: a small network whose weights learn at test time.

mod spec;

pub use spec::{Activation, Loss, MAX_LAYERS, MemorySpec, Network, Read};
