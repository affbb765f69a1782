//! Classification: what its batches hold, that padding and neighbours change nothing, that streams say what batches
//! say, that a run goes on where it stopped, and that a motif is learned.

use super::support::{Device, bits, device, steps, trainer};
use std::path::Path;
use titans_host::data::alphabet::{Letters, Reading, Words};
use titans_host::device::IGNORE;
use titans_host::model::{Head, Kind, Kinds, Mode, Model, ModelConfig, Session};
use titans_host::task::classify::{ChosenReading, ClassScores, ClassifyConfig, ClassifyTask, Judging, Pooling, judge};
use titans_host::task::{Task, TaskConfig};
use titans_host::train::progress::Silent;
use titans_host::train::task::Batch;
use titans_host::train::{Interrupt, RunConfig, TrainConfig, Trainer, checkpoint, train};
use titans_kernel::memory::Loss;

const KINDS: [Kind; 5] = [Kind::Lmm, Kind::Mac, Kind::Mag, Kind::Mal, Kind::Attention];

/// Sequences of several lengths; those of class `yes` have GATTACA somewhere.
fn write_motifs(path: &Path, rows: u64) {
    let mut x = 7u64;
    let mut draw = |below: u64| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 33) % below
    };
    let mut text = String::from("sequence,label\n");
    for i in 0..rows {
        let mut letters: Vec<char> = (0..20 + draw(12)).map(|_| ['A', 'C', 'G', 'T'][draw(4) as usize]).collect();
        if i % 2 == 0 {
            let at = draw(letters.len() as u64 - 7) as usize;
            letters.splice(at..at + 7, "GATTACA".chars());
        }
        text += &format!("{},{}\n", letters.iter().collect::<String>(), if i % 2 == 0 { "yes" } else { "no" });
    }
    std::fs::write(path, text).unwrap();
}

fn config(data: &Path) -> ClassifyConfig {
    let words = Words { letters: 3, stride: 1, ..Words::default() };
    let mut config =
        ClassifyConfig { data: vec![data.to_path_buf()], sequences: 6, words, ..ClassifyConfig::default() };
    config.measure(ChosenReading::default()).unwrap();
    config
}

fn small(kind: Kind) -> ModelConfig {
    let mut model = ModelConfig {
        width: 16,
        blocks: 1,
        block: Kinds::All(kind),
        heads: 2,
        head_width: 8,
        feed_forward: 16,
        ..ModelConfig::default()
    };
    (model.attention.window, model.attention.segment) = (8, 8);
    (model.memory.compute_chunk, model.memory.loss) = (8, Loss::Half);
    model
}

fn run(config: &ClassifyConfig, kind: Kind, train: TrainConfig) -> RunConfig {
    let (task, mut model) = (TaskConfig::Classify(config.clone()), small(kind));
    task.fit(&mut model).unwrap();
    assert_eq!((model.head, model.outputs), (Head::Classes, 2));
    task.run(model, train).unwrap()
}

fn read(config: &ClassifyConfig, seed: u64) -> ClassifyTask {
    ClassifyTask::read(config.clone(), seed, 1).unwrap()
}

/// A model of which nothing is at a special point.
fn moved(device: &Device, config: ModelConfig) -> Model<Device> {
    let mut model = Model::new(device, config, 3).unwrap();
    for id in model.params.iter().map(|p| p.id).collect::<Vec<_>>() {
        let mut value = model.params.download(device, id).unwrap();
        value.iter_mut().enumerate().for_each(|(i, v)| *v += 0.3 * ((i * 7 + 1) as f32).sin());
        titans_host::device::Device::write(device, &value, model.params.value_mut(id).unwrap()).unwrap();
    }
    model
}

fn advance(trainer: &mut Trainer<'_, Device>, steps: usize) {
    for _ in 0..steps {
        trainer.step(0.0).unwrap();
    }
}

fn draw(task: &ClassifyTask, step: u64, part: u64) -> Batch {
    let mut batch = Batch { ids: vec![9], lengths: vec![1], batch: 7, ..Batch::default() };
    Task::<Device>::batch(task, step, part, &mut batch).unwrap();
    batch.validate().unwrap();
    batch
}

#[test]
fn batches_are_a_function_of_the_step_and_every_epoch_has_every_row() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("a.csv");
    write_motifs(&data, 40);
    let mean = config(&data);
    let task = read(&mean, 5);
    assert_eq!((task.train().len(), task.valid().len()), (36, 4));
    let first = draw(&task, 3, 0);
    assert_eq!(first, draw(&task, 3, 0));
    assert!(first != draw(&task, 4, 0) && first != draw(&read(&mean, 6), 3, 0));
    assert_eq!((first.batch, first.lengths.len(), first.targets.len(), first.scored()), (6, 6, 6, 6));
    let longest = *first.lengths.iter().max().unwrap() as usize;
    assert_eq!((first.time, first.ids.len()), (longest, 6 * longest));
    // Six steps of six rows are an epoch.
    let mut seen: Vec<Vec<u32>> = Vec::new();
    for step in 6..12 {
        let batch = draw(&task, step, 0);
        let rows = batch.ids.chunks(batch.time).zip(&batch.lengths).zip(&batch.targets);
        seen.extend(rows.map(|((ids, &n), &class)| [&ids[..n as usize], &[class]].concat()));
    }
    let mut expected: Vec<Vec<u32>> = Vec::new();
    for row in task.train() {
        let mut ids = vec![];
        task.encoder().push_words(&row.numbers, usize::MAX, &mut ids);
        expected.push([ids, vec![row.class]].concat());
    }
    seen.sort();
    expected.sort();
    assert_eq!(seen, expected);
    // Two parts are one of twice the size.
    let two = ClassifyTask::read(ClassifyConfig { sequences: 3, ..mean.clone() }, 5, 2).unwrap();
    let parts = [draw(&two, 3, 0), draw(&two, 3, 1)];
    assert_eq!([&parts[0].targets[..], &parts[1].targets].concat(), first.targets);
    // The last token's target is the class, and no other has one.
    let last = draw(&read(&ClassifyConfig { pooling: Pooling::Last, ..mean.clone() }, 5), 3, 0);
    assert_eq!((&last.ids, last.scored(), last.lengths.len()), (&first.ids, 6, 0));
    for (b, (row, &n)) in last.targets.chunks(last.time).zip(&first.lengths).enumerate() {
        let expected = |t: usize| if t + 1 == n as usize { first.targets[b] } else { IGNORE };
        assert!(row.iter().enumerate().all(|(t, &target)| target == expected(t)));
    }
    // What is hidden is the unknown word; the other strand is another sequence, of the same length.
    let hidden = draw(&read(&ClassifyConfig { hide: 0.3, ..mean.clone() }, 5), 3, 0);
    let unknown = hidden.ids.iter().filter(|&&id| id == 64).count();
    assert!(unknown > 20 && !first.ids.contains(&64), "{unknown}");
    let strands = draw(&read(&ClassifyConfig { both_strands: true, ..mean.clone() }, 5), 3, 0);
    assert_eq!((strands.lengths.clone(), strands.targets.clone()), (first.lengths.clone(), first.targets.clone()));
    let same = strands.ids.chunks(first.time).zip(first.ids.chunks(first.time)).filter(|(a, b)| a == b).count();
    assert!((1..6).contains(&same), "{same} of 6 are read as they are");
    // Windows: rows of numbers.
    let words = Words { reading: Reading::Windows, letters: 5, stride: 2, positions: 3 };
    let rows = draw(&read(&ClassifyConfig { words, ..mean }, 5), 3, 0);
    assert_eq!((rows.ids.len(), rows.rows.len()), (0, 6 * rows.time * 23));
}

#[test]
fn padding_and_neighbours_change_no_bit_and_streams_say_the_same() {
    let (folder, device) = (tempfile::tempdir().unwrap(), device());
    let data = folder.path().join("a.csv");
    write_motifs(&data, 30);
    for reading in [Reading::Words, Reading::Windows] {
        let words = Words { reading, letters: 3, stride: 1, positions: 0 };
        let base = ClassifyConfig { words, ..config(&data) };
        let task = read(&base, 0);
        let rows: Vec<&[u32]> = task.train().iter().take(9).map(|row| &row.numbers[..]).collect();
        assert!(rows.iter().any(|row| row.len() != rows[0].len()));
        for kind in KINDS {
            let mut c = small(kind);
            TaskConfig::Classify(base.clone()).fit(&mut c).unwrap();
            let model = moved(&device, c);
            for pooling in [Pooling::Mean, Pooling::Last] {
                for mode in [Mode::On, Mode::Frozen] {
                    let judging = Judging { pooling, both_strands: false, context: base.context, mode };
                    let of = |rows: &[&[u32]]| judge(&device, &model, task.encoder(), judging, rows).unwrap();
                    let together = of(&rows);
                    let alone: Vec<_> = rows.iter().flat_map(|row| of(&[row])).collect();
                    assert_eq!(together, alone, "{kind:?} {pooling:?}");
                    let both = Judging { both_strands: true, ..judging };
                    let both = judge(&device, &model, task.encoder(), both, &rows).unwrap();
                    assert_ne!(both, together);
                    let others: Vec<Vec<u32>> = rows.iter().map(|row| task.encoder().other_strand(row)).collect();
                    let others: Vec<&[u32]> = others.iter().map(|row| &row[..]).collect();
                    let twice =
                        judge(&device, &model, task.encoder(), Judging { both_strands: true, ..judging }, &others);
                    assert_eq!(twice.unwrap(), both, "a strand and its other are one sequence");
                    for (row, batch) in rows.iter().zip(&together) {
                        let stream = streamed(&device, &model, &task, (pooling, mode), row);
                        match pooling {
                            Pooling::Last => assert_eq!(&stream, batch, "{kind:?} {mode:?}"),
                            // The mean is taken in 64 bits here.
                            Pooling::Mean => {
                                assert!(
                                    stream.iter().zip(batch).all(|(a, b)| (a - b).abs() < 1e-5),
                                    "{stream:?} {batch:?}"
                                );
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What a stream says of a sequence.
fn streamed(
    device: &Device,
    model: &Model<Device>,
    task: &ClassifyTask,
    (pooling, mode): (Pooling, Mode),
    row: &[u32],
) -> Vec<f64> {
    let mut session = Session::new(device, model, mode).unwrap();
    let steps = match task.encoder().words().reading {
        Reading::Words => {
            let mut ids = vec![];
            task.encoder().push_words(row, usize::MAX, &mut ids);
            session.push(&ids).unwrap()
        }
        Reading::Windows => {
            let mut rows = vec![];
            task.encoder().push_rows(row, usize::MAX, &mut rows);
            session.push_rows(&rows.iter().map(|&x| x as f32).collect::<Vec<_>>()).unwrap()
        }
    };
    let of = |c: usize| match pooling {
        Pooling::Last => f64::from(steps[steps.len() - 1].logits[c]),
        Pooling::Mean => steps.iter().map(|step| f64::from(step.logits[c])).sum::<f64>() / steps.len() as f64,
    };
    let logits = [of(0), of(1)];
    let top = logits[0].max(logits[1]);
    let shares = logits.map(|x| (x - top).exp());
    shares.iter().map(|x| x / (shares[0] + shares[1])).collect()
}

#[test]
fn what_the_padding_holds_changes_no_gradient() {
    let (folder, device) = (tempfile::tempdir().unwrap(), device());
    let data = folder.path().join("a.csv");
    write_motifs(&data, 30);
    /// The same task with something else behind the ends.
    struct Spoilt(ClassifyTask);
    impl Task<Device> for Spoilt {
        fn batch(&self, step: u64, part: u64, batch: &mut Batch) -> titans_host::Result<()> {
            Task::<Device>::batch(&self.0, step, part, batch)?;
            let time = batch.time;
            for (b, &n) in batch.lengths.iter().enumerate() {
                batch.ids[b * time + n as usize..(b + 1) * time].fill(17);
            }
            Ok(())
        }
        fn validate_until(
            &self,
            device: &Device,
            model: &Model<Device>,
            thorough: bool,
            interrupt: &Interrupt,
        ) -> titans_host::Result<titans_host::task::Validation> {
            self.0.validate_until(device, model, thorough, interrupt)
        }
    }
    let config = config(&data);
    for kind in KINDS {
        let run = run(&config, kind, steps(3));
        let (mut plain, mut spoilt) = (read(&config, 0), Spoilt(read(&config, 0)));
        let mut a = trainer(&device, &run, &mut plain);
        let mut b = trainer(&device, &run, &mut spoilt);
        for _ in 0..3 {
            let (a, b) = (a.step(0.0).unwrap(), b.step(0.0).unwrap());
            assert_eq!((a.loss.to_bits(), a.gradient_norm.to_bits()), (b.loss.to_bits(), b.gradient_norm.to_bits()));
        }
        assert_eq!(bits(&a, &device), bits(&b, &device), "{kind:?}");
    }
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one_and_knows_its_data() {
    let (folder, device) = (tempfile::tempdir().unwrap(), device());
    let data = folder.path().join("a.csv");
    write_motifs(&data, 40);
    for (pooling, both_strands, recompute) in [(Pooling::Mean, true, false), (Pooling::Last, false, true)] {
        let config = ClassifyConfig { pooling, both_strands, hide: 0.1, ..config(&data) };
        let run = run(&config, Kind::Mag, TrainConfig { dropout: 0.2, accumulate: 2, recompute, ..steps(8) });
        let task = || ClassifyTask::read(config.clone(), 0, 2).unwrap();
        let (mut one, mut two, mut three) = (task(), task(), task());
        let mut whole = trainer(&device, &run, &mut one);
        advance(&mut whole, 8);
        let mut first = trainer(&device, &run, &mut two);
        advance(&mut first, 4);
        let path = folder.path().join("half.safetensors");
        first.save(&path, 1.0).unwrap();
        let mut second = Trainer::resume(&device, checkpoint::load(&device, &path).unwrap(), &mut three).unwrap();
        advance(&mut second, 4);
        assert_eq!(bits(&second, &device), bits(&whole, &device));
        let other = folder.path().join("other.csv");
        write_motifs(&other, 42);
        let other = ClassifyConfig { data: vec![other], ..config.clone() };
        let mut other = ClassifyTask::read(other, 0, 2).unwrap();
        let error = Trainer::resume(&device, checkpoint::load(&device, &path).unwrap(), &mut other).unwrap_err();
        assert!(error.to_string().contains("the data have changed"), "{error}");
    }
}

#[test]
fn a_motif_is_learned() {
    let (folder, device) = (tempfile::tempdir().unwrap(), device());
    let (data, test) = (folder.path().join("a.csv"), folder.path().join("b.csv"));
    write_motifs(&data, 600);
    write_motifs(&test, 660);
    let config = ClassifyConfig { sequences: 16, ..config(&data) };
    let run = run(&config, Kind::Lmm, TrainConfig { learning_rate: 1e-2, validate_every: 50, ..steps(300) });
    let mut task = read(&config, 0);
    let mut trainer = trainer(&device, &run, &mut task);
    let out = folder.path().join("run");
    std::fs::create_dir(&out).unwrap();
    let outcome = train(&mut trainer, &out, &Interrupt::new(), &mut Silent).unwrap();
    let best = outcome.best.unwrap();
    let (_, _, model) = checkpoint::load_model(&device, &out.join("best.safetensors")).unwrap();
    let encoder = config.encoder().unwrap();
    // The rows behind the 600th, which training never saw.
    let (rows, _) = config.examples(&encoder, &[test], true).unwrap();
    let rows = &rows[600..];
    let numbers: Vec<&[u32]> = rows.iter().map(|row| &row.numbers[..]).collect();
    let said = judge(&device, &model, &encoder, Judging::of(&config, Mode::On), &numbers).unwrap();
    let truth: Vec<u32> = rows.iter().map(|row| row.class).collect();
    let scores = ClassScores::of(2, &said, &truth);
    assert!(scores.accuracy > 0.8 && scores.auc.unwrap() > 0.85, "{scores:?}, best {best:?}");
    assert_eq!((config.alphabet, config.classes.clone()), (Letters::Dna, vec!["no".to_owned(), "yes".into()]));
}
