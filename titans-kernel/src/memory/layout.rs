//! Where the rows of every layer lie inside one slab, and the panels of its weights.

use super::spec::MemorySpec;
use crate::arithmetic::{Arithmetic, PANEL, Store};
use crate::error::Result;
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::view::{Mat, MatMut};

/// A state of so many bytes stays in L2 while a chunk is at work.
const L2_BYTES: usize = 512 * 1024;

/// Offsets into slabs that hold `rows` rows of every layer's input (`inputs`: d_0 … d_{L−1}) or output (d_1 … d_L).
///
/// Weights lie row-major, or (`panels`, while a batch is at work) as panels of [`PANEL`] columns one after another,
/// each of them row-major: then the products walk memory in one direction and rows do not share sets of the cache.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout<'s> {
    pub spec: &'s MemorySpec,
    pub rows: usize,
    pub panels: bool,
    /// Whether rows a large power of two apart get a gap, or else they share few sets of the cache.
    pub gaps: bool,
    /// Whether the first layer's inputs lie as columns: then one row's products with all of them read rows without
    /// gaps.
    pub turned: bool,
}

impl<'s> Layout<'s> {
    pub const fn new(spec: &'s MemorySpec, rows: usize) -> Self {
        Self { spec, rows, panels: false, gaps: false, turned: false }
    }

    /// The same with weights in panels.
    pub const fn in_panels(spec: &'s MemorySpec, rows: usize) -> Self {
        Self { spec, rows, panels: true, gaps: true, turned: false }
    }

    /// Rows of coefficients behind row 0: one a token, and where pieces are several chunks the one of the open chunk's
    /// start.
    pub fn coefficients(&self) -> usize {
        self.rows + usize::from(self.spec.wide())
    }

    /// Elements between rows of `width` numbers in a slab.
    pub fn stride(&self, width: usize) -> usize {
        if self.gaps && width.is_multiple_of(256) { width + 16 } else { width }
    }

    /// Elements of a slab of inputs.
    pub fn input_slab_len(&self) -> usize {
        self.input_offset(self.spec.layers())
    }

    /// Elements of a slab of outputs.
    pub fn output_slab_len(&self) -> usize {
        self.output_offset(self.spec.layers())
    }

    /// Start of layer l's inputs.
    pub fn input_offset(&self, l: usize) -> usize {
        self.rows * self.spec.widths.get(..l).map_or(0, |w| w.iter().map(|&w| self.stride(w)).sum::<usize>())
    }

    /// Start of layer l's outputs.
    pub fn output_offset(&self, l: usize) -> usize {
        self.rows * self.spec.widths.get(1..=l).map_or(0, |w| w.iter().map(|&w| self.stride(w)).sum::<usize>())
    }

    /// Elements of `rows` rows of γ's width.
    pub fn gamma_slab_len(&self) -> usize {
        self.rows * self.spec.gamma_len()
    }

    /// Elements of `rows` rows of the widest layer.
    pub fn widest(&self) -> usize {
        self.rows * self.spec.widths.iter().map(|&w| self.stride(w)).max().unwrap_or(0)
    }

    /// Rows `from .. from + n` of layer l's inputs.
    pub fn input_rows<'x, T: Scalar>(&self, slab: &'x [T], l: usize, from: usize, n: usize) -> Result<Mat<'x, T>> {
        let w = self.spec.widths.item(l);
        if self.turned && l == 0 {
            return Mat::strided(slab.part(from..), n, w, 1, self.rows);
        }
        Mat::strided(slab.part(self.input_offset(l) + from * self.stride(w)..), n, w, self.stride(w), 1)
    }

    /// The same, to write.
    pub fn input_rows_mut<'x, T: Scalar>(
        &self,
        slab: &'x mut [T],
        l: usize,
        from: usize,
        n: usize,
    ) -> Result<MatMut<'x, T>> {
        let w = self.spec.widths.item(l);
        let stride = self.stride(w);
        MatMut::strided(slab.part_mut(self.input_offset(l) + from * stride..).part_mut(..n * stride), n, w, stride)
    }

    /// Keys to their place among the first layer's inputs, from row `from` on.
    pub fn keep_keys<T: Scalar>(&self, slab: &mut [T], from: usize, k: Mat<'_, T>) -> Result<()> {
        if self.turned {
            for t in 0..k.rows() {
                let column = slab.part_mut(from + t..).iter_mut().step_by(self.rows.max(1));
                column.zip(k.row(t)).for_each(|(to, &x)| *to = x);
            }
            return Ok(());
        }
        let mut keys = self.input_rows_mut(slab, 0, from, k.rows())?;
        (0..k.rows()).for_each(|t| keys.row_mut(t).become_copy(k.row(t)));
        Ok(())
    }

    /// Rows `from .. from + n` of layer l's outputs.
    pub fn output_rows<'x, T: Scalar>(&self, slab: &'x [T], l: usize, from: usize, n: usize) -> Result<Mat<'x, T>> {
        let w = self.spec.widths.item(l + 1);
        let stride = self.stride(w);
        Mat::strided(slab.part(self.output_offset(l) + from * stride..).part(..n * stride), n, w, stride, 1)
    }

    /// The same, to write.
    pub fn output_rows_mut<'x, T: Scalar>(
        &self,
        slab: &'x mut [T],
        l: usize,
        from: usize,
        n: usize,
    ) -> Result<MatMut<'x, T>> {
        let w = self.spec.widths.item(l + 1);
        let stride = self.stride(w);
        MatMut::strided(slab.part_mut(self.output_offset(l) + from * stride..).part_mut(..n * stride), n, w, stride)
    }

    /// First column and width of every panel of W^l.
    pub fn columns(&self, l: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let o = self.spec.layer(l).1;
        (0..o).step_by(PANEL).map(move |j| (j, PANEL.min(o - j)))
    }

    /// Elements from a panel of W^l to the next one, where the state does not stay in L2; else 0.
    pub fn ahead<T: Scalar>(&self, l: usize) -> usize {
        let far = self.panels && self.spec.state_len() * T::BYTES > L2_BYTES;
        if far { self.spec.layer(l).0 * PANEL } else { 0 }
    }

    /// Start and row stride of the panel of W^l from column j on.
    fn place_of_panel(&self, l: usize, (j, width): (usize, usize)) -> (usize, usize) {
        let (i, o) = self.spec.layer(l);
        let (start, stride) = if self.panels { (i * j, width) } else { (j, o) };
        (self.spec.layer_offset(l) + start, stride)
    }

    /// A panel of W^l of a block of parameters.
    pub fn panel<'x, T: Scalar>(&self, params: &'x [T], l: usize, columns: (usize, usize)) -> Result<Mat<'x, T>> {
        let (start, stride) = self.place_of_panel(l, columns);
        Mat::strided(params.part(start..), self.spec.layer(l).0, columns.1, stride, 1)
    }

    /// The same, to write.
    pub fn panel_mut<'x, T: Scalar>(
        &self,
        params: &'x mut [T],
        l: usize,
        columns: (usize, usize),
    ) -> Result<MatMut<'x, T>> {
        let (start, stride) = self.place_of_panel(l, columns);
        MatMut::strided(params.part_mut(start..), self.spec.layer(l).0, columns.1, stride)
    }

    /// `out ± x W^l`, x `[n, d_in]`.
    pub fn times<T: Scalar, G: Arithmetic<T>>(
        &self,
        g: &G,
        store: Store,
        x: Mat<'_, T>,
        params: &[T],
        l: usize,
        mut out: MatMut<'_, T>,
    ) -> Result<()> {
        for columns in self.columns(l) {
            g.gemm(store, x, self.panel(params, l, columns)?, out.rb().columns(columns.0, columns.1));
        }
        Ok(())
    }

    /// `out ± d (W^l)ᵀ`, d `[n, d_out]`.
    pub fn times_transposed<T: Scalar, G: Arithmetic<T>>(
        &self,
        g: &G,
        store: Store,
        d: Mat<'_, T>,
        params: &[T],
        l: usize,
        mut out: MatMut<'_, T>,
    ) -> Result<()> {
        for (j, width) in self.columns(l) {
            let store = if j > 0 && store == Store::Set { Store::Add } else { store };
            g.gemm(store, d.block(0, d.rows(), j, width), self.panel(params, l, (j, width))?.t(), out.rb());
        }
        Ok(())
    }

    /// `W^l += xᵀ d`.
    pub fn add_outer<T: Scalar, G: Arithmetic<T>>(
        &self,
        g: &G,
        x: Mat<'_, T>,
        d: Mat<'_, T>,
        params: &mut [T],
        l: usize,
    ) -> Result<()> {
        for (j, width) in self.columns(l) {
            g.gemm(Store::Add, x.t(), d.block(0, d.rows(), j, width), self.panel_mut(params, l, (j, width))?);
        }
        Ok(())
    }

    /// Parameters (`[W | …]`, or both halves of a state) from rows to this layout.
    pub fn to_panels<T: Scalar>(self, rows: &[T], panels: &mut [T]) {
        if !self.panels {
            return panels.become_copy(rows);
        }
        self.exchange(rows.len(), |row, panel, width| {
            panels.part_mut(panel..panel + width).become_copy(rows.part(row..row + width));
        });
    }

    /// And back.
    pub fn to_rows<T: Scalar>(self, panels: &[T], rows: &mut [T]) {
        if !self.panels {
            return rows.become_copy(panels);
        }
        self.exchange(rows.len(), |row, panel, width| {
            rows.part_mut(row..row + width).become_copy(panels.part(panel..panel + width));
        });
    }

    /// Calls `copy` with (place in rows, place in panels, width) for every row of every panel, and for γ.
    fn exchange(&self, len: usize, mut copy: impl FnMut(usize, usize, usize)) {
        let p = self.spec.params();
        for half in (0..len).step_by(p.max(1)) {
            for l in 0..self.spec.layers() {
                let ((i, o), at) = (self.spec.layer(l), half + self.spec.layer_offset(l));
                for (j, width) in self.columns(l) {
                    for r in 0..i {
                        copy(at + r * o + j, at + i * j + r * width, width);
                    }
                }
            }
            let gamma = half + p - self.spec.gamma_len();
            copy(gamma, gamma, self.spec.gamma_len());
        }
    }

    /// γ of a block of parameters; empty in plain networks.
    pub fn gamma<'x, T>(&self, params: &'x [T]) -> &'x [T] {
        params.part(self.spec.params() - self.spec.gamma_len()..self.spec.params())
    }
}
