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
