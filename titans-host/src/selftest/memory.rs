//! The memory operation over its options.

use super::{Check, NumberGenerator, Outputs, compare, get, put};
use crate::device::{Device, InputGradient, MemoryGradients, MemoryInputs, MemoryOp, MemoryOutputs};
use crate::error::Result;
use titans_kernel::Choice;
use titans_kernel::memory::{Activation, Loss, MemorySpec, Network, Read};

/// Largest error of a memory's outputs and gradients in `f32`: many tokens deep, so larger than one operation's.
pub(super) const TOLERANCE: f64 = 1e-4;

/// What a test varies around a base.
#[derive(Clone)]
pub(super) struct MemoryCase {
    pub name: &'static str,
    pub op: MemoryOp,
    pub masked: bool,
    /// Mean of θ.
    pub theta: f64,
}

/// Runs the memory over every option of its configuration on both devices, forward and backward.
pub fn memories<D: Device, R: Device>(device: &D, reference: &R) -> Vec<Check> {
    let mut checks = Vec::new();
    match cases() {
        Ok(cases) => {
            for case in cases {
                let name = format!("memory {}", case.name);
                compare(&mut checks, &name, TOLERANCE, run(device, &case), run(reference, &case));
            }
        }
        Err(error) => compare(&mut checks, "memory", TOLERANCE, Err(error), Ok(Vec::new())),
    }
    checks
}

fn cases() -> Result<Vec<MemoryCase>> {
    let spec = |widths: &[usize], network, chunk| -> Result<MemorySpec> {
        let mut spec = MemorySpec::new(widths)?;
        (spec.network, spec.chunk, spec.compute_chunk) = (network, chunk, 0);
        (spec.loss, spec.clip) = (Loss::Sum, None);
        Ok(spec)
    };
    let of_layers = |spec: MemorySpec, clip| MemorySpec { layer_gates: true, clip, ..spec };
    let (plain, residual) = (Network::Plain, Network::Residual);
    let case = |name, spec, batch, time, heads| MemoryCase {
        name,
        op: MemoryOp { spec, batch, time, heads, read: Read::After, read_only: false, token_form: false },
        masked: false,
        theta: 0.02,
    };
    let mut cases = vec![
        case("one token", spec(&[1, 1], plain, 16)?, 1, 1, 1),
        case("linear", spec(&[5, 3], plain, 4)?, 2, 11, 3),
        case("linear, chunk 1", spec(&[7, 7], plain, 1)?, 1, 5, 2),
        case("linear, one chunk", spec(&[17, 17], plain, 64)?, 2, 33, 2),
        case("linear, a chunk longer than a tile", spec(&[9, 35], plain, 70)?, 1, 145, 2),
        case("linear, one boundary in three", MemorySpec { keep_every: 3, ..spec(&[5, 3], plain, 2)? }, 2, 11, 3),
        case("linear residual", spec(&[8, 8], residual, 5)?, 2, 13, 2),
        case("deep 2", spec(&[5, 9, 5], plain, 4)?, 2, 11, 2),
        case("deep 2 residual", spec(&[6, 11, 6], residual, 4)?, 2, 11, 2),
        case("deep 3 residual", spec(&[6, 9, 7, 6], residual, 7)?, 1, 15, 2),
        case(
            "deep 3 residual, gates of every layer",
            of_layers(spec(&[6, 9, 7, 6], residual, 7)?, Some(20.0)),
            1,
            15,
            2,
        ),
        case("deep 4", spec(&[4, 7, 6, 5, 3], plain, 3)?, 1, 8, 2),
    ];
    let asked = |case: MemoryCase| MemoryCase { op: MemoryOp { read_only: true, ..case.op }, ..case };
    cases.extend([
        asked(case("linear, read only", spec(&[5, 3], plain, 4)?, 2, 11, 3)),
        asked(case("linear, read only, one chunk of more than a tile", spec(&[70, 66], plain, 80)?, 2, 67, 3)),
    ]);
    let deep = case("", spec(&[6, 11, 6], residual, 4)?, 2, 11, 2);
    let vary = |name, change: &dyn Fn(&mut MemoryCase)| {
        let mut case = MemoryCase { name, ..deep.clone() };
        change(&mut case);
        case
    };
    let others = Activation::ALL.iter().filter(|&&activation| activation != deep.op.spec.activation);
    cases.extend(others.map(|&activation| vary(activation.name(), &|c| c.op.spec.activation = activation)));
    cases.extend([
        vary("half loss", &|c| c.op.spec.loss = Loss::Half),
        vary("mean loss", &|c| c.op.spec.loss = Loss::Mean),
        vary("clip", &|c| c.op.spec.clip = Some(20.0)),
        vary("plain, clip", &|c| (c.op.spec.network, c.op.spec.clip) = (plain, Some(1.5))),
        vary("gates of every layer", &|c| c.op.spec.layer_gates = true),
        vary("gates of every layer, plain, read before, mask, clip", &|c| {
            (c.op.spec.layer_gates, c.op.spec.network, c.op.spec.clip) = (true, plain, Some(1.5));
            (c.op.read, c.masked) = (Read::Before, true);
        }),
        vary("read before", &|c| c.op.read = Read::Before),
        vary("read at the chunk's start", &|c| c.op.read = Read::ChunkStart),
        vary("read only", &|c| c.op.read_only = true),
        vary("mask", &|c| c.masked = true),
        vary("mask, read before, clip", &|c| {
            (c.masked, c.op.read, c.op.spec.clip) = (true, Read::Before, Some(20.0));
        }),
        vary("one boundary in two", &|c| c.op.spec.keep_every = 2),
        vary("the first boundary alone, clip, mask", &|c| {
            (c.op.spec.keep_every, c.op.spec.clip, c.masked) = (7, Some(20.0), true);
        }),
        vary("token form", &|c| c.op.token_form = true),
        vary("token form, read before, mask", &|c| {
            (c.op.token_form, c.op.read, c.masked) = (true, Read::Before, true);
        }),
    ]);
    Ok(cases)
}

pub(super) fn run<D: Device>(d: &D, case: &MemoryCase) -> Result<Outputs> {
    let (op, mut numbers) = (&case.op, NumberGenerator(11));
    let (key, value, tokens) = (op.spec.key_width(), op.spec.value_width(), op.batch * op.time * op.heads);
    let root = |n: usize| 1.0 / (n as f64).sqrt();
    let k = put(d, &numbers.around(0.0, 1.7 * root(key), tokens * key))?;
    let v = put(d, &numbers.vec(tokens * value))?;
    let q = put(d, &numbers.around(0.0, 1.7 * root(key), tokens * key))?;
    let gates = put(d, &gates(&mut numbers, case))?;
    let state = put(d, &state(&mut numbers, op))?;
    // Every third token, the first ones of two chunks among them.
    let mask: Vec<u32> = (0..op.batch * op.time).map(|t| u32::from(t % 3 == 1 || t % op.time == 4)).collect();
    let mask = d.upload_indices(&mask)?;
    let inputs =
        || MemoryInputs { k: &k, v: &v, q: &q, gates: &gates, state: &state, mask: case.masked.then_some(&mask) };
    let (mut y, mut surprise) = (d.alloc(tokens * value)?, d.alloc(tokens)?);
    let (mut last, mut boundaries) = (d.alloc(op.state_len())?, d.alloc(op.boundaries_len())?);
    let outputs = MemoryOutputs {
        y: &mut y,
        surprise: Some(&mut surprise),
        state: Some(&mut last),
        boundaries: Some(&mut boundaries),
    };
    let clipped = d.memory(op, inputs(), outputs)?;
    let mut alone = d.alloc(tokens * value)?;
    d.memory(op, inputs(), MemoryOutputs { y: &mut alone, surprise: None, state: None, boundaries: None })?;
    let mut kept = d.zeros(op.state_len())?;
    if op.read_only {
        let outputs = MemoryOutputs { y: &mut alone, surprise: None, state: Some(&mut kept), boundaries: None };
        d.memory(op, inputs(), outputs)?;
    }
    let (d_y, d_last) = (put(d, &numbers.vec(tokens * value))?, put(d, &numbers.vec(op.state_len()))?);
    let mut out = vec![
        ("y", get(d, &y)?),
        ("y alone", get(d, &alone)?),
        ("surprise", get(d, &surprise)?),
        ("state", get(d, &last)?),
        ("state that was only asked", get(d, &kept)?),
        // Of more columns than a panel a device may keep them in an order of its own.
        ("boundaries", if value <= 64 { get(d, &boundaries)? } else { Vec::new() }),
        ("clipped", vec![clipped as f64]),
    ];
    const ALL: [&str; 5] = ["d_k", "d_v", "d_q", "d_gates", "d_state"];
    const OF_Y: [&str; 5] = ["d_k of y", "d_v of y", "d_q of y", "d_gates of y", "d_state of y"];
    const OF_STATE: [&str; 5] =
        ["d_k of state", "d_v of state", "d_q of state", "d_gates of state", "d_state of state"];
    let given = [(ALL, Some(&d_y), Some(&d_last)), (OF_Y, Some(&d_y), None), (OF_STATE, None, Some(&d_last))];
    for (names, d_y, d_last) in given {
        let (mut d_k, mut d_v, mut d_q) = (d.alloc(tokens * key)?, d.alloc(tokens * value)?, d.alloc(tokens * key)?);
        let (mut d_gates, mut d_state) = (d.alloc(op.gates_len())?, d.alloc(op.state_len())?);
        let gradients = MemoryGradients {
            d_k: &mut d_k,
            d_v: &mut d_v,
            d_q: &mut d_q,
            d_gates: &mut d_gates,
            d_state: &mut d_state,
        };
        d.memory_vjp(op, inputs(), &boundaries, d_y, d_last, gradients)?;
        for (name, buffer) in names.into_iter().zip([&d_k, &d_v, &d_q, &d_gates, &d_state]) {
            out.push((name, get(d, buffer)?));
        }
    }
    if op.read_only && op.boundaries_len() == op.state_len() {
        let (mut d_q, mut d_state) = (d.alloc(tokens * key)?, put(d, &numbers.vec(op.state_len()))?);
        d.ask_vjp(op, inputs(), &boundaries, &d_y, &mut d_q, InputGradient::Add(&mut d_state))?;
        out.extend([("d_q of asking", get(d, &d_q)?), ("d_state of asking, added", get(d, &d_state)?)]);
    }
    Ok(out)
}

/// Weights of a network that keeps the size of its activations, γ and a momentum a tenth of it: a well-conditioned
/// problem, in which f32 has something to show.
pub(super) fn state(numbers: &mut NumberGenerator, op: &MemoryOp) -> Vec<f64> {
    let (spec, mut state) = (&op.spec, Vec::new());
    for _ in 0..op.batch * op.heads {
        for size in [1.0, 0.1] {
            for l in 0..spec.layers() {
                let (i, o) = spec.layer(l);
                state.extend(numbers.around(0.0, 2.0 * size / (i as f64).sqrt(), i * o));
            }
            state.extend(numbers.around(0.0, 0.5 * size, spec.gamma_len()));
        }
    }
    state
}

/// α, θ, η of every token: ordinary ones, and α = 1, η = 0, θ = 0 here and there.
pub(super) fn gates(numbers: &mut NumberGenerator, case: &MemoryCase) -> Vec<f64> {
    let (op, mut gates) = (&case.op, Vec::new());
    for t in 0..op.batch * op.time {
        for (gate, middle, half) in [(0, 0.2, 0.2), (1, case.theta, case.theta), (2, 0.5, 0.5)] {
            for (h, l) in (0..op.heads).flat_map(|h| (0..op.spec.gate_sets()).map(move |l| (h, l))) {
                let x = numbers.around(middle, half, 1)[0];
                gates.push(match (gate, (t + h + 2 * l) % 7) {
                    (0, 3) => 1.0,
                    (1, 5) | (2, 2) => 0.0,
                    _ => x,
                });
            }
        }
    }
    gates
}
