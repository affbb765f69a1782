//! The convolution as a stream: it keeps its own tail in a caller's buffer.

use super::conv;
use crate::error::{Error, Result, expect_len};
use crate::gemm::Gemm;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// State of a convolution over a stream: the last `width − 1` tokens, the oldest first, `[width − 1, channels]`.
///
/// Any split of a stream into segments, single tokens among them, gives the bits of [`conv::forward`] over it all.
#[derive(Debug)]
pub struct Tail<'a, T> {
    tokens: &'a mut [T],
    channels: usize,
}

impl<'a, T: Scalar> Tail<'a, T> {
    /// Elements of the buffer for filters of `width` taps over `channels` channels.
    pub const fn len(width: usize, channels: usize) -> usize {
        width.saturating_sub(1).saturating_mul(channels)
    }

    /// The start of a stream: the buffer becomes zeros.
    ///
    /// # Errors
    /// As [`Tail::resume`].
    pub fn new(width: usize, channels: usize, buffer: &'a mut [T]) -> Result<Self> {
        let tail = Self::resume(width, channels, buffer)?;
        tail.tokens.fill(T::ZERO);
        Ok(tail)
    }

    /// The continuation of a stream from the buffer that another `Tail` left behind.
    ///
    /// # Errors
    /// [`Error::Config`] for a width of 0, [`Error::Shape`] when the buffer is not of [`Tail::len`] elements.
    pub fn resume(width: usize, channels: usize, buffer: &'a mut [T]) -> Result<Self> {
        if width == 0 {
            return Err(Error::Config { what: "convolution width: 1 or more", found: width });
        }
        expect_len("tail buffer", Self::len(width, channels), buffer.len())?;
        Ok(Self { tokens: buffer, channels })
    }

    /// The tokens kept, the oldest first: `[width − 1, channels]`.
    pub const fn tokens(&self) -> &[T] {
        self.tokens
    }

    /// Convolves one token: x and y `[channels]`, w `[channels, width]`, bias `[channels]`.
    ///
    /// # Errors
    /// As [`Tail::run`].
    pub fn step<G: Gemm<T>>(&mut self, g: &G, x: &[T], w: &[T], bias: &[T], y: &mut [T]) -> Result<()> {
        expect_len("x", self.channels, x.len())?;
        expect_len("y", self.channels, y.len())?;
        self.run(g, Mat::new(x, 1, x.len())?, w, bias, MatMut::new(y, 1, x.len())?)
    }

    /// Convolves the next tokens of the stream, any number of them: x and y `[t, channels]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when a size disagrees; the state is not touched then.
    pub fn run<G: Gemm<T>>(&mut self, g: &G, x: Mat<'_, T>, w: &[T], bias: &[T], y: MatMut<'_, T>) -> Result<()> {
        let c = self.channels;
        expect_len("x columns", c, x.cols())?;
        if c == 0 {
            return conv::forward(g, x, None, w, bias, y);
        }
        let kept = self.tokens.len() / c;
        conv::forward(g, x, Some(Mat::new(self.tokens, kept, c)?), w, bias, y)?;
        let fresh = x.rows().min(kept);
        self.tokens.copy_within(fresh * c.., 0);
        let last = self.tokens[(kept - fresh) * c..].chunks_exact_mut(c);
        for (i, token) in last.enumerate() {
            token.copy_from_slice(x.row(x.rows() - fresh + i));
        }
        Ok(())
    }
}
