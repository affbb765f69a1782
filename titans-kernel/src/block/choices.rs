//! What a block may be told: its mixer, its wiring, and how its parts meet. What the rest asks of a variant is asked
//! here, in matches without a rest, so that a new variant does not compile before it has an answer.

use crate::choice;

choice! {
    /// The mixer of a block (`docs/MATH.md` section 6).
    #[derive(Default)]
    pub enum Kind: "block" {
        /// The memory alone.
        #[default]
        Lmm = 0, "lmm";
        /// Memory as context: attention over a segment, the persistent tokens and what the memory recalls.
        Mac = 1, "mac";
        /// Memory as gate: a memory and sliding-window attention side by side, combined element by element.
        Mag = 2, "mag";
        /// Memory as layer: sliding-window attention over what the memory answers.
        Mal = 3, "mal";
        /// Sliding-window attention, without a memory.
        Attention = 4, "attention";
    }
}

impl Kind {
    /// Has the block memories?
    pub const fn has_memory(self) -> bool {
        match self {
            Self::Lmm | Self::Mac | Self::Mag | Self::Mal => true,
            Self::Attention => false,
        }
    }

    /// Has the block attention?
    pub const fn has_attention(self) -> bool {
        match self {
            Self::Mac | Self::Mag | Self::Mal | Self::Attention => true,
            Self::Lmm => false,
        }
    }

    /// Does attention see the last tokens, whichever they are?
    pub const fn has_window(self) -> bool {
        match self {
            Self::Mag | Self::Mal | Self::Attention => true,
            Self::Lmm | Self::Mac => false,
        }
    }

    /// Does attention see its segment, and beside every token of it a row that the memories recall?
    pub const fn has_context(self) -> bool {
        match self {
            Self::Mac => true,
            Self::Lmm | Self::Mag | Self::Mal | Self::Attention => false,
        }
    }

    /// Do attention and memory see the same rows, and meet element by element?
    pub const fn attends_beside(self) -> bool {
        match self {
            Self::Mag => true,
            Self::Lmm | Self::Mac | Self::Mal | Self::Attention => false,
        }
    }

    /// Does attention see what the memories answer, in place of the rows?
    pub(crate) const fn attends_to_answers(self) -> bool {
        match self {
            Self::Mal => true,
            Self::Lmm | Self::Mac | Self::Mag | Self::Attention => false,
        }
    }
}

choice! {
    /// How the layers of a block are joined to the rows of the model (`docs/MATH.md` section 6).
    #[derive(Default)]
    pub enum Wiring: "wiring" {
        /// Memory and attention each add to the rows, as in the published models around the paper: attention has
        /// convolutions, a norm for each head and a gate, and the persistent rows are its own.
        #[default]
        Residual = 1, "residual";
        /// The paper's equations 21 to 31 to the letter: one residual connection a mixer, so that what the memory says
        /// passes through attention (MAL) or the other way round (MAC).
        Letter = 0, "letter";
    }
}

impl Wiring {
    /// Do several layers each add to the rows?
    pub const fn is_residual(self) -> bool {
        match self {
            Self::Residual => true,
            Self::Letter => false,
        }
    }
}

choice! {
    /// Whether α, θ and η are a token's or a chunk's (paper, section 3.2: "parameters as the function of chunks").
    #[derive(Default)]
    pub enum GateSpan: "gates" {
        /// Every token has its own.
        #[default]
        Token = 0, "token";
        /// All tokens of a chunk have those of its first.
        Chunk = 1, "chunk";
    }
}

impl GateSpan {
    /// Do tokens share the gates of their chunk?
    pub const fn is_of_chunk(self) -> bool {
        match self {
            Self::Chunk => true,
            Self::Token => false,
        }
    }
}

choice! {
    /// Which memory answers the queries of MAC's output.
    #[derive(Default)]
    pub enum MacRead: "mac-read" {
        /// The memory after the writes of the tokens up to the query's own.
        #[default]
        After = 0, "after";
        /// The memory before the segment.
        Segment = 1, "segment";
    }
}

impl MacRead {
    /// Do the weights of the segment's start answer?
    pub const fn is_at_segment_start(self) -> bool {
        match self {
            Self::Segment => true,
            Self::After => false,
        }
    }
}

choice! {
    /// What the memories of [`Kind::Mac`] in [`Wiring::Residual`] are fed: n, the rows before attention, or y, those
    /// after it.
    #[derive(Default)]
    pub enum MacFeed: "mac-feed" {
        /// Queries and keys from n, values and gates from y: what attention says is kept under what was there.
        #[default]
        Split = 1, "split";
        /// All from n.
        Tokens = 2, "tokens";
        /// All from y (equation 24).
        Output = 0, "output";
    }
}

impl MacFeed {
    /// Are queries and keys of n?
    pub const fn keys_are_of_tokens(self) -> bool {
        match self {
            Self::Split | Self::Tokens => true,
            Self::Output => false,
        }
    }

    /// Are values and gates of n?
    pub const fn values_are_of_tokens(self) -> bool {
        match self {
            Self::Tokens => true,
            Self::Split | Self::Output => false,
        }
    }
}

choice! {
    /// How MAC (in [`Wiring::Letter`]) and MAG put attention `a` and memory `m` together, both normalised with learned
    /// scales.
    #[derive(Default)]
    pub enum Combine: "combine" {
        /// silu(a) ∘ silu(m).
        Product = 0, "product";
        /// a ∘ silu(m).
        Silu = 1, "silu";
        /// a ∘ σ(m).
        Sigmoid = 2, "sigmoid";
        /// a + m.
        Sum = 3, "sum";
        /// (a + m) ∘ silu(n G), in [`Wiring::Residual`]: level with two gates on text, ahead in recall by length.
        #[default]
        Gated = 4, "gated";
        /// a ∘ silu(n G₂) + m ∘ silu(n G₁), in [`Wiring::Residual`].
        Gates = 5, "gates";
    }
}

impl Combine {
    /// The wiring that knows it.
    pub const fn wiring(self) -> Wiring {
        match self {
            Self::Product | Self::Silu | Self::Sigmoid | Self::Sum => Wiring::Letter,
            Self::Gated | Self::Gates => Wiring::Residual,
        }
    }

    /// Does one gate serve attention and memory together?
    pub(crate) const fn has_one_gate(self) -> bool {
        match self {
            Self::Gated => true,
            Self::Product | Self::Silu | Self::Sigmoid | Self::Sum | Self::Gates => false,
        }
    }
}
