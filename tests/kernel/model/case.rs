//! Random models with random parameters and inputs, and how they are run.

use titans_kernel::arch::Simd;
use titans_kernel::memory::{Activation, Loss, MemorySpec, Network, Read};
use titans_kernel::model::{
    BlockSpec, Combine, Feed, GateSpan, Input, Kind, MacFeed, MacRead, Mode, Model, ModelSpec, Stream, Wiring,
    blob_len, checksum, encode_header,
};
use titans_kernel::{Arithmetic, Mat, MatMut, Portable, Result, Scalar};

/// A number, and the arithmetic that these tests lend it: the fastest there is to `f32`, the plain one to `f64`.
pub trait Number: Scalar {
    type Kernel: Arithmetic<Self> + Copy + Send;
    fn kernel() -> Self::Kernel;
}

impl Number for f32 {
    type Kernel = Simd;
    fn kernel() -> Simd {
        Simd::best()
    }
}

impl Number for f64 {
    type Kernel = Portable;
    fn kernel() -> Portable {
        Portable
    }
}

/// Small numbers from a seed (splitmix).
#[derive(Clone, Debug)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to n − 1.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn pick<V: Copy>(&mut self, all: &[V]) -> V {
        all[self.below(all.len())]
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    /// From −1 to 1, exact in `f32`.
    pub fn number(&mut self) -> f64 {
        (self.next() >> 44) as f64 / f64::from(1 << 19) - 1.0
    }
}

pub const KINDS: [Kind; 5] = [Kind::Lmm, Kind::Mac, Kind::Mag, Kind::Mal, Kind::Attention];
pub const MODES: [Mode; 3] = [Mode::On, Mode::Frozen, Mode::Absent];

const LETTER: [Combine; 4] = [Combine::Product, Combine::Silu, Combine::Sigmoid, Combine::Sum];

/// A block of any kind with any options, small.
pub fn block(dice: &mut Dice, kind: Kind) -> BlockSpec {
    let (heads, head_width) = dice.pick(&[(1, 6), (2, 4), (3, 4), (2, 2), (1, 8), (4, 3)]);
    let inner: usize = heads * head_width;
    let hidden = 1 + dice.below(6);
    let layers = dice.pick(&[1, 1, 2, 2, 3, 4]);
    let mut widths = vec![head_width];
    widths.extend(std::iter::repeat_n(hidden, layers - 1));
    widths.push(head_width);
    let mut memory = MemorySpec::new(&widths).unwrap();
    memory.network = dice.pick(&[Network::Plain, Network::Residual]);
    memory.activation = dice.pick(&[Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu]);
    memory.loss = dice.pick(&[Loss::Sum, Loss::Half, Loss::Mean]);
    memory.chunk = dice.pick(&[1, 2, 3, 4, 8, 16]);
    // Pieces of a chunk; or, where they are no less than one, of several chunks.
    memory.compute_chunk = dice.pick(&[0, 0, 2, 3]);
    if memory.compute_chunk > memory.chunk {
        memory.compute_chunk *= memory.chunk;
    }
    memory.clip = dice.pick(&[None, None, Some(0.2)]);
    memory.layer_gates = Dice(dice.0 ^ 0x1a7e).coin();
    let rotary = dice.pick(&[10000.0, 10.0, 0.0]);
    let widths: Vec<usize> =
        (1..=inner).filter(|c| inner.is_multiple_of(*c) && (rotary == 0.0 || c % 2 == 0)).collect();
    let attention_heads = inner / dice.pick(&widths);
    let divisors: Vec<usize> = (1..=attention_heads).filter(|n| attention_heads.is_multiple_of(*n)).collect();
    let more = &mut Dice(dice.0 ^ 0x77);
    let wiring = more.pick(&[Wiring::Letter, Wiring::Residual, Wiring::Residual]);
    BlockSpec {
        kind,
        wiring,
        read: dice.pick(&[Read::After, Read::After, Read::Before, Read::ChunkStart]),
        heads,
        head_width,
        conv_width: dice.pick(&[0, 1, 2, 4]),
        theta_max: 0.1,
        eta_max: 0.7,
        forgetting: dice.below(4) > 0,
        momentum: dice.below(4) > 0,
        gate_span: if dice.coin() { GateSpan::Chunk } else { GateSpan::Token },
        persistent: dice.pick(&[0, 1, 3, 7]),
        attention_heads,
        kv_heads: dice.pick(&divisors),
        window: dice.pick(&[1, 2, 5, 16, 17, 40]),
        segment: memory.period_len() * (1 + dice.below(4)),
        rotary,
        combine: match (dice.pick(&LETTER), wiring) {
            (letter, Wiring::Letter) => letter,
            _ => more.pick(&[Combine::Gated, Combine::Gates]),
        },
        mac_feed: more.pick(&[MacFeed::Split, MacFeed::Tokens, MacFeed::Output]),
        mac_read: if dice.below(4) == 0 { MacRead::Segment } else { MacRead::After },
        feed_forward: 1 + dice.below(9),
        memory,
    }
}

/// A model, and the seed of its numbers.
#[derive(Clone, Debug)]
pub struct ModelCase {
    pub spec: ModelSpec,
    pub blocks: Vec<BlockSpec>,
    pub seed: u64,
}

impl ModelCase {
    /// Blocks of these kinds.
    pub fn new(seed: u64, kinds: &[Kind]) -> Self {
        let mut dice = Dice(seed);
        let input = dice.pick(&[Input::Tokens(13), Input::Tokens(5), Input::Rows(3)]);
        let tied = matches!(input, Input::Tokens(_)) && dice.coin();
        let outputs = if tied { input.size() } else { 1 + dice.below(6) };
        let spec = ModelSpec {
            input,
            outputs,
            head_bias: !tied && dice.coin(),
            width: 3 + dice.below(8),
            tied,
            shortcut: matches!(input, Input::Rows(_)) && dice.coin(),
            blocks: kinds.len(),
        };
        let blocks = kinds.iter().map(|&kind| block(&mut dice, kind)).collect();
        Self { spec, blocks, seed }
    }

    /// One to three blocks of any kinds.
    pub fn any(seed: u64) -> Self {
        let mut dice = Dice(seed ^ 0x5eed);
        let kinds: Vec<Kind> = (0..1 + dice.below(3)).map(|_| dice.pick(&KINDS)).collect();
        Self::new(seed, &kinds)
    }

    /// What must not be left to the dice, for a block of one kind: four layers, clips, and rows of numbers for both
    /// heads.
    pub fn chosen(kind: Kind) -> Vec<Self> {
        type Change = fn(&mut ModelCase);
        let changes: [Change; 5] = [
            |c| c.deepen(Network::Residual, None),
            |c| c.deepen(Network::Plain, Some(0.2)),
            |c| c.blocks[0].memory.clip = Some(0.2),
            |c| c.read_rows(4, true),
            |c| c.read_rows(3, false),
        ];
        let of = |(seed, change): (u64, &Change)| {
            let mut case = Self::new(seed, &[kind]);
            change(&mut case);
            case
        };
        (20..).zip(&changes).map(of).collect()
    }

    /// A memory of four layers, not all of one width.
    fn deepen(&mut self, network: Network, clip: Option<f64>) {
        let block = &mut self.blocks[0];
        let widths = MemorySpec::new(&[block.head_width, 3, 6, 5, block.head_width]).unwrap().widths;
        block.memory = MemorySpec { widths, network, clip, ..block.memory.clone() };
    }

    /// Rows of numbers in; out go as many predicted numbers, which have a bias, or logits of classes, which have none.
    fn read_rows(&mut self, size: usize, predicts: bool) {
        let (input, outputs) = (Input::Rows(size), if predicts { size } else { 5 });
        let shortcut = predicts;
        self.spec = ModelSpec { input, outputs, tied: false, head_bias: predicts, shortcut, ..self.spec };
        // The memory is not what is looked at, and a layer norm behind one hidden unit is nearly a sign.
        self.blocks[0].memory.network = Network::Plain;
    }

    /// Every parameter in order.
    pub fn numbers(&self) -> Vec<f64> {
        let (mut all, mut dice) = (vec![], Dice(self.seed ^ 0xda7a));
        self.spec.tensors(&self.blocks, |_, tensor| {
            let (centre, scale) = match tensor.name {
                name if name.ends_with("norm.weight") || name.contains("combine") => (1.0, 0.3),
                "mixer.gates.bias" => (-0.5, 1.0),
                "embedding.weight" | "mixer.persistent" => (0.0, 1.0),
                _ => (0.0, 1.7 / (tensor.rows as f64).sqrt()),
            };
            all.extend((0..tensor.numbers()).map(|_| f64::from((centre + scale * dice.number()) as f32)));
        });
        all
    }

    pub fn blob<T: Scalar>(&self) -> Vec<u8> {
        let mut bytes = vec![0xaa; blob_len::<T>(&self.spec, &self.blocks).unwrap()];
        let mut at = encode_header::<T>(&self.spec, &self.blocks, &mut bytes).unwrap();
        for x in self.numbers() {
            T::from_f64(x).write_le(&mut bytes[at..]);
            at += T::BYTES;
        }
        let sum = checksum(&bytes[..at]);
        bytes[at..].copy_from_slice(&sum);
        bytes
    }

    /// n tokens to feed.
    pub fn input<T: Scalar>(&self, n: usize) -> Fed<T> {
        let mut dice = Dice(self.seed ^ 0xfeed);
        match self.spec.input {
            Input::Tokens(vocabulary) => Fed::Tokens((0..n).map(|_| dice.below(vocabulary) as u32).collect()),
            Input::Rows(size) => Fed::Rows((0..n * size).map(|_| T::from_f64(dice.number())).collect(), size),
        }
    }
}

/// What owns a feed.
#[derive(Clone, Debug, PartialEq)]
pub enum Fed<T> {
    Tokens(Vec<u32>),
    Rows(Vec<T>, usize),
}

impl<T: Scalar> Fed<T> {
    pub fn feed(&self, from: usize, n: usize) -> Feed<'_, T> {
        match self {
            Self::Tokens(ids) => Feed::Tokens(&ids[from..from + n]),
            Self::Rows(x, size) => Feed::Rows(Mat::new(&x[from * size..], n, *size).unwrap()),
        }
    }

    /// Another token j.
    pub fn perturb(&mut self, j: usize, vocabulary: usize) {
        match self {
            Self::Tokens(ids) => ids[j] = (ids[j] + 1) % vocabulary as u32,
            Self::Rows(x, size) => x[j * *size] += T::ONE,
        }
    }
}

/// A blob and a place for its numbers.
pub struct World<T> {
    blob: Vec<u8>,
    numbers: Vec<T>,
}

impl<T: Scalar> World<T> {
    pub fn new(case: &ModelCase) -> Self {
        let (blob, count) = (case.blob::<T>(), case.spec.parameters(&case.blocks).unwrap());
        Self { blob, numbers: vec![T::NAN; count] }
    }

    pub fn model(&mut self) -> Model<'_, T> {
        Model::read_into(&self.blob, &mut self.numbers).unwrap()
    }
}

/// The bits of every output and every surprise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Out {
    pub outputs: Vec<Vec<u64>>,
    pub surprise: Vec<Vec<u64>>,
}

pub fn bits<T: Scalar>(x: &[T]) -> Vec<u64> {
    x.iter().map(|x| x.to_f64().to_bits()).collect()
}

/// A poisoned buffer for a stream.
pub fn buffer<T: Scalar>(model: &Model<'_, T>, rows: usize) -> Vec<T> {
    vec![T::NAN; model.stream_len(rows)]
}

/// Pushes tokens `from .. from + n` and adds to `out` what comes back.
pub fn push<T: Number>(stream: &mut Stream<'_, T>, fed: &Fed<T>, from: usize, n: usize, out: &mut Out) -> Result<()> {
    let (columns, memories) = (stream.model().spec().outputs, stream.model().memories());
    let (mut y, mut surprise) = (vec![T::NAN; n * columns], vec![T::NAN; n * memories]);
    let losses = MatMut::new(&mut surprise, n, memories)?;
    stream.push(&T::kernel(), fed.feed(from, n), Some(MatMut::new(&mut y, n, columns)?), Some(losses))?;
    out.outputs.extend(y.chunks(columns).map(bits));
    out.surprise.extend((0..n).map(|r| bits(&surprise[r * memories..][..memories])));
    Ok(())
}

/// All n tokens in one push, in a stream that takes so many at once.
pub fn whole<T: Number>(model: &Model<'_, T>, mode: Mode, fed: &Fed<T>, n: usize) -> (Out, Vec<u8>) {
    let mut buffer = buffer(model, n);
    let mut stream = Stream::new(&T::kernel(), model, mode, n, &mut buffer).unwrap();
    let mut out = Out::default();
    push(&mut stream, fed, 0, n, &mut out).unwrap();
    (out, saved(&stream))
}

pub fn saved<T: Scalar>(stream: &Stream<'_, T>) -> Vec<u8> {
    let mut bytes = vec![0xaa; stream.model().saved_len()];
    assert_eq!(stream.save(&mut bytes).unwrap(), bytes.len());
    bytes
}
