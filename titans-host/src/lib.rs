//! Titans on hosts: devices, automatic differentiation, models, training and the `titans` command.
//!
//! | module | what it holds |
//! |---|---|
//! | [`device`] | the list of operations ([`device::Device`]), and the machines that run them: CPU threads, CUDA |
//! | [`tape`] | reverse mode over those operations, parameters, gradients |
//! | [`data`] | text, vocabularies, series of numbers, the recall task's symbols |
//! | [`model`] | the LMM language model, in batches and as an uncut stream ([`model::Session`]) |
//! | [`train`] | the optimiser, runs and their folders, checkpoints that resume to the bit |
//! | [`task`] | what is learned and measured: recall, text by byte or token, series of numbers |
//! | [`selftest`] | a device against another |
//! | [`cli`] | the command |
//!
//! Each uses what stands above it; a test holds the order. The mathematics is in [`titans_kernel`].

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
