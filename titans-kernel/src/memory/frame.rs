//! Where a piece of work is done.

use super::layout::Layout;
use super::spec::MemorySpec;

/// The arithmetic, and the layout of slabs and weights.
#[derive(Debug)]
pub(super) struct Frame<'a, G> {
    pub g: &'a G,
    pub lay: Layout<'a>,
}

// Not derived: the arithmetic itself need not be `Copy`.
impl<G> Clone for Frame<'_, G> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<G> Copy for Frame<'_, G> {}

impl<'a, G> Frame<'a, G> {
    pub const fn new(g: &'a G, lay: Layout<'a>) -> Self {
        Self { g, lay }
    }

    /// One token at a time, weights by rows.
    pub const fn of_tokens(g: &'a G, spec: &'a MemorySpec) -> Self {
        Self::new(g, Layout::new(spec, 1))
    }

    /// A batch's pieces, weights in panels.
    pub fn of_pieces(g: &'a G, spec: &'a MemorySpec) -> Self {
        Self::new(g, Layout::in_panels(spec, spec.piece_len()))
    }
}
