//! What a batch holds, what is known of a table's rows, and what the baselines say.

use super::{config, device, run, series, task};
use crate::training::support::Device;
use titans_host::data::series::{Gaps, TableLayout};
use titans_host::device::{Device as _, IGNORE};
use titans_host::model::{Kind, Model, Shortcut};
use titans_host::task::Task;
use titans_host::task::forecast::{Channels, ForecastConfig, ForecastTask, Normalise, Split, Tally};
use titans_host::train::task::Batch;

fn draw(task: &ForecastTask, step: u64, part: u64) -> Batch {
    let mut batch = Batch { ids: vec![IGNORE], weights: vec![f64::NAN], ..Batch::default() };
    Task::<Device>::batch(task, step, part, &mut batch).unwrap();
    batch.validate().unwrap();
    batch
}

#[test]
fn a_batch_holds_look_backs_and_what_follows_in_the_training_rows_alone() {
    for channels in [Channels::Independent, Channels::Mixed] {
        let config = ForecastConfig { normalise: Normalise::Mean, ..config(channels) };
        let task = task(&config, 400);
        let frame = task.frame().clone();
        let mut cut = 0;
        for step in 0..30 {
            let batch = draw(&task, step, 0);
            let tokens = 4 * 3;
            assert_eq!((batch.rows.len(), batch.wanted.len()), (tokens * frame.inputs(), tokens * frame.outputs()));
            assert!(batch.ids.is_empty() && batch.weights.iter().all(|w| *w == 0.0 || *w == 1.0));
            cut += batch.weights.iter().filter(|w| **w == 0.0).count();
            // A forecast's first row goes on where the next token's look-back has it.
            let read = frame.read(0).len();
            for t in [0, 1] {
                let (now, next) = (&batch.rows[t * frame.inputs()..], &batch.rows[(t + 1) * frame.inputs()..]);
                let moved = now[4] - next[0];
                assert!((now[15] - next[11] - moved).abs() < 1e-12, "the same rows, {read} columns");
                let wanted = batch.wanted[t * frame.outputs()];
                assert!((wanted - next[12] - moved).abs() < 1e-12, "{channels:?}");
            }
        }
        assert!(cut > 0, "the last forecasts of the training rows reach beyond them");
        // Rows behind the training's change nothing that is learned.
        let mut other = series(400);
        other.numbers[280 * 3..].iter_mut().for_each(|x| *x *= 3.0);
        let other = ForecastTask::new(config.clone(), &other, 5).unwrap();
        assert!((0..30).all(|step| draw(&other, step, 1) == draw(&task, step, 1)));
        let prepared = |task: &ForecastTask| {
            let config = run(&config, Kind::Lmm, Shortcut::Fixed, 1);
            let mut model = Model::<Device>::new(&device(), config.model, 1).unwrap();
            task.prepare(&device(), &mut model).unwrap();
            let id = model.params.id("shortcut.weight").unwrap();
            device().download(model.params.value(id).unwrap()).unwrap()
        };
        assert!(prepared(&task).iter().any(|x| *x != 0.0));
    }
}

#[test]
fn batches_are_a_function_of_seed_and_step() {
    let of = |sequences, seed| {
        ForecastTask::new(ForecastConfig { sequences, ..config(Channels::Independent) }, &series(400), seed).unwrap()
    };
    let (small, big) = (of(2, 4), of(4, 4));
    let parts = [draw(&small, 9, 0), draw(&small, 9, 1)];
    assert_eq!([&parts[0].rows[..], &parts[1].rows[..]].concat(), draw(&big, 9, 0).rows);
    assert_ne!(parts[0].rows, draw(&small, 10, 0).rows);
    assert_ne!(parts[0].rows, draw(&of(2, 5), 9, 0).rows);
}

#[test]
fn baselines_are_what_they_say() {
    let config = ForecastConfig { normalise: Normalise::None, season: 4, ..config(Channels::Independent) };
    let mut rows = series(400);
    // The first column repeats four numbers, the second rises, the third stands still.
    rows.numbers.iter_mut().enumerate().for_each(|(i, x)| match i % 3 {
        0 => *x = [1.0, 2.0, 4.0, 8.0][i / 3 % 4],
        1 => *x = (i / 3) as f64,
        _ => {}
    });
    let columns = rows.measure(280);
    let only = |name: &str| ForecastConfig { target: vec![name.into()], columns: columns.clone(), ..config.clone() };
    let of = |config: ForecastConfig| ForecastTask::new(config, &rows, 1).unwrap().baselines(&(320..400)).unwrap();
    let found = of(only("level"));
    assert_eq!(found.seasonal.mean().mse, 0.0);
    assert!(found.last.mean().mse > 0.5 && found.linear.mean().mse < 1e-3, "{found:?}");
    let rising = of(only("drift"));
    let unit = columns[1].deviation;
    let expected = |horizon: f64| (1..=horizon as usize).map(|i| (i as f64 / unit).powi(2)).sum::<f64>() / horizon;
    for (horizon, score) in &rising.last.0 {
        assert!((score.mse - expected(*horizon as f64)).abs() < 1e-9, "{horizon}: {score:?}");
    }
    assert_eq!(of(ForecastConfig { season: 0, ..only("level") }).season % 4, 0, "found, where it is not said");
    assert_eq!(of(only("still")).last.mean().mse, 0.0);
}

#[test]
fn gaps_are_filled_by_policy_and_never_measured() {
    let mut rows = series(400);
    for row in [0, 50, 51, 330] {
        rows.numbers[row * 3] = f64::NAN;
    }
    let columns = rows.measure(280);
    let with = |gaps| ForecastConfig {
        columns: columns.clone(),
        layout: TableLayout { gaps, ..TableLayout::default() },
        ..config(Channels::Independent)
    };
    let level = |gaps, row: usize| ForecastTask::new(with(gaps), &rows, 1).unwrap().table().columns[0][row];
    assert_eq!((level(Gaps::Mean, 50), level(Gaps::Mean, 0)), (0.0, 0.0));
    assert_eq!(level(Gaps::Hold, 51), level(Gaps::Hold, 49));
    assert_eq!(level(Gaps::Hold, 0), 0.0, "nothing is before it");
    let task = ForecastTask::new(with(Gaps::Hold), &rows, 1).unwrap();
    assert_eq!((task.table().known(0, 330), task.table().known(1, 330).is_some()), (None, true));
    let mut tally = Tally::new(&[1], 400);
    tally.add(330, [task.table().known(0, 330)].into_iter());
    assert!(tally.scores().0[&1].mse.is_nan());
    let unknown = (0..50).flat_map(|step| draw(&task, step, 0).weights).filter(|w| *w == 0.0).count();
    assert!(unknown > 0);
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    let refused = |config: ForecastConfig, rows: usize, says: &str| {
        let error = ForecastTask::new(config, &series(rows), 0).unwrap_err().to_string();
        assert!(error.contains(says), "{says} in {error}");
    };
    let base = || config(Channels::Independent);
    refused(ForecastConfig { lookback: 0, ..base() }, 400, "task.lookback");
    refused(ForecastConfig { patch: usize::MAX, ..base() }, 400, "task.patch");
    refused(ForecastConfig { horizons: Vec::new(), ..base() }, 400, "task.horizons");
    refused(ForecastConfig { horizons: vec![3, 3], ..base() }, 400, "task.horizons");
    refused(ForecastConfig { target: vec!["depth".into()], ..base() }, 400, "--target depth");
    refused(ForecastConfig { columns: Vec::new(), ..base() }, 400, "task.columns");
    refused(ForecastConfig { lookback: 300, ..base() }, 400, "the training rows: expected 314");
    refused(ForecastConfig { horizons: vec![50], ..base() }, 400, "the validation rows: expected 50");
    refused(ForecastConfig { split: Split::EttHour, ..base() }, 400, "14400 rows");
    refused(ForecastConfig { sequences: 1 << 22, ..base() }, 400, "--batch");
    refused(base(), 1, "the training rows");
    let mut other = base();
    other.columns[0].name = "depth".into();
    refused(other, 400, "depth, drift");
}
