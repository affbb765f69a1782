//! State tracking: what its batches hold, that it goes on where it stopped, and that it is learned.

use super::support::{Device, bits, device, model, steps, trainer};
use titans_host::data::track::{Group, Products};
use titans_host::device::IGNORE;
use titans_host::model::{Model, ModelConfig};
use titans_host::task::track::{Track, TrackConfig};
use titans_host::task::{Task, TaskConfig};
use titans_host::train::progress::Silent;
use titans_host::train::task::Batch;
use titans_host::train::{Interrupt, RunConfig, TrainConfig, Trainer, checkpoint, train};
use titans_kernel::memory::Loss;

fn config(group: Group) -> TrackConfig {
    TrackConfig {
        group,
        length: 8,
        first_length: 2,
        tokens: 256,
        lengths: vec![8, 16],
        sequences: 20,
        ..TrackConfig::default()
    }
}

fn tracker(group: Group, train: TrainConfig) -> RunConfig {
    let mut model =
        ModelConfig { theta_max: 2.0, momentum: false, forgetting: false, ..model(Products::of(group).order()) };
    (model.memory.chunk, model.memory.compute_chunk, model.memory.loss) = (1, 16, Loss::Half);
    TaskConfig::Track(config(group)).run(model, train).unwrap()
}

#[test]
fn batches_are_words_of_the_curriculum_and_a_function_of_the_step() {
    let mut task = Track::new(config(Group::S3), 5).unwrap();
    let draw = |task: &Track, step, part| {
        let mut batch = Batch::default();
        Task::<Device>::batch(task, step, part, &mut batch).unwrap();
        batch
    };
    let first = draw(&task, 3, 0);
    assert!(first.time <= 2 && first.batch == 256 / first.time && first == draw(&task, 3, 0));
    assert!(first != draw(&task, 4, 0) && first != draw(&task, 3, 1));
    for _ in 0..200 {
        Task::<Device>::feedback(&mut task, 0.0, Some(1.0));
    }
    let lengths: Vec<usize> = (0..40).map(|step| draw(&task, step, 0).time).collect();
    assert!(lengths.contains(&8) && lengths.iter().all(|n| (4..=8).contains(n)), "{lengths:?}");
    // Its place in the curriculum is saved; one that cannot be is refused and changes nothing.
    let state = Task::<Device>::state(&task);
    let mut other = Track::new(config(Group::S3), 5).unwrap();
    for wrong in ["{}", r#"{"length":9.0,"accuracy":0.5,"since":1}"#, r#"{"length":2.0,"accuracy":2.0,"since":1}"#] {
        let wrong = serde_json::from_str(wrong).unwrap();
        assert!(Task::<Device>::restore(&mut other, &wrong).unwrap_err().to_string().contains("curriculum"));
        assert_eq!(draw(&other, 3, 0), first);
    }
    Task::<Device>::restore(&mut other, &state).unwrap();
    assert_eq!(draw(&other, 7, 0), draw(&task, 7, 0));
}

#[test]
fn an_element_is_as_many_tokens_as_it_has_steps_and_its_product_is_due_at_the_last() {
    let three = TrackConfig { micro_steps: 3, ..config(Group::S3) };
    assert_eq!((three.vocabulary(), three.tokens_of(5)), (18, 15));
    let mut batch = Batch::default();
    Task::<Device>::batch(&Track::new(three.clone(), 5).unwrap(), 3, 0, &mut batch).unwrap();
    assert!(batch.time.is_multiple_of(3) && batch.batch == 256 / batch.time && batch.scored() == batch.tokens() / 3);
    for (ids, targets) in batch.ids.chunks(3).zip(batch.targets.chunks(3)) {
        let element = ids[0];
        assert!(element < 6 && ids == [element, 6 + element, 12 + element]);
        assert!(targets[..2] == [IGNORE; 2] && targets[2] < 6);
    }
    // At first words are made of few elements, in runs whose curriculum begins so.
    let few = TrackConfig { first_elements: 2, tokens: 4096, ..three.clone() };
    let mut task = Track::new(few, 5).unwrap();
    let seen = |task: &Track| {
        let mut batch = Batch::default();
        Task::<Device>::batch(task, 3, 0, &mut batch).unwrap();
        batch.ids.chunks(3).map(|ids| ids[0]).collect::<std::collections::BTreeSet<u32>>()
    };
    assert_eq!((seen(&Track::new(three.clone(), 5).unwrap()).len(), seen(&task).len()), (6, 2));
    for _ in 0..100 {
        Task::<Device>::feedback(&mut task, 0.0, Some(1.0));
    }
    assert_eq!(seen(&task).len(), 6);
    // The words are those of one token an element.
    let words = |config| Track::new(config, 5).unwrap().words(4);
    assert_eq!(words(three.clone()), words(config(Group::S3)));
    // What is right is counted by element.
    let device = device();
    let sized = ModelConfig { vocabulary: 18, ..model(18) };
    let found = Track::new(three.clone(), 5).unwrap();
    let new = Model::new(&device, sized, 0).unwrap();
    let row = found.row(&device, &new, &found.words(8)).unwrap();
    assert!(row.products < 0.6 && row.words < 0.5, "an untrained model: {row:?}");
    assert!((row.products * 160.0).fract().abs() < 1e-9, "shares of 20 words of 8 elements: {row:?}");
    for wrong in [0, 17] {
        let error = Track::new(TrackConfig { micro_steps: wrong, ..three.clone() }, 0).unwrap_err().to_string();
        assert!(error.contains("task.micro_steps") && error.contains("1 to 16"), "{error}");
    }
}

#[test]
fn sizes_that_cannot_be_are_refused_by_name() {
    type Spoil = fn(&mut TrackConfig, usize);
    let fields: [(&str, Spoil); 6] = [
        ("task.first_elements", |c, x| c.first_elements = x),
        ("task.length:", |c, x| c.length = x),
        ("task.first_length", |c, x| c.first_length = x),
        ("task.tokens", |c, x| c.tokens = x),
        ("task.lengths", |c, x| c.lengths = vec![16, x]),
        ("task.sequences", |c, x| c.sequences = x),
    ];
    for (name, spoil) in fields {
        for x in [0, usize::MAX] {
            let mut config = config(Group::A5);
            spoil(&mut config, x);
            assert!(Track::new(config, 0).unwrap_err().to_string().contains(name), "{name} {x}");
        }
    }
}

#[test]
fn parity_is_learned_and_holds_at_twice_the_length() {
    let device = device();
    let long = TrackConfig { length: 16, tokens: 512, ..config(Group::Parity) };
    let train_config = TrainConfig { learning_rate: 1e-2, ..steps(800) };
    let mut run = tracker(Group::Parity, train_config.clone());
    run = TaskConfig::Track(long.clone()).run(run.model, train_config).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut task = Track::new(long, 0).unwrap();
    let measure = task.clone();
    let mut whole = trainer(&device, &run, &mut task);
    train(&mut whole, folder.path(), &Interrupt::new(), &mut Silent).unwrap();
    let found = measure.row(&device, whole.model(), &measure.words(32)).unwrap();
    assert!(found.products > 0.98 && found.words > 0.5, "{found:?}");
    assert!(found.frozen.unwrap() < 0.8, "without writes there is no state: {found:?}");
}

#[test]
fn a_resumed_run_is_the_uninterrupted_one() {
    let device = device();
    let run = tracker(Group::S3, steps(12));
    let mut task = Track::new(config(Group::S3), 0).unwrap();
    let mut whole = trainer(&device, &run, &mut task);
    let folder = tempfile::tempdir().unwrap();
    for step in 0..12 {
        if step == 7 {
            whole.save(&folder.path().join("latest.safetensors"), 0.0).unwrap();
        }
        whole.step(0.0).unwrap();
    }
    let mut again = Track::new(config(Group::S3), 0).unwrap();
    let mut part = Trainer::resume(&device, checkpoint::load(&device, folder.path()).unwrap(), &mut again).unwrap();
    assert_eq!(part.state().step, 7);
    while part.state().step < 12 {
        part.step(0.0).unwrap();
    }
    assert_eq!(bits(&part, &device), bits(&whole, &device));
}
