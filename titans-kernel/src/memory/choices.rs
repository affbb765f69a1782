//! What a memory may be told: its shape, its loss, and which weights answer.

use crate::choice;

choice! {
    /// Shape of the network's output.
    #[derive(Default)]
    pub enum Network: "network" {
        /// M(x) = z^L.
        #[default]
        Plain = 0, "plain";
        /// M(x) = x + LN(z^L) ∘ (1 + γ), γ learned at test time like the weights; needs d_0 = d_L.
        Residual = 1, "residual";
    }
}

impl Network {
    /// Whether the layer norm and γ stand behind the last layer.
    pub const fn is_residual(self) -> bool {
        match self {
            Self::Plain => false,
            Self::Residual => true,
        }
    }
}

choice! {
    /// Scale c of the inner loss c ‖M(k) − v‖².
    ///
    /// ```
    /// use titans_kernel::memory::{Gates, Loss, Memory};
    ///
    /// for (loss, surprise) in [(Loss::Sum, 8.0), (Loss::Half, 4.0), (Loss::Mean, 4.0)] {
    ///     let mut memory = Memory::linear(1, 2).loss(loss).build()?;
    ///     assert_eq!(memory.write(&[1.0], &[2.0, 2.0], Gates::default())?, surprise); // of ‖0 − v‖² = 8
    /// }
    /// # Ok::<(), titans_kernel::Error>(())
    /// ```
    #[derive(Default)]
    pub enum Loss: "loss" {
        /// c = 1.
        Sum = 0, "sum";
        /// c = 1/2: with θ ≤ 1 and keys of norm 1 at most no token's step overshoots.
        #[default]
        Half = 1, "half";
        /// c = 1/d_L.
        Mean = 2, "mean";
    }
}

choice! {
    /// Which weights answer a query.
    ///
    /// ```
    /// use titans_kernel::memory::{Gates, Memory, Read};
    ///
    /// let learn = Gates { theta: 1.0, ..Gates::default() };
    /// for (read, expected) in [(Read::After, [5.0]), (Read::Before, [0.0])] {
    ///     let (mut memory, mut answer) = (Memory::linear(1, 1).read(read).build()?, [f32::NAN]);
    ///     memory.step(&[1.0], &[5.0], learn, &[1.0], &mut answer)?; // writes 5 and asks for it
    ///     assert_eq!(answer, expected);
    /// }
    /// # Ok::<(), titans_kernel::Error>(())
    /// ```
    #[derive(Default)]
    pub enum Read: "read" {
        /// y_t = M_t(q_t): after the token's own write (LMM, MAG, MAL).
        #[default]
        After = 0, "after";
        /// M_{t−1}(q_t): before it (MAC).
        Before = 1, "before";
        /// The weights at the start of the token's chunk.
        ChunkStart = 2, "chunk-start";
    }
}

impl Read {
    /// Whether a token's own write is part of its answer.
    pub const fn is_after(self) -> bool {
        match self {
            Self::After => true,
            Self::Before | Self::ChunkStart => false,
        }
    }

    /// Whether the weights stand still for a chunk.
    pub const fn is_at_chunk_start(self) -> bool {
        match self {
            Self::ChunkStart => true,
            Self::After | Self::Before => false,
        }
    }
}
