//! Memory as context in the residual wiring: attention adds to the stream, and the memory to what that gives.
//!
//! Everything that comes from the tokens alone is computed for all segments at once.

use super::answers;
use super::mac::{Place, Tails, carry_on};
use super::memory::project;
use crate::device::Device;
use crate::error::Result;
use crate::model::block::{Mixed, Segment};
use crate::model::dropout::Addition;
use crate::model::layout::{AttentionParams, Block, ContextParams, MacParams, MemoryParams};
use crate::model::{MacFeed, MacRead, MemoryMode, Model};
use crate::tape::{Tape, Var};

/// The mixer's parameters.
pub(super) struct Parts<'a> {
    pub(super) context: &'a ContextParams,
    pub(super) attention: &'a AttentionParams,
    pub(super) memory: &'a MemoryParams,
    pub(super) own: &'a MacParams,
}

/// What the memory is fed that comes from the tokens: queries (normalised), keys (normalised), values, gates.
struct Fed<D: Device> {
    qk: Option<[Var<D>; 2]>,
    v_gates: Option<[Var<D>; 2]>,
}

/// What goes from one segment to the next.
struct Carried<D: Device> {
    memory: Option<Var<D>>,
    tails: Tails<D>,
}

impl<D: Device> Model<D> {
    pub(super) fn mac_residual(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        p: &Parts<'_>,
        [x, n]: [&Var<D>; 2],
        segment: &Segment,
    ) -> Result<Mixed<D>> {
        let (batch, time, inner, width) = (segment.batch, segment.time, self.config.inner(), self.config.width);
        let tokens = self.mac_tokens(tape, block, (p.context, p.attention), n, segment)?;
        let gate = p.attention.gate.map(|gate| tape.linear(n, gate, None)).transpose()?;
        let remembers = answers(segment.mode);
        let fed = self.fed(tape, p, n, segment)?;
        let memory = if remembers { Some(tape.memory_start(batch, p.memory.w0)?) } else { None };
        let mut carried = Carried { memory, tails: [None, None, None] };
        let (mut xs, mut ys) = (tape.assemble(batch, time, width)?, tape.assemble(batch, time, width)?);
        let mut rs = tape.assemble(batch, time, inner)?;
        let mut surprise = if segment.surprise && remembers {
            Some(tape.device().alloc(batch * time * self.config.heads)?)
        } else {
            None
        };
        let mut clipped = 0;
        for place in self.places(segment) {
            let &Place { from, time: rows, .. } = &place;
            let a = self.attend_in_context(tape, (p.context, p.attention), &tokens, &place, carried.memory.as_ref())?;
            let a = match p.attention.norm {
                Some(norm) => tape.rms_norm(&a, norm)?,
                None => a,
            };
            let a = match &gate {
                Some(gate) => {
                    let gate = tape.slice(gate, batch, from, rows, inner)?;
                    tape.silu_gate(&a, &gate)?
                }
                None => a,
            };
            let a = tape.linear(&a, p.own.out, None)?;
            let a = segment.dropout.apply(tape, Addition::First(from as u64), a)?;
            let stream = tape.slice(x, batch, from, rows, width)?;
            let stream = tape.add(&stream, &a)?;
            let y = tape.rms_norm(&stream, p.own.norm)?;
            let r = match carried.memory.take() {
                None => self.nothing(tape, batch * rows * inner)?,
                Some(memory) => {
                    let read = self.write_and_ask(tape, p, &fed, &y, &place, memory, &mut carried, segment)?;
                    clipped += read.clipped;
                    if let (Some(part), Some(all)) = (read.surprise, &mut surprise) {
                        self.keep_surprise(tape, &place, time, &part, all)?;
                    }
                    read.y
                }
            };
            xs.place(tape, from, rows, &stream)?;
            ys.place(tape, from, rows, &y)?;
            rs.place(tape, from, rows, &r)?;
        }
        let (stream, y, r) = (xs.finish(tape)?, ys.finish(tape)?, rs.finish(tape)?);
        Ok(Mixed { y: self.read_out(tape, &p.own.read, &r, &y)?, stream: Some(stream), surprise, clipped })
    }

    /// What the memory is fed of the tokens.
    fn fed(&self, tape: &mut Tape<'_, D>, p: &Parts<'_>, n: &Var<D>, segment: &Segment) -> Result<Fed<D>> {
        let (batch, feed) = (segment.batch, self.config.attention.feed);
        if !answers(segment.mode) {
            return Ok(Fed { qk: None, v_gates: None });
        }
        let qk = if feed == MacFeed::Output {
            None
        } else {
            let q = project(tape, batch, n, &p.memory.q)?;
            let k = project(tape, batch, n, &p.memory.k)?;
            Some([tape.l2_norm(self.config.head_width, &q)?, tape.l2_norm(self.config.head_width, &k)?])
        };
        let v_gates = if feed == MacFeed::Tokens {
            Some([project(tape, batch, n, &p.memory.v)?, self.gates(tape, p.memory, n, batch)?])
        } else {
            None
        };
        Ok(Fed { qk, v_gates })
    }

    /// The memory writes a segment and answers it. What it becomes goes to `carried`.
    fn write_and_ask(
        &self,
        tape: &mut Tape<'_, D>,
        p: &Parts<'_>,
        fed: &Fed<D>,
        y: &Var<D>,
        place: &Place,
        memory: Var<D>,
        carried: &mut Carried<D>,
        segment: &Segment,
    ) -> Result<Mixed<D>> {
        let (&Place { batch, from, time, .. }, c) = (place, &self.config);
        let inner = c.inner();
        let [q_tail, k_tail, v_tail] = &mut carried.tails;
        let [q, k] = match &fed.qk {
            Some(qk) => {
                let [q, k] = [&qk[0], &qk[1]].map(|x| tape.slice(x, batch, from, time, inner));
                [q?, k?]
            }
            None => {
                let q = carry_on(tape, place, inner, y, &p.memory.q, q_tail)?;
                let k = carry_on(tape, place, inner, y, &p.memory.k, k_tail)?;
                [tape.l2_norm(c.head_width, &q)?, tape.l2_norm(c.head_width, &k)?]
            }
        };
        let [v, gates] = match &fed.v_gates {
            Some([v, gates]) => {
                [tape.slice(v, batch, from, time, inner)?, tape.slice(gates, batch, from, time, 3 * c.heads)?]
            }
            None => [carry_on(tape, place, inner, y, &p.memory.v, v_tail)?, self.gates(tape, p.memory, y, batch)?],
        };
        let op = self.memory_op(batch, time, segment.mode == MemoryMode::Frozen);
        let read = tape.memory(&op, &k, &v, &q, &gates, &memory, segment.surprise)?;
        let r = match c.attention.read {
            MacRead::After => read.y,
            MacRead::Segment => self.ask(tape, &q, &memory, batch, time)?,
        };
        carried.memory = Some(read.state);
        Ok(Mixed { y: r, stream: None, surprise: read.surprise, clipped: read.clipped })
    }
}
