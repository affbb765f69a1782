//! The backward of a linear memory: group after group from the last, the states between kept ones computed again by the
//! forward's own kernel.

use super::linear::{
    COEFFICIENTS, CudaInputs, LinearMemory, PieceGroup, PieceResiduals, PieceStates, PieceWalk, Pieces, groups,
};
use super::space::Sizes;
use crate::device::MemoryGradients;
use crate::device::cuda::buffer::DeviceBuffer;
use crate::device::cuda::product::args;
use crate::device::cuda::{Cuda, DeviceIndices, Driver};
use crate::error::Result;
use std::ops::Range;

/// What the backward of a linear memory takes and gives back.
pub(in crate::device::cuda) struct LinearBackward<R: Driver> {
    group: PieceGroup<R>,
    /// Pieces whose states are there at once: whole spans between kept ones.
    block: usize,
    /// PieceStates `[block, M, 2P]`, where not all are kept, and the one a walk goes on from.
    between: Option<DeviceBuffer<R>>,
    carried: Option<DeviceBuffer<R>>,
    /// Δ `[M, block · n, d_L]`, where it is not kept.
    delta: Option<DeviceBuffer<R>>,
    /// Cotangents of the states behind the group's pieces `[pieces, M, 2P]`, and of the rows of coefficients.
    behind: DeviceBuffer<R>,
    d_rows: DeviceBuffer<R>,
    /// `[pieces, M, n, n]`.
    scaled: DeviceBuffer<R>,
}

impl<R: Driver> LinearBackward<R> {
    /// Room for a group, and for the states of its spans.
    pub(super) fn new(cuda: &Cuda<R>, sizes: Sizes<'_>) -> Result<Self> {
        let (op, spec, n) = (sizes.op, sizes.spec(), sizes.longest());
        let group = PieceGroup::new(cuda, sizes, true)?;
        let (most, periods) = (group.most, spec.periods(op.time));
        let every = spec.keep_every.min(periods.max(1));
        let block = (most / every * every).max(every).min(periods);
        let buffer = |len| DeviceBuffer::alloc(&cuda.driver, len);
        let some = |wanted: bool, len| wanted.then(|| buffer(len)).transpose();
        Ok(Self {
            block,
            between: some(every > 1, block * op.state_len())?,
            carried: some(every > most, op.state_len())?,
            delta: some(!spec.wide(), sizes.count * block * n * sizes.top())?,
            behind: buffer(most * op.state_len())?,
            d_rows: buffer(most * sizes.count * COEFFICIENTS * n)?,
            scaled: buffer(most * sizes.count * n * n)?,
            group,
        })
    }
}

/// What all groups of a backward work with.
pub(super) struct LinearRun<'a, R: Driver> {
    pub inputs: CudaInputs<'a, R>,
    pub boundaries: &'a DeviceBuffer<R>,
    pub d_y: Option<&'a DeviceBuffer<R>>,
    /// The cotangent of the last state; none: 0.
    pub d_final: Option<&'a DeviceBuffer<R>>,
    pub gradients: MemoryGradients<'a, DeviceBuffer<R>>,
}

impl<R: Driver> LinearMemory<'_, R> {
    /// All gradients, that of the first state in `d_state`. Group by group from the last: [`LinearMemory::walk_back`],
    /// then [`LinearMemory::tokens_vjp`], where the cotangents are derived.
    pub fn backward(&self, mut work: LinearBackward<R>, run: &LinearRun<'_, R>) -> Result<()> {
        let periods = self.sizes.spec().periods(self.sizes.op.time);
        if run.d_y.is_none() {
            run.gradients.d_q.clear()?;
        }
        if periods == 0 {
            let d_state = &run.gradients.d_state;
            return run.d_final.map_or_else(|| d_state.clear(), |d_final| d_state.copy_from(d_final));
        }
        self.backward_span(&mut work, run, 0..periods, run.d_final)
    }

    /// Makes what does not depend on the state for all pieces where there is room, so that spans find it.
    pub fn prepare_all(&self, work: &mut LinearBackward<R>, inputs: &CudaInputs<'_, R>) -> Result<()> {
        match self.sizes.spec().periods(self.sizes.op.time) {
            count if count <= work.group.most => self.prepare(&mut work.group, Pieces { first: 0, count }, inputs),
            _ => Ok(()),
        }
    }

    /// The pieces of a range, behind which the state's cotangent is `last`.
    pub fn backward_span<'a>(
        &self,
        work: &mut LinearBackward<R>,
        run: &'a LinearRun<'_, R>,
        range: Range<usize>,
        mut last: Option<&'a DeviceBuffer<R>>,
    ) -> Result<()> {
        let (spec, n) = (self.sizes.spec(), self.sizes.longest());
        let (block, most) = (work.block.max(1), work.group.most);
        for first in range.clone().step_by(block).rev() {
            let end = range.end.min(first + block);
            let states = PieceStates {
                kept: Some(run.boundaries.view()),
                between: work.between.as_ref().map(DeviceBuffer::view),
                first,
            };
            let delta = match &work.delta {
                None => self.kept_residuals(run.boundaries),
                Some(own) => {
                    PieceResiduals { start: own.view(), stride: block * n * self.sizes.top(), first: first * n }
                }
            };
            if work.between.is_some() || work.delta.is_some() {
                for pieces in groups(first, end, most.min(block)) {
                    self.prepare(&mut work.group, pieces, &run.inputs)?;
                    let each = spec.keep_every.min(pieces.count);
                    let (begin, end) = (work.carried.as_ref().filter(|_| pieces.first > first), work.carried.as_ref());
                    let solved = work.delta.is_none();
                    let walk = PieceWalk { pieces, each, delta, solved, y: None, begin, end, states };
                    self.walk(&work.group, &walk, &run.inputs)?;
                }
            }
            for pieces in groups(first, end, most.min(block)).rev() {
                self.prepare(&mut work.group, pieces, &run.inputs)?;
                self.walk_back(work, pieces, run, last)?;
                last = Some(&*run.gradients.d_state);
                self.tokens_vjp(work, pieces, run, (states, delta))?;
                work.group.used(pieces);
            }
        }
        Ok(())
    }

    /// V̄ = −Λ, and the cotangents of the states behind every piece and before the group (section 4, (1), (2) and the
    /// exact form), piece after piece from the last:
    ///
    /// ```text
    /// Δ̄ = −diag(in_w) K W̄′ − diag(in_s) K S̄′ − Mᵀ Ȳ,  Λ = 2c (I + T)⁻ᵀ Δ̄
    /// W̄ = a W̄′ + Qᵀ diag(A) Ȳ + Kᵀ diag(A⁻) Λ,  S̄ = e S̄′ + g W̄′ + Qᵀ diag(G) Ȳ + Kᵀ diag(G⁻) Λ
    /// ```
    /// `last` holds those of the last state.
    fn walk_back(
        &self,
        work: &LinearBackward<R>,
        pieces: Pieces,
        run: &LinearRun<'_, R>,
        last: Option<&DeviceBuffer<R>>,
    ) -> Result<()> {
        let (spec, (wide, slice), group) = (self.sizes.spec(), self.slice(), work.group.at(pieces));
        let kernel = if wide { "linear_backward_wide" } else { "linear_backward_narrow" };
        let made = args![
            spec.key_width(),
            spec.value_width(),
            slice,
            self.sizes.scale(),
            pieces.count,
            run.inputs.q,
            run.inputs.k,
            run.d_y,
            group.rows,
            group.chains,
            group.inverse,
            group.m,
            &*run.gradients.d_v,
            last,
            &*run.gradients.d_state,
            &work.behind
        ];
        self.cuda.launch_blocks(kernel, self.slices(), &[&self.group_args(pieces)[..], made].concat())
    }

    /// The cotangents of queries, keys and gates, all pieces at once: M = (Q Kᵀ) ∘ B and M⁻ = (K Kᵀ) ∘ B⁻, B = C
    /// diag(θ), have M̄ = −Ȳ Δᵀ and M̄⁻ = −Λ Δᵀ ((2) and the exact form), the closing U = Δ W̄′ᵀ, V = Δ S̄′ᵀ ((1)), and
    ///
    /// ```text
    /// B̄ = M̄ ∘ Q Kᵀ,  B̄⁻ = M̄⁻ ∘ K Kᵀ                                          (`linear_scores_vjp`)
    /// Q̄ = diag(A) Ȳ Wᵀ + diag(G) Ȳ Sᵀ + (M̄ ∘ B) K,  Ā, Ḡ                      (`linear_queries_vjp`)
    /// K̄ = diag(A⁻) Λ Wᵀ + diag(G⁻) Λ Sᵀ + (F + Fᵀ) K + (M̄ ∘ B)ᵀ Q
    ///     − diag(in_w) U − diag(in_s) V,  F = M̄⁻ ∘ B⁻,  Ā⁻, Ḡ⁻, d_in_w, d_in_s    (`linear_keys_vjp`)
    /// θ̄, and ᾱ and η̄ by (3)                                                  (`linear_gates_vjp`)
    /// ```
    fn tokens_vjp(
        &self,
        work: &LinearBackward<R>,
        pieces: Pieces,
        run: &LinearRun<'_, R>,
        (states, delta): (PieceStates, PieceResiduals),
    ) -> Result<()> {
        if self.tiles() == 1 {
            return self.tile_tokens_vjp(work, pieces, run, (states, delta));
        }
        let (cuda, group) = (self.cuda, work.group.at(pieces));
        let (inputs, gradients) = (&run.inputs, &run.gradients);
        let (told, states) = (self.group_args(pieces), self.state_args(states));
        let widths = args![self.sizes.spec().key_width(), self.sizes.spec().value_width()].to_vec();
        let (units, tiles) = (pieces.count * self.sizes.count, self.tiles());
        let residuals = args![delta.start, delta.stride, delta.first].to_vec();
        // What a walk back needed makes room: M for the cotangents of the queries' weights, the inverse for those of
        // the keys', T for the scaled ones.
        let of_queries = run.d_y.map(|_| &work.scaled);
        let d_queries = of_queries.map(|_| group.m);
        let (d_keys, of_keys) = (group.inverse, group.t.filter(|_| group.inverse.is_some()));

        let made = args![inputs.q, inputs.k, inputs.gates, group.c, run.d_y, &*gradients.d_v];
        let out = args![of_queries, d_queries, of_keys, d_keys];
        let args = [&told[..], &self.answer_args(), &widths, made, &residuals, out].concat();
        cuda.launch_blocks("linear_scores_vjp", units * tiles * tiles, &args)?;

        if run.d_y.is_some() {
            let made = args![inputs.q, inputs.k, run.d_y, group.rows, of_queries];
            let out = args![&work.d_rows, &*gradients.d_q];
            let args = [&told[..], &widths, made, &states, out].concat();
            cuda.launch_blocks("linear_queries_vjp", units * tiles, &args)?;
        }
        let made = args![inputs.q, inputs.k, &*gradients.d_v];
        let squares = args![group.rows, of_queries, of_keys];
        let out = args![&work.behind, &work.d_rows, &*gradients.d_k];
        let args = [&told[..], &widths, made, &residuals, squares, &states, out].concat();
        cuda.launch_blocks("linear_keys_vjp", units * tiles, &args)?;

        let (mask, read_only) =
            (inputs.mask.map(DeviceIndices::values).transpose()?, usize::from(self.sizes.op.read_only));
        let made = args![read_only, self.sizes.params, inputs.gates, mask, group.chains, group.c, group.p];
        let given = args![d_queries, d_keys, &work.d_rows];
        let out = args![&work.behind, &work.scaled, group.t, &*gradients.d_gates];
        let args = [&told[..], &self.answer_args(), made, given, &states, out].concat();
        cuda.launch_blocks("linear_gates_vjp", units, &args)
    }
    /// The same of pieces of one tile, whose steps are a block's own.
    fn tile_tokens_vjp(
        &self,
        work: &LinearBackward<R>,
        pieces: Pieces,
        run: &LinearRun<'_, R>,
        (states, delta): (PieceStates, PieceResiduals),
    ) -> Result<()> {
        let (group, inputs, gradients) = (work.group.at(pieces), &run.inputs, &run.gradients);
        let (told, units) =
            ([&self.group_args(pieces)[..], &self.answer_args()].concat(), pieces.count * self.sizes.count);
        let widths = args![self.sizes.spec().key_width(), self.sizes.spec().value_width()];
        let (states, residuals) = (self.state_args(states), args![delta.start, delta.stride, delta.first]);
        let of_queries = run.d_y.map(|_| &work.scaled);
        let d_queries = of_queries.map(|_| group.m);
        let (d_keys, of_keys) = (group.inverse, group.t.filter(|_| group.inverse.is_some()));

        let given = args![inputs.q, inputs.k, inputs.gates, group.c, group.rows, run.d_y, &*gradients.d_v];
        let out = args![of_queries, d_queries, of_keys, d_keys, &work.d_rows, &*gradients.d_q];
        let args = [&told[..], widths, given, residuals, &states, out].concat();
        self.cuda.launch_blocks("linear_answers_vjp", units, &args)?;

        let (mask, read_only) =
            (inputs.mask.map(DeviceIndices::values).transpose()?, usize::from(self.sizes.op.read_only));
        let given = args![inputs.q, inputs.k, inputs.gates, mask];
        let made = args![group.chains, group.rows, group.c, group.p, &*gradients.d_v];
        let squares = args![&work.behind, of_queries, d_queries, of_keys, d_keys, &work.scaled, group.t];
        let out = args![&work.d_rows, &*gradients.d_k, &*gradients.d_gates];
        let told = [&told[..], args![read_only], widths, given, made, residuals].concat();
        self.cuda.launch_blocks("linear_writes_vjp", units, &[&told[..], &states, squares, out].concat())
    }
}
