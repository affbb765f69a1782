//! Bytes in, predictions out.

use super::{Args, Live};
use crate::cli::{Failure, output};
use crate::data::{Purpose, rng};
use crate::error::{Error, Result};
use crate::model::Step;
use crate::task::generate::{Sampling, sample};
use crate::train::Interrupt;
use serde::Serialize;
use std::io::{Read, Write};

/// Bytes that are read and fed at once.
const AT_ONCE: usize = 4096;

/// What `--json` prints.
#[derive(Serialize)]
struct Totals {
    tokens: u64,
    position: u64,
    nats_per_token: f64,
    bits_per_byte: f64,
    clipped: u64,
}

/// Rows of `--per-token`.
type Table<'a> = csv::Writer<&'a mut dyn Write>;

pub(super) fn run(args: &Args, live: &mut Live<'_>, interrupt: &Interrupt) -> std::result::Result<(), Failure> {
    let found = live.session.weights().model()?.spec().outputs;
    if found != 256 {
        return Err(Error::usage(format!("the model has {found} symbols, bytes are 256; it cannot read a text")).into());
    }
    let sampling = Sampling {
        tokens: args.generate,
        temperature: args.temperature,
        top_p: args.top_p,
        seed: args.seed,
        mode: args.memory.into(),
    };
    sampling.validate()?;
    let (tokens, nats) = match &args.per_token {
        None => read(live, None, interrupt)?,
        Some(path) => output::write_with(path, |out| {
            let mut table = csv::Writer::from_writer(out);
            let mut header = vec!["position".to_owned(), "byte".into(), "log_probability".into()];
            header.extend(blocks(live)?.into_iter().map(|block| format!("surprise_{block}")));
            table.write_record(header).map_err(|e| Error::file(path, e.to_string()))?;
            let totals = read(live, Some(&mut table), interrupt)?;
            table.flush().map_err(|e| Error::io(path, "writing the table", e))?;
            Ok(totals)
        })?,
    };
    live.save()?;
    let nats_per_token = nats / tokens.max(1) as f64;
    let bits_per_byte = nats_per_token / std::f64::consts::LN_2;
    let (position, clipped) = (live.session.position(), live.session.clipped());
    if args.json {
        output::print_json(&Totals { tokens, position, nats_per_token, bits_per_byte, clipped })?;
    } else {
        output::complain(&format!("{tokens} bytes predicted, {bits_per_byte:.4} bits a byte; {position} bytes so far"));
    }
    if args.generate > 0 && !interrupt.raised() { generate(live, &sampling, interrupt) } else { Ok(()) }
}

/// The blocks whose surprise a step tells.
fn blocks(live: &Live<'_>) -> Result<Vec<usize>> {
    let model = live.session.weights().model()?;
    let mut blocks = Vec::new();
    for i in 0..model.spec().blocks {
        blocks.extend((model.block(i)?.memories() > 0).then_some(i));
    }
    Ok(blocks)
}

/// Reads standard input to its end; bytes predicted, and their nats together.
fn read(live: &mut Live<'_>, mut table: Option<&mut Table<'_>>, interrupt: &Interrupt) -> Result<(u64, f64)> {
    let (mut tokens, mut nats) = (0, 0.0);
    let columns = blocks(live)?.len();
    let mut input = std::io::stdin().lock();
    let mut space = [0; AT_ONCE];
    while !interrupt.raised() {
        let n = match input.read(&mut space) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(Error::io("standard input", "reading", e)),
        };
        let bytes = &space[..n];
        // Every byte is predicted from those before it: the last one waits for the next to come.
        let mut fed: Vec<u32> = live.pending.into_iter().collect();
        let first = 1 - fed.len();
        fed.extend(bytes[..n - 1].iter().map(|&b| u32::from(b)));
        let from = live.session.position() + 1;
        let steps = live.session.push(&fed)?;
        live.pending = bytes.last().map(|&b| u32::from(b));
        for (i, (step, &byte)) in steps.iter().zip(&bytes[first..]).enumerate() {
            let log_probability = -step.nats(u32::from(byte))?;
            if !log_probability.is_finite() {
                return Err(Error::Diverged { position: from + i as u64 });
            }
            (tokens, nats) = (tokens + 1, nats - log_probability);
            if let Some(table) = &mut table {
                let record = record(from + i as u64, byte, log_probability, step, columns);
                table.write_record(record).map_err(|e| Error::usage(format!("writing the table: {e}")))?;
            }
        }
        live.keep()?;
    }
    Ok((tokens, nats))
}

fn record(position: u64, byte: u8, log_probability: f64, step: &Step<f32>, columns: usize) -> Vec<String> {
    let mut record = vec![position.to_string(), byte.to_string(), log_probability.to_string()];
    let mean = |heads: &Vec<f32>| heads.iter().map(|&x| f64::from(x)).sum::<f64>() / heads.len().max(1) as f64;
    record.extend(step.surprise.iter().map(|heads| mean(heads).to_string()));
    record.resize(3 + columns, "0".into());
    record
}

/// Continues on a copy of the stream: what is generated does not change the state.
fn generate(live: &Live<'_>, sampling: &Sampling, interrupt: &Interrupt) -> std::result::Result<(), Failure> {
    let mut fork = live.session.clone();
    let mut random = rng(sampling.seed, Purpose::Generation, 0, fork.position());
    let mut next = live.pending.unwrap_or(u32::from(b'\n'));
    for _ in 0..sampling.tokens {
        if interrupt.raised() {
            break;
        }
        let odds = fork.push(&[next])?.pop().as_ref().map(Step::log_probabilities).unwrap_or_default();
        let byte = sample(&odds, sampling.temperature, sampling.top_p, &mut random)
            .ok_or(Error::Diverged { position: fork.position() })?;
        output::stream(&[byte as u8])?;
        next = byte as u32;
    }
    output::stream(b"\n")
}
