//! The token form: the equations to the letter (`docs/MATH.md` sections 1 and 2), one token after another.
//!
//! With the chunk form it shares φ, the layer norm, their derivatives, sums of squares and the products of a row with
//! W, which `Portable` computes by plain loops, and nothing else: it is what the other forms are measured by. Gradients
//! are taken at the weights of the chunk's start (chunk 1: at the weights before the token), as in the chunk form.
//!
//! ```text
//! z^l = h^l W^l, h^{l+1} = φ(z^l), M(x) = z^L           (a residual network: x + LN(z^L) ∘ (1 + γ))
//! u = ∇ c ‖M(k) − v‖²: of W^l it is h^lᵀ δ^l, of γ it is g
//! f = min(1, clip / ‖u‖),  S ← η S − θ f u,  W ← (1 − α) W + S,  y = M(q)
//! ```

use core::ops::Range;

use super::feed::{PieceTokens, Returned};
use super::frame::Frame;
use super::layout::Layout;
use super::spec::{MemorySpec, Network, Read};
use crate::arithmetic::{Arithmetic, Store};
use crate::error::Result;
use crate::ops::rows::squares;
use crate::ops::{activation, layer_norm};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::{Room, Scratch, counted};

/// What a row leaves behind on its way through the network, layer by layer.
struct Pass<'a, T> {
    /// h^l: the layers' inputs.
    h: &'a mut [T],
    /// z^l: their outputs.
    z: &'a mut [T],
    /// φ′(z^l).
    slope: &'a mut [T],
    /// Residual: x̂ = LN(z^L).
    x_hat: &'a mut [T],
}

impl<'a, T: Scalar> Pass<'a, T> {
    fn take<R: Room<'a, T>>(room: &mut R, lay: Layout<'_>) -> Result<Self> {
        Ok(Self {
            h: room.take(lay.input_slab_len())?,
            z: room.take(lay.output_slab_len())?,
            slope: room.take(lay.output_slab_len())?,
            x_hat: room.take(lay.spec.gamma_len())?,
        })
    }
}

/// One token's rows, and the weights at the chunk's start.
struct TokenSpace<'a, T> {
    /// The key's.
    pass: Pass<'a, T>,
    /// The query's.
    asked: Pass<'a, T>,
    /// δ^l = ∂ℓ/∂z^l.
    delta: &'a mut [T],
    /// δ^l (W^l)ᵀ, at the place of the outputs of the layer below.
    d_h: &'a mut [T],
    /// e = ∂ℓ/∂M(k).
    e: &'a mut [T],
    /// g = ∂ℓ/∂γ.
    g_gamma: &'a mut [T],
    anchor: &'a mut [T],
}

impl<'a, T: Scalar> TokenSpace<'a, T> {
    fn take<R: Room<'a, T>>(room: &mut R, lay: Layout<'_>) -> Result<Self> {
        let (spec, outputs) = (lay.spec, lay.output_slab_len());
        Ok(Self {
            pass: Pass::take(room, lay)?,
            asked: Pass::take(room, lay)?,
            delta: room.take(outputs)?,
            d_h: room.take(outputs)?,
            e: room.take(spec.value_width())?,
            g_gamma: room.take(spec.gamma_len())?,
            anchor: room.take(spec.params())?,
        })
    }
}

/// Elements of scratch, whatever the number of tokens.
pub(super) fn scratch_len(spec: &MemorySpec) -> usize {
    counted(|room| TokenSpace::<f64>::take(room, Layout::new(spec, 1)))
}

/// One chunk of a batch; returns how many gradients were clipped.
pub(super) fn chunk<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    read: Read,
    feed: PieceTokens<'_, T>,
    state: &mut [T],
    returned: Returned<'_, T>,
    scratch: &mut [T],
) -> Result<u64> {
    let (lay, spec, Returned { mut y, mut surprise, mut delta }) = (on.lay, on.lay.spec, returned);
    let mut space = TokenSpace::take(&mut Scratch::new(scratch), lay)?;
    space.anchor.become_copy(state.part(..spec.params()));
    let mut clipped = 0;
    for t in 0..feed.place.n {
        let (k, v, q) = (feed.k(), feed.v(), feed.q());
        let (k, v, q, y) = (k.row(t), v.row(t), q.row(t), y.row_mut(t));
        let loss = gradient(on, [k, v], &mut space)?;
        if let Some(surprise) = surprise.as_deref_mut() {
            surprise.put(t, loss);
        }
        if let Some(delta) = &mut delta {
            delta.row_mut(t).become_copy(lay.output_rows(space.delta, spec.layers() - 1, 0, 1)?.row(0));
        }
        // M_{t−1}(q_t), or by the weights of the chunk's start; after the write M_t(q_t).
        match read {
            Read::Before => network(on, state.part(..spec.params()), q, &mut space.asked, y)?,
            Read::ChunkStart => network(on, space.anchor, q, &mut space.asked, y)?,
            Read::After => {}
        }
        if feed.writes(t) {
            let (f, at) = (clip_factor(lay, &space)?, feed.at(t, spec.chunk));
            clipped += u64::from(f < T::ONE);
            let gates = |set| {
                let [alpha, theta, eta] = [&feed.tokens.alpha, &feed.tokens.theta, &feed.tokens.eta];
                [alpha, theta, eta].map(|gate| gate.of(set).at(at))
            };
            update(lay, gates, f, &space, state)?;
        }
        if read.is_after() {
            network(on, state.part(..spec.params()), q, &mut space.asked, y)?;
        }
    }
    Ok(clipped)
}

/// W^l's place among the parameters.
fn matrix(spec: &MemorySpec, l: usize) -> Range<usize> {
    spec.layer_offset(l)..spec.layer_offset(l + 1)
}

/// γ's place among them.
fn gamma(spec: &MemorySpec) -> Range<usize> {
    spec.layer_offset(spec.layers())..spec.params()
}

/// y = M(x) at the parameters w.
fn network<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    w: &[T],
    x: &[T],
    pass: &mut Pass<'_, T>,
    y: &mut [T],
) -> Result<()> {
    let (lay, spec) = (on.lay, on.lay.spec);
    lay.input_rows_mut(pass.h, 0, 0, 1)?.row_mut(0).become_copy(x);
    for l in 0..spec.layers() {
        // z^l = h^l W^l
        let h = lay.input_rows(pass.h, l, 0, 1)?;
        lay.times(on.g, Store::Set, h, w, l, lay.output_rows_mut(pass.z, l, 0, 1)?)?;
        let z = lay.output_rows(pass.z, l, 0, 1)?;
        let z = z.row(0);
        if l + 1 < spec.layers() {
            // h^{l+1} = φ(z^l)
            let mut next = lay.input_rows_mut(pass.h, l + 1, 0, 1)?;
            let mut slope = lay.output_rows_mut(pass.slope, l, 0, 1)?;
            activation::forward_with_slope(on.g, spec.activation, z, next.row_mut(0), slope.row_mut(0));
        } else if !spec.network.is_residual() {
            y.become_copy(z);
        }
    }
    if spec.network.is_residual() {
        let z = lay.output_rows(pass.z, spec.layers() - 1, 0, 1)?;
        layer_norm::forward_row(z.row(0), pass.x_hat);
        for (((y, &x), &h), &gamma) in y.iter_mut().zip(x).zip(&*pass.x_hat).zip(w.part(gamma(spec))) {
            *y = x + h * (T::ONE + gamma);
        }
    }
    Ok(())
}

/// δ^l and g of the pair `[k, v]` at the weights of the chunk's start; returns ℓ = c ‖M(k) − v‖².
fn gradient<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    [k, v]: [&[T]; 2],
    space: &mut TokenSpace<'_, T>,
) -> Result<T> {
    let (lay, spec, TokenSpace { pass, delta, d_h, e, g_gamma, anchor, asked: _ }) = (on.lay, on.lay.spec, space);
    network(on, anchor, k, pass, e)?;
    let c = T::from_f64(spec.loss_scale());
    e.iter_mut().zip(v).for_each(|(e, &v)| *e -= v);
    let loss = c * squares(e);
    e.iter_mut().for_each(|e| *e *= c + c); // e = 2c (M(k) − v)
    let top = spec.layers() - 1;
    match spec.network {
        Network::Plain => lay.output_rows_mut(delta, top, 0, 1)?.row_mut(0).become_copy(e),
        Network::Residual => {
            // g = e ∘ x̂, δ^L = LN′ᵀ (e ∘ (1 + γ))
            g_gamma.iter_mut().zip(&**e).zip(&*pass.x_hat).for_each(|((g, &e), &h)| *g = e * h);
            e.iter_mut().zip(anchor.part(gamma(spec))).for_each(|(e, &gamma)| *e *= T::ONE + gamma);
            let z = lay.output_rows(pass.z, top, 0, 1)?;
            let r = layer_norm::forward_row(z.row(0), pass.x_hat);
            layer_norm::vjp_row(pass.x_hat, r, e, lay.output_rows_mut(delta, top, 0, 1)?.row_mut(0));
        }
    }
    for l in (1..spec.layers()).rev() {
        // δ^{l−1} = (δ^l (W^l)ᵀ) ∘ φ′(z^{l−1})
        let above = lay.output_rows(delta, l, 0, 1)?;
        lay.times_transposed(on.g, Store::Set, above, anchor, l, lay.output_rows_mut(d_h, l - 1, 0, 1)?)?;
        let (d_h, slope) = (lay.output_rows(d_h, l - 1, 0, 1)?, lay.output_rows(pass.slope, l - 1, 0, 1)?);
        let mut below = lay.output_rows_mut(delta, l - 1, 0, 1)?;
        for ((d, &d_h), &slope) in below.row_mut(0).iter_mut().zip(d_h.row(0)).zip(slope.row(0)) {
            *d = d_h * slope;
        }
    }
    Ok(loss)
}

/// f = min(1, clip / ‖u‖), where ‖u‖² = Σ_l ‖h^l‖² ‖δ^l‖² + ‖g‖²: the norm of hᵀ δ is ‖h‖ ‖δ‖.
fn clip_factor<T: Scalar>(lay: Layout<'_>, space: &TokenSpace<'_, T>) -> Result<T> {
    let Some(clip) = lay.spec.clip else { return Ok(T::ONE) };
    let mut norm2 = squares(space.g_gamma);
    for l in 0..lay.spec.layers() {
        let (h, delta) = (lay.input_rows(space.pass.h, l, 0, 1)?, lay.output_rows(space.delta, l, 0, 1)?);
        norm2 += squares(h.row(0)) * squares(delta.row(0));
    }
    let clip = T::from_f64(clip);
    Ok(if norm2 > clip * clip { clip / norm2.sqrt() } else { T::ONE })
}

/// S ← η S − θ f u, W ← (1 − α) W + S; `gates` gives α, θ and η of every set.
fn update<T: Scalar>(
    lay: Layout<'_>,
    gates: impl Fn(usize) -> [T; 3],
    f: T,
    space: &TokenSpace<'_, T>,
    state: &mut [T],
) -> Result<()> {
    let spec = lay.spec;
    let (w, s) = state.halves_mut(spec.params());
    // Of one row: S first, W takes the new one.
    let step = |[alpha, _, eta]: [T; 3], [w, s]: [&mut [T]; 2], rate: T, u: &[T]| {
        for ((w, s), &u) in w.iter_mut().zip(s).zip(u) {
            *s = eta * *s - rate * u;
            *w = (T::ONE - alpha) * *w + *s;
        }
    };
    for l in 0..spec.layers() {
        let (h, delta) = (lay.input_rows(space.pass.h, l, 0, 1)?, lay.output_rows(space.delta, l, 0, 1)?);
        let (gates, width) = (gates(spec.set(l)), spec.layer(l).1.max(1));
        let rows = w.part_mut(matrix(spec, l)).chunks_mut(width).zip(s.part_mut(matrix(spec, l)).chunks_mut(width));
        for ((w, s), &h) in rows.zip(h.row(0)) {
            // Row i of θ f hᵀ δ is θ f h_i δ.
            step(gates, [w, s], gates[1] * f * h, delta.row(0));
        }
    }
    let gates = gates(spec.top_set());
    step(gates, [w.part_mut(gamma(spec)), s.part_mut(gamma(spec))], gates[1] * f, space.g_gamma);
    Ok(())
}
