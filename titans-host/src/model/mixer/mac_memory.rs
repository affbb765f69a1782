//! MAC's memory, segment by segment: what it is fed, its writes and its answers.

use super::mac::SegmentPlace;
use super::memory::project;
use crate::device::Device;
use crate::error::Result;
use crate::model::block::{Mixed, Segment};
use crate::model::layout::Block;
use crate::model::{MacRead, Mode, Model};
use crate::tape::{CutParts, MemoryVars, ParamId, Tape, Var};
use titans_kernel::model::Projection;

/// The last inputs of the convolutions on q, k and v, and how many rows they are.
type Tails<D> = [Option<(Var<D>, usize)>; 3];

/// What goes from one segment to the next.
pub(super) struct Carried<D: Device> {
    pub(super) memory: Option<Var<D>>,
    /// Gates of tokens that only ask: zeros, of segments of one length.
    pub(super) gates: Option<Var<D>>,
    tails: Tails<D>,
}

impl<D: Device> Carried<D> {
    /// Before the first segment.
    pub(super) fn start(tape: &mut Tape<'_, D>, block: &Block, segment: &Segment<'_, D>) -> Result<Self> {
        let memory = if segment.mode.answers() { Some(segment.state(tape, block.w.w0)?) } else { None };
        Ok(Self { memory, gates: None, tails: [None, None, None] })
    }
}

/// What the memory is fed that comes from the tokens, in segments: queries (normalised), keys (normalised), values,
/// gates. Nothing: all comes from behind attention.
#[derive(Clone, Copy, Default)]
pub(super) struct Fed {
    qk: Option<[CutParts; 2]>,
    v_gates: Option<[CutParts; 2]>,
}

impl<D: Device> Model<D> {
    /// What the memory is fed of the tokens.
    pub(super) fn fed(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        n: &Var<D>,
        segment: &Segment<'_, D>,
    ) -> Result<Fed> {
        let (batch, feed) = (segment.batch, self.config.attention.feed);
        if !segment.mode.answers() {
            return Ok(Fed::default());
        }
        let [q, k, v] = &block.w.memory;
        let of_heads = self.cut(segment, self.config.inner());
        let qk = if !feed.keys_are_of_tokens() {
            None
        } else {
            let q = project(tape, batch, n, q)?;
            let k = project(tape, batch, n, k)?;
            let [q, k] = [tape.l2_norm(self.config.head_width, &q)?, tape.l2_norm(self.config.head_width, &k)?];
            Some([tape.split(&q, of_heads)?, tape.split(&k, of_heads)?])
        };
        let v_gates = if feed.values_are_of_tokens() {
            let (v, gates) = (project(tape, batch, n, v)?, self.gates(tape, block, n, batch)?);
            let of_gates = self.cut(segment, self.config.gates_width());
            Some([tape.split(&v, of_heads)?, tape.split(&gates, of_gates)?])
        } else {
            None
        };
        Ok(Fed { qk, v_gates })
    }

    /// The memory writes a segment and answers it. What it becomes goes to `carried`; where there is none the answer is
    /// 0.
    pub(super) fn write_and_ask(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        fed: Fed,
        y: &Var<D>,
        (place, segment): (&SegmentPlace, &Segment<'_, D>),
        carried: &mut Carried<D>,
    ) -> Result<Mixed<D>> {
        let (&SegmentPlace { number, batch, time, .. }, c) = (place, &self.config);
        let inner = c.inner();
        let Some(memory) = carried.memory.take() else {
            return Ok(Mixed::of(self.nothing(tape, batch * time * inner)?));
        };
        let [wq, wk, wv] = &block.w.memory;
        let [q_tail, k_tail, v_tail] = &mut carried.tails;
        let [q, k] = match fed.qk {
            Some([q, k]) => [tape.part(q, number)?, tape.part(k, number)?],
            None => {
                let q = carry_on(tape, place, inner, y, wq, q_tail)?;
                let k = carry_on(tape, place, inner, y, wk, k_tail)?;
                [tape.l2_norm(c.head_width, &q)?, tape.l2_norm(c.head_width, &k)?]
            }
        };
        let [v, gates] = match fed.v_gates {
            Some([v, gates]) => [tape.part(v, number)?, tape.part(gates, number)?],
            None => [carry_on(tape, place, inner, y, wv, v_tail)?, self.gates(tape, block, y, batch)?],
        };
        let op = self.memory_op(batch, time, segment.mode);
        let read =
            tape.memory(&op, MemoryVars { k: &k, v: &v, q: &q, gates: &gates, state: &memory }, segment.surprise)?;
        let r = match c.attention.read {
            MacRead::After => read.y,
            MacRead::Segment => self.ask(tape, &q, &memory, place, &mut carried.gates)?,
        };
        carried.memory = Some(read.state);
        Ok(Mixed { y: r, stream: None, surprise: read.surprise, clipped: read.clipped, state: None })
    }

    /// M(q) with the weights of one state, for a segment's rows. `gates` holds what a segment before was given.
    pub(super) fn ask(
        &self,
        tape: &mut Tape<'_, D>,
        q: &Var<D>,
        memory: &Var<D>,
        &SegmentPlace { batch, time, .. }: &SegmentPlace,
        gates: &mut Option<Var<D>>,
    ) -> Result<Var<D>> {
        let mut op = self.memory_op(batch, time, Mode::Frozen);
        op.spec.compute_chunk = 0; // that of the configuration may divide no such chunk
        op.spec.chunk = time.max(2); // one boundary for the backward; chunks of one would have sums of their own
        // Nothing is written, so gates say nothing.
        let of_segment = gates.take().filter(|gates| tape.device().len(gates.buffer()) == op.gates_len());
        let zeros = match of_segment {
            Some(zeros) => zeros,
            None => self.nothing(tape, op.gates_len())?,
        };
        *gates = Some(zeros.clone());
        tape.ask(&op, q, &zeros, memory)
    }
}

/// A linear map, the convolution and SiLU of a segment's rows: the convolution goes on from the segment before, and so
/// does its gradient. `tail` becomes the next segment's.
fn carry_on<D: Device>(
    tape: &mut Tape<'_, D>,
    place: &SegmentPlace,
    inner: usize,
    x: &Var<D>,
    p: &Projection<ParamId, ParamId>,
    tail: &mut Option<(Var<D>, usize)>,
) -> Result<Var<D>> {
    let &SegmentPlace { batch, time, history, .. } = place;
    let x = tape.linear(x, p.weight, None)?;
    let Some(conv) = p.conv.some() else { return tape.silu(&x) };
    let before = tail.take();
    if before.as_ref().is_some_and(|(_, rows)| (*rows).min(time) < history) {
        return carry_on_shorter(tape, place, inner, (&x, before), (conv, p.bias), tail);
    }
    let y = tape.conv(batch, &x, before.as_ref().map(|(rows, _)| rows), conv, p.bias)?;
    *tail = (history > 0).then_some((x, time));
    tape.silu(&y)
}

/// The same where this segment or the one before is shorter than what the convolution sees: rows of several segments
/// stand before the next.
fn carry_on_shorter<D: Device>(
    tape: &mut Tape<'_, D>,
    place: &SegmentPlace,
    inner: usize,
    (x, before): (&Var<D>, Option<(Var<D>, usize)>),
    (conv, bias): (ParamId, ParamId),
    tail: &mut Option<(Var<D>, usize)>,
) -> Result<Var<D>> {
    let &SegmentPlace { batch, time, history, .. } = place;
    let Some((before, rows)) = before else { return tape.silu(x) };
    let mut all = tape.assemble(batch, rows + time, inner)?;
    all.place(tape, 0, rows, &before)?;
    all.place(tape, rows, time, x)?;
    let all = all.finish(tape)?;
    let kept = history.min(rows + time);
    *tail = Some((tape.slice(&all, batch, rows + time - kept, kept, inner)?, kept));
    let y = tape.conv(batch, &all, None, conv, bias)?;
    let y = tape.slice(&y, batch, rows, time, inner)?;
    tape.silu(&y)
}
