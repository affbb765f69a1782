//! libtitans: the Titans test-time memory, and models around it, for C and C++.
//!
//! This crate is the C library; its header is `include/titans.h`, and `docs/ABI.md` says what is promised. A Rust
//! program uses `titans-kernel` and `titans-host` instead.
//!
//! Two tiers. Without an operating system, memories and streams in a caller's blocks; with one (feature `host`), models
//! by path, texts and threads, in `host`.
//!
//! Every function checks every pointer, length, alignment and value before anything changes, and no panic leaves it.
//! `unsafe` is confined to turning pointers into borrows: `pointer.rs` for arguments, `block.rs` for memories,
//! `stream/block.rs` for streams, `model.rs` for blobs, `host/call.rs` for handles.

#![cfg_attr(not(feature = "std"), no_std)]

mod arithmetic;
mod batch;
mod block;
mod boundary;
mod choice;
mod config;
mod described;
mod failure;
#[cfg(feature = "host")]
mod host;
mod info;
mod lifecycle;
mod model;
#[cfg(not(any(feature = "std", test)))]
mod panic;
mod pointer;
mod query;
mod saved;
mod status;
mod stream;
mod tokens;
mod version;

pub use block::titans_memory;
pub use config::{
    TITANS_MAX_LAYERS, TITANS_MAX_WIDTHS, titans_activation, titans_loss, titans_memory_config,
    titans_memory_config_init, titans_network, titans_read_order,
};
pub use described::{
    titans_block_info, titans_block_kind, titans_input, titans_model_describe, titans_model_describe_block,
    titans_model_info, titans_output,
};
#[cfg(feature = "host")]
pub use host::{
    titans_bytes_fn, titans_host_close, titans_host_error, titans_host_model, titans_host_open, titans_host_options,
    titans_host_options_init, titans_host_save_blob, titans_host_view, titans_log_fn, titans_log_level,
    titans_progress_fn, titans_text, titans_text_close, titans_text_config, titans_text_config_init, titans_text_feed,
    titans_text_feed_all, titans_text_fork, titans_text_load, titans_text_next, titans_text_open, titans_text_position,
    titans_text_read, titans_text_read_only, titans_text_reset, titans_text_save, titans_text_token,
    titans_text_vocabulary, titans_text_write,
};
pub use info::{TITANS_MESSAGE_BYTES, titans_error_info};
pub use lifecycle::{titans_memory_attach, titans_memory_init, titans_memory_reset};
pub use model::{titans_model, titans_model_open};
pub use query::{
    titans_memory_align, titans_memory_clipped, titans_memory_parameters, titans_memory_position,
    titans_memory_saved_size, titans_memory_size, titans_memory_surprise, titans_memory_weights,
};
pub use saved::{titans_memory_load, titans_memory_save};
pub use status::{titans_status, titans_status_message, titans_status_name};
pub use stream::{
    titans_mode, titans_stream, titans_stream_align, titans_stream_attach, titans_stream_config,
    titans_stream_config_init, titans_stream_describe, titans_stream_fork, titans_stream_info, titans_stream_init,
    titans_stream_load, titans_stream_position, titans_stream_push, titans_stream_push_rows, titans_stream_read_only,
    titans_stream_reset, titans_stream_save, titans_stream_saved_size, titans_stream_size, titans_stream_step,
    titans_stream_step_row, titans_stream_waiting,
};
pub use tokens::{titans_memory_read, titans_memory_step, titans_memory_write, titans_tokens};
pub use version::{TITANS_ABI_VERSION, titans_abi_version, titans_version_string};
