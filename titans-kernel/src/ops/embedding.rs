//! Rows of a table by number: `y[r] = table[ids[r]]`, table `[vocabulary, d]`, y `[n, d]`.

use super::rows::expect_rows;
use crate::error::{Error, Result};
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Every id is a row of the table.
fn expect_ids(ids: &[u32], rows: usize) -> Result<()> {
    match ids.iter().position(|&id| usize::try_from(id).map_or(true, |id| id >= rows)) {
        Some(index) => Err(Error::Range { what: "ids", index }),
        None => Ok(()),
    }
}

/// `y[r] = table[ids[r]]`.
///
/// # Errors
/// [`Error::Shape`] when the sizes disagree or the table's columns are not neighbours; [`Error::Range`] with the
/// index of the first id that is no row of the table. `y` is not touched then.
pub fn forward<T: Scalar>(table: Mat<'_, T>, ids: &[u32], mut y: MatMut<'_, T>) -> Result<()> {
    expect_rows("table", "table column stride", table, table.rows(), table.cols())?;
    expect_rows("y", "y column stride", y.as_ref(), ids.len(), table.cols())?;
    expect_ids(ids, table.rows())?;
    if table.cols() == 0 {
        return Ok(());
    }
    for (r, &id) in ids.iter().enumerate() {
        y.row_mut(r).become_copy(table.row(id as usize));
    }
    Ok(())
}

/// Backward of [`forward`], added in the order of the ids: `d_table[ids[r]] += d_y[r]`.
///
/// y = E table with E_{r,i} = 1 where ids\[r\] = i, else 0, so ⟨d_y, E dtable⟩ = ⟨Eᵀ d_y, dtable⟩, and row i of Eᵀ d_y
/// is the sum of the d_y\[r\] whose id is i.
///
/// # Errors
/// As [`forward`]; `d_table` is not touched then.
pub fn vjp<T: Scalar>(ids: &[u32], d_y: Mat<'_, T>, mut d_table: MatMut<'_, T>) -> Result<()> {
    expect_rows("d_y", "d_y column stride", d_y, ids.len(), d_table.cols())?;
    expect_ids(ids, d_table.rows())?;
    if d_table.cols() == 0 {
        return Ok(());
    }
    for (r, &id) in ids.iter().enumerate() {
        for (t, &d) in d_table.row_mut(id as usize).iter_mut().zip(d_y.row(r)) {
            *t += d; // the r-th term of Eᵀ d_y
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{forward, vjp};
    use crate::error::Error;
    use crate::ops::check::{WIDTHS, added, assert_close, assert_gradient, inner, poison, values, widen};
    use crate::scalar::Scalar;
    use crate::view::{Mat, MatMut};
    use std::vec::Vec;

    const IDS: [u32; 7] = [3, 0, 3, 4, 1, 3, 4];

    fn run<T: Scalar>(d: usize, table: &[T]) -> Vec<T> {
        let mut y = poison(IDS.len() * d);
        forward(Mat::new(table, 5, d).unwrap(), &IDS, MatMut::new(&mut y, IDS.len(), d).unwrap()).unwrap();
        y
    }

    fn run_vjp<T: Scalar>(d: usize, cot: &[T], before: &[T]) -> Vec<T> {
        let mut d_table = before.to_vec();
        vjp(&IDS, Mat::new(cot, IDS.len(), d).unwrap(), MatMut::new(&mut d_table, 5, d).unwrap()).unwrap();
        d_table
    }

    #[test]
    fn rows_come_out_and_gradients_go_back() {
        for d in WIDTHS {
            let (table, cot, before) = (values::<f64>(5 * d, 1), values::<f64>(7 * d, 2), values::<f64>(5 * d, 3));
            let y = run(d, &table);
            for (row, id) in y.chunks(d).zip(IDS) {
                assert_eq!(row, &table[id as usize * d..][..d]);
            }
            assert_eq!(widen(&run(d, &values::<f32>(5 * d, 1))), y);
            let d_table = run_vjp(d, &cot, &before);
            assert_gradient("d_table", &table, &added(&d_table, &before), |t| inner(&run(d, t), &cot));
            assert_eq!(d_table[2 * d..3 * d], before[2 * d..3 * d], "a row no id names");
            // Sums of a few numbers of 12 bits are exact in f32 too.
            let single = run_vjp::<f32>(d, &values(7 * d, 2), &values(5 * d, 3));
            assert_close("f32 d_table", &widen(&single), &d_table, 0.0);
        }
    }

    #[test]
    fn ids_beyond_the_table_are_errors_and_change_nothing() {
        let (table, mut y) = ([1.0f32; 6], [7.0f32; 6]);
        let t = Mat::new(&table, 2, 3).unwrap();
        for bad in [2, u32::MAX] {
            let e = Err(Error::Range { what: "ids", index: 1 });
            assert_eq!(forward(t, &[0, bad], MatMut::new(&mut y, 2, 3).unwrap()), e);
            assert_eq!(vjp(&[1, bad], t, MatMut::new(&mut y, 2, 3).unwrap()), e);
        }
        assert!(forward(t, &[0], MatMut::new(&mut y, 2, 3).unwrap()).is_err());
        assert!(forward(t.t(), &[0, 1], MatMut::new(&mut y, 2, 2).unwrap()).is_err());
        assert!(vjp(&[0], t, MatMut::new(&mut y, 2, 3).unwrap()).is_err());
        assert!(vjp(&[0, 1, 0], t.t(), MatMut::new(&mut y, 3, 2).unwrap()).is_err());
        assert_eq!(y, [7.0; 6]);
        forward(t, &[], MatMut::new(&mut [], 0, 3).unwrap()).unwrap();
    }
}
