//! The gate of SwiGLU and of the mixer's output: `y = a ∘ silu(gate)`.

use crate::error::{Result, expect_len};
use crate::gemm::Gemm;
use crate::scalar::Scalar;

/// `y = a ∘ gate σ(gate)`, slices of one length.
///
/// # Errors
/// [`crate::Error::Shape`] when the lengths differ.
pub fn forward<T: Scalar, G: Gemm<T>>(g: &G, a: &[T], gate: &[T], y: &mut [T]) -> Result<()> {
    expect_len("gate", a.len(), gate.len())?;
    expect_len("y", a.len(), y.len())?;
    g.vectorise(
        #[inline(always)]
        || {
            for ((y, &a), &x) in y.iter_mut().zip(a).zip(gate) {
                *y = a * (x * x.sigmoid());
            }
        },
    );
    Ok(())
}

/// Backward of [`forward`], both overwritten: `d_a = d_y silu(gate)`, `d_gate = d_y a σ (1 + gate (1 − σ))`.
///
/// # Errors
/// [`crate::Error::Shape`] when the lengths differ.
pub fn vjp<T: Scalar, G: Gemm<T>>(
    g: &G,
    a: &[T],
    gate: &[T],
    d_y: &[T],
    d_a: &mut [T],
    d_gate: &mut [T],
) -> Result<()> {
    expect_len("gate", a.len(), gate.len())?;
    expect_len("d_y", a.len(), d_y.len())?;
    expect_len("d_a", a.len(), d_a.len())?;
    expect_len("d_gate", a.len(), d_gate.len())?;
    g.vectorise(
        #[inline(always)]
        || {
            for ((((d_a, d_gate), &a), &x), &d_y) in d_a.iter_mut().zip(d_gate).zip(a).zip(gate).zip(d_y) {
                let s = x.sigmoid();
                *d_a = d_y * (x * s);
                *d_gate = d_y * a * (s * (T::ONE + x * (T::ONE - s)));
            }
        },
    );
    Ok(())
}
