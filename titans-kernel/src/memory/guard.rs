//! What keeps a stream's numbers finite: a token is admitted only if W and S stay in range after it.
//!
//! A stream carries bounds of the Frobenius norms of W and S. They grow as the norms can at most, `s ← η s + rate ‖h‖
//! ‖δ‖`, `w ← (1 − α) w + s`: one number a token, so that no state need be looked through and nothing that was written
//! need be taken back. They grow linearly where the memory holds, and follow it where it runs away.

use super::feed::PieceTokens;
use super::frame::Frame;
use super::layout::Layout;
use super::spec::MemorySpec;
use super::work::Writing;
use crate::arithmetic::Arithmetic;
use crate::error::Result;
use crate::ops::rows::squares;
use crate::part::Parts;
use crate::scalar::Scalar;

/// Bounds of ‖W‖ and ‖S‖, over all layers and γ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Guard<T> {
    pub w: T,
    pub s: T,
}

/// Numbers of a [`Guard`] in a stream's block.
pub(super) const GUARD: usize = 2;

/// The largest norm of the weights: with it in every layer, an answer to a query of norm 10⁶ is still finite.
fn limit<T: Scalar>(spec: &MemorySpec) -> T {
    // 10^(30/L) and 10^(300/L).
    let roots: [f64; 4] = if T::BYTES == 4 { [1e30, 1e15, 1e10, 3e7] } else { [1e300, 1e150, 1e100, 1e75] };
    T::from_f64(roots.item((spec.layers().clamp(1, 4)) - 1))
}

/// The largest square of a residual's norm, and of a query's.
fn widest<T: Scalar>() -> [T; 2] {
    if T::BYTES == 4 { [T::from_f64(1e30), T::from_f64(1e12)] } else { [T::from_f64(1e300), T::from_f64(1e12)] }
}

/// What a token asks of the memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenDemand<T> {
    /// 1 − α, η and the rate, the largest of all layers; of no meaning where the token does not write.
    pub gates: [T; 3],
    pub writes: bool,
    /// ‖h‖² ‖δ‖² summed over layers, or an upper bound.
    pub gradient2: T,
    /// The largest ‖h‖² of a layer, where an open piece meets queries with it.
    pub input2: T,
    /// ‖q‖², or 0 where that is in range for sure.
    pub query2: T,
}

impl<T: Scalar> TokenDemand<T> {
    /// With a gradient of one layer, by the squares of its two factors' norms.
    #[inline(always)]
    pub fn with(self, h2: T, delta2: T) -> Self {
        Self { gradient2: both(h2, delta2), ..self }
    }

    /// With its query.
    #[inline(always)]
    pub fn asking(self, q: &[T]) -> Self {
        Self { query2: query2(q), ..self }
    }
}

/// Elements of at most this many need no norm: their own size bounds it, by √10⁶.
const SHORT: usize = 1_000_000;

/// Is no element of a row of at most a million larger than `most`, so that its norm is at most 10³ of it? A comparison
/// of all elements costs a fraction of a sum over them.
#[inline(always)]
pub(super) fn within<T: Scalar>(x: &[T], most: f64) -> bool {
    let most = T::from_f64(most);
    x.len() <= SHORT
        && x.iter().fold(
            true,
            #[inline(always)]
            |all, x| all & (x.abs() <= most),
        )
}

/// ‖q‖², or 0 where every element says that it is at most 10⁶.
#[inline(always)]
fn query2<T: Scalar>(q: &[T]) -> T {
    if within(q, 1e3) { T::ZERO } else { squares(q) }
}

/// ‖h‖² ‖δ‖², and a little of ‖δ‖² alone: a key of zeros hides nothing, what its surprise is made of must be in range
/// too.
#[inline(always)]
fn both<T: Scalar>(h2: T, delta2: T) -> T {
    h2 * delta2 + T::from_f64(1e-6) * delta2
}

impl<T: Scalar> Guard<T> {
    /// Of initial weights; not finite where they are not.
    pub fn of(w0: &[T]) -> Self {
        Self { w: squares(w0).sqrt(), s: T::ZERO }
    }

    pub fn load(block: &[T]) -> Self {
        Self { w: block.item(0), s: block.item(1) }
    }

    pub fn save(self, block: &mut [T]) {
        block.part_mut(..2).become_copy(&[self.w, self.s]);
    }

    /// The bounds after a token that was written.
    #[inline(always)]
    pub fn grown(self, step: TokenDemand<T>) -> Self {
        if !step.writes {
            return self;
        }
        let [keep, eta, rate] = step.gates;
        // ‖S‖ ≤ η ‖S‖ + rate ‖hᵀ δ‖, ‖W‖ ≤ (1 − α) ‖W‖ + ‖S‖.
        let s = eta * self.s + rate * step.gradient2.sqrt();
        Self { w: keep * self.w + s, s }
    }

    /// The bounds after a token; none where it must be refused. What is not a number is never in range.
    #[inline(always)]
    pub fn after(self, spec: &MemorySpec, step: TokenDemand<T>) -> Option<Self> {
        let [residual2, query2] = widest::<T>();
        let (next, most) = (self.grown(step), limit::<T>(spec));
        let gates = !step.writes || in_range(step.gates);
        // A later query meets rate · (h_q · h) before δ makes it small: a layer norm's δ may be as small as its input
        // is large.
        let met = !step.writes || step.gates[2] * step.input2.sqrt() <= most;
        let fits = met && next.w <= most && next.s <= most && step.gradient2 <= residual2 && step.query2 <= query2;
        (gates && fits).then_some(next)
    }
}

/// 1 − α, η and the rate that no layer's exceed; not numbers where one of a layer's is out of range. ‖diag(η^l) S‖ ≤
/// max η ‖S‖, and so for the others: bounds of the norms over all layers stay bounds.
#[inline(always)]
fn largest<T: Scalar>(sets: usize, gates: impl Fn(usize) -> [T; 3]) -> [T; 3] {
    let mut most = gates(0);
    if sets > 1 {
        for next in (0..sets).map(gates) {
            if !in_range(next) {
                return [T::NAN; 3];
            }
            most.iter_mut().zip(next).filter(|(most, x)| **most < *x).for_each(|(most, x)| *most = x);
        }
    }
    most
}

/// Gates beyond 1 would let the coefficients of an open piece grow where the bounds, of weights of 0, do not.
#[inline(always)]
fn in_range<T: Scalar>([keep, eta, rate]: [T; 3]) -> bool {
    let unit = |x: T| x >= T::ZERO && x <= T::ONE;
    unit(keep) && unit(eta) && rate >= T::ZERO
}

/// How many of a place's tokens are admitted, whose Δ and rates are known, and the bounds after them.
pub(super) fn admitted<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    feed: PieceTokens<'_, T>,
    writing: &Writing<'_, T>,
    guard: Guard<T>,
) -> Result<(usize, Guard<T>)> {
    let (lay, place, tokens) = (on.lay, feed.place, feed.tokens);
    on.g.vectorise(
        #[inline(always)]
        || {
            let mut guard = guard;
            for t in 0..place.n {
                let (number, i) = (place.from + t, place.filled + t);
                let at = feed.at(t, lay.spec.chunk);
                let own = |set: usize| {
                    let (alpha, eta) = (tokens.alpha.of(set).at(at), tokens.eta.of(set).at(at));
                    [T::ONE - alpha, eta, writing.open.rate.item(set * lay.rows + i)]
                };
                let (gradient2, input2) = gradient2(lay, writing, i, tokens.k.row(number))?;
                let step = TokenDemand {
                    gates: largest(lay.spec.gate_sets(), own),
                    writes: feed.writes(t),
                    gradient2,
                    input2,
                    query2: query2(tokens.q.row(number)),
                };
                match guard.after(lay.spec, step) {
                    Some(next) => guard = next,
                    None => return Ok((t, guard)),
                }
            }
            Ok((place.n, guard))
        },
    )
}

/// Σ ‖h‖² ‖δ‖² + ‖g_γ‖² of the open piece's token i, and the largest ‖h‖².
#[inline(always)]
fn gradient2<T: Scalar>(lay: Layout<'_>, writing: &Writing<'_, T>, i: usize, key: &[T]) -> Result<(T, T)> {
    let Writing { open, written } = writing;
    let row = i * lay.spec.gamma_len()..(i + 1) * lay.spec.gamma_len();
    // A layer norm may hide how large the error is that the surprise is made of.
    let mut sum = if row.is_empty() {
        T::ZERO
    } else {
        squares(open.g_gamma.part(row.clone())) + both(T::ZERO, squares(written.e.part(row)))
    };
    let mut most = T::ZERO;
    for l in 0..lay.spec.layers() {
        let h = squares(if l == 0 { key } else { lay.input_rows(open.h, l, i, 1)?.row(0) });
        // ‖hᵀ δ‖ = ‖h‖ ‖δ‖: the matrix is of rank one.
        let delta = squares(lay.output_rows(open.delta, l, i, 1)?.row(0));
        sum += both(h, delta);
        // What is not a number stays.
        most = if h <= most { most } else { h };
    }
    Ok((sum, most))
}
