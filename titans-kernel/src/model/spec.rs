//! What a model is, but for its blocks, and the order of all parameters.

use crate::block::{BlockSpec, LIMIT, Visit, WeightSource, rule};
use crate::error::Result;
use crate::scalar::Scalar;
use crate::view::Mat;

/// Most blocks of a model.
pub const MAX_BLOCKS: usize = 4096;

/// What a model reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Token ids below the vocabulary's size.
    Tokens(usize),
    /// Rows of so many numbers.
    Rows(usize),
}

impl Input {
    /// Size of the vocabulary, or numbers in a row.
    pub const fn size(self) -> usize {
        match self {
            Self::Tokens(n) | Self::Rows(n) => n,
        }
    }
}

/// A model around its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelSpec {
    /// What it reads.
    pub input: Input,
    /// Numbers in a row of its outputs: logits or predictions.
    pub outputs: usize,
    /// Whether the head has a bias (regression).
    pub head_bias: bool,
    /// w, of the residual rows.
    pub width: usize,
    /// The head is the embedding's transpose: for tokens, with as many outputs, without a bias.
    pub tied: bool,
    /// Whether a linear map of the row itself, past all blocks, is added to the outputs (rows of numbers).
    pub shortcut: bool,
    /// Number of blocks.
    pub blocks: usize,
}

impl ModelSpec {
    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming the field, the rule and what was found.
    pub fn validate(&self) -> Result<()> {
        let sizes = [
            ("input: 1 to 1048576", self.input.size()),
            ("outputs: 1 to 1048576", self.outputs),
            ("width: 1 to 1048576", self.width),
        ];
        for (what, found) in sizes {
            rule(what, found, (1..=LIMIT).contains(&found))?;
        }
        rule("blocks: 1 to 4096", self.blocks, self.blocks >= 1 && self.blocks <= MAX_BLOCKS)?;
        let same = self.input == Input::Tokens(self.outputs) && !self.head_bias;
        rule("tied: tokens, outputs = vocabulary, no bias of the head", self.outputs, !self.tied || same)?;
        let rows = matches!(self.input, Input::Rows(_));
        rule("shortcut: of rows of numbers", usize::from(self.shortcut), !self.shortcut || rows)
    }

    /// Checks the blocks too: their number, every field, and that all parameters and states can be counted.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) as [`ModelSpec::validate`] and [`BlockSpec::validate`].
    pub fn validate_with(&self, blocks: &[BlockSpec]) -> Result<()> {
        self.validate()?;
        rule("blocks: as many as are given", self.blocks, self.blocks == blocks.len())?;
        blocks.iter().try_for_each(BlockSpec::validate)?;
        self.count(blocks.iter().map(|b| b.parameters(self.width))).map(drop)
    }

    /// Numbers in all parameters, of which the blocks have these.
    pub(super) fn count(&self, blocks: impl Iterator<Item = usize>) -> Result<usize> {
        let mut sum = 0usize;
        let mut add = |n: usize| sum = sum.saturating_add(n);
        let mut visit = Visit(|_, rows: usize, cols: usize| add(rows.saturating_mul(cols)));
        let _: Result<(Mat<'_, f32>, _)> = self.first(&mut visit);
        let _: Result<[Mat<'_, f32>; 4]> = self.last(&mut visit);
        blocks.for_each(&mut add);
        // Bytes of all of them can be counted in any number format, with room to spare.
        let most = isize::MAX as usize / 64;
        rule("parameters: as many as memory can hold", sum, sum <= most)?;
        Ok(sum)
    }

    /// Numbers in all parameters.
    ///
    /// # Errors
    /// As [`ModelSpec::validate_with`].
    pub fn parameters(&self, blocks: &[BlockSpec]) -> Result<usize> {
        self.validate_with(blocks)?;
        self.count(blocks.iter().map(|b| b.parameters(self.width)))
    }

    /// Calls `visit` with the block's number (none for the model's own), the name behind `blocks.{i}.` (or the whole one),
    /// rows and columns of every parameter, in the order in which they lie in a blob.
    pub fn tensors(&self, blocks: &[BlockSpec], mut visit: impl FnMut(Option<usize>, &'static str, usize, usize)) {
        let _: Result<(Mat<'_, f32>, _)> = self.first(&mut Visit(|name, r, c| visit(None, name, r, c)));
        for (i, block) in blocks.iter().enumerate() {
            block.tensors(self.width, |name, r, c| visit(Some(i), name, r, c));
        }
        let _: Result<[Mat<'_, f32>; 4]> = self.last(&mut Visit(|name, r, c| visit(None, name, r, c)));
    }

    /// The parameters before the blocks: the embedding, and its bias for rows of numbers.
    pub(super) fn first<'a, T: Scalar, S: WeightSource<'a, T>>(&self, s: &mut S) -> Result<(Mat<'a, T>, Mat<'a, T>)> {
        let embedding = s.tensor("embedding.weight", self.input.size(), self.width)?;
        let bias = match self.input {
            Input::Tokens(_) => Mat::new(&[], 0, 0)?,
            Input::Rows(_) => s.tensor("embedding.bias", 1, self.width)?,
        };
        Ok((embedding, bias))
    }

    /// Those after them: the norm, the head, its bias and the shortcut.
    pub(super) fn last<'a, T: Scalar, S: WeightSource<'a, T>>(&self, s: &mut S) -> Result<[Mat<'a, T>; 4]> {
        let norm = s.tensor("norm.weight", 1, self.width)?;
        let head = if self.tied { Mat::new(&[], 0, 0)? } else { s.tensor("head.weight", self.width, self.outputs)? };
        let bias = if self.head_bias { s.tensor("head.bias", 1, self.outputs)? } else { Mat::new(&[], 0, 0)? };
        let size = if self.shortcut { self.input.size() } else { 0 };
        let shortcut = if size > 0 { s.tensor("shortcut.weight", size, self.outputs)? } else { Mat::new(&[], 0, 0)? };
        Ok([norm, head, bias, shortcut])
    }
}
