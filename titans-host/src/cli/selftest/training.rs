//! Ten training steps of a small model.

use super::{Check, tensor_error};
use crate::device::Device;
use crate::device::cpu::Cpu;
use crate::error::Result;
use crate::task::recall;
use crate::train::Trainer;

/// Losses drift apart slowly as the roundings of both devices pass through AdamW.
const ALLOWED: f64 = 1e-3;

/// The losses of ten steps from the same seed.
pub fn check<D: Device>(device: &D, reference: &Cpu<f64>) -> Check {
    let both = || Ok(tensor_error(&losses(reference)?, &losses(device)?));
    Check::new("ten training steps, losses", ALLOWED, both())
}

fn losses<D: Device>(device: &D) -> Result<Vec<f64>> {
    let mut config = recall::default_run(1)?;
    (config.model.width, config.model.head_width, config.model.feed_forward) = (32, 16, 64);
    let mut task = crate::task::open::<D>(&config)?;
    let mut trainer = Trainer::new(device, config, &mut *task)?;
    (0..10).map(|_| trainer.step(0.0).map(|report| report.loss)).collect()
}
