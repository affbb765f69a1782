//! One block: the mixer and the SwiGLU, each on the normalised residual stream.

use super::dropout::{Addition, Dropout};
use super::layout::Block;
use super::{Mode, Model};
use crate::device::Device;
use crate::error::Result;
use crate::tape::{ParamId, Shared, Tape, Var};

/// The sequences a mixer works on.
pub(super) struct Segment<'a, D: Device> {
    pub(super) batch: usize,
    pub(super) time: usize,
    pub(super) mode: Mode,
    pub(super) surprise: bool,
    /// Of this block.
    pub(super) dropout: Dropout,
    /// What this block's memories begin with, `[batch, heads, 2 P]`; none for w0. No gradient flows to it.
    pub(super) start: Option<&'a Shared<D>>,
}

impl<D: Device> Segment<'_, D> {
    /// The state before the first token.
    pub(super) fn state(&self, tape: &mut Tape<'_, D>, w0: ParamId) -> Result<Var<D>> {
        match self.start {
            Some(state) => Ok(Var::of(state.clone())),
            None => tape.memory_start(self.batch, w0),
        }
    }
}

/// What a mixer or a block gives.
pub(super) struct Mixed<D: Device> {
    pub(super) y: Var<D>,
    /// What the mixer's output is added to, where its layers before the last have added to the stream.
    pub(super) stream: Option<Var<D>>,
    pub(super) surprise: Option<D::Buffer>,
    pub(super) clipped: u64,
    /// The memories after the last token; none where they are absent.
    pub(super) state: Option<Var<D>>,
}

impl<D: Device> Mixed<D> {
    /// A mixer without memory, or with one that is absent.
    pub(super) fn of(y: Var<D>) -> Self {
        Self { y, stream: None, surprise: None, clipped: 0, state: None }
    }
}

impl<D: Device> Model<D> {
    /// The stream `x` after one block; `y` of what it gives is all of it.
    pub(super) fn block(
        &self,
        tape: &mut Tape<'_, D>,
        block: &Block,
        x: &Var<D>,
        segment: &Segment<'_, D>,
    ) -> Result<Mixed<D>> {
        let mut mixed = if !segment.mode.answers() && !block.kind.has_attention() {
            Mixed::of(x.clone())
        } else {
            let n = tape.rms_norm(x, block.w.norm)?;
            let mixed = self.mixer(tape, block, x, &n, segment)?;
            let y = tape.linear(&mixed.y, block.w.out, None)?;
            let y = segment.dropout.apply(tape, Addition::Mixer, y)?;
            Mixed { y: tape.add(mixed.stream.as_ref().unwrap_or(x), &y)?, stream: None, ..mixed }
        };
        let y = feed_forward(tape, block, &mixed.y)?;
        let y = segment.dropout.apply(tape, Addition::FeedForward, y)?;
        mixed.y = tape.add(&mixed.y, &y)?;
        Ok(mixed)
    }
}

/// SwiGLU(rms_norm(x)).
fn feed_forward<D: Device>(tape: &mut Tape<'_, D>, Block { w, .. }: &Block, x: &Var<D>) -> Result<Var<D>> {
    let n = tape.rms_norm(x, w.ff_norm)?;
    let up = tape.linear(&n, w.up, None)?;
    let gate = tape.linear(&n, w.ff_gate, None)?;
    let y = tape.silu_gate(&up, &gate)?;
    tape.linear(&y, w.down, None)
}
