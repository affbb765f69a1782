//! A stream through a model, in a caller's block.

mod block;
mod config;
mod feed;
mod lifecycle;
mod query;
mod saved;
mod undo;

pub use block::titans_stream;
pub use config::{titans_mode, titans_stream_config, titans_stream_config_init};
pub use feed::{titans_stream_push, titans_stream_push_rows, titans_stream_step, titans_stream_step_row};
pub use lifecycle::{
    titans_stream_attach, titans_stream_fork, titans_stream_init, titans_stream_read_only, titans_stream_reset,
};
pub use query::{
    titans_stream_align, titans_stream_describe, titans_stream_info, titans_stream_position, titans_stream_saved_size,
    titans_stream_size, titans_stream_waiting,
};
pub use saved::{titans_stream_load, titans_stream_save};
