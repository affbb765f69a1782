//! host

pub mod cli;
pub mod data;
pub mod device;
pub mod error;
pub mod model;
pub mod selftest;
pub mod tape;
pub mod task;
pub mod train;

pub use error::{Error, Result};
