//! Evaluation and generation against a session that reads token by token.

use super::support::{Device, device, model, recall, recall_run, steps, trainer};
use crate::vocabulary;
use titans_host::data::tokenizer::Tokenizer;
use titans_host::model::{Kind, Kinds, Mode, Model, Session};
use titans_host::task::evaluate::{TokenRow, evaluate};
use titans_host::task::generate::{Sampling, generate};

const MODES: [Mode; 3] = [Mode::On, Mode::Frozen, Mode::Absent];

fn bytes(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i * i % 97 + i % 7) as u8).collect()
}

const BYTES: Tokenizer = Tokenizer::Bytes;

fn ids(bytes: &[u8]) -> Vec<u32> {
    BYTES.encode(bytes).unwrap()
}

/// Two blocks, so that there are two surprises.
fn fresh(device: &Device) -> Model<Device> {
    let mut config = model(256);
    config.blocks = 2;
    Model::new(device, config, 3).unwrap()
}

fn rows(device: &Device, model: &Model<Device>, bytes: &[u8], window: usize, mode: Mode) -> (f64, Vec<TokenRow>) {
    let mut rows = Vec::new();
    let mut keep = |row| {
        rows.push(row);
        Ok(())
    };
    let ids = ids(bytes);
    let totals = evaluate(device, model, &BYTES, &ids, window, mode, Some(&mut keep)).unwrap();
    assert_eq!(totals.tokens as usize, bytes.len() - 1);
    assert!((totals.bits_per_byte - totals.nats_per_token / std::f64::consts::LN_2).abs() < 1e-12);
    let alone = evaluate(device, model, &BYTES, &ids, window, mode, None).unwrap();
    assert_eq!(alone, totals, "rows change nothing");
    (totals.nats_per_token, rows)
}

#[test]
fn rows_are_what_a_session_says_byte_by_byte() {
    let device = device();
    let model = fresh(&device);
    let bytes = bytes(200);
    for mode in MODES {
        for window in [0, 1, 50, 199, 500] {
            let (nats, rows) = rows(&device, &model, &bytes, window, mode);
            let mut sum = 0.0;
            let mut session = Session::new(&device, &model, mode).unwrap();
            for (i, row) in rows.iter().enumerate() {
                if window > 0 && i.is_multiple_of(window) {
                    session = Session::new(&device, &model, mode).unwrap();
                }
                let step = session.push(&[u32::from(bytes[i])]).unwrap().pop().unwrap();
                assert_eq!((row.position, row.token), (i as u64 + 1, u32::from(bytes[i + 1])));
                let expected = step.log_probabilities()[bytes[i + 1] as usize];
                assert!((row.log_probability - expected).abs() < 1e-5, "{mode:?} {window} {i}");
                let mean = |heads: &Vec<f32>| f64::from(heads.iter().sum::<f32>()) / heads.len() as f64;
                let expected: Vec<f64> = step.surprise.iter().map(mean).collect();
                let expected = if mode == Mode::Absent { vec![0.0; 2] } else { expected };
                assert_eq!(row.surprise.len(), 2);
                for (f, e) in row.surprise.iter().zip(&expected) {
                    assert!((f - e).abs() < 1e-5 * e.max(1.0), "{mode:?} {window} {i}: {f} {e}");
                }
                sum -= row.log_probability;
            }
            assert!((nats - sum / 199.0).abs() < 1e-9);
        }
    }
}

#[test]
fn a_long_stream_in_segments_is_the_stream() {
    // Longer than what runs at once, so that the memories are carried from one segment to the next.
    let device = device();
    let model = fresh(&device);
    let bytes = bytes(8192 + 300);
    let (_, uncut) = rows(&device, &model, &bytes, 0, Mode::On);
    let mut session = Session::new(&device, &model, Mode::On).unwrap();
    let ids: Vec<u32> = bytes.iter().map(|&b| u32::from(b)).collect();
    let steps = session.push(&ids).unwrap();
    for i in (8100..8491).step_by(10) {
        let expected = steps[i].log_probabilities()[bytes[i + 1] as usize];
        let found = uncut[i].log_probability;
        assert!((found - expected).abs() < 1e-4, "{i}: {found} {expected}");
    }
    let (_, windows) = rows(&device, &model, &bytes, 8192, Mode::On);
    assert_eq!(windows[..8192], uncut[..8192]);
    assert_ne!(windows[8300].log_probability, uncut[8300].log_probability, "the second window begins afresh");
}

#[test]
fn too_few_bytes_and_other_models_are_refused() {
    let device = device();
    let model = fresh(&device);
    for few in [&b""[..], b"x"] {
        let error = evaluate(&device, &model, &BYTES, &ids(few), 10, Mode::On, None).unwrap_err().to_string();
        assert!(error.contains("at least 2 tokens"), "{error}");
    }
    let small = Model::<Device>::new(&device, super::support::model(16), 0).unwrap();
    let error = evaluate(&device, &small, &BYTES, &ids(b"bytes"), 0, Mode::On, None).unwrap_err().to_string();
    assert!(error.contains("16 symbols"), "{error}");
    let error =
        generate(&device, &small, &BYTES, b"x", &Sampling::default(), &mut |_| Ok(true)).unwrap_err().to_string();
    assert!(error.contains("16 symbols"), "{error}");
    let stop = |_| Err(titans_host::Error::usage("the disk is full"));
    let error = evaluate(&device, &model, &BYTES, &ids(b"bytes"), 0, Mode::On, Some(&mut { stop })).unwrap_err();
    assert_eq!(error.to_string(), "the disk is full");
}

#[test]
fn generation_follows_the_seed_the_odds_and_the_listener() {
    let device = device();
    let model = fresh(&device);
    let run = |sampling: &Sampling, stop: usize| {
        let mut out = Vec::new();
        let each = &mut |bytes: &[u8]| {
            out.extend_from_slice(bytes);
            Ok(out.len() < stop)
        };
        let made = generate(&device, &model, &BYTES, b"prompt", sampling, each).unwrap();
        assert_eq!(made, out.len());
        out
    };
    let sampling = Sampling { tokens: 40, temperature: 1.0, top_p: 1.0, ..Sampling::default() };
    let first = run(&sampling, 1000);
    assert_eq!(first.len(), 40);
    assert_eq!(first, run(&sampling, 1000));
    assert_ne!(first, run(&Sampling { seed: 1, ..sampling.clone() }, 1000));
    assert_eq!(run(&sampling, 7), first[..7]);
    // At temperature 0 every byte is the likeliest after all before it.
    let greedy = run(&Sampling { temperature: 0.0, ..sampling }, 1000);
    let mut session = Session::new(&device, &model, Mode::On).unwrap();
    let mut ids: Vec<u32> = b"prompt".iter().map(|&b| u32::from(b)).collect();
    for &byte in &greedy[..10] {
        let odds = session.push(&ids).unwrap().pop().unwrap().log_probabilities();
        assert!(odds.iter().all(|&o| o <= odds[byte as usize]));
        ids = vec![u32::from(byte)];
    }
    let three = Sampling { tokens: 3, ..Sampling::default() };
    assert!(generate(&device, &model, &BYTES, b"", &three, &mut |_| Ok(true)).is_ok());
}

#[test]
fn recall_is_measured_at_every_length_and_memory() {
    let device = device();
    let mut task = recall(0);
    let config = recall_run(steps(2));
    let run = trainer(&device, &config, &mut task);
    let mut heard = Vec::new();
    let task = recall(0);
    let table = task.table(&device, run.model(), &mut |length| heard.push(length)).unwrap();
    assert_eq!(heard, [64, 128]);
    assert_eq!(table.0.keys().copied().collect::<Vec<_>>(), heard);
    let whole = task.measure(&device, run.model(), 128, Mode::On).unwrap();
    assert_eq!(whole.tokens, 4 * 4, "four sequences of four pairs");
    assert_eq!(whole.accuracy, Some(table.0[&128].on));
    assert!(table.0[&64].frozen.is_some() && table.0[&64].absent.is_some());
    // As a stream it is the same sequences and the same model.
    for mode in MODES {
        let batch = task.measure(&device, run.model(), 128, mode).unwrap();
        let stream = task.stream(&device, run.model(), 128, mode).unwrap();
        assert_eq!(stream.tokens, batch.tokens);
        assert!((stream.loss - batch.loss).abs() < 1e-4, "{mode:?}: {stream:?} {batch:?}");
    }
    assert!((whole.loss - f64::ln(16.0)).abs() < 1.0, "an untrained model guesses");
}

#[test]
fn a_model_without_memory_has_one_column_of_recall() {
    let device = device();
    let mut config = model(16);
    config.block = Kinds::All(Kind::Attention);
    let model = Model::new(&device, config, 3).unwrap();
    let row = recall(0).row(&device, &model, 64).unwrap();
    assert!((0.0..=1.0).contains(&row.on) && row.frozen.is_none() && row.absent.is_none(), "{row:?}");
}

#[test]
fn tokens_of_a_vocabulary_are_counted_by_their_bytes() {
    let device = device();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let merges = [("l", "i"), ("n", "e"), ("li", "ne"), ("o", "f"), (" ", "of")];
    std::fs::write(&path, vocabulary::tokenizer(&merges).to_string()).unwrap();
    let bpe = Tokenizer::open(Some(&path)).unwrap();
    let model = Model::<Device>::new(&device, model(bpe.vocabulary()), 3).unwrap();
    let text = "line of lines, très naïve\n".repeat(9);
    let ids = bpe.encode(text.as_bytes()).unwrap();
    assert!(ids.len() < text.len() && ids.contains(&258));
    let mut rows = Vec::new();
    let mut keep = |row: TokenRow| {
        rows.push(row);
        Ok(())
    };
    let totals = evaluate(&device, &model, &bpe, &ids, 50, Mode::On, Some(&mut keep)).unwrap();
    let nats: f64 = -rows.iter().map(|row| row.log_probability).sum::<f64>();
    let bytes = text.len() - bpe.bytes(ids[0]).len();
    assert_eq!((totals.tokens as usize, totals.bytes as usize), (ids.len() - 1, bytes));
    assert!((totals.nats_per_token - nats / rows.len() as f64).abs() < 1e-12);
    assert!((totals.bits_per_byte - nats / std::f64::consts::LN_2 / bytes as f64).abs() < 1e-12);
    assert_eq!(rows.iter().map(|row| row.token).collect::<Vec<_>>(), ids[1..]);
    // Bytes are not its vocabulary, and generation gives whole tokens.
    let error = evaluate(&device, &model, &BYTES, &ids, 50, Mode::On, None).unwrap_err().to_string();
    assert!(error.contains("262 symbols") && error.contains("tokenizer"), "{error}");
    let mut made = Vec::new();
    let each = &mut |bytes: &[u8]| {
        made.push(bytes.to_vec());
        Ok(true)
    };
    let sampling = Sampling { tokens: 300, temperature: 1.0, top_p: 1.0, ..Sampling::default() };
    assert_eq!(generate(&device, &model, &bpe, "né".as_bytes(), &sampling, each).unwrap(), 300);
    assert!(made.len() == 300 && made.iter().any(|bytes| bytes.len() > 1), "{made:?}");
}
