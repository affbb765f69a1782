//! A saved stream from a stranger: refused, or loaded and usable.

use titans_kernel::memory::{Gate, Loss, Mask, MemorySpec, Read, Stream, Tokens};
use titans_kernel::{Error, Mat, MatMut, Portable};

const WIDTH: usize = 3;
const TOKENS: usize = 5;

/// The memory whose saved bytes are expected.
pub fn spec() -> MemorySpec {
    let mut spec = MemorySpec::new(&[WIDTH, 4, WIDTH]).expect("a valid memory");
    (spec.chunk, spec.loss, spec.clip) = (4, Loss::Sum, None);
    spec
}

/// Writes tokens and asks, whatever the numbers in the stream are.
fn use_it(stream: &mut Stream<'_, f32>) {
    let spec = spec();
    let x: [f32; TOKENS * WIDTH] = core::array::from_fn(|i| (i as f32 * 0.7).sin());
    let gate = [0.25; TOKENS];
    let rows = Mat::new(&x, TOKENS, WIDTH).expect("shapes fit");
    let gate = Gate::tokens(&gate);
    let tokens = Tokens { k: rows, v: rows, q: rows, alpha: gate, theta: gate, eta: gate, mask: Mask::Write };
    let mut y = [0.0; TOKENS * WIDTH];
    let mut scratch = vec![0.0; Stream::<f32>::scratch_len(&spec)];
    let out = MatMut::new(&mut y, TOKENS, WIDTH).expect("shapes fit");
    // A stranger's numbers may be such that a token would not stay finite; nothing else is a reason to refuse it.
    let written = stream.write(&Portable, &tokens, Some(out), None, &mut scratch);
    assert!(matches!(written, Ok(()) | Err(Error::Diverged { .. })), "a loaded stream can be written: {written:?}");
    let out = MatMut::new(&mut y, TOKENS, WIDTH).expect("shapes fit");
    stream.read(&Portable, rows, out, &mut scratch).expect("a loaded stream can be read");
    let mut state = vec![0.0; spec.state_len()];
    stream.state(&Portable, &mut state, &mut scratch).expect("a loaded stream has a state");
}

/// The bytes of a stream some way into its second chunk.
pub fn seed() -> Vec<u8> {
    let spec = spec();
    let (w0, mut block) = (vec![0.1; spec.params()], vec![0.0; Stream::<f32>::len(&spec)]);
    let mut stream = Stream::new(&spec, Read::After, &w0, &mut block).expect("a valid memory");
    use_it(&mut stream);
    let mut bytes = vec![0; Stream::<f32>::saved_len(&spec)];
    stream.save(&mut bytes).expect("the size is right");
    bytes
}

fn load(bytes: &[u8]) {
    let spec = spec();
    let (w0, mut block) = (vec![0.1; spec.params()], vec![0.0; Stream::<f32>::len(&spec)]);
    let mut stream = Stream::new(&spec, Read::After, &w0, &mut block).expect("a valid memory");
    let mut before = vec![0; Stream::<f32>::saved_len(&spec)];
    stream.save(&mut before).expect("the size is right");
    if stream.load(bytes).is_ok() {
        use_it(&mut stream);
    } else {
        let mut after = before.clone();
        stream.save(&mut after).expect("the size is right");
        assert!(before == after, "a refused load changed the stream");
    }
}

/// Loads the bytes as they are, and once more with a checksum that fits, which a stranger can make too.
pub fn run(bytes: &[u8]) {
    load(bytes);
    if let Some(body) = bytes.len().checked_sub(4) {
        let mut fitting = bytes.to_vec();
        let sum = crc32fast::hash(&bytes[..body]);
        fitting[body..].copy_from_slice(&sum.to_le_bytes());
        load(&fitting);
    }
}
