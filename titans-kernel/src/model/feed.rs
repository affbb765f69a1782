//! What a stream through a model is fed: tokens, or rows of numbers.

use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::Mat;

/// What a stream is fed.
///
/// ```
/// use titans_kernel::Mat;
/// use titans_kernel::model::Feed;
///
/// let numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let feed = Feed::Rows(Mat::new(&numbers, 3, 2)?); // three tokens of two numbers
/// assert_eq!((feed.len(), Feed::<f32>::Tokens(&[7, 2]).len()), (3, 2));
/// assert!(matches!(feed.sub(1, 2), Feed::Rows(rows) if rows.row(0) == [3.0, 4.0]));
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub enum Feed<'a, T> {
    /// Token ids, below the vocabulary's size.
    Tokens(&'a [u32]),
    /// Rows of numbers, a row a token.
    Rows(Mat<'a, T>),
}

impl<'a, T: Scalar> Feed<'a, T> {
    /// Tokens `from .. from + n` of it.
    pub fn sub(&self, from: usize, n: usize) -> Feed<'a, T> {
        match self {
            Self::Tokens(ids) => Feed::Tokens(ids.part(from..from + n)),
            Self::Rows(rows) => Feed::Rows(rows.sub(from, n)),
        }
    }

    /// Number of tokens.
    pub const fn len(&self) -> usize {
        match self {
            Self::Tokens(ids) => ids.len(),
            Self::Rows(rows) => rows.rows(),
        }
    }

    /// No token at all.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
