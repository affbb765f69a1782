//! Training steps that are recorded once and replayed as one launch: the bits of steps that run launch after launch,
//! and what is not replayed.

mod reads;

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use titans_host::Result;
use titans_host::device::cuda::emulator::{Emulator, Order};
use titans_host::device::cuda::{Arg, Cuda, Driver};
use titans_host::device::{Device, IGNORE, RepeatedStep};
use titans_host::model::{Kind, Kinds, Model, ModelConfig};
use titans_host::train::{Batch, Interrupt, RunConfig, Task, TrainConfig, Trainer, Validation};

/// Sequences whose ids, targets and number of scored tokens are each step's own.
struct Drawn {
    /// Sequences and tokens of each step, from one on for ever.
    shapes: Vec<[usize; 2]>,
}

impl<D: Device> Task<D> for Drawn {
    fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> Result<()> {
        let [sequences, time] = self.shapes[(step as usize).min(self.shapes.len() - 1)];
        batch.restart(sequences, time);
        let draw = |i: usize| (7 * i as u64 + 5 * step * step + 3 * part + i as u64 * step) as u32;
        let tokens = sequences * time;
        batch.ids.extend((0..tokens).map(|i| draw(i) % 11));
        // From step to step another share has no target.
        let ignored = |i: usize| i > 0 && draw(i) % 5 < (step % 4) as u32;
        batch.targets.extend((0..tokens).map(|i| if ignored(i) { IGNORE } else { draw(i + 1) % 11 }));
        Ok(())
    }

    fn validate_until(&self, _: &D, _: &Model<D>, _: bool, _: &Interrupt) -> Result<Validation> {
        Ok(Validation::default())
    }
}

/// Parameters are most of what it takes, as in models at work: else the arena would give scratch back within a step.
fn model(kind: Kind) -> ModelConfig {
    let mut model = ModelConfig {
        vocabulary: 2000,
        width: 8,
        blocks: 1,
        heads: 2,
        head_width: 4,
        feed_forward: 8,
        block: Kinds::All(kind),
        ..ModelConfig::default()
    };
    model.attention.segment = 4;
    model
}

fn training() -> TrainConfig {
    TrainConfig { warm_up: 3, steps: 20, clip: 0.5, ..TrainConfig::default() }
}

/// The emulator of all tests here, for one at a time: compiling the kernels takes seconds.
struct Alone {
    machine: MutexGuard<'static, Arc<Emulator>>,
    /// Replays of those before.
    before: u64,
}

fn machine() -> Alone {
    static EMULATOR: OnceLock<Mutex<Arc<Emulator>>> = OnceLock::new();
    let emulator = EMULATOR.get_or_init(|| Mutex::new(Arc::new(Emulator::new(Order::Ascending).unwrap())));
    let machine = emulator.lock().unwrap_or_else(PoisonError::into_inner);
    machine.plant_nothing();
    machine.refuse_replays(false);
    let before = machine.replays();
    Alone { machine, before }
}

impl Alone {
    fn replays(&self) -> u64 {
        self.machine.replays() - self.before
    }
}

impl Deref for Alone {
    type Target = Arc<Emulator>;

    fn deref(&self) -> &Arc<Emulator> {
        &self.machine
    }
}

/// Loss, gradient norm of each step, and all parameters behind the last one, in bits.
type Course = (Vec<[u64; 2]>, Vec<Vec<u32>>);

/// Trains; `before` is called before every step, which has its number.
fn course(
    device: &Cuda<Emulator>,
    (model, train): (&ModelConfig, &TrainConfig),
    (shapes, steps): (&[[usize; 2]], usize),
    mut before: impl FnMut(usize),
) -> Result<Course> {
    let mut task = Drawn { shapes: shapes.to_vec() };
    let mut trainer = Trainer::new(device, config((model, train)), &mut task)?;
    let mut losses = Vec::new();
    for step in 0..steps {
        before(step);
        let report = trainer.step(0.0)?;
        losses.push([report.loss.to_bits(), report.gradient_norm.to_bits()]);
    }
    Ok((losses, bits(device, &trainer)))
}

fn config((model, train): (&ModelConfig, &TrainConfig)) -> RunConfig {
    RunConfig { task: serde_json::Value::Null, model: model.clone(), train: train.clone() }
}

/// All parameters.
fn bits(device: &Cuda<Emulator>, trainer: &Trainer<'_, Cuda<Emulator>>) -> Vec<Vec<u32>> {
    let values = trainer.model().params.iter().map(|p| device.download(p.value).unwrap());
    values.map(|x| x.into_iter().map(f32::to_bits).collect()).collect()
}

fn plain(machine: &Arc<Emulator>) -> Cuda<Emulator> {
    Cuda::with_driver(machine.clone())
}

fn graph(machine: &Arc<Emulator>) -> Cuda<Emulator> {
    plain(machine).with_graph(true)
}

#[test]
fn replayed_steps_have_the_bits_of_launches() {
    let machine = machine();
    for kind in [Kind::Lmm, Kind::Mac] {
        for recompute in [false, true] {
            let run = (&model(kind), &TrainConfig { recompute, ..training() });
            let (shapes, before) = ([[2, 9]], machine.replays());
            let usual = course(&plain(&machine), run, (&shapes, 5), |_| {}).unwrap();
            assert_eq!(machine.replays(), before);
            let replayed = course(&graph(&machine), run, (&shapes, 5), |_| {}).unwrap();
            assert_eq!(usual, replayed, "{kind:?}, recompute {recompute}");
            // The first step of a shape runs launch after launch, the second is recorded.
            assert_eq!((machine.replays() - before, machine.recordings()), (4, 0), "{kind:?}, recompute {recompute}");
        }
    }
}

/// Another shape is recorded anew, and one that comes back as well: its ids are elsewhere.
#[test]
fn another_shape_is_recorded_anew() {
    let machine = machine();
    let shapes = [[2, 9], [2, 9], [2, 9], [3, 5], [3, 5], [3, 5], [2, 9], [2, 9]];
    let (model, train) = (model(Kind::Mac), training());
    let usual = course(&plain(&machine), (&model, &train), (&shapes, 8), |_| {}).unwrap();
    let mut most = 0;
    let see = |_| most = most.max(machine.recordings());
    let replayed = course(&graph(&machine), (&model, &train), (&shapes, 8), see).unwrap();
    assert_eq!(usual, replayed);
    assert_eq!((machine.replays(), most), (6, 2), "two of three, two of three, and both of the last");
}

/// What a step cannot do in one go runs launch after launch, with the same results.
#[test]
fn steps_that_cannot_be_replayed_run_as_ever() {
    let machine = machine();
    let mut clipped = model(Kind::Lmm);
    clipped.memory.clip = Some(1.0);
    let dropping = TrainConfig { dropout: 0.2, ..training() };
    let parts = TrainConfig { accumulate: 2, ..training() };
    for (model, train) in [(&clipped, &training()), (&model(Kind::Lmm), &dropping), (&model(Kind::Lmm), &parts)] {
        let usual = course(&plain(&machine), (model, train), (&[[2, 9]], 4), |_| {}).unwrap();
        let graphs = course(&graph(&machine), (model, train), (&[[2, 9]], 4), |_| {}).unwrap();
        assert_eq!(usual, graphs);
        assert_eq!(machine.replays(), 0);
    }
}

/// A machine that refuses a replay, and memory that somebody else has at the moment.
#[test]
fn a_step_falls_back_where_its_recording_cannot_run() {
    let machine = machine();
    let run = (&model(Kind::Mac), &training());
    let usual = course(&plain(&machine), run, (&[[2, 9]], 6), |_| {}).unwrap();
    let refuse = |step| machine.refuse_replays(step == 3);
    assert_eq!(course(&graph(&machine), run, (&[[2, 9]], 6), refuse).unwrap(), usual);
    assert_eq!(machine.replays(), 2, "a recording that was refused is not tried again");
    let (device, mut held) = (graph(&machine), Vec::new());
    let replays = machine.replays();
    let hold = |step| match step {
        // All that lies idle, of the sizes that a step takes.
        3 => held.extend((1..400).map(|len| device.alloc(len).unwrap())),
        4 => held.clear(),
        _ => {}
    };
    assert_eq!(course(&device, run, (&[[2, 9]], 6), hold).unwrap(), usual);
    assert_eq!(machine.replays() - replays, 4, "all but the first, and the one whose memory was lent");
}

/// What the recorded launch has of the step that was recorded, and a place that is not the step's.
#[test]
fn a_stale_number_and_a_stale_place_are_found() {
    let machine = machine();
    let run = (&model(Kind::Lmm), &training());
    let usual = course(&plain(&machine), run, (&[[2, 9]], 5), |_| {}).unwrap();
    // The cotangent of the losses: its place (argument 3) is left out, so that the number itself (2) holds for ever.
    machine.plant("cross_entropy_vjp", 2, Arg::Float(1.0 / 18.0));
    machine.plant("cross_entropy_vjp", 3, Arg::Address(0));
    let stale = course(&graph(&machine), run, (&[[2, 9]], 5), |_| {}).unwrap();
    machine.plant_nothing();
    assert_eq!(usual.0[0], stale.0[0], "the first step is not replayed");
    assert_ne!(usual.1, stale.1);
    // The rates of all parameters: the learning rate of no step.
    machine.plant("adamw_many", 8, Arg::Address(0));
    let stale = course(&graph(&machine), run, (&[[2, 9]], 5), |_| {}).unwrap();
    machine.plant_nothing();
    assert_ne!(usual.1, stale.1);
    // A table that is nobody's, and so no number: the step ends in an error.
    machine.plant("embedding_forward", 3, Arg::Address(machine.alloc(4096).unwrap()));
    let error = course(&graph(&machine), run, (&[[2, 9]], 5), |_| {}).unwrap_err().to_string();
    assert!(error.contains("loss"), "{error}");
}

/// A step whose loss is not finite changes no parameter, though the update is launched with it.
#[test]
fn a_loss_that_is_not_finite_changes_nothing() {
    let machine = machine();
    let device = graph(&machine);
    let mut task = Drawn { shapes: vec![[2, 9]] };
    let mut trainer = Trainer::new(&device, config((&model(Kind::Lmm), &training())), &mut task).unwrap();
    trainer.step(0.0).unwrap();
    let before = bits(&device, &trainer);
    machine.plant("embedding_forward", 3, Arg::Address(machine.alloc(4096).unwrap()));
    let error = trainer.step(0.0).unwrap_err().to_string();
    assert!(error.contains("loss") && machine.replays() == 1, "{error}");
    assert!(bits(&device, &trainer) == before && trainer.state().step == 1);
}

/// Work whose launches change without a word is never replayed, and one that waits for the host is not recorded.
#[test]
fn work_that_changes_is_not_replayed() {
    let machine = machine();
    let device = graph(&machine);
    let (mut kept, mut x) = (Default::default(), device.zeros(3).unwrap());
    let step = RepeatedStep { sizes: &[3], indices: &[], loss_scale: 1.0, row: 0, updates: &[] };
    for i in 0..6 {
        device.repeat(&mut kept, &step, &mut || device.fill(f64::from(i), &mut x)).unwrap();
        assert_eq!(device.download(&x).unwrap(), [i as f32; 3]);
    }
    let mut kept = Default::default();
    for _ in 0..6 {
        device.repeat(&mut kept, &step, &mut || device.download(&x).map(drop)).unwrap();
    }
    assert_eq!((machine.replays(), machine.recordings()), (0, 0));
    let mut kept = Default::default();
    for _ in 0..6 {
        device.repeat(&mut kept, &step, &mut || device.fill(1.0, &mut x)).unwrap();
    }
    assert_eq!((machine.replays(), machine.recordings()), (5, 1));
    drop(kept);
    assert_eq!(machine.recordings(), 0);
}

/// An id that is no row of its table is an error in a step that would be replayed, too.
#[test]
fn ids_are_checked_before_a_replay() {
    let machine = machine();
    let device = graph(&machine);
    let table = device.upload(&[1.0, 2.0]).unwrap();
    let (mut ids, mut y, mut kept) =
        (device.upload_indices(&[0, 1]).unwrap(), device.zeros(2).unwrap(), Default::default());
    let mut look = |ids: &_, y: &mut _| {
        let step = RepeatedStep { sizes: &[2], indices: &[ids], loss_scale: 1.0, row: 0, updates: &[] };
        device.repeat(&mut kept, &step, &mut || device.embedding(1, ids, &table, y))
    };
    for rows in [[0, 1], [1, 1], [1, 0]] {
        device.write_indices(&rows, &mut ids).unwrap();
        look(&ids, &mut y).unwrap();
        assert_eq!(device.download(&y).unwrap(), rows.map(|row| 1.0 + row as f32));
    }
    assert_eq!(machine.replays(), 2);
    device.write_indices(&[0, 2], &mut ids).unwrap();
    assert!(look(&ids, &mut y).unwrap_err().to_string().contains("id 2 in a table of 2 rows"));
    device.write_indices(&[1, 0], &mut ids).unwrap();
    look(&ids, &mut y).unwrap();
    assert_eq!((device.download(&y).unwrap(), machine.replays()), (vec![2.0, 1.0], 3));
}

/// Ids that are written go to the device with a step's numbers, or with the first operation that reads them.
#[test]
fn ids_that_wait_on_the_host_are_those_that_are_read() {
    let machine = machine();
    let device = graph(&machine);
    let table = device.upload(&[10.0, 11.0, 12.0]).unwrap();
    let (mut ids, mut y) = (device.upload_indices(&[0, 1]).unwrap(), device.zeros(2).unwrap());
    let mut d_table = device.zeros(3).unwrap();
    for rows in [[2, 2], [1, 2]] {
        device.write_indices(&rows, &mut ids).unwrap();
        device.embedding(1, &ids, &table, &mut y).unwrap();
        assert_eq!(device.download(&y).unwrap(), rows.map(|row| 10.0 + row as f32));
    }
    device.write_indices(&[2, 2], &mut ids).unwrap();
    device.embedding_vjp(1, &ids, &y, &mut d_table).unwrap();
    assert_eq!(device.download(&d_table).unwrap(), [0.0, 0.0, 23.0], "groups are those of the numbers");
    // New ones, then those of the step before again, which do not come in the block.
    let mut kept = Default::default();
    for (step, rows) in [[1, 1], [1, 0], [1, 0], [0, 2], [2, 1], [2, 1]].into_iter().enumerate() {
        if step != 2 && step != 5 {
            device.write_indices(&rows, &mut ids).unwrap();
        }
        let step = RepeatedStep { sizes: &[2], indices: &[&ids], loss_scale: 1.0, row: 0, updates: &[] };
        device.repeat(&mut kept, &step, &mut || device.embedding(1, &ids, &table, &mut y)).unwrap();
        assert_eq!(device.download(&y).unwrap(), rows.map(|row| 10.0 + row as f32));
    }
    assert!(machine.replays() > 0);
}
