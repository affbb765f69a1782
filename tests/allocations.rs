//! Heap allocations after warm-up: none, of any thread, for streams, memory operations, attention and whole training
//! steps.
//!
//! All is one test without the usual harness: the counter sees every thread of the process, so nothing may run beside
//! it.

#[path = "allocations/attention.rs"]
mod attention;
#[path = "allocations/memory.rs"]
mod memory;
#[path = "allocations/model.rs"]
mod model;
#[path = "allocations/stream.rs"]
mod stream;
#[path = "allocations/training.rs"]
mod training;

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Blocks that all threads took from the heap, or made larger, while `work` ran.
fn taken(work: impl FnOnce()) -> usize {
    let region = Region::new(HEAP);
    work();
    let change = region.change();
    change.allocations + change.reallocations
}

fn main() {
    assert!(taken(|| drop(std::hint::black_box(vec![1u8; 100]))) > 0, "the counter counts");
    stream::check();
    memory::check();
    attention::check();
    model::check();
    training::check();
    println!("nothing is taken from the heap after warm-up: ok");
}
