//! Shaped, strided views of slices. All bounds are checked when a view is made.

use crate::error::{Error, Result};
use crate::part::{Parts, sure};

/// A read-only matrix: `rows × cols` elements of a slice with any two strides, so a transpose is a view.
///
/// ```
/// use titans_kernel::Mat;
///
/// let numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let x = Mat::new(&numbers, 2, 3)?;
/// assert_eq!((x.row(1), x.t().rows()), (&[4.0, 5.0, 6.0][..], 3));
/// assert!(Mat::new(&numbers, 3, 3).is_err());
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<T> Default for Mat<'_, T> {
    /// No rows and no columns.
    fn default() -> Self {
        Self { data: &[], rows: 0, cols: 0, row_stride: 0, col_stride: 1 }
    }
}

/// Elements that a `rows × cols` view with these strides reaches over; `None` on overflow.
const fn extent(rows: usize, cols: usize, row_stride: usize, col_stride: usize) -> Option<usize> {
    if rows == 0 || cols == 0 {
        return Some(0);
    }
    match ((rows - 1).checked_mul(row_stride), (cols - 1).checked_mul(col_stride)) {
        (Some(r), Some(c)) => match r.checked_add(c) {
            Some(last) => last.checked_add(1),
            None => None,
        },
        _ => None,
    }
}

impl<'a, T: Copy> Mat<'a, T> {
    /// A view of `data` where element (i, j) is `data[i * row_stride + j * col_stride]`.
    ///
    /// # Errors
    /// [`Error::Buffer`] when `data` is shorter than the view reaches.
    pub const fn strided(
        data: &'a [T],
        rows: usize,
        cols: usize,
        row_stride: usize,
        col_stride: usize,
    ) -> Result<Self> {
        let given = data.len();
        match extent(rows, cols, row_stride, col_stride) {
            Some(needed) if needed <= given => Ok(Self { data, rows, cols, row_stride, col_stride }),
            Some(needed) => Err(Error::Buffer { what: "matrix view", needed, given }),
            None => Err(Error::Buffer { what: "matrix view", needed: usize::MAX, given }),
        }
    }

    /// Rows one after another: element (i, j) is `data[i * cols + j]`.
    ///
    /// # Errors
    /// [`Error::Buffer`] when `data` holds fewer than `rows * cols` elements.
    pub const fn new(data: &'a [T], rows: usize, cols: usize) -> Result<Self> {
        Self::strided(data, rows, cols, cols, 1)
    }

    /// Number of rows.
    #[inline(always)]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[inline(always)]
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// Elements between the starts of neighbouring rows.
    #[inline(always)]
    pub const fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Elements between neighbouring columns; 1 for row-major views.
    #[inline(always)]
    pub const fn col_stride(&self) -> usize {
        self.col_stride
    }

    /// The slice under the view, from element (0, 0) on.
    #[inline(always)]
    pub const fn data(&self) -> &'a [T] {
        self.data
    }

    /// Element (i, j).
    ///
    /// # Panics
    /// When (i, j) lies outside the slice (without the feature `strict` nothing panics: it is 0).
    #[inline(always)]
    pub fn at(&self, i: usize, j: usize) -> T
    where
        T: Default,
    {
        debug_assert!(i < self.rows && j < self.cols);
        self.data.item(i * self.row_stride + j * self.col_stride)
    }

    /// Row `i` of a row-major view.
    ///
    /// # Panics
    /// When `i` is no row.
    #[inline(always)]
    pub fn row(&self, i: usize) -> &'a [T] {
        debug_assert!(self.col_stride == 1 && i < self.rows);
        self.data.part(i * self.row_stride..).part(..self.cols)
    }

    /// The transpose: no element moves.
    #[inline(always)]
    pub const fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }

    /// Rows `from .. from + rows` and columns `col .. col + cols`.
    ///
    /// # Panics
    /// When the block reaches beyond the view, a bug of the caller, not of its input (without the feature `strict` it
    /// is empty).
    #[inline(always)]
    pub fn block(self, from: usize, rows: usize, col: usize, cols: usize) -> Self {
        let lies = inside(from, rows, self.rows) && inside(col, cols, self.cols);
        sure!(lies, "block outside of its matrix", Self { data: &[], rows: 0, cols: 0, ..self });
        let start = (from * self.row_stride + col * self.col_stride).min(self.data.len());
        Self { data: self.data.part(start..), rows, cols, ..self }
    }

    /// Rows `from .. from + rows`, all columns.
    ///
    /// # Panics
    /// As [`Mat::block`].
    #[inline(always)]
    pub fn sub(self, from: usize, rows: usize) -> Self {
        self.block(from, rows, 0, self.cols)
    }
}

/// A mutable row-major matrix: rows of `cols` elements, `row_stride` apart.
///
/// ```
/// use titans_kernel::MatMut;
///
/// let mut numbers = [0.0; 6];
/// let mut x = MatMut::new(&mut numbers, 2, 3)?;
/// x.row_mut(1).copy_from_slice(&[1.0, 2.0, 3.0]);
/// assert_eq!(numbers, [0.0, 0.0, 0.0, 1.0, 2.0, 3.0]);
/// # Ok::<(), titans_kernel::Error>(())
/// ```
#[derive(Debug)]
pub struct MatMut<'a, T> {
    data: &'a mut [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
}

impl<'a, T: Copy> MatMut<'a, T> {
    /// Rows of `cols` elements whose starts lie `row_stride` apart.
    ///
    /// # Errors
    /// [`Error::Buffer`] when `data` is too short, [`Error::Shape`] when rows would overlap.
    pub const fn strided(data: &'a mut [T], rows: usize, cols: usize, row_stride: usize) -> Result<Self> {
        let given = data.len();
        if row_stride < cols && rows > 1 {
            return Err(Error::Shape { what: "row stride", expected: cols, found: row_stride });
        }
        match extent(rows, cols, row_stride, 1) {
            Some(needed) if needed <= given => Ok(Self { data, rows, cols, row_stride }),
            Some(needed) => Err(Error::Buffer { what: "matrix view", needed, given }),
            None => Err(Error::Buffer { what: "matrix view", needed: usize::MAX, given }),
        }
    }

    /// Rows one after another.
    ///
    /// # Errors
    /// As [`MatMut::strided`].
    pub const fn new(data: &'a mut [T], rows: usize, cols: usize) -> Result<Self> {
        Self::strided(data, rows, cols, cols)
    }

    /// Number of rows.
    #[inline(always)]
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    #[inline(always)]
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// Elements between the starts of neighbouring rows.
    #[inline(always)]
    pub const fn row_stride(&self) -> usize {
        self.row_stride
    }

    /// Row `i`.
    ///
    /// # Panics
    /// When `i` is no row.
    #[inline(always)]
    pub fn row_mut(&mut self, i: usize) -> &mut [T] {
        debug_assert!(i < self.rows);
        self.data.part_mut(i * self.row_stride..).part_mut(..self.cols)
    }

    /// The slice under the view, from element (0, 0) on.
    #[inline(always)]
    pub fn data_mut(&mut self) -> &mut [T] {
        self.data
    }

    /// The same matrix to read.
    #[inline(always)]
    pub fn as_ref(&self) -> Mat<'_, T> {
        Mat { data: self.data, rows: self.rows, cols: self.cols, row_stride: self.row_stride, col_stride: 1 }
    }

    /// The same matrix, borrowed for a shorter while.
    #[inline(always)]
    pub fn rb(&mut self) -> MatMut<'_, T> {
        MatMut { data: self.data, rows: self.rows, cols: self.cols, row_stride: self.row_stride }
    }

    /// Rows `from .. from + rows`.
    ///
    /// # Panics
    /// When they reach beyond the view.
    #[inline(always)]
    pub fn sub(self, from: usize, rows: usize) -> MatMut<'a, T> {
        sure!(inside(from, rows, self.rows), "rows outside of their matrix", MatMut { rows: 0, ..self });
        let start = (from * self.row_stride).min(self.data.len());
        MatMut { data: self.data.part_mut(start..), rows, cols: self.cols, row_stride: self.row_stride }
    }

    /// Columns `from .. from + cols`, all rows.
    ///
    /// # Panics
    /// When they reach beyond the view.
    #[inline(always)]
    pub fn columns(self, from: usize, cols: usize) -> MatMut<'a, T> {
        sure!(inside(from, cols, self.cols), "columns outside of their matrix", MatMut { cols: 0, ..self });
        let start = from.min(self.data.len());
        MatMut { data: self.data.part_mut(start..), rows: self.rows, cols, row_stride: self.row_stride }
    }

    /// Every element becomes `x`.
    pub fn fill(&mut self, x: T) {
        for i in 0..self.rows {
            self.row_mut(i).fill(x);
        }
    }
}

/// Whether `from .. from + len` lies inside `0 .. all`, also where the sum has no number.
#[inline(always)]
fn inside(from: usize, len: usize, all: usize) -> bool {
    from.checked_add(len).is_some_and(|end| end <= all)
}

#[cfg(test)]
mod tests {
    use super::{Mat, MatMut};

    #[test]
    fn views_are_checked_and_transposes_share() {
        let d = [1, 2, 3, 4, 5, 6];
        let m = Mat::new(&d, 2, 3).unwrap();
        assert_eq!(m.at(1, 0), 4);
        assert_eq!(m.t().at(0, 1), 4);
        assert_eq!(m.block(1, 1, 1, 2).row(0), &[5, 6]);
        assert!(Mat::new(&d, 2, 4).is_err());
        assert!(Mat::strided(&d, usize::MAX, 2, usize::MAX, 1).is_err());
        assert!(Mat::new(&d[..0], 0, 7).is_ok());
        let mut e = [0; 5];
        assert!(MatMut::strided(&mut e, 2, 3, 2).is_err(), "overlapping rows");
        let mut w = MatMut::strided(&mut e, 2, 2, 3).unwrap();
        w.row_mut(1).copy_from_slice(&[7, 8]);
        w.fill(9);
        assert_eq!(e, [9, 9, 0, 9, 9]);
    }
}
