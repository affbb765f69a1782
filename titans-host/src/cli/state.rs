//! What a saved stream of the kernel holds (`titans_kernel::memory::Stream::save`).

use crate::error::{Error, Result};
use crate::model::Choice;
use crate::train::store::Float;
use serde::Serialize;
use std::path::Path;
use titans_kernel::Scalar;
use titans_kernel::memory::{MemorySpec, Read, SavedHeader, Stream};

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
    bytes.starts_with(titans_kernel::header::MEMORY)
}

/// Reads and checks every byte of the content of `path`.
pub fn read(path: &Path, bytes: &[u8]) -> Result<State> {
    let damaged =
        |e: titans_kernel::Error| Error::file(path, format!("saved stream: {e}; the file is damaged or cut off"));
    let SavedHeader { spec, read, number_bytes } = SavedHeader::parse(bytes).map_err(damaged)?;
    let float = Float::of_code(number_bytes as u8).map_err(damaged)?;
    let (position, clipped, unfinished) = match float {
        Float::F32 => load::<f32>(&spec, read, bytes),
        Float::F64 => load::<f64>(&spec, read, bytes),
    }
    .map_err(damaged)?;
    Ok(State {
        bits: 8 * number_bytes,
        chunk: spec.chunk,
        compute_chunk: spec.compute_chunk,
        layer_gates: spec.layer_gates,
        activation: spec.activation.name(),
        network: spec.network.name(),
        loss: spec.loss.name(),
        read: read.name(),
        clip: spec.clip,
        widths: spec.widths.to_vec(),
        position,
        clipped,
        unfinished,
    })
}

fn load<T: Scalar>(spec: &MemorySpec, read: Read, bytes: &[u8]) -> titans_kernel::Result<(u64, u64, u64)> {
    // Checked before anything of that size is made.
    let (expected, found) = (Stream::<T>::saved_len(spec) as u64, bytes.len() as u64);
    if expected != found {
        return Err(titans_kernel::Fault::Length.error("length in bytes", expected, found));
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
