//! Chunk 1: one token after another, each at the weights that the last one left. Batches in the chunk form and streams
//! go through here, so their bits are equal.
//!
//! A plain linear memory without a clip hands its tokens to [`Arithmetic::carry`]; every other visits a layer's W once
//! more for each direction, and changes and reads it in one sweep.

use super::feed::{Pairs, PieceTokens, Place, Wanted};
use super::frame::Frame;
use super::gates::Tokens;
use super::guard::{Guard, admitted};
use super::layout::Layout;
use super::read;
use super::spec::{MemorySpec, Network, Read};
use super::work::{Reading, Writing};
use super::write;
use crate::arithmetic::{Arithmetic, CARRIED, Carried, Carry, Factors, Learn, Probe, carry_len};
use crate::error::Result;
use crate::ops::activation;
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::{Room, Scratch, counted};
use crate::view::{Mat, MatMut};

/// Elements of scratch, whatever the number of tokens.
pub(super) fn scratch_len(spec: &MemorySpec) -> usize {
    if linear(spec) {
        counted(|room| -> Result<[&mut [f64]; 2]> { strip(room, spec) })
    } else {
        counted(|room| StepSpace::<f64>::take(room, Layout::new(spec, 1)))
    }
}

/// What [`carry`] works in: squares of residuals, which lie first so that what they say of W's growth can be read, and
/// its own.
fn strip<'a, T: Scalar, R: Room<'a, T>>(room: &mut R, spec: &MemorySpec) -> Result<[&'a mut [T]; 2]> {
    Ok([room.take(CARRIED)?, room.take(carry_len(spec.key_width(), spec.value_width()))?])
}

/// Can all tokens pass through a strip of columns before the next strip?
pub(super) fn linear(spec: &MemorySpec) -> bool {
    spec.layers() == 1 && !spec.network.is_residual() && spec.clip.is_none()
}

/// Tokens of a batch or push, each a piece; returns how many were clipped.
pub(super) fn tokens<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    read: Read,
    feed: PieceTokens<'_, T>,
    state: &mut [T],
    mut wanted: Wanted<'_, T>,
    scratch: &mut [T],
) -> Result<u64> {
    let n = feed.place.n;
    if linear(on.lay.spec) {
        for at in (0..n).step_by(CARRIED) {
            let rows = CARRIED.min(n - at);
            carry(on, read, feed.part(at, rows), state, wanted.part(at, rows), scratch)?;
        }
        return Ok(0);
    }
    let mut step = Step::new(on, read, state, scratch)?;
    let mut clipped = 0;
    for t in 0..n {
        let coming = Coming { tokens: feed.tokens, t: feed.place.from + t, more: t + 1 < n };
        if step.token(coming, wanted.part(t, 1), None)? == Some(true) {
            clipped += 1;
        }
    }
    Ok(clipped)
}

/// At most [`CARRIED`] tokens through a linear memory.
pub(super) fn carry<T: Scalar, G: Arithmetic<T>>(
    on: Frame<'_, G>,
    read: Read,
    feed: PieceTokens<'_, T>,
    state: &mut [T],
    Wanted { y, surprise }: Wanted<'_, T>,
    scratch: &mut [T],
) -> Result<()> {
    let (spec, n, tokens) = (on.lay.spec, feed.place.n, feed.tokens);
    let loss = T::from_f64(spec.loss_scale());
    let mut factors = [Factors::default(); CARRIED];
    for (t, f) in factors.part_mut(..n).iter_mut().enumerate() {
        let at = (feed.place.from + t, 0, 1);
        let (keep, eta, rate) = (T::ONE - tokens.alpha.at(at), tokens.eta.at(at), tokens.theta.at(at));
        *f = Factors { keep, eta, rate, writes: feed.writes(t) };
    }
    let (w, s) = state.halves_mut(spec.params());
    let [e2, work] = strip(&mut Scratch::new(scratch), spec)?;
    let e2 = e2.part_mut(..n);
    let c = Carry {
        k: feed.k(),
        v: feed.v(),
        q: feed.q(),
        after: read.is_after(),
        scale: loss + loss,
        factors: factors.part(..n),
    };
    on.g.carry(c, Carried { w, s, y, squares: e2, work });
    if let Some(surprise) = surprise {
        for (out, &e2) in surprise.iter_mut().zip(&*e2) {
            *out = loss * e2; // c ‖M(k) − v‖²
        }
    }
    Ok(())
}

/// W of one layer, no more and no less.
fn layer<'x, T>(lay: Layout<'_>, params: &'x [T], l: usize) -> &'x [T] {
    params.part(lay.spec.layer_offset(l)..lay.spec.layer_offset(l + 1))
}

/// What [`Step`] works in.
struct StepSpace<'a, T> {
    writing: Writing<'a, T>,
    reading: Reading<'a, T>,
    /// −rate δ of one layer.
    delta: &'a mut [T],
}

impl<'a, T: Scalar> StepSpace<'a, T> {
    fn take<R: Room<'a, T>>(room: &mut R, lay: Layout<'_>) -> Result<Self> {
        Ok(Self {
            writing: Writing::take(room, lay)?,
            reading: Reading::take(room, lay)?,
            delta: room.take(lay.widest())?,
        })
    }
}

/// Token t of a batch or push.
#[derive(Clone, Copy)]
pub(super) struct Coming<'a, T> {
    pub tokens: &'a Tokens<'a, T>,
    pub t: usize,
    /// The next one follows at once.
    pub more: bool,
}

/// A memory of any shape, token by token.
pub(super) struct Step<'a, T, G> {
    on: Frame<'a, G>,
    read: Read,
    w: &'a mut [T],
    s: &'a mut [T],
    writing: Writing<'a, T>,
    reading: Reading<'a, T>,
    /// −rate δ of one layer.
    delta: &'a mut [T],
    /// The first layer's product with the coming key is known.
    begun: bool,
}

impl<'a, T: Scalar, G: Arithmetic<T>> Step<'a, T, G> {
    /// `on`: one token's rows.
    pub fn new(on: Frame<'a, G>, read: Read, state: &'a mut [T], scratch: &'a mut [T]) -> Result<Self> {
        let (w, s) = state.halves_mut(on.lay.spec.params());
        let StepSpace { writing, reading, delta } = StepSpace::take(&mut Scratch::new(scratch), on.lay)?;
        Ok(Self { on, read, w, s, writing, reading, delta, begun: false })
    }

    /// One token. Whether its gradient was clipped; none, and nothing has changed, when `guard` refuses it.
    pub fn token(
        &mut self,
        Coming { tokens, t, more }: Coming<'_, T>,
        Wanted { y, surprise }: Wanted<'_, T>,
        guard: Option<&mut Guard<T>>,
    ) -> Result<Option<bool>> {
        let (lay, at) = (self.on.lay, (t, 0, 1));
        let one = PieceTokens::new(tokens, Place::of_batch(t, 1));
        let q = one.q();
        let mut loss = [T::ZERO];
        self.gradient(Pairs { k: one.k(), v: one.v(), from: 0 }, surprise.is_some().then_some(&mut loss[..]))?;
        let writes = one.writes(0);
        let clipped = write::rate(lay, one, 0, &mut self.writing)?;
        if let Some(guard) = guard {
            let (admitted, next) = admitted(self.on, one, &self.writing, *guard)?;
            if admitted == 0 {
                return Ok(None);
            }
            *guard = next;
        }
        if let Some(surprise) = surprise {
            surprise.become_copy(&loss);
        }
        // Read-outs by the weights before the write come first, those after it with the sweep that writes.
        let after = self.read.is_after();
        if y.is_some() {
            self.reading.x.part_mut(..q.cols()).become_copy(q.row(0));
            if !(after && writes) {
                self.ask()?;
            }
        }
        let answered = y.is_some() && !(after && writes);
        let y = match y {
            Some(y) if answered => {
                self.answer(q, y)?;
                None
            }
            y => y,
        };
        self.begun = writes && more;
        if writes {
            let next = if more { Some(tokens.k.row(t + 1)) } else { None };
            let gates = |set| [T::ONE - tokens.alpha.of(set).at(at), tokens.eta.of(set).at(at)];
            self.change(gates, y.is_some(), next)?;
            if let Some(y) = y {
                self.answer(q, y)?;
            }
        }
        Ok(Some(clipped))
    }

    /// H and Δ of the token: forward, residuals, backward.
    fn gradient(&mut self, pairs: Pairs<'_, T>, surprise: Option<&mut [T]>) -> Result<()> {
        let (Frame { g, lay }, layers) = (self.on, self.on.lay.spec.layers());
        let Writing { open, written } = &mut self.writing;
        open.h.part_mut(..pairs.k.cols()).become_copy(pairs.k.row(0));
        for l in 0..layers {
            // z = h W; the sweep of the last token may have formed the first layer's beside its own work.
            if l > 0 || !self.begun {
                let h = lay.input_rows(open.h, l, 0, 1)?;
                let mut z = lay.output_rows_mut(written.z, l, 0, 1)?;
                g.vecmat(h.row(0), layer(lay, self.w, l), z.row_mut(0));
            }
            if l + 1 < layers {
                // h of the next layer: φ(z).
                let z = lay.output_rows(written.z, l, 0, 1)?;
                let mut a = lay.input_rows_mut(open.h, l + 1, 0, 1)?;
                activation::forward(g, lay.spec.activation, z.row(0), a.row_mut(0));
            }
        }
        if !lay.spec.network.is_residual() {
            // Residuals look for z^L in Δ's place.
            let z = lay.output_rows(written.z, layers - 1, 0, 1)?;
            lay.output_rows_mut(open.delta, layers - 1, 0, 1)?.row_mut(0).become_copy(z.row(0));
        }
        write::residuals(self.on, self.w, pairs, &mut self.writing, surprise)?;
        let Writing { open, written } = &mut self.writing;
        for l in (1..layers).rev() {
            // δ of the layer below: (δ Wᵀ) ∘ φ′(z).
            let delta = lay.output_rows(open.delta, l, 0, 1)?;
            let mut d_a = lay.output_rows_mut(written.d_a, l - 1, 0, 1)?;
            g.matvec(layer(lay, self.w, l), delta.row(0), d_a.row_mut(0));
            let (z, d_a) = (lay.output_rows(written.z, l - 1, 0, 1)?, lay.output_rows(written.d_a, l - 1, 0, 1)?);
            let mut below = lay.output_rows_mut(open.delta, l - 1, 0, 1)?;
            activation::vjp(g, lay.spec.activation, z.row(0), d_a.row(0), below.row_mut(0));
        }
        Ok(())
    }

    /// z of every layer for the query, by the weights as they are.
    fn ask(&mut self) -> Result<()> {
        for l in 0..self.on.lay.spec.layers() {
            let x = self.on.lay.input_rows(self.reading.x, l, 0, 1)?;
            let mut z = self.on.lay.output_rows_mut(self.reading.z, l, 0, 1)?;
            self.on.g.vecmat(x.row(0), layer(self.on.lay, self.w, l), z.row_mut(0));
            self.pass_on(l)?;
        }
        Ok(())
    }

    /// The next layer's input for the query.
    fn pass_on(&mut self, l: usize) -> Result<()> {
        if l + 1 < self.on.lay.spec.layers() {
            let z = self.on.lay.output_rows(self.reading.z, l, 0, 1)?;
            let mut x = self.on.lay.input_rows_mut(self.reading.x, l + 1, 0, 1)?;
            activation::forward(self.on.g, self.on.lay.spec.activation, z.row(0), x.row_mut(0));
        }
        Ok(())
    }

    /// Changes every layer by 1 − α and η of its set of gates, and if `asks` reads it in the same sweep; the first
    /// layer's product with the key `next` too.
    fn change(&mut self, gates: impl Fn(usize) -> [T; 2], asks: bool, next: Option<&[T]>) -> Result<()> {
        let (g, lay) = (self.on.g, self.on.lay);
        for l in 0..lay.spec.layers() {
            let ([keep, eta], rate) = (gates(lay.spec.set(l)), self.writing.open.rate.item(lay.spec.set(l)));
            let (h, residual) =
                (lay.input_rows(self.writing.open.h, l, 0, 1)?, lay.output_rows(self.writing.open.delta, l, 0, 1)?);
            // S ← η S − rate hᵀ δ, W ← (1 − α) W + S; and x W of the changed W for key and query, in one sweep.
            let delta = self.delta.part_mut(..residual.cols());
            for (o, &d) in delta.iter_mut().zip(residual.row(0)) {
                *o = -rate * d;
            }
            let mut z = lay.output_rows_mut(self.reading.z, l, 0, 1)?;
            let x = lay.input_rows(self.reading.x, l, 0, 1)?.row(0);
            // The layer below has given the query's input; the next token's key is known for the first layer only.
            let query = if asks { Some(Probe { x, out: z.row_mut(0) }) } else { None };
            let mut begun = lay.output_rows_mut(self.writing.written.z, l, 0, 1)?;
            let key = next.filter(|_| l == 0).map(|x| Probe { x, out: begun.row_mut(0) });
            let range = lay.spec.layer_offset(l)..lay.spec.layer_offset(l + 1);
            let change = Learn { x: h.row(0), delta, keep, eta };
            g.learn(change, self.w.part_mut(range.clone()), self.s.part_mut(range), [key, query]);
            if asks {
                self.pass_on(l)?;
            }
        }
        let gamma = lay.spec.params() - lay.spec.gamma_len()..lay.spec.params();
        let (w, s) = (self.w.part_mut(gamma.clone()), self.s.part_mut(gamma));
        let ([keep, eta], rate) = (gates(lay.spec.top_set()), self.writing.open.rate.item(lay.spec.top_set()));
        // γ by the last layer's gates.
        for ((w, s), &d) in w.iter_mut().zip(s).zip(&*self.writing.open.g_gamma) {
            *s = eta * *s - rate * d;
            *w = keep * *w + *s;
        }
        Ok(())
    }

    /// y from z of the last layer.
    fn answer(&mut self, q: Mat<'_, T>, mut y: MatMut<'_, T>) -> Result<()> {
        let lay = self.on.lay;
        match lay.spec.network {
            Network::Plain => {
                let z = lay.output_rows(self.reading.z, lay.spec.layers() - 1, 0, 1)?;
                y.row_mut(0).become_copy(z.row(0));
                Ok(())
            }
            Network::Residual => {
                self.reading.gamma.become_copy(lay.gamma(self.w));
                let reading = &mut self.reading;
                self.on.g.vectorise(
                    #[inline(always)]
                    || read::residual(lay, q, reading, y),
                )
            }
        }
    }
}
