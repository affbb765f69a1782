//! Options of the forecasting task.

use super::places::set;
use crate::cli::options::{count, expect_once, named, size};
use crate::cli::output;
use crate::error::Result;
use crate::model::{ModelConfig, Shortcut};
use crate::task::forecast::{Channels, ForecastConfig, Normalise};

/// What is forecast, from what, and how a file is shared out.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Forecast")]
pub struct ForecastArgs {
    /// Rows ahead that are measured, each number once; the model forecasts the most of them, and the errors of the
    /// least stand at the top [default: 96]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = size)]
    horizon: Vec<usize>,
    /// Rows that a token sees; a forecast has seen this look-back and --context − 1 times --patch rows before it
    /// [default: 336]
    #[arg(long, value_name = "N", value_parser = size)]
    lookback: Option<usize>,
    /// Columns that are forecast, by name, or all [default: all]
    #[arg(long, value_name = "COLUMN,…", value_delimiter = ',')]
    target: Vec<String>,
    /// What is taken away from a look-back and put back into its forecast: instance (mean and deviation), mean, last or
    /// none [default: instance]
    #[arg(long, value_name = "NAME", value_parser = named::<Normalise>())]
    normalise: Option<Normalise>,
    /// Every column as a series of its own, with shared weights (independent), or all side by side in a token (mixed)
    /// [default: independent]
    #[arg(long, value_name = "NAME", value_parser = named::<Channels>())]
    channels: Option<Channels>,
    /// Rows after which the seasonal baseline repeats itself; 0: a day, week or year of the file's dates, without dates
    /// the number that fits the training rows best [default: 0]
    #[arg(long, value_name = "N", value_parser = count)]
    season: Option<usize>,
    /// A linear map from look-back to forecast past all blocks: fixed as least squares give it, learned from there on,
    /// or none [default: fixed]
    #[arg(long, value_name = "NAME", value_parser = named::<Shortcut>())]
    shortcut: Option<Shortcut>,
}

impl ForecastArgs {
    /// The first option that is given, by name.
    pub fn given(&self) -> Option<&'static str> {
        let options = [
            ("--horizon", !self.horizon.is_empty()),
            ("--lookback", self.lookback.is_some()),
            ("--target", !self.target.is_empty()),
            ("--normalise", self.normalise.is_some()),
            ("--channels", self.channels.is_some()),
            ("--season", self.season.is_some()),
            ("--shortcut", self.shortcut.is_some()),
        ];
        options.into_iter().find(|(_, given)| *given).map(|(name, _)| name)
    }

    /// Puts the options into the task.
    ///
    /// # Errors
    /// A horizon or a column that is named twice.
    pub fn change(&self, c: &mut ForecastConfig) -> Result<()> {
        expect_once("--horizon", &self.horizon)?;
        expect_once("--target", &self.target)?;
        if !self.horizon.is_empty() {
            let mut horizons = self.horizon.clone();
            horizons.sort_unstable();
            // The options are put in more than once, and told once.
            if horizons != self.horizon && horizons != c.horizons {
                let least = horizons[0];
                output::complain(&format!(
                    "--horizon: taken from the least on: the scores of {least} stand at the top"
                ));
            }
            c.horizons = horizons;
        }
        set(&mut c.lookback, self.lookback);
        if !self.target.is_empty() {
            c.target = if self.target == ["all"] { Vec::new() } else { self.target.clone() };
        }
        set(&mut c.normalise, self.normalise);
        set(&mut c.channels, self.channels);
        set(&mut c.season, self.season);
        Ok(())
    }

    /// Puts the rest into the model.
    pub fn change_model(&self, model: &mut ModelConfig) {
        set(&mut model.shortcut, self.shortcut);
    }
}
