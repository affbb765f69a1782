//! What a saved stream of the kernel holds (`titans_kernel::memory::Stream::save`).

use crate::error::{Error, Result};
use crate::model::Choice;
use serde::Serialize;
use std::path::Path;
use titans_kernel::Scalar;
use titans_kernel::memory::{Activation, Loss, MemorySpec, Network, Read, Stream};

/// A saved stream, whole and checked.
#[derive(Debug, PartialEq, Serialize)]
pub struct State {
    bits: usize,
    widths: Vec<usize>,
    chunk: usize,
    compute_chunk: usize,
    layer_gates: bool,
    activation: &'static str,
    network: &'static str,
    loss: &'static str,
    read: &'static str,
    clip: Option<f64>,
    position: u64,
    clipped: u64,
    unfinished: u64,
}

/// Whether the bytes begin as a saved stream does.
pub fn is_state(bytes: &[u8]) -> bool {
    bytes.starts_with(b"TTNSTRM")
}

/// Reads and checks every byte of the content of `path`.
pub fn read(path: &Path, bytes: &[u8]) -> Result<State> {
    let wrong = |reason: String| Error::file(path, reason);
    let header: &[u8; 88] = bytes
        .first_chunk()
        .ok_or_else(|| wrong(format!("a saved stream has at least 92 bytes, found {}: it is cut off", bytes.len())))?;
    let word = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]) as usize;
    let layers = word(12) & 0xff_ffff;
    if !(1..=4).contains(&layers) {
        return Err(wrong(format!("saved stream: layers: expected 1 to 4, found {layers}; the file is damaged")));
    }
    let widths: Vec<usize> = (0..=layers).map(|l| word(16 + 4 * l)).collect();
    let damaged = |e: titans_kernel::Error| wrong(format!("{e}; the file is damaged"));
    let mut spec = MemorySpec::new(&widths).map_err(damaged)?;
    // Unknown codes become a wrong configuration, which the stream's own check refuses by name.
    let code = |at: usize| header[at];
    spec.activation = choice::<Activation>(code(44));
    spec.network = choice::<Network>(code(45));
    spec.loss = choice::<Loss>(code(46));
    spec.chunk = word(36);
    spec.compute_chunk = word(40);
    spec.layer_gates = header[15] == 1;
    let clip = f64::from_bits(u64::from_le_bytes(std::array::from_fn(|i| header[48 + i])));
    spec.clip = (clip != 0.0).then_some(clip);
    spec.validate().map_err(damaged)?;
    let read = choice::<Read>(code(47));
    let (position, clipped, unfinished) = match word(8) {
        4 => load::<f32>(&spec, read, bytes),
        _ => load::<f64>(&spec, read, bytes),
    }
    .map_err(damaged)?;
    Ok(State {
        bits: 8 * word(8),
        chunk: spec.chunk,
        compute_chunk: spec.compute_chunk,
        layer_gates: spec.layer_gates,
        activation: spec.activation.name(),
        network: spec.network.name(),
        loss: spec.loss.name(),
        read: read.name(),
        clip: spec.clip,
        widths,
        position,
        clipped,
        unfinished,
    })
}

/// The choice of that number, the first one for numbers that no choice has.
fn choice<T: Choice>(code: u8) -> T {
    T::of_code(code).unwrap_or(T::ALL[0])
}

fn load<T: Scalar>(spec: &MemorySpec, read: Read, bytes: &[u8]) -> titans_kernel::Result<(u64, u64, u64)> {
    // Checked before anything of that size is made.
    let (expected, found) = (Stream::<T>::saved_len(spec) as u64, bytes.len() as u64);
    if expected != found {
        return Err(titans_kernel::Error::Format { what: "length in bytes", expected, found });
    }
    let mut block = vec![T::ZERO; Stream::<T>::len(spec)];
    let mut stream = Stream::new(spec, read, &vec![T::ZERO; spec.params()], &mut block)?;
    stream.load(bytes)?;
    let counters = stream.counters();
    Ok((counters.position, counters.clipped, counters.filled))
}

#[cfg(test)]
mod tests {
    use super::{is_state, read};
    use std::path::Path;
    use titans_kernel::memory::{Activation, Loss, MemorySpec, Read, Stream};

    #[test]
    fn a_saved_stream_is_described_and_damage_is_not() {
        let mut spec = MemorySpec::new(&[4, 6, 4]).unwrap();
        (spec.activation, spec.loss, spec.clip, spec.chunk) = (Activation::Relu, Loss::Mean, Some(2.5), 7);
        (spec.compute_chunk, spec.layer_gates) = (3, true);
        let mut block = vec![0.0f32; Stream::<f32>::len(&spec)];
        let stream = Stream::new(&spec, Read::Before, &vec![0.5; spec.params()], &mut block).unwrap();
        let mut bytes = vec![0; Stream::<f32>::saved_len(&spec)];
        stream.save(&mut bytes).unwrap();
        assert!(is_state(&bytes) && !is_state(b"{}"));
        let path = Path::new("x");
        let state = read(path, &bytes).unwrap();
        assert_eq!((state.bits, state.chunk, state.compute_chunk, &state.widths[..]), (32, 7, 3, &[4, 6, 4][..]));
        assert_eq!((state.activation, state.network, state.loss, state.read), ("relu", "residual", "mean", "before"));
        assert!(state.layer_gates);
        assert_eq!((state.clip, state.position, state.unfinished), (Some(2.5), 0, 0));
        for length in 7..bytes.len() {
            assert!(read(path, &bytes[..length]).is_err(), "{length} bytes");
        }
        for at in 7..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(read(path, &damaged).is_err(), "byte {at}");
        }
    }
}
