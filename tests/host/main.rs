//! The host's tests across its rooms, in one program: models and trainers are compiled for each device and number once.

#[path = "../common/blocks.rs"]
mod cases;
#[path = "../common/feed.rs"]
mod feed;
#[path = "../common/vocabulary.rs"]
mod vocabulary;

mod cuda_blocks;
mod cuda_boundaries;
mod cuda_counting;
#[cfg(target_os = "linux")]
mod cuda_device_script;
mod cuda_emulator;
#[cfg(target_os = "linux")]
mod cuda_fake_commands;
#[cfg(target_os = "linux")]
mod cuda_fake_driver;
mod cuda_graph;
mod cuda_launches;
mod cuda_nvrtc;
mod cuda_precision;
mod cuda_probe;
#[cfg(target_os = "linux")]
mod cuda_races;
mod cuda_real_sizes;
mod cuda_resources;
mod fuzz_corpus;
mod golden;
mod mcu;
mod model_blocks;
mod model_golden;
mod model_gradients;
mod model_streams;
mod training;

/// Whether a test is for `.ci/run long` alone and this is another run: says so.
///
/// Those tests take minutes and run kernels that other tests have run, with a sanitizer between or in another order.
pub(crate) fn left_for_long_runs() -> bool {
    let left = !long_run();
    if left {
        println!("skipped: left to `.ci/run long`, as it takes a minute or more");
    }
    left
}

pub(crate) fn long_run() -> bool {
    std::env::var_os("TITANS_LONG_TESTS").is_some()
}
