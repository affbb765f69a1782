//! Where a stream through a model stands.

use super::Mode;

/// Position at which a stream ends: far beyond any, and positions can be counted with signs.
pub(super) const END: u64 = 1 << 62;

/// Where a stream stands: all of it that is not in its buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Tokens seen.
    pub tokens: u64,
    /// Tokens and persistent rows whose gradient was clipped.
    pub clipped: u64,
    /// What the memories do.
    pub mode: Mode,
    /// A token was refused ([`Error::Diverged`]), and the blocks stand behind different ones: all that such a stream
    /// does is to begin anew ([`Stream::reset`]) or to become another ([`Stream::load`]).
    ///
    /// [`Error::Diverged`]: crate::Error::Diverged
    /// [`Stream::reset`]: super::Stream::reset
    /// [`Stream::load`]: super::Stream::load
    pub torn: bool,
}
