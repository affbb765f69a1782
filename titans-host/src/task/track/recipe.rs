//! The runs that `titans train --task track` does by default.

use super::TrackConfig;
use crate::Result;
use crate::data::track::Group;
use crate::model::ModelConfig;
use crate::task::TaskConfig;
use crate::train::{RunConfig, TrainConfig};

/// One block whose memories can turn what they hold around (1 − θ between −1 and 1, half the loss), without forgetting
/// and without momentum. A product of reflections is what a group's element does, one reflection a token: parity takes
/// one, others more.
///
/// # Errors
/// As [`TaskConfig::run`].
pub fn default_run(group: Group, layers: usize) -> Result<RunConfig> {
    let mut model = ModelConfig {
        width: 64,
        blocks: 1,
        heads: 2,
        head_width: 32,
        feed_forward: 128,
        tied: false,
        ..ModelConfig::default()
    };
    model.set_layers(layers);
    model.alpha_bias = -7.0; // a state is kept until it is changed
    let mut task = TrackConfig { group, ..TrackConfig::default() };
    let mut train = TrainConfig { steps: 1500, learning_rate: 1e-2, ..TrainConfig::default() };
    if group != Group::Parity {
        // A turn in space is two reflections; a permutation of five things is up to four exchanges.
        task.micro_steps = if group == Group::S5 { 4 } else { 2 };
        (task.first_length, task.first_elements) = (8, 6);
    }
    if layers == 1 {
        // Along a key what is held is multiplied by 1 − α − θ: −1 at the most, where nothing is forgotten. Momentum
        // would make it grow.
        (model.theta_max, model.momentum, model.forgetting) = (2.0, false, false);
        // Without neighbours a key says one element's reflection.
        model.conv_width = 0;
        train.weight_decay = 0.0;
        match group {
            // θ of 0 and 2 to the last digits: what is nearly turned around fades in long words, of which short ones
            // say nothing.
            Group::Parity => train.gate_rate = 30.0,
            Group::S3 | Group::Z60 | Group::A5 | Group::S5 => reflect(group, &mut model, &mut train),
        }
    }
    task.fit(&mut model);
    TaskConfig::Track(task).run(model, train)
}

/// Memories that reflect at every token and learn along what alone.
fn reflect(group: Group, model: &mut ModelConfig, train: &mut TrainConfig) {
    // Many small memories: none has the room to learn words by heart.
    (model.heads, model.head_width) = if group == Group::S5 { (8, 8) } else { (8, 4) };
    // θ is 2 to the last digit, and keys may have any direction.
    (model.theta_bias, model.key_scale) = (16.0, 0.1);
    (train.learning_rate, train.steps) = (6e-3, 4000);
}

#[cfg(test)]
mod tests {
    use super::default_run;
    use crate::data::track::Group;
    use crate::task::TaskConfig;

    #[test]
    fn an_element_has_as_many_steps_as_its_reflections() {
        for (group, steps, vocabulary) in
            [(Group::Parity, 1, 2), (Group::S3, 2, 12), (Group::Z60, 2, 120), (Group::A5, 2, 120), (Group::S5, 4, 480)]
        {
            for layers in [1, 2] {
                let run = default_run(group, layers).unwrap();
                run.validate().unwrap();
                let TaskConfig::Track(task) = TaskConfig::of(&run).unwrap() else { panic!("another task") };
                assert_eq!((task.micro_steps, run.model.vocabulary), (steps, vocabulary), "{group:?}");
                let reflects = layers == 1 && group != Group::Parity;
                assert_eq!(run.model.theta_bias > 8.0 && run.model.key_scale < 1.0, reflects, "{group:?} {layers}");
            }
        }
    }
}
