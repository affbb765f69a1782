//! Needles and stories in haystacks: what batches hold, that streams say what batches say, that runs go on where they
//! stopped, and that it is learned.

use super::support::{Device, bits, device, model, steps, trainer};
use std::path::{Path, PathBuf};
use titans_host::data::needle::NeedleKind;
use titans_host::device::IGNORE;
use titans_host::model::{Kind, Kinds, Mode, Model, ModelConfig};
use titans_host::task::babilong::{BabilongConfig, BabilongTask};
use titans_host::task::growth::GrowthConfig;
use titans_host::task::hidden::{find, streamed};
use titans_host::task::needle::{NeedleConfig, NeedleTask};
use titans_host::task::{Task, TaskConfig};
use titans_host::train::progress::Silent;
use titans_host::train::task::Batch;
use titans_host::train::{Interrupt, RunConfig, TrainConfig, Trainer, checkpoint, train};
use titans_kernel::memory::Loss;

/// Grows after every other step, so that a resume must bring the lengths.
fn growth() -> GrowthConfig {
    GrowthConfig { threshold: 0.0, memory: 0.5, every: 2, ..GrowthConfig::default() }
}

fn needles() -> NeedleConfig {
    NeedleConfig {
        length: 700,
        tokens: 1500,
        lengths: vec![500, 700],
        depths: vec![0.0, 50.0, 100.0],
        samples: 4,
        growth: growth(),
        ..NeedleConfig::default()
    }
}

fn exact(vocabulary: usize) -> ModelConfig {
    let mut model = model(vocabulary);
    (model.memory.chunk, model.memory.compute_chunk, model.memory.loss) = (1, 16, Loss::Half);
    (model.theta_max, model.eta_max) = (1.0, 0.5);
    model
}

fn text(ids: &[u32]) -> String {
    ids.iter().map(|&id| char::from(u8::try_from(id).unwrap())).collect()
}

fn draw<T: Task<Device>>(task: &T, step: u64, part: u64) -> Batch {
    let mut batch = Batch::default();
    task.batch(step, part, &mut batch).unwrap();
    batch.validate().unwrap();
    batch
}

/// The answer of one sequence of a batch, by its targets.
fn asked(targets: &[u32]) -> String {
    text(&targets.iter().copied().filter(|&t| t != IGNORE).collect::<Vec<_>>())
}

#[test]
fn batches_hold_a_needle_and_ask_for_it_and_are_a_function_of_the_step() {
    let mut task = NeedleTask::read(needles(), 5).unwrap();
    for step in 0..6 {
        let batch = draw(&task, step, 0);
        assert_eq!(batch.batch, (1500 / batch.time).max(1));
        assert!(batch.ids.iter().all(|&id| id < 256));
        for (ids, targets) in batch.ids.chunks(batch.time).zip(batch.targets.chunks(batch.time)) {
            let (all, answer) = (text(ids), asked(targets));
            assert!(all.ends_with(&answer) && answer.len() == 8 && answer.starts_with(' '), "{all}");
            let needle = all.split("One of the special magic numbers for ").nth(1).unwrap();
            let key = needle.split(' ').next().unwrap();
            assert!(needle.starts_with(&format!("{key} is:{answer}.")), "{needle}");
            assert!(
                all.contains(&format!("magic number for {key} mentioned in the provided text is{answer}")),
                "{all}"
            );
        }
    }
    assert_eq!(draw(&task, 3, 1), draw(&task, 3, 1));
    assert!(draw(&task, 3, 0) != draw(&task, 4, 0) && draw(&task, 3, 0) != draw(&task, 3, 1));
    assert_ne!(draw(&task, 3, 0), draw(&NeedleTask::read(needles(), 6).unwrap(), 3, 0));
    // Its lengths are saved; what cannot be is refused and changes nothing.
    let before = draw(&task, 9, 0);
    (0..200).for_each(|_| Task::<Device>::feedback(&mut task, 0.0, Some(1.0)));
    let lengths: Vec<usize> = (0..40).map(|step| draw(&task, step, 0).time).collect();
    assert!(lengths.iter().any(|&n| n > 650) && lengths.iter().all(|&n| n <= 700), "{lengths:?}");
    let state = Task::<Device>::state(&task);
    let mut other = NeedleTask::read(needles(), 5).unwrap();
    let mut longer = state.clone();
    longer["growth"]["length"] = 701.0.into();
    let mut changed = state.clone();
    changed["sources"]["bytes"] = 7.into();
    for (wrong, says) in
        [(serde_json::json!({}), "curriculum"), (longer, "curriculum"), (changed, "files have changed")]
    {
        assert!(Task::<Device>::restore(&mut other, &wrong).unwrap_err().to_string().contains(says));
        assert_eq!(draw(&other, 9, 0), before);
    }
    Task::<Device>::restore(&mut other, &state).unwrap();
    assert_eq!(draw(&other, 9, 0), draw(&task, 9, 0));
}

#[test]
fn needles_lie_where_their_depth_says_and_differ_from_cell_to_cell() {
    let task = NeedleTask::read(NeedleConfig { samples: 8, ..needles() }, 1).unwrap();
    let mut values = Vec::new();
    for depth in [0.0, 25.0, 50.0, 100.0] {
        for item in task.items(5000, Some(depth)).unwrap() {
            let tokens: Vec<u32> = item.hidden.tokens(task.haystack()).map(|token| token.0).collect();
            assert_eq!(tokens.len(), 5000);
            let all = text(&tokens);
            let hay = item.hidden.hay as f64;
            let at = all.find(" One of the special").unwrap() - item.hidden.head.len();
            // Before the first sentence that begins there or later; no sentence has more than 30 letters.
            let away = at as f64 - depth / 100.0 * hay;
            assert!((0.0..30.0).contains(&away), "{depth}: {at} of {hay}");
            let mark = all.as_bytes()[item.hidden.head.len() + at - 1];
            assert!(depth == 100.0 || mark == b'.' || mark == b'\n', "between sentences");
            assert!(all.contains(&format!("{} is: {}.", item.needle.key, item.needle.value)));
            values.push(item.needle.value);
        }
    }
    values.sort();
    values.dedup();
    assert_eq!(values.len(), 32);
    // Training draws others.
    let trained = (0..20).flat_map(|step| {
        let batch = draw(&task, step, 0);
        batch.targets.chunks(batch.time).map(|t| asked(t).trim().to_owned()).collect::<Vec<_>>()
    });
    assert!(trained.into_iter().all(|value| !values.contains(&value)));
}

#[test]
fn kinds_have_values_of_their_own_and_lengths_without_room_say_how_much_is_needed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("book.txt");
    std::fs::write(&file, "One sentence of a book. Another one, with more words in it! ".repeat(60)).unwrap();
    let config = NeedleConfig { kind: NeedleKind::Uuid, haystack: vec![file.clone()], ..needles() };
    let task = NeedleTask::read(config.clone(), 0).unwrap();
    let batch = draw(&task, 0, 0);
    let answer = asked(&batch.targets[..batch.time]);
    let groups: Vec<usize> = answer.trim().split('-').map(str::len).collect();
    assert_eq!(groups, [8, 4, 4, 4, 12], "{answer}");
    assert!(text(&batch.ids).contains("magic uuid") && text(&batch.ids).contains("sentence of a book"));
    for (spoil, says) in [
        (NeedleConfig { length: 300, ..config.clone() }, "needs "),
        (NeedleConfig { lengths: vec![700, 100], ..config.clone() }, "found a length of 100"),
        (NeedleConfig { depths: vec![101.0], ..config.clone() }, "task.depths"),
        (NeedleConfig { depths: vec![f64::NAN], ..config.clone() }, "task.depths"),
        (NeedleConfig { depths: vec![], ..config.clone() }, "task.depths"),
        (NeedleConfig { samples: 0, ..config.clone() }, "task.samples"),
        (NeedleConfig { tokens: usize::MAX, ..config.clone() }, "task.tokens"),
        (NeedleConfig { validation: 1.0, ..config.clone() }, "task.validation"),
    ] {
        let error = NeedleTask::read(spoil, 0).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    std::fs::write(&file, "").unwrap();
    assert!(NeedleTask::read(config.clone(), 0).unwrap_err().to_string().contains("empty"));
    std::fs::write(&file, "One sentence.").unwrap();
    assert!(NeedleTask::read(config, 0).unwrap_err().to_string().contains("give more text"));
}

#[test]
fn the_shortest_length_is_that_of_the_longest_key() {
    let noise = |length| NeedleConfig { length, lengths: vec![length], ..needles() };
    let least: usize = (300..700).find(|&length| NeedleTask::read(noise(length), 0).is_ok()).unwrap();
    let task = NeedleTask::read(NeedleConfig { samples: 3000, ..noise(least) }, 0).unwrap();
    let hay: Vec<usize> = task.items(least, None).unwrap().iter().map(|item| item.hidden.hay).collect();
    assert_eq!(hay.iter().min(), Some(&0), "some key is the longest");
    let error = NeedleTask::read(noise(least - 1), 0).unwrap_err().to_string();
    assert!(error.contains(&format!("needs {least} tokens")), "{error}");
}

#[test]
fn streams_say_what_batches_say() {
    let device = device();
    for kind in [Kind::Lmm, Kind::Mac, Kind::Mag, Kind::Mal, Kind::Attention] {
        let config = ModelConfig { block: Kinds::All(kind), ..exact(256) };
        let model = Model::new(&device, config, 3).unwrap();
        let task = NeedleTask::read(needles(), 2).unwrap();
        let items = task.items(500, Some(50.0)).unwrap();
        let samples: Vec<_> = items.iter().map(|item| item.hidden.clone()).collect();
        let whole = find(&device, &model, task.haystack(), &samples, Mode::On).unwrap();
        assert_eq!(whole, streamed(&device, &model, task.haystack(), &samples, Mode::On).unwrap(), "{kind:?}");
        assert!(whole.iter().all(|found| found.answers.len() == 8 && !found.right() && found.nats() > 8.0));
        assert_eq!(whole, task.find(&device, &model, &items, Mode::On).unwrap());
    }
}

fn stories(folder: &Path) -> PathBuf {
    let people = ["Ann", "Bob", "Cid"];
    let places = ["hall", "attic", "shed"];
    let mut text = String::new();
    for story in 0..40 {
        let (a, b) = (people[story % 3], people[(story + 1) % 3]);
        let (x, y) = (places[story / 3 % 3], places[(story / 9 + story) % 3]);
        text += &format!(
            "1 {a} went to the {x}.\n2 {b} went to the {y}.\n3 Where is {a}? \t{x}\t1\n4 {a} went to the {y}.\n5 Where is {a}?\t{y}\t4\n"
        );
    }
    std::fs::write(folder.join("qa1_small_train.txt"), &text).unwrap();
    std::fs::write(folder.join("qa1_small_test.txt"), "1 Ann went to the cellar.\n2 Where is Ann?\tcellar\t1\n")
        .unwrap();
    folder.to_path_buf()
}

fn babilong(folder: &Path) -> BabilongConfig {
    BabilongConfig {
        facts: stories(folder),
        length: 200,
        tokens: 600,
        lengths: vec![0, 200],
        samples: 6,
        growth: growth(),
        ..BabilongConfig::default()
    }
}

#[test]
fn stories_are_hidden_in_order_and_test_questions_stay_apart() {
    let folder = tempfile::tempdir().unwrap();
    let task = BabilongTask::read(babilong(folder.path()), 3).unwrap();
    for step in 0..20 {
        let batch = draw(&task, step, 0);
        assert_eq!(batch, draw(&task, step, 0));
        for (ids, targets) in batch.ids.chunks(batch.time).zip(batch.targets.chunks(batch.time)) {
            let (all, answer) = (text(ids), asked(targets));
            let (story, question) = all.split_once("\nWhere is ").unwrap();
            let person = question.split('?').next().unwrap();
            let last = story.match_indices(&format!("{person} went to the")).last().unwrap().0;
            assert!(story[last..].starts_with(&format!("{person} went to the{answer}.")), "{all}");
            assert!(all.ends_with(&answer) && !all.contains("cellar"), "{all}");
        }
    }
    assert_eq!(task.valid().len(), 6);
    let test = task.test().unwrap();
    assert_eq!((test.len(), test[0].from.answer.as_str()), (1, "cellar"));
    // The story alone where no length is asked for, and exactly as many tokens as are.
    let hidden = |length| task.hide(&test, length)[0].clone();
    assert_eq!((hidden(0).hay, hidden(0).len(), hidden(300).len()), (0, test[0].tokens(), 300));
    let all: Vec<&_> = test.iter().collect();
    let baselines = task.baselines(1, &all);
    assert_eq!((baselines.majority, baselines.last_mentioned, baselines.chance), (0.0, 0.0, 1.0 / 3.0));
    let valid: Vec<&_> = task.valid().iter().collect();
    assert!(task.baselines(1, &valid).last_mentioned >= 0.5);
}

#[test]
fn what_cannot_be_asked_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let good = babilong(folder.path());
    for (bad, says) in [
        (BabilongConfig { facts: PathBuf::new(), ..good.clone() }, "--facts"),
        (BabilongConfig { facts: folder.path().join("none"), ..good.clone() }, "none"),
        (BabilongConfig { questions: vec![2], ..good.clone() }, "qa2_"),
        (BabilongConfig { questions: vec![1, 1], ..good.clone() }, "task.questions"),
        (BabilongConfig { questions: vec![0], ..good.clone() }, "task.questions"),
        (BabilongConfig { questions: vec![], ..good.clone() }, "task.questions"),
        (BabilongConfig { length: 10, ..good.clone() }, "needs "),
        (BabilongConfig { samples: 0, ..good.clone() }, "task.samples"),
        (BabilongConfig { lengths: vec![usize::MAX], ..good.clone() }, "task.lengths"),
        (BabilongConfig { noise: vec![folder.path().join("no.txt")], ..good.clone() }, "no.txt"),
    ] {
        let error = BabilongTask::read(bad, 0).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }
    let tiny = BabilongConfig { validation: 0.001, ..good };
    assert!(BabilongTask::read(tiny, 0).is_ok(), "one story is enough");
}

fn resumed<T: Task<Device>>(run: &RunConfig, open: impl Fn() -> T) {
    let device = device();
    let mut task = open();
    let mut whole = trainer(&device, run, &mut task);
    let folder = tempfile::tempdir().unwrap();
    for step in 0..8 {
        if step == 5 {
            whole.save(&folder.path().join("latest.safetensors"), 0.0).unwrap();
        }
        whole.step(0.0).unwrap();
    }
    let mut again = open();
    let mut part = Trainer::resume(&device, checkpoint::load(&device, folder.path()).unwrap(), &mut again).unwrap();
    assert_eq!(part.state().step, 5);
    while part.state().step < 8 {
        part.step(0.0).unwrap();
    }
    assert_eq!(bits(&part, &device), bits(&whole, &device));
}

#[test]
fn resumed_runs_are_the_uninterrupted_ones() {
    let run = TaskConfig::Needle(needles()).run(exact(256), steps(8)).unwrap();
    resumed(&run, || NeedleTask::read(needles(), 0).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let config = babilong(folder.path());
    let run = TaskConfig::Babilong(config.clone()).run(exact(256), steps(8)).unwrap();
    resumed(&run, || BabilongTask::read(config.clone(), 0).unwrap());
}

#[test]
fn stories_are_learned() {
    let folder = tempfile::tempdir().unwrap();
    let device = device();
    let config = BabilongConfig { length: 100, samples: 8, growth: GrowthConfig::default(), ..babilong(folder.path()) };
    let train_config = TrainConfig { learning_rate: 1e-2, ..steps(150) };
    let run = TaskConfig::Babilong(config.clone()).run(exact(256), train_config).unwrap();
    let mut task = BabilongTask::read(config, 0).unwrap();
    let measure = task.clone();
    let samples = measure.hide(measure.valid(), 0);
    let nats = |model: &Model<Device>| {
        let found = measure.find(&device, model, &samples, Mode::On).unwrap();
        found.iter().map(|found| found.nats()).sum::<f64>() / found.len() as f64
    };
    let mut whole = trainer(&device, &run, &mut task);
    let before = nats(whole.model());
    let runs = tempfile::tempdir().unwrap();
    train(&mut whole, runs.path(), &Interrupt::new(), &mut Silent).unwrap();
    let after = nats(whole.model());
    // Three places are 1.1 nats: which of them it was takes longer.
    assert!(before > 10.0 && after < 1.6, "{before} {after}");
}
