//! The convolution as a stream: it keeps its own tail in a caller's buffer.

use super::conv;
use crate::arithmetic::Arithmetic;
use crate::error::{Error, Result, expect_len};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// State of a convolution over a stream: the last `width − 1` tokens, the oldest first, `[width − 1, channels]`.
///
/// Any split of a stream into segments, single tokens among them, gives the bits of [`conv::forward`] over it all.
///
/// ```
/// use titans_kernel::Portable;
/// use titans_kernel::ops::Tail;
///
/// let mut buffer = [f64::NAN; Tail::<f64>::len(2, 1)];
/// let mut tail = Tail::new(2, 1, &mut buffer)?; // two taps, one channel
/// let (taps, mut y) = ([0.5, 1.0], [0.0]);
/// for (x, want) in [(4.0, 4.0), (1.0, 3.0)] {
///     tail.step(&Portable, &[x], &taps, &[0.0], &mut y)?; // half of the token before, and the token
///     assert_eq!(y, [want]);
/// }
/// # Ok::<(), titans_kernel::Error>(())
/// ```
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
    pub fn step<G: Arithmetic<T>>(&mut self, g: &G, x: &[T], w: &[T], bias: &[T], y: &mut [T]) -> Result<()> {
        expect_len("x", self.channels, x.len())?;
        expect_len("y", self.channels, y.len())?;
        self.run(g, Mat::new(x, 1, x.len())?, w, bias, MatMut::new(y, 1, x.len())?)
    }

    /// Convolves the next tokens of the stream, any number of them: x and y `[t, channels]`.
    ///
    /// # Errors
    /// [`Error::Shape`] when a size disagrees; the state is not touched then.
    pub fn run<G: Arithmetic<T>>(&mut self, g: &G, x: Mat<'_, T>, w: &[T], bias: &[T], y: MatMut<'_, T>) -> Result<()> {
        let c = self.channels;
        expect_len("x columns", c, x.cols())?;
        if c == 0 {
            return conv::forward(g, x, None, w, bias, y);
        }
        let kept = self.tokens.len() / c;
        conv::forward(g, x, Some(Mat::new(self.tokens, kept, c)?), w, bias, y)?;
        let fresh = x.rows().min(kept);
        self.tokens.move_within(fresh * c, self.tokens.len() - fresh * c, 0);
        let last = self.tokens.part_mut((kept - fresh) * c..).chunks_exact_mut(c);
        for (i, token) in last.enumerate() {
            token.become_copy(x.row(x.rows() - fresh + i));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Tail;
    use crate::arithmetic::Portable;
    use crate::error::Error;
    use crate::ops::check::{poison, values};
    use crate::ops::conv;
    use crate::view::{Mat, MatMut};

    #[test]
    fn any_split_of_a_stream_has_the_bits_of_the_whole() {
        for (t, c, width) in [(23, 5, 4), (11, 65, 3), (9, 17, 1), (13, 3, 7), (2, 2, 9)] {
            let (x, w, bias) = (values::<f32>(t * c, 1), values::<f32>(c * width, 2), values::<f32>(c, 3));
            let mut whole = poison(t * c);
            let y = MatMut::new(&mut whole, t, c).unwrap();
            conv::forward(&Portable, Mat::new(&x, t, c).unwrap(), None, &w, &bias, y).unwrap();
            for split in [1, 2, 3, 5, t] {
                let (mut buffer, mut y) = (poison(Tail::<f32>::len(width, c)), poison(t * c));
                let mut tail = Tail::new(width, c, &mut buffer).unwrap();
                for (x, y) in x.chunks(split * c).zip(y.chunks_mut(split * c)) {
                    let n = x.len() / c;
                    let (x, y) = (Mat::new(x, n, c).unwrap(), MatMut::new(y, n, c).unwrap());
                    tail.run(&Portable, x, &w, &bias, y).unwrap();
                }
                assert_eq!(y, whole, "{t} tokens of {c}, {width} taps, {split} at a time");
            }
            let (mut buffer, mut y) = (poison(Tail::<f32>::len(width, c)), poison(t * c));
            Tail::new(width, c, &mut buffer).unwrap();
            for (x, y) in x.chunks(c).zip(y.chunks_mut(c)) {
                // Each token by another `Tail` over the same buffer: the buffer is the whole state.
                Tail::resume(width, c, &mut buffer).unwrap().step(&Portable, x, &w, &bias, y).unwrap();
            }
            assert_eq!(y, whole, "{t} tokens of {c}, {width} taps, one by one");
            let mut next = poison(buffer.len());
            let out = MatMut::new(&mut next, width - 1, c).unwrap();
            conv::next_tail(Mat::new(&x, t, c).unwrap(), None, out).unwrap();
            assert_eq!(buffer, next);
        }
    }

    #[test]
    fn mistakes_are_errors_and_change_nothing() {
        let mut buffer = [1.0f64; 6];
        assert!(matches!(Tail::new(0, 2, &mut buffer[..0]).unwrap_err(), Error::Config { .. }));
        assert!(Tail::new(4, 3, &mut buffer).is_err());
        assert!(Tail::<f64>::new(usize::MAX, usize::MAX, &mut buffer).is_err());
        let mut tail = Tail::resume(4, 2, &mut buffer).unwrap();
        let (x, mut y) = ([2.0; 3], [7.0; 3]);
        assert!(tail.step(&Portable, &x, &[1.0; 8], &x[..2], &mut y[..2]).is_err());
        assert!(tail.step(&Portable, &x[..2], &[1.0; 8], &x[..2], &mut y).is_err());
        assert!(tail.step(&Portable, &x[..2], &[1.0; 6], &x[..2], &mut y[..2]).is_err(), "another width");
        assert_eq!((tail.tokens(), y), (&[1.0; 6][..], [7.0; 3]));
    }
}
