//! Every block and every option.

use super::cases::cases;
use super::{Problem, check};
use titans_host::model::MemoryMode;

/// 11 tokens: no segment, chunk or window divides them.
#[test]
fn every_block_and_option() {
    for (what, config) in cases() {
        check(&what, config, if what.contains("as it is") { 2 } else { 1 }, 11);
    }
}

#[test]
fn frozen_and_absent_memories_of_every_block() {
    for (what, config) in cases().into_iter().filter(|(what, _)| what.contains("as it is")) {
        for mode in [MemoryMode::Absent, MemoryMode::Frozen] {
            let mut problem = Problem::new(config.clone(), 1, 9, mode);
            let gradients = problem.gradients();
            let wrong = problem.disagreements(&gradients);
            assert!(wrong.is_empty(), "{what}, {mode:?}:\n{}", wrong.join("\n"));
        }
    }
}
