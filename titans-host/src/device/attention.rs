//! One attention operation: its sizes, what it reads, what its backward writes.

use crate::error::Result;
use titans_kernel::error::expect_len;
pub use titans_kernel::ops::attention::Span;
use titans_kernel::ops::rotary::Rotary;
use titans_kernel::{Error as KernelError, Result as KernelResult};

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

/// Elements of an attention's operands; saturated where they overflow, so that no buffer fits then.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttentionSizes {
    /// Queries, and the output.
    pub(super) queries: usize,
    /// Keys, values, and those of a context.
    pub(super) keys: usize,
    /// Persistent keys, and values.
    pub(super) persistent: usize,
    /// Sums of softmaxes.
    pub(super) sums: usize,
}

impl AttentionOp {
    /// Elements of its operands.
    ///
    /// # Errors
    /// [`Error::Config`](KernelError::Config) for sizes that no attention can have.
    pub(super) fn sizes(&self) -> KernelResult<AttentionSizes> {
        let Self { batch, time, heads, kv_heads, width, persistent, span, rotary } = *self;
        let config = |what, found| Err(KernelError::Config { what, found });
        if kv_heads == 0 || heads == 0 || !heads.is_multiple_of(kv_heads) {
            return config("attention: heads: 1 or more, a multiple of the heads of keys and values", heads);
        }
        if width == 0 || (rotary.is_some() && width % 2 == 1) {
            return config("attention: width of a head: 1 or more, and even with rotary positions", width);
        }
        if span.is_empty() {
            return config("attention: window or segment: 1 or more", 0);
        }
        if rotary.is_some_and(|base| !(1.0..=1e300).contains(&base)) {
            return config("attention: base of the rotary positions: from 1 to 1e300", rotary.unwrap_or(0.0) as usize);
        }
        let of = |rows: usize, heads: usize| batch.saturating_mul(rows).saturating_mul(heads);
        Ok(AttentionSizes {
            queries: of(time, heads).saturating_mul(width),
            keys: of(time, kv_heads).saturating_mul(width),
            persistent: of(persistent, kv_heads).saturating_mul(width),
            sums: of(time, heads),
        })
    }

    /// Query heads that share keys and values.
    pub(super) const fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// The rotation of tokens, if there is one.
    pub(super) fn rotary(&self) -> Option<Rotary> {
        let period = if let Span::Segment(c) = self.span { c } else { 0 };
        self.rotary.map(|base| Rotary { width: self.width, base, period, shift: 0 })
    }

    /// The rotation of a context's rows, if there is one: as if they were the segment before.
    pub(super) fn context_rotary(&self) -> Option<Rotary> {
        self.rotary().map(|rotary| Rotary { shift: -(rotary.period as i64), ..rotary })
    }
}

/// What an attention operation reads; `[batch, rows, heads, width]` each.
#[derive(Debug)]
pub struct AttentionInputs<'a, B: ?Sized> {
    /// Queries `[batch, time, heads, width]`.
    pub q: &'a B,
    /// Keys `[batch, time, kv_heads, width]`.
    pub k: &'a B,
    /// Values, like the keys.
    pub v: &'a B,
    /// Persistent keys and values `[batch, persistent, kv_heads, width]`, if there are any.
    pub persistent: Option<(&'a B, &'a B)>,
    /// The context's keys and values, shaped like those of the tokens; with [`Span::Segment`] only.
    pub context: Option<(&'a B, &'a B)>,
}

/// Gradients of an attention operation, each overwritten, each shaped like its input.
#[derive(Debug)]
pub struct AttentionGradients<'a, B: ?Sized> {
    /// Of the queries.
    pub d_q: &'a mut B,
    /// Of the keys.
    pub d_k: &'a mut B,
    /// Of the values.
    pub d_v: &'a mut B,
    /// Of persistent keys and values.
    pub d_persistent: Option<(&'a mut B, &'a mut B)>,
    /// Of the context's keys and values.
    pub d_context: Option<(&'a mut B, &'a mut B)>,
}

impl<B: ?Sized> AttentionInputs<'_, B> {
    /// Checks the operands' lengths, which `len` tells.
    ///
    /// # Errors
    /// Those of [`AttentionOp::sizes`]; [`Error::Shape`](KernelError::Shape) naming the operand.
    pub(super) fn check(&self, op: &AttentionOp, len: impl Fn(&B) -> usize) -> Result<AttentionSizes> {
        let sizes = op.sizes()?;
        expect_len("q", sizes.queries, len(self.q))?;
        expect_len("k", sizes.keys, len(self.k))?;
        expect_len("v", sizes.keys, len(self.v))?;
        match self.persistent {
            Some((k, v)) => {
                expect_len("persistent k", sizes.persistent, len(k))?;
                expect_len("persistent v", sizes.persistent, len(v))?;
            }
            None => expect_len("persistent keys, of which none are given", 0, op.persistent)?,
        }
        if let Some((k, v)) = self.context {
            if let Span::Window(found) = op.span {
                return Err(KernelError::Config {
                    what: "attention: a context goes with segments, not a window",
                    found,
                }
                .into());
            }
            expect_len("context k", sizes.keys, len(k))?;
            expect_len("context v", sizes.keys, len(v))?;
        }
        Ok(sizes)
    }
}

impl<B: ?Sized> AttentionGradients<'_, B> {
    /// Checks that there is a gradient of its size for every input.
    ///
    /// # Errors
    /// [`Error::Shape`](KernelError::Shape) naming the gradient.
    pub(super) fn check(
        &self,
        sizes: &AttentionSizes,
        inputs: &AttentionInputs<'_, B>,
        len: impl Fn(&B) -> usize,
    ) -> Result<()> {
        expect_len("d_q", sizes.queries, len(self.d_q))?;
        expect_len("d_k", sizes.keys, len(self.d_k))?;
        expect_len("d_v", sizes.keys, len(self.d_v))?;
        let pairs = [
            (
                inputs.persistent.is_some(),
                &self.d_persistent,
                sizes.persistent,
                ["d of persistent k", "d of persistent v"],
            ),
            (inputs.context.is_some(), &self.d_context, sizes.keys, ["d of context k", "d of context v"]),
        ];
        for (there, pair, expected, names) in pairs {
            let found = pair.as_ref().map_or([0; 2], |(k, v)| [len(k), len(v)]);
            for (what, found) in names.into_iter().zip(found) {
                expect_len(what, if there { expected } else { found }, found)?;
            }
        }
        Ok(())
    }
}
