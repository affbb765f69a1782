//! The number of ranks changes no bit of training.

use super::circle::{Member, together};
use titans_host::data::recall::Alphabet;
use titans_host::device::Device;
use titans_host::device::cpu::Cpu;
use titans_host::model::ModelConfig;
use titans_host::task::TaskConfig;
use titans_host::task::curriculum::CurriculumConfig;
use titans_host::task::recall::{Recall, RecallConfig};
use titans_host::train::checkpoint::{self, Checkpoint, RunState};
use titans_host::train::follow::Agreed;
use titans_host::train::progress::Silent;
use titans_host::train::trainer::StepReport;
use titans_host::train::{Alone, Collective, Interrupt, RunConfig, TrainConfig, Trainer, create, follow, train};

/// A task whose curriculum moves with what it hears, so that all ranks must hear the same.
fn task() -> RecallConfig {
    RecallConfig {
        length: 64,
        pairs: 4,
        tokens: 128,
        lengths: vec![64],
        sequences: 4,
        alphabet: Alphabet { keys: 8, values: 4, noise: 4 },
        curriculum: CurriculumConfig { threshold: 0.0, memory: 0.5, every: 2, ..CurriculumConfig::default() },
    }
}

fn config(train: TrainConfig) -> RunConfig {
    let task = task();
    let model = ModelConfig {
        vocabulary: task.alphabet.vocabulary(),
        width: 16,
        blocks: 2,
        heads: 2,
        head_width: 8,
        feed_forward: 16,
        ..ModelConfig::default()
    };
    TaskConfig::Recall(task).run(model, TrainConfig { warm_up: 2, ..train }).unwrap()
}

type Bits = Vec<u32>;

/// Every parameter and moment after some steps, and how they went.
fn after(ranks: &dyn Collective, config: &RunConfig, steps: u64) -> (Vec<StepReport>, Bits) {
    let (device, mut task) = (Cpu::<f32>::new(Some(1)).unwrap(), Recall::new(task(), 0).unwrap());
    let mut start = Trainer::start(&device, config.clone(), &task).unwrap();
    if ranks.rank() > 0 {
        // Whatever others begin with is not theirs to say.
        start.model.params.values_mut().iter_mut().for_each(|value| device.fill(7.0, value).unwrap());
        start.state = RunState::default();
    }
    let mut trainer = Trainer::among(&device, start, &mut task, ranks).unwrap();
    let reports = (0..steps).map(|_| trainer.step(0.0).unwrap()).collect();
    (reports, bits(&device, &trainer))
}

fn bits(device: &Cpu<f32>, trainer: &Trainer<'_, Cpu<f32>>) -> Bits {
    let params = &trainer.model().params;
    params.iter().flat_map(|p| device.download(p.value).unwrap()).map(f32::to_bits).collect()
}

#[test]
fn the_number_of_ranks_changes_no_bit() {
    let cases = [
        TrainConfig { accumulate: 2, ..TrainConfig::default() },
        TrainConfig { accumulate: 4, dropout: 0.2, ..TrainConfig::default() },
        TrainConfig { accumulate: 5, recompute: true, clip: 0.01, ..TrainConfig::default() },
    ];
    for case in cases {
        let config = config(case);
        let parts = config.train.accumulate as usize;
        let (reports, expected) = after(&Alone, &config, 5);
        let learned = reports.iter().all(|report| report.loss > 0.0 && report.accuracy.is_some());
        assert!(learned && reports[0].tokens > 128 * (parts as u64 - 1), "{reports:?}");
        for size in 2..=parts {
            for (rank, (found, bits)) in together(size, |ranks| after(ranks, &config, 5)).into_iter().enumerate() {
                assert_eq!(found, reports, "rank {rank} of {size}, {parts} parts");
                assert!(bits == expected, "rank {rank} of {size}, {parts} parts: other parameters");
            }
        }
    }
}

#[test]
fn a_step_of_fewer_parts_than_ranks_is_refused() {
    let config = config(TrainConfig { accumulate: 2, ..TrainConfig::default() });
    let told = together(3, |ranks| {
        let (device, mut task) = (Cpu::<f32>::new(Some(1)).unwrap(), Recall::new(task(), 0).unwrap());
        let start = Trainer::start(&device, config.clone(), &task).unwrap();
        Trainer::among(&device, start, &mut task, ranks).map(drop).unwrap_err().to_string()
    });
    for text in told {
        assert!(
            text.contains("train.accumulate: expected 3 or more") && text.contains("3 processes, found 2"),
            "{text}"
        );
    }
}

/// A run in its folder as each rank goes through it: from the folder's checkpoint, if it has one.
fn part_of_run(ranks: &Member<'_>, folder: &std::path::Path, config: &RunConfig) -> Bits {
    let (device, mut task) = (Cpu::<f32>::new(Some(1)).unwrap(), Recall::new(task(), 0).unwrap());
    let start = match ranks.rank() {
        0 if checkpoint::are_in(folder) => {
            Checkpoint { config: config.clone(), ..checkpoint::load(&device, folder).unwrap() }
        }
        0 => {
            create(folder, config).unwrap();
            Trainer::start(&device, config.clone(), &task).unwrap()
        }
        _ => Checkpoint::blank(&device, config.clone(), RunState::default()).unwrap(),
    };
    let mut trainer = Trainer::among(&device, start, &mut task, ranks).unwrap();
    match ranks.rank() {
        0 => drop(train(&mut trainer, folder, &Interrupt::new(), &mut Silent).unwrap()),
        _ => follow(&mut trainer, &Interrupt::new()).unwrap(),
    }
    bits(&device, &trainer)
}

#[test]
fn a_run_goes_on_with_any_number_of_ranks() {
    let folder = tempfile::tempdir().unwrap();
    let until =
        |steps| config(TrainConfig { accumulate: 3, steps, floor: 1.0, validate_every: 2, ..TrainConfig::default() });
    let run = |name: &str, sizes: &[usize]| {
        let folder = folder.path().join(name);
        let mut ends = Vec::new();
        for (size, steps) in sizes.iter().zip([3, 6, 9]) {
            ends = together(*size, |ranks| part_of_run(ranks, &folder, &until(steps)));
            assert!(ends.iter().all(|bits| *bits == ends[0]), "{sizes:?}");
        }
        let again = together(2, |ranks| part_of_run(ranks, &folder, &until(9)));
        assert!(again.iter().all(|bits| *bits == ends[0]), "a finished run ends for all, and changes nothing");
        ends.swap_remove(0)
    };
    let alone = run("alone", &[1, 1, 1]);
    assert!(run("grows", &[1, 2, 3]) == alone);
    assert!(run("shrinks", &[3, 2, 1]) == alone);
}

#[test]
fn a_request_to_stop_is_everybody_s() {
    let config = config(TrainConfig { accumulate: 3, ..TrainConfig::default() });
    let seen = together(3, |ranks| {
        let (device, mut task) = (Cpu::<f32>::new(Some(1)).unwrap(), Recall::new(task(), 0).unwrap());
        let start = Trainer::start(&device, config.clone(), &task).unwrap();
        let trainer = Trainer::among(&device, start, &mut task, ranks).unwrap();
        let interrupt = Interrupt::new();
        let first = trainer.agree(ranks.rank() == 2, 1.5 + ranks.rank() as f64, &interrupt).unwrap();
        if ranks.rank() == 1 {
            interrupt.receive(15);
        }
        let second = trainer.agree(false, 2.0, &interrupt).unwrap();
        let third = trainer.agree(true, 2.0, &interrupt).unwrap();
        (first, second, third, interrupt.signal())
    });
    // Rank 0 alone says when it is done, and how late it is.
    assert_eq!(seen, [(Agreed::Step(1.5), Agreed::Stop, Agreed::End, Some(15)); 3]);
}
