//! What the open piece keeps of its tokens: the slabs H, Δ, γ's gradients and rates, and with the coefficients all that
//! they add to W and S.

use super::coefficients::Coefficients;
use super::layout::Layout;
use super::sets::of_layer;
use crate::error::Result;
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::Room;
use crate::view::Mat;

/// What a chunk must remember of its tokens until it closes.
#[derive(Debug)]
pub(super) struct Open<'a, T> {
    /// The keys, where they lie in the caller's array as the layout's rows do; else they are the first layer's rows of
    /// `h`.
    pub keys: Option<Mat<'a, T>>,
    /// H: inputs of every layer for the keys.
    pub h: &'a mut [T],
    /// Δ: back-propagated residuals of every layer.
    pub delta: &'a mut [T],
    /// Gradients of γ, rows of d_L.
    pub g_gamma: &'a mut [T],
    /// θ of every token times its clip factor, rows of every set of gates; 0 for tokens that do not write.
    pub rate: &'a mut [T],
}

/// [`Open`], to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenView<'a, T> {
    pub keys: Option<Mat<'a, T>>,
    pub h: &'a [T],
    pub delta: &'a [T],
    pub g_gamma: &'a [T],
    pub rate: &'a [T],
}

/// Elements of H, Δ, γ's gradients and the rates, in the order in which they lie and a stream is saved.
fn slabs(lay: Layout<'_>) -> [usize; 4] {
    [lay.input_slab_len(), lay.output_slab_len(), lay.gamma_slab_len(), lay.rates_len()]
}

impl<'a, T: Scalar> OpenView<'a, T> {
    /// No token.
    pub const NOTHING: Self = Self { keys: None, h: &[], delta: &[], g_gamma: &[], rate: &[] };

    /// From the block that [`Open::take`] split.
    pub fn split(block: &'a [T], lay: Layout<'_>) -> Self {
        let [h, delta, g_gamma, _] = slabs(lay);
        let (h, rest) = block.halves(h);
        let (delta, rest) = rest.halves(delta);
        let (g_gamma, rate) = rest.halves(g_gamma);
        Self { keys: None, h, delta, g_gamma, rate }
    }

    /// H of layer l: rows `from .. from + n`.
    pub fn inputs(&self, lay: Layout<'_>, l: usize, from: usize, n: usize) -> Result<Mat<'a, T>> {
        match self.keys {
            Some(keys) if l == 0 => Ok(keys.sub(from, n)),
            _ => lay.input_rows(self.h, l, from, n),
        }
    }
}

impl<'a, T: Scalar> Open<'a, T> {
    pub fn view(&self) -> OpenView<'_, T> {
        OpenView { keys: self.keys, h: self.h, delta: self.delta, g_gamma: self.g_gamma, rate: self.rate }
    }

    /// Zeros in place of n rows from `from` on, whatever was tried there: what is saved of a piece is what was
    /// admitted.
    pub fn forget(&mut self, lay: Layout<'_>, from: usize, n: usize) -> Result<()> {
        for l in 0..lay.spec.layers() {
            if l == 0 && lay.turned {
                self.h
                    .chunks_exact_mut(lay.rows.max(1))
                    .for_each(|column| column.part_mut(from..from + n).fill(T::ZERO));
            } else {
                lay.input_rows_mut(self.h, l, from, n)?.fill(T::ZERO);
            }
            lay.output_rows_mut(self.delta, l, from, n)?.fill(T::ZERO);
        }
        let d = lay.spec.gamma_len();
        self.g_gamma.part_mut(from * d..(from + n) * d).fill(T::ZERO);
        self.rate.chunks_exact_mut(lay.rows.max(1)).for_each(|rate| rate.part_mut(from..from + n).fill(T::ZERO));
        Ok(())
    }

    /// Takes the slabs; nothing is written.
    pub fn take<R: Room<'a, T>>(room: &mut R, lay: Layout<'_>) -> Result<Self> {
        let [h, delta, g_gamma, rate] = slabs(lay);
        Ok(Self {
            keys: None,
            h: room.take(h)?,
            delta: room.take(delta)?,
            g_gamma: room.take(g_gamma)?,
            rate: room.take(rate)?,
        })
    }
}

/// The tokens of the open piece as they are seen from its W and S: `M_t = A_t W + G_t S − Σ_i C_{t,i} rate_i h_iᵀ δ_i`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Past<'a, T> {
    /// H, Δ, γ's gradients and rates.
    pub open: OpenView<'a, T>,
    /// A, G, Π η, C and P of every set of gates.
    pub coefficients: &'a [Coefficients<'a, T>],
}

impl<'a, T: Scalar> Past<'a, T> {
    pub const fn new(open: OpenView<'a, T>, coefficients: &'a [Coefficients<'a, T>]) -> Self {
        Self { open, coefficients }
    }

    /// Layer l's gates.
    pub fn gates(self, lay: Layout<'_>, l: usize) -> Result<Gated<'a, T>> {
        Ok(Gated { rate: lay.layer_rates(self.open.rate, l), by: of_layer(self.coefficients, l)? })
    }
}

/// What the gates of one layer made of a piece's tokens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gated<'a, T> {
    /// θ_i times the clip factor of token i, 0 where it does not write.
    pub rate: &'a [T],
    /// A, G, Π η, C and P.
    pub by: &'a Coefficients<'a, T>,
}
