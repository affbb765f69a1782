//! AdamW over a model's parameters, with a clip of the global gradient norm.

use crate::device::{AdamW, Device, Updates};
use crate::model::is_gate;
use crate::tape::{Gradients, Params};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

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
    /// By what the learning rate of the memories' gates is multiplied.
    pub gate_rate: f64,
    /// Largest global norm of the gradients; longer ones are scaled down to it. Infinite: never.
    pub clip: f64,
}

/// The moments of every parameter and the number of steps taken.
pub struct Optimiser<D: Device> {
    /// AdamW's constants.
    pub constants: Constants,
    /// First moments, one buffer a parameter, in their order.
    pub moment1: Vec<D::Buffer>,
    /// Second moments.
    pub moment2: Vec<D::Buffer>,
    /// Steps taken.
    pub steps: u64,
    /// The last step's constants, parameter by parameter: their space, so that a step takes none from the heap.
    of_each: Vec<AdamW>,
}

impl<D: Device> std::fmt::Debug for Optimiser<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Optimiser")
            .field("constants", &self.constants)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

impl<D: Device> Optimiser<D> {
    /// Zero moments for `params`.
    ///
    /// # Errors
    /// What the device reports.
    pub fn new(device: &D, constants: Constants, params: &Params<D>) -> Result<Self> {
        let zeros = || params.iter().map(|p| device.zeros(device.len(p.value))).collect::<Result<Vec<_>>>();
        Ok(Self { constants, moment1: zeros()?, moment2: zeros()?, steps: 0, of_each: Vec::new() })
    }

    /// One step of every parameter with its gradient. `norm` is the global norm of the same gradients.
    ///
    /// # Errors
    /// [`Error::Usage`] for other parameters than those it was made for; what the device reports.
    pub fn step(
        &mut self,
        device: &D,
        learning_rate: f64,
        norm: f64,
        gradients: &Gradients<D>,
        params: &mut Params<D>,
    ) -> Result<()> {
        if self.moment1.len() != params.len() {
            let (expected, found) = (self.moment1.len(), params.len());
            return Err(Error::usage(format!("optimiser: expected {expected} parameters, found {found}")));
        }
        let scale = if norm > self.constants.clip { self.constants.clip / norm } else { 1.0 };
        params.ids().try_for_each(|id| gradients.get(id).map(drop))?;
        self.begin(learning_rate, scale, params);
        device.adamw_all(self.updates(gradients, params))?;
        self.steps += 1;
        Ok(())
    }

    /// Finds what the next step does to each parameter, whose gradient is multiplied by `gradient_scale` first.
    pub(super) fn begin(&mut self, learning_rate: f64, gradient_scale: f64, params: &Params<D>) {
        let (c, number) = (self.constants, self.steps + 1);
        let step = |name: &str, decays: bool| AdamW {
            learning_rate: if is_gate(name) { c.gate_rate * learning_rate } else { learning_rate },
            beta1: c.beta1,
            beta2: c.beta2,
            epsilon: c.epsilon,
            weight_decay: if decays { c.weight_decay } else { 0.0 },
            gradient_scale,
            step: number,
        };
        self.of_each.clear();
        self.of_each.extend(params.iter().map(|p| step(p.name, p.decay)));
    }

    /// What the step that was begun does to each parameter.
    pub(super) fn constants_of_each(&self) -> &[AdamW] {
        &self.of_each
    }

    /// The same with what it reads and writes.
    pub(super) fn updates<'u>(
        &'u mut self,
        gradients: &'u Gradients<D>,
        params: &'u mut Params<D>,
    ) -> Updates<'u, D::Buffer> {
        Updates {
            steps: &self.of_each,
            gradients: gradients.as_slice(),
            parameters: params.values_mut(),
            moments1: &mut self.moment1,
            moments2: &mut self.moment2,
        }
    }
}
