//! One attention operation: its sizes, what it reads, what its backward writes.

use super::Device;

/// Which tokens a query sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// Itself and those before it, so many in all.
    Window(usize),
    /// Itself and those before it in its own segment of that length, with the context's rows of the same numbers.
    Segment(usize),
}

/// Causal attention of `heads` query heads to `kv_heads` key and value heads, over `batch` sequences of `time` tokens.
///
/// All inputs come unrotated: the operation rotates queries and keys of tokens by their position (their number; with
/// [`Span::Segment`] of C their number mod C), the context's by number mod C − C, persistent keys not at all.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionOp {
    /// Sequences.
    pub batch: usize,
    /// Tokens of each.
    pub time: usize,
    /// Query heads, a multiple of `kv_heads`: head h uses keys and values h / (heads / kv_heads).
    pub heads: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Width of a head; even if rotary.
    pub width: usize,
    /// Persistent keys that every query sees; 0 without.
    pub persistent: usize,
    /// Which tokens a query sees.
    pub span: Span,
    /// The base of the rotary positions; `None`: none.
    pub rotary: Option<f64>,
}

/// What an attention operation reads; `[batch, rows, heads, width]` each.
#[derive(Debug)]
pub struct AttentionInputs<'a, D: Device + ?Sized> {
    /// Queries `[batch, time, heads, width]`.
    pub q: &'a D::Buffer,
    /// Keys `[batch, time, kv_heads, width]`.
    pub k: &'a D::Buffer,
    /// Values, like the keys.
    pub v: &'a D::Buffer,
    /// Persistent keys and values `[batch, persistent, kv_heads, width]`, if there are any.
    pub persistent: Option<(&'a D::Buffer, &'a D::Buffer)>,
    /// The context's keys and values, shaped like those of the tokens; with [`Span::Segment`] only.
    pub context: Option<(&'a D::Buffer, &'a D::Buffer)>,
}

/// Gradients of an attention operation, each overwritten, each shaped like its input.
#[derive(Debug)]
pub struct AttentionGradients<'a, D: Device + ?Sized> {
    /// Of the queries.
    pub d_q: &'a mut D::Buffer,
    /// Of the keys.
    pub d_k: &'a mut D::Buffer,
    /// Of the values.
    pub d_v: &'a mut D::Buffer,
    /// Of persistent keys and values.
    pub d_persistent: Option<(&'a mut D::Buffer, &'a mut D::Buffer)>,
    /// Of the context's keys and values.
    pub d_context: Option<(&'a mut D::Buffer, &'a mut D::Buffer)>,
}
