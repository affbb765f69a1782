//! Backward of pieces of several chunks (`docs/MATH.md` sections 3b and 4, exact form): the residuals' cotangents
//! follow from one another too, from the last token to the first.
//!
//! Forward: (I + T) Δ = 2c (B − V) with B = diag(A⁻) K W + diag(G⁻) K S, M = (K Kᵀ) ∘ C⁻ diag(r) and T = 2c M. With the
//! cotangent Δ̄ from reads and closing,
//!
//! ```text
//! (I + T) dΔ = 2c (dB − dV) − dT Δ
//! Λ = 2c (I + T)⁻ᵀ Δ̄,   row by row from the last:  λ_i = 2c (δ̄_i − Σ_{t>i} M_{t,i} λ_t)
//! ⟨Δ̄, dΔ⟩ = ⟨Λ, dB − dV − dM Δ⟩,   so B̄ = Λ,   V̄ = −Λ,   M̄ = −Λ Δᵀ
//! ```
//!
//! which is the read path's backward with K for the queries and Z̄ = Λ; its last term, Δ̄ −= Mᵀ Λ, is part of the
//! substitution already. K receives what queries receive, and what keys receive. With longer chunks, or a clip, a
//! chunk's rates follow from its Δ: then the chunks go one by one, each with its rates, its Λ = 2c Δ̄ and its keys.

use core::slice::from_ref;

use super::close_vjp::{Decay, close_vjp, decay_vjp};
use super::exact::{Group, TOGETHER, rows};
use super::exact_piece::{piece_coefficients, piece_end, recall};
use super::feed::{PieceTokens, Place};
use super::frame::Frame;
use super::inside::{BackwardSpace, Inside};
use super::open::Past;
use super::read::{Asked, Rows};
use super::read_vjp::{Flow, ReadInputs, layer_vjp};
use super::settle::{faded, faint, settle};
use super::spec::Read;
use super::vjp::{BackwardPass, Gradients, gates_vjp};
use super::work::Writing;
use super::write_vjp::{plain, rate_vjp};
use crate::arithmetic::{Arithmetic, Beside, Order, ScoreScaling, Store, Substitution};
use crate::error::Result;
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::{Mat, MatMut};

/// One piece, whose Δ is among the batch's: `d_state` from the cotangent of the state behind it to that of the state
/// before it, which is `start`. Closing (1), then [`PiecePart::all`]. Where it settled behind m tokens, W₁ = A_m W +
/// G_m S and S′ has none of S: the tokens behind give W̄₁, from which
///
/// ```text
/// Ā_m += ⟨W̄₁, W⟩,  Ḡ_m += ⟨W̄₁, S⟩,  W̄ = A_m W̄₁,  S̄ = G_m W̄₁
/// Ē_m, C̄_m, P̄_m += those of the first row behind, which copied row m's
/// ```
pub(super) fn piece<T: Scalar, G: Arithmetic<T>>(
    run: BackwardPass<'_, T, G>,
    place: Place,
    start: &[T],
    gradients: &mut Gradients<'_, T>,
    d_state: &mut [T],
    scratch: &mut [T],
) -> Result<()> {
    let (on, lay, params, n) = (run.on, run.on.lay, run.on.lay.spec.params(), place.n);
    let feed = PieceTokens::new(run.tokens, place);
    let space = BackwardSpace::take(&mut Scratch::new(scratch), lay)?;
    let BackwardSpace { mut writing, reading, mut coefficients, mut inside, settled: after, .. } = space;
    recall(on, feed, run.deltas, &mut writing)?;
    let settled = piece_coefficients(on, feed, &mut coefficients[0]);
    let (own, end, inside) = (&coefficients[0], piece_end(n, settled), &mut inside);
    let past = Past::new(writing.open.view(), from_ref(own));
    let faded = faded(lay, feed, own.p_row(end.row));
    inside.clear();
    let inputs = ReadInputs { start, past, reading: &reading };
    let part = PiecePart { on, read: run.read, feed, base: 0, inputs, writing: &writing };
    // Closing gives H̄, Δ̄ and the coefficients' cotangents; then the tokens.
    let Some(m) = settled else {
        close_vjp(on, (end, faded), start, past, d_state, inside)?;
        return part.all(run.d_y, Decay::over(own, n), gradients, d_state, inside);
    };
    // From the settled state on, back to it. Momentum that has faded has no derivative that counts, unless a single
    // small η ended it: then that η has one. W₁ = A_m W + G_m S once more.
    after.copy_from_slice(start);
    settle(on.g, m, own, after);
    close_vjp(on, (end, faded), after, past, d_state, inside)?;
    let abrupt = own.e[m - 1].abs() > faint();
    let stood = ReadInputs { start: if abrupt { after } else { &after[..params] }, ..inputs };
    let behind = PiecePart { feed: feed.part(m, n - m), base: m + 1, inputs: stood, ..part };
    behind.all(run.d_y, Decay::over(own, end.row), gradients, d_state, inside)?;
    // Through settling, W₁ = A_m W + G_m S: Ā_m += ⟨W̄₁, W⟩, Ḡ_m += ⟨W̄₁, S⟩, then W̄ = A_m W̄₁ and S̄ = G_m W̄₁. S at
    // the piece's end is none of S at its start.
    let ((w, s), (d_w1, d_s)) = (start.split_at(params), d_state.split_at(params));
    let (a, gg) = (own.a[m], own.g[m]);
    let [d_a, d_g, _] = on.g.vectorise(
        #[inline(always)]
        || decay_vjp([w, s], [d_w1, d_s]),
    );
    let d = &mut inside.coefficients[0];
    (d.a[m], d.g[m]) = (d.a[m] + d_a, d.g[m] + d_g);
    // Ē_m, C̄_m, P̄_m: Π η, C and P of the first row behind were copies of row m's.
    d.give_back(m + 1, m, m);
    let before = PiecePart { feed: feed.part(0, m), ..part };
    before.all(run.d_y, Decay { a, g: gg, e: T::ZERO }, gradients, d_state, inside)
}

/// The tokens of a piece, or those before it settled, or those behind, and what their backward looks at.
struct PiecePart<'a, T, G> {
    on: Frame<'a, G>,
    read: Read,
    feed: PieceTokens<'a, T>,
    /// Row of the coefficients before the first of them.
    base: usize,
    inputs: ReadInputs<'a, T>,
    writing: &'a Writing<'a, T>,
}

impl<T: Scalar, G: Arithmetic<T>> PiecePart<'_, T, G> {
    /// Queries, then keys and values, then gates, from the batch's `d_y`; the state's cotangent decays first.
    fn all(
        &self,
        d_y: Option<Mat<'_, T>>,
        decay: Decay<T>,
        gradients: &mut Gradients<'_, T>,
        d_state: &mut [T],
        inside: &mut Inside<'_, T>,
    ) -> Result<()> {
        let (lay, Place { from, n, filled, .. }) = (self.on.lay, self.feed.place);
        self.reads(d_y.map(|d_y| d_y.sub(from, n)), gradients.q.rb().sub(from, n), decay, d_state, inside)?;
        self.writes(gradients.v.rb().sub(from, n), d_state, inside)?;
        gates_vjp(self.on, self.feed, self.base, self.inputs.past.coefficients, gradients, inside);
        let (mut d_k, d_keys) = (gradients.k.rb().sub(from, n), lay.input_rows(inside.h, 0, filled, n)?);
        (0..n).for_each(|t| d_k.row_mut(t).copy_from_slice(d_keys.row(t)));
        Ok(())
    }

    /// The queries, (2) of Z = diag(A) Q W + diag(G) Q S − M Δ with Z̄ = `d_y`: `d_q` is overwritten.
    fn reads(
        &self,
        d_y: Option<Mat<'_, T>>,
        mut d_q: MatMut<'_, T>,
        decay: Decay<T>,
        d_state: &mut [T],
        inside: &mut Inside<'_, T>,
    ) -> Result<()> {
        let (lay, q) = (self.on.lay, self.feed.q());
        let rows = rows(lay, self.read);
        // What reads leave with both W and S is added in the visit in which these decay.
        let at_once = rows.is_some() && d_y.is_some() && self.inputs.start.len() == lay.spec.state_len();
        if !at_once {
            decay.apply(self.on.g, lay.spec.part(0), d_state);
        }
        let Some(d_y) = d_y else {
            d_q.fill(T::ZERO);
            return Ok(());
        };
        if let Some(rows) = rows {
            let flow = Flow { d_z: Some(d_y), d_x: Some(d_q), decay, solved: false };
            return self.layer(self.asked(rows, q, self.feed.place.filled), flow, d_state, inside);
        }
        // Chunk by chunk, each by the row of its start.
        for Group { t0, n, seen, row } in self.feed.place.groups(lay) {
            let (d_z, d_x) = (Some(d_y.sub(t0, n)), Some(d_q.rb().sub(t0, n)));
            let flow = Flow { d_z, d_x, decay: Decay::NONE, solved: false };
            self.layer(self.asked(Rows::Fixed(row), q.sub(t0, n), seen), flow, d_state, inside)?;
        }
        Ok(())
    }

    /// The keys and values, which are complete when Δ's cotangent is: Λ = 2c (I + T)⁻ᵀ Δ̄, V̄ = −Λ, and [`Self::keys`]
    /// of Λ; `d_v` is overwritten, the keys' share added to that of H, and the rates' cotangents become those of θ.
    /// Chunk by chunk T is 0 within a chunk, so Λ = 2c Δ̄ there, once later chunks have taken Mᵀ Λ off Δ̄.
    fn writes(&self, mut d_v: MatMut<'_, T>, d_state: &mut [T], inside: &mut Inside<'_, T>) -> Result<()> {
        let (lay, feed, Place { n, filled, .. }) = (self.on.lay, self.feed, self.feed.place);
        if lay.spec.chunk == 1 && lay.spec.clip.is_none() {
            // Λ for all tokens at once; V̄ = −Λ.
            self.solve(inside)?;
            let z = lay.output_rows(inside.z, 0, filled, n)?;
            for t in 0..n {
                d_v.row_mut(t).iter_mut().zip(z.row(t)).for_each(|(d, &z)| *d = -z);
            }
            return self.keys((Rows::Before, filled, n), true, d_state, inside);
        }
        // From the last chunk: keys of a chunk add to Δ's cotangent of those before.
        for Group { t0, n, seen, row } in feed.place.groups(lay).rev() {
            for t in (t0..t0 + n).rev().filter(|&t| feed.writes(t)) {
                rate_vjp(lay, feed, t, self.writing, inside)?;
            }
            self.on.g.vectorise(
                #[inline(always)]
                || plain(lay, filled + t0, d_v.rb().sub(t0, n), inside),
            )?;
            self.keys((Rows::Fixed(row), seen, n), false, d_state, inside)?;
        }
        Ok(())
    }

    /// Λ = 2c (I + T)⁻ᵀ Δ̄, T = 2c M, by back substitution, λ_i = 2c (δ̄_i − Σ_{t>i} M_{t,i} λ_t): to `inside.z`. The
    /// keys' products stay in `inside.square[1]`.
    fn solve(&self, inside: &mut Inside<'_, T>) -> Result<()> {
        let (Frame { g, lay }, Place { n, filled, .. }) = (self.on, self.feed.place);
        let (open, coefficients) = (self.inputs.past.open, &self.inputs.past.coefficients[0]);
        let (width, scale) = (lay.spec.value_width(), T::from_f64(2.0 * lay.spec.loss_scale()));
        let (stride, seen) = (lay.stride(width), filled + n);
        let (h, rows) = (open.inputs(lay, 0, 0, seen)?, filled * stride..seen * stride);
        let [weights, products] = &mut inside.square;
        g.band(Beside::lower(filled), h.sub(filled, n), h.t(), MatMut::new(products, n, seen)?);
        // K Kᵀ is kept for M's backward; its copy becomes M.
        weights[..n * seen].copy_from_slice(&products[..n * seen]);
        g.scale_scores(ScoreScaling {
            n,
            seen,
            visible: (filled, 1),
            c: coefficients.c_rows_from(self.base),
            c_stride: coefficients.stride(1),
            rate: open.rate,
            scores: weights,
            stride: seen,
        });
        // Λ grows in the place of a copy of Δ̄, blocks of rows from the last to the first.
        let weights = Mat::new(weights, n, seen)?;
        let z = &mut inside.z[rows.clone()];
        z.copy_from_slice(&inside.delta[rows]);
        for r0 in (0..n).step_by(TOGETHER).rev() {
            let end = (r0 + TOGETHER).min(n);
            let (block, below) = z[r0 * stride..].split_at_mut((end - r0) * stride);
            let mut block = MatMut::strided(block, end - r0, width, stride)?;
            let below = Mat::strided(below, n - end, width, stride, 1)?;
            for (j, columns) in lay.columns(0) {
                if end < n {
                    // δ̄_i −= Σ_t M_{t,i} λ_t over the rows behind the block, by a product …
                    let taken = weights.block(end, n - end, filled + r0, end - r0).t();
                    g.gemm(Store::Sub, taken, below.block(0, n - end, j, columns), block.rb().columns(j, columns));
                }
                // … and inside it row after row, each times 2c when it is complete.
                g.substitute(Substitution {
                    weights: weights.block(r0, end - r0, filled + r0, end - r0),
                    rows: block.rb().columns(j, columns),
                    values: None,
                    scale,
                    order: Order::Up,
                });
            }
        }
        if filled > 0 {
            // Residuals before these tokens, where the piece settled in between: Δ̄ −= Mᵀ Λ.
            let taken = weights.block(0, n, 0, filled).t();
            let before = lay.output_rows_mut(inside.delta, 0, 0, filled)?;
            g.gemm(Store::Sub, taken, Mat::strided(z, n, width, stride, 1)?, before);
        }
        Ok(())
    }

    /// From Λ in `inside.z` through B − M Δ, B = diag(A⁻) K W + diag(G⁻) K S, M = (K Kᵀ) ∘ C⁻ diag(r), whose cotangent
    /// is Λ: (2) with K for the queries, n of them with `seen` tokens before them. K̄ = X̄ + H̄: K is both.
    fn keys(
        &self,
        (rows, seen, n): (Rows, usize, usize),
        solved: bool,
        d_state: &mut [T],
        inside: &mut Inside<'_, T>,
    ) -> Result<()> {
        let lay = self.on.lay;
        let keys = self.inputs.past.open.inputs(lay, 0, seen, n)?;
        let flow = Flow { d_z: None, d_x: None, decay: Decay::NONE, solved };
        self.layer(self.asked(rows, keys, seen), flow, d_state, inside)?;
        // K̄: what the keys received as queries joins what they received as H.
        let mut d_h = lay.input_rows_mut(inside.h, 0, seen, n)?;
        let d_x = Mat::strided(inside.work[2], n, keys.cols(), lay.stride(keys.cols()), 1)?;
        for t in 0..n {
            d_h.row_mut(t).iter_mut().zip(d_x.row(t)).for_each(|(h, &x)| *h += x);
        }
        Ok(())
    }

    /// Queries before whose first one `seen` tokens of the piece came.
    fn asked<'q>(&self, rows: Rows, q: Mat<'q, T>, seen: usize) -> Asked<'q, T> {
        Asked { rows, q, from: seen, base: self.base }
    }

    fn layer(
        &self,
        asked: Asked<'_, T>,
        flow: Flow<'_, T>,
        d_state: &mut [T],
        inside: &mut Inside<'_, T>,
    ) -> Result<()> {
        layer_vjp(self.on, 0, asked, self.inputs, flow, d_state, inside)
    }
}
