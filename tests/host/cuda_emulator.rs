//! The CUDA device on a machine without a GPU: the same orchestration and the same kernels, compiled with the system's
//! C++ compiler and run as loops, against the CPU in `f64` and against the golden vectors.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use titans_host::data::series::Series;
use titans_host::device::cpu::Cpu;
use titans_host::device::cuda::emulator::{Emulator, Order};
use titans_host::device::cuda::{Arg, Cuda, Driver};
use titans_host::device::{ConvDims, Device, DropMask, IGNORE, LinearDims, MemoryInputs, MemoryOp, MemoryOutputs};
use titans_host::model::{Kind, Kinds, Mode, ModelConfig, Shortcut};
use titans_host::selftest::{self, Check};
use titans_host::task::TaskConfig;
use titans_host::task::forecast::{ForecastConfig, ForecastTask, Manner, forecast};
use titans_host::train::{TrainConfig, Trainer};
use titans_kernel::memory::{MemorySpec, Read};

/// One emulator for all tests: compiling the kernels takes seconds. A C++ compiler is a stated need of the tests.
pub(crate) fn emulated() -> Cuda<Emulator> {
    static EMULATOR: OnceLock<Arc<Emulator>> = OnceLock::new();
    Cuda::with_driver(EMULATOR.get_or_init(|| Arc::new(Emulator::new(Order::Ascending).unwrap())).clone())
}

pub(crate) fn reference() -> Cpu<f64> {
    Cpu::new(Some(1)).unwrap()
}

pub(crate) fn assert_all(checks: &[Check], at_least: usize) {
    let worst = checks.iter().map(|c| c.error).fold(0.0, f64::max);
    println!("{} checks, largest error {worst:e}", checks.len());
    assert!(checks.len() >= at_least, "only {} checks", checks.len());
    let failed: Vec<_> = checks.iter().filter(|c| !c.passed()).collect();
    let failed: Vec<_> =
        failed.iter().map(|c| format!("{}: {:.1e} > {:.1e} {:?}", c.name, c.error, c.tolerance, c.failure)).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_operation_agrees_with_the_cpu() {
    assert_all(&selftest::operations(&emulated(), &reference()), 90);
}

#[test]
fn dropout_has_the_bits_of_the_cpu() {
    fn dropped<D: Device<Elem = f32>>(d: &D, mask: &DropMask, x: &[f32]) -> Vec<u32> {
        let (x, mut y) = (d.upload(x).unwrap(), d.alloc(x.len()).unwrap());
        d.dropout(mask, &x, &mut y).unwrap();
        d.download(&y).unwrap().into_iter().map(f32::to_bits).collect()
    }
    let (d, cpu) = (emulated(), Cpu::<f32>::new(Some(1)).unwrap());
    for (n, share, key) in [(1, 0.5, 3), (257, 0.1, u64::MAX), (1021, 0.9, 1 << 63), (1031, 1.0 - 1e-12, 0)] {
        let x: Vec<f32> = (0..n).map(|i| 1.0 + (0.7 * i as f32).sin()).collect();
        let mask = DropMask::new(share, key).unwrap();
        assert_eq!(dropped(&d, &mask, &x), dropped(&cpu, &mask, &x), "{n}, {share}, {key}");
    }
    let mask = DropMask::new(0.5, 1).unwrap();
    let error = d.dropout(&mask, &d.zeros(3).unwrap(), &mut d.zeros(4).unwrap()).unwrap_err().to_string();
    assert!(error.contains("y: expected 3, found 4"), "{error}");
}

#[test]
fn the_memory_agrees_with_the_cpu_over_all_options() {
    assert_all(&selftest::memories(&emulated(), &reference()), 28 * 21);
}

#[test]
fn pieces_of_several_chunks_agree_with_the_chunks_of_the_cpu() {
    assert_all(&selftest::exact_memories(&emulated(), &reference(), false), 36 * 21);
}

#[test]
fn ten_training_steps_agree_with_the_cpu() {
    assert_all(&selftest::training(&emulated(), &reference()), 11 * 2);
}

#[test]
fn golden_vectors_come_out() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    assert_all(&selftest::golden(&emulated(), &reference(), Some(&folder)).unwrap(), 69 * 5);
    assert_all(&selftest::golden(&emulated(), &reference(), None).unwrap(), 40);
    assert_all(&selftest::golden_in_pieces(&emulated(), &reference(), Some(&folder)).unwrap(), 2 * 18 * 5);
}

/// Every result is the same, bit for bit, when the threads of every launch run backwards: no thread reads what another
/// one of the launch writes.
#[test]
fn the_order_of_the_threads_changes_nothing() {
    let backwards = Cuda::with_driver(Arc::new(Emulator::new(Order::Descending).unwrap()));
    let mut checks = selftest::operations(&backwards, &emulated());
    let all = crate::long_run();
    checks.extend(selftest::exact_memories(&backwards, &emulated(), true));
    if all {
        checks.extend(selftest::memories(&backwards, &emulated()));
    } else {
        println!("memories chunk by chunk are left to `.ci/run long`");
    }
    checks.iter_mut().for_each(|check| check.tolerance = 0.0);
    assert_all(&checks, if all { 500 } else { 300 });
}

/// A check that cannot fail would be worth nothing.
#[test]
fn a_planted_error_is_found() {
    let wrong = Check::new("planted", 1e-5, &[1.0, 2.0, 3.001], &[1.0, 2.0, 3.0]);
    assert!(!wrong.passed() && (wrong.error - 0.001 / 3.0).abs() < 1e-12, "{wrong:?}");
    assert!(!Check::new("NaN", 1e-5, &[f64::NAN], &[1.0]).passed());
    assert!(!Check::new("short", 1e-5, &[], &[1.0]).passed());
    assert!(Check::new("zeros", 1e-5, &[0.0], &[0.0]).passed());
}

#[test]
fn wrong_lengths_and_ids_are_errors_that_say_what() {
    let d = emulated();
    let (three, four) = (d.zeros(3).unwrap(), d.zeros(4).unwrap());
    let mut out = d.zeros(4).unwrap();
    let text = |result: titans_host::Result<()>| result.unwrap_err().to_string();
    assert!(text(d.add(&four, &three, &mut out)).contains("expected 4, found 3"));
    assert!(text(d.rms_norm(3, &four, &three, &mut out)).contains("whole rows"));
    let dims = LinearDims { rows: 2, inputs: 2, outputs: 2, transposed: false };
    assert!(text(d.linear(dims, &four, &three, None, &mut out)).contains("w: expected 4, found 3"));
    let conv = ConvDims { batch: 1, time: 4, channels: 1, width: 0 };
    assert!(text(d.conv(conv, &four, None, &three, &three, &mut out)).contains("width is at least 1"));
    let ids = d.upload_indices(&[0, 2]).unwrap();
    assert!(text(d.embedding(2, &ids, &four, &mut out)).contains("id 2 in a table of 2 rows"));
    let targets = d.upload_indices(&[IGNORE, 2]).unwrap();
    let mut losses = d.zeros(2).unwrap();
    assert!(text(d.cross_entropy(2, &four, &targets, &mut losses)).contains("target 2 of 2 classes"));
    assert!(d.write(&[1.0; 3], &mut out).is_err());
}

#[test]
fn reads_and_indices_come_into_the_caller_s_place() {
    let d = emulated();
    let x = d.upload(&[1.0, -2.0, 3.5]).unwrap();
    let mut out = [f32::NAN; 3];
    d.read(&x, &mut out).unwrap();
    assert_eq!(out, [1.0, -2.0, 3.5]);
    assert!(d.read(&x, &mut out[..2]).unwrap_err().to_string().contains("expected 3, found 2"));
    let mut ids = d.upload_indices(&[9]).unwrap();
    d.write_indices(&[1, 0, 1], &mut ids).unwrap();
    let (table, mut y) = (d.upload(&[1.0, 2.0]).unwrap(), d.zeros(3).unwrap());
    d.embedding(1, &ids, &table, &mut y).unwrap();
    assert_eq!(d.download(&y).unwrap(), [2.0, 1.0, 2.0]);
}

/// Ids are grouped when a gradient first asks, and from then on as they are written.
#[test]
fn groups_are_those_of_the_ids_at_hand() {
    let d = emulated();
    let d_y = d.upload(&[1.0, 2.0, 4.0, 8.0]).unwrap();
    let mut ids = d.upload_indices(&[3, 0, 3, 1]).unwrap();
    let gradient = |ids: &_| {
        let mut d_table = d.zeros(4).unwrap();
        d.embedding_vjp(1, ids, &d_y, &mut d_table).unwrap();
        d.download(&d_table).unwrap()
    };
    assert_eq!((gradient(&ids), gradient(&ids)), (vec![2.0, 8.0, 0.0, 5.0], vec![2.0, 8.0, 0.0, 5.0]));
    d.write_indices(&[2, 2, 2, 0], &mut ids).unwrap();
    assert_eq!(gradient(&ids), [8.0, 0.0, 7.0, 0.0]);
    d.write_indices(&[0], &mut ids).unwrap();
    d.write_indices(&[1, 1, 1, 1], &mut ids).unwrap();
    assert_eq!(gradient(&ids), [0.0, 15.0, 0.0, 0.0]);
}

#[test]
fn a_chunk_is_computed_at_once() {
    let d = emulated();
    let wave = |n: usize| d.upload(&(0..n).map(|i| (0.7 * i as f32).sin().abs()).collect::<Vec<_>>()).unwrap();
    let (rows, gates, state) = (wave(40), wave(60), wave(8));
    let run = |compute_chunk| {
        let mut spec = MemorySpec::new(&[2, 2]).unwrap();
        (spec.chunk, spec.compute_chunk) = (8, compute_chunk);
        let op =
            MemoryOp { spec, batch: 1, time: 20, heads: 1, read: Read::After, read_only: false, token_form: false };
        let inputs = MemoryInputs { k: &rows, v: &rows, q: &rows, gates: &gates, state: &state, mask: None };
        let mut y = d.zeros(40).unwrap();
        d.memory(&op, inputs, MemoryOutputs { y: &mut y, surprise: None, state: None, boundaries: None }).unwrap();
        d.download(&y).unwrap()
    };
    assert_eq!(run(3), run(0));
}

#[test]
fn nothing_is_a_size_too() {
    let d = emulated();
    let none = d.upload(&[]).unwrap();
    let mut out = d.alloc(0).unwrap();
    d.silu(&none, &mut out).unwrap();
    d.copy(&none, &mut out).unwrap();
    assert!(d.download(&out).unwrap().is_empty());
    d.linear(
        LinearDims { rows: 0, inputs: 3, outputs: 2, transposed: false },
        &none,
        &d.zeros(6).unwrap(),
        None,
        &mut out,
    )
    .unwrap();
}

/// The emulator is a judge here, so it is judged too.
#[test]
fn the_emulator_refuses_what_a_gpu_would_not_survive() {
    let machine = Emulator::new(Order::Ascending).unwrap();
    let at = machine.alloc(8).unwrap();
    // SAFETY: the first two calls are refused before any memory is touched; the third writes one element into the
    // guard zone behind the allocation, which belongs to the emulator.
    unsafe {
        let missing = machine.launch("no_such_kernel", 2, &[Arg::Int(2)]).unwrap_err().to_string();
        assert!(missing.contains("no kernel no_such_kernel"), "{missing}");
        let kinds = machine.launch("fill", 2, &[Arg::Int(2), Arg::Int(0), Arg::Address(at)]).unwrap_err().to_string();
        assert!(kinds.contains("fill does not take"), "{kinds}");
        machine.synchronize().unwrap();
        machine.launch("fill", 3, &[Arg::Int(3), Arg::Float(1.0), Arg::Address(at)]).unwrap();
    }
    assert!(machine.synchronize().unwrap_err().to_string().contains("outside an allocation"));
}

/// The tolerances are no gift to the kernels: the CPU in `f32` needs them as well.
#[test]
fn the_cpu_in_single_precision_passes_the_same_checks() {
    let cpu = Cpu::<f32>::new(Some(1)).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden");
    assert_all(&selftest::all(&cpu, &reference(), Some(&folder)).unwrap(), 1000);
}

#[test]
fn a_folder_that_holds_no_vectors_is_an_error() {
    let golden = |folder: &Path| selftest::golden(&emulated(), &reference(), Some(folder)).unwrap_err().to_string();
    assert!(golden(Path::new("no/such/folder")).contains("no/such/folder"));
    let folder = tempfile::tempdir().unwrap();
    assert!(golden(folder.path()).contains("no .safetensors file"));
    std::fs::write(folder.path().join("bad.safetensors"), b"not a tensor").unwrap();
    assert!(golden(folder.path()).contains("bad.safetensors: not a golden vector"));
}

/// What a forecaster says after three steps with a learned shortcut and weighted numbers, its memories carried on.
fn forecasts<D: Device<Elem = f32>>(device: &D) -> Vec<f64> {
    let wave = |i: usize| (i as f64 * 0.4).sin() + (i as f64 * 0.13).cos().abs();
    let numbers = (0..240).map(|i| wave(i / 2) * if i % 2 == 0 { 3.0 } else { -0.1 }).collect();
    let series = Series { names: vec!["a".into(), "b".into()], numbers, lines: Vec::new() };
    let columns = series.measure(84);
    let task = ForecastConfig {
        horizons: vec![4],
        lookback: 9,
        patch: 3,
        context: 4,
        sequences: 3,
        columns,
        ..ForecastConfig::default()
    };
    let mut model =
        ModelConfig { width: 8, blocks: 1, heads: 2, head_width: 4, feed_forward: 8, ..ModelConfig::default() };
    (model.block, model.shortcut) = (Kinds::All(Kind::Mag), Shortcut::Learned);
    let config = TaskConfig::Forecast(task.clone());
    config.fit(&mut model).unwrap();
    let run = config.run(model, TrainConfig { warm_up: 1, ..TrainConfig::default() }).unwrap();
    let mut task = ForecastTask::new(task, &series, 1).unwrap();
    let (frame, table) = (task.frame().clone(), task.table().clone());
    let mut trainer = Trainer::new(device, run, &mut task).unwrap();
    let mut found: Vec<f64> = (0..3).map(|_| trainer.step(0.0).unwrap().loss).collect();
    let moments: Vec<usize> = (frame.reach()..60).collect();
    let manner = Manner { mode: Mode::On, carry: true, surprise: true };
    forecast(device, trainer.model(), (&frame, &table), &moments, manner, |f| {
        found.extend(f.said);
        found.push(f.surprise);
        Ok(())
    })
    .unwrap();
    found
}

#[test]
fn a_forecaster_says_what_it_says_on_the_cpu() {
    let (found, expected) = (forecasts(&emulated()), forecasts(&Cpu::<f32>::new(Some(1)).unwrap()));
    assert_eq!((found.len(), expected.len()), (3 + 42 * 2 * 5, 3 + 42 * 2 * 5));
    for (i, (x, y)) in found.iter().zip(&expected).enumerate() {
        assert!((x - y).abs() < 1e-3 * (1.0 + y.abs()), "{i}: {x} {y}");
    }
}
