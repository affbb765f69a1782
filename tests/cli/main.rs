//! The `titans` command as its users meet it.

mod common;
mod input;
#[path = "../common/vocabulary.rs"]
mod vocabulary;

mod classify;
mod forecast;
mod general;
mod hidden;
mod language;
mod stream;
mod study;
mod track;
mod train;
