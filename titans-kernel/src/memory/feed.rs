//! Some tokens of a batch or push: which they are, where they stand in the open piece, and what a call returns of them.

use super::gates::Tokens;
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Tokens of a batch or a push in the open piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    /// The first one's number in the batch or push.
    pub from: usize,
    /// How many.
    pub n: usize,
    /// Tokens of the piece before them.
    pub filled: usize,
    /// Tokens of its chunk before the batch's or push's token 0.
    pub before: usize,
}

impl Place {
    /// Tokens `from .. from + n` of a batch, which begin a piece.
    pub const fn of_batch(from: usize, n: usize) -> Self {
        Self { from, n, filled: 0, before: 0 }
    }

    /// Those of its tokens from t on, n of them.
    pub const fn part(self, t: usize, n: usize) -> Self {
        Self { from: self.from + t, n, filled: self.filled + t, before: self.before }
    }
}

/// What a piece is fed: the tokens at a place.
#[derive(Clone, Copy, Debug)]
pub(super) struct PieceTokens<'a, T> {
    /// Of the whole batch or push.
    pub tokens: &'a Tokens<'a, T>,
    pub place: Place,
}

impl<'a, T: Scalar> PieceTokens<'a, T> {
    pub const fn new(tokens: &'a Tokens<'a, T>, place: Place) -> Self {
        Self { tokens, place }
    }

    /// Those of the tokens from t on, n of them.
    pub const fn part(self, t: usize, n: usize) -> Self {
        Self { tokens: self.tokens, place: self.place.part(t, n) }
    }

    /// Keys `[n, d_0]`.
    pub fn k(&self) -> Mat<'a, T> {
        self.tokens.k.sub(self.place.from, self.place.n)
    }

    /// Values `[n, d_L]`.
    pub fn v(&self) -> Mat<'a, T> {
        self.tokens.v.sub(self.place.from, self.place.n)
    }

    /// Queries `[n, d_0]`.
    pub fn q(&self) -> Mat<'a, T> {
        self.tokens.q.sub(self.place.from, self.place.n)
    }

    /// Does token t write?
    #[inline(always)]
    pub fn writes(&self, t: usize) -> bool {
        self.tokens.mask.writes(self.place.from + t)
    }

    /// Where [`Gate::at`](super::Gate) finds token t's value, for chunks of `chunk`.
    #[inline(always)]
    pub fn at(&self, t: usize, chunk: usize) -> (usize, usize, usize) {
        (self.place.from + t, self.place.before, chunk)
    }
}

/// Keys and values of tokens from row `from` of the open piece on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pairs<'a, T> {
    /// `[n, d_0]`.
    pub k: Mat<'a, T>,
    /// `[n, d_L]`.
    pub v: Mat<'a, T>,
    pub from: usize,
}

/// What a call returns of its tokens, where it is asked for.
#[derive(Debug)]
pub(super) struct Wanted<'a, T> {
    /// Read-outs `[n, d_L]`.
    pub y: Option<MatMut<'a, T>>,
    /// The inner loss of every token.
    pub surprise: Option<&'a mut [T]>,
}

impl<T: Scalar> Wanted<'_, T> {
    /// Nothing.
    pub const NOTHING: Self = Self { y: None, surprise: None };

    /// Of the tokens from t on, n of them.
    pub fn part(&mut self, t: usize, n: usize) -> Wanted<'_, T> {
        Wanted {
            y: self.y.as_mut().map(|y| y.rb().sub(t, n)),
            surprise: self.surprise.as_deref_mut().map(|s| s.part_mut(t..t + n)),
        }
    }
}

/// What a piece of a batch returns.
#[derive(Debug)]
pub(super) struct Returned<'a, T> {
    /// Read-outs `[n, d_L]`.
    pub y: MatMut<'a, T>,
    /// The inner loss of every token, where it is asked for.
    pub surprise: Option<&'a mut [T]>,
    /// The last layer's Δ `[n, d_L]`, where it is kept for the backward.
    pub delta: Option<MatMut<'a, T>>,
}
