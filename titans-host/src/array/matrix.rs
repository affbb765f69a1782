//! The kernel's matrices and two-dimensional views of the same numbers.

use crate::error::{Error, Result};
use ndarray::{ArrayView2, ArrayViewMut2, Axis, ShapeBuilder};
use titans_kernel::{Mat, MatMut};

/// The kernel's view of the same numbers: rows or columns one after another, or one that is repeated (a broadcast).
///
/// Numbers between those of a view may be another's, so that a view with gaps cannot be lent as a slice. Convert the
/// whole array and take a [`Mat::block`] of it, or a copy
/// ([`as_standard_layout`](ndarray::ArrayRef::as_standard_layout)).
///
/// ```
/// use ndarray::{arr2, s};
/// use titans_host::array::mat;
///
/// # fn main() -> titans_host::Result<()> {
/// let a = arr2(&[[1, 2, 3], [4, 5, 6]]);
/// assert_eq!(mat(a.view())?.at(1, 0), 4);
/// assert_eq!(mat(a.t())?.at(0, 1), 4); // no element moves
/// let row = a.slice(s![..1, ..]);
/// assert_eq!(mat(row.broadcast((5, 3)).unwrap())?.at(4, 2), 3);
/// assert!(mat(a.slice(s![.., ..2])).is_err()); // gaps: convert all of it, and
/// assert_eq!(mat(a.view())?.block(0, 2, 0, 2).at(1, 1), 5);
/// assert!(mat(a.slice(s![..;-1, ..])).unwrap_err().to_string().contains("[-3, 1]"));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Usage`] with the strides, where they are negative or leave gaps.
pub fn mat<T: Copy>(array: ArrayView2<'_, T>) -> Result<Mat<'_, T>> {
    let ((rows, cols), strides) = (array.dim(), [array.strides()[0], array.strides()[1]]);
    let refused = || refused((rows, cols), strides, "rows or columns one after another, without gaps");
    if rows == 0 || cols == 0 {
        return Ok(Mat::new(&[], rows, cols)?);
    }
    // The stride of an axis of length 1 means nothing.
    let stride = |axis: usize, len: usize, else_| if len == 1 { Ok(else_) } else { usize::try_from(strides[axis]) };
    let row_stride = stride(0, rows, cols).map_err(|_| refused())?;
    let col_stride = stride(1, cols, 1).map_err(|_| refused())?;
    let mut once = array;
    for (axis, stride) in [row_stride, col_stride].into_iter().enumerate() {
        if stride == 0 {
            once.collapse_axis(Axis(axis), 0);
        }
    }
    let numbers = once.to_slice_memory_order().ok_or_else(refused)?;
    Mat::strided(numbers, rows, cols, row_stride, col_stride).map_err(|_| refused())
}

/// The kernel's view of the same numbers, to write: rows one after another.
///
/// ```
/// use ndarray::Array2;
/// use titans_host::array::mat_mut;
///
/// # fn main() -> titans_host::Result<()> {
/// let mut a = Array2::zeros((2, 3));
/// mat_mut(a.view_mut())?.row_mut(1).fill(7.0);
/// assert_eq!(a[[1, 2]], 7.0);
/// assert!(mat_mut(a.view_mut().reversed_axes()).is_err()); // columns one after another
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Usage`] with the strides, where they are others.
pub fn mat_mut<T: Copy>(array: ArrayViewMut2<'_, T>) -> Result<MatMut<'_, T>> {
    let ((rows, cols), strides) = (array.dim(), [array.strides()[0], array.strides()[1]]);
    match array.into_slice() {
        Some(numbers) => Ok(MatMut::new(numbers, rows, cols)?),
        None => Err(refused((rows, cols), strides, "rows one after another, without gaps")),
    }
}

fn refused((rows, cols): (usize, usize), strides: [isize; 2], expected: &str) -> Error {
    Error::usage(format!(
        "a matrix of shape [{rows}, {cols}]: expected {expected}, found strides {strides:?}; convert the whole array and take a \
         block of it, or a copy (as_standard_layout)"
    ))
}

/// The same numbers as an array, whatever the strides.
///
/// ```
/// use titans_host::array::view;
/// use titans_kernel::Mat;
///
/// # fn main() -> titans_host::Result<()> {
/// let numbers = [1, 2, 3, 4, 5, 6];
/// let m = Mat::new(&numbers, 2, 3)?;
/// assert_eq!(view(m.t())?, ndarray::arr2(&[[1, 4], [2, 5], [3, 6]]));
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Error::Usage`] for more elements than an array can have.
pub fn view<T: Copy>(m: Mat<'_, T>) -> Result<ArrayView2<'_, T>> {
    let (shape, strides) = ((m.rows(), m.cols()), (m.row_stride(), m.col_stride()));
    let array = match m.rows().min(m.cols()) {
        0 => ArrayView2::from_shape(shape, &[]),
        _ => ArrayView2::from_shape(shape.strides(strides), m.data()),
    };
    array.map_err(|e| too_large(shape, strides, &e))
}

/// The same numbers as an array, to write.
///
/// ```
/// use titans_host::array::view_mut;
/// use titans_kernel::MatMut;
///
/// # fn main() -> titans_host::Result<()> {
/// let mut numbers = [0; 5];
/// let mut m = MatMut::strided(&mut numbers, 2, 2, 3)?; // rows of two, three apart
/// view_mut(&mut m)?.fill(1);
/// assert_eq!(numbers, [1, 1, 0, 1, 1]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`view`].
pub fn view_mut<'a, T: Copy>(m: &'a mut MatMut<'_, T>) -> Result<ArrayViewMut2<'a, T>> {
    let (shape, strides) = ((m.rows(), m.cols()), (m.row_stride(), 1));
    let array = match m.rows().min(m.cols()) {
        0 => ArrayViewMut2::from_shape(shape, &mut []),
        _ => ArrayViewMut2::from_shape(shape.strides(strides), m.data_mut()),
    };
    array.map_err(|e| too_large(shape, strides, &e))
}

fn too_large(shape: (usize, usize), strides: (usize, usize), reason: &ndarray::ShapeError) -> Error {
    Error::usage(format!("a matrix of shape {shape:?} and strides {strides:?} as an array: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::{mat, mat_mut, view, view_mut};
    use ndarray::{Array2, ArrayView2, ShapeBuilder, s};
    use titans_kernel::{Mat, MatMut};

    fn numbered(rows: usize, cols: usize) -> Array2<i32> {
        Array2::from_shape_fn((rows, cols), |(i, j)| (100 * i + j) as i32)
    }

    fn same(m: Mat<'_, i32>, a: ArrayView2<'_, i32>) {
        assert_eq!((m.rows(), m.cols()), a.dim());
        a.indexed_iter().for_each(|((i, j), &x)| assert_eq!(m.at(i, j), x));
        assert_eq!(view(m).unwrap(), a);
    }

    #[test]
    fn every_view_without_gaps_keeps_its_elements() {
        for (rows, cols) in [(1, 1), (1, 5), (5, 1), (3, 4), (4, 3)] {
            let a = numbered(rows, cols);
            same(mat(a.view()).unwrap(), a.view());
            same(mat(a.t()).unwrap(), a.t());
            same(mat(a.slice(s![rows - 1.., ..])).unwrap(), a.slice(s![rows - 1.., ..]));
            for (shape, row) in
                [((7, cols), a.slice(s![..1, ..])), ((rows, 7), a.slice(s![.., ..1]).t().to_owned().t())]
            {
                let wide = row.broadcast(shape).unwrap();
                same(mat(wide).unwrap(), wide);
            }
            let one = a.slice(s![..1, ..1]);
            same(mat(one.broadcast((3, 6)).unwrap()).unwrap(), one.broadcast((3, 6)).unwrap());
            let columns = Array2::from_shape_fn((rows, cols).f(), |(i, j)| a[[i, j]]);
            same(mat(columns.view()).unwrap(), a.view());
        }
        for shape in [(0, 3), (3, 0), (0, 0)] {
            assert_eq!(view(mat(Array2::<i32>::zeros(shape).view()).unwrap()).unwrap().dim(), shape);
        }
        // A row, whose elements are not beside each other, as rows of one.
        assert_eq!(mat(numbered(1, 4).t()).unwrap().col_stride(), 1);
    }

    #[test]
    fn gaps_and_negative_strides_are_refused_with_the_strides() {
        let a = numbered(4, 5);
        for (part, strides) in [
            (a.slice(s![.., 1..3]), "[5, 1]"),
            (a.slice(s![..;2, ..]), "[10, 1]"),
            (a.slice(s![..;-1, ..]), "[-5, 1]"),
            (a.slice(s![.., ..;-1]), "[5, -1]"),
            (a.slice(s![..;-1, ..;-1]), "[-5, -1]"),
        ] {
            let message = mat(part).unwrap_err().to_string();
            assert!(message.contains(strides) && message.contains("as_standard_layout"), "{message}");
        }
        let overlapping = ArrayView2::from_shape((3, 2).strides((1, 1)), &[1, 2, 3, 4]).unwrap();
        assert!(mat(overlapping).unwrap_err().to_string().contains("[1, 1]"));
        let mut b = a.clone();
        assert!(mat_mut(b.slice_mut(s![.., 1..3])).unwrap_err().to_string().contains("[5, 1]"));
        assert!(mat_mut(b.view_mut().reversed_axes()).unwrap_err().to_string().contains("[1, 5]"));
        assert!(mat_mut(b.slice_mut(s![..;-1, ..])).unwrap_err().to_string().contains("[-5, 1]"));
        mat_mut(b.slice_mut(s![1..3, ..])).unwrap().fill(-1);
        assert!(b.indexed_iter().all(|((i, _), &x)| (x == -1) == (1..3).contains(&i)));
    }

    #[test]
    fn kernel_views_of_any_stride_become_arrays() {
        let numbers: Vec<i32> = (0..20).collect();
        for (row, col) in [(4, 1), (1, 4), (0, 1), (1, 0), (0, 0), (1, 1), (6, 2)] {
            let m = Mat::strided(&numbers, 3, 4, row, col).unwrap();
            view(m).unwrap().indexed_iter().for_each(|((i, j), &x)| assert_eq!(x, m.at(i, j)));
        }
        // The stride of the only row means nothing: no array, or the right one.
        if let Ok(row) = view(Mat::strided(&numbers, 1, 4, usize::MAX, 1).unwrap()) {
            assert_eq!(row, ArrayView2::from_shape((1, 4), &numbers[..4]).unwrap());
        }
        let mut numbers = numbers;
        for (rows, cols, stride) in [(1, 4, 0), (3, 4, 5), (0, 4, 4), (3, 0, 0)] {
            let mut m = MatMut::strided(&mut numbers, rows, cols, stride).unwrap();
            view_mut(&mut m).unwrap().fill(-5);
            assert!((0..rows).all(|i| m.row_mut(i).iter().all(|&x| x == -5)));
        }
    }
}
