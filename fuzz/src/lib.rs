//! What the fuzz targets do with bytes: nothing may panic, and what was refused may change nothing.
//!
//! `cargo +nightly fuzz run stream_load` searches; `tests/host/fuzz_corpus.rs` and, for the C library,
//! `tests/c_abi/fuzz_corpus.rs` replay `fuzz/corpus` in every test run.

pub mod blob_open;
pub mod calls;
#[cfg(feature = "host")]
pub mod checkpoint_load;
pub mod configs;
pub mod cuts;
pub mod memories;
pub mod small;
pub mod state_load;
pub mod stream_load;
