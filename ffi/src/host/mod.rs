//! The tier with an operating system: files, text, threads. The only part of the library that uses `titans-host`.

mod call;
mod model;
mod options;
mod stands;
mod text;
mod together;

pub use call::titans_host_error;
pub use model::{titans_host_close, titans_host_model, titans_host_open, titans_host_save_blob, titans_host_view};
pub use options::{
    titans_bytes_fn, titans_host_options, titans_host_options_init, titans_log_fn, titans_log_level,
    titans_progress_fn, titans_text_config, titans_text_config_init,
};
pub use stands::{
    titans_text_fork, titans_text_load, titans_text_position, titans_text_read_only, titans_text_reset,
    titans_text_save,
};
pub use text::{
    titans_text, titans_text_close, titans_text_feed, titans_text_next, titans_text_open, titans_text_read,
    titans_text_token, titans_text_vocabulary, titans_text_write,
};
pub use together::titans_text_feed_all;
