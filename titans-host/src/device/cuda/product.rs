//! Row-major batched products over the column-major interface of cuBLAS, with every bound checked.

use super::buffer::View;
use super::driver::{BatchedGemm, Driver, Factor, Precision};
use super::probe::failed;
use super::{Cuda, driver};
use crate::error::Result;

/// A batch of row-major matrices `rows × cols` inside a buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Matrix {
    view: View,
    rows: usize,
    cols: usize,
    /// Elements from one row to the next, and from one matrix to the next.
    ld: usize,
    stride: usize,
    transposed: bool,
}

impl Matrix {
    /// Matrices one after another.
    pub fn new(view: View, rows: usize, cols: usize) -> Self {
        Self { view, rows, cols, ld: cols, stride: rows * cols, transposed: false }
    }

    /// Matrices `stride` elements apart.
    pub fn every(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    /// Columns of wider matrices, whose rows are `ld` elements long.
    pub fn of_rows(self, ld: usize) -> Self {
        Self { ld, ..self }
    }

    /// The transposes, as factors.
    pub fn t(self) -> Self {
        Self { transposed: !self.transposed, ..self }
    }

    /// Rows and columns as a factor.
    fn shape(&self) -> (usize, usize) {
        if self.transposed { (self.cols, self.rows) } else { (self.rows, self.cols) }
    }

    /// As the driver sees it, once it is known to lie inside its buffer.
    fn factor(&self, batch: usize) -> Result<Factor> {
        let own = self.rows.saturating_sub(1) * self.ld + self.cols;
        let last = batch.saturating_sub(1).checked_mul(self.stride).and_then(|x| x.checked_add(own));
        match last {
            Some(last) if last <= self.view.len => Ok(Factor {
                address: self.view.address,
                ld: int(self.ld)?,
                stride: self.stride as i64,
                transposed: self.transposed,
            }),
            _ => Err(failed(format!("a product reaches beyond its buffer: {self:?}, batch {batch}"))),
        }
    }
}

/// A size as cuBLAS takes it.
fn int(x: usize) -> Result<i32> {
    i32::try_from(x).map_err(|_| failed(format!("a matrix of {x} rows or columns is more than cuBLAS takes")))
}

impl<R: Driver> Cuda<R> {
    /// `c = a b + beta c` in the precision of linear maps.
    pub(super) fn linear_product(&self, a: Matrix, b: Matrix, beta: f64, c: Matrix) -> Result<()> {
        self.gemm(self.precision, 1, 1.0, (a, b), beta, c)
    }

    /// The same for `batch` matrices.
    pub(super) fn linear_products(&self, batch: usize, a: Matrix, b: Matrix, beta: f64, c: Matrix) -> Result<()> {
        self.gemm(self.precision, batch, 1.0, (a, b), beta, c)
    }

    /// `c = alpha a b + beta c` for `batch` matrices, in `f32`; c's old values are not read when beta is 0.
    pub(super) fn product(&self, batch: usize, alpha: f64, a: Matrix, b: Matrix, beta: f64, c: Matrix) -> Result<()> {
        self.gemm(Precision::F32, batch, alpha, (a, b), beta, c)
    }

    fn gemm(
        &self,
        precision: Precision,
        batch: usize,
        alpha: f64,
        (a, b): (Matrix, Matrix),
        beta: f64,
        c: Matrix,
    ) -> Result<()> {
        let ((m, k), (k_b, n)) = (a.shape(), b.shape());
        if c.transposed || k != k_b || c.shape() != (m, n) {
            return Err(failed(format!("a product of shapes that do not fit: {a:?}, {b:?}, {c:?}")));
        }
        if batch == 0 || m == 0 || n == 0 {
            return Ok(());
        }
        // A row-major matrix is the column-major transpose: c' = b' a'.
        let gemm = BatchedGemm {
            precision,
            m: int(n)?,
            n: int(m)?,
            k: int(k)?,
            alpha: alpha as f32,
            a: b.factor(batch)?,
            b: a.factor(batch)?,
            beta: beta as f32,
            c: c.factor(batch)?,
            batch: int(batch)?,
        };
        // SAFETY: `factor` checked every element against the live buffer it is a view of; the callers' results are
        // buffers of their own.
        unsafe { self.driver.gemm(&gemm) }
    }

    /// Runs a kernel: `threads` is its first argument n. Nothing for no threads.
    ///
    /// Callers pass what the kernel's comment asks for, buffers of checked lengths. The tests run every call on the
    /// emulator, which checks the number and kinds of the arguments and guards both ends of every allocation.
    pub(super) fn launch(&self, kernel: &'static str, threads: usize, args: &[driver::Arg]) -> Result<()> {
        if threads == 0 {
            return Ok(());
        }
        let all: Vec<_> = std::iter::once(driver::Arg::from(threads)).chain(args.iter().copied()).collect();
        // SAFETY: see above; every buffer named is borrowed by the caller and thus alive, and its memory is freed in
        // stream order.
        unsafe { self.driver.launch(kernel, threads as i64, &all) }
    }
}

/// Threads of a block of the block kernels: `BLOCK` in `kernels/block.cuh`.
const BLOCK: u32 = 256;
/// Rows that a block does at once where a warp does one.
const BLOCK_ROWS: usize = 8;

impl<R: Driver> Cuda<R> {
    /// Runs a block kernel of which a warp does a row: `rows` is its first argument n. Nothing for no rows.
    pub(super) fn launch_rows(&self, kernel: &'static str, rows: usize, args: &[driver::Arg]) -> Result<()> {
        self.launch_grid(kernel, rows, rows.div_ceil(BLOCK_ROWS), args)
    }

    /// Runs a block kernel of which a block does a unit: `units` is its first argument n. Nothing for no units.
    pub(super) fn launch_blocks(&self, kernel: &'static str, units: usize, args: &[driver::Arg]) -> Result<()> {
        self.launch_grid(kernel, units, units, args)
    }

    fn launch_grid(&self, kernel: &'static str, n: usize, blocks: usize, args: &[driver::Arg]) -> Result<()> {
        if n == 0 {
            return Ok(());
        }
        let all: Vec<_> = std::iter::once(driver::Arg::from(n)).chain(args.iter().copied()).collect();
        let grid = driver::Grid { blocks: blocks as i64, threads: BLOCK };
        // SAFETY: as in `launch`.
        unsafe { self.driver.launch_blocks(kernel, grid, &all) }
    }
}

/// The arguments of a kernel after n.
macro_rules! args {
    ($($x:expr),* $(,)?) => { &[$($crate::device::cuda::driver::Arg::from($x)),*] };
}
pub(super) use args;
