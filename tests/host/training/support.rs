//! Small runs that the tests share.

use std::path::Path;
use titans_host::data::recall::Alphabet;
use titans_host::device::cpu::Cpu;
use titans_host::model::ModelConfig;
use titans_host::task::curriculum::CurriculumConfig;
use titans_host::task::recall::{Recall, RecallConfig};
use titans_host::task::text::TextConfig;
use titans_host::task::{Task, TaskConfig};
use titans_host::train::{RunConfig, TrainConfig, Trainer};
use titans_kernel::memory::Loss;

pub type Device = Cpu<f32>;

pub fn device() -> Device {
    Cpu::new(Some(2)).unwrap()
}

pub fn model(vocabulary: usize) -> ModelConfig {
    let mut model = ModelConfig {
        vocabulary,
        width: 16,
        blocks: 1,
        heads: 2,
        head_width: 8,
        feed_forward: 16,
        theta_max: 0.25,
        eta_max: 1.0,
        ..ModelConfig::default()
    };
    (model.memory.chunk, model.memory.compute_chunk, model.memory.loss) = (4, 0, Loss::Sum);
    model
}

/// A recall task that moves up its curriculum after every other step, so that a resume must bring the curriculum.
pub fn recall_config() -> RecallConfig {
    let curriculum = CurriculumConfig { threshold: 0.0, memory: 0.5, every: 2, ..CurriculumConfig::default() };
    RecallConfig {
        length: 64,
        pairs: 4,
        tokens: 128,
        lengths: vec![64, 128],
        sequences: 4,
        alphabet: Alphabet { keys: 8, values: 4, noise: 4 },
        curriculum,
    }
}

pub fn recall_run(train: TrainConfig) -> RunConfig {
    let task = recall_config();
    // The exact form, in pieces of which several are in a sequence; text has chunks.
    let mut model = model(task.alphabet.vocabulary());
    (model.memory.chunk, model.memory.compute_chunk, model.memory.loss) = (1, 16, Loss::Half);
    (model.theta_max, model.eta_max) = (1.0, 0.5);
    TaskConfig::Recall(task).run(model, train).unwrap()
}

pub fn recall(seed: u64) -> Recall {
    Recall::new(recall_config(), seed).unwrap()
}

pub fn text_run(data: &Path, train: TrainConfig) -> RunConfig {
    let task = TextConfig {
        data: vec![data.to_path_buf()],
        context: 32,
        sequences: 4,
        window: 48,
        cheap_windows: 2,
        ..TextConfig::default()
    };
    TaskConfig::Text(task).run(model(256), train).unwrap()
}

/// A text with something to learn.
pub fn write_text(path: &Path) -> Vec<u8> {
    let bytes: Vec<u8> = (0..200).flat_map(|i| format!("line {} of the text\n", i % 10).into_bytes()).collect();
    std::fs::write(path, &bytes).unwrap();
    bytes
}

pub fn steps(steps: u64) -> TrainConfig {
    TrainConfig { steps, warm_up: 3, ..TrainConfig::default() }
}

/// Every parameter's bits, in order.
pub fn bits<D>(trainer: &Trainer<'_, D>, device: &D) -> Vec<u32>
where
    D: titans_host::device::Device<Elem = f32>,
{
    let params = &trainer.model().params;
    params.iter().flat_map(|p| device.download(p.value).unwrap()).map(f32::to_bits).collect()
}

/// A new trainer over a task.
pub fn trainer<'a>(device: &'a Device, config: &RunConfig, task: &'a mut dyn Task<Device>) -> Trainer<'a, Device> {
    Trainer::new(device, config.clone(), task).unwrap()
}
