//! AdamW over a list of parameters, with a clip of the global gradient norm.

use crate::Result;
use crate::device::{AdamW, Device};
use serde::{Deserialize, Serialize};
use titans_kernel::Scalar;

/// The constants of AdamW. The learning rate comes from the schedule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constants {
    /// Decay of the first moment, 0 to 1.
    pub beta1: f64,
    /// Decay of the second moment, 0 to 1.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Decoupled decay of the parameters that decay, times the learning rate.
    pub weight_decay: f64,
    /// Largest global norm of the gradients; longer ones are scaled down to it. `None` never clips.
    pub clip: Option<f64>,
}

/// The moments of every parameter and the number of steps taken.
#[derive(Debug)]
pub struct Optimiser<D: Device> {
    /// AdamW's constants.
    pub constants: Constants,
    /// First moments, one buffer a parameter.
    pub moment1: Vec<D::Buffer>,
    /// Second moments.
    pub moment2: Vec<D::Buffer>,
    /// Steps taken.
    pub steps: u64,
}

impl<D: Device> Optimiser<D> {
    /// Zero moments for parameters of the given lengths.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(device: &D, constants: Constants, parameters: &[D::Buffer]) -> Result<Self> {
        let zeros = || parameters.iter().map(|p| device.zeros(device.len(p))).collect::<Result<Vec<_>>>();
        Ok(Self { constants, moment1: zeros()?, moment2: zeros()?, steps: 0 })
    }

    /// √ Σ g² over all gradients. Not finite if any gradient is not.
    ///
    /// # Errors
    /// What the device reports.
    pub fn global_norm(device: &D, gradients: &[D::Buffer]) -> Result<f64> {
        let mut total = device.zeros(1)?;
        for gradient in gradients {
            device.sum_squares(gradient, &mut total)?;
        }
        Ok(device.download(&total)?.first().map_or(0.0, |x| x.to_f64()).sqrt())
    }

    /// One step of every parameter with its gradient. `norm` is [`Optimiser::global_norm`] of the same gradients;
    /// `decays[i]` says whether parameter i has weight decay.
    ///
    /// # Errors
    /// What the device reports, e.g. lists of different sizes.
    pub fn step(
        &mut self,
        device: &D,
        learning_rate: f64,
        norm: f64,
        decays: &[bool],
        gradients: &[D::Buffer],
        parameters: &mut [D::Buffer],
    ) -> Result<()> {
        let c = self.constants;
        let gradient_scale = match c.clip {
            Some(clip) if norm > clip => clip / norm,
            _ => 1.0,
        };
        self.steps += 1;
        let moments = self.moment1.iter_mut().zip(&mut self.moment2);
        for (((parameter, gradient), (m, v)), &decay) in parameters.iter_mut().zip(gradients).zip(moments).zip(decays) {
            let weight_decay = if decay { c.weight_decay } else { 0.0 };
            let step = AdamW {
                learning_rate,
                beta1: c.beta1,
                beta2: c.beta2,
                epsilon: c.epsilon,
                weight_decay,
                gradient_scale,
                step: self.steps,
            };
            device.adamw(&step, gradient, parameter, m, v)?;
        }
        Ok(())
    }
}
