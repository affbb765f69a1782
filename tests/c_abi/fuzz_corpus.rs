//! The fuzz targets of the library over their corpus, their seeds, and a fixed set of damaged inputs, without a fuzzer.

#[path = "../../fuzz/src/blob_open.rs"]
mod blob_open;
#[path = "../../fuzz/src/calls.rs"]
mod calls;
#[path = "../../fuzz/src/configs.rs"]
mod configs;
#[path = "../common/corpus.rs"]
mod corpus;
#[path = "../../fuzz/src/cuts.rs"]
mod cuts;
#[path = "../../fuzz/src/memories.rs"]
mod memories;
#[path = "../../fuzz/src/state_load.rs"]
mod state_load;

use corpus::corpus;

/// Small numbers from a seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }
}

/// A few bytes changed, or a piece cut out.
fn damage(bytes: &[u8], dice: &mut Dice) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    if dice.below(4) == 0 {
        let (a, b) = (dice.below(bytes.len() + 1), dice.below(bytes.len() + 1));
        damaged.drain(a.min(b)..a.max(b));
    }
    for _ in 0..dice.below(4) {
        if !damaged.is_empty() {
            let at = dice.below(damaged.len());
            damaged[at] = [0, 1, 0x7f, 0x80, 0xff, dice.below(256) as u8][dice.below(6)];
        }
    }
    damaged
}

fn replay(target: &str, seeds: Vec<Vec<u8>>, times: usize, run: fn(&[u8])) {
    let mut dice = Dice(7);
    for bytes in corpus(target).iter().chain(&seeds) {
        run(bytes);
    }
    for bytes in &seeds {
        (0..times).for_each(|_| run(&damage(bytes, &mut dice)));
    }
}

#[test]
fn blobs() {
    replay("blob_open", blob_open::seeds(), 1000, blob_open::run);
}

#[test]
fn states() {
    replay("state_load", state_load::seeds(), 400, state_load::run);
}

#[test]
fn configurations() {
    replay("configs", configs::seeds(), 1000, configs::run);
}

#[test]
fn sequences_of_calls() {
    replay("calls", calls::seeds(), 200, calls::run);
}

#[test]
fn sequences_of_calls_of_memories() {
    replay("memories", memories::seeds(), 200, memories::run);
}

#[test]
fn pushes_and_steps() {
    replay("cuts", cuts::seeds(), 100, cuts::run);
}
