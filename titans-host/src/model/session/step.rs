//! What a session says to the tokens it is given.

use crate::error::{Error, Result};
use titans_kernel::ops::cross_entropy;
use titans_kernel::{Mat, Portable, Scalar};

/// What the model says after one token.
#[derive(Clone, Debug, PartialEq)]
pub struct Step<T> {
    /// Logits of the next token, predicted numbers, or logits of the classes.
    pub logits: Vec<T>,
    /// The inner loss c ‖M(k_t) − v_t‖² of every block with memories, its heads one after another: `[blocks][heads]`;
    /// empty when the memory is absent.
    pub surprise: Vec<Vec<T>>,
}

impl<T: Scalar> Step<T> {
    /// −log softmax(logits)\[target\] in nats, with the bits of
    /// [`Device::cross_entropy`](crate::device::Device::cross_entropy).
    ///
    /// # Errors
    /// [`Error::Kernel`] for a target that is no logit.
    pub fn nats(&self, target: u32) -> Result<f64> {
        let mut loss = [T::ZERO];
        let logits = Mat::new(&self.logits, 1, self.logits.len())?;
        cross_entropy::forward(&Portable, logits, &[target], &mut loss)?;
        Ok(loss[0].to_f64())
    }

    /// log softmax of the logits, in nats.
    pub fn log_probabilities(&self) -> Vec<f64> {
        let top = self.logits.iter().fold(f64::NEG_INFINITY, |m, x| m.max(x.to_f64()));
        let sum: f64 = self.logits.iter().map(|x| (x.to_f64() - top).exp()).sum();
        self.logits.iter().map(|x| x.to_f64() - top - sum.ln()).collect()
    }
}

/// What became of the tokens of a push.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken<T> {
    /// One [`Step`] for each token that is in: all of them, or those before the one that was refused, which is number
    /// `steps.len()`.
    pub steps: Vec<Step<T>>,
    /// The position in the stream at which a token was refused, if one was.
    pub refused: Option<u64>,
}

impl<T> Taken<T> {
    /// The steps, where no token was refused.
    ///
    /// # Errors
    /// [`Error::Refused`].
    pub fn all(self) -> Result<Vec<Step<T>>> {
        match self.refused {
            None => Ok(self.steps),
            Some(position) => Err(Error::Refused { token: self.steps.len(), position }),
        }
    }
}
