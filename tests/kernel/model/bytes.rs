//! What is read from outside: every blob and state that is damaged, short or of something else is an error, and changes
//! nothing.

use super::case::{Dice, KINDS, MODES, ModelCase, Number, Out, World, bits, block, buffer, push, saved, whole};
use titans_kernel::memory::MemorySpec;
use titans_kernel::model::{
    BlockSpec, Feed, Input, Kind, Mode, Model, ModelSpec, Stream, blob_len, checksum, encode_header, header_len,
    number_bytes, stream_len,
};
use titans_kernel::{Error, Fault, Mat, MatMut, Result};

/// A place in `room` for these bytes that lies `off` bytes behind a multiple of 64.
fn lying<'a>(bytes: &[u8], off: usize, room: &'a mut Vec<u8>) -> &'a [u8] {
    room.resize(bytes.len() + 128, 0);
    let start = room.as_ptr().align_offset(64) + off;
    room[start..start + bytes.len()].copy_from_slice(bytes);
    &room[start..start + bytes.len()]
}

#[test]
fn a_blob_is_read_where_it_lies_and_says_what_was_written() {
    for seed in 0..64 {
        let case = ModelCase::any(seed);
        let (mut room, mut numbers) = (vec![], vec![f32::NAN; case.spec.parameters(&case.blocks).unwrap()]);
        let bytes = case.blob::<f32>();
        assert_eq!(number_bytes(&bytes), Ok(4));
        assert_eq!(bytes.len(), blob_len::<f32>(&case.spec, &case.blocks).unwrap());
        assert!(header_len(case.blocks.len()).is_multiple_of(64));
        let model = Model::<f32>::parse(lying(&bytes, 0, &mut room)).unwrap();
        assert_eq!(*model.spec(), case.spec);
        for (i, block) in case.blocks.iter().enumerate() {
            assert_eq!(model.block(i).as_ref(), Ok(block));
        }
        assert!(model.block(case.blocks.len()).is_err());
        let want: Vec<f32> = case.numbers().iter().map(|&x| x as f32).collect();
        assert_eq!(bits(model.numbers()), bits(&want));
        assert_eq!(model.memories(), case.blocks.iter().map(BlockSpec::memories).sum::<usize>());
        assert_eq!(model.stream_len(3), stream_len::<f32>(&case.spec, case.blocks.iter().cloned(), 3));
        let copied = Model::read_into(&bytes, &mut numbers).unwrap();
        assert_eq!((bits(copied.numbers()), copied.checksum()), (bits(&want), model.checksum()));
        // As many as are declared, no more.
        assert!(Model::read_into(&bytes, &mut vec![0.0f32; want.len() + 1]).is_err());
        let mut room = vec![];
        // A blob of version 1 does not say how large momentum may be.
        let mut old = bytes.clone();
        old[7] = 1;
        let error = Model::<f32>::parse(lying(&old, 0, &mut room)).unwrap_err();
        assert_eq!(error, Fault::Version.error("blob: version", 2, 1));
        let off = Model::<f32>::parse(lying(&bytes, 2, &mut room)).unwrap_err();
        assert!(matches!(off, Error::Format { found: 2, .. }), "{off}");
        assert!(matches!(
            Model::<f64>::parse(lying(&bytes, 0, &mut room)),
            Err(Error::Format { fault: Fault::Numbers, expected: 8, found: 4, .. })
        ));
    }
}

#[test]
fn no_damaged_blob_is_a_model() {
    for kind in KINDS {
        let case = ModelCase::new(7, &[kind]);
        let bytes = case.blob::<f32>();
        let mut numbers = vec![1.5f32; case.spec.parameters(&case.blocks).unwrap()];
        for i in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[i] ^= flip;
                assert!(Model::read_into(&damaged, &mut numbers).is_err(), "{kind:?} byte {i} ^ {flip:x}");
                // A checksum that fits: whatever a header says, it is refused or it is a model.
                let end = damaged.len() - 4;
                let sum = checksum(&damaged[..end]);
                damaged[end..].copy_from_slice(&sum);
                if i < header_len(1)
                    && let Ok(model) = Model::read_into(&damaged, &mut numbers.clone())
                {
                    assert!(model.block(0).unwrap().validate().is_ok());
                }
            }
        }
        for n in (0..bytes.len()).step_by(3) {
            assert!(Model::read_into(&bytes[..n], &mut numbers).is_err(), "{n} bytes");
        }
        let longer: Vec<u8> = bytes.iter().copied().chain([0]).collect();
        assert!(Model::read_into(&longer, &mut numbers).is_err());
        assert!(numbers.iter().all(|&x| x == 1.5));
    }
}

#[test]
fn headers_of_random_bytes_never_panic_and_most_are_errors() {
    let mut dice = Dice(5);
    let good = ModelCase::any(3).blob::<f64>();
    // The checksum is right every time, so that the fields themselves are looked at.
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut bytes = good[..good.len().min(12 + dice.below(600))].to_vec();
        let from = dice.pick(&[0, 12, 16, 64, 70, 96]);
        for _ in 0..1 + dice.below(12) {
            let i = from + dice.below(40);
            if i < bytes.len() {
                bytes[i] = dice.pick(&[0, 1, 2, 0x7f, 0x80, 0xff, dice.0 as u8]);
            }
        }
        let end = bytes.len().max(4) - 4;
        let sum = checksum(&bytes[..end]);
        bytes.truncate(end);
        bytes.extend(sum);
        let read = Model::<f64>::read_into(&bytes, &mut []).map(|_| ());
        // The place for the numbers is empty: a header that is read to its end is refused for that.
        assert!(read.is_err());
        refused += u32::from(number_bytes(&bytes).is_err());
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn a_damaged_or_foreign_state_is_an_error_and_changes_nothing() {
    const N: usize = 20;
    for kind in KINDS {
        let case = ModelCase::new(3, &[kind]);
        let (mut world, mut other) =
            (World::<f32>::new(&case), World::<f32>::new(&ModelCase { seed: 99, ..case.clone() }));
        let (model, fed) = (world.model(), case.input::<f32>(N));
        let (mut a, mut b) = (buffer(&model, 4), buffer(&model, 4));
        let mut stream = Stream::new(&f32::kernel(), &model, Mode::On, 4, &mut a).unwrap();
        push(&mut stream, &fed, 0, N, &mut Out::default()).unwrap();
        let bytes = saved(&stream);
        let mut victim = Stream::new(&f32::kernel(), &model, Mode::Frozen, 4, &mut b).unwrap();
        push(&mut victim, &fed, 0, 7, &mut Out::default()).unwrap();
        let before = saved(&victim);
        for i in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[i] ^= 0x10;
            assert!(matches!(victim.load(&damaged), Err(Error::Format { .. })), "{kind:?}: byte {i}");
        }
        for n in 0..bytes.len() {
            assert!(victim.load(&bytes[..n]).is_err());
        }
        assert!(victim.load(&[&bytes[..], &[0]].concat()).is_err());
        // A checksum that fits does not make a header true.
        for (at, x) in [(16, 3), (17, 1), (31, 0x80), (40, 1)] {
            let mut damaged = bytes.clone();
            damaged[at] ^= x;
            let end = damaged.len() - 4;
            let sum = checksum(&damaged[..end]);
            damaged[end..].copy_from_slice(&sum);
            assert!(victim.load(&damaged).is_err(), "byte {at}");
        }
        let foreign = other.model();
        let mut c = buffer(&foreign, 4);
        let mut c = Stream::new(&f32::kernel(), &foreign, Mode::On, 4, &mut c).unwrap();
        let parts = saved(&c);
        assert!(matches!(
            victim.load(&parts),
            Err(Error::Format { fault: Fault::Config, what: "the model's checksum", .. })
        ));
        assert!(matches!(stream.fork_into(&mut c), Err(Error::Format { fault: Fault::Config, .. })));
        assert_eq!((saved(&victim), victim.mode()), (before, Mode::Frozen));
        victim.load(&bytes).unwrap();
        assert_eq!((saved(&victim), victim.position(), victim.clipped()), (bytes, N as u64, stream.clipped()));
    }
}

#[test]
fn too_short_says_needed_and_given() {
    let mut world = World::<f64>::new(&ModelCase::any(11));
    let model = world.model();
    let needed = model.stream_len(5);
    let mut buffer = vec![f64::NAN; needed];
    fn new<'a>(model: &Model<'a, f64>, rows: usize, buffer: &'a mut [f64]) -> Result<()> {
        Stream::new(&f64::kernel(), model, Mode::On, rows, buffer).map(drop)
    }
    assert_eq!(
        new(&model, 5, &mut buffer[..needed - 1]),
        Err(Error::Buffer { what: "stream", needed, given: needed - 1 })
    );
    assert!(matches!(new(&model, 0, &mut buffer), Err(Error::Config { .. })));
    assert!(matches!(new(&model, usize::MAX, &mut buffer), Err(Error::Config { .. })));
    new(&model, 5, &mut buffer).unwrap();
    let stream = Stream::new(&f64::kernel(), &model, Mode::On, 5, &mut buffer).unwrap();
    let needed = model.saved_len();
    let short = stream.save(&mut vec![0; needed - 1]);
    assert_eq!(short, Err(Error::Buffer { what: "saved stream, bytes", needed, given: needed - 1 }));
    assert_eq!(model.stream_len(usize::MAX), usize::MAX);
}

#[test]
fn mistakes_of_a_push_change_nothing() {
    const N: usize = 12;
    let case =
        (0..).map(ModelCase::any).find(|c| matches!(c.spec.input, Input::Tokens(_)) && c.blocks.len() > 1).unwrap();
    let mut world = World::<f32>::new(&case);
    let (model, fed, g) = (world.model(), case.input::<f32>(N), f32::kernel());
    let mut a = buffer(&model, 4);
    let mut stream = Stream::new(&g, &model, Mode::On, 4, &mut a).unwrap();
    push(&mut stream, &fed, 0, N, &mut Out::default()).unwrap();
    let before = saved(&stream);
    let (outputs, mut y, row) = (case.spec.outputs, vec![7.0f32; 4 * N * 64], [0.0f32; 8]);
    let bad = Feed::Tokens(&[0, 1, 0, 2, 0, case.spec.input.size() as u32]);
    assert_eq!(stream.push(&g, bad, None, None), Err(Error::Range { what: "ids", index: 5 }));
    let rows = Feed::Rows(Mat::new(&row, 2, 4).unwrap());
    assert!(stream.push(&g, rows, None, None).is_err());
    let mut refused = |n: usize, rows: usize, columns: usize| {
        let y = MatMut::new(&mut y, rows, columns).unwrap();
        stream.push(&g, fed.feed(0, n), Some(y), None).unwrap_err();
    };
    refused(3, 2, outputs);
    refused(3, 4, outputs);
    refused(3, 3, outputs + 1);
    let losses = MatMut::new(&mut y, 3, model.memories() + 1).unwrap();
    stream.push(&g, fed.feed(0, 3), None, Some(losses)).unwrap_err();
    stream.step(&g, fed.feed(0, 2), &mut [0.0; 64][..outputs], None).unwrap_err();
    stream.step(&g, fed.feed(0, 1), &mut [0.0; 64][..outputs + 1], None).unwrap_err();
    stream.step(&g, fed.feed(0, 1), &mut [0.0; 64][..outputs], Some(&mut [0.0; 64][..63])).unwrap_err();
    stream.set_mode(Mode::Absent).unwrap_err();
    assert_eq!(saved(&stream), before);
    assert!(y.iter().all(|&y| y == 7.0));
    stream.push(&g, fed.feed(0, 0), None, None).unwrap();
    assert_eq!(saved(&stream), before);
}

/// A step and pushes without outputs or surprise leave the same stream behind.
#[test]
fn a_step_is_a_push_of_one_and_outputs_need_not_be_asked_for() {
    const N: usize = 21;
    for seed in 0..12 {
        let case = ModelCase::any(seed);
        let mut world = World::<f64>::new(&case);
        let (model, fed, g) = (world.model(), case.input::<f64>(N), f64::kernel());
        for mode in MODES {
            let (want, state) = whole(&model, mode, &fed, N);
            let (mut a, mut b) = (buffer(&model, 3), buffer(&model, 3));
            let mut steps = Stream::new(&g, &model, mode, 3, &mut a).unwrap();
            for t in 0..N {
                let (mut y, mut s) = (vec![f64::NAN; case.spec.outputs], vec![f64::NAN; model.memories()]);
                steps.step(&g, fed.feed(t, 1), &mut y, Some(&mut s)).unwrap();
                assert_eq!((bits(&y), bits(&s)), (want.outputs[t].clone(), want.surprise[t].clone()));
            }
            let mut silent = Stream::new(&g, &model, mode, 3, &mut b).unwrap();
            silent.push(&g, fed.feed(0, N), None, None).unwrap();
            assert_eq!((saved(&steps), saved(&silent)), (state.clone(), state));
            silent.reset(&g, mode).unwrap();
            let mut out = Out::default();
            push(&mut silent, &fed, 0, N, &mut out).unwrap();
            assert_eq!(out, want, "after a reset");
        }
    }
}

#[test]
fn every_bad_field_is_named() {
    let (mut dice, spec) = (Dice(1), ModelCase::any(1).spec);
    let spec = ModelSpec {
        blocks: 1,
        input: Input::Tokens(5),
        outputs: 5,
        head_bias: false,
        tied: true,
        shortcut: false,
        ..spec
    };
    let good = |kind| BlockSpec { rotary: 0.0, ..block(&mut Dice(4), kind) };
    type Spoil = fn(&mut BlockSpec);
    let bad: [(&str, Kind, Spoil); 20] = [
        ("heads", Kind::Lmm, |b| b.heads = 0),
        ("head_width", Kind::Lmm, |b| b.head_width = usize::MAX),
        ("heads × head_width", Kind::Lmm, |b| (b.heads, b.head_width) = (1 << 20, 1 << 20)),
        ("key width", Kind::Lmm, |b| b.head_width += 1),
        ("attention_heads", Kind::Mag, |b| b.attention_heads = 0),
        ("attention_heads", Kind::Mag, |b| b.attention_heads = b.inner() + 1),
        ("kv_heads", Kind::Attention, |b| b.kv_heads = b.attention_heads + 1),
        ("even", Kind::Mal, |b| (b.attention_heads, b.kv_heads, b.rotary) = (b.inner(), 1, 1e4)),
        ("rotary", Kind::Mal, |b| b.rotary = f64::NAN),
        ("rotary", Kind::Mal, |b| b.rotary = 0.5),
        ("window", Kind::Mag, |b| b.window = 0),
        ("segment", Kind::Mac, |b| b.segment = 0),
        ("segment", Kind::Mac, |b| (b.memory.chunk, b.segment) = (4, 6)),
        ("theta_max", Kind::Lmm, |b| b.theta_max = f64::INFINITY),
        ("eta_max", Kind::Lmm, |b| b.eta_max = 0.0),
        ("eta_max", Kind::Lmm, |b| b.eta_max = 1.01),
        ("eta_max", Kind::Lmm, |b| b.eta_max = f64::NAN),
        ("conv_width", Kind::Lmm, |b| b.conv_width = 1 << 21),
        ("persistent", Kind::Lmm, |b| b.persistent = usize::MAX),
        ("feed_forward", Kind::Lmm, |b| b.feed_forward = 0),
    ];
    let mut out = vec![0xaa; 4096];
    for (name, kind, spoil) in bad {
        let mut block = good(kind);
        encode_header::<f32>(&spec, core::slice::from_ref(&block), &mut out).unwrap();
        spoil(&mut block);
        let error = block.validate().unwrap_err().to_string();
        assert!(error.contains(name), "{name}: {error}");
        assert!(spec.parameters(&[block.clone()]).is_err() && blob_len::<f32>(&spec, &[block.clone()]).is_err());
        assert!(encode_header::<f32>(&spec, &[block], &mut out).is_err());
    }
    let block = good(Kind::Lmm);
    for bad in [
        ModelSpec { blocks: 2, ..spec },
        ModelSpec { blocks: 0, ..spec },
        ModelSpec { width: 0, ..spec },
        ModelSpec { outputs: 4, ..spec },
        ModelSpec { head_bias: true, ..spec },
        ModelSpec { input: Input::Rows(5), ..spec },
        ModelSpec { shortcut: true, ..spec },
        ModelSpec { input: Input::Tokens(0), ..spec },
    ] {
        assert!(encode_header::<f32>(&bad, core::slice::from_ref(&block), &mut out).is_err(), "{bad:?}");
    }
    // Sizes that no memory holds are refused, and counted without overflow before they are.
    let mut huge = good(Kind::Lmm);
    (huge.heads, huge.head_width, huge.feed_forward) = (1, 1 << 20, 1 << 20);
    huge.memory = MemorySpec::new(&[1 << 20; 5]).unwrap();
    huge.window = dice.pick(&[1 << 20]);
    assert!(huge.parameters(1 << 20) > 1 << 42);
    assert!(stream_len::<f64>(&spec, [huge.clone(), huge.clone()], 1 << 20) > 1 << 40);
    huge.heads = 1 << 20;
    assert!(stream_len::<f64>(&spec, [huge.clone(), huge], usize::MAX) == usize::MAX);
}
