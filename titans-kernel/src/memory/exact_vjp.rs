//! Backward of pieces of several chunks (`docs/MATH.md` section 3b): the residuals' cotangents follow from one another too, from the
//! last token to the first.

use super::close_vjp::{Decay, close_vjp};
use super::coefficients::Coefficients;
use super::exact::{Group, Place, TOGETHER, recall, rows};
use super::gates::Tokens;
use super::inside::Inside;
use super::layout::{Layout, Open, Reading, Seen, Written};
use super::read::Rows;
use super::read_vjp::layer_vjp;
use super::spec::Read;
use super::vjp::{Gradients, gates_vjp};
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
    let mut scratch = Scratch::new(scratch);
    let mut open = Open::take(&mut scratch, lay)?;
    let mut written = Written::take(&mut scratch, lay)?;
    let reading = Reading::take(&mut scratch, lay)?;
    let mut inside = Inside::take(&mut scratch, lay)?;
    let mut coefficients = Coefficients::take(&mut scratch, lay.coefficients(), lay.rows)?;
    recall(g, lay, tokens, (from, n), deltas, &mut open, &mut written, &mut coefficients)?;
    inside.clear();
    close_vjp(g, lay, n, start, open.seen(), &coefficients, d_state, &mut inside)?;
    let piece = Piece { g, lay, place: Place { from, n, filled: 0, before: 0 }, start, open: open.seen(), reading };
    let (q, d_q) = (tokens.q.sub(from, n), gradients.q.rb().sub(from, n));
    let decay = Decay::over(&coefficients, n);
    let d_y = d_y.map(|d_y| d_y.sub(from, n));
    piece.reads(read, q, d_y, d_q, decay, &coefficients, d_state, &mut inside)?;
    let d_v = gradients.v.rb().sub(from, n);
    piece.writes(tokens, &written, d_v, &coefficients, d_state, &mut inside)?;
    let b = lay.spec.chunk;
    gates_vjp(g, tokens, (from, n), b, &coefficients, gradients, &mut inside, |t, inside| Ok(inside.rate[t]))?;
    let (mut d_k, d_keys) = (gradients.k.rb().sub(from, n), lay.input_rows(inside.h, 0, 0, n)?);
    (0..n).for_each(|t| d_k.row_mut(t).copy_from_slice(d_keys.row(t)));
    Ok(())
}

/// What all parts of the backward of one piece look at.
struct Piece<'a, T, G> {
    g: &'a G,
    lay: Layout<'a>,
    place: Place,
    start: &'a [T],
    open: Seen<'a, T>,
    reading: Reading<'a, T>,
}

impl<T: Scalar, G: Gemm<T>> Piece<'_, T, G> {
    /// The queries: `d_q` is overwritten; the state's cotangent decays here.
    fn reads(
        &self,
        read: Read,
        q: Mat<'_, T>,
        d_y: Option<Mat<'_, T>>,
        mut d_q: MatMut<'_, T>,
        decay: Decay<T>,
        coefficients: &Coefficients<'_, T>,
        d_state: &mut [T],
        inside: &mut Inside<'_, T>,
    ) -> Result<()> {
        let (g, lay) = (self.g, self.lay);
        let Some(d_y) = d_y else {
            decay.apply(g, lay, d_state, false);
            d_q.fill(T::ZERO);
            return Ok(());
        };
        if let Some(rows) = rows(lay, read) {
            return self.layer(rows, 0, q, Some(d_y), Some(d_q), decay, coefficients, d_state, inside, false);
        }
        decay.apply(g, lay, d_state, false);
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
        written: &Written<'_, T>,
        mut d_v: MatMut<'_, T>,
        coefficients: &Coefficients<'_, T>,
        d_state: &mut [T],
        inside: &mut Inside<'_, T>,
    ) -> Result<()> {
        let (g, lay, Place { from, n, .. }) = (self.g, self.lay, self.place);
        if lay.spec.chunk == 1 && lay.spec.clip.is_none() {
            self.solve(coefficients, inside)?;
            let z = lay.output_rows(inside.z, 0, 0, n)?;
            for t in 0..n {
                d_v.row_mut(t).iter_mut().zip(z.row(t)).for_each(|(d, &z)| *d = -z);
            }
            return self.keys(Rows::Before, 0, n, coefficients, d_state, inside, true);
        }
        for Group { t0, n, seen, row } in self.place.groups(lay).rev() {
            for t in (t0..t0 + n).rev().filter(|t| tokens.mask.writes(from + t)) {
                let theta = tokens.theta.at((from + t, 0, lay.spec.chunk));
                inside.rate[t] = rate_vjp(lay, t, theta, self.open, written, inside)?;
            }
            g.vectorise(
                #[inline(always)]
                || plain(lay, t0, d_v.rb().sub(t0, n), inside),
            )?;
            self.keys(Rows::Fixed(row), seen, n, coefficients, d_state, inside, false)?;
        }
        Ok(())
    }

    /// Λ = 2c Δ̄, where every row of Δ̄ loses what later rows took of its own: to `inside.z`. The keys' products stay in `inside.square[1]`.
    fn solve(&self, coefficients: &Coefficients<'_, T>, inside: &mut Inside<'_, T>) -> Result<()> {
        let (g, lay, n, h) = (self.g, self.lay, self.place.n, self.open.inputs(self.lay, 0, 0, self.place.n)?);
        let (width, scale) = (lay.spec.value_width(), T::from_f64(2.0 * lay.spec.loss_scale()));
        let stride = lay.stride(width);
        inside.z[..n * stride].copy_from_slice(&inside.delta[..n * stride]);
        let [weights, products] = &mut inside.square;
        g.band(Beside::lower(0), h, h.t(), MatMut::new(products, n, n)?);
        weights[..n * n].copy_from_slice(&products[..n * n]);
        g.weight(Weighting {
            n,
            seen: n,
            visible: (0, 1),
            c: coefficients.c_rows(0),
            c_stride: coefficients.stride(1),
            rate: self.open.rate,
            scores: weights,
            stride: n,
        });
        let weights = Mat::new(weights, n, n)?;
        for r0 in (0..n).step_by(TOGETHER).rev() {
            let end = (r0 + TOGETHER).min(n);
            let (block, below) = inside.z[r0 * stride..].split_at_mut((end - r0) * stride);
            let mut block = MatMut::strided(block, end - r0, width, stride)?;
            let below = Mat::strided(below, n - end, width, stride, 1)?;
            for (j, columns) in lay.columns(0) {
                if end < n {
                    let taken = weights.block(end, n - end, r0, end - r0).t();
                    g.gemm(Store::Sub, taken, below.block(0, n - end, j, columns), block.rb().columns(j, columns));
                }
                g.substitute(Substitution {
                    weights: weights.block(r0, end - r0, r0, end - r0),
                    rows: block.rb().columns(j, columns),
                    values: None,
                    scale,
                    order: Order::Up,
                });
            }
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
        let Self { g, lay, start, open, reading, .. } = self;
        layer_vjp(
            *g,
            *lay,
            rows,
            0,
            seen,
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
