//! Models of equal size.

use crate::error::{Error, Result};
use crate::model::ModelConfig;

/// Gives a model the feed-forward with which its parameters come closest to `target`. Returns how many it has then.
///
/// # Errors
/// [`Error::Usage`] when no width of the feed-forward brings it within `tolerance`, a share of the target; as
/// [`ModelConfig::parameters`].
pub fn match_size(model: &mut ModelConfig, target: usize, tolerance: f64) -> Result<usize> {
    let of = |feed_forward: usize| ModelConfig { feed_forward, ..model.clone() }.parameters();
    // Every unit of it has as many parameters.
    let (least, second) = (of(1)?, of(2)?);
    let each = second.saturating_sub(least).max(1);
    let feed_forward = 1 + (target.saturating_sub(least) + each / 2) / each;
    let found = of(feed_forward)?;
    if found.abs_diff(target) as f64 > tolerance * target as f64 {
        return Err(Error::usage(format!(
            "expected a model of {target} parameters within {:.2} %, found {found} with the feed-forward that comes closest, {feed_forward}, in \
             steps of {each} above {least}; set parameters, or a larger tolerance",
            100.0 * tolerance
        )));
    }
    model.feed_forward = feed_forward;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::match_size;
    use crate::model::{Kind, Kinds, ModelConfig};

    #[test]
    fn models_of_every_kind_and_depth_come_to_one_size() {
        let target = 1_300_000;
        for kind in [Kind::Lmm, Kind::Mac, Kind::Mag, Kind::Mal, Kind::Attention] {
            for layers in 1..=4 {
                let mut model = ModelConfig { block: Kinds::All(kind), persistent: 4, ..ModelConfig::default() };
                model.set_layers(layers);
                let before = model.clone();
                let found = match_size(&mut model, target, 0.001).unwrap();
                assert_eq!(found, model.parameters().unwrap());
                assert!(found.abs_diff(target) as f64 <= 0.001 * target as f64, "{kind:?} {layers}: {found} {target}");
                assert_eq!(ModelConfig { feed_forward: before.feed_forward, ..model }, before, "nothing else changes");
            }
        }
    }

    #[test]
    fn sizes_that_no_feed_forward_reaches_are_refused() {
        let mut model = ModelConfig::default();
        let least = ModelConfig { feed_forward: 1, ..ModelConfig::default() }.parameters().unwrap();
        for target in [1, least / 2] {
            let error = match_size(&mut model, target, 0.01).unwrap_err().to_string();
            assert!(error.contains(&target.to_string()) && error.contains("1.00 %"), "{error}");
        }
        assert_eq!(match_size(&mut model, least, 0.0).unwrap(), least);
        assert_eq!(model.feed_forward, 1);
        assert!(match_size(&mut model, least + 1, 0.0).is_err(), "no whole width gives it");
        assert!(match_size(&mut model, usize::MAX, 0.01).is_err());
    }
}
