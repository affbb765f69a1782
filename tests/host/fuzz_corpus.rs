//! The fuzz targets over their corpus and over a fixed set of damaged inputs, without a fuzzer.

#[path = "../../fuzz/src/checkpoint_load.rs"]
mod checkpoint_load;
#[path = "../common/corpus.rs"]
mod corpus;
#[path = "../../fuzz/src/stream_load.rs"]
mod stream_load;

use corpus::corpus;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A few bytes changed, or a piece cut out.
fn damage(bytes: &[u8], random: &mut ChaCha8Rng) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    if random.random_range(0..4) == 0 {
        let (a, b) = (random.random_range(0..=bytes.len()), random.random_range(0..=bytes.len()));
        damaged.drain(a.min(b)..a.max(b));
    }
    for _ in 0..random.random_range(0..4) {
        if !damaged.is_empty() {
            let at = random.random_range(0..damaged.len());
            damaged[at] = [0, 1, 0x7f, 0x80, 0xff, b'9', b'-', random.random()][random.random_range(0..8)];
        }
    }
    damaged
}

#[test]
fn saved_streams() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    for bytes in corpus("stream_load").iter().chain([&stream_load::seed()]) {
        stream_load::run(bytes);
        (0..2000).for_each(|_| stream_load::run(&damage(bytes, &mut random)));
    }
}

#[test]
fn saved_streams_whose_counters_are_at_their_end() {
    for counter in [56..64, 64..72, 72..80, 80..88] {
        let mut bytes = stream_load::seed();
        bytes[counter].fill(0xff);
        stream_load::run(&bytes);
    }
}

#[test]
fn checkpoints() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    for bytes in corpus("checkpoint_load") {
        checkpoint_load::run(&bytes);
        (0..100).for_each(|_| checkpoint_load::run(&damage(&bytes, &mut random)));
    }
}
