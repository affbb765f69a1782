//! Every block and every option.

use super::{Problem, check};
use crate::cases::cases;
use titans_host::model::{Dropout, Input, Mode, Wiring};
use titans_host::tape::Tape;

/// Two tests do half of the cases each, for two cores. 11 tokens: no segment, chunk or window divides them.
fn every_second_case(from: usize) {
    for (what, config) in cases().into_iter().skip(from).step_by(2) {
        check(&what, config, if what.contains("as it is") { 2 } else { 1 }, 11);
    }
}

#[test]
fn every_block_and_option() {
    every_second_case(0);
}

#[test]
fn every_block_and_other_options() {
    every_second_case(1);
}

#[test]
fn frozen_and_absent_memories_of_every_block() {
    for (what, config) in cases().into_iter().filter(|(what, _)| what.contains("as it is")) {
        for mode in [Mode::Absent, Mode::Frozen] {
            let mut problem = Problem::new(config.clone(), 1, 9, mode);
            let gradients = problem.gradients();
            let wrong = problem.disagreements(&gradients);
            assert!(wrong.is_empty(), "{what}, {mode:?}:\n{}", wrong.join("\n"));
        }
    }
}

#[test]
fn dropout_in_every_block() {
    for (what, config) in cases().into_iter().filter(|(what, _)| what.contains("as it is")) {
        let mut problem = Problem::new(config, 1, 9, Mode::On);
        problem.dropout = Dropout::new(0.3, 1, 2, 0).unwrap();
        let gradients = problem.gradients();
        let wrong = problem.disagreements(&gradients);
        assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
        problem.dropout = Dropout::new(0.3, 1, 3, 0).unwrap();
        assert!(!problem.disagreements(&gradients).is_empty(), "{what}: another step drops something else");
    }
}

/// Nothing of what came before has a gradient: not w0 either.
#[test]
fn memories_that_go_on_from_other_tokens_in_every_block() {
    let goes_on = |c: &titans_host::model::ModelConfig| c.wiring == Wiring::Residual || c.persistent == 0;
    for (what, config) in cases().into_iter().filter(|(what, c)| what.contains("as it is") && goes_on(c)) {
        let mut problem = Problem::new(config, 1, 9, Mode::On);
        let fresh = problem.loss();
        let states = {
            let mut tape = Tape::inference(&problem.device, &problem.model.params);
            let input = Input { states: true, ..Input::of(problem.input.source(), 1, 9) };
            problem.model.forward(&mut tape, input).unwrap().states
        };
        assert_eq!(states.len(), problem.model.config().remembering().count());
        problem.start = states;
        assert!(problem.start.is_empty() || (problem.loss() - fresh).abs() > 1e-9, "{what}: it begins with them");
        let gradients = problem.gradients();
        let wrong = problem.disagreements(&gradients);
        assert!(wrong.is_empty(), "{what}:\n{}", wrong.join("\n"));
        for (p, gradient) in problem.model.params.iter().zip(&gradients) {
            let none = gradient.iter().all(|&x| x == 0.0);
            assert!(!p.name.ends_with("w0") || problem.start.is_empty() || none, "{what}: {}", p.name);
        }
    }
}

/// Otherwise the cases with a clip would be those without.
#[test]
fn the_clips_of_the_cases_fire_for_some_tokens_and_not_for_others() {
    for (what, config) in cases() {
        let Some(clip) = config.memory.clip else { continue };
        let clipped = |clip: f64| {
            let mut config = config.clone();
            config.memory.clip = Some(clip);
            Problem::new(config, 1, 11, Mode::On).clipped()
        };
        let (some, all) = (clipped(clip), clipped(1e-9));
        assert!(some > 0 && some < all, "{what}: {some} of {all}");
    }
}
