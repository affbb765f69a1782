//! The parameters of a model by their place in it.

use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::{Combine, Head, Kind, ModelConfig, Shortcut, Wiring};
use crate::tape::{ParamId, Params};

/// A linear map and, if there is one, its convolution: weight and bias.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Projection {
    pub(in crate::model) weight: ParamId,
    pub(in crate::model) conv: Option<(ParamId, ParamId)>,
}

/// What leads rows into the memories.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct MemoryParams {
    pub(in crate::model) q: Projection,
    pub(in crate::model) k: Projection,
    pub(in crate::model) v: Projection,
    pub(in crate::model) gates: ParamId,
    pub(in crate::model) gates_bias: ParamId,
    pub(in crate::model) w0: ParamId,
}

/// The linear maps of attention.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct AttentionParams {
    pub(in crate::model) q: Projection,
    pub(in crate::model) k: Projection,
    pub(in crate::model) v: Projection,
    /// Norm of its heads, where it adds to the stream itself.
    pub(in crate::model) norm: Option<ParamId>,
    pub(in crate::model) gate: Option<ParamId>,
}

/// How MAG joins attention and memory.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) enum Join {
    /// By the paper's ⊗.
    Product(CombineParams),
    /// A sum of gated terms, or a gated sum.
    Sum(ReadOut),
}

/// What MAC in the residual wiring has beside the rest.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct MacParams {
    /// From attention to the stream.
    pub(in crate::model) out: ParamId,
    /// Of the stream behind it, for the memories.
    pub(in crate::model) norm: ParamId,
    pub(in crate::model) read: ReadOut,
}

/// The norm of the read-outs, head by head, and the linear map of their gate.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct ReadOut {
    pub(in crate::model) norm: ParamId,
    pub(in crate::model) gate: ParamId,
}

/// What makes MAC's context.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct ContextParams {
    pub(in crate::model) q: Projection,
    pub(in crate::model) norm: ParamId,
    pub(in crate::model) out: ParamId,
}

/// The norms of the two sides of ⊗.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct CombineParams {
    pub(in crate::model) attention: ParamId,
    pub(in crate::model) memory: ParamId,
}

/// A mixer by its kind.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) enum Mixer {
    Lmm {
        memory: MemoryParams,
        read: ReadOut,
    },
    /// To the letter.
    Mac {
        context: ContextParams,
        attention: AttentionParams,
        memory: MemoryParams,
        combine: CombineParams,
    },
    MacResidual {
        context: ContextParams,
        attention: AttentionParams,
        memory: MemoryParams,
        own: MacParams,
    },
    Mag {
        attention: AttentionParams,
        memory: MemoryParams,
        join: Join,
    },
    Mal {
        norm: ParamId,
        attention: AttentionParams,
        memory: MemoryParams,
        read: ReadOut,
        out: ParamId,
    },
    Attention {
        attention: AttentionParams,
    },
}

/// SwiGLU with its norm.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct FeedForward {
    pub(in crate::model) norm: ParamId,
    pub(in crate::model) up: ParamId,
    pub(in crate::model) gate: ParamId,
    pub(in crate::model) down: ParamId,
}

/// The parameters of one block.
#[derive(Clone, Copy, Debug)]
pub(in crate::model) struct Block {
    pub(in crate::model) norm: ParamId,
    pub(in crate::model) persistent: Option<ParamId>,
    pub(in crate::model) mixer: Mixer,
    pub(in crate::model) out: ParamId,
    pub(in crate::model) feed_forward: FeedForward,
}

/// The parameters of a model.
#[derive(Clone, Debug)]
pub(in crate::model) struct Layout {
    pub(in crate::model) embedding: ParamId,
    /// Of rows of numbers.
    pub(in crate::model) embedding_bias: Option<ParamId>,
    pub(in crate::model) blocks: Vec<Block>,
    pub(in crate::model) norm: ParamId,
    pub(in crate::model) head: Option<ParamId>,
    pub(in crate::model) head_bias: Option<ParamId>,
    /// From rows of numbers to what is said of them.
    pub(in crate::model) shortcut: Option<ParamId>,
}

impl Layout {
    /// Looks every parameter up by its name.
    pub(in crate::model) fn find<D: Device>(c: &ModelConfig, params: &Params<D>) -> Result<Self> {
        let find = |i| Find { params, config: c, prefix: format!("blocks.{i}.") }.block(c.kind(i));
        let ends = Find { params, config: c, prefix: String::new() };
        Ok(Self {
            embedding: ends.weight("embedding")?,
            embedding_bias: if c.inputs > 0 { Some(ends.id("embedding.bias")?) } else { None },
            blocks: (0..c.blocks).map(find).collect::<Result<_>>()?,
            norm: ends.weight("norm")?,
            head: if c.tied { None } else { Some(ends.weight("head")?) },
            head_bias: if c.head == Head::Regression { Some(ends.id("head.bias")?) } else { None },
            shortcut: if c.shortcut == Shortcut::None { None } else { Some(ends.weight("shortcut")?) },
        })
    }
}

struct Find<'a, D: Device> {
    params: &'a Params<D>,
    config: &'a ModelConfig,
    prefix: String,
}

impl<D: Device> Find<'_, D> {
    fn id(&self, name: &str) -> Result<ParamId> {
        let name = format!("{}{name}", self.prefix);
        self.params.id(&name).ok_or_else(|| Error::usage(format!("parameter {name} is missing")))
    }

    fn weight(&self, name: &str) -> Result<ParamId> {
        self.id(&format!("{name}.weight"))
    }

    fn projection(&self, name: &str) -> Result<Projection> {
        self.convolved(name, self.config.conv_width > 0)
    }

    fn convolved(&self, name: &str, is: bool) -> Result<Projection> {
        let conv = if is {
            Some((self.weight(&format!("{name}.conv"))?, self.id(&format!("{name}.conv.bias"))?))
        } else {
            None
        };
        Ok(Projection { weight: self.weight(name)?, conv })
    }

    fn memory(&self) -> Result<MemoryParams> {
        Ok(MemoryParams {
            q: self.projection("mixer.q")?,
            k: self.projection("mixer.k")?,
            v: self.projection("mixer.v")?,
            gates: self.weight("mixer.gates")?,
            gates_bias: self.id("mixer.gates.bias")?,
            w0: self.id("mixer.memory.w0")?,
        })
    }

    fn residual(&self) -> bool {
        self.config.wiring == Wiring::Residual
    }

    fn attention(&self, kind: Kind) -> Result<AttentionParams> {
        let residual = self.residual();
        let of =
            |name: &str| self.convolved(&format!("mixer.attention.{name}"), residual && self.config.conv_width > 0);
        let gated = residual && !(kind == Kind::Mag && self.config.combine == Combine::Gated);
        let some = |is: bool, name: &str| is.then(|| self.weight(name)).transpose();
        Ok(AttentionParams {
            q: of("q")?,
            k: of("k")?,
            v: of("v")?,
            norm: some(residual, "mixer.attention.read.norm")?,
            gate: some(gated, "mixer.attention.gate")?,
        })
    }

    fn read_out(&self) -> Result<ReadOut> {
        Ok(ReadOut { norm: self.weight("mixer.norm")?, gate: self.weight("mixer.gate")? })
    }

    fn combine(&self) -> Result<CombineParams> {
        let of = |name: &str| self.weight(&format!("mixer.combine.{name}"));
        Ok(CombineParams { attention: of("attention")?, memory: of("memory")? })
    }

    fn mixer(&self, kind: Kind) -> Result<Mixer> {
        Ok(match kind {
            Kind::Lmm => Mixer::Lmm { memory: self.memory()?, read: self.read_out()? },
            Kind::Mac => self.mac()?,
            Kind::Mag => Mixer::Mag {
                attention: self.attention(kind)?,
                memory: self.memory()?,
                join: if self.residual() { Join::Sum(self.read_out()?) } else { Join::Product(self.combine()?) },
            },
            Kind::Mal => Mixer::Mal {
                norm: self.weight("mixer.attention.norm")?,
                attention: self.attention(kind)?,
                memory: self.memory()?,
                read: self.read_out()?,
                out: self.weight("mixer.memory.out")?,
            },
            Kind::Attention => Mixer::Attention { attention: self.attention(kind)? },
        })
    }

    fn mac(&self) -> Result<Mixer> {
        let context = ContextParams {
            q: self.projection("mixer.context.q")?,
            norm: self.weight("mixer.context.norm")?,
            out: self.weight("mixer.context.out")?,
        };
        let (attention, memory) = (self.attention(Kind::Mac)?, self.memory()?);
        if !self.residual() {
            return Ok(Mixer::Mac { context, attention, memory, combine: self.combine()? });
        }
        let own = MacParams {
            out: self.weight("mixer.attention.out")?,
            norm: self.weight("mixer.memory.norm")?,
            read: self.read_out()?,
        };
        Ok(Mixer::MacResidual { context, attention, memory, own })
    }

    fn block(&self, kind: Kind) -> Result<Block> {
        Ok(Block {
            norm: self.weight("norm")?,
            persistent: if self.config.persistent > 0 { Some(self.id("mixer.persistent")?) } else { None },
            mixer: self.mixer(kind)?,
            out: self.weight("mixer.out")?,
            feed_forward: FeedForward {
                norm: self.weight("feed_forward.norm")?,
                up: self.weight("feed_forward.up")?,
                gate: self.weight("feed_forward.gate")?,
                down: self.weight("feed_forward.down")?,
            },
        })
    }
}
