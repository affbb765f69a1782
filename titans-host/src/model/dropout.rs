//! Dropout of what blocks add to the stream, in training alone.

use crate::data::{Purpose, rng};
use crate::device::{Device, DropMask};
use crate::error::{Error, Result};
use crate::tape::{Tape, Var};
use rand::Rng;

/// What a part of a training step drops. Its masks follow from the run's seed, the step, the part, the block, and which
/// of the block's additions it is: so a block that is computed again drops the same, and a resumed run as well. The
/// default drops nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dropout {
    share: f64,
    seed: u64,
    step: u64,
    part: u64,
    block: u64,
}

/// What a block adds to the stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Addition {
    Mixer,
    FeedForward,
    /// The mixer's first layer, where it has two; of which segment (0 where the mixer knows none).
    First(u64),
}

impl Addition {
    /// Its place among a block's three streams of random numbers, and in that stream.
    fn place(self) -> [u64; 2] {
        match self {
            Self::Mixer => [0, 0],
            Self::FeedForward => [1, 0],
            Self::First(segment) => [2, segment],
        }
    }
}

impl Dropout {
    /// Drops a `share` P of the numbers, 0 ≤ P < 1, and divides the others by 1 − P. 0 runs no operation.
    ///
    /// # Errors
    /// [`Error::Usage`] for another share.
    pub fn new(share: f64, seed: u64, step: u64, part: u64) -> Result<Self> {
        if !(0.0..1.0).contains(&share) {
            return Err(Error::usage(format!("dropout: expected 0 to below 1, found {share}")));
        }
        Ok(Self { share, seed, step, part, block: 0 })
    }

    /// The same of one block.
    pub(super) fn of_block(self, block: usize) -> Self {
        Self { block: block as u64, ..self }
    }

    /// Whether nothing is dropped.
    pub(super) fn is_none(&self) -> bool {
        self.share == 0.0
    }

    /// What is left of `y`, which the block is about to add.
    pub(super) fn apply<D: Device>(self, tape: &mut Tape<'_, D>, addition: Addition, y: Var<D>) -> Result<Var<D>> {
        if self.share == 0.0 {
            return Ok(y);
        }
        tape.dropout(self.mask(addition)?, &y)
    }

    /// The key is a number of a stream of random numbers that is this addition's own.
    fn mask(self, addition: Addition) -> Result<DropMask> {
        let mut rng = rng(self.seed, Purpose::Dropout, self.step, self.part);
        let [stream, place] = addition.place();
        rng.set_stream(self.block.wrapping_mul(3).wrapping_add(stream));
        rng.set_word_pos(2 * u128::from(place));
        Ok(DropMask::new(self.share, rng.next_u64())?)
    }
}

#[cfg(test)]
mod tests {
    use super::{Addition, Dropout};

    #[test]
    fn each_of_the_numbers_changes_the_mask() {
        let mask = |[seed, step, part, block]: [u64; 4], addition| {
            let dropout = Dropout::new(0.5, seed, step, part).unwrap().of_block(block as usize);
            dropout.mask(addition).unwrap()
        };
        let mut masks = vec![mask([1, 2, 3, 4], Addition::Mixer), mask([1, 2, 3, 4], Addition::FeedForward)];
        for i in 0..4 {
            let mut numbers = [1, 2, 3, 4];
            numbers[i] += 1;
            masks.extend([Addition::Mixer, Addition::FeedForward].map(|addition| mask(numbers, addition)));
        }
        masks.push(mask([2, 1, 3, 4], Addition::Mixer));
        masks.extend([0, 1, 2, 1 << 40].map(|segment| mask([1, 2, 3, 4], Addition::First(segment))));
        for (i, a) in masks.iter().enumerate() {
            assert_eq!(masks.iter().filter(|b| a == *b).count(), 1, "mask {i}");
        }
        assert_eq!(masks[0], mask([1, 2, 3, 4], Addition::Mixer));
        assert_ne!(mask([1, 2, 3, 1 << 40], Addition::Mixer), mask([1, 2, 3, 0], Addition::Mixer));
    }

    #[test]
    fn shares_outside_their_range_are_refused() {
        for share in [-0.1, 1.0, f64::NAN] {
            let error = Dropout::new(share, 0, 0, 0).unwrap_err().to_string();
            assert!(error.contains("dropout: expected 0 to below 1, found"), "{error}");
        }
        assert_eq!(Dropout::new(0.0, 0, 0, 0).unwrap(), Dropout::default());
    }
}
