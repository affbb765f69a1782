//! Tokens into the stream, and what becomes of one that it refuses.

use super::{Live, OnDivergence};
use crate::cli::output;
use crate::error::{Result, counted};
use crate::model::{Session, Step, Taken};
use std::ops::Range;

/// What the model said.
#[derive(Default)]
pub(super) struct FeedOutcome {
    /// After each token that is in: the stream's position behind it, and what was said.
    pub(super) steps: Vec<(u64, Step<f32>)>,
    /// The position at which a token was refused for good: it and those behind it are not in.
    pub(super) refused: Option<u64>,
}

impl FeedOutcome {
    fn add(&mut self, from: u64, steps: Vec<Step<f32>>) {
        self.steps.extend((from + 1..).zip(steps));
    }
}

impl Live<'_> {
    /// Feeds n tokens: `take` gives a range of them to a session. One that is refused ends it; or the memory begins
    /// anew before it, where that is asked for and helps.
    ///
    /// # Errors
    /// What the session reports; nothing is known of it then, and it is not saved any more.
    pub(super) fn feed(
        &mut self,
        n: usize,
        take: impl FnMut(&mut Session<f32>, Range<usize>) -> Result<Taken<f32>>,
    ) -> Result<FeedOutcome> {
        let fed = self.each_token(n, take);
        self.torn |= fed.is_err();
        fed
    }

    fn each_token(
        &mut self,
        n: usize,
        mut take: impl FnMut(&mut Session<f32>, Range<usize>) -> Result<Taken<f32>>,
    ) -> Result<FeedOutcome> {
        let mut fed = FeedOutcome::default();
        while fed.steps.len() < n {
            let (from, position) = (fed.steps.len(), self.session.position());
            let taken = take(&mut self.session, from..n)?;
            fed.add(position, taken.steps);
            if taken.refused.is_none() {
                break;
            }
            let bad = fed.steps.len();
            let anew = match self.args.on_divergence {
                OnDivergence::Stop => None,
                OnDivergence::Reset => {
                    let mut fresh = self.session.clone();
                    fresh.reset()?;
                    let first = take(&mut fresh, bad..bad + 1)?;
                    first.refused.is_none().then_some((fresh, first.steps))
                }
            };
            let Some((fresh, steps)) = anew else {
                fed.refused = taken.refused;
                break;
            };
            self.session = fresh;
            self.resets += 1;
            fed.add(0, steps);
        }
        Ok(fed)
    }

    /// What to tell of a token that was refused for good; `place` says where in the input it is.
    pub(super) fn refusal(&self, place: &str, position: u64) -> String {
        let advice = match self.args.on_divergence {
            OnDivergence::Stop => {
                "leave it out, let the memory begin anew there with --on-divergence reset, or train with a lower --theta-max"
            }
            OnDivergence::Reset => "a memory that begins anew refuses it too: leave it out",
        };
        format!(
            "{place} (token {position} of the stream) is refused: with it the memory, or what the model says, would not be finite; {}; \
             {advice}",
            self.kept()
        )
    }

    /// Says how often the memory began anew.
    pub(super) fn tell_resets(&self) {
        if self.resets > 0 {
            output::complain(&format!(
                "the memory began anew {}, before tokens that it would not have stayed finite with",
                counted(self.resets, "time")
            ));
        }
    }
}
