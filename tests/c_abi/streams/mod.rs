//! Streams through whole models.

mod bits;
#[path = "../../common/blocks.rs"]
mod blocks;
mod refusals;
mod saved;
mod support;
mod tokens;
