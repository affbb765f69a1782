//! What a memory is fed with: keys, values, queries, the three gates of every token, and which tokens write.

use super::spec::{MAX_LAYERS, MemorySpec};
use crate::error::{Error, Result, expect_len};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::Mat;

/// One gate (α, θ or η) over the tokens: a value a token or a value a chunk.
///
/// ```
/// use titans_kernel::memory::Gate;
///
/// let theta = [0.9, 0.1, 0.5, 0.5];
/// let of_tokens = Gate::tokens(&theta);
/// let of_chunks = Gate::chunks(&theta[..2]); // of two chunks
/// assert_eq!((of_tokens.entries(4, 0, 2), of_chunks.entries(4, 0, 2)), (4, 2));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a, T> {
    data: &'a [T],
    stride: usize,
    per_chunk: bool,
    /// Values a token or chunk: 1 for all layers, or one a layer, so many elements apart.
    layers: usize,
    apart: usize,
}

impl<'a, T: Scalar> Gate<'a, T> {
    /// One value a token, one after another.
    pub const fn tokens(data: &'a [T]) -> Self {
        Self::strided_tokens(data, 1)
    }

    /// One value a token, `stride` elements apart: a gate inside a `[time, 3, heads]` array.
    pub const fn strided_tokens(data: &'a [T], stride: usize) -> Self {
        Self { data, stride, per_chunk: false, layers: 1, apart: 0 }
    }

    /// One value a chunk ("parameters as functions of chunks", section 3.2).
    pub const fn chunks(data: &'a [T]) -> Self {
        Self::strided_chunks(data, 1)
    }

    /// A value for each of `layers` layers, `apart` elements from one to the next, in the place of every value
    /// ([`MemorySpec::layer_gates`](super::MemorySpec::layer_gates)). A gate without is one for all layers.
    pub const fn layers(self, layers: usize, apart: usize) -> Self {
        Self { layers, apart, ..self }
    }

    /// One value a chunk, `stride` elements apart.
    pub const fn strided_chunks(data: &'a [T], stride: usize) -> Self {
        Self { data, stride, per_chunk: true, layers: 1, apart: 0 }
    }

    /// The gate of layer l alone.
    pub(super) fn of(self, l: usize) -> Self {
        if self.layers == 1 {
            return self;
        }
        Self { data: self.data.get(l * self.apart..).unwrap_or(&[]), layers: 1, ..self }
    }

    /// Values for `tokens` tokens in chunks of `chunk`, the first token `before` tokens into its chunk.
    pub const fn entries(&self, tokens: usize, before: usize, chunk: usize) -> usize {
        if !self.per_chunk {
            tokens
        } else if tokens == 0 {
            0
        } else {
            before.saturating_add(tokens).div_ceil(if chunk == 0 { 1 } else { chunk })
        }
    }

    /// Index of token t's value among [`Gate::entries`], for `(t, before, chunk)`.
    pub(super) const fn entry_index(&self, (t, before, chunk): (usize, usize, usize)) -> usize {
        if self.per_chunk { (before + t) / if chunk == 0 { 1 } else { chunk } } else { t }
    }

    /// Values for `tokens` tokens in all: as many gradients it has, `[entries, layers]`.
    pub(super) const fn gradient_len(&self, tokens: usize, before: usize, chunk: usize) -> usize {
        self.entries(tokens, before, chunk).saturating_mul(self.layers)
    }

    /// Where layer l's value for token t lies among [`Gate::gradient_len`].
    pub(super) const fn value_index(&self, at: (usize, usize, usize), l: usize) -> usize {
        self.entry_index(at) * self.layers + if l < self.layers { l } else { 0 }
    }

    /// The gate of token t, for `(t, before, chunk)`.
    pub(super) fn at(&self, at: (usize, usize, usize)) -> T {
        self.data.item(self.entry_index(at) * self.stride)
    }

    #[inline(always)]
    fn check(&self, what: &'static str, tokens: usize, before: usize, chunk: usize) -> Result<()> {
        let entries = self.entries(tokens, before, chunk);
        let needed = if entries == 0 { 0 } else { (entries - 1).saturating_mul(self.stride).saturating_add(1) };
        if self.data.len() < needed {
            return Err(Error::Shape { what, expected: needed, found: self.data.len() });
        }
        Ok(())
    }

    /// What [`Gate::check`] does not see: is it for one layer or for `sets`, and long enough for all of them?
    fn check_layers(&self, [what, layers]: [&'static str; 2], entries: usize, sets: usize) -> Result<()> {
        if self.layers != 1 && self.layers != sets {
            return Err(Error::Shape { what: layers, expected: sets, found: self.layers });
        }
        let last = entries.saturating_sub(1).saturating_mul(self.stride);
        let last = last.saturating_add(self.apart.saturating_mul(self.layers - 1));
        let needed = if entries == 0 { 0 } else { last.saturating_add(1) };
        if self.data.len() < needed {
            return Err(Error::Shape { what, expected: needed, found: self.data.len() });
        }
        Ok(())
    }
}

/// Which tokens write.
///
/// ```
/// use titans_kernel::memory::{Form, Gate, Mask, MemorySpec, Outputs, Read, Tokens, forward, forward_scratch_len};
/// use titans_kernel::{Mat, MatMut, Portable};
///
/// let spec = MemorySpec::new(&[2, 1])?;
/// let (keys, values) = ([1.0, 0.0, 0.0, 1.0], [0.5, 0.25]); // two tokens
/// let (k, v, zero, one) = (Mat::new(&keys, 2, 2)?, Mat::new(&values, 2, 1)?, [0.0; 2], [1.0; 2]);
/// let [alpha, theta, eta] = [&zero, &one, &zero].map(|x| Gate::tokens(x));
/// let mut scratch = vec![0.0; forward_scratch_len(&spec, Form::Chunk)];
/// let mut answers = |mask| {
///     let (mut state, mut y) = (vec![0.0; spec.state_len()], [f64::NAN; 2]);
///     let outputs = Outputs { state: &mut state, y: MatMut::new(&mut y, 2, 1)?, surprise: None, boundaries: None };
///     let tokens = Tokens { k, v, q: k, alpha, theta, eta, mask };
///     forward(&Portable, &spec, Form::Chunk, Read::After, &tokens, outputs, &mut scratch)?;
///     Ok::<_, titans_kernel::Error>(y)
/// };
/// assert_eq!(answers(Mask::Write)?, values);
/// assert_eq!(answers(Mask::ReadOnly)?, [0.0; 2]);
/// assert_eq!(answers(Mask::Tokens(&[0, 1]))?, [0.5, 0.0]); // the second one reads
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub enum Mask<'a> {
    /// All of them.
    #[default]
    Write,
    /// None: every query is answered and the memory does not change.
    ReadOnly,
    /// One entry a token; a token whose entry is not 0 reads but leaves W and S as they are.
    Tokens(&'a [u32]),
}

impl Mask<'_> {
    /// Does token t write?
    pub(super) fn writes(&self, t: usize) -> bool {
        match self {
            Self::Write => true,
            Self::ReadOnly => false,
            Self::Tokens(m) => m.item(t) == 0,
        }
    }
}

/// The tokens of one memory: row t of every matrix and entry t of every gate belong to token t.
///
/// ```
/// use titans_kernel::memory::{Gate, Mask, Tokens};
/// use titans_kernel::{Error, Mat};
///
/// let (rows, values) = ([1.0, 0.0, f32::NAN, 1.0], [0.5, 0.5]);
/// let (k, gate) = (Mat::new(&rows, 2, 2)?, Gate::tokens(&values));
/// let tokens = Tokens { k, v: k, q: k, alpha: gate, theta: gate, eta: gate, mask: Mask::Write };
/// assert_eq!(tokens.len(), 2);
/// assert_eq!(tokens.check_values(0, 1), Err(Error::Value { what: "k", index: 2 })); // the second key
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a, T> {
    /// Keys `[n, d_0]`.
    pub k: Mat<'a, T>,
    /// Values `[n, d_L]`.
    pub v: Mat<'a, T>,
    /// Queries `[n, d_0]`.
    pub q: Mat<'a, T>,
    /// α in [0, 1]: how much is forgotten.
    pub alpha: Gate<'a, T>,
    /// θ ≥ 0: inner learning rate.
    pub theta: Gate<'a, T>,
    /// η in [0, 1]: decay of the momentum.
    pub eta: Gate<'a, T>,
    /// Which tokens write.
    pub mask: Mask<'a>,
}

impl<T: Scalar> Tokens<'_, T> {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.k.rows()
    }

    /// No token at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Do all shapes fit together, for this memory, `before` tokens into a chunk?
    pub(super) fn check(&self, spec: &MemorySpec, before: usize) -> Result<()> {
        self.fit(spec.key_width(), spec.value_width(), before, spec.chunk, [spec.gate_sets(); 3])
    }

    fn fit(&self, key: usize, value: usize, before: usize, chunk: usize, sets: [usize; 3]) -> Result<()> {
        let n = self.len();
        expect_len("k columns", key, self.k.cols())?;
        expect_len("v rows", n, self.v.rows())?;
        expect_len("v columns", value, self.v.cols())?;
        expect_len("q rows", n, self.q.rows())?;
        expect_len("q columns", key, self.q.cols())?;
        for (what, m) in [("k column stride", &self.k), ("v column stride", &self.v), ("q column stride", &self.q)] {
            expect_len(what, 1, m.col_stride())?;
        }
        self.alpha.check("alpha", n, before, chunk)?;
        self.theta.check("theta", n, before, chunk)?;
        self.eta.check("eta", n, before, chunk)?;
        if self.alpha.layers != 1 || self.theta.layers != 1 || self.eta.layers != 1 {
            self.fit_layers(n, before, chunk, sets)?;
        }
        if let Mask::Tokens(m) = self.mask {
            expect_len("mask", n, m.len())?;
        }
        Ok(())
    }

    /// [`Gate::check_layers`] of all gates, out of the way of those that layers share.
    #[inline(never)]
    fn fit_layers(&self, n: usize, before: usize, chunk: usize, sets: [usize; 3]) -> Result<()> {
        let names = [["alpha", "alpha layers"], ["theta", "theta layers"], ["eta", "eta layers"]];
        let gates = [&self.alpha, &self.theta, &self.eta];
        gates
            .into_iter()
            .zip(names)
            .zip(sets)
            .try_for_each(|((gate, names), sets)| gate.check_layers(names, gate.entries(n, before, chunk), sets))
    }

    /// Are all numbers finite and all gates in range? The kernel does not ask by itself: a caller with untrusted
    /// input does, before it writes. Shapes must fit (a call of [`super::forward`] with them would pass); `before` is
    /// the number of tokens in the unfinished chunk, 0 for a batch.
    ///
    /// # Errors
    /// [`Error::Value`] for a number, [`Error::Range`] for a gate, naming the argument and the element (for matrices
    /// `row · columns + column`).
    pub fn check_values(&self, before: usize, chunk: usize) -> Result<()> {
        let layers = [&self.alpha, &self.theta, &self.eta].map(|gate| gate.layers.clamp(1, MAX_LAYERS));
        self.fit(self.k.cols(), self.v.cols(), before, chunk, layers)?;
        for (what, m) in [("k", &self.k), ("v", &self.v), ("q", &self.q)] {
            for i in 0..m.rows() {
                if let Some(j) = m.row(i).iter().position(|x| !x.finite()) {
                    return Err(Error::Value { what, index: i * m.cols() + j });
                }
            }
        }
        for t in 0..self.len() {
            let at = (t, before, chunk);
            let unit = |x: T| x >= T::ZERO && x <= T::ONE;
            let rate = |x: T| x.finite() && x >= T::ZERO;
            for (what, gate, ok) in [
                ("alpha", &self.alpha, &unit as &dyn Fn(T) -> bool),
                ("theta", &self.theta, &rate),
                ("eta", &self.eta, &unit),
            ] {
                if let Some(l) = (0..gate.layers).find(|&l| !ok(gate.of(l).at(at))) {
                    return Err(Error::Range { what, index: gate.value_index(at, l) });
                }
            }
        }
        Ok(())
    }
}
