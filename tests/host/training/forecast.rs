//! Forecasts: what one may have seen, and that a tiny run learns, resumes to the bit and streams.

mod rows;

use super::support::{Device, bits, device, steps, trainer};
use titans_host::data::series::Series;
use titans_host::device::Device as _;
use titans_host::device::cpu::Cpu;
use titans_host::model::{Dropout, Input, Kind, Kinds, Mode, Model, ModelConfig, Session, Shortcut, Source, Targets};
use titans_host::tape::{Gradients, Shared, Tape};
use titans_host::task::forecast::{
    Channels, Forecast, ForecastConfig, ForecastTask, Frame, Manner, Tally, forecast, moments, table,
};
use titans_host::task::{Task, TaskConfig};
use titans_host::train::task::Batch;
use titans_host::train::{RunConfig, Trainer, checkpoint};

const BLOCKS: [Kind; 5] = [Kind::Lmm, Kind::Mac, Kind::Mag, Kind::Mal, Kind::Attention];

/// Two waves of other sizes with something that no line foretells, and a column that stands still.
fn series(rows: usize) -> Series {
    let row = |i: usize| {
        let x = i as f64;
        let bend = (x * 0.11).sin().abs();
        [50.0 + 4.0 * (x * 0.5).sin() + bend, 0.01 * (x * 0.5 + 1.0).cos() - 0.02 * bend, 7.0]
    };
    let names = ["level", "drift", "still"].map(str::to_owned).to_vec();
    Series { names, numbers: (0..rows).flat_map(row).collect(), lines: Vec::new() }
}

fn config(channels: Channels) -> ForecastConfig {
    let columns = series(400).measure(280);
    ForecastConfig {
        horizons: vec![3, 6],
        lookback: 16,
        patch: 4,
        context: 3,
        sequences: 4,
        cheap_windows: 8,
        channels,
        columns,
        ..ForecastConfig::default()
    }
}

fn run(task: &ForecastConfig, kind: Kind, shortcut: Shortcut, count: u64) -> RunConfig {
    let mut model = ModelConfig { block: Kinds::All(kind), shortcut, blocks: 2, ..super::support::model(2) };
    let task = TaskConfig::Forecast(task.clone());
    task.fit(&mut model).unwrap();
    let mut train = steps(count);
    train.validate_every = 50;
    task.run(model, train).unwrap()
}

/// A model whose blocks are heard beside the shortcut: in a new one the head is 0.
fn speaking(config: &ForecastConfig, kind: Kind, shortcut: Shortcut) -> Model<Device> {
    let device = device();
    let run = run(config, kind, shortcut, 1);
    let mut model = Model::<Device>::new(&device, run.model, 3).unwrap();
    task(config, 400).prepare(&device, &mut model).unwrap();
    let head = model.params.id("head.weight").unwrap();
    let numbers = device.download(model.params.value(head).unwrap()).unwrap();
    assert!(numbers.iter().all(|x| *x == 0.0));
    let numbers: Vec<f32> = (0..numbers.len()).map(|i| 0.2 * (i as f32 * 1.7).sin()).collect();
    device.write(&numbers, model.params.value_mut(head).unwrap()).unwrap();
    model
}

fn task(config: &ForecastConfig, rows: usize) -> ForecastTask {
    ForecastTask::new(config.clone(), &series(rows), 5).unwrap()
}

/// Every forecast's bits, by moment and column.
fn all(
    model: &Model<Device>,
    (frame, series): (&Frame, &Series),
    config: &ForecastConfig,
    manner: Manner,
) -> Vec<(usize, usize, Vec<u64>)> {
    let table = table(series, &config.columns, &config.layout).unwrap();
    let moments: Vec<usize> = moments(frame, &(0..table.rows()), &config.horizons).collect();
    let mut found = Vec::new();
    forecast(&device(), model, (frame, &table), &moments, manner, |f: Forecast<'_>| {
        let bits = f.said.iter().chain([&f.surprise]).map(|x| x.to_bits()).collect();
        found.push((f.moment, f.column, bits));
        Ok(())
    })
    .unwrap();
    found.sort();
    found
}

/// Rows from a moment on change no forecast of that moment or before, however the memories are kept; they do change
/// later ones.
#[test]
fn no_forecast_depends_on_anything_later_than_its_moment() {
    for (channels, kind) in
        BLOCKS.map(|kind| (Channels::Independent, kind)).into_iter().chain([(Channels::Mixed, Kind::Lmm)])
    {
        let config = config(channels);
        let model = speaking(&config, kind, Shortcut::Learned);
        let frame = Frame::of(&config);
        let before = series(90);
        for carry in [false, true] {
            for mode in [Mode::On, Mode::Frozen] {
                let manner = Manner { mode, carry, surprise: true };
                let usual = all(&model, (&frame, &before), &config, manner);
                assert_eq!(usual.len(), (90 - 24 - 3 + 1) * 3, "every moment and column");
                for moment in [24, 41, 70] {
                    let mut after = before.clone();
                    after.numbers[moment * 3..].iter_mut().for_each(|x| *x = *x * 1.5 + 1.0);
                    let changed = all(&model, (&frame, &after), &config, manner);
                    for (a, b) in usual.iter().zip(&changed) {
                        assert!(a == b || a.0 > moment, "{kind:?} {channels:?} {manner:?}: {} of {moment}", a.0);
                    }
                    let later = usual.iter().zip(&changed).filter(|(a, b)| a != b).count();
                    assert!(later > 0, "the next ones have seen it");
                }
            }
        }
        let carried = |mode| all(&model, (&frame, &before), &config, Manner { mode, carry: true, surprise: false });
        let fresh = all(&model, (&frame, &before), &config, Manner { mode: Mode::On, carry: false, surprise: false });
        assert_eq!(carried(Mode::On)[0], fresh[0], "they begin alike");
        if kind.has_memory() {
            assert!(carried(Mode::On) != fresh, "what was carried on is heard");
        }
    }
}

/// One stream a lane and row of a patch, token by token, says what the batches say.
#[test]
fn streams_carry_on_as_batches_do() {
    let config = config(Channels::Independent);
    let model = speaking(&config, Kind::Mal, Shortcut::Fixed);
    let (frame, rows) = (Frame::of(&config), series(70));
    let table = table(&rows, &config.columns, &config.layout).unwrap();
    let batches = all(&model, (&frame, &rows), &config, Manner { mode: Mode::On, carry: true, surprise: false });
    for lane in 0..3 {
        for phase in 0..4 {
            let mut session = Session::new(&device(), &model, Mode::On).unwrap();
            for moment in (16 + phase..=67).step_by(4) {
                let mut token = Vec::new();
                let level = frame.token(&table, moment, lane, &mut token)[0];
                let token: Vec<f32> = token.into_iter().map(|x| x as f32).collect();
                let said = session.push_rows(&token).unwrap().remove(0).logits;
                let Some((.., bits)) = batches.iter().find(|(m, c, _)| (*m, *c) == (moment, lane)) else { continue };
                let expected = said.iter().map(|x| (f64::from(*x) * level.scale + level.shift).to_bits());
                assert!(expected.eq(bits[..6].iter().copied()), "lane {lane}, moment {moment}");
            }
        }
    }
}

#[test]
fn a_tiny_run_begins_at_the_linear_map_and_learns_more() {
    let device = device();
    let config = config(Channels::Independent);
    let linear = task(&config, 400).baselines(&(280..320)).unwrap().linear.mean().mse;
    // The linear map leaves little to learn.
    for (kind, shortcut, share) in [(Kind::Lmm, Shortcut::Fixed, 0.99), (Kind::Mag, Shortcut::None, 0.5)] {
        let run = run(&config, kind, shortcut, 300);
        let mut of = task(&config, 400);
        let (frame, table) = (of.frame().clone(), of.table().clone());
        let mut trainer = Trainer::new(&device, run, &mut of).unwrap();
        let first = trainer.validate(true).unwrap();
        assert_eq!(first.tokens, 35 * 3, "every moment of the validation rows, of every column");
        if shortcut == Shortcut::Fixed {
            let mut tally = Tally::new(&[3, 6], 320);
            let moments: Vec<usize> = moments(&frame, &(280..320), &[3, 6]).collect();
            let manner = Manner { mode: Mode::On, carry: false, surprise: false };
            forecast(&device, trainer.model(), (&frame, &table), &moments, manner, |f: Forecast<'_>| {
                let error = |(i, y): (usize, &f64)| Some(table.known(f.column, f.moment + i)? - y);
                tally.add(f.moment, f.said.iter().enumerate().map(error));
                Ok(())
            })
            .unwrap();
            let found = tally.scores().mean().mse;
            assert!((found - linear).abs() < 1e-4 * linear, "the linear map itself: {found} {linear}");
        }
        let loss = (0..300).map(|_| trainer.step(0.0).unwrap().loss).last().unwrap();
        let last = trainer.validate(true).unwrap().loss;
        assert!(loss.is_finite() && last < share * first.loss, "{kind:?}: {} to {last}", first.loss);
    }
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    let device = device();
    let folder = tempfile::tempdir().unwrap();
    let config = config(Channels::Mixed);
    let run = run(&config, Kind::Lmm, Shortcut::Learned, 8);
    let advance = |run: &mut Trainer<'_, Device>, steps: u64| {
        (0..steps).for_each(|_| assert!(run.step(0.0).unwrap().loss.is_finite()))
    };
    let mut of = task(&config, 400);
    let mut whole = trainer(&device, &run, &mut of);
    advance(&mut whole, 8);
    let mut of = task(&config, 400);
    let mut part = trainer(&device, &run, &mut of);
    advance(&mut part, 3);
    let path = folder.path().join("part.safetensors");
    part.save(&path, 1.0).unwrap();
    let mut of = task(&config, 400);
    let mut rest = Trainer::resume(&device, checkpoint::load(&device, &path).unwrap(), &mut of).unwrap();
    advance(&mut rest, 5);
    assert_eq!(bits(&rest, &device), bits(&whole, &device));
    let mut of = task(&config, 401);
    let error = Trainer::resume(&device, checkpoint::load(&device, &path).unwrap(), &mut of).unwrap_err();
    assert!(error.to_string().contains("the data have changed"), "{error}");
}

/// A fixed shortcut stays as it is, to the bit; a learned one moves.
#[test]
fn training_moves_the_shortcut_that_is_learned() {
    let device = device();
    for (shortcut, moves) in [(Shortcut::Fixed, false), (Shortcut::Learned, true)] {
        let config = config(Channels::Independent);
        let run = run(&config, Kind::Lmm, shortcut, 5);
        let mut of = task(&config, 400);
        let mut trainer = trainer(&device, &run, &mut of);
        let weight = |trainer: &Trainer<'_, Device>| {
            let params = &trainer.model().params;
            device.download(params.value(params.id("shortcut.weight").unwrap()).unwrap()).unwrap()
        };
        let before = weight(&trainer);
        (0..5).for_each(|_| assert!(trainer.step(0.0).unwrap().loss.is_finite()));
        assert_eq!(weight(&trainer) != before, moves);
    }
}

/// The gradient of a weighted loss through a learned shortcut, against differences.
#[test]
fn weighted_losses_and_shortcuts_have_their_gradients() {
    let device = Cpu::<f64>::new(Some(1)).unwrap();
    let config = config(Channels::Independent);
    let run = run(&config, Kind::Lmm, Shortcut::Learned, 1);
    let mut model = Model::new(&device, run.model.clone(), 3).unwrap();
    let of = task(&config, 400);
    let mut batch = Batch::default();
    Task::<Cpu<f64>>::batch(&of, 3, 0, &mut batch).unwrap();
    let rows = Shared::new(device.upload(&batch.rows).unwrap());
    let weights: Vec<f64> = (0..batch.wanted.len()).map(|i| 0.1 + 0.8 * (i % 7) as f64 / 7.0).collect();
    let weighted: Vec<f64> = batch.wanted.iter().zip(&weights).map(|(y, w)| y * w).collect();
    let odds: Vec<f64> = weights.iter().map(|w| (w / (1.0 - w)).ln()).collect();
    let (numbers, gates) = (Shared::new(device.upload(&weighted).unwrap()), Shared::new(device.upload(&odds).unwrap()));
    let loss = |model: &Model<Cpu<f64>>, gradients: Option<&mut Gradients<Cpu<f64>>>| {
        let mut tape = Tape::recording(&device, &model.params);
        let input = Input { dropout: Dropout::default(), ..Input::of(Source::Rows(&rows), batch.batch, batch.time) };
        let said = model.forward(&mut tape, input).unwrap().logits;
        let targets = Targets::Weighted { numbers: &numbers, gates: &gates };
        let losses = model.loss(&mut tape, &said, targets).unwrap();
        let (told, said) = (device.download(losses.buffer()).unwrap(), device.download(said.buffer()).unwrap());
        let expected = |r: usize| {
            let width = told.len().max(1);
            let outputs = said.len() / width;
            let square = |i: usize| (weights[i] * (said[i] - batch.wanted[i])).powi(2);
            (r * outputs..(r + 1) * outputs).map(square).sum::<f64>() / outputs as f64
        };
        assert!((0..told.len()).all(|r| (told[r] - expected(r)).abs() < 1e-12));
        if let Some(gradients) = gradients {
            tape.backward(&losses, 1.0, gradients).unwrap();
        }
        told.iter().sum::<f64>()
    };
    let mut gradients = Gradients::zeros_like(&device, &model.params).unwrap();
    loss(&model, Some(&mut gradients));
    for name in ["shortcut.weight", "embedding.weight", "head.bias"] {
        let id = model.params.id(name).unwrap();
        let (gradient, values) = (
            device.download(gradients.get(id).unwrap()).unwrap(),
            device.download(model.params.value(id).unwrap()).unwrap(),
        );
        for i in [0, values.len() / 3, values.len() - 1] {
            let mut at = |step: f64| {
                let mut moved = values.clone();
                moved[i] += step;
                device.write(&moved, model.params.value_mut(id).unwrap()).unwrap();
                loss(&model, None)
            };
            let h = 1e-3;
            let difference = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
            let error = (difference - gradient[i]).abs();
            assert!(error < 1e-7 * difference.abs() + 1e-9, "{name} {i}: {difference} {}", gradient[i]);
            device.write(&values, model.params.value_mut(id).unwrap()).unwrap();
        }
    }
}
