//! The tokens of a call as checked slices.

use crate::failure::{Failure, Outcome};
use crate::pointer::{Arg, arg, input, slice_addresses};
use crate::status::titans_status::*;
use crate::tokens::titans_tokens;
use core::ops::Range;
use titans_kernel::Mat;
use titans_kernel::memory::{Gate, Mask, Tokens};

/// Position of each argument in a call, by name.
pub(crate) type Positions = fn(&str) -> i32;

/// The inputs in the order of [`Batch::ranges`].
pub(crate) const INPUTS: [&str; 7] = ["k", "v", "q", "alpha", "theta", "eta", "mask"];

/// The caller's tokens: slices of the right lengths.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    pub(crate) n: usize,
    k: Mat<'a, f32>,
    v: Mat<'a, f32>,
    q: Mat<'a, f32>,
    gates: [&'a [f32]; 3],
    mask: Option<&'a [u32]>,
}

/// Elements of n rows of `width`.
pub(crate) fn elements(arg: Arg, n: usize, width: usize) -> Outcome<usize> {
    n.checked_mul(width).ok_or(arg.fail(TITANS_ERROR_TOO_LARGE))
}

/// A gate's values: one a token, or one for all.
///
/// # Safety
/// As [`input`].
unsafe fn gate<'a>(arg: Arg, pointer: *const f32, len: usize, n: usize) -> Outcome<&'a [f32]> {
    let expected = if len == 1 { 1 } else { n };
    // SAFETY: the promise about `pointer` is this function's own.
    unsafe { input(arg, pointer, len, expected) }
}

impl<'a> Batch<'a> {
    /// Checks every pointer and length of `tokens`, for a memory of these widths.
    ///
    /// # Safety
    /// Every pointer that is not NULL points to as many readable elements as its length says.
    pub(crate) unsafe fn new(
        tokens: &titans_tokens,
        key: usize,
        value: usize,
        needs_q: bool,
        at: Positions,
    ) -> Outcome<Self> {
        let (n, names) = (tokens.n, |name| arg(at(name), name));
        let (keys, values) = (elements(names("k"), n, key)?, elements(names("v"), n, value)?);
        let has_q = needs_q || !tokens.q.is_null() || tokens.q_len != 0;
        let has_mask = !tokens.mask.is_null() || tokens.mask_len != 0;
        // SAFETY: each pointer comes with its length, as promised.
        let (k, v, q, mask, gates) = unsafe {
            let k = input(names("k"), tokens.k, tokens.k_len, keys)?;
            let v = input(names("v"), tokens.v, tokens.v_len, values)?;
            let q = if has_q { input(names("q"), tokens.q, tokens.q_len, keys)? } else { k };
            let mask = if has_mask { Some(input(names("mask"), tokens.mask, tokens.mask_len, n)?) } else { None };
            let gates = [
                gate(names("alpha"), tokens.alpha, tokens.alpha_len, n)?,
                gate(names("theta"), tokens.theta, tokens.theta_len, n)?,
                gate(names("eta"), tokens.eta, tokens.eta_len, n)?,
            ];
            (k, v, q, mask, gates)
        };
        let matrix = |data, cols| Mat::new(data, n, cols).map_err(Failure::internal);
        Ok(Self { n, k: matrix(k, key)?, v: matrix(v, value)?, q: matrix(q, key)?, gates, mask })
    }

    /// The addresses of every input, in the order of [`INPUTS`].
    pub(crate) fn input_addresses(&self) -> [Range<usize>; 7] {
        let [alpha, theta, eta] = self.gates.map(slice_addresses);
        let [k, v, q] = [self.k, self.v, self.q].map(|m| slice_addresses(m.data()));
        [k, v, q, alpha, theta, eta, self.mask.map_or(0..0, slice_addresses)]
    }

    /// Tokens `from .. from + rows` as the kernel takes them.
    pub(crate) fn rows(&self, from: usize, rows: usize) -> Tokens<'a, f32> {
        let gate = |values: &'a [f32]| {
            if values.len() == 1 {
                Gate::strided_tokens(values, 0)
            } else {
                Gate::tokens(values.get(from..from + rows).unwrap_or_default())
            }
        };
        let [alpha, theta, eta] = self.gates.map(gate);
        let mask = self.mask.map_or(Mask::Write, |mask| Mask::Tokens(mask.get(from..from + rows).unwrap_or_default()));
        let [k, v, q] = [self.k, self.v, self.q].map(|m| m.sub(from, rows));
        Tokens { k, v, q, alpha, theta, eta, mask }
    }
}
