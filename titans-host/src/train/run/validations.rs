//! The validations of a run: those on the way, which choose the best checkpoint, and the thorough one at its end.

use super::{BEST, Interrupt, Progress, Record, Run, Validation};
use crate::device::Device;
use crate::error::Result;
use crate::train::turn;
use titans_kernel::Choice;

impl<D: Device> Run<'_, '_, D> {
    /// A validation that chooses the best checkpoint. All those of a run are of the same data, or their losses would
    /// not compare.
    pub(super) fn validate(&mut self, thorough: Option<&Interrupt>, progress: &mut dyn Progress) -> Result<Validation> {
        let validation = match thorough {
            Some(interrupt) => self.trainer.validate_until(true, interrupt)?,
            None => self.trainer.validate(false)?,
        };
        self.tell("validation", &validation, progress);
        let record = Record {
            thorough_validation: thorough.map(|_| validation.clone()),
            validation_loss: Some(validation.loss),
            validation_accuracy: validation.accuracy,
            ..self.record()
        };
        let seconds = record.seconds;
        self.metrics.push(record)?;
        if self.trainer.improves(validation.loss) {
            self.trainer.save(&self.folder.join(BEST), seconds)?;
        }
        self.save()?;
        self.tell_turned(validation.loss, progress);
        self.recent.pause(self.seconds());
        Ok(validation)
    }

    /// The thorough validation, which a request to stop ends. Where those on the way were cheap, one of these comes
    /// first and chooses.
    pub(super) fn validate_at_the_end(
        &mut self,
        interrupt: &Interrupt,
        progress: &mut dyn Progress,
    ) -> Result<Validation> {
        if self.trainer.config().train.validate_every == 0 {
            return self.validate(Some(interrupt), progress);
        }
        self.validate(None, progress)?;
        let whole = self.trainer.validate_until(true, interrupt)?;
        self.tell("thorough validation", &whole, progress);
        let (loss, thorough_validation) = (Some(whole.loss), Some(whole.clone()));
        self.metrics.push(Record { thorough_validation_loss: loss, thorough_validation, ..self.record() })?;
        Ok(whole)
    }

    /// A line of the metrics that says where the run is.
    fn record(&self) -> Record {
        let state = self.trainer.state();
        Record { step: state.step, seconds: self.seconds(), tokens: state.tokens, ..Record::default() }
    }

    fn tell(&self, what: &str, validation: &Validation, progress: &mut dyn Progress) {
        let (step, unit, loss) = (self.trainer.state().step, self.trainer.unit().name(), validation.loss);
        let accuracy = validation.accuracy.map_or(String::new(), |a| format!(", accuracy {:.1} %", 100.0 * a));
        progress.message(&format!("{what} at step {step}: loss {loss:.4} {unit}{accuracy}"));
    }

    /// Says that validation has turned, with the one that shows it.
    fn tell_turned(&self, loss: f64, progress: &mut dyn Progress) {
        let validations = self.metrics.records().iter().filter_map(|r| Some((r.step, r.validation_loss?)));
        if let Some((step, best)) = turn::turned(validations) {
            progress.message(&format!(
                "validation was best at step {step} ({best:.4} {}, now {loss:.4}); more training makes it worse: stop, more data, or \
                 dropout",
                self.trainer.unit().name()
            ));
        }
    }
}
