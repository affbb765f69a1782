//! Chunk 1: one token after another, each at the weights that the last one left. Batches in both forms and streams go
//! through here, so their bits are equal.
//!
//! A plain linear memory without a clip hands its tokens to [`Gemm::carry`]; every other visits a layer's W once more
//! for each direction, and changes and reads it in one sweep.

use super::exact::Place;
use super::gates::Tokens;
use super::guard::{Guard, admitted};
use super::layout::{Layout, Open};
use super::read;
use super::spec::{MemorySpec, Network, Read};
use super::work::{Reading, Written};
use super::write;
use crate::error::Result;
use crate::gemm::{CARRIED, Carried, Carry, Factors, Gemm, Learn, Probe, carry_len};
use crate::ops::activation;
use crate::scalar::Scalar;
use crate::scratch::Scratch;
use crate::view::{Mat, MatMut};

/// Elements of scratch, whatever the number of tokens.
pub(super) fn scratch_len(spec: &MemorySpec) -> usize {
    let lay = Layout::new(spec, 1);
    if linear(spec) {
        // Sums of squares lie first, where what they say of W's growth is read.
        CARRIED + carry_len(spec.key_width(), spec.value_width())
    } else {
        Open::<f64>::len(lay) + Written::<f64>::len(lay) + Reading::<f64>::len(lay) + lay.widest()
    }
}

/// Can all tokens pass through a strip of columns before the next strip?
pub(super) fn linear(spec: &MemorySpec) -> bool {
    spec.layers() == 1 && spec.network == Network::Plain && spec.clip.is_none()
}

/// Tokens `from .. from + n` of the batch, whose token 0 begins a chunk; returns how many were clipped.
pub(super) fn tokens<T: Scalar, G: Gemm<T>>(
    g: &G,
    spec: &MemorySpec,
    read: Read,
    tokens: &Tokens<'_, T>,
    from: usize,
    n: usize,
    state: &mut [T],
    mut y: Option<MatMut<'_, T>>,
    mut surprise: Option<&mut [T]>,
    scratch: &mut [T],
) -> Result<u64> {
    if linear(spec) {
        let mut at = 0;
        while at < n {
            let rows = CARRIED.min(n - at);
            let out = y.as_mut().map(|y| y.rb().sub(at, rows));
            let surprise = surprise.as_deref_mut().map(|s| &mut s[at..at + rows]);
            carry(g, spec, read, tokens, from + at, rows, state, out, surprise, scratch)?;
            at += rows;
        }
        return Ok(0);
    }
    let mut step = Step::new(g, spec, read, state, scratch)?;
    let mut clipped = 0;
    for t in 0..n {
        let out = y.as_mut().map(|y| y.rb().sub(t, 1));
        let surprise = surprise.as_deref_mut().map(|s| &mut s[t..t + 1]);
        if step.token(tokens, from + t, t + 1 < n, out, surprise, None)? == Some(true) {
            clipped += 1;
        }
    }
    Ok(clipped)
}

/// At most [`CARRIED`] tokens through a linear memory.
pub(super) fn carry<T: Scalar, G: Gemm<T>>(
    g: &G,
    spec: &MemorySpec,
    read: Read,
    tokens: &Tokens<'_, T>,
    from: usize,
    n: usize,
    state: &mut [T],
    y: Option<MatMut<'_, T>>,
    surprise: Option<&mut [T]>,
    scratch: &mut [T],
) -> Result<()> {
    let loss = T::from_f64(spec.loss_scale());
    let mut factors = [Factors::default(); CARRIED];
    for (t, f) in factors[..n].iter_mut().enumerate() {
        let at = (from + t, 0, 1);
        let (keep, eta, rate) = (T::ONE - tokens.alpha.at(at), tokens.eta.at(at), tokens.theta.at(at));
        *f = Factors { keep, eta, rate, writes: tokens.mask.writes(from + t) };
    }
    let (w, s) = state.split_at_mut(spec.params());
    let mut scratch = Scratch::new(scratch);
    let e2 = &mut scratch.take(CARRIED)?[..n];
    let work = scratch.take(carry_len(spec.key_width(), spec.value_width()))?;
    let c = Carry {
        k: tokens.k.sub(from, n),
        v: tokens.v.sub(from, n),
        q: tokens.q.sub(from, n),
        after: read == Read::After,
        scale: loss + loss,
        factors: &factors[..n],
    };
    g.carry(c, Carried { w, s, y, squares: e2, work });
    if let Some(surprise) = surprise {
        for (out, &e2) in surprise.iter_mut().zip(&*e2) {
            *out = loss * e2;
        }
    }
    Ok(())
}

/// W of one layer, no more and no less.
fn layer<'x, T>(lay: Layout<'_>, params: &'x [T], l: usize) -> &'x [T] {
    &params[lay.spec.layer_offset(l)..lay.spec.layer_offset(l + 1)]
}

/// A memory of any shape, token by token.
pub(super) struct Step<'a, T, G> {
    g: &'a G,
    lay: Layout<'a>,
    read: Read,
    w: &'a mut [T],
    s: &'a mut [T],
    open: Open<'a, T>,
    written: Written<'a, T>,
    reading: Reading<'a, T>,
    /// −rate δ of one layer.
    delta: &'a mut [T],
    /// The first layer's product with the coming key is known.
    begun: bool,
}

impl<'a, T: Scalar, G: Gemm<T>> Step<'a, T, G> {
    pub fn new(g: &'a G, spec: &'a MemorySpec, read: Read, state: &'a mut [T], scratch: &'a mut [T]) -> Result<Self> {
        let lay = Layout::new(spec, 1);
        let (w, s) = state.split_at_mut(spec.params());
        let mut scratch = Scratch::new(scratch);
        let open = Open::take(&mut scratch, lay)?;
        let written = Written::take(&mut scratch, lay)?;
        let reading = Reading::take(&mut scratch, lay)?;
        let delta = scratch.take(lay.widest())?;
        Ok(Self { g, lay, read, w, s, open, written, reading, delta, begun: false })
    }

    /// Token t of the batch; `more` when the next one follows at once. Whether its gradient was clipped; none, and nothing has changed,
    /// when `guard` refuses it.
    pub fn token(
        &mut self,
        tokens: &Tokens<'_, T>,
        t: usize,
        more: bool,
        y: Option<MatMut<'_, T>>,
        surprise: Option<&mut [T]>,
        guard: Option<&mut Guard<T>>,
    ) -> Result<Option<bool>> {
        let (lay, at) = (self.lay, (t, 0, 1));
        let (k, v, q) = (tokens.k.sub(t, 1), tokens.v.sub(t, 1), tokens.q.sub(t, 1));
        self.gradient(k, v, surprise)?;
        let writes = tokens.mask.writes(t);
        let theta = (&tokens.theta, at);
        let clipped = write::rate(lay, 0, k.row(0), writes, theta, &mut self.open, &mut self.written)?;
        if let Some(guard) = guard {
            let place = Place { from: t, n: 1, filled: 0, before: 0 };
            let (admitted, next) = admitted(self.g, lay, tokens, place, self.open.seen(), &self.written, *guard)?;
            if admitted == 0 {
                return Ok(None);
            }
            *guard = next;
        }
        let after = self.read == Read::After;
        if y.is_some() {
            self.reading.x[..q.cols()].copy_from_slice(q.row(0));
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
    fn gradient(&mut self, k: Mat<'_, T>, v: Mat<'_, T>, surprise: Option<&mut [T]>) -> Result<()> {
        let (g, lay) = (self.g, self.lay);
        let (open, written) = (&mut self.open, &mut self.written);
        let layers = lay.spec.layers();
        open.h[..k.cols()].copy_from_slice(k.row(0));
        for l in 0..layers {
            if l > 0 || !self.begun {
                let h = lay.input_rows(open.h, l, 0, 1)?;
                let mut z = lay.output_rows_mut(written.z, l, 0, 1)?;
                g.vecmat(h.row(0), layer(lay, self.w, l), z.row_mut(0));
            }
            if l + 1 < layers {
                let z = lay.output_rows(written.z, l, 0, 1)?;
                let mut a = lay.input_rows_mut(open.h, l + 1, 0, 1)?;
                activation::forward(g, lay.spec.activation, z.row(0), a.row_mut(0));
            }
        }
        if lay.spec.network == Network::Plain {
            let z = lay.output_rows(written.z, layers - 1, 0, 1)?;
            lay.output_rows_mut(open.delta, layers - 1, 0, 1)?.row_mut(0).copy_from_slice(z.row(0));
        }
        write::residuals(g, lay, self.w, k, v, 0, open, written, surprise)?;
        for l in (1..layers).rev() {
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
        for l in 0..self.lay.spec.layers() {
            let x = self.lay.input_rows(self.reading.x, l, 0, 1)?;
            let mut z = self.lay.output_rows_mut(self.reading.z, l, 0, 1)?;
            self.g.vecmat(x.row(0), layer(self.lay, self.w, l), z.row_mut(0));
            self.pass_on(l)?;
        }
        Ok(())
    }

    /// The next layer's input for the query.
    fn pass_on(&mut self, l: usize) -> Result<()> {
        if l + 1 < self.lay.spec.layers() {
            let z = self.lay.output_rows(self.reading.z, l, 0, 1)?;
            let mut x = self.lay.input_rows_mut(self.reading.x, l + 1, 0, 1)?;
            activation::forward(self.g, self.lay.spec.activation, z.row(0), x.row_mut(0));
        }
        Ok(())
    }

    /// Changes every layer by 1 − α and η of its set of gates, and if `asks` reads it in the same sweep; the first layer's product with the
    /// key `next` too.
    fn change(&mut self, gates: impl Fn(usize) -> [T; 2], asks: bool, next: Option<&[T]>) -> Result<()> {
        let (g, lay) = (self.g, self.lay);
        for l in 0..lay.spec.layers() {
            let ([keep, eta], rate) = (gates(lay.spec.set(l)), self.open.rate[lay.spec.set(l)]);
            let (h, residual) = (lay.input_rows(self.open.h, l, 0, 1)?, lay.output_rows(self.open.delta, l, 0, 1)?);
            let delta = &mut self.delta[..residual.cols()];
            for (o, &d) in delta.iter_mut().zip(residual.row(0)) {
                *o = -rate * d;
            }
            let mut z = lay.output_rows_mut(self.reading.z, l, 0, 1)?;
            let x = lay.input_rows(self.reading.x, l, 0, 1)?.row(0);
            let query = if asks { Some(Probe { x, out: z.row_mut(0) }) } else { None };
            let mut begun = lay.output_rows_mut(self.written.z, l, 0, 1)?;
            let key = next.filter(|_| l == 0).map(|x| Probe { x, out: begun.row_mut(0) });
            let range = lay.spec.layer_offset(l)..lay.spec.layer_offset(l + 1);
            let change = Learn { x: h.row(0), delta, keep, eta };
            g.learn(change, &mut self.w[range.clone()], &mut self.s[range], [key, query]);
            if asks {
                self.pass_on(l)?;
            }
        }
        let gamma = lay.spec.params() - lay.spec.gamma_len()..lay.spec.params();
        let (w, s) = (&mut self.w[gamma.clone()], &mut self.s[gamma]);
        let ([keep, eta], rate) = (gates(lay.spec.top_set()), self.open.rate[lay.spec.top_set()]);
        for ((w, s), &d) in w.iter_mut().zip(s).zip(&*self.open.g_gamma) {
            *s = eta * *s - rate * d;
            *w = keep * *w + *s;
        }
        Ok(())
    }

    /// y from z of the last layer.
    fn answer(&mut self, q: Mat<'_, T>, mut y: MatMut<'_, T>) -> Result<()> {
        let lay = self.lay;
        match lay.spec.network {
            Network::Plain => {
                let z = lay.output_rows(self.reading.z, lay.spec.layers() - 1, 0, 1)?;
                y.row_mut(0).copy_from_slice(z.row(0));
                Ok(())
            }
            Network::Residual => {
                self.reading.gamma.copy_from_slice(lay.gamma(self.w));
                let reading = &mut self.reading;
                self.g.vectorise(
                    #[inline(always)]
                    || read::residual(lay, q, reading, y),
                )
            }
        }
    }
}
