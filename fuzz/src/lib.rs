//! What the fuzz targets do with bytes: nothing may panic, and what was refused may change nothing.
//!
//! `cargo +nightly fuzz run stream_load` searches; `tests/host/fuzz_corpus.rs` replays `fuzz/corpus` in every test run.

pub mod checkpoint_load;
pub mod stream_load;
