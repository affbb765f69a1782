//! The options that change a model's configuration.

use super::places::set;
use crate::cli::options::{count, named, number, size};
use crate::error::{Error, Result};
use crate::model::{Combine, GateSpan, Head, Kind, Kinds, MacFeed, MacRead, ModelConfig, Preset, Wiring};
use titans_kernel::memory::MemorySpec;

/// What of the model is not the task's recipe.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Model")]
pub struct ModelArgs {
    /// Sizes by name: small (the default), paper-170m, paper-340m, paper-760m, paper-1.3b (the published ones, with
    /// deep memories in chunks of 16); the other options change it
    #[arg(long, value_name = "NAME", value_parser = named::<Preset>())]
    pub(super) preset: Option<Preset>,
    /// Mixer of all blocks: lmm (memory alone), mac (memory as context), mag (as gate), mal (as layer), attention (no
    /// memory); or a list, one for each block: mac,attention,mac,lmm
    #[arg(long, value_name = "KIND", value_delimiter = ',', value_parser = named::<Kind>())]
    pub(super) block: Vec<Kind>,
    /// Blocks of mixer and feed-forward
    #[arg(long, value_name = "N", value_parser = size)]
    blocks: Option<usize>,
    /// Width of the residual stream
    #[arg(long, value_name = "N", value_parser = size)]
    width: Option<usize>,
    /// Memories a block
    #[arg(long, value_name = "N", value_parser = size)]
    heads: Option<usize>,
    /// Width of a memory's keys, queries and values
    #[arg(long, value_name = "N", value_parser = size)]
    head_width: Option<usize>,
    /// Hidden width of the feed-forward
    #[arg(long, value_name = "N", value_parser = size)]
    feed_forward: Option<usize>,
    /// Layers of each memory, 1 to 4
    #[arg(long, value_name = "L", value_parser = size)]
    pub(super) layers: Option<usize>,
    /// Width between the layers of a memory
    #[arg(long, value_name = "N", value_parser = size)]
    hidden: Option<usize>,
    /// Tokens whose memory gradients are taken at the same weights
    #[arg(long, value_name = "N", value_parser = size)]
    chunk: Option<usize>,
    /// Tokens that are computed at once, a part of a chunk or (one layer) whole chunks; 0 for a chunk: the same numbers
    /// [default: with one layer about 64]
    #[arg(long, value_name = "N", value_parser = count)]
    compute_chunk: Option<usize>,
    /// Largest learning rate of the memory [default: 1 with one layer, 0.2 with more]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = number)]
    theta_max: Option<f64>,
    /// Largest momentum of the memory, up to 1 [default: 0.5]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = number)]
    eta_max: Option<f64>,
    /// First bias of the forget gate: -4 forgets half in 55 tokens, -7 in 1100
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = number)]
    alpha_bias: Option<f64>,
    /// Memories without momentum
    #[arg(long)]
    no_momentum: bool,
    /// Memories that forget nothing
    #[arg(long)]
    no_forgetting: bool,
    /// The memories' gates: every token's own, or those of its chunk's first token
    #[arg(long, value_name = "token|chunk", value_parser = named::<GateSpan>())]
    gates: Option<GateSpan>,
    /// One α, θ and η for all layers of a memory [default: every layer's own]
    #[arg(long)]
    shared_gates: bool,
    /// Taps of the convolutions on q, k and v; 0 for none
    #[arg(long, value_name = "N", value_parser = count)]
    conv_width: Option<usize>,
    /// Learned tokens that are put before the sequence [default: 4 with --block mac, mag or mal]
    #[arg(long, value_name = "N", value_parser = count)]
    persistent: Option<usize>,
    /// A head with weights of its own instead of the embedding's (recall and text)
    #[arg(long)]
    untied: bool,
    /// Tokens that attention sees (mag, mal, attention)
    #[arg(long, value_name = "N", value_parser = size)]
    window: Option<usize>,
    /// Tokens of a segment (mac), a multiple of the chunk
    #[arg(long, value_name = "N", value_parser = size)]
    segment: Option<usize>,
    /// Query heads of attention; 0: as many as memories
    #[arg(long, value_name = "N", value_parser = count)]
    attention_heads: Option<usize>,
    /// Key and value heads of attention, a divisor of its query heads; 0: as many
    #[arg(long, value_name = "N", value_parser = count)]
    kv_heads: Option<usize>,
    /// Attention without rotary positions
    #[arg(long)]
    no_rotary: bool,
    /// How layers are joined to the stream: residual (memory and attention each add to it; attention has convolutions,
    /// head norms and a gate) or letter (the paper's equations as they stand)
    #[arg(long, value_name = "NAME", value_parser = named::<Wiring>())]
    wiring: Option<Wiring>,
    /// How mag joins attention and memory: gated or gates; to the letter (mac too) product, silu, sigmoid or sum
    #[arg(long, value_name = "NAME", value_parser = named::<Combine>())]
    combine: Option<Combine>,
    /// What mac's memory is fed, rows before (tokens) or after attention (output), or queries and keys from before and
    /// the rest from after (split)
    #[arg(long, value_name = "NAME", value_parser = named::<MacFeed>())]
    mac_feed: Option<MacFeed>,
    /// Which memory answers mac's output: after the writes so far, or before the segment
    #[arg(long, value_name = "after|segment", value_parser = named::<MacRead>())]
    mac_read: Option<MacRead>,
}

/// What an option needs, in words and as a test.
type Meaning = (&'static str, fn(&ModelConfig) -> bool);

impl ModelArgs {
    /// Every option: its name, whether it was given, and what a configuration must have for it to mean something.
    fn options(&self) -> [(&'static str, bool, Meaning); 30] {
        let always: Meaning = ("", |_| true);
        let memory: Meaning = ("a memory (not attention alone)", |c| c.kinds().any(Kind::has_memory));
        let forgetting: Meaning = ("memories that forget", |c| c.forgetting && c.kinds().any(Kind::has_memory));
        let momentum: Meaning = ("memories with momentum", |c| c.momentum && c.kinds().any(Kind::has_memory));
        let chunks: Meaning = ("memories with chunks of two tokens or more (--chunk)", |c| {
            c.kinds().any(Kind::has_memory) && (c.memory.chunk > 1 || !c.gates.is_of_chunk())
        });
        let pieces: Meaning =
            ("memories that compute several chunks at once (one plain layer), or a --chunk that is longer", |c| {
                let several = |spec: MemorySpec| spec.wide() || c.memory.compute_chunk <= c.memory.chunk;
                c.kinds().any(Kind::has_memory) && c.memory_spec().map_or(true, several)
            });
        let deep: Meaning = ("memories of two layers or more (--layers)", |c| c.memory.layers > 1);
        let attention: Meaning = ("attention (not lmm alone)", |c| c.kinds().any(Kind::has_attention));
        let window: Meaning = ("a block of mag, mal or attention", |c| c.kinds().any(Kind::has_window));
        let tokens: Meaning = ("a model of tokens", |c| c.head == Head::Tokens);
        let mac: Meaning = ("a block of mac", |c| c.kinds().any(Kind::has_context));
        let joined: Meaning = ("a block of mag (or mac with --wiring letter)", |c| {
            c.kinds().any(|k| k.attends_beside() || k.has_context() && !c.wiring.is_residual())
        });
        let fed: Meaning =
            ("a block of mac in the residual wiring", |c| c.wiring.is_residual() && c.kinds().any(Kind::has_context));
        [
            ("--preset", self.preset.is_some(), always),
            ("--block", !self.block.is_empty(), always),
            ("--blocks", self.blocks.is_some(), always),
            ("--width", self.width.is_some(), always),
            ("--heads", self.heads.is_some(), always),
            ("--head-width", self.head_width.is_some(), always),
            ("--feed-forward", self.feed_forward.is_some(), always),
            ("--layers", self.layers.is_some(), memory),
            ("--hidden", self.hidden.is_some(), deep),
            ("--chunk", self.chunk.is_some(), memory),
            ("--compute-chunk", self.compute_chunk.is_some(), pieces),
            ("--theta-max", self.theta_max.is_some(), memory),
            ("--eta-max", self.eta_max.is_some(), momentum),
            ("--alpha-bias", self.alpha_bias.is_some(), forgetting),
            ("--no-momentum", self.no_momentum, memory),
            ("--no-forgetting", self.no_forgetting, memory),
            ("--gates", self.gates.is_some(), chunks),
            ("--shared-gates", self.shared_gates, deep),
            ("--conv-width", self.conv_width.is_some(), memory),
            ("--persistent", self.persistent.is_some(), always),
            ("--untied", self.untied, tokens),
            ("--window", self.window.is_some(), window),
            ("--segment", self.segment.is_some(), mac),
            ("--attention-heads", self.attention_heads.is_some(), attention),
            ("--kv-heads", self.kv_heads.is_some(), attention),
            ("--no-rotary", self.no_rotary, attention),
            ("--wiring", self.wiring.is_some(), attention),
            ("--mac-feed", self.mac_feed.is_some(), fed),
            ("--combine", self.combine.is_some(), joined),
            ("--mac-read", self.mac_read.is_some(), mac),
        ]
    }

    /// The first option that was given, by name.
    pub(super) fn given(&self) -> Option<&'static str> {
        self.options().into_iter().find(|(_, given, _)| *given).map(|(name, ..)| name)
    }

    /// Refuses an option that the model of a configuration has no use for.
    ///
    /// # Errors
    /// [`Error::Usage`] with its name and what it needs.
    pub(super) fn expect_meaning(&self, model: &ModelConfig) -> Result<()> {
        match self.options().into_iter().find(|(_, given, (_, means))| *given && !means(model)) {
            Some((name, _, (needs, _))) => {
                Err(Error::usage(format!("{name} needs {needs}; this model has no use for it: leave it out")))
            }
            None => Ok(()),
        }
    }

    /// Puts the options into a configuration.
    pub(super) fn change(&self, model: &mut ModelConfig) {
        match &self.block[..] {
            [] => {}
            &[kind] => model.block = Kinds::All(kind),
            kinds => (model.block, model.blocks) = (Kinds::Each(kinds.to_vec()), kinds.len()),
        }
        if let Some(preset) = self.preset {
            preset.apply(model);
        }
        if model.persistent == 0 && self.block.iter().any(|k| k.has_memory() && k.has_attention()) {
            model.persistent = 4;
        }
        set(&mut model.blocks, self.blocks);
        set(&mut model.width, self.width);
        set(&mut model.heads, self.heads);
        set(&mut model.head_width, self.head_width);
        set(&mut model.feed_forward, self.feed_forward);
        if let Some(layers) = self.layers.filter(|&layers| layers != model.memory.layers) {
            model.change_layers(layers);
        }
        set(&mut model.memory.hidden, self.hidden);
        if let Some(chunk) = self.chunk {
            model.set_chunk(chunk);
        }
        set(&mut model.memory.compute_chunk, self.compute_chunk);
        if self.block.iter().any(|kind| kind.has_context()) && model.memory.layers > 1 {
            // Outputs of attention are much alike at first, and so are their keys: at the rate of the others the steps
            // of a chunk add up until the memory diverges.
            model.theta_max = model.theta_max.min(0.2);
        }
        set(&mut model.theta_max, self.theta_max);
        set(&mut model.eta_max, self.eta_max);
        set(&mut model.alpha_bias, self.alpha_bias);
        model.momentum &= !self.no_momentum;
        model.forgetting &= !self.no_forgetting;
        set(&mut model.gates, self.gates);
        model.layer_gates &= !self.shared_gates;
        set(&mut model.conv_width, self.conv_width);
        set(&mut model.persistent, self.persistent);
        model.tied &= !self.untied;
        if let Some(wiring) = self.wiring {
            model.set_wiring(wiring);
        }
        set(&mut model.combine, self.combine);
        let attention = &mut model.attention;
        set(&mut attention.window, self.window);
        set(&mut attention.segment, self.segment);
        set(&mut attention.heads, self.attention_heads);
        set(&mut attention.kv_heads, self.kv_heads);
        attention.rotary &= !self.no_rotary;
        set(&mut attention.feed, self.mac_feed);
        set(&mut attention.read, self.mac_read);
    }
}
