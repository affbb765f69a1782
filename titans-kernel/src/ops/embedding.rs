//! Rows of a table by number: `y[r] = table[ids[r]]`, table `[vocabulary, d]`, y `[n, d]`.

use super::rows::expect_rows;
use crate::error::{Error, Result};
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// Every id is a row of the table.
fn expect_ids(ids: &[u32], rows: usize) -> Result<()> {
    match ids.iter().position(|&id| usize::try_from(id).map_or(true, |id| id >= rows)) {
        Some(index) => Err(Error::Value { what: "ids", index }),
        None => Ok(()),
    }
}

/// `y[r] = table[ids[r]]`.
///
/// # Errors
/// [`Error::Shape`] when the sizes disagree or the table's columns are not neighbours; [`Error::Value`] with the
/// index of the first id that is no row of the table. `y` is not touched then.
pub fn forward<T: Scalar>(table: Mat<'_, T>, ids: &[u32], mut y: MatMut<'_, T>) -> Result<()> {
    expect_rows("table", "table column stride", table, table.rows(), table.cols())?;
    expect_rows("y", "y column stride", y.as_ref(), ids.len(), table.cols())?;
    expect_ids(ids, table.rows())?;
    if table.cols() == 0 {
        return Ok(());
    }
    for (r, &id) in ids.iter().enumerate() {
        y.row_mut(r).copy_from_slice(table.row(id as usize));
    }
    Ok(())
}

/// Backward of [`forward`], added in the order of the ids: `d_table[ids[r]] += d_y[r]`.
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
            *t += d;
        }
    }
    Ok(())
}
