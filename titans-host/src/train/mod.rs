//! Training: one loop for every model, task and device.

pub mod atomic;
pub mod interrupt;
pub mod metrics;
pub mod optimiser;
pub mod plot;
pub mod progress;
pub mod schedule;

pub use interrupt::Interrupt;
