//! The blocks written down once more, for whole sequences, with loops: `docs/MATH.md` section 6, in `f64`.
//!
//! Only the memory itself is the kernel's, in its token form, which has tests and golden vectors of its own.

use super::case::{Fed, ModelCase};
use super::plain::{Rows, l2, map, plus, rms, sigmoid, silu, times, zip};
use std::collections::HashMap;
use std::ops::Range;
use titans_kernel::memory::{Form, Gate, Mask, MemorySpec, Outputs, Read, Tokens, forward, forward_scratch_len};
use titans_kernel::model::{BlockSpec, Combine, GateSpan, Kind, MacFeed, MacRead, Mode, Wiring};
use titans_kernel::{Mat, MatMut, Portable};

/// One block with its parameters by name.
struct Block<'a> {
    spec: &'a BlockSpec,
    width: usize,
    mode: Mode,
    weights: HashMap<&'static str, Vec<f64>>,
}

/// What a memory layer is fed.
struct Heads {
    q: Rows,
    k: Rows,
    v: Rows,
    /// `[n][3 H L]`.
    gates: Rows,
}

impl Block<'_> {
    fn w(&self, name: &str) -> &[f64] {
        self.weights.get(name).map_or(&[], |w| w)
    }

    fn conv(&self, x: &Rows, name: &str) -> Rows {
        let taps = self.spec.conv_width;
        if taps == 0 || x.is_empty() {
            return x.clone();
        }
        let inner = x[0].len();
        let (w, bias) = (self.w(&format!("{name}.conv.weight")), self.w(&format!("{name}.conv.bias")));
        let at = |t: usize, c: usize| {
            let tap = |j: usize| (t + j + 1).checked_sub(taps).map_or(0.0, |s| w[c * taps + j] * x[s][c]);
            bias[c] + (0..taps).map(tap).sum::<f64>()
        };
        (0..x.len()).map(|t| (0..inner).map(|c| at(t, c)).collect()).collect()
    }

    fn project(&self, u: &Rows, name: &str) -> Rows {
        map(&self.conv(&times(u, self.w(&format!("{name}.weight")), self.spec.inner()), name), silu)
    }

    fn heads(&self, u: &Rows) -> Heads {
        self.heads_of([u, u, u])
    }

    /// Of the rows that queries, keys, and values with the gates come from.
    fn heads_of(&self, [u_q, u_k, u]: [&Rows; 3]) -> Heads {
        let s = self.spec;
        let columns = s.heads * s.memory.gate_sets();
        let logits = plus(&times(u, self.w("mixer.gates.weight"), 3 * columns), self.w("mixer.gates.bias"));
        let on = |is: bool| if is { 1.0 } else { 0.0 };
        let scale = [on(s.forgetting), s.theta_max, s.eta_max * on(s.momentum)];
        let mut gates = map(&logits, sigmoid);
        for row in &mut gates {
            for (i, x) in row.iter_mut().enumerate() {
                *x *= scale[i / columns];
            }
        }
        if s.gate_span == GateSpan::Chunk {
            gates = (0..gates.len()).map(|t| gates[t - t % s.memory.chunk].clone()).collect();
        }
        let q = l2(&self.project(u_q, "mixer.q"), s.head_width);
        Heads { q, k: l2(&self.project(u_k, "mixer.k"), s.head_width), v: self.project(u, "mixer.v"), gates }
    }

    /// Rows of a range through the memory of head h; `state` goes on. (answers, surprise)
    fn memory(
        &self,
        x: &Heads,
        h: usize,
        rows: Range<usize>,
        read: Read,
        writes: bool,
        state: &mut [f64],
    ) -> (Rows, Vec<f64>) {
        let (d, heads, n) = (self.spec.head_width, self.spec.heads, rows.len());
        let cut =
            |x: &Rows| x[rows.clone()].iter().flat_map(|row| row[h * d..(h + 1) * d].to_vec()).collect::<Vec<_>>();
        let sets = self.spec.memory.gate_sets();
        let own = |i: usize| move |row: &Vec<f64>| row[(i * heads + h) * sets..][..sets].to_vec();
        let gate = |i: usize| x.gates[rows.clone()].iter().flat_map(own(i)).collect::<Vec<_>>();
        let (q, k, v, alpha, theta, eta) = (cut(&x.q), cut(&x.k), cut(&x.v), gate(0), gate(1), gate(2));
        let tokens = Tokens {
            k: Mat::new(&k, n, d).unwrap(),
            v: Mat::new(&v, n, d).unwrap(),
            q: Mat::new(&q, n, d).unwrap(),
            alpha: Gate::strided_tokens(&alpha, sets).layers(sets, 1),
            theta: Gate::strided_tokens(&theta, sets).layers(sets, 1),
            eta: Gate::strided_tokens(&eta, sets).layers(sets, 1),
            mask: if writes && self.mode == Mode::On { Mask::Write } else { Mask::ReadOnly },
        };
        let spec: &MemorySpec = &self.spec.memory;
        let (mut y, mut surprise) = (vec![f64::NAN; n * d], vec![f64::NAN; n]);
        let mut scratch = vec![f64::NAN; forward_scratch_len(spec, Form::Token)];
        let out = MatMut::new(&mut y, n, d).unwrap();
        forward(
            &Portable,
            spec,
            Form::Token,
            read,
            &tokens,
            Outputs { state, y: out, surprise: Some(&mut surprise), boundaries: None },
            &mut scratch,
        )
        .unwrap();
        (y.chunks(d).map(<[f64]>::to_vec).collect(), surprise)
    }

    fn start(&self, h: usize) -> Vec<f64> {
        let p = self.spec.memory.params();
        let mut state = self.w("mixer.memory.w0")[h * p..(h + 1) * p].to_vec();
        state.resize(2 * p, 0.0);
        state
    }

    /// r and the surprises of rows u.
    fn layer(&self, u: &Rows) -> (Rows, Rows) {
        let (n, inner, heads) = (u.len(), self.spec.inner(), self.spec.heads);
        let (mut r, mut surprise) = (vec![vec![]; n], vec![vec![]; n]);
        if self.mode == Mode::Absent {
            return (vec![vec![0.0; inner]; n], vec![vec![0.0; heads]; n]);
        }
        let x = self.heads(u);
        for h in 0..heads {
            let (y, s) = self.memory(&x, h, 0..n, self.spec.read, true, &mut self.start(h));
            (0..n).for_each(|t| r[t].extend(&y[t]));
            (0..n).for_each(|t| surprise[t].push(s[t]));
        }
        (r, surprise)
    }

    /// x rotated by each row's position.
    fn rotate(&self, x: &Rows, position: impl Fn(usize) -> f64) -> Rows {
        let (c, base) = (self.spec.attention_width(), self.spec.rotary);
        let turn = |t: usize, x: &[f64]| {
            let mut y = x.to_vec();
            for i in 0..c / 2 {
                let (sin, cos) = (position(t) * base.powf(-2.0 * i as f64 / c as f64)).sin_cos();
                (y[i], y[i + c / 2]) = (x[i] * cos - x[i + c / 2] * sin, x[i] * sin + x[i + c / 2] * cos);
            }
            y
        };
        if base == 0.0 {
            return x.clone();
        }
        x.iter().enumerate().map(|(t, row)| row.chunks(c).flat_map(|x| turn(t, x)).collect()).collect()
    }

    fn keys_values(&self, z: &Rows) -> (Rows, Rows) {
        let kv = self.spec.kv_heads * self.spec.attention_width();
        (times(z, self.w("mixer.attention.k.weight"), kv), times(z, self.w("mixer.attention.v.weight"), kv))
    }

    /// Attention of z's rows; `context` rows lie beside them.
    fn attend(&self, z: &Rows, persistent: &Rows, context: Option<&Rows>) -> Rows {
        let (s, c) = (self.spec, self.spec.attention_width());
        let period = |i: usize| if s.kind == Kind::Mac { i % s.segment } else { i } as f64;
        let own = |x: Rows, name: &str| if s.wiring == Wiring::Residual { self.conv(&x, name) } else { x };
        let q = own(times(z, self.w("mixer.attention.q.weight"), s.inner()), "mixer.attention.q");
        let turned = self.rotate(&q, period);
        let (k, v) = self.keys_values(z);
        let (k, v) = (own(k, "mixer.attention.k"), own(v, "mixer.attention.v"));
        let k = self.rotate(&k, period);
        let (pk, pv) = self.keys_values(persistent);
        let (ck, cv) = context.map(|h| self.keys_values(h)).unwrap_or_default();
        let ck = self.rotate(&ck, |j| (j % s.segment) as f64 - s.segment as f64);
        let row = |i: usize| {
            let first = if s.kind == Kind::Mac { i - i % s.segment } else { (i + 1).saturating_sub(s.window) };
            let head = |h: usize| {
                let (at, kv) = (h * c, h / (s.attention_heads / s.kv_heads) * c);
                let score =
                    |q: &Rows, k: &[f64]| (0..c).map(|x| q[i][at + x] * k[kv + x]).sum::<f64>() / (c as f64).sqrt();
                let mut seen: Vec<(f64, &Vec<f64>)> = pk.iter().zip(&pv).map(|(k, v)| (score(&q, k), v)).collect();
                if context.is_some() {
                    seen.extend((first..=i).map(|j| (score(&turned, &ck[j]), &cv[j])));
                }
                seen.extend((first..=i).map(|j| (score(&turned, &k[j]), &v[j])));
                let sum: f64 = seen.iter().map(|(s, _)| s.exp()).sum();
                (0..c).map(|x| seen.iter().map(|(s, v)| s.exp() / sum * v[kv + x]).sum()).collect::<Vec<f64>>()
            };
            (0..s.attention_heads).flat_map(head).collect()
        };
        let a: Rows = (0..z.len()).map(row).collect();
        if s.wiring == Wiring::Letter {
            return a;
        }
        let a = rms(&a, self.w("mixer.attention.read.norm.weight"));
        match self.w("mixer.attention.gate.weight") {
            [] => a,
            gate => zip(&a, &times(z, gate, s.inner()), |a, g| a * silu(g)),
        }
    }

    fn combine(&self, a: &Rows, m: &Rows) -> Rows {
        let f = match self.spec.combine {
            Combine::Product => |a, m| silu(a) * silu(m),
            Combine::Silu => |a, m| a * silu(m),
            Combine::Sigmoid => |a, m| a * sigmoid(m),
            Combine::Sum => |a, m| a + m,
            Combine::Gated | Combine::Gates => unreachable!("no product"),
        };
        zip(a, m, f)
    }

    fn gated(&self, r: &Rows, u: &Rows) -> Rows {
        let gate = times(u, self.w("mixer.gate.weight"), self.spec.inner());
        zip(&rms(r, self.w("mixer.norm.weight")), &gate, |r, g| r * silu(g))
    }

    /// What the mixer adds to x in all, and the surprises; n is x normalised.
    fn mixer(&self, x: &Rows, n: &Rows) -> (Rows, Rows) {
        let persistent: Rows = self.w("mixer.persistent").chunks(self.width).map(<[f64]>::to_vec).collect();
        let np = persistent.len();
        let all: Rows = persistent.iter().chain(n).cloned().collect();
        let out = |x: &Rows| times(x, self.w("mixer.out.weight"), self.width);
        let combined = |a: &Rows, r: &Rows| {
            let a = rms(a, self.w("mixer.combine.attention.weight"));
            out(&self.combine(&a, &rms(r, self.w("mixer.combine.memory.weight"))))
        };
        let plus = |x: &Rows, y: &Rows| zip(x, y, |x, y| x + y);
        let residual = self.spec.wiring == Wiring::Residual;
        match self.spec.kind {
            Kind::Mag if residual => {
                let (r, surprise) = self.layer(n);
                let a = self.attend(n, &persistent, None);
                if self.spec.combine == Combine::Gates {
                    return (out(&plus(&a, &self.gated(&r, n))), surprise);
                }
                let sum = plus(&a, &rms(&r, self.w("mixer.norm.weight")));
                let gate = times(n, self.w("mixer.gate.weight"), self.spec.inner());
                (out(&zip(&sum, &gate, |x, g| x * silu(g))), surprise)
            }
            Kind::Mal if residual => {
                let (r, surprise) = self.layer(n);
                let said = times(&self.gated(&r, n), self.w("mixer.memory.out.weight"), self.width);
                let z = rms(&plus(x, &said), self.w("mixer.attention.norm.weight"));
                (plus(&said, &out(&self.attend(&z, &persistent, None))), surprise)
            }
            Kind::Lmm => {
                let (r, surprise) = self.layer(&all);
                (out(&self.gated(&r[np..].to_vec(), n)), surprise[np..].to_vec())
            }
            Kind::Mag => {
                let (r, surprise) = self.layer(&all);
                let a = self.attend(n, &persistent, None);
                (combined(&a, &r[np..].to_vec()), surprise[np..].to_vec())
            }
            Kind::Mal => {
                let (r, surprise) = self.layer(&all);
                let z = times(&self.gated(&r, &all), self.w("mixer.memory.out.weight"), self.width);
                let z = rms(&z, self.w("mixer.attention.norm.weight"));
                let a = self.attend(&z[np..].to_vec(), &z[..np].to_vec(), None);
                (out(&a), surprise[np..].to_vec())
            }
            Kind::Attention => (out(&self.attend(n, &persistent, None)), vec![vec![]; n.len()]),
            Kind::Mac => self.mac(x, n, &persistent, out),
        }
    }

    /// Token by token, each with everything before it computed anew up to its segment: the weights of a segment's start
    /// are those after all tokens before it.
    fn mac(&self, x: &Rows, n: &Rows, persistent: &Rows, out: impl Fn(&Rows) -> Rows) -> (Rows, Rows) {
        let (s, heads, absent) = (self.spec, self.spec.heads, self.mode == Mode::Absent);
        let qh = l2(&self.project(n, "mixer.context.q"), s.head_width);
        let mut states: Vec<_> = (0..heads).map(|h| self.start(h)).collect();
        let residual = s.wiring == Wiring::Residual;
        let (mut h, mut said, mut y): (Rows, Rows, Rows) = (vec![], vec![], vec![]);
        let (mut r, mut surprise): (Rows, Rows) = (vec![], vec![]);
        for from in (0..n.len()).step_by(s.segment) {
            let to = (from + s.segment).min(n.len());
            let ask = |q: &Rows, states: &[Vec<f64>]| -> Rows {
                let mut r = vec![vec![]; to - from];
                for (head, state) in states.iter().enumerate() {
                    let gates = vec![vec![0.0; 3 * heads * s.memory.gate_sets()]; q.len()];
                    let x = Heads { q: q.clone(), k: q.clone(), v: q.clone(), gates };
                    let (y, _) = self.memory(&x, head, from..to, Read::ChunkStart, false, &mut state.clone());
                    (0..to - from).for_each(|t| r[t].extend(&y[t]));
                }
                if absent { map(&r, |_| 0.0) } else { r }
            };
            let context = rms(&ask(&qh, &states), self.w("mixer.context.norm.weight"));
            h.extend(times(&context, self.w("mixer.context.out.weight"), self.width));
            let a = self.attend(&n[..to].to_vec(), persistent, Some(&h));
            if residual {
                said = times(&a, self.w("mixer.attention.out.weight"), self.width);
                y = rms(&zip(&x[..to].to_vec(), &said, |x, y| x + y), self.w("mixer.memory.norm.weight"));
            } else {
                y = rms(&a, self.w("mixer.combine.attention.weight"));
            }
            let n = n[..to].to_vec();
            let x = match s.mac_feed {
                MacFeed::Split if residual => self.heads_of([&n, &n, &y]),
                MacFeed::Tokens if residual => self.heads(&n),
                _ => self.heads(&y),
            };
            let asked = ask(&x.q, &states);
            let (mut answers, mut losses) = (vec![vec![]; to - from], vec![vec![]; to - from]);
            for (head, state) in states.iter_mut().enumerate() {
                let (answer, loss) = self.memory(&x, head, from..to, s.read, true, state);
                (0..to - from).for_each(|t| answers[t].extend(&answer[t]));
                (0..to - from).for_each(|t| losses[t].push(if absent { 0.0 } else { loss[t] }));
            }
            let answers = if absent { map(&answers, |_| 0.0) } else { answers };
            r.extend(match s.mac_read {
                MacRead::Segment => asked,
                MacRead::After => answers,
            });
            surprise.extend(losses);
        }
        if residual {
            return (zip(&said, &out(&self.gated(&r, &y)), |x, y| x + y), surprise);
        }
        (out(&self.combine(&y, &rms(&r, self.w("mixer.combine.memory.weight")))), surprise)
    }

    fn forward(&self, x: &Rows) -> (Rows, Rows) {
        let (y, surprise) = self.mixer(x, &rms(x, self.w("norm.weight")));
        let x = zip(x, &y, |x, y| x + y);
        let n = rms(&x, self.w("feed_forward.norm.weight"));
        let up = times(&n, self.w("feed_forward.up.weight"), self.spec.feed_forward);
        let gate = times(&n, self.w("feed_forward.gate.weight"), self.spec.feed_forward);
        let y = times(&zip(&up, &gate, |u, g| u * silu(g)), self.w("feed_forward.down.weight"), self.width);
        (zip(&x, &y, |x, y| x + y), surprise)
    }
}

/// Outputs and surprises of a whole sequence.
pub fn outputs(case: &ModelCase, mode: Mode, fed: &Fed<f64>) -> (Rows, Rows) {
    let (numbers, width) = (case.numbers(), case.spec.width);
    let (mut at, mut own) = (0, HashMap::new());
    let mut blocks: Vec<HashMap<&'static str, Vec<f64>>> = vec![HashMap::new(); case.blocks.len()];
    case.spec.tensors(&case.blocks, |block, tensor| {
        let values = numbers[at..at + tensor.numbers()].to_vec();
        at += tensor.numbers();
        block.map_or(&mut own, |i| &mut blocks[i]).insert(tensor.name, values);
    });
    assert_eq!(at, numbers.len());
    let table = &own["embedding.weight"];
    let mut x: Rows = match fed {
        Fed::Tokens(ids) => ids.iter().map(|&id| table[id as usize * width..][..width].to_vec()).collect(),
        Fed::Rows(rows, size) => {
            let rows: Rows = rows.chunks(*size).map(<[f64]>::to_vec).collect();
            plus(&times(&rows, table, width), &own["embedding.bias"])
        }
    };
    let passed = match (fed, own.get("shortcut.weight")) {
        (Fed::Rows(rows, size), Some(shortcut)) => {
            let rows: Rows = rows.chunks(*size).map(<[f64]>::to_vec).collect();
            times(&rows, shortcut, case.spec.outputs)
        }
        _ => vec![vec![0.0; case.spec.outputs]; x.len()],
    };
    let mut surprise = vec![vec![]; x.len()];
    for (spec, weights) in case.blocks.iter().zip(blocks) {
        let (y, losses) = Block { spec, width, mode, weights }.forward(&x);
        x = y;
        surprise.iter_mut().zip(losses).for_each(|(all, losses)| all.extend(losses));
    }
    let x = rms(&x, &own["norm.weight"]);
    let outputs = case.spec.outputs;
    let turned = |w: &[f64]| (0..width * outputs).map(|i| w[i % outputs * width + i / outputs]).collect::<Vec<_>>();
    let y = times(&x, &if case.spec.tied { turned(table) } else { own["head.weight"].clone() }, outputs);
    let y = own.get("head.bias").map_or(y.clone(), |bias| plus(&y, bias));
    (zip(&y, &passed, |y, s| y + s), surprise)
}
