//! Training on the CPU, end to end and to the bit: optimiser, checkpoints, resume, runs in their folders, evaluation.

mod best;
mod carry;
mod checkpoints;
mod classify;
mod dropout;
mod evaluation;
mod forecast;
mod hidden;
mod language;
mod memory;
mod optimiser;
mod runs;
mod series;
mod steps;
mod support;
mod track;
