//! What a memory is fed with: keys, values, queries, the three gates of every token, and which tokens write.

use crate::error::{Error, Result, expect_len};
use crate::scalar::Scalar;
use crate::view::Mat;

/// One gate (α, θ or η) over the tokens: a value a token or a value a chunk.
#[derive(Clone, Copy, Debug)]
pub struct Gate<'a, T> {
    data: &'a [T],
    stride: usize,
    per_chunk: bool,
}

impl<'a, T: Scalar> Gate<'a, T> {
    /// One value a token, one after another.
    pub const fn tokens(data: &'a [T]) -> Self {
        Self { data, stride: 1, per_chunk: false }
    }

    /// One value a token, `stride` elements apart: a gate inside a `[time, 3, heads]` array.
    pub const fn strided(data: &'a [T], stride: usize) -> Self {
        Self { data, stride, per_chunk: false }
    }

    /// One value a chunk ("parameters as functions of chunks", section 3.2).
    pub const fn chunks(data: &'a [T]) -> Self {
        Self { data, stride: 1, per_chunk: true }
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
    pub(super) const fn entry(&self, (t, before, chunk): (usize, usize, usize)) -> usize {
        if self.per_chunk { (before + t) / if chunk == 0 { 1 } else { chunk } } else { t }
    }

    /// The gate of token t, for `(t, before, chunk)`.
    pub(super) fn at(&self, at: (usize, usize, usize)) -> T {
        self.data[self.entry(at) * self.stride]
    }

    fn check(&self, what: &'static str, tokens: usize, before: usize, chunk: usize) -> Result<()> {
        let entries = self.entries(tokens, before, chunk);
        let needed = if entries == 0 { 0 } else { (entries - 1).saturating_mul(self.stride).saturating_add(1) };
        if self.data.len() < needed {
            return Err(Error::Shape { what, expected: needed, found: self.data.len() });
        }
        Ok(())
    }
}

/// Which tokens write.
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
            Self::Tokens(m) => m[t] == 0,
        }
    }
}

/// The tokens of one memory: row t of every matrix and entry t of every gate belong to token t.
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

    /// Do all shapes fit together, for a memory of these widths and this chunk, `before` tokens into one?
    pub(super) fn check(&self, key: usize, value: usize, before: usize, chunk: usize) -> Result<()> {
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
        if let Mask::Tokens(m) = self.mask {
            expect_len("mask", n, m.len())?;
        }
        Ok(())
    }

    /// Are all numbers finite and all gates in range? The kernel does not ask by itself: a caller with untrusted
    /// input does, before it writes. Shapes must fit (a call of [`super::forward`] with them would pass); `before` is
    /// the number of tokens in the unfinished chunk, 0 for a batch.
    ///
    /// # Errors
    /// [`Error::Value`] naming the argument and the element (for matrices `row · columns + column`).
    pub fn check_values(&self, before: usize, chunk: usize) -> Result<()> {
        self.check(self.k.cols(), self.v.cols(), before, chunk)?;
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
            let theta = self.theta.at(at);
            for (what, gate, ok) in [
                ("alpha", &self.alpha, unit(self.alpha.at(at))),
                ("theta", &self.theta, theta.finite() && theta >= T::ZERO),
                ("eta", &self.eta, unit(self.eta.at(at))),
            ] {
                if !ok {
                    return Err(Error::Value { what, index: gate.entry(at) });
                }
            }
        }
        Ok(())
    }
}
