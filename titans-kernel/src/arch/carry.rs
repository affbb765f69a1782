//! Tokens through a linear memory: a strip of columns of W and S carries all of them before the next strip is touched.
//!
//! Given keys and queries, every column evolves by itself; only Σ e² looks across, and keeps its 16 partial sums
//! (column i to sum i mod 16, strips from left to right) until the end.

use super::token::{Change, TokenStrip, load, pass, store, strips};
use super::unroll::each;
use super::vector::Vector;
use crate::arithmetic::{CARRIED, Carried, Carry, CarrySpace, tree};
use crate::part::{Parts, sure};
use crate::scalar::Scalar;
use crate::scratch::Scratch;

/// From so many tokens on a strip is worth copying side by side.
const COPY_FROM: usize = 4;
/// Bytes of W and S that a packed strip of two registers may take: L1.
const STRIP_BYTES: usize = 32 * 1024;

/// Where a strip's tokens come from and go to.
#[derive(Clone, Copy)]
struct Ends<T> {
    /// Answers from the strip's first column on; null if none are wanted.
    y: *mut T,
    y_stride: usize,
    /// 16 partial sums of e² for every token, from the one of the strip's first column on.
    sums: *mut T,
    /// First column.
    j: usize,
    /// Columns in the last register.
    rest: usize,
}

/// [`Carry`].
///
/// # Safety
/// Only inside a function that enables V's instructions.
///
/// # Panics
/// When sizes disagree.
#[inline(always)]
pub(super) unsafe fn carry<V: Vector>(c: Carry<'_, V::T>, o: Carried<'_, V::T>) {
    let (n, rows, d) = (c.k.rows(), c.k.cols(), c.v.cols());
    sure!(n <= CARRIED && c.v.rows() == n && c.factors.len() == n && o.squares.len() == n, "shapes of tokens");
    sure!(o.w.len() == rows * d && o.s.len() == rows * d, "shapes of a linear memory");
    let space = CarrySpace::take(&mut Scratch::new(o.work), rows, d);
    sure!(space.is_ok(), "work space");
    let Ok(CarrySpace { sums, copy, .. }) = space else { return };
    sure!(c.k.col_stride() == 1 && c.v.col_stride() == 1, "rows of tokens");
    let wants = o.y.is_some();
    sure!(!wants || (c.q.rows() == n && c.q.cols() == rows && c.q.col_stride() == 1), "shapes of queries");
    let (mut y, mut y_stride) = (core::ptr::null_mut(), 0);
    if let Some(mut out) = o.y {
        sure!(out.rows() == n && out.cols() == d, "shapes of answers");
        y_stride = out.row_stride();
        y = out.data_mut().as_mut_ptr();
    }
    let sums = sums.part_mut(..16 * n);
    sums.fill(V::T::ZERO);
    let copy = copy.as_mut_ptr();
    // SAFETY: strips lie inside W and S, whose sizes are checked, as are those of the tokens and of what is written.
    // The copy has room for W and S of a strip: strips are at most 64 columns wide, and at most 16 · ⌈d / 16⌉.
    unsafe {
        let two = 4 * rows * V::LANES * V::T::BYTES;
        // In place the widest strips come nearest to the order of addresses.
        let across = if n < COPY_FROM {
            V::ACROSS
        } else if two <= STRIP_BYTES {
            2
        } else {
            1
        };
        strips!(V, d, across, |j, N, MASK| {
            let rest = if MASK { d - j } else { V::LANES };
            let (w, s) = (o.w.as_mut_ptr().add(j), o.s.as_mut_ptr().add(j));
            let strip = TokenStrip { w, s, stride: d, rows, rest };
            let y = if wants { y.add(j) } else { y };
            let ends = Ends { y, y_stride, sums: sums.as_mut_ptr().add(j % 16), j, rest };
            if n < COPY_FROM {
                tokens::<V, N, MASK, MASK>(&c, strip, ends);
            } else {
                let wide = N * V::LANES;
                let packed = TokenStrip { w: copy, s: copy.add(wide), stride: 2 * wide, rows, rest };
                for i in 0..rows {
                    store::<V, N, false>(load::<V, N, MASK>(w.add(i * d), rest), packed.w.add(i * packed.stride), rest);
                    store::<V, N, false>(load::<V, N, MASK>(s.add(i * d), rest), packed.s.add(i * packed.stride), rest);
                }
                tokens::<V, N, MASK, false>(&c, packed, ends);
                for i in 0..rows {
                    store::<V, N, MASK>(load::<V, N, false>(packed.w.add(i * packed.stride), rest), w.add(i * d), rest);
                    store::<V, N, MASK>(load::<V, N, false>(packed.s.add(i * packed.stride), rest), s.add(i * d), rest);
                }
            }
        });
    }
    for (out, sums) in o.squares.iter_mut().zip(sums.as_chunks().0) {
        *out = tree(sums);
    }
}

/// All tokens over one strip; `MASK` where tokens have fewer columns than it, `CUT` where W and S have too. Each sweep
/// gives the next token's product with its key as well.
#[inline(always)]
unsafe fn tokens<V: Vector, const N: usize, const MASK: bool, const CUT: bool>(
    c: &Carry<'_, V::T>,
    strip: TokenStrip<V::T>,
    ends: Ends<V::T>,
) {
    let n = c.k.rows();
    let wants = !ends.y.is_null();
    // SAFETY: the caller's promise; rows of k, v and q exist for t < n, and the strip's columns lie inside v's and y's.
    unsafe {
        let (scale, zero) = (V::splat(c.scale), V::splat(V::T::ZERO));
        let key = |t: usize| c.k.row(t).as_ptr();
        let query = |t: usize| if wants { Some(c.q.row(t).as_ptr()) } else { None };
        let early = |t: usize| if c.after { None } else { query(t) };
        let mut now = [[zero; N]; 2];
        if n > 0 {
            now = pass::<V, N, CUT>(strip, None, Some(key(0)), early(0));
        }
        for t in 0..n {
            let f = c.factors.item(t);
            let v = load::<V, N, MASK>(c.v.row(t).as_ptr().add(ends.j), ends.rest);
            let mut delta = [zero; N];
            let rate = V::splat(-f.rate);
            each!(J < N => {
                let e = now[0][J].sub(v[J]);
                let sum = ends.sums.add(t * 16 + J * V::LANES % 16);
                let new = V::load(sum).add(e.mul(e));
                if MASK { new.store_first(sum, ends.rest) } else { new.store(sum) }
                delta[J] = rate.mul(scale.mul(e));
            });
            if wants && !c.after {
                store::<V, N, MASK>(now[1], ends.y.add(t * ends.y_stride), ends.rest);
            }
            let change = Change { x: key(t), delta, keep: V::splat(f.keep), eta: V::splat(f.eta) };
            let next = if t + 1 < n { Some(t + 1) } else { None };
            let asked = if c.after { query(t) } else { next.and_then(early) };
            now = pass::<V, N, CUT>(strip, if f.writes { Some(change) } else { None }, next.map(key), asked);
            if wants && c.after {
                store::<V, N, MASK>(now[1], ends.y.add(t * ends.y_stride), ends.rest);
            }
        }
    }
}
