//! What a new run does about data that it reads many times, where no option says it: it does not learn them by heart.
//! Figures are those of docs/RESULTS.md ("It does not overfit").

use super::ConfigArgs;
use crate::train::TrainConfig;

/// Read more often than that, a text is learned with dropout: with it 2,000 steps of tinyshakespeare, eight times
/// through it, end better; 600 steps, two and a half times, end worse.
const OFTEN: f64 = 4.0;

const DROPOUT: f64 = 0.1;

/// A run by the clock reads no more than that: tinyshakespeare is best known after eight or nine times, and after
/// eleven worse than after four. With dropout twelve times were no harm.
const PASSES: f64 = 8.0;
const PASSES_WITH_DROPOUT: f64 = 12.0;

impl ConfigArgs {
    /// Settles what a run of `steps` a pass through its data leaves open. Returns what is to be said of it.
    pub(in crate::cli::train) fn read_often(&self, train: &mut TrainConfig, steps: f64) -> Option<String> {
        if train.minutes.is_none() {
            let unsaid = self.dropout.is_none() && self.config.is_none() && train.dropout == 0.0;
            let passes = train.steps as f64 / steps;
            if !unsaid || passes <= OFTEN {
                return None;
            }
            train.dropout = DROPOUT;
            return Some(format!(
                "dropout {DROPOUT}: the run reads its data {passes:.0} times, and would learn them by heart; --dropout says otherwise"
            ));
        }
        if train.most_steps.is_some() {
            return None;
        }
        let passes = if train.dropout > 0.0 { PASSES_WITH_DROPOUT } else { PASSES };
        let most = (passes * steps).ceil().max(1.0) as u64;
        train.most_steps = Some(most);
        let more = match train.dropout > 0.0 {
            true => String::new(),
            false => format!("with --dropout {DROPOUT} it goes on to {PASSES_WITH_DROPOUT} times, and "),
        };
        Some(format!(
            "the run ends after {most} steps, {passes} times through its data, though time may be left: more would be \
             learned by heart; {more}--steps takes as many as it says"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        config: ConfigArgs,
    }

    fn settled(options: &[&str], train: TrainConfig) -> (TrainConfig, bool) {
        let words = ["titans"].iter().chain(options);
        let (mut train, command) = (train, Command::parse_from(words));
        let said = command.config.read_often(&mut train, 100.0).is_some();
        (train, said)
    }

    #[test]
    fn steps_that_read_a_text_often_take_dropout_unless_it_is_said() {
        let by = |steps| TrainConfig { steps, ..TrainConfig::default() };
        assert_eq!(settled(&[], by(400)), (by(400), false));
        assert_eq!(settled(&[], by(401)), (TrainConfig { dropout: 0.1, ..by(401) }, true));
        assert_eq!(settled(&["--dropout", "0"], by(401)), (by(401), false));
        let other = TrainConfig { dropout: 0.3, ..by(401) };
        assert_eq!(settled(&[], other.clone()), (other, false));
    }

    #[test]
    fn the_clock_reads_a_text_eight_times_and_with_dropout_twelve() {
        let by = |dropout| TrainConfig { minutes: Some(3.0), dropout, ..TrainConfig::default() };
        let ends = |dropout, most| (TrainConfig { most_steps: Some(most), ..by(dropout) }, true);
        assert_eq!(settled(&[], by(0.0)), ends(0.0, 800));
        assert_eq!(settled(&[], by(0.1)), ends(0.1, 1200));
        let said = TrainConfig { most_steps: Some(7), ..by(0.0) };
        assert_eq!(settled(&[], said.clone()), (said, false));
    }
}
