//! Training: one loop for every model, task and device.

pub mod atomic;
mod begun;
pub mod checkpoint;
pub mod config;
pub mod follow;
mod given;
mod interrupt;
pub mod metrics;
pub mod optimiser;
mod own;
mod parts;
pub mod plot;
pub mod progress;
pub mod ranks;
mod recent;
mod repeat;
pub mod run;
pub mod schedule;
pub mod store;
pub mod task;
pub mod trainer;
mod turn;
pub mod which;

pub use config::{RunConfig, TrainConfig};
pub use follow::follow;
pub use interrupt::Interrupt;
pub use own::Owner;
pub use progress::Progress;
pub use ranks::{Alone, Collective};
pub use run::{Best, Outcome, create, train};
pub use task::{Batch, LossUnit, Task, Validation};
pub use trainer::Trainer;
