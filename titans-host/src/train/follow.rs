//! Where several processes train one model: what they agree on before every step, and what those do that do not lead.

use super::interrupt::Interrupt;
use super::ranks::{leads, share};
use super::trainer::Trainer;
use crate::device::Device;
use crate::{Error, Result};

/// What all processes do next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Agreed {
    /// A step, which begins when the run has taken that many seconds by the leading process's clock.
    Step(f64),
    /// The run is at its end.
    End,
    /// Somebody asked one of them to stop.
    Stop,
}

/// Asked for, in a message; the signal's number comes on top.
const ASKED: u64 = 1 << 8;

impl<D: Device> Trainer<'_, D> {
    /// What comes next. The leading process says whether the run is `done` and how long it has taken, and a request to
    /// stop that any of them got is heard by all: `interrupt` has it then.
    ///
    /// # Errors
    /// As [`Collective::meet`](super::ranks::Collective::meet).
    pub fn agree(&self, done: bool, seconds: f64, interrupt: &Interrupt) -> Result<Agreed> {
        let ranks = self.ranks();
        let mine = if interrupt.requested() { ASKED | u64::from(interrupt.signal().unwrap_or_default()) } else { 0 };
        // The leading one may have saved or validated since the last step.
        ranks.meet()?;
        let said = share::counts(ranks, [mine, u64::from(done), seconds.to_bits()])?;
        let Some(&[_, done, seconds]) = said.first() else { return Ok(Agreed::End) };
        if done != 0 {
            return Ok(Agreed::End);
        }
        match said.iter().map(|&[asked, ..]| asked).find(|&asked| asked != 0) {
            None => Ok(Agreed::Step(f64::from_bits(seconds))),
            Some(asked) => {
                match u8::try_from(asked % ASKED) {
                    Ok(signal) if signal != 0 => drop(interrupt.receive(signal)),
                    _ => interrupt.raise(),
                }
                Ok(Agreed::Stop)
            }
        }
    }
}

/// The run as a process goes through it that does not lead: it takes the steps that the leading one takes in
/// [`train`](super::run::train), writes nothing and says nothing.
///
/// # Errors
/// What the task, the device and the other processes report. Where a loss or gradient is not finite all processes see
/// it, and it is for the leading one to tell.
pub fn follow<D: Device>(trainer: &mut Trainer<'_, D>, interrupt: &Interrupt) -> Result<()> {
    if leads(trainer.ranks()) {
        return Err(Error::usage("rank 0 leads the run: expected another process to follow it"));
    }
    while let Agreed::Step(seconds) = trainer.agree(false, 0.0, interrupt)? {
        match trainer.step(seconds) {
            Err(Error::NotFinite { .. }) => return Ok(()),
            stepped => stepped.map(drop)?,
        }
    }
    Ok(())
}
