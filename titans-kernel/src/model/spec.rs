//! What a model is, but for its blocks, and the order of all parameters.

use crate::block::{BlockSpec, Taking, Tensor, Visit, WeightSource, rule};
use crate::error::Result;
use crate::memory::LIMIT;

/// Most blocks of a model.
pub const MAX_BLOCKS: usize = 4096;

/// What a model reads.
///
/// ```
/// use titans_kernel::model::Input;
///
/// let (bytes, rows) = (Input::Tokens(256), Input::Rows(7)); // ids 0 to 255; seven numbers a row
/// assert_eq!((bytes.size(), rows.size()), (256, 7));
/// assert!(rows.is_rows() && !bytes.is_rows());
/// ```
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

    /// Does it read rows of numbers?
    pub const fn is_rows(self) -> bool {
        match self {
            Self::Rows(_) => true,
            Self::Tokens(_) => false,
        }
    }
}

/// A model around its blocks.
///
/// ```
/// use titans_kernel::model::{BlockSpec, Input, Kind, ModelSpec};
///
/// let blocks = [BlockSpec::new(Kind::Lmm, 1, 4)?];
/// let spec = ModelSpec {
///     input: Input::Tokens(5),
///     outputs: 5,
///     head_bias: false,
///     width: 4,
///     tied: true,
///     shortcut: false,
///     blocks: 1,
/// };
/// let (mut names, mut numbers) = (Vec::new(), 0);
/// spec.tensors(&blocks, |block, tensor| {
///     names.push((block, tensor.name));
///     numbers += tensor.numbers();
/// });
/// assert_eq!(names[..2], [(None, "embedding.weight"), (Some(0), "norm.weight")]);
/// assert_eq!(numbers, spec.parameters(&blocks)?);
/// # Ok::<(), titans_kernel::Error>(())
/// ```
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
        rule("shortcut: of rows of numbers", usize::from(self.shortcut), !self.shortcut || self.input.is_rows())
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
        let mut visit = Visit(|tensor: Tensor| add(tensor.numbers()));
        let (Ok(_), Ok(_)) = (self.first(&mut visit), self.last(&mut visit));
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

    /// Calls `visit` with every parameter and the number of its block (none for the model's own), in the order in which
    /// they lie in a blob.
    pub fn tensors(&self, blocks: &[BlockSpec], mut visit: impl FnMut(Option<usize>, Tensor)) {
        let Ok(_) = self.first(&mut Visit(|tensor| visit(None, tensor)));
        for (i, block) in blocks.iter().enumerate() {
            block.tensors(self.width, |tensor| visit(Some(i), tensor));
        }
        let Ok(_) = self.last(&mut Visit(|tensor| visit(None, tensor)));
    }

    /// The parameters before the blocks.
    ///
    /// # Errors
    /// The source's.
    pub fn first<S: WeightSource>(&self, s: &mut S) -> Result<FirstWeights<S::Matrix, S::Numbers>, S::Error> {
        let (mut t, rows) = (Taking(s), self.input.is_rows());
        Ok(FirstWeights {
            embedding: t.mat(true, "embedding.weight", self.input.size(), self.width)?,
            bias: t.row(rows, "embedding.bias", self.width)?,
        })
    }

    /// Those after them.
    ///
    /// # Errors
    /// The source's.
    pub fn last<S: WeightSource>(&self, s: &mut S) -> Result<LastWeights<S::Matrix, S::Numbers>, S::Error> {
        let (mut t, inputs, outputs) = (Taking(s), self.input.size(), self.outputs);
        Ok(LastWeights {
            norm: t.row(true, "norm.weight", self.width)?,
            head: t.mat(!self.tied, "head.weight", self.width, outputs)?,
            bias: t.row(self.head_bias, "head.bias", outputs)?,
            shortcut: t.mat(self.shortcut, "shortcut.weight", inputs, outputs)?,
        })
    }
}

/// The parameters of a model before its blocks, matrices M and numbers N of a [`WeightSource`].
#[derive(Clone, Copy, Debug)]
pub struct FirstWeights<M, N> {
    /// A row of w numbers for each token of the vocabulary, or for each number of a row.
    pub embedding: M,
    /// Of rows of numbers.
    pub bias: N,
}

/// The parameters of a model behind its blocks.
#[derive(Clone, Copy, Debug)]
pub struct LastWeights<M, N> {
    /// Of the rows that the head sees.
    pub norm: N,
    /// `[w, outputs]`; none where it is the embedding's transpose.
    pub head: M,
    /// Of the head.
    pub bias: N,
    /// From rows of numbers to the outputs, past all blocks.
    pub shortcut: M,
}
