//! Text in, predictions out.

use super::input::{ByteInput, Piece};
use super::{Args, Live, blocks};
use crate::cli::{Failure, output};
use crate::data::tokenizer::Tokenizer;
use crate::data::{Purpose, rng};
use crate::error::{Error, Result, counted};
use crate::model::Step;
use crate::task::generate::{Sampling, sample};
use crate::train::Interrupt;
use serde::Serialize;
use std::io::Write;

/// Logits that are there at once.
const LOGITS: usize = 1 << 20;
/// A text without words is cut after so many bytes.
const WORD: usize = 1 << 16;

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    tokens: u64,
    position: u64,
    nats_per_token: Option<f64>,
    bits_per_byte: Option<f64>,
    clipped: u64,
    resets: u64,
}

/// Rows of `--per-token`.
type TokenTable<'a> = csv::Writer<&'a mut dyn Write>;

pub(super) fn run(
    args: &Args,
    live: &mut Live<'_>,
    tokenizer: &Tokenizer,
    interrupt: &Interrupt,
) -> std::result::Result<(), Failure> {
    let (found, expected) = (live.session.weights().model()?.spec().outputs, tokenizer.vocabulary());
    if found != expected {
        return Err(Error::usage(format!(
            "the model has {found} symbols, the vocabulary {expected}; name the model's own with --tokenizer, or a model of text"
        ))
        .into());
    }
    let sampling = Sampling {
        tokens: args.generate.unwrap_or(0),
        temperature: args.temperature,
        top_p: args.top_p,
        seed: args.seed,
        mode: args.memory,
    };
    sampling.validate()?;
    let mut totals = StreamTotals::default();
    let written = match &args.per_token {
        None => {
            read(live, tokenizer, None, interrupt, &mut totals);
            Ok(())
        }
        Some(path) => output::write_with(path, |out| {
            let mut table = csv::Writer::from_writer(out);
            let bytes_alone = tokenizer.crc32().is_none();
            let first: &[&str] = if bytes_alone { &["position", "byte"] } else { &["position", "token", "bytes"] };
            let mut header: Vec<String> = first.iter().map(|&name| name.into()).collect();
            header.push("log_probability".into());
            header.extend(blocks(live)?.into_iter().map(|block| format!("surprise_{block}")));
            table.write_record(header).map_err(|e| Error::file(path, e.to_string()))?;
            read(live, tokenizer, Some(&mut table), interrupt, &mut totals);
            table.flush().map_err(|e| Error::io(path, "writing the table", e))
        }),
    };
    // Whatever ended it: what was learned is in the state.
    live.save()?;
    if let Err(error) = written {
        output::complain(&live.kept());
        return Err(error.into());
    }
    // Of nothing there is no mean.
    let some = |x: f64| (totals.tokens > 0).then_some(x);
    let nats_per_token = some(totals.nats / totals.tokens as f64);
    let bits_per_byte = some(totals.nats / std::f64::consts::LN_2 / totals.bytes.max(1) as f64);
    let (tokens, position, clipped) = (totals.tokens, live.session.position(), live.session.clipped());
    live.tell_resets();
    if args.json {
        let resets = live.resets;
        output::print_json(&Report { tokens, position, nats_per_token, bits_per_byte, clipped, resets })?;
    } else {
        let bits = bits_per_byte.map_or(String::new(), |bits| format!(", {bits:.4} bits a byte"));
        output::complain(&format!(
            "{} predicted{bits}; {} so far",
            counted(tokens, "token"),
            counted(position, "token")
        ));
    }
    if let Some(failure) = totals.failed {
        return Err(failure);
    }
    if sampling.tokens > 0 && !interrupt.requested() { generate(live, tokenizer, &sampling, interrupt) } else { Ok(()) }
}

/// What was predicted.
#[derive(Default)]
struct StreamTotals {
    tokens: u64,
    bytes: u64,
    nats: f64,
    /// Bytes of this input before the ids that come next.
    read: u64,
    /// Why it ended early.
    failed: Option<Failure>,
}

/// Reads standard input to its end, or to what ends it early.
fn read(
    live: &mut Live<'_>,
    tokenizer: &Tokenizer,
    table: Option<&mut TokenTable<'_>>,
    interrupt: &Interrupt,
    totals: &mut StreamTotals,
) {
    if let Err(error) = read_all(live, tokenizer, table, interrupt, totals) {
        totals.failed.get_or_insert(error.into());
    }
}

fn read_all(
    live: &mut Live<'_>,
    tokenizer: &Tokenizer,
    mut table: Option<&mut TokenTable<'_>>,
    interrupt: &Interrupt,
    totals: &mut StreamTotals,
) -> Result<()> {
    let (mut rest, mut seen) = (Vec::new(), 0);
    let (input, at_once) = (ByteInput::new(), (LOGITS / tokenizer.vocabulary()).max(1));
    loop {
        let ended = match input.next()? {
            Piece::Bytes(bytes) => {
                rest.extend(bytes);
                false
            }
            Piece::Nothing => false,
            Piece::End => true,
        };
        // What was read is fed before the end, also before that by Ctrl-C.
        let ended = ended || interrupt.requested();
        let whole = if ended || tokenizer.crc32().is_none() { rest.len() } else { words(&rest, seen) };
        let ids = tokenizer.encode(&rest[..whole])?;
        rest.drain(..whole);
        seen = rest.len();
        for ids in ids.chunks(at_once) {
            predict(live, tokenizer, ids, totals, table.as_deref_mut())?;
            if totals.failed.is_some() {
                return Ok(());
            }
        }
        if ended {
            return Ok(());
        }
        live.keep()?;
    }
}

/// Bytes up to the last place where a word begins, of which the first `seen` have none: tokens do not reach across it.
fn words(text: &[u8], seen: usize) -> usize {
    let from = seen.saturating_sub(1);
    let place = text[from..].windows(2).rposition(|w| w[0].is_ascii_alphabetic() && w[1] == b' ');
    place.map_or(if text.len() > WORD { text.len() } else { 0 }, |i| from + i + 1)
}

/// Every token is predicted from those before it: the last one waits for the next to come.
fn predict(
    live: &mut Live<'_>,
    tokenizer: &Tokenizer,
    ids: &[u32],
    totals: &mut StreamTotals,
    mut table: Option<&mut TokenTable<'_>>,
) -> Result<()> {
    let columns = blocks(live)?.len();
    let mut fed: Vec<u32> = live.pending.into_iter().collect();
    let Some((&last, before)) = ids.split_last() else { return Ok(()) };
    // The C library's readers feed every token, and keep what the model says to the last one.
    let said = Some(std::mem::take(&mut live.open)).filter(|said| said.len() == tokenizer.vocabulary());
    let said = said.map(|logits| (live.session.position(), Step { logits, surprise: vec![] }));
    let (waiting, known) = (fed.len(), said.is_some());
    fed.extend_from_slice(before);
    let told = live.feed(fed.len(), |session, range| session.take(&fed[range]))?;
    live.pending = Some(last).filter(|_| told.refused.is_none());
    let first = 1 - waiting.max(usize::from(known));
    for ((position, step), &id) in said.iter().chain(&told.steps).zip(&ids[first..]) {
        let (position, log_probability) = (*position, -step.nats(id)?);
        if !log_probability.is_finite() {
            return Err(Error::Diverged { position });
        }
        totals.tokens += 1;
        totals.bytes += tokenizer.bytes(id).len() as u64;
        totals.nats -= log_probability;
        if let Some(table) = &mut table {
            let mut record = vec![position.to_string(), id.to_string()];
            if tokenizer.crc32().is_some() {
                record.push(tokenizer.bytes(id).len().to_string());
            }
            record.push(log_probability.to_string());
            let width = record.len() + columns;
            let mean = |heads: &Vec<f32>| heads.iter().map(|&x| f64::from(x)).sum::<f64>() / heads.len().max(1) as f64;
            record.extend(step.surprise.iter().map(|heads| mean(heads).to_string()));
            record.resize(width, "0".into());
            table.write_record(record).map_err(|e| Error::usage(format!("writing the table: {e}")))?;
        }
    }
    let bytes = |ids: &[u32]| ids.iter().map(|&id| tokenizer.bytes(id).len() as u64).sum::<u64>();
    if let Some(position) = told.refused {
        // The one that waited may be from an earlier run.
        let before = totals.read + bytes(&fed[..told.steps.len()]);
        let place = match before.checked_sub(bytes(&fed[..waiting])) {
            Some(byte) => format!("standard input, byte {byte}"),
            None => "the token that waited in the state".into(),
        };
        totals.failed = Some(Failure::failed(live.refusal(&place, position)));
    }
    totals.read += bytes(ids);
    Ok(())
}

/// Continues on a copy of the stream: what is generated does not change the state.
fn generate(
    live: &Live<'_>,
    tokenizer: &Tokenizer,
    sampling: &Sampling,
    interrupt: &Interrupt,
) -> std::result::Result<(), Failure> {
    let mut fork = live.session.clone();
    let mut random = rng(sampling.seed, Purpose::Generation, 0, fork.position());
    let start = tokenizer.encode(b"\n")?;
    let mut next = live.pending.or(start.last().copied()).unwrap_or(0);
    let known = Some(&live.open).filter(|said| said.len() == tokenizer.vocabulary());
    let mut known = known.map(|logits| Step { logits: logits.clone(), surprise: vec![] });
    for _ in 0..sampling.tokens {
        if interrupt.requested() {
            break;
        }
        let said = match known.take() {
            Some(said) => Some(said),
            None => fork.push(&[next]).map_err(|error| Failure::hinting(error, "or give another --seed"))?.pop(),
        };
        let odds = said.as_ref().map(Step::log_probabilities).unwrap_or_default();
        let token = sample(&odds, sampling.temperature, sampling.top_p, &mut random)
            .ok_or(Error::Diverged { position: fork.position() })?;
        next = token as u32;
        output::stream(tokenizer.bytes(next))?;
    }
    output::stream(b"\n")
}
