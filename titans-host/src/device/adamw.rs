//! What AdamW asks for.

/// One step of AdamW with decoupled weight decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled decay, times the learning rate; 0 for vectors and gates.
    pub weight_decay: f64,
    /// The gradient is multiplied by this first (global-norm clip, accumulation).
    pub gradient_scale: f64,
    /// This step's number, from 1, for the bias corrections.
    pub step: u64,
}

impl AdamW {
    /// Learning rate, and decay times it.
    pub(crate) fn rates(&self) -> [f64; 2] {
        [self.learning_rate, self.learning_rate * self.weight_decay]
    }

    /// What the first and the second moment are multiplied by: 1 / (1 − βⁿ) at step n.
    pub(crate) fn corrections(&self) -> [f64; 2] {
        let step = i32::try_from(self.step).unwrap_or(i32::MAX);
        [self.beta1, self.beta2].map(|beta| 1.0 / (1.0 - beta.powi(step)))
    }
}

/// A parameter, with what [`Device::adamw`](super::Device::adamw) asks for.
#[derive(Debug)]
pub struct Update<'a, B> {
    /// The constants.
    pub step: AdamW,
    /// The parameter's gradient.
    pub gradient: &'a B,
    /// The parameter.
    pub parameter: &'a mut B,
    /// Its first moment.
    pub moment1: &'a mut B,
    /// Its second moment.
    pub moment2: &'a mut B,
}
