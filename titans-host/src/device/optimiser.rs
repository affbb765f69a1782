//! A step of the optimiser: its constants, and what it reads and writes.

use titans_kernel::Result;
use titans_kernel::error::expect_len;

/// One step of AdamW with decoupled weight decay.
///
/// ```
/// use titans_host::device::{AdamW, Device, cpu::Cpu};
///
/// let cpu = Cpu::<f64>::new(Some(1))?;
/// let (learning_rate, beta1, beta2) = (0.1, 0.9, 0.99);
/// let step = AdamW { learning_rate, beta1, beta2, epsilon: 1e-8, weight_decay: 0.0, gradient_scale: 1.0, step: 1 };
/// let (gradient, mut parameter) = (cpu.upload(&[5.0, -0.01])?, cpu.upload(&[1.0, 1.0])?);
/// let (mut moment1, mut moment2) = (cpu.zeros(2)?, cpu.zeros(2)?);
/// cpu.adamw(&step, &gradient, &mut parameter, &mut moment1, &mut moment2)?;
/// let moved = cpu.download(&parameter)?;
/// assert!((moved[0] - 0.9).abs() < 1e-6 && (moved[1] - 1.1).abs() < 1e-6); // the first step: the rate, by sign
/// # Ok::<(), titans_host::Error>(())
/// ```
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

/// All parameters, with what [`Device::adamw_all`](super::Device::adamw_all) asks for: slices of one length, entry i of
/// parameter i.
#[derive(Debug)]
pub struct Updates<'a, B> {
    /// The constants, which differ in rates and decays only.
    pub steps: &'a [AdamW],
    /// Each parameter's gradient.
    pub gradients: &'a [B],
    /// The parameters.
    pub parameters: &'a mut [B],
    /// Their first moments.
    pub moments1: &'a mut [B],
    /// Their second moments.
    pub moments2: &'a mut [B],
}

/// A parameter with what its step asks for.
pub(super) struct Update<'a, B> {
    pub(super) step: &'a AdamW,
    pub(super) gradient: &'a B,
    pub(super) parameter: &'a mut B,
    pub(super) moment1: &'a mut B,
    pub(super) moment2: &'a mut B,
}

impl<'a, B> Updates<'a, B> {
    /// Parameter after parameter.
    ///
    /// # Errors
    /// [`Error::Shape`](titans_kernel::Error::Shape) for slices of several lengths.
    pub(super) fn each(self) -> Result<impl Iterator<Item = Update<'a, B>>> {
        let Self { steps, gradients, parameters, moments1, moments2 } = self;
        let lens = [
            ("steps of parameters", steps.len()),
            ("gradients of parameters", gradients.len()),
            ("first moments of parameters", moments1.len()),
            ("second moments of parameters", moments2.len()),
        ];
        lens.into_iter().try_for_each(|(what, found)| expect_len(what, parameters.len(), found))?;
        let moments = moments1.iter_mut().zip(moments2);
        Ok(steps.iter().zip(gradients).zip(parameters).zip(moments).map(
            |(((step, gradient), parameter), (moment1, moment2))| Update {
                step,
                gradient,
                parameter,
                moment1,
                moment2,
            },
        ))
    }
}
