//! What a memory is: its network, its inner loss and its chunk, and every size that follows.

use super::boundaries::Boundaries;
pub use super::choices::{Loss, Network, Read};
use crate::error::{Error, Result};
use crate::ops::activation::Activation;
use crate::part::Parts;
use crate::scratch::counted;
use heapless::Vec;

/// Most layers a memory network may have.
pub const MAX_LAYERS: usize = 4;

/// Largest size of anything that is counted in rows, columns, heads or tokens: far beyond use, and small enough that
/// counts cannot overflow.
pub const LIMIT: usize = 1 << 20;

/// More layers than [`MAX_LAYERS`], by the number of their widths.
pub(super) const fn too_many(found: usize) -> Error {
    Error::Config { what: "widths: at most 5 (4 layers)", found }
}

/// Tokens of a linear memory that are computed at once by default.
pub const USUAL_PIECE: usize = 64;

/// The configuration of one memory (one head of one sequence).
///
/// ```
/// use titans_kernel::memory::{Activation, MemorySpec, Network};
///
/// let linear = MemorySpec::new(&[64, 64])?; // every token its own gradient, computed 64 at a time
/// assert_eq!((linear.chunk, linear.compute_chunk, linear.params()), (1, 64, 64 * 64));
/// let deep = MemorySpec { activation: Activation::Gelu, ..MemorySpec::new(&[64, 256, 64])? };
/// assert_eq!((deep.layers(), deep.network, deep.clip), (2, Network::Residual, Some(1.0)));
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MemorySpec {
    /// d_0 … d_L: key width, hidden widths, value width.
    pub widths: Vec<usize, { MAX_LAYERS + 1 }>,
    /// φ.
    pub activation: Activation,
    /// Plain or residual.
    pub network: Network,
    /// The inner loss's scale.
    pub loss: Loss,
    /// b: tokens whose gradients are taken at the same weights. With b = 1 every token's gradient is its own, as the
    /// paper's equations 9 to 14 say.
    pub chunk: usize,
    /// n: tokens that are computed at once, a piece; 0 for a chunk. The same numbers in another order of sums.
    ///
    /// - Below b a chunk is walked in pieces of n tokens, whose gradients are still taken at the chunk's first weights:
    ///   work and space for n² coefficients instead of b².
    /// - Above b, a multiple of it: a piece is several chunks, whose gradients follow from one another by forward
    ///   substitution (`docs/MATH.md` section 3b). A memory of one layer in the plain shape alone can do so
    ///   ([`MemorySpec::is_linear`]); others take every number of b and above for b.
    pub compute_chunk: usize,
    /// Every layer has gates of its own, α_t^l, θ_t^l and η_t^l: S^l ← η^l S^l − θ^l ∇_{W^l} ℓ, W^l ← (1 − α^l) W^l +
    /// S^l, with γ by the last layer's ([`Gate::layers`](super::Gate::layers)). Else, and where there is one layer, all
    /// go by the same.
    pub layer_gates: bool,
    /// Largest norm of a token's gradient over all layers; longer ones are scaled down to it and counted.
    pub clip: Option<f64>,
    /// The backward finds the state at the start of every so many-th period ([`MemorySpec::period_len`]) in its
    /// boundaries and computes those between again: 1 keeps all; about the root of the number of periods needs the
    /// least memory. It changes no number.
    pub keep_every: usize,
}

impl MemorySpec {
    /// A memory of the given widths `d_0 … d_L` with SiLU and half the squared error as its loss.
    ///
    /// - One layer: every token's gradient its own (chunk 1), computed in pieces of 64 tokens, plain, no clip. It wants
    ///   keys of norm 1 at most, θ ≤ 1 and η ≤ 1/2: a key that comes again by itself then holds with gates that stay;
    ///   docs/NUMERICS.md has the range that holds for any keys and gates.
    /// - Two layers and more: chunks of 4 and a clip of 1; residual where d_0 = d_L, else plain. They want a small θ.
    ///
    /// Who sets another chunk sets `compute_chunk` with it: [`MemorySpec::usual_compute_chunk`] says what suits.
    ///
    /// # Errors
    /// [`Error::Config`] as [`MemorySpec::validate`].
    pub fn new(widths: &[usize]) -> Result<Self> {
        let widths = Vec::from_slice(widths).map_err(|_| too_many(widths.len()))?;
        let deep = widths.len() > 2;
        let residual = deep && widths.first() == widths.last();
        let mut spec = Self {
            widths,
            activation: Activation::Silu,
            network: if residual { Network::Residual } else { Network::Plain },
            loss: Loss::Half,
            chunk: if deep { 4 } else { 1 },
            compute_chunk: 0,
            layer_gates: false,
            clip: deep.then_some(1.0),
            keep_every: 1,
        };
        spec.compute_chunk = spec.usual_compute_chunk();
        spec.validate()?;
        Ok(spec)
    }

    /// Checks every field.
    ///
    /// # Errors
    /// [`Error::Config`] naming the field: fewer than two widths, a zero or absurd width or chunk, a residual network
    /// with d_0 ≠ d_L, a clip that is not positive.
    pub fn validate(&self) -> Result<()> {
        if self.widths.len() < 2 {
            return Err(Error::Config { what: "widths: at least 2 (1 layer)", found: self.widths.len() });
        }
        if let Some(&w) = self.widths.iter().find(|&&w| w == 0 || w > LIMIT) {
            return Err(Error::Config { what: "width: 1 to 1048576", found: w });
        }
        if self.chunk == 0 || self.chunk > LIMIT {
            return Err(Error::Config { what: "chunk: 1 to 1048576", found: self.chunk });
        }
        if self.compute_chunk > LIMIT {
            return Err(Error::Config { what: "compute_chunk: 0 to 1048576", found: self.compute_chunk });
        }
        if self.wide() && !self.compute_chunk.is_multiple_of(self.chunk) {
            let what = "compute_chunk: above the chunk a multiple of it";
            return Err(Error::Config { what, found: self.compute_chunk });
        }
        if self.keep_every == 0 || self.keep_every > LIMIT {
            return Err(Error::Config { what: "keep_every: 1 to 1048576", found: self.keep_every });
        }
        if self.network.is_residual() && self.key_width() != self.value_width() {
            return Err(Error::Config { what: "residual: value width = key width", found: self.value_width() });
        }
        if self.clip.is_some_and(|c| !(c.is_finite() && c > 0.0)) {
            return Err(Error::Config { what: "clip: finite and above 0", found: 0 });
        }
        let mut params: usize = self.value_width();
        for l in 0..self.layers() {
            let (i, o) = self.layer(l);
            params = i
                .checked_mul(o)
                .and_then(|p| p.checked_add(params))
                .ok_or(Error::Config { what: "widths: their products overflow", found: o })?;
        }
        // Every buffer is a small multiple of the weights, or of a chunk of rows of all layers and coefficients.
        let limit = isize::MAX as usize / 64;
        if params > limit {
            return Err(Error::Config { what: "widths: more weights than memory can hold", found: params });
        }
        let row = self.widths.iter().sum::<usize>() + self.piece_len() + 8;
        if row.checked_mul(self.piece_len()).is_none_or(|rows| rows > limit / 16) {
            return Err(Error::Config { what: "chunk: more rows than memory can hold", found: self.chunk });
        }
        Ok(())
    }

    /// L.
    pub fn layers(&self) -> usize {
        self.widths.len().saturating_sub(1)
    }

    /// d_0.
    pub fn key_width(&self) -> usize {
        self.widths.first().copied().unwrap_or(0)
    }

    /// d_L.
    pub fn value_width(&self) -> usize {
        self.widths.last().copied().unwrap_or(0)
    }

    /// (d_{l−1}, d_l) of layer l, counted from 0.
    ///
    /// # Panics
    /// When there is no layer l.
    pub fn layer(&self, l: usize) -> (usize, usize) {
        (self.widths.item(l), self.widths.item(l + 1))
    }

    /// Start of layer l's weights inside a block of parameters.
    pub fn layer_offset(&self, l: usize) -> usize {
        self.widths.windows(2).take(l).fold(0, |sum, w| sum.saturating_add(w.item(0).saturating_mul(w.item(1))))
    }

    /// `len`, or `usize::MAX` (no buffer is that large) for a configuration that [`MemorySpec::validate`] refuses.
    pub(super) fn size(&self, len: impl FnOnce() -> usize) -> usize {
        if self.validate().is_ok() { len() } else { usize::MAX }
    }

    /// P: parameters of one memory, laid out `[W^1 | … | W^L | γ]`, matrices row-major `[in, out]`, γ (`d_L`) only in
    /// residual networks.
    pub fn params(&self) -> usize {
        self.layer_offset(self.layers()).saturating_add(self.gamma_len())
    }

    /// Length of γ: d_L in residual networks, else 0.
    pub fn gamma_len(&self) -> usize {
        if self.network.is_residual() { self.value_width() } else { 0 }
    }

    /// Elements of a state: the parameters, then their momentum in the same layout.
    pub fn state_len(&self) -> usize {
        self.params().saturating_mul(2)
    }

    /// Chunks that `tokens` tokens make; the last may be shorter.
    pub fn chunks(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.chunk.max(1))
    }

    /// Is the network a matrix: one layer, in the plain shape?
    pub fn is_linear(&self) -> bool {
        self.layers() == 1 && !self.network.is_residual()
    }

    /// The `compute_chunk` that suits network and chunk: as many whole chunks as there are in [`USUAL_PIECE`] tokens
    /// where the network is linear and the chunk shorter than that, else 0.
    pub fn usual_compute_chunk(&self) -> usize {
        let short = self.is_linear() && (1..USUAL_PIECE).contains(&self.chunk);
        if short { USUAL_PIECE / self.chunk * self.chunk } else { 0 }
    }

    /// Is a piece several chunks?
    pub fn wide(&self) -> bool {
        self.compute_chunk > self.chunk && self.is_linear()
    }

    /// Tokens computed at once: [`compute_chunk`](MemorySpec::compute_chunk), or b.
    pub fn piece_len(&self) -> usize {
        let others = self.compute_chunk == 0 || self.compute_chunk > self.chunk;
        if others && !self.wide() { self.chunk } else { self.compute_chunk }
    }

    /// Tokens from one boundary to the next, where neither a chunk nor a piece is open: b or n, whichever is more.
    pub fn period_len(&self) -> usize {
        self.piece_len().max(self.chunk)
    }

    /// Periods that `tokens` tokens make; the last may be shorter.
    pub fn periods(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.period_len().max(1))
    }

    /// Is the state written after every token, so that no piece is ever open?
    pub fn token_by_token(&self) -> bool {
        self.period_len() == 1
    }

    /// The same memory for sequences of `tokens` tokens: no period is longer than they are, so that scratch is for the
    /// tokens there are. The numbers are the same to the bit: a period of one token, which has sums of its own, stays
    /// what it is, and no longer one becomes one.
    pub fn within(&self, tokens: usize) -> Self {
        let mut spec = self.clone();
        if self.wide() {
            // Two chunks at least, or else the piece would be a chunk and its gradients of another order.
            let whole = tokens.checked_next_multiple_of(self.chunk).unwrap_or(self.compute_chunk);
            spec.compute_chunk = self.compute_chunk.min(whole.max(self.chunk.saturating_mul(2)));
        } else {
            spec.chunk = self.chunk.min(tokens.max(2));
            // What was a chunk or a part of it stays that: no piece of several chunks comes of a shorter chunk.
            spec.compute_chunk = self.compute_chunk.min(spec.chunk);
        }
        spec
    }

    /// Pieces of a period.
    pub(super) fn pieces_of_period(&self) -> usize {
        let piece = self.piece_len();
        if piece == 0 { 1 } else { self.period_len().div_ceil(piece) }
    }

    /// Is a chunk computed in more than one piece?
    pub(super) fn split(&self) -> bool {
        self.piece_len() < self.chunk
    }

    /// Elements of the weights at the chunk's start, which must be kept only where they are not those of the piece.
    pub(super) fn anchor_len(&self) -> usize {
        if self.split() { self.params() } else { 0 }
    }

    /// Tokens of the piece that token `from` of `n` begins or goes on with.
    pub(super) fn piece_len_from(&self, from: usize, n: usize) -> usize {
        let inside = from % self.period_len().max(1);
        (self.piece_len() - inside % self.piece_len().max(1)).min(self.period_len() - inside).min(n - from)
    }

    /// Elements of the boundaries that the backward over `tokens` tokens needs: one state for every
    /// [`keep_every`](MemorySpec::keep_every) periods, and where a piece is several chunks the residual Δ of every
    /// token.
    pub fn boundaries_len(&self, tokens: usize) -> usize {
        counted(|room| Boundaries::<f64>::take(room, self, tokens))
    }

    /// Elements of the states among the boundaries, which come first.
    pub(super) fn states_len(&self, tokens: usize) -> usize {
        self.periods(tokens).div_ceil(self.keep_every.max(1)).saturating_mul(self.state_len())
    }

    /// c of the inner loss c ‖M(k) − v‖².
    pub fn loss_scale(&self) -> f64 {
        match self.loss {
            Loss::Sum => 1.0,
            Loss::Half => 0.5,
            Loss::Mean => 1.0 / self.value_width() as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Loss, MemorySpec, Network};

    #[test]
    fn linear_memories_are_exact_by_default_and_deep_ones_short_and_clipped() {
        let s = MemorySpec::new(&[8, 5]).unwrap();
        assert_eq!((s.chunk, s.compute_chunk, s.loss, s.clip), (1, 64, Loss::Half, None));
        assert!(s.wide() && s.period_len() == 64);
        for widths in [&[8, 16, 8][..], &[8, 16, 5]] {
            let s = MemorySpec::new(widths).unwrap();
            assert_eq!((s.chunk, s.compute_chunk, s.loss, s.clip), (4, 0, Loss::Half, Some(1.0)));
        }
        for (chunk, compute_chunk) in [(64, 64), (64, 48), (64, 0), (1, 64), (3, 63), (1, 1)] {
            let long = MemorySpec { chunk, compute_chunk, ..s.clone() };
            for tokens in 1..80 {
                let short = long.within(tokens);
                assert!(short.validate().is_ok() && short.wide() == long.wide(), "{chunk} {compute_chunk} {tokens}");
                assert!(short.piece_len() <= long.piece_len() && (short.period_len() == 1) == (long.period_len() == 1));
            }
        }
        let usual = |chunk| MemorySpec { chunk, ..s.clone() }.usual_compute_chunk();
        assert_eq!([0, 1, 5, 16, 33, 63, 64, 65].map(usual), [0, 64, 60, 64, 33, 63, 0, 0]);
        assert!(
            [1, 5, 33, 64]
                .map(|chunk| MemorySpec { chunk, compute_chunk: usual(chunk), ..s.clone() }.validate().is_ok())
                == [true; 4]
        );
        assert_eq!(
            MemorySpec { network: Network::Residual, ..MemorySpec::new(&[8, 8]).unwrap() }.usual_compute_chunk(),
            0
        );
    }

    #[test]
    fn sizes_follow_from_widths_and_bad_ones_are_named() {
        let mut s = MemorySpec::new(&[8, 16, 8]).unwrap();
        s.chunk = 16;
        assert_eq!((s.layers(), s.network, s.params(), s.state_len()), (2, Network::Residual, 264, 528));
        assert_eq!(MemorySpec::new(&[8, 5]).unwrap().params(), 40);
        assert_eq!(s.boundaries_len(17), 2 * 528);
        let kept = |keep_every, tokens| MemorySpec { keep_every, ..s.clone() }.boundaries_len(tokens);
        let cut = |chunk, compute_chunk| MemorySpec { chunk, compute_chunk, ..s.clone() };
        assert_eq!([0, 4, 5, 9].map(|c| cut(5, c).piece_len()), [5, 4, 5, 5]);
        let (c, walk) = (cut(10, 4), [(0, 99), (4, 99), (6, 99), (8, 99), (9, 99), (10, 99), (12, 13)]);
        assert_eq!(walk.map(|(from, n)| c.piece_len_from(from, n)), [4, 4, 2, 2, 1, 4, 1]);
        assert_eq!((c.pieces_of_period(), c.split(), c.anchor_len(), cut(10, 0).anchor_len()), (3, true, 264, 0));
        assert!(cut(5, (1 << 20) + 1).validate().is_err() && cut(1 << 20, 64).validate().is_ok());
        assert_eq!((kept(2, 17), kept(2, 33), kept(9, 33), kept(9, 0)), (528, 2 * 528, 528, 0));
        assert!(MemorySpec::new(&[8]).is_err());
        assert!(MemorySpec::new(&[8, 0]).is_err());
        assert!(MemorySpec::new(&[1, 1, 1, 1, 1, 1]).is_err());
        assert!(MemorySpec::new(&[1 << 20, 1 << 20, 1 << 20, 1 << 20, 1 << 20]).is_ok() == (usize::BITS == 64));
        let mut r = MemorySpec::new(&[8, 5]).unwrap();
        r.network = Network::Residual;
        assert!(r.validate().is_err());
        r = MemorySpec::new(&[8, 8]).unwrap();
        r.clip = Some(f64::NAN);
        assert!(r.validate().is_err());
        r.clip = None;
        r.keep_every = 0;
        assert!(r.validate().is_err());
        r.keep_every = 1;
        r.chunk = 0;
        assert!(r.validate().is_err());
        use crate::memory::{Form, Stream, forward_scratch_len, vjp_scratch_len};
        let none = [forward_scratch_len(&r, Form::Chunk), vjp_scratch_len(&r), Stream::<f32>::len(&r)];
        assert_eq!(none, [usize::MAX; 3], "no buffer fits a memory that cannot be");
        assert!(r.boundaries_len(5) > 0);
        r.widths.clear();
        assert!(r.validate().is_err());
        assert_eq!((r.layers(), r.key_width(), r.value_width(), r.params(), r.boundaries_len(3)), (0, 0, 0, 0, 0));
    }
}
