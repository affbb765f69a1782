//! Series of numbers: a tiny run learns, resumes to the bit, and is measured as it should be.

use super::support::{Device, bits, device, steps, trainer};
use std::path::Path;
use titans_host::Error;
use titans_host::model::{Kind, Kinds, Mode, Model, ModelConfig};
use titans_host::task::series::{SeriesConfig, SeriesTask, default_run, evaluate};
use titans_host::task::{self, TaskConfig};
use titans_host::train::progress::Silent;
use titans_host::train::{Interrupt, RunConfig, Trainer, checkpoint, create, train};

/// Two columns of another size and place, a sine and its shift.
fn write(path: &Path, rows: usize) {
    let row = |i: usize| {
        let x = i as f64 * 0.3;
        format!("2020-01-{i},{},{}\n", 100.0 + 5.0 * x.sin(), -0.01 * (x + 1.0).sin())
    };
    std::fs::write(path, "date,level,drift\n".to_owned() + &(0..rows).map(row).collect::<String>()).unwrap();
}

fn run(data: &Path, patch: usize, block: Kind, count: u64) -> RunConfig {
    let mut task = SeriesConfig {
        data: data.to_path_buf(),
        patch,
        context: 12,
        sequences: 8,
        window: 20,
        cheap_windows: 2,
        ..SeriesConfig::default()
    };
    task.measure().unwrap();
    let mut model = ModelConfig { block: Kinds::All(block), blocks: 2, ..super::support::model(2) };
    let task = TaskConfig::Series(task);
    task.fit(&mut model).unwrap();
    assert_eq!((model.inputs, model.outputs), (2 * patch, 2 * patch));
    task.run(model, steps(count)).unwrap()
}

#[test]
fn a_tiny_run_learns_more_than_that_nothing_changes() {
    let device = device();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("sine.csv");
    write(&data, 600);
    for (block, patch) in [(Kind::Lmm, 1), (Kind::Mag, 3)] {
        let config = run(&data, patch, block, 150);
        let out = folder.path().join(format!("{block:?}"));
        create(&out, &config).unwrap();
        let mut task = task::open::<Device>(&config).unwrap();
        let mut run = trainer(&device, &config, &mut *task);
        let outcome = train(&mut run, &out, &Interrupt::new(), &mut Silent).unwrap();
        let TaskConfig::Series(c) = TaskConfig::of(&config).unwrap() else { panic!() };
        let numbers = SeriesTask::read(c, 0).unwrap().validation_numbers().to_vec();
        let found = evaluate(&device, run.model(), &numbers, (20, usize::MAX), Mode::On).unwrap();
        let validation = outcome.validation.unwrap();
        assert_eq!((validation.loss, validation.tokens), (found.mean_squared_error, found.patches));
        assert_eq!(found.patches as usize, 60 / patch - 1, "every patch of the last tenth but the first");
        assert!(found.mean_squared_error < 0.5 * found.unchanged.min(1.0), "{block:?}: {found:?}");
        // What undoes the standardisation is in the run.
        let (saved, _) = checkpoint::load_config(&out).unwrap();
        let TaskConfig::Series(saved) = TaskConfig::of(&saved).unwrap() else { panic!() };
        assert!((saved.columns[0].mean - 100.0).abs() < 0.5 && saved.columns[1].deviation < 0.01);
        assert_eq!(RunConfig::read(&out.join("config.toml")).unwrap(), config, "to the last digit");
        let svg = std::fs::read_to_string(out.join("loss.svg")).unwrap();
        assert!(svg.contains("squared deviations") && !svg.contains("nats"));
    }
}

fn advance(run: &mut Trainer<'_, Device>, steps: u64) {
    for _ in 0..steps {
        run.step(0.0).unwrap();
    }
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    let device = device();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("sine.csv");
    write(&data, 300);
    let config = run(&data, 2, Kind::Lmm, 8);
    let mut task = task::open::<Device>(&config).unwrap();
    let mut whole = trainer(&device, &config, &mut *task);
    advance(&mut whole, 8);
    let mut task = task::open::<Device>(&config).unwrap();
    let mut part = trainer(&device, &config, &mut *task);
    advance(&mut part, 3);
    let path = folder.path().join("part.safetensors");
    part.save(&path, 1.0).unwrap();
    let mut task = task::open::<Device>(&config).unwrap();
    let mut rest = Trainer::resume(&device, checkpoint::load(&device, &path).unwrap(), &mut *task).unwrap();
    advance(&mut rest, 5);
    assert_eq!(bits(&rest, &device), bits(&whole, &device));
    // Other numbers are another run.
    write(&data, 301);
    let mut task = task::open::<Device>(&config).unwrap();
    let error = Trainer::resume(&device, checkpoint::load(&device, &path).unwrap(), &mut *task).unwrap_err();
    assert!(error.to_string().contains("sine.csv: the data have changed"), "{error}");
}

#[test]
fn windows_cover_every_patch_and_other_models_are_refused() {
    let device = device();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("sine.csv");
    write(&data, 300);
    let config = run(&data, 3, Kind::Lmm, 1);
    let model = Model::<Device>::new(&device, config.model.clone(), 1).unwrap();
    let numbers: Vec<f64> = (0..6 * 50 + 5).map(|i| f64::from(i % 13) - 6.0).collect();
    let of = |window: usize, most: usize| evaluate(&device, &model, &numbers, (window, most), Mode::On).unwrap();
    let moved = |i: usize| (0..6).map(|j| (numbers[6 * i + j] - numbers[6 * i + 6 + j]).powi(2) / 6.0).sum::<f64>();
    for window in [0, 1, 7, 49, 50, 1000] {
        let found = of(window, usize::MAX);
        assert_eq!(found.patches, 49, "{window}");
        let unchanged = (0..49).map(moved).sum::<f64>() / 49.0;
        assert!((found.unchanged - unchanged).abs() < 1e-12, "{window}");
    }
    assert_eq!(of(0, 9), of(49, 9));
    assert_eq!(of(10, 2).patches, 20, "two windows of the five");
    let error = evaluate(&device, &model, &numbers[..11], (0, 1), Mode::On).unwrap_err().to_string();
    assert!(error.contains("2 patches of 6"), "{error}");
    let text = Model::<Device>::new(&device, super::support::model(16), 0).unwrap();
    let error = evaluate(&device, &text, &numbers, (0, 1), Mode::On).unwrap_err();
    assert!(matches!(error, Error::Usage(_)), "{error}");
    let mut wrong = config;
    wrong.model.inputs = 5;
    assert!(task::open::<Device>(&wrong).err().unwrap().to_string().contains("model.inputs"));
    assert!(default_run(folder.path().join("absent.csv")).is_err());
    assert_eq!(default_run(data).unwrap().model.inputs, 2);
}
