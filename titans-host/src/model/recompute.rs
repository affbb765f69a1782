//! Going back through the model with the blocks' inputs alone kept: each block is computed again when its turn comes.

use super::block::Segment;
use super::{Input, Model, Targets};
use crate::device::{Boundaries, Device};
use crate::error::Result;
use crate::tape::{Gradients, Losses, Shared, Tape, Var, Workspace};
use std::fmt;

/// What such a backward leaves for the next one.
pub struct Recompute<D: Device> {
    tape: Workspace<D>,
    /// The blocks' inputs.
    kept: Vec<Shared<D>>,
}

impl<D: Device> Recompute<D> {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { tape: Workspace::new(), kept: Vec::new() }
    }
}

impl<D: Device> Default for Recompute<D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D: Device> fmt::Debug for Recompute<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recompute").field("kept", &self.kept.len()).finish_non_exhaustive()
    }
}

/// What [`Model::backward_recomputed`] goes back from: `scale · Σ losses` of predicting `targets`.
pub struct Aim<'a, D: Device> {
    /// What is to be predicted.
    pub targets: Targets<'a, D>,
    /// By what the losses' gradients are multiplied.
    pub scale: f64,
    /// What the blocks' memories keep while one of them is computed again.
    pub boundaries: Boundaries,
}

impl<D: Device> fmt::Debug for Aim<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aim").field("scale", &self.scale).field("boundaries", &self.boundaries).finish_non_exhaustive()
    }
}

impl<D: Device> Model<D> {
    /// Adds to `gradients` the gradient of what `aim` says, to the bit what recording [`Model::forward`] as a whole
    /// gives, with the activations of one block at a time: of x_{i+1} = f_i(x_i) only the x_i are kept, and x̄_i =
    /// (∂f_i/∂x_i)ᵀ x̄_{i+1} is found by recording f_i anew. `seen` is shown the logits and the losses.
    /// `input.surprise` and `input.states` are not looked at.
    ///
    /// # Errors
    /// As [`Model::forward`] and [`Tape::backward`]; what `seen` says.
    pub fn backward_recomputed(
        &self,
        device: &D,
        space: &mut Recompute<D>,
        input: &Input<'_, D>,
        Aim { targets, scale, boundaries }: Aim<'_, D>,
        gradients: &mut Gradients<D>,
        seen: impl FnOnce(&Var<D>, &Losses<D>) -> Result<()>,
    ) -> Result<()> {
        let (source, rows) = (input.source, input.rows()?);
        let Input { batch, time, mode, dropout, start, .. } = *input;
        self.check_start(input)?;
        let segment = |i| {
            let (dropout, start) = (dropout.of_block(i), self.start(start, i));
            Segment { batch, time, mode, surprise: false, dropout, start }
        };
        let Recompute { tape: space, kept } = space;
        kept.clear();

        let mut tape = Tape::inference_in(device, &self.params, space);
        let mut x = self.read(&mut tape, source, rows)?.share();
        for (i, block) in self.layout.blocks.iter().enumerate() {
            kept.push(x.clone());
            x = self.block(&mut tape, block, &Var::of(x), &segment(i))?.y.share();
        }
        drop(tape);

        let mut tape = Tape::recording_in(device, &self.params, space);
        let x = tape.input(x);
        let logits = self.head(&mut tape, &x, source)?;
        let losses = self.loss(&mut tape, &logits, targets)?;
        seen(&logits, &losses)?;
        drop(logits);
        let mut d_x = tape.backward_to(&losses, scale, gradients, Some(&x))?;
        drop((x, losses));

        for (i, block) in self.layout.blocks.iter().enumerate().rev() {
            let (Some(x), Some(d_y)) = (kept.pop(), d_x) else { return Ok(()) };
            let mut tape = Tape::recording_in(device, &self.params, space);
            tape.keep_boundaries(boundaries);
            let x = tape.input(x);
            let y = self.block(&mut tape, block, &x, &segment(i))?.y;
            d_x = tape.backward_through(&y, d_y, gradients, Some(&x))?;
        }
        let Some(d_x) = d_x else { return Ok(()) };
        let mut tape = Tape::recording_in(device, &self.params, space);
        let x = self.read(&mut tape, source, rows)?;
        tape.backward_through(&x, d_x, gradients, None).map(|_| ())
    }
}
