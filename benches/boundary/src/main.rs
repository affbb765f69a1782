//! `blob FILE` writes a model of one block with a memory of 64 to 64; `run FILE TOKENS` steps through it and prints
//! nanoseconds a token.

use std::time::Instant;
use titans_kernel::Scalar;
use titans_kernel::arch::Simd;
use titans_kernel::memory::{Loss, MemorySpec};
use titans_kernel::model::{
    BlockSpec, Feed, Input, Kind, Mode, Model, ModelSpec, Session, blob_len, checksum, encode_header, header_len,
};

fn blob() -> titans_kernel::Result<Vec<u8>> {
    let mut memory = MemorySpec::new(&[64, 64])?;
    (memory.chunk, memory.compute_chunk, memory.loss) = (1, 64, Loss::Half);
    let block = BlockSpec { memory, feed_forward: 128, ..BlockSpec::new(Kind::Lmm, 1, 64)? };
    let spec = ModelSpec {
        input: Input::Tokens(256),
        outputs: 256,
        head_bias: false,
        width: 64,
        tied: true,
        shortcut: false,
        blocks: 1,
    };
    let blocks = [block];
    let mut bytes = vec![0; blob_len::<f32>(&spec, &blocks)?];
    let start = encode_header::<f32>(&spec, &blocks, &mut bytes)?;
    let end = bytes.len() - 4;
    let mut x = 0x9e37_79b9_u32;
    for number in bytes[start..end].chunks_exact_mut(4) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        (((x >> 8) as f32 / 8_388_608.0 - 1.0) * 0.2).write_le(number);
    }
    let sum = checksum(&bytes[..end]);
    bytes[end..].copy_from_slice(&sum);
    Ok(bytes)
}

fn run(file: &[u8], tokens: usize) -> titans_kernel::Result<f64> {
    let mut parameters = vec![0.0f32; (file.len() - 4 - header_len(1)) / 4];
    let model = Model::read_into(file, &mut parameters)?;
    let buffer = vec![0.0f32; model.stream_len(1)];
    let mut session = Session::new_in(model, Mode::On, 1, Simd::cached(), buffer)?;
    let mut logits = vec![0.0f32; 256];
    let mut id = 1u32;
    let begin = Instant::now();
    for _ in 0..tokens {
        session.step(Feed::Tokens(&[id]), &mut logits, None)?;
        id = (id * 5 + 3) % 256;
    }
    let nanoseconds = begin.elapsed().as_nanos() as f64 / tokens as f64;
    assert!(logits.iter().all(|x| x.is_finite()));
    Ok(nanoseconds)
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [_, "blob", file] => std::fs::write(file, blob().expect("a model")).expect("a file to write"),
        [_, "run", file, tokens] => {
            let bytes = std::fs::read(file).expect("a file to read");
            println!("{:.1}", run(&bytes, tokens.parse().expect("a number")).expect("a whole model"));
        }
        _ => eprintln!("blob FILE | run FILE TOKENS"),
    }
}
