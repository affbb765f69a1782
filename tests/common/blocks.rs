//! Small models of every block and every option, for the tests that must hold for all of them.

use titans_host::model::{
    AttentionConfig, Combine, GateSpan, Head, Kind, Kinds, MacFeed, MacRead, MemoryConfig, ModelConfig, Wiring,
};
use titans_kernel::memory::{Activation, Loss, Network, Read};

/// All kinds.
pub const KINDS: [Kind; 5] = [Kind::Lmm, Kind::Mac, Kind::Mag, Kind::Mal, Kind::Attention];

/// Two blocks of one kind, with chunks of 4, segments of 8 and windows of 5.
pub fn tiny(kind: Kind) -> ModelConfig {
    ModelConfig {
        vocabulary: 7,
        width: 6,
        blocks: 2,
        block: Kinds::All(kind),
        persistent: 2,
        heads: 2,
        head_width: 4,
        feed_forward: 5,
        conv_width: 3,
        theta_max: 0.1,
        eta_max: 1.0,
        alpha_bias: -1.0,
        theta_bias: 0.3,
        eta_bias: -0.2,
        memory: MemoryConfig { chunk: 4, compute_chunk: 0, hidden: 5, loss: Loss::Sum, ..MemoryConfig::default() },
        attention: AttentionConfig { window: 5, segment: 8, ..AttentionConfig::default() },
        ..ModelConfig::default()
    }
}

/// Every block alone and in a stack of all of them, and every option on the blocks that know it.
pub fn cases() -> Vec<(String, ModelConfig)> {
    type Change = fn(&mut ModelConfig);
    let general: [(&str, Change); 8] = [
        ("as it is", |_| {}),
        ("no persistent tokens", |c| c.persistent = 0),
        ("untied head", |c| c.tied = false),
        ("one head", |c| c.heads = 1),
        ("three persistent tokens", |c| c.persistent = 3),
        ("classes", |c| (c.head, c.outputs, c.tied) = (Head::Classes, 3, false)),
        ("rows of numbers, predictions", |c| {
            (c.inputs, c.head, c.outputs, c.tied) = (4, Head::Regression, 4, false);
        }),
        ("rows of numbers, classes", |c| (c.inputs, c.head, c.outputs, c.tied) = (3, Head::Classes, 3, false)),
    ];
    // Clips are such that they fire for some tokens and not for others. Where four layers end in a layer norm of four
    // numbers, MAC's loss bends too sharply for differences; six numbers and small steps do not.
    let remembering: [(&str, Change); 28] = [
        ("no convolution", |c| c.conv_width = 0),
        ("one tap", |c| c.conv_width = 1),
        ("convolution beyond the segment", |c| (c.conv_width, c.attention.segment, c.memory.chunk) = (6, 4, 2)),
        ("no momentum", |c| c.momentum = false),
        ("no forgetting", |c| c.forgetting = false),
        ("gates by chunk", |c| c.gates = GateSpan::Chunk),
        ("deep", |c| c.memory.layers = 2),
        ("deep, plain", |c| (c.memory.layers, c.memory.network) = (3, Some(Network::Plain))),
        ("chunks in pieces", |c| c.memory.compute_chunk = 3),
        ("read at the chunk's start", |c| c.memory.read = Read::ChunkStart),
        ("half the loss, GELU", |c| {
            (c.memory.layers, c.memory.loss, c.memory.activation) = (2, Loss::Half, Activation::Gelu);
        }),
        ("exact form", |c| {
            (c.memory.chunk, c.memory.compute_chunk, c.memory.loss) = (1, 8, Loss::Half);
            (c.theta_max, c.eta_max) = (1.0, 0.5);
        }),
        ("exact form, read before, clip", |c| {
            (c.memory.chunk, c.memory.compute_chunk, c.memory.read) = (1, 64, Read::Before);
            c.memory.clip = Some(2.0);
        }),
        ("several chunks at once", |c| (c.memory.chunk, c.memory.compute_chunk) = (2, 6)),
        ("several chunks at once, gates by chunk, read at the chunk's start", |c| {
            (c.memory.chunk, c.memory.compute_chunk) = (2, 8);
            (c.gates, c.memory.read) = (GateSpan::Chunk, Read::ChunkStart);
        }),
        ("gates of every layer", |c| {
            (c.memory.layers, c.memory.network, c.layer_gates) = (3, Some(Network::Plain), true)
        }),
        ("gates of every layer, by chunk, clip", |c| {
            (c.memory.layers, c.layer_gates, c.gates, c.memory.clip) = (2, true, GateSpan::Chunk, Some(6.0));
        }),
        ("gates of every layer, chunks of one", |c| {
            (c.memory.layers, c.layer_gates, c.memory.chunk, c.heads) = (2, true, 1, 1);
        }),
        ("chunks of one, read before", |c| (c.memory.chunk, c.memory.read) = (1, Read::Before)),
        ("read before, deep", |c| (c.memory.layers, c.memory.read) = (2, Read::Before)),
        ("one layer, residual", |c| c.memory.network = Some(Network::Residual)),
        ("four layers", |c| (c.memory.layers, c.head_width, c.theta_max) = (4, 6, 0.03)),
        ("four layers, plain", |c| (c.memory.layers, c.memory.network) = (4, Some(Network::Plain))),
        ("clip", |c| c.memory.clip = Some(2.0)),
        ("clip, deep", |c| (c.memory.layers, c.memory.clip) = (2, Some(6.0))),
        ("mean loss, GELU by tanh", |c| {
            (c.memory.layers, c.memory.network) = (2, Some(Network::Plain));
            (c.memory.loss, c.memory.activation) = (Loss::Mean, Activation::GeluTanh);
        }),
        ("ReLU", |c| (c.memory.layers, c.memory.activation) = (2, Activation::Relu)),
        ("gates by chunk, chunks in pieces, read at the chunk's start", |c| {
            (c.gates, c.memory.compute_chunk, c.memory.read) = (GateSpan::Chunk, 3, Read::ChunkStart);
        }),
    ];
    let attending: [(&str, Change); 5] = [
        ("one key head", |c| c.attention.kv_heads = 1),
        ("four query heads", |c| (c.attention.heads, c.attention.kv_heads) = (4, 2)),
        ("no rotary positions", |c| c.attention.rotary = false),
        ("window of one", |c| (c.attention.window, c.attention.segment) = (1, 4)),
        ("window beyond all", |c| (c.attention.window, c.attention.segment) = (40, 40)),
    ];
    // The paper's equations to the letter.
    let letter: [(&str, Change); 8] = [
        ("product", |_| {}),
        ("silu", |c| c.combine = Combine::Silu),
        ("sigmoid", |c| c.combine = Combine::Sigmoid),
        ("sum", |c| c.combine = Combine::Sum),
        ("deep", |c| c.memory.layers = 2),
        ("no persistent tokens, no convolution", |c| (c.persistent, c.conv_width) = (0, 0)),
        ("exact form", |c| (c.memory.chunk, c.memory.compute_chunk) = (1, 8)),
        ("gates by chunk, one key head", |c| (c.gates, c.attention.kv_heads) = (GateSpan::Chunk, 1)),
    ];
    let mut all = Vec::new();
    let changed = |kind: Kind, (what, change): &(&str, Change)| {
        let mut config = tiny(kind);
        change(&mut config);
        (format!("{kind:?}, {what}"), config)
    };
    for kind in KINDS {
        all.extend(general.iter().map(|c| changed(kind, c)));
        all.extend(remembering.iter().filter(|_| kind.has_memory()).map(|c| changed(kind, c)));
        all.extend(attending.iter().filter(|_| kind.has_attention()).map(|c| changed(kind, c)));
        for (what, change) in letter.iter().filter(|_| kind.has_attention()) {
            let mut config = tiny(kind);
            config.set_wiring(Wiring::Letter);
            change(&mut config);
            all.push((format!("{kind:?} to the letter, {what}"), config));
        }
    }
    let mut add = |kind, case: &(&str, Change)| all.push(changed(kind, case));
    add(Kind::Mag, &("two gates", |c| c.combine = Combine::Gates));
    add(Kind::Mac, &("fed the tokens", |c| c.attention.feed = MacFeed::Tokens));
    add(Kind::Mac, &("fed attention's output", |c| c.attention.feed = MacFeed::Output));
    add(
        Kind::Mac,
        &("fed attention's output, no convolution, reads the segment's start", |c| {
            (c.attention.feed, c.attention.read, c.conv_width) = (MacFeed::Output, MacRead::Segment, 0);
        }),
    );
    add(Kind::Mac, &("reads the segment's start", |c| c.attention.read = MacRead::Segment));
    add(
        Kind::Mac,
        &("reads the segment's start, exact form", |c| {
            (c.attention.read, c.memory.chunk, c.memory.compute_chunk) = (MacRead::Segment, 1, 64);
        }),
    );
    add(
        Kind::Mac,
        &("reads the segment's start, chunks in pieces", |c| {
            (c.attention.read, c.memory.compute_chunk, c.memory.layers) = (MacRead::Segment, 3, 2);
        }),
    );
    let list = Kinds::Each(vec![Kind::Mal, Kind::Attention, Kind::Mac, Kind::Lmm, Kind::Mag]);
    let stack = ModelConfig { blocks: 5, block: list, ..tiny(Kind::Lmm) };
    let mut to_the_letter = stack.clone();
    to_the_letter.set_wiring(Wiring::Letter);
    all.push(("all kinds in a stack".into(), stack));
    all.push(("all kinds in a stack, to the letter".into(), to_the_letter));
    all
}
