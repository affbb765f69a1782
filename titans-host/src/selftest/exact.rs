//! The memory in its exact form: pieces of several chunks of a matrix memory, against the same chunks one at a time.

use super::memory::{MemoryCase, TOLERANCE, run};
use super::{Check, Outputs, compare};
use crate::device::{Device, MemoryOp};
use crate::error::Result;
use titans_kernel::memory::{Loss, MemorySpec, Read};

/// Runs matrix memories in pieces of several chunks on the device, forward and backward, and on the reference chunk
/// after chunk, which are the same numbers (`docs/MATH.md`, section 3b), or with `alike` in pieces too.
pub fn exact_memories<D: Device, R: Device>(device: &D, reference: &R, alike: bool) -> Vec<Check> {
    let mut checks = Vec::new();
    match cases() {
        Ok(cases) => {
            for case in cases {
                let (got, want) = if alike {
                    (run(device, &case), run(reference, &case))
                } else {
                    let mut chunks = case.clone();
                    (chunks.op.spec.compute_chunk, chunks.op.spec.keep_every) = (0, 1);
                    let spec = &case.op.spec;
                    let every = spec.piece_len() / spec.chunk * spec.keep_every;
                    let got = run(device, &case).map(|out| states_of_pieces(out, &case.op, 1));
                    (got, run(reference, &chunks).map(|out| states_of_pieces(out, &case.op, every)))
                };
                let MemorySpec { chunk, compute_chunk, .. } = case.op.spec;
                let name = format!("memory exact, {compute_chunk} tokens in chunks of {chunk}, {}", case.name);
                compare(&mut checks, &name, TOLERANCE, got, want);
            }
        }
        Err(error) => compare(&mut checks, "memory exact", TOLERANCE, Err(error), Ok(Vec::new())),
    }
    checks
}

/// Of the boundaries the states at the starts of the op's kept pieces, which both ways have: each is the `every`-th
/// of the states there.
fn states_of_pieces(mut outputs: Outputs, op: &MemoryOp, every: usize) -> Outputs {
    let (len, pieces) = (op.spec.state_len(), op.spec.periods(op.time).div_ceil(op.spec.keep_every));
    for (_, numbers) in outputs.iter_mut().filter(|(name, _)| *name == "boundaries") {
        let own = numbers.len() / (op.batch * op.heads);
        let states = |memory: &[f64]| (0..pieces).flat_map(|j| memory[j * every * len..][..len].to_vec()).collect();
        *numbers = numbers.chunks(own).flat_map(|memory| -> Vec<f64> { states(memory) }).collect();
    }
    outputs
}

/// Every case at rates large enough for a token to see what the tokens of its piece before it wrote.
fn case(name: &'static str, widths: &[usize], cut: [usize; 2], dims: [usize; 3]) -> Result<MemoryCase> {
    let ([chunk, piece], [batch, time, heads]) = (cut, dims);
    let mut spec = MemorySpec::new(widths)?;
    (spec.chunk, spec.compute_chunk) = (chunk, piece);
    let op = MemoryOp { spec, batch, time, heads, read: Read::After, read_only: false, token_form: false };
    Ok(MemoryCase { name, op, masked: false, theta: 0.25 })
}

fn cases() -> Result<Vec<MemoryCase>> {
    let mut cases = vec![
        case("some pieces", &[5, 3], [1, 2], [2, 11, 2])?,
        case("wider values", &[3, 6], [1, 3], [2, 11, 2])?,
        case("whole pieces", &[4, 4], [1, 3], [1, 12, 1])?,
        case("some pieces", &[9, 7], [1, 16], [2, 37, 2])?,
        case("some pieces", &[8, 8], [1, 64], [1, 130, 2])?,
        case("longer than the tokens", &[7, 5], [1, 64], [2, 21, 2])?,
        case("one token", &[4, 3], [1, 8], [1, 1, 2])?,
        case("some pieces", &[6, 5], [2, 16], [2, 39, 2])?,
        case("some pieces", &[6, 5], [5, 15], [2, 37, 2])?,
        case("a chunk longer than the tokens", &[5, 5], [8, 16], [1, 5, 2])?,
        case("longer pieces than a tile", &[5, 3], [1, 70], [1, 150, 2])?,
        case("keys that no block keeps", &[4099, 2], [1, 3], [1, 5, 1])?,
        case("wide keys", &[130, 35], [1, 16], [1, 21, 2])?,
        // More than a device is given at once.
        case("many pieces", &[2, 1], [1, 2], [1, 131, 1])?,
    ];
    cases.extend(options(1)?);
    cases.extend(options(2)?);
    cases.extend(clips()?);
    Ok(cases)
}

fn options(chunk: usize) -> Result<Vec<MemoryCase>> {
    let base = case("", &[6, 4], [chunk, 8], [2, 19, 2])?;
    let vary = |name, change: &dyn Fn(&mut MemoryCase)| {
        let mut case = MemoryCase { name, ..base.clone() };
        change(&mut case);
        case
    };
    Ok(vec![
        vary("read before", &|c| c.op.read = Read::Before),
        vary("read at the chunk's start", &|c| c.op.read = Read::ChunkStart),
        vary("read only", &|c| c.op.read_only = true),
        vary("mask", &|c| c.masked = true),
        vary("half loss", &|c| c.op.spec.loss = Loss::Half),
        vary("mean loss", &|c| c.op.spec.loss = Loss::Mean),
        vary("one boundary in two", &|c| c.op.spec.keep_every = 2),
        vary("the first boundary alone, clip", &|c| (c.op.spec.keep_every, c.op.spec.clip) = (3, Some(3.0))),
    ])
}

/// A clip that some tokens reach.
fn clips() -> Result<Vec<MemoryCase>> {
    let mut cases = Vec::new();
    for (name, cut, read, masked) in [
        ("clip", [1, 8], Read::After, false),
        ("clip, read before, mask", [1, 8], Read::Before, true),
        ("clip, read at the chunk's start", [1, 3], Read::ChunkStart, false),
        ("clip, mask", [2, 8], Read::After, true),
        ("clip, read at the chunk's start", [5, 10], Read::ChunkStart, false),
        ("clip, longer than the tokens", [1, 32], Read::Before, false),
    ] {
        let mut case = case(name, &[6, 4], cut, [2, 19, 2])?;
        (case.op.read, case.masked, case.op.spec.clip) = (read, masked, Some(3.0));
        cases.push(case);
    }
    Ok(cases)
}
