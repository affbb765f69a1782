//! A, G, C and P of the chunk form (`docs/MATH.md` section 3), row by row, and the reverse of their recurrences.
//!
//! No division and no logarithm: α = 1 and η = 0 are exact. A token that does not write repeats the row before it.
//!
//! Products of many gates leave the range of normal numbers, where arithmetic takes a hundred times as long (η = 0.05
//! does within a chunk of 64), and every product with such a coefficient would. What is below 10⁻¹⁹ of the newest
//! token's coefficient in `f32`, 10⁻¹⁵⁴ in `f64`, is 0.

use crate::arithmetic::{Arithmetic, Factors, Recurrence};
use crate::error::Result;
use crate::ops::rows::dot;
use crate::part::Parts;
use crate::scalar::Scalar;
use crate::scratch::{Count, Room};

/// Rows 0 ..= m of the coefficients, m tokens of a chunk whose first `offset` tokens came before.
///
/// Row 0 is the state before the first of the m tokens; row t + 1 the one after token t. Column i belongs to the
/// chunk's token i; row t + 1 holds columns 0 ..= offset + t, what lies beyond is not to be read.
#[derive(Debug)]
pub(super) struct Coefficients<'a, T> {
    /// A.
    pub a: &'a mut [T],
    /// G.
    pub g: &'a mut [T],
    /// Π η since the chunk's start.
    pub e: &'a mut [T],
    /// C, rows of `chunk` columns.
    pub c: &'a mut [T],
    /// P, rows of `chunk` columns.
    pub p: &'a mut [T],
    chunk: usize,
}

/// Where C and P of a saved row begin behind A, G and Π η, and where it ends.
#[inline(always)]
fn saved_row(chunk: usize) -> ([usize; 2], usize) {
    let mut row = Count::default();
    row.place(3);
    let parts = [row.place(chunk), row.place(chunk)];
    (parts, row.0)
}

impl<'a, T: Scalar> Coefficients<'a, T> {
    /// Takes the space for m tokens; nothing is written.
    pub fn take<R: Room<'a, T>>(room: &mut R, m: usize, chunk: usize) -> Result<Self> {
        // The large ones first: they stay aligned where chunks are.
        let (c, p) = (room.area(m + 1, chunk)?, room.area(m + 1, chunk)?);
        Ok(Self { a: room.take(m + 1)?, g: room.take(m + 1)?, e: room.take(m + 1)?, c, p, chunk })
    }

    /// Row 0 of a chunk's start: A = 1, G = 0, Π η = 1.
    pub fn start(&mut self) {
        self.a.put(0, T::ONE);
        self.g.put(0, T::ZERO);
        self.e.put(0, T::ONE);
    }

    /// Rows from t on.
    pub fn below(&mut self, t: usize) -> Coefficients<'_, T> {
        let at = t * self.chunk;
        let (a, g, e) = (self.a.part_mut(t..), self.g.part_mut(t..), self.e.part_mut(t..));
        Coefficients { a, g, e, c: self.c.part_mut(at..), p: self.p.part_mut(at..), chunk: self.chunk }
    }

    /// Row `to` begins anew where row `from` stands: its A, G and Π η have been spent on W and S, C and P go on.
    pub fn restart(&mut self, from: usize, to: usize) {
        let (b, from) = (self.chunk, from * self.chunk);
        self.set(to, &[T::ONE, T::ZERO, T::ZERO]);
        self.c.move_within(from, b, to * b);
        self.p.move_within(from, b, to * b);
    }

    /// Elements of a saved row: A, G and Π η, then C, then P.
    pub fn row_len(chunk: usize) -> usize {
        saved_row(chunk).1
    }

    /// A, G and Π η of row t.
    fn set(&mut self, t: usize, row: &[T]) {
        self.a.put(t, row.item(0));
        self.g.put(t, row.item(1));
        self.e.put(t, row.item(2));
    }

    /// Row 0 from a saved row.
    pub fn load(&mut self, row: &[T]) {
        let b = self.chunk;
        let ([c, p], _) = saved_row(b);
        self.set(0, row);
        self.c.part_mut(..b).become_copy(row.part(c..).part(..b));
        self.p.part_mut(..b).become_copy(row.part(p..).part(..b));
    }

    /// Row t from a saved row, if there is one.
    pub fn hold(&mut self, t: usize, row: &[T]) {
        if !row.is_empty() {
            let b = self.chunk;
            let ([c, _], _) = saved_row(b);
            self.set(t, row);
            self.c.part_mut(t * b..(t + 1) * b).become_copy(row.part(c..).part(..b));
        }
    }

    /// Saves row t, of which `filled` columns are in use; the others are saved as zeros.
    pub fn save(&self, t: usize, filled: usize, row: &mut [T]) {
        let b = self.chunk;
        let ([c, p], _) = saved_row(b);
        row.part_mut(..c).become_copy(&[self.a.item(t), self.g.item(t), self.e.item(t)]);
        for (at, from) in [(c, self.c_row(t)), (p, self.p_row(t))] {
            row.part_mut(at..at + filled).become_copy(from.part(..filled));
            row.part_mut(at + filled..at + b).fill(T::ZERO);
        }
    }

    /// C of row t.
    pub fn c_row(&self, t: usize) -> &[T] {
        self.c.part(t * self.chunk..).part(..self.chunk)
    }

    /// C of row t and the rows behind it.
    pub fn c_rows_from(&self, t: usize) -> &[T] {
        self.c.part(t * self.chunk..)
    }

    /// From a row of C to the one so many rows behind it.
    pub const fn stride(&self, rows: usize) -> usize {
        rows * self.chunk
    }

    /// P of row t.
    pub fn p_row(&self, t: usize) -> &[T] {
        self.p.part(t * self.chunk..).part(..self.chunk)
    }

    /// Rows `t + 1 ..` from row t, for the chunk's tokens from `offset + t` on.
    pub fn push<G: Arithmetic<T>>(&mut self, g: &G, t: usize, offset: usize, factors: &[Factors<T>]) {
        // A, G, Π η, C and P from row t on; columns count from the chunk's first token.
        let chunk = self.chunk;
        g.recur(Recurrence {
            factors,
            offset: offset + t,
            chunk,
            a: self.a.part_mut(t..),
            g: self.g.part_mut(t..),
            e: self.e.part_mut(t..),
            c: self.c.part_mut(t * chunk..),
            p: self.p.part_mut(t * chunk..),
        });
    }

    /// Reverses [`Coefficients::push`] of token `i` of a chunk, which made row t + 1 of row t: `d` holds the cotangents
    /// of all rows; row t + 1's are carried to row t, and unspecified afterwards. Returns (ᾱ_t, η̄_t).
    ///
    /// Tokens count from 1 in `docs/MATH.md` section 4, (3): A_{t−1} there is `a[t]` here, A_t is `a[t + 1]`. With κ =
    /// 1 − α a token that writes made `E_t = η E_{t−1}` (Π η), `A_t = κ A_{t−1}`, `G_t = κ G_{t−1} + E_t`, and for j <
    /// i `P_{t,j} = η P_{t−1,j}`, `C_{t,j} = κ C_{t−1,j} + P_{t,j}`; the 1 in column i is a constant. By the product
    /// rule
    ///
    /// ```text
    /// Ē_t += Ḡ_t,  P̄_{t,j} += C̄_{t,j}                        (they went into G_t and C_{t,j} too)
    /// κ̄ = Ā_t A_{t−1} + Ḡ_t G_{t−1} + Σ_j C̄_{t,j} C_{t−1,j}
    /// η̄_t = Ē_t E_{t−1} + Σ_j P̄_{t,j} P_{t−1,j},  ᾱ_t = −κ̄
    /// Ā_{t−1} += κ Ā_t,  Ḡ_{t−1} += κ Ḡ_t,  Ē_{t−1} += η Ē_t
    /// C̄_{t−1,j} += κ C̄_{t,j},  P̄_{t−1,j} += η P̄_{t,j}
    /// ```
    #[inline(always)]
    pub fn push_vjp(&self, t: usize, i: usize, writes: bool, alpha: T, eta: T, d: &mut Coefficients<'_, T>) -> (T, T) {
        let b = self.chunk;
        // Rows t and t + 1.
        let (dc_old, dc_new) = d.c.part_mut(t * b..(t + 2) * b).split_at_mut(b);
        let (dp_old, dp_new) = d.p.part_mut(t * b..(t + 2) * b).split_at_mut(b);
        if !writes {
            // The row was repeated.
            d.a[t] += d.a.item(t + 1);
            d.g[t] += d.g.item(t + 1);
            d.e[t] += d.e.item(t + 1);
            for i in 0..i {
                dc_old[i] += dc_new.item(i);
                dp_old[i] += dp_new.item(i);
            }
            return (T::ZERO, T::ZERO);
        }
        let keep = T::ONE - alpha; // κ
        let (da, dg) = (d.a.item(t + 1), d.g.item(t + 1));
        let de = d.e.item(t + 1) + dg; // Ē_t += Ḡ_t
        // κ̄ = Ā_t A_{t−1} + Ḡ_t G_{t−1} + …, η̄_t = Ē_t E_{t−1} + …; C and P follow.
        let mut d_keep = da * self.a.item(t) + dg * self.g.item(t);
        let mut d_eta = de * self.e.item(t);
        // Ā_{t−1} += κ Ā_t, Ḡ_{t−1} += κ Ḡ_t, Ē_{t−1} += η Ē_t.
        d.a[t] += keep * da;
        d.g[t] += keep * dg;
        d.e[t] += eta * de;
        // P̄_{t,j} += C̄_{t,j}, C̄_{t−1,j} += κ C̄_{t,j}, P̄_{t−1,j} += η P̄_{t,j}; column i is a constant.
        let (c, p) = (self.c_row(t).part(..i), self.p_row(t).part(..i));
        for ((((dc, dp), dc_old), dp_old), _) in dc_new.iter().zip(&mut *dp_new).zip(dc_old).zip(dp_old).zip(c) {
            *dp += *dc;
            *dc_old += keep * *dc;
            *dp_old += eta * *dp;
        }
        // … + Σ_j C̄_{t,j} C_{t−1,j} and … + Σ_j P̄_{t,j} P_{t−1,j}.
        d_keep += dot(dc_new, c);
        d_eta += dot(dp_new, p);
        (-d_keep, d_eta)
    }

    /// Reverses [`Coefficients::restart`], which copied Π η (0 by then), C and P of row `to`, n columns, to row `from`,
    /// and began A = 1 and G = 0 anew, which are constants: Ē_to += Ē_from, C̄_to += C̄_from, P̄_to += P̄_from.
    pub fn give_back(&mut self, from: usize, to: usize, n: usize) {
        self.e[to] += self.e.item(from);
        for x in [&mut *self.c, self.p] {
            let (low, high) = x.split_at_mut(from * self.chunk);
            low.part_mut(to * self.chunk..).part_mut(..n).iter_mut().zip(high).for_each(|(to, from)| *to += *from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Coefficients;
    use crate::arithmetic::{Factors, Portable};
    use crate::scratch::{Scratch, counted};
    use std::vec;

    #[test]
    fn coefficients_are_normal_numbers_or_zero() {
        const M: usize = 200;
        let mut space = vec![f32::NAN; counted(|room| Coefficients::<f32>::take(room, M, M))];
        let mut c = Coefficients::take(&mut Scratch::new(&mut space), M, M).unwrap();
        let factors = |writes, keep, eta| Factors { keep, eta, rate: 0.0, writes };
        c.start();
        for (t, (keep, eta)) in (0..M).map(|t| (t, if t % 50 < 40 { (0.1, 0.05) } else { (0.99, 0.6) })) {
            c.push(&Portable, t, 0, &[factors(t % 7 != 3, keep, eta)]);
        }
        for t in 0..M {
            let rows = [&c.c_row(t + 1)[..=t], &c.p_row(t + 1)[..=t], &[c.a[t + 1], c.g[t + 1], c.e[t + 1]]];
            assert!(rows.iter().all(|row| row.iter().all(|x| *x == 0.0 || x.abs() >= 1e-19)), "row {t}");
        }
        // Not all of them are gone (the last token does not write), and what is not a number is not taken for a small
        // one.
        assert!(c.p_row(3)[0] == 0.05 * 0.05 && c.c_row(M)[M - 2] == 1.0 && c.c_row(M)[0] == 0.0);
        c.push(&Portable, 0, 0, &[factors(true, 0.5, f32::NAN), factors(true, 0.5, f32::NAN)]);
        assert!(c.p_row(2)[0].is_nan() && c.c_row(2)[0].is_nan() && c.e[1].is_nan());
    }
}
