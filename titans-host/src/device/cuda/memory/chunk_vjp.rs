//! The backward of one chunk over all memories (`docs/MATH.md`, section 4): ordinary reverse mode over [`Chunk`]'s
//! forward, whose write path is itself a gradient, so φ″ appears.

use super::chunk::Chunk;
use super::reverse::{LANES, Reverse};
use super::space::Space;
use crate::device::cuda::Driver;
use crate::device::cuda::buffer::{DeviceBuffer, View};
use crate::device::cuda::product::{Matrix, args};
use crate::error::Result;

/// Rows asked through one layer, each at its own row of coefficients, and where their cotangents go: the queries, or
/// the keys of a piece of several chunks ([`super::exact_vjp`]).
pub(super) struct Asked<'b, R: Driver> {
    pub layer: usize,
    /// X and its products with W, S and Hᵀ.
    pub x: &'b DeviceBuffer<R>,
    pub products: [&'b DeviceBuffer<R>; 2],
    pub scores: &'b DeviceBuffer<R>,
    /// A and G of the rows, B.
    pub rows: [View; 2],
    pub b: View,
    /// Their cotangents, which are added to.
    pub d_rows: [View; 2],
    pub d_b: View,
    /// The cotangent of Z.
    pub d_z: &'b DeviceBuffer<R>,
}

impl<R: Driver> Chunk<'_, R> {
    /// From the cotangents `d.y` of the read-outs and `d_state` of the state after the chunk to those of all inputs (in
    /// `d`) and of the state before it (`d_state`, in place). `s` holds the forward: gradients (4), coefficients and
    /// rates (3), reads (2), closing (1); back they come in the order of these numbers (section 4), each derived below.
    pub fn reverse(
        &self,
        s: &Space<R>,
        d: &Reverse<R>,
        state: &DeviceBuffer<R>,
        d_state: &DeviceBuffer<R>,
    ) -> Result<()> {
        d.clear()?;
        self.close_vjp(s, d, state, d_state)?;
        self.read_vjp(s, d, state, d_state)?;
        if let (Some(e), Some(of_keys)) = (&s.exact, &d.exact) {
            return self.exact_vjp(s, d, (e, of_keys), state, d_state);
        }
        self.rates_vjp(s, d)?;
        self.gates_vjp(s, d)?;
        self.theta_vjp(s, d)?;
        self.write_vjp(s, d, state, d_state)
    }

    /// Of the closing W′ = a W + g S − Hᵀ diag(c ∘ r) Δ, S′ = e S − Hᵀ diag(p ∘ r) Δ (`docs/MATH.md` section 4, (1)):
    ///
    /// ```text
    /// ā = ⟨W̄′, W⟩,  ḡ = ⟨W̄′, S⟩,  ē = ⟨S̄′, S⟩                 (`state_dots`)
    /// U = Δ W̄′ᵀ,  V = Δ S̄′ᵀ,  d_in_w = −h·u,  d_in_s = −h·v   (in_w = c r, in_s = p r)
    /// H̄ = −diag(in_w) U − diag(in_s) V,  Δ̄ = −diag(in_w) H W̄′ − diag(in_s) H S̄′
    /// W̄ = a W̄′,  S̄ = e S̄′ + g W̄′                             (`advance_vjp`)
    /// ```
    fn close_vjp(
        &self,
        s: &Space<R>,
        d: &Reverse<R>,
        state: &DeviceBuffer<R>,
        d_state: &DeviceBuffer<R>,
    ) -> Result<()> {
        let (cuda, sizes, rows, count) = (self.cuda, self.sizes, self.rows(), self.sizes.count);
        for set in 0..sizes.sets() {
            let (start, len) = sizes.part(set);
            let [state, d_state] = [state, d_state].map(|x| x.from(start));
            cuda.launch("state_dots", count * LANES, args![LANES, len, sizes.params, state, d_state, &d.partial])?;
            cuda.launch_rows("row_totals", 3 * count, args![LANES, &d.partial, self.ends_of_set(d, set)])?;
        }
        for l in 0..sizes.layers() {
            let ((i, o), set) = (sizes.spec().layer(l), self.set(l));
            let [in_w, in_s, d_in_w, d_in_s] = [&s.in_w, &s.in_s, &d.in_w, &d.in_s].map(|x| self.of_set(x, set));
            let (h, delta) = (self.tokens(&s.h[l], i), self.tokens(&s.delta[l], o));
            // U and V, and the weights' cotangents.
            for (half, to, d_weight) in [(0, &d.wide1, d_in_w), (1, &d.wide2, d_in_s)] {
                self.product(1.0, delta, self.weights(d_state, half, l).t(), 0.0, self.tokens(to, i))?;
                cuda.launch_rows("row_dots", rows, args![i, -1.0f32, &s.h[l], to, d_weight])?;
            }
            cuda.launch("subtract_two", rows * i, args![i, in_w, in_s, &d.wide1, &d.wide2, &d.h[l]])?;
            // Δ̄, by H W̄′ and H S̄′.
            for (half, to) in [(0, &d.wide1), (1, &d.wide2)] {
                self.product(1.0, h, self.weights(d_state, half, l), 0.0, self.tokens(to, o))?;
            }
            cuda.launch("subtract_two", rows * o, args![o, in_w, in_s, &d.wide1, &d.wide2, &d.delta[l]])?;
        }
        if sizes.residual() {
            let (stride, d_gamma) = (2 * sizes.params, self.gamma_view(d_state));
            let (top, last) = (sizes.top(), sizes.sets() - 1);
            let [in_w, in_s, d_in_w, d_in_s] = [&s.in_w, &s.in_s, &d.in_w, &d.in_s].map(|x| self.of_set(x, last));
            let args = args![self.m, top, stride, &s.g_gamma, in_w, in_s, d_gamma, &d.g_gamma, d_in_w, d_in_s];
            cuda.launch_rows("gamma_close_vjp", rows, args)?;
        }
        for set in 0..sizes.sets() {
            let ((start, len), [a, g, e]) = (sizes.part(set), self.chains_of_set(s, set));
            let args = args![len, sizes.params, self.m, a, g, e, d_state.from(start)];
            cuda.launch("advance_vjp", count * len, args)?;
        }
        Ok(())
    }

    /// Of the reads, layer by layer from the top: Z = diag(A) X W + diag(G) X S − (N ∘ B) Δ with N = X Hᵀ, B = C
    /// diag(r). [`Chunk::asked_vjp`] is that of Z but for Δ̄ −= (N ∘ B)ᵀ Z̄, which follows it; then Z̄ of the layer
    /// below is X̄ ∘ φ′(Z), and Q̄ = X̄ at the lowest ((2) of section 4).
    fn read_vjp(&self, s: &Space<R>, d: &Reverse<R>, state: &DeviceBuffer<R>, d_state: &DeviceBuffer<R>) -> Result<()> {
        let (cuda, sizes, m, rows, top) = (self.cuda, self.sizes, self.m, self.rows(), self.sizes.top());
        if sizes.residual() {
            self.gamma_vjp(s, d, state, d_state)?;
        } else {
            cuda.launch("copy_blocks", rows * top, args![top, top, top, &d.y, &d.z_query])?;
        }
        for l in (0..sizes.layers()).rev() {
            let ((i, o), set) = (sizes.spec().layer(l), self.set(l));
            let asked = Asked {
                layer: l,
                x: &s.x[l],
                products: [&s.xw[l], &s.xs[l]],
                scores: &s.scores[l],
                rows: [&s.a_read, &s.g_read].map(|x| self.of_set(x, set)),
                b: self.square_of_set(&s.b, set),
                d_rows: [&d.a_read, &d.g_read].map(|x| self.of_set(x, set)),
                d_b: self.square_of_set(&d.b, set),
                d_z: &d.z_query,
            };
            self.asked_vjp(s, d, &asked, state, d_state)?;
            // Δ̄ −= (N ∘ B)ᵀ Z̄.
            cuda.launch("multiply", rows * m, args![&s.scores[l], asked.b, &d.square2])?;
            let (scaled, d_z) = (self.tokens(&d.square2, m).t(), self.tokens(&d.z_query, o));
            self.product(-1.0, scaled, d_z, 1.0, self.tokens(&d.delta[l], o))?;
            if l > 0 {
                let args = args![sizes.activation(), &s.zq[l - 1], &d.x_query, &d.z_query];
                cuda.launch("activate_vjp", rows * i, args)?;
            } else {
                self.give(i, &d.x_query, &d.q)?;
            }
        }
        Ok(())
    }

    /// From the cotangent of Z = diag(A) X W + diag(G) X S − ((X Hᵀ) ∘ B) Δ to those of A, G, B, W, S and H, which are
    /// added to, and of X (`d.x_query`); all but Δ's.
    ///
    /// ```text
    /// U = Z̄ Wᵀ,  V = Z̄ Sᵀ,  Ā += rows of (X W)·Z̄,  Ḡ += rows of (X S)·Z̄
    /// W̄ += Xᵀ diag(A) Z̄,  S̄ += Xᵀ diag(G) Z̄
    /// D = Z̄ Δᵀ,  B̄ −= D ∘ N,  X̄ = diag(A) U + diag(G) V − (D ∘ B) H,  H̄ −= (D ∘ B)ᵀ X
    /// ```
    pub fn asked_vjp(
        &self,
        s: &Space<R>,
        d: &Reverse<R>,
        asked: &Asked<'_, R>,
        state: &DeviceBuffer<R>,
        d_state: &DeviceBuffer<R>,
    ) -> Result<()> {
        let (cuda, m, rows, l) = (self.cuda, self.m, self.rows(), asked.layer);
        let (i, o) = self.sizes.spec().layer(l);
        let (x, h, delta) = (self.tokens(asked.x, i), self.tokens(&s.h[l], i), self.tokens(&s.delta[l], o));
        let (d_z, d_x) = (self.tokens(asked.d_z, o), self.tokens(&d.x_query, i));
        // Ā and Ḡ, then diag(A) Z̄ or diag(G) Z̄ for W̄ or S̄ and X̄ (the second adds).
        for (half, scaled) in [&d.wide1, &d.wide2].into_iter().enumerate() {
            let args = args![o, 1.0f32, asked.d_z, asked.products[half], asked.d_rows[half]];
            cuda.launch_rows("row_dots", rows, args)?;
            cuda.launch("scale_rows", rows * o, args![o, asked.rows[half], asked.d_z, scaled])?;
            let scaled = self.tokens(scaled, o);
            self.product(1.0, x.t(), scaled, 1.0, self.weights(d_state, half, l))?;
            self.product(1.0, scaled, self.weights(state, half, l).t(), half as f64, d_x)?;
        }
        // D = Z̄ Δᵀ: B̄ −= D ∘ N, then D ∘ B for X̄ −= (D ∘ B) H and H̄ −= (D ∘ B)ᵀ X.
        self.product(1.0, d_z, delta.t(), 0.0, self.tokens(&d.square1, m))?;
        cuda.launch("multiply", rows * m, args![&d.square1, asked.scores, &d.square2])?;
        cuda.launch("add_scaled", rows * m, args![-1.0f32, &d.square2, asked.d_b])?;
        cuda.launch("multiply", rows * m, args![&d.square1, asked.b, &d.square2])?;
        let scaled = self.tokens(&d.square2, m);
        self.product(-1.0, scaled, h, 1.0, d_x)?;
        self.product(-1.0, scaled.t(), x, 1.0, self.tokens(&d.h[l], i))
    }

    /// Of the residual network's output on the queries, y_t = q_t + x̂_t ∘ (1 + γ_t), x̂ = LN(z), and of γ_t = A_t γ +
    /// G_t S_γ − Σ_i B_{t,i} g_i, which is (2) with N = 1 and the g_i for Δ:
    ///
    /// ```text
    /// q̄_t = ȳ_t,  γ̄_t = ȳ_t ∘ x̂_t,  z̄_t = LN′(z_t)ᵀ (ȳ_t ∘ (1 + γ_t))       (`residual_read_vjp`)
    /// Ā_t += γ̄_t·γ,  Ḡ_t += γ̄_t·S_γ                                        (`gamma_rows_vjp`)
    /// γ̄ += Σ_t A_t γ̄_t,  S̄_γ += Σ_t G_t γ̄_t                                 (products with one row)
    /// ḡ_i −= Σ_t B_{t,i} γ̄_t,  B̄_{t,i} −= γ̄_t·g_i
    /// ```
    fn gamma_vjp(
        &self,
        s: &Space<R>,
        d: &Reverse<R>,
        state: &DeviceBuffer<R>,
        d_state: &DeviceBuffer<R>,
    ) -> Result<()> {
        let (cuda, sizes, m, rows, top) = (self.cuda, self.sizes, self.m, self.rows(), self.sizes.top());
        cuda.launch("copy_blocks", rows * top, args![top, top, top, &d.y, &d.q])?;
        let args = args![top, &s.q_hat, &s.q_r, &s.gammas, &d.y, &d.gammas, &d.z_query];
        cuda.launch_rows("residual_read_vjp", rows, args)?;
        let (stride, gamma) = (2 * sizes.params, self.gamma_view(state));
        let set = sizes.sets() - 1;
        let [a_read, g_read, d_a_read, d_g_read] =
            [&s.a_read, &s.g_read, &d.a_read, &d.g_read].map(|x| self.of_set(x, set));
        let [b, d_b] = [&s.b, &d.b].map(|x| Matrix::new(self.square_of_set(x, set), m, m));
        cuda.launch_rows("gamma_rows_vjp", rows, args![m, top, stride, gamma, &d.gammas, d_a_read, d_g_read])?;
        let d_gammas = self.tokens(&d.gammas, top);
        // γ̄ += A γ̄_t and S̄_γ += G γ̄_t, then ḡ −= Bᵀ γ̄_t and B̄ −= γ̄_t gᵀ.
        for (half, coefficient) in [a_read, g_read].into_iter().enumerate() {
            let row = Matrix::new(coefficient, 1, m);
            self.product(1.0, row, d_gammas, 1.0, self.gamma(d_state, half))?;
        }
        self.product(-1.0, b.t(), d_gammas, 1.0, self.tokens(&d.g_gamma, top))?;
        self.product(-1.0, d_gammas, self.tokens(&s.g_gamma, top).t(), 1.0, d_b)
    }

    /// Cotangents of the rates, of which B_{t,i} = C_{t,i} r_i, in_w = c r and in_s = p r are products ((1) and (2)):
    ///
    /// ```text
    /// r̄_i = Σ_t B̄_{t,i} C_{t,i} + d_in_w_i c_i + d_in_s_i p_i                (`rate_vjp`)
    /// ```
    pub fn rates_vjp(&self, s: &Space<R>, d: &Reverse<R>) -> Result<()> {
        let (read, chunk) = (self.sizes.read(), self.sizes.spec().chunk);
        let args = args![self.m, read, chunk, &s.c, &s.p, &d.b, &d.in_w, &d.in_s, &d.rate];
        self.cuda.launch("rate_vjp", self.sizes.sets() * self.rows(), args)
    }

    /// α and η, through A, G, C and P ((3)). With κ = 1 − α a token that writes made E_t = η E_{t−1}, A_t = κ A_{t−1},
    /// G_t = κ G_{t−1} + E_t, and P_{t,i} = η P_{t−1,i}, C_{t,i} = κ C_{t−1,i} + P_{t,i} for i < t. Going back,
    ///
    /// ```text
    /// Ē_t += Ḡ_t,  P̄_{t,i} += C̄_{t,i}
    /// ᾱ_t = −Σ_i C̄_{t,i} C_{t−1,i} − Ā_t A_{t−1} − Ḡ_t G_{t−1}               (`columns_vjp`, then `chains_vjp`)
    /// η̄_t = Σ_i P̄_{t,i} P_{t−1,i} + Ē_t E_{t−1}
    /// Ā_{t−1} += κ Ā_t,  Ḡ_{t−1} += κ Ḡ_t,  Ē_{t−1} += η Ē_t
    /// C̄_{t−1,i} += κ C̄_{t,i},  P̄_{t−1,i} += η P̄_{t,i}
    /// ```
    ///
    /// C̄ = B̄ diag(r) in the rows that answer; in the last one c̄ += d_in_w r, p̄ = d_in_s r.
    pub fn gates_vjp(&self, s: &Space<R>, d: &Reverse<R>) -> Result<()> {
        (0..self.sizes.sets()).try_for_each(|set| self.gates_of_set_vjp(s, d, set))
    }

    /// [`Chunk::gates_vjp`] of one set of gates.
    fn gates_of_set_vjp(&self, s: &Space<R>, d: &Reverse<R>, set: usize) -> Result<()> {
        let (cuda, m, rows, keys) = (self.cuda, self.m, self.rows(), d.exact.as_ref());
        let (read, chunk) = (self.sizes.read(), self.sizes.spec().chunk);
        let [alpha, eta, writes, rate] = [&s.alpha, &s.eta, &s.writes, self.rate(s)].map(|x| self.of_set(x, set));
        let [in_w, in_s, d_alpha, d_eta] = [&d.in_w, &d.in_s, &d.alpha, &d.eta].map(|x| self.of_set(x, set));
        let ([c, p], [a, g, e]) = (self.columns_of_set(s, set), self.chains_of_set(s, set));
        let (d_b, b_keys) = (self.square_of_set(&d.b, set), keys.map(|x| &x.b));
        let (by_alpha, by_eta) = (&d.square1, &d.square2);
        let args = args![m, read, chunk, alpha, eta, writes, rate, c, p, d_b, b_keys, in_w, in_s, by_alpha, by_eta];
        // What every column of C and P gives α and η of every token, and the sums over the columns.
        cuda.launch("columns_vjp", rows, args)?;
        cuda.launch_rows("row_totals", rows, args![m, by_alpha, d_alpha])?;
        cuda.launch_rows("row_totals", rows, args![m, by_eta, d_eta])?;
        let [a_read, g_read] = [&d.a_read, &d.g_read].map(|x| self.of_set(x, set));
        let (a_keys, g_keys, ends) = (keys.map(|x| &x.a), keys.map(|x| &x.g), self.ends_of_set(d, set));
        let args =
            args![m, read, chunk, alpha, eta, writes, a, g, e, a_read, g_read, a_keys, g_keys, ends, d_alpha, d_eta];
        // What A, G and Π η give, added.
        cuda.launch("chains_vjp", self.sizes.count, args)
    }

    /// θ, through the rates r = θ f, and what the norms of clipped gradients give H and Δ. f = clip / ‖u‖ where that is
    /// below 1, else 1, ‖u_i‖² = Σ_l ‖h_i^l‖² ‖δ_i^l‖² + ‖g_i‖², ν_i its cotangent ((3)):
    ///
    /// ```text
    /// θ̄_i = f_i r̄_i,  ν_i = −Σ_sets θ_i r̄_i f_i / (2 ‖u_i‖²)                 (`clip_rate_vjp`; ν = 0 where f = 1)
    /// h̄_i += 2 ν_i ‖δ_i‖² h_i,  δ̄_i += 2 ν_i ‖h_i‖² δ_i,  ḡ_i += 2 ν_i g_i    (`gradient_norm_vjp`)
    /// ```
    pub fn theta_vjp(&self, s: &Space<R>, d: &Reverse<R>) -> Result<()> {
        let (cuda, sizes, rows) = (self.cuda, self.sizes, self.rows());
        let Some(clip) = sizes.spec().clip else {
            // r = θ.
            return cuda.launch("copy_blocks", sizes.sets() * rows, args![1usize, 1usize, 1usize, &d.rate, &d.theta]);
        };
        for set in 0..sizes.sets() {
            let [theta, d_rate, d_theta, d_norm2] =
                [&s.theta, &d.rate, &d.theta, &d.norm2].map(|x| self.of_set(x, set));
            cuda.launch("clip_rate_vjp", rows, args![clip, &s.norm2, theta, d_rate, d_theta, d_norm2])?;
            if set > 0 {
                cuda.launch("add_scaled", rows, args![1.0f32, d_norm2, &d.norm2])?;
            }
        }
        for l in 0..sizes.layers() {
            let (i, o) = sizes.spec().layer(l);
            let args = args![i, o, &s.h[l], &s.delta[l], &d.norm2, &d.h[l], &d.delta[l]];
            cuda.launch_rows("gradient_norm_vjp", rows, args)?;
        }
        if sizes.residual() {
            let none: Option<&DeviceBuffer<R>> = None;
            let args = args![sizes.top(), 0usize, &s.g_gamma, none, &d.norm2, &d.g_gamma, none];
            cuda.launch_rows("gradient_norm_vjp", rows, args)?;
        }
        Ok(())
    }

    /// Of the gradients ((4)): Z^l = H^l W^l, H^{l+1} = φ(Z^l), H^1 = K; Δ^L of Z^L ([`Chunk::top_vjp`]); D^l = Δ^{l+1}
    /// (W^{l+1})ᵀ, Δ^l = D^l ∘ φ′(Z^l). Through Δ first, from the lowest layer up (it was made from the top down):
    ///
    /// ```text
    /// D̄^l = Δ̄^l ∘ φ′(Z^l),  Z̄^l = Δ̄^l ∘ D^l ∘ φ″(Z^l)                         (`activate_second`)
    /// Δ̄^{l+1} += D̄^l W^{l+1},  W̄^{l+1} += (D̄^l)ᵀ Δ^{l+1}
    /// ```
    ///
    /// then through the keys' forward, from the top layer down:
    ///
    /// ```text
    /// W̄^l += (H^l)ᵀ Z̄^l,  H̄^l += Z̄^l (W^l)ᵀ,  Z̄^{l−1} += H̄^l ∘ φ′(Z^{l−1}),  K̄ = H̄^1
    /// ```
    fn write_vjp(
        &self,
        s: &Space<R>,
        d: &Reverse<R>,
        state: &DeviceBuffer<R>,
        d_state: &DeviceBuffer<R>,
    ) -> Result<()> {
        let (cuda, sizes, rows, kind) = (self.cuda, self.sizes, self.rows(), self.sizes.activation());
        for l in 1..sizes.layers() {
            let (i, o) = sizes.spec().layer(l);
            let args = args![kind, &s.z[l - 1], &s.u[l - 1], &d.delta[l - 1], &d.wide1, &d.z[l - 1]];
            cuda.launch("activate_second", rows * i, args)?;
            let d_u = self.tokens(&d.wide1, i); // D̄
            self.product(1.0, d_u, self.weights(state, 0, l), 1.0, self.tokens(&d.delta[l], o))?;
            self.product(1.0, d_u.t(), self.tokens(&s.delta[l], o), 1.0, self.weights(d_state, 0, l))?;
        }
        self.top_vjp(s, d, state, d_state)?;
        for l in (0..sizes.layers()).rev() {
            let (i, o) = sizes.spec().layer(l);
            let d_z = self.tokens(&d.z[l], o);
            // W̄ += Hᵀ Z̄, H̄ += Z̄ Wᵀ.
            self.product(1.0, self.tokens(&s.h[l], i).t(), d_z, 1.0, self.weights(d_state, 0, l))?;
            self.product(1.0, d_z, self.weights(state, 0, l).t(), 1.0, self.tokens(&d.h[l], i))?;
            if l > 0 {
                cuda.launch("activate_vjp_add", rows * i, args![kind, &s.z[l - 1], &d.h[l], &d.z[l - 1]])?;
            } else {
                self.give(i, &d.h[0], &d.k)?;
            }
        }
        Ok(())
    }

    /// What comes to queries and keys through the lowest layer; the residual shape has given them something before.
    fn give(&self, width: usize, from: &DeviceBuffer<R>, to: &DeviceBuffer<R>) -> Result<()> {
        let n = self.rows() * width;
        if self.sizes.residual() {
            return self.cuda.launch("add_scaled", n, args![1.0f32, from, to]);
        }
        self.cuda.launch("copy_blocks", n, args![width, width, width, from, to])
    }

    /// Of δ^L at the top of the keys' forward ((4)). Plain: δ^L = 2c (z^L − v), so z̄^L = 2c δ̄^L, v̄ = −2c δ̄^L.
    /// Residual: e = 2c (k + x̂ ∘ (1 + γ) − v), g = e ∘ x̂, w = e ∘ (1 + γ), δ^L = J w, J = LN′(z) being symmetric,
    /// hence
    ///
    /// ```text
    /// w̄ = J δ̄,  ē = w̄ ∘ (1 + γ) + ḡ ∘ x̂,  k̄ = m̄ = 2c ē,  v̄ = −m̄
    /// γ̄ += Σ_t (w̄ ∘ e + m̄ ∘ x̂)
    /// x̂̄ = ḡ ∘ e + m̄ ∘ (1 + γ) − ρ (δ̄ mean(w ∘ x̂) + w mean(δ̄ ∘ x̂))       (the last by J's own x̂)
    /// z̄ = J x̂̄ − (δ̄·δ) ρ x̂ / d                                          (the last by J's own ρ = 1/√(var + eps))
    /// ```
    fn top_vjp(&self, s: &Space<R>, d: &Reverse<R>, state: &DeviceBuffer<R>, d_state: &DeviceBuffer<R>) -> Result<()> {
        let (cuda, sizes, m, rows, top) = (self.cuda, self.sizes, self.m, self.rows(), self.sizes.top());
        let last = sizes.layers() - 1;
        if !sizes.residual() {
            return cuda.launch("plain_top_vjp", rows * top, args![sizes.scale(), &d.delta[last], &d.z[last], &d.v]);
        }
        let (stride, gamma) = (2 * sizes.params, self.gamma_view(state));
        let args = args![
            m,
            top,
            stride,
            sizes.scale(),
            &s.x_hat,
            &s.r,
            &s.error,
            &s.delta[last],
            gamma,
            &d.delta[last],
            &d.g_gamma,
            &d.z[last],
            &d.k,
            &d.v,
            &d.gammas
        ];
        cuda.launch_rows("residual_top_vjp", rows, args)?;
        // γ̄ += Σ_t of its rows.
        let ones = Matrix::new(s.ones.view(), 1, m);
        self.product(1.0, ones, self.tokens(&d.gammas, top), 1.0, self.gamma(d_state, 0))
    }
}
