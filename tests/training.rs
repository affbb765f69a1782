//! Training on the CPU, end to end and to the bit: optimiser, checkpoints, resume, runs in their folders, evaluation.

#[path = "training/best.rs"]
mod best;
#[path = "training/checkpoints.rs"]
mod checkpoints;
#[path = "training/dropout.rs"]
mod dropout;
#[path = "training/evaluation.rs"]
mod evaluation;
#[path = "training/memory.rs"]
mod memory;
#[path = "training/optimiser.rs"]
mod optimiser;
#[path = "training/runs.rs"]
mod runs;
#[path = "training/series.rs"]
mod series;
#[path = "training/steps.rs"]
mod steps;
#[path = "training/support.rs"]
mod support;
#[path = "common/vocabulary.rs"]
mod vocabulary;
