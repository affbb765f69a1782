//! Titans on hosts: devices, automatic differentiation, models, training and the `titans` command.
//!
//! A model reads a text, and its memories learn from every byte of it:
//!
//! ```
//! use titans_host::device::cpu::Cpu;
//! use titans_host::model::{Mode, Model, ModelConfig, Session};
//!
//! # fn main() -> titans_host::Result<()> {
//! let device = Cpu::<f32>::new(None)?; // on all threads of this machine
//! let small = ModelConfig { width: 32, blocks: 1, heads: 2, head_width: 16, feed_forward: 64, ..Default::default() };
//! let model = Model::new(&device, small, 1)?; // random weights; `titans train` trains and saves such models
//! let mut session = Session::new(&device, &model, Mode::On)?;
//! let text = b"the more it reads, the more it knows".map(u32::from);
//! let steps = session.push(&text)?; // in any cuts: they change no bit
//! assert_eq!((steps.len(), steps[0].logits.len()), (text.len(), 256));
//! let nats = steps[0].nats(text[1])?; // what the second byte cost, having seen the first
//! assert!((nats - 256f64.ln()).abs() < 1.0, "{nats}"); // about chance: it was never trained
//! assert!(steps[0].surprise[0].iter().all(|&loss| loss > 0.0)); // of both memories of the only block
//! # Ok(())
//! # }
//! ```
//!
//! The memory by itself, over batches and with gradients, is [`array::memory`]; in the kernel it is
//! [`titans_kernel::memory::Memory`].
//!
//! | module | what it holds |
//! |---|---|
//! | [`device`] | the list of operations ([`device::Device`]), and the machines that run them: CPU threads, CUDA |
//! | [`tape`] | reverse mode over those operations, parameters, gradients |
//! | [`data`] | text, vocabularies, series of numbers, the recall task's symbols |
//! | [`model`] | models of all blocks, in batches and as an uncut stream ([`model::Session`]) |
//! | [`mod@array`] | arrays with axes in and out: batches through the memory, sessions, parameters |
//! | [`train`] | the optimiser, runs and their folders, checkpoints that resume to the bit |
//! | [`task`] | what is learned and measured: recall, text, series, forecasts, classes, needles, stories, groups |
//! | [`selftest`] | a device against another |
//! | [`cli`] | the command |
//!
//! Each uses what stands above it; a test holds the order. The mathematics is in [`titans_kernel`].

pub mod array;
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
