//! The linear memory (one plain layer without a clip), which takes a few launches whatever the number of pieces: what
//! does not depend on the state is made for a group of pieces at once, then one kernel walks through them with W and S
//! on the chip (`kernels/linear.cuh`).
//!
//! A memory's columns know nothing of one another, so that a block has a slice of them. Memory is bounded whatever the
//! number of tokens: a group has as many columns as keep a device busy.

use super::space::Sizes;
use crate::device::MemoryInputs;
use crate::device::cuda::buffer::{DeviceBuffer, View};
use crate::device::cuda::compile::TILE;
use crate::device::cuda::driver::Arg;
use crate::device::cuda::product::args;
use crate::device::cuda::{Cuda, DeviceIndices, Driver};
use crate::error::Result;
use titans_kernel::memory::MemorySpec;

/// Columns of a group's squares, a thread each of the inverse, at most; one piece at least.
const COLUMNS: usize = 1 << 16;
/// Numbers of W, and of S, that a block keeps: `SLAB` in `kernels/slices.cuh`.
const SLAB: usize = 4096;
/// Numbers a token has of coefficients: `COEFFICIENTS` in `kernels/linear.cuh`.
pub(super) const COEFFICIENTS: usize = 6;

/// Does a memory take this path? A column of a wider one does not fit on the chip.
pub(super) fn fits(spec: &MemorySpec) -> bool {
    spec.is_linear() && spec.clip.is_none() && spec.key_width() <= SLAB
}

/// Some pieces that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pieces {
    pub first: usize,
    pub count: usize,
}

/// What a group of pieces has that does not depend on the state; arrays `[pieces, M, …]` as `kernels/linear.cu` writes
/// them.
#[derive(Debug)]
pub(super) struct PieceGroup<R: Driver> {
    /// Pieces of a group.
    pub most: usize,
    /// What it was made for, and memories and tokens of a unit.
    pub ready: Option<Pieces>,
    memories: usize,
    length: usize,
    pub chains: DeviceBuffer<R>,
    pub rows: DeviceBuffer<R>,
    pub c: DeviceBuffer<R>,
    /// For the backward.
    pub p: Option<DeviceBuffer<R>>,
    /// T / 2c, and (I + T)⁻¹: of pieces of several chunks. The backward works in the first.
    pub t: Option<DeviceBuffer<R>>,
    pub inverse: Option<DeviceBuffer<R>>,
    pub m: DeviceBuffer<R>,
}

impl<R: Driver> PieceGroup<R> {
    /// Room for a group.
    pub fn new(cuda: &Cuda<R>, sizes: Sizes<'_>, backward: bool) -> Result<Self> {
        let (spec, n) = (sizes.spec(), sizes.longest());
        let most = (COLUMNS / (sizes.count * n).max(1)).max(1).min(spec.periods(sizes.op.time));
        let units = most * sizes.count;
        let buffer = |len| DeviceBuffer::alloc(&cuda.driver, len);
        let some = |wanted: bool, len| wanted.then(|| buffer(len)).transpose();
        Ok(Self {
            most,
            ready: None,
            memories: sizes.count,
            length: n,
            chains: buffer(units * 3 * (n + 1))?,
            rows: buffer(units * COEFFICIENTS * n)?,
            c: buffer(units * (n + 1) * n)?,
            p: some(backward, units * (n + 1) * n)?,
            t: some(backward || (spec.wide() && n > TILE), units * n * n)?,
            inverse: some(spec.wide(), units * n * n)?,
            m: buffer(units * n * n)?,
        })
    }
}

/// [`PieceGroup`]'s arrays from a piece on.
#[derive(Clone, Copy, Debug)]
pub(super) struct PieceViews {
    pub chains: View,
    pub rows: View,
    pub c: View,
    pub p: Option<View>,
    pub t: Option<View>,
    pub inverse: Option<View>,
    pub m: View,
}

impl<R: Driver> PieceGroup<R> {
    /// The arrays from the first of these pieces on, which are ready.
    pub fn at(&self, pieces: Pieces) -> PieceViews {
        let before = pieces.first - self.ready.map_or(pieces.first, |ready| ready.first.min(pieces.first));
        let (units, n) = (before * self.memories, self.length);
        let square = |x: &DeviceBuffer<R>| x.from(units * n * n);
        let column = |x: &DeviceBuffer<R>| x.from(units * (n + 1) * n);
        PieceViews {
            chains: self.chains.from(units * 3 * (n + 1)),
            rows: self.rows.from(units * COEFFICIENTS * n),
            c: column(&self.c),
            p: self.p.as_ref().map(column),
            t: self.t.as_ref().map(square),
            inverse: self.inverse.as_ref().map(square),
            m: square(&self.m),
        }
    }

    /// A backward worked in what was made for these pieces, and for those behind them.
    pub fn used(&mut self, pieces: Pieces) {
        let left = self.ready.map(|ready| Pieces { count: pieces.first.saturating_sub(ready.first), ..ready });
        self.ready = left.filter(|left| left.count > 0);
    }
}

/// Where the residuals Δ of the tokens from `first` on are, memories `stride` apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct PieceResiduals {
    pub start: View,
    pub stride: usize,
    pub first: usize,
}

/// Where the states at the pieces' starts are: the kept ones among the boundaries, where there are such, the others
/// between them from a piece on.
#[derive(Clone, Copy, Debug)]
pub(super) struct PieceStates {
    pub kept: Option<View>,
    pub between: Option<View>,
    pub first: usize,
}

/// A walk through a group's pieces, in chains of `each`.
#[derive(Debug)]
pub(super) struct PieceWalk<'a, R: Driver> {
    pub pieces: Pieces,
    pub each: usize,
    pub delta: PieceResiduals,
    /// Is Δ there already?
    pub solved: bool,
    pub y: Option<&'a DeviceBuffer<R>>,
    /// The state at the start; none: every chain begins with a kept one.
    pub begin: Option<&'a DeviceBuffer<R>>,
    pub end: Option<&'a DeviceBuffer<R>>,
    pub states: PieceStates,
}

/// The inputs of a memory on this device.
pub(super) type CudaInputs<'a, R> = MemoryInputs<'a, DeviceBuffer<R>, DeviceIndices<R>>;

/// A linear memory at work.
pub(super) struct LinearMemory<'a, R: Driver> {
    pub cuda: &'a Cuda<R>,
    pub sizes: Sizes<'a>,
}

impl<R: Driver> LinearMemory<'_, R> {
    /// Which of the walk's kernels, and columns of its slices.
    pub fn slice(&self) -> (bool, usize) {
        let d_in = self.sizes.spec().key_width();
        let wide = d_in <= SLAB / 32;
        (wide, if wide { 32 } else { (SLAB / d_in).min(16) })
    }

    /// Slices of all memories.
    pub fn slices(&self) -> usize {
        self.sizes.count * self.sizes.top().div_ceil(self.slice().1)
    }

    /// Tiles of rows of a piece.
    pub fn tiles(&self) -> usize {
        self.sizes.longest().div_ceil(TILE)
    }

    /// What every kernel is told first: M, heads, tokens, tokens of a piece, the group's first piece.
    pub fn group_args(&self, pieces: Pieces) -> [Arg; 5] {
        let op = self.sizes.op;
        [self.sizes.count, op.heads, op.time, self.sizes.longest(), pieces.first].map(Arg::from)
    }

    /// Which rows of coefficients answer.
    pub fn answer_args(&self) -> [Arg; 2] {
        [Arg::from(self.sizes.read()), Arg::from(self.sizes.spec().chunk)]
    }

    /// Where the states at the pieces' starts are.
    pub fn state_args(&self, states: PieceStates) -> [Arg; 5] {
        let spec = self.sizes.spec();
        let (stride, every) = (spec.boundaries_len(self.sizes.op.time), spec.keep_every);
        [states.kept.into(), states.between.into(), stride.into(), every.into(), states.first.into()]
    }

    /// Elements of a memory's kept states, behind which a piece of several chunks has Δ.
    pub fn kept_len(&self) -> usize {
        let spec = self.sizes.spec();
        spec.periods(self.sizes.op.time).div_ceil(spec.keep_every) * spec.state_len()
    }

    /// Δ among the boundaries.
    pub fn kept_residuals(&self, boundaries: &DeviceBuffer<R>) -> PieceResiduals {
        let stride = self.sizes.spec().boundaries_len(self.sizes.op.time);
        PieceResiduals { start: boundaries.from(self.kept_len()), stride, first: 0 }
    }

    /// Makes what does not depend on the state, unless it is there.
    pub fn prepare(&self, group: &mut PieceGroup<R>, pieces: Pieces, inputs: &CudaInputs<'_, R>) -> Result<()> {
        let end = pieces.first + pieces.count;
        if !group.ready.is_some_and(|it| it.first <= pieces.first && end <= it.first + it.count) {
            if self.tiles() > 1 {
                self.in_tiles(group, pieces, inputs)?
            } else {
                self.in_one(group, pieces, inputs)?
            };
            group.ready = Some(pieces);
        }
        Ok(())
    }

    /// Pieces of one tile: a block a piece.
    fn in_one(&self, group: &PieceGroup<R>, pieces: Pieces, inputs: &CudaInputs<'_, R>) -> Result<()> {
        let (mask, read_only) =
            (inputs.mask.map(DeviceIndices::values).transpose()?, usize::from(self.sizes.op.read_only));
        let sizes = args![read_only, self.sizes.spec().key_width(), self.sizes.scale()];
        let given = args![inputs.q, inputs.k, inputs.gates, mask];
        let PieceGroup { chains, rows, c, p, m, .. } = group;
        let made = args![chains, rows, c, p.as_ref(), group.inverse.as_ref(), m];
        let args = [&self.group_args(pieces)[..], &self.answer_args(), sizes, given, made].concat();
        self.cuda.launch_blocks("linear_piece", pieces.count * self.sizes.count, &args)
    }

    /// Longer pieces.
    fn in_tiles(&self, group: &PieceGroup<R>, pieces: Pieces, inputs: &CudaInputs<'_, R>) -> Result<()> {
        let (cuda, op, n) = (self.cuda, self.sizes.op, self.sizes.longest());
        let (units, told) = (pieces.count * self.sizes.count, self.group_args(pieces));
        let told = [&told[..], &self.answer_args()].concat();
        let (mask, read_only) = (inputs.mask.map(DeviceIndices::values).transpose()?, usize::from(op.read_only));
        let PieceGroup { chains, rows, c, p, m, .. } = group;
        let made = args![read_only, inputs.gates, mask, chains, rows, c, p.as_ref()];
        cuda.launch("linear_coefficients", units * (n + 1), &[&told[..], made].concat())?;
        let (blocks, width) = (units * self.tiles() * self.tiles(), self.sizes.spec().key_width());
        let t = group.t.as_ref().filter(|_| group.inverse.is_some());
        let made = args![width, inputs.q, inputs.k, inputs.gates, c, t, m];
        cuda.launch_blocks("linear_scores", blocks, &[&told[..], made].concat())?;
        if let Some(inverse) = &group.inverse {
            let made = args![self.sizes.scale(), t, inverse];
            cuda.launch("linear_inverse", units * n, &[&self.group_args(pieces)[..], made].concat())?;
        }
        Ok(())
    }

    /// Walks through a group's pieces: Δ, and the read-outs and states that are asked for.
    pub fn walk(&self, group: &PieceGroup<R>, walk: &PieceWalk<'_, R>, inputs: &CudaInputs<'_, R>) -> Result<()> {
        let (spec, (wide, slice)) = (self.sizes.spec(), self.slice());
        let kernel = if wide { "linear_forward_wide" } else { "linear_forward_narrow" };
        let PieceWalk { pieces, each, delta, solved, y, begin, end, states } = *walk;
        let (v, made_of) = (Some(inputs.v).filter(|_| !solved), group.at(pieces));
        let sizes = args![spec.key_width(), spec.value_width(), slice, self.sizes.scale(), pieces.count, each];
        let made = args![
            inputs.q,
            inputs.k,
            v,
            made_of.rows,
            made_of.chains,
            made_of.inverse,
            made_of.m,
            delta.start,
            delta.stride,
            delta.first,
            y,
            begin,
            end
        ];
        let args = [&self.group_args(pieces)[..], sizes, made, &self.state_args(states)].concat();
        self.cuda.launch_blocks(kernel, pieces.count.div_ceil(each) * self.slices(), &args)
    }
}

/// The groups of at most `most` of the pieces from `first` to `end`, in order.
pub(super) fn groups(first: usize, end: usize, most: usize) -> impl DoubleEndedIterator<Item = Pieces> {
    (first..end).step_by(most.max(1)).map(move |first| Pieces { first, count: most.min(end - first) })
}
