//! Backward of pieces of several chunks (`docs/MATH.md` section 3b): the residuals' cotangents follow from one another too, from the
//! last token to the first.

use core::slice::from_ref;

use super::close_vjp::{Decay, close_vjp, decay_vjp};
use super::coefficients::Coefficients;
use super::exact::{Group, Place, TOGETHER, rows};
use super::exact_piece::{coefficients_of, recall};
use super::gates::Tokens;
use super::inside::Inside;
use super::layout::{Layout, Open, Seen};
use super::read::Rows;
use super::read_vjp::layer_vjp;
use super::settle::{faded, faint, settle};
use super::spec::Read;
use super::vjp::{Gradients, gates_vjp};
use super::work::{Reading, Written};
use super::write_vjp::{plain, rate_vjp};
use crate::error::Result;
use crate::gemm::{Beside, Gemm, Order, Store, Substitution, Weighting};
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::{Mat, MatMut};

/// One piece of `n` tokens from the batch's token `from` on, whose Δ is among `deltas`: `d_state` from the cotangent of the state behind it to
/// that of the state before it, which is `start`.
pub(super) fn piece<T: Scalar, G: Gemm<T>>(
    g: &G,
    lay: Layout<'_>,
    read: Read,
    tokens: &Tokens<'_, T>,
    (from, n): (usize, usize),
    deltas: &[T],
    start: &[T],
    d_y: Option<Mat<'_, T>>,
    gradients: &mut Gradients<'_, T>,
    d_state: &mut [T],
    scratch: &mut [T],
) -> Result<()> {
    let (params, mut scratch) = (lay.spec.params(), Scratch::new(scratch));
    let mut open = Open::take(&mut scratch, lay)?;
    let mut written = Written::take(&mut scratch, lay)?;
    let reading = Reading::take(&mut scratch, lay)?;
    let mut inside = Inside::take(&mut scratch, lay)?;
    let mut coefficients = Coefficients::take(&mut scratch, lay.coefficients(), lay.rows)?;
    recall(g, lay, tokens, (from, n), deltas, &mut open, &mut written)?;
    let settled = coefficients_of(g, lay, tokens, (from, n), &mut coefficients);
    let faded = faded(lay, tokens, (from, n));
    inside.clear();
    let (place, open) = (Place { from, n, filled: 0, before: 0 }, open.seen());
    let mut piece = Piece { g, lay, read, place, base: 0, start, open, reading, written: &written };
    let Some(m) = settled else {
        let decay = Decay::over(&coefficients, n);
        close_vjp(g, lay, (n, n, faded), start.split_at(params), open, from_ref(&coefficients), d_state, &mut inside)?;
        return piece.all(tokens, d_y, decay, &coefficients, gradients, d_state, &mut inside);
    };
    // From the settled state on, back to it. Momentum that has faded has no derivative that counts; where one small η ended it, that η has.
    let after = scratch.take(lay.spec.state_len())?;
    after.copy_from_slice(start);
    settle(g, m, &coefficients, after);
    close_vjp(g, lay, (n, n + 1, faded), after.split_at(params), open, from_ref(&coefficients), d_state, &mut inside)?;
    let behind = Place { from: from + m, n: n - m, filled: m, before: 0 };
    let abrupt = coefficients.e[m - 1].abs() > faint();
    (piece.place, piece.base, piece.start) = (behind, m + 1, if abrupt { after } else { &after[..params] });
    let decay = Decay::over(&coefficients, n + 1);
    piece.all(tokens, d_y, decay, &coefficients, gradients, d_state, &mut inside)?;
    // Through settling; S at the piece's end is none of S at its start.
    let ((w, s), (d_u, d_s)) = (start.split_at(params), d_state.split_at(params));
    let (a, gg) = (coefficients.a[m], coefficients.g[m]);
    let [d_a, d_g, _] = g.vectorise(
        #[inline(always)]
        || decay_vjp([w, s], [d_u, d_s]),
    );
    let d = &mut inside.coefficients[0];
    (d.a[m], d.g[m]) = (d.a[m] + d_a, d.g[m] + d_g);
    d.give_back(m + 1, m, m);
    (piece.place, piece.base, piece.start) = (Place { n: m, ..place }, 0, start);
    let decay = Decay { a, g: gg, e: T::ZERO };
    piece.all(tokens, d_y, decay, &coefficients, gradients, d_state, &mut inside)
}

/// What all parts of the backward of one piece look at.
struct Piece<'a, T, G> {
    g: &'a G,
    lay: Layout<'a>,
    read: Read,
    /// Its tokens, or those before it settled, or those behind.
    place: Place,
    /// Row of the coefficients before the first of them.
    base: usize,
    /// The state `[W | S]` that they stand on; W alone behind settling.
    start: &'a [T],
    open: Seen<'a, T>,
    reading: Reading<'a, T>,
    written: &'a Written<'a, T>,
}

impl<T: Scalar, G: Gemm<T>> Piece<'_, T, G> {
    /// Queries, then keys and values, then gates of the place's tokens, of the batch's `d_y`; the state's cotangent decays first.
    fn all(
        &self,
        tokens: &Tokens<'_, T>,
        d_y: Option<Mat<'_, T>>,
        decay: Decay<T>,
        coefficients: &Coefficients<'_, T>,
        gradients: &mut Gradients<'_, T>,
        d_state: &mut [T],
        inside: &mut Inside<'_, T>,
    ) -> Result<()> {
        let (lay, Place { from, n, filled, .. }) = (self.lay, self.place);
        let (q, d_q) = (tokens.q.sub(from, n), gradients.q.rb().sub(from, n));
        let d_y = d_y.map(|d_y| d_y.sub(from, n));
        self.reads(q, d_y, d_q, decay, coefficients, d_state, inside)?;
        self.writes(tokens, gradients.v.rb().sub(from, n), coefficients, d_state, inside)?;
        let at = (filled, self.base);
        gates_vjp(self.g, lay, tokens, (from, n), at, from_ref(coefficients), gradients, inside);
        let (mut d_k, d_keys) = (gradients.k.rb().sub(from, n), lay.input_rows(inside.h, 0, filled, n)?);
        (0..n).for_each(|t| d_k.row_mut(t).copy_from_slice(d_keys.row(t)));
        Ok(())
    }

    /// The queries: `d_q` is overwritten.
    fn reads(
        &self,
        q: Mat<'_, T>,
        d_y: Option<Mat<'_, T>>,
        mut d_q: MatMut<'_, T>,
        decay: Decay<T>,
        coefficients: &Coefficients<'_, T>,
        d_state: &mut [T],
        inside: &mut Inside<'_, T>,
    ) -> Result<()> {
        let (g, lay, filled) = (self.g, self.lay, self.place.filled);
        let rows = rows(lay, self.read);
        // What reads leave with both W and S is added in the visit in which these decay.
        let at_once = rows.is_some() && d_y.is_some() && self.start.len() == lay.spec.state_len();
        if !at_once {
            decay.apply(g, lay.spec.part(0), d_state);
        }
        let Some(d_y) = d_y else {
            d_q.fill(T::ZERO);
            return Ok(());
        };
        if let Some(rows) = rows {
            return self.layer(rows, filled, q, Some(d_y), Some(d_q), decay, coefficients, d_state, inside, false);
        }
        for Group { t0, n, seen, row } in self.place.groups(lay) {
            let (q, d_y, d_q) = (q.sub(t0, n), Some(d_y.sub(t0, n)), Some(d_q.rb().sub(t0, n)));
            self.layer(Rows::Fixed(row), seen, q, d_y, d_q, Decay::NONE, coefficients, d_state, inside, false)?;
        }
        Ok(())
    }

    /// The keys and values, which are complete when Δ's cotangent is: `d_v` is overwritten, the keys' share added to that of H, and
    /// the rates' cotangents become those of θ.
    fn writes(
        &self,
        tokens: &Tokens<'_, T>,
        mut d_v: MatMut<'_, T>,
        coefficients: &Coefficients<'_, T>,
        d_state: &mut [T],
        inside: &mut Inside<'_, T>,
    ) -> Result<()> {
        let (g, lay, Place { from, n, filled, .. }) = (self.g, self.lay, self.place);
        if lay.spec.chunk == 1 && lay.spec.clip.is_none() {
            self.solve(coefficients, inside)?;
            let z = lay.output_rows(inside.z, 0, filled, n)?;
            for t in 0..n {
                d_v.row_mut(t).iter_mut().zip(z.row(t)).for_each(|(d, &z)| *d = -z);
            }
            return self.keys(Rows::Before, filled, n, coefficients, d_state, inside, true);
        }
        for Group { t0, n, seen, row } in self.place.groups(lay).rev() {
            for t in (t0..t0 + n).rev().filter(|t| tokens.mask.writes(from + t)) {
                let theta = |set| tokens.theta.of(set).at((from + t, 0, lay.spec.chunk));
                rate_vjp(lay, filled + t, theta, self.open, self.written, inside)?;
            }
            g.vectorise(
                #[inline(always)]
                || plain(lay, filled + t0, d_v.rb().sub(t0, n), inside),
            )?;
            self.keys(Rows::Fixed(row), seen, n, coefficients, d_state, inside, false)?;
        }
        Ok(())
    }

    /// Λ = 2c Δ̄, where every row of Δ̄ loses what later rows took of its own: to `inside.z`. The keys' products stay in `inside.square[1]`.
    fn solve(&self, coefficients: &Coefficients<'_, T>, inside: &mut Inside<'_, T>) -> Result<()> {
        let (g, lay, Place { n, filled, .. }) = (self.g, self.lay, self.place);
        let (width, scale) = (lay.spec.value_width(), T::from_f64(2.0 * lay.spec.loss_scale()));
        let (stride, seen) = (lay.stride(width), filled + n);
        let (h, rows) = (self.open.inputs(lay, 0, 0, seen)?, filled * stride..seen * stride);
        let [weights, products] = &mut inside.square;
        g.band(Beside::lower(filled), h.sub(filled, n), h.t(), MatMut::new(products, n, seen)?);
        weights[..n * seen].copy_from_slice(&products[..n * seen]);
        g.weight(Weighting {
            n,
            seen,
            visible: (filled, 1),
            c: coefficients.c_rows(self.base),
            c_stride: coefficients.stride(1),
            rate: self.open.rate,
            scores: weights,
            stride: seen,
        });
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
                    let taken = weights.block(end, n - end, filled + r0, end - r0).t();
                    g.gemm(Store::Sub, taken, below.block(0, n - end, j, columns), block.rb().columns(j, columns));
                }
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
            let taken = weights.block(0, n, 0, filled).t();
            let before = lay.output_rows_mut(inside.delta, 0, 0, filled)?;
            g.gemm(Store::Sub, taken, Mat::strided(z, n, width, stride, 1)?, before);
        }
        Ok(())
    }

    /// From Λ in `inside.z` through the weights of the chunks' starts, for n keys with `seen` tokens before them.
    fn keys(
        &self,
        rows: Rows,
        seen: usize,
        n: usize,
        coefficients: &Coefficients<'_, T>,
        d_state: &mut [T],
        inside: &mut Inside<'_, T>,
        solved: bool,
    ) -> Result<()> {
        let lay = self.lay;
        let keys = self.open.inputs(lay, 0, seen, n)?;
        self.layer(rows, seen, keys, None, None, Decay::NONE, coefficients, d_state, inside, solved)?;
        let mut d_h = lay.input_rows_mut(inside.h, 0, seen, n)?;
        let d_x = Mat::strided(inside.work[2], n, keys.cols(), lay.stride(keys.cols()), 1)?;
        for t in 0..n {
            d_h.row_mut(t).iter_mut().zip(d_x.row(t)).for_each(|(h, &x)| *h += x);
        }
        Ok(())
    }

    fn layer(
        &self,
        rows: Rows,
        seen: usize,
        x: Mat<'_, T>,
        d_z: Option<Mat<'_, T>>,
        d_x: Option<MatMut<'_, T>>,
        decay: Decay<T>,
        coefficients: &Coefficients<'_, T>,
        d_state: &mut [T],
        inside: &mut Inside<'_, T>,
        solved: bool,
    ) -> Result<()> {
        let Self { g, lay, base, start, open, reading, .. } = self;
        layer_vjp(
            *g,
            *lay,
            rows,
            0,
            (seen, *base),
            x,
            start,
            *open,
            coefficients,
            reading,
            d_z,
            d_x,
            decay,
            d_state,
            inside,
            solved,
        )
    }
}
