//! The matrix product by register blocks, for any [`Vector`]: a tile of C stays in registers over a block of k.
//!
//! Every element is one chain of fused multiply-adds over k in ascending order, whatever the tile, so that rows have
//! the same bits whatever lies beside it. `Sub` turns the sign of C's elements before and after the chain, which is
//! exact.

use crate::part::sure;
use core::mem::MaybeUninit;

use super::few::{FEW, few};
use super::strip::{Panel, rows};
use super::vector::Vector;
use crate::arithmetic::{Beside, Store};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Rows of a tile of more than two registers, at most.
pub(super) const ROWS: usize = 6;
/// Bytes of the block of B that is packed: half of a 32 KiB L1.
pub(super) const BLOCK_BYTES: usize = 16 * 1024;

/// Bytes of a block of B that is read where it is.
const IN_PLACE_BYTES: usize = 64 * 1024;
/// Bytes of A's rows that stay in L2 while B passes by.
pub(super) const A_BYTES: usize = 256 * 1024;
/// Steps of k of a product whose A does not stay in the cache: what A and B have in them does, while all of C passes
/// by.
const STEPS: usize = 512;

/// Which part of the product is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProductPart {
    /// All of C, over all of k.
    Whole,
    /// Row r over those k only; A is not read to the right of them, and is 0 to the left.
    CausalInner(Beside),
    /// Row r in those columns; what C holds beside them is unspecified afterwards.
    Band(Beside),
}

/// A, B and C with their sizes, checked.
#[derive(Clone, Copy)]
pub(super) struct Operands<T> {
    pub(super) a: *const T,
    pub(super) a_row: usize,
    pub(super) a_col: usize,
    pub(super) b: *const T,
    pub(super) b_row: usize,
    pub(super) b_col: usize,
    pub(super) c: *mut T,
    pub(super) c_row: usize,
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
}

/// C = A B, C + A B or C − A B, or a part of it.
///
/// # Safety
/// Only inside a function that enables V's instructions.
///
/// # Panics
/// When the shapes do not fit.
#[inline(always)]
pub(super) unsafe fn product<V: Vector>(
    store: Store,
    part: ProductPart,
    a: Mat<'_, V::T>,
    b: Mat<'_, V::T>,
    mut c: MatMut<'_, V::T>,
) {
    let (m, n) = (c.rows(), c.cols());
    let k = match part {
        ProductPart::CausalInner(beside) => beside.behind.saturating_add(m).min(a.cols()),
        ProductPart::Whole | ProductPart::Band(_) => a.cols(),
    };
    sure!(a.rows() == m && b.cols() == n && b.rows() >= k && a.cols() >= k, "shapes of a product");
    sure!(matches!(part, ProductPart::CausalInner(_)) || b.rows() == k, "shapes of a product");
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if store == Store::Set {
            c.fill(V::T::ZERO);
        }
        return;
    }
    let o = Operands {
        a: a.data().as_ptr(),
        a_row: a.row_stride(),
        a_col: a.col_stride(),
        b: b.data().as_ptr(),
        b_row: b.row_stride(),
        b_col: b.col_stride(),
        c_row: c.row_stride(),
        c: c.data_mut().as_mut_ptr(),
        m,
        n,
        k,
    };
    // One row sees all of the steps that are left, and may be computed in all columns.
    let every = part == ProductPart::Whole || m == 1 && !matches!(part, ProductPart::CausalInner(b) if b.before < k);
    if m <= FEW && every && o.b_col == 1 {
        // SAFETY: as below.
        return unsafe { few::<V>(store, &o) };
    }
    // Within the matrices, so that sums of them cannot overflow.
    let part = match part {
        ProductPart::Whole => part,
        ProductPart::CausalInner(b) => ProductPart::CausalInner(Beside { behind: b.behind.min(k), ..b }),
        ProductPart::Band(b) => ProductPart::Band(Beside { behind: b.behind.min(n), ..b }),
    };
    // SAFETY: views reach no further than their slices, and the shapes agree: all elements that are addressed lie
    // inside A, B and C. C is borrowed mutably, so it does not overlap A or B. The instructions are the caller's
    // promise.
    unsafe {
        if cached::<V>(part, &o) {
            panels::<V, false>(store, part, &o);
        } else {
            V::apart(
                #[inline(always)]
                || steps::<V>(store, part, &o),
            );
        }
    }
}

/// Whether all operands stay in the cache while the product is computed: then nothing is blocked or prefetched. Asked
/// first, because planning blocks takes as long as a small product.
#[inline(always)]
fn cached<V: Vector>(part: ProductPart, o: &Operands<V::T>) -> bool {
    let bytes = o.k * V::T::BYTES;
    let wide = o.n.min(V::ACROSS * V::LANES);
    (part != ProductPart::Whole || o.m * bytes <= A_BYTES / 2)
        && o.n * bytes <= 2 * BLOCK_BYTES
        && wide * bytes <= IN_PLACE_BYTES
}

/// Steps of k in blocks where A does not stay in the cache.
#[inline(always)]
unsafe fn steps<V: Vector>(store: Store, part: ProductPart, o: &Operands<V::T>) {
    let far = part == ProductPart::Whole && o.m * o.k * V::T::BYTES > A_BYTES;
    let steps = if far && o.k >= 2 * STEPS { STEPS } else { o.k };
    let mut k0 = 0;
    while k0 < o.k {
        let kc = steps.min(o.k - k0);
        let store = if k0 == 0 || store == Store::Sub { store } else { Store::Add };
        // SAFETY: steps k0 .. k0 + kc exist; the rest is the caller's promise.
        unsafe {
            let (a, b) = (o.a.add(k0 * o.a_col), o.b.add(k0 * o.b_row));
            row_blocks::<V>(store, part, &Operands { a, b, k: kc, ..*o });
        }
        k0 += kc;
    }
}

/// Rows of A that stay in L2 while all panels of B pass by, block after block.
#[inline(always)]
unsafe fn row_blocks<V: Vector>(store: Store, part: ProductPart, o: &Operands<V::T>) {
    // The division takes as long as a small tile.
    let small = part != ProductPart::Whole || o.m <= 64 || o.m * o.k * V::T::BYTES <= A_BYTES;
    let block = if small { o.m } else { (A_BYTES / (o.k * V::T::BYTES).max(1)).max(64).next_multiple_of(ROWS) };
    let mut i = 0;
    while i < o.m {
        let m = block.min(o.m - i);
        // SAFETY: rows i .. i + m exist; the rest is the caller's promise.
        unsafe {
            let (a, c) = (o.a.add(i * o.a_row), o.c.add(i * o.c_row));
            panels::<V, true>(store, part, &Operands { a, c, m, ..*o });
        }
        i += m;
    }
}

/// Columns of C in panels of `ACROSS` registers; `BLOCKED` where not everything stays in the cache.
#[inline(always)]
unsafe fn panels<V: Vector, const BLOCKED: bool>(store: Store, part: ProductPart, o: &Operands<V::T>) {
    let wide = V::ACROSS * V::LANES;
    let mut j = 0;
    while j < o.n {
        let width = wide.min(o.n - j);
        // SAFETY: columns j .. j + width exist; the rest is the caller's promise.
        unsafe {
            match way::<V, BLOCKED>(o, width) {
                Way::Packed => V::apart(
                    #[inline(always)]
                    || packed::<V>(store, part, o, j, width),
                ),
                Way::InPlace(_) if !BLOCKED => {
                    rows::<V, false>(store, part, o, Panel { k0: 0, kc: o.k, b: o.b.add(j), b_row: o.b_row, j, width });
                }
                Way::InPlace(depth) => {
                    let mut k0 = 0;
                    while k0 < o.k {
                        let kc = depth.min(o.k - k0);
                        let store = if k0 == 0 || store == Store::Sub { store } else { Store::Add };
                        let b = o.b.add(k0 * o.b_row + j);
                        rows::<V, true>(store, part, o, Panel { k0, kc, b, b_row: o.b_row, j, width });
                        k0 += kc;
                    }
                }
            }
        }
        j += width;
    }
}

/// How a panel of B is read.
enum Way {
    /// Where it is, so many rows at a time.
    InPlace(usize),
    /// Through copies of its blocks.
    Packed,
}

/// B's rows can be read where they are if they are whole registers. Blocks stay in L1 while all rows
/// of C pass by, unless their rows lie a large power of two apart and share few of its sets: then a copy pays if there
/// are rows enough.
#[inline(always)]
fn way<V: Vector, const BLOCKED: bool>(o: &Operands<V::T>, width: usize) -> Way {
    let whole = o.b_col == 1 && width.is_multiple_of(V::LANES);
    let small = o.k * width * V::T::BYTES <= IN_PLACE_BYTES;
    let depth = if small { o.k } else { (IN_PLACE_BYTES / (width * V::T::BYTES).max(1)).max(1) };
    let spread = o.b_row * V::T::BYTES;
    // A column of long rows lies in cache lines of few sets: it stays in L1 only where the block leaves room there.
    let across = BLOCKED && o.a_row == 1 && o.a_col * V::T::BYTES >= 1024 && o.m * o.k * V::T::BYTES > A_BYTES / 2;
    match () {
        () if !whole => Way::Packed,
        () if o.m < 4 * ROWS => Way::InPlace(o.k),
        () if across => Way::Packed,
        () if spread < 1024 || !spread.is_multiple_of(1024) => Way::InPlace(depth),
        () => Way::Packed,
    }
}

/// The panel through copies of B's blocks, zero-padded to whole registers.
#[inline(always)]
unsafe fn packed<V: Vector>(store: Store, part: ProductPart, o: &Operands<V::T>, j: usize, width: usize) {
    let mut block = PackBuffer::new();
    let buffer = block.0.as_mut_ptr().cast::<V::T>();
    let across = width.div_ceil(V::LANES);
    let stride = across * V::LANES;
    let depth = BLOCK_BYTES / (V::ACROSS * V::LANES * V::T::BYTES);
    let mut k0 = 0;
    while k0 < o.k {
        let kc = depth.min(o.k - k0);
        let store = if k0 == 0 || store == Store::Sub { store } else { Store::Add };
        // SAFETY: the block holds `depth` rows of `stride` numbers, and rows k0 .. k0 + kc and columns j .. j + width
        // of B exist.
        unsafe {
            copy_block::<V>(o, k0, kc, j, width, buffer, stride);
            rows::<V, true>(store, part, o, Panel { k0, kc, b: buffer, b_row: stride, j, width });
        }
        k0 += kc;
    }
}

/// Space for a block of B, aligned to whole cache lines.
#[repr(align(64))]
struct PackBuffer([MaybeUninit<u8>; BLOCK_BYTES]);

impl PackBuffer {
    #[inline(always)]
    const fn new() -> Self {
        Self([MaybeUninit::uninit(); BLOCK_BYTES])
    }
}

/// `out[k * stride + n] = b(k0 + k, j + n)`, zeros from `width` to `stride`.
#[inline(always)]
unsafe fn copy_block<V: Vector>(
    o: &Operands<V::T>,
    k0: usize,
    kc: usize,
    j: usize,
    width: usize,
    out: *mut V::T,
    stride: usize,
) {
    let whole = width / V::LANES;
    let rest = width % V::LANES;
    // SAFETY: as `packed`.
    unsafe {
        let b = o.b.add(k0 * o.b_row + j * o.b_col);
        if o.b_col == 1 {
            for k in 0..kc {
                let (from, to) = (b.add(k * o.b_row), out.add(k * stride));
                for v in 0..whole {
                    V::load(from.add(v * V::LANES)).store(to.add(v * V::LANES));
                }
                if rest > 0 {
                    V::load_first(from.add(whole * V::LANES), rest).store(to.add(whole * V::LANES));
                }
            }
            return;
        }
        if rest > 0 {
            for k in 0..kc {
                V::splat(V::T::ZERO).store(out.add(k * stride + whole * V::LANES));
            }
        }
        if o.b_row == 1 {
            transposed::<V>(b, o.b_col, width, kc, out, stride);
        } else {
            for k in 0..kc {
                for n in 0..width {
                    *out.add(k * stride + n) = *b.add(k * o.b_row + n * o.b_col);
                }
            }
        }
    }
}

/// [`Vector::transpose`] in a function of its own.
///
/// # Safety
/// As that.
#[inline(always)]
pub(super) unsafe fn transposed<V: Vector>(
    p: *const V::T,
    stride: usize,
    rows: usize,
    cols: usize,
    out: *mut V::T,
    width: usize,
) {
    // SAFETY: the same contract.
    unsafe {
        V::apart(
            #[inline(always)]
            || V::transpose(p, stride, rows, cols, out, width),
        );
    }
}
