//! When validation turns: the loss on data that are not trained on was lowest some time ago.

/// Validations in a row without another low after which it has turned. One or two are noise where the learning rate is
/// high.
pub const WORSE: u32 = 3;

/// The step and loss of the best of some validations, given in their order, if with the last one it has turned: exactly
/// [`WORSE`] of them in a row, and none before, are worse. So each best is told of once, also by a run that is resumed.
pub fn turned(validations: impl IntoIterator<Item = (u64, f64)>) -> Option<(u64, f64)> {
    let (mut best, mut worse, mut last) = (None, 0, None);
    for (step, loss) in validations {
        // A run that was over and is resumed validates its last step again.
        if last.replace(step) == Some(step) {
            continue;
        }
        match best {
            Some((_, low)) if loss > low => worse += 1,
            Some((_, low)) if loss == low => worse = 0,
            _ => (best, worse) = (Some((step, loss)), 0),
        }
    }
    best.filter(|_| worse == WORSE)
}

#[cfg(test)]
mod tests {
    use super::turned;

    /// At steps 10, 20, …
    fn of(losses: &[f64]) -> Option<(u64, f64)> {
        turned(losses.iter().zip(1u64..).map(|(&loss, i)| (10 * i, loss)))
    }

    #[test]
    fn it_has_turned_after_three_that_are_worse_and_that_is_told_once() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0, 2.0, 2.5, 2.1]), None, "two may be noise");
        assert_eq!(of(&[3.0, 2.0, 2.5, 2.1, 2.2]), Some((20, 2.0)));
        assert_eq!(of(&[3.0, 2.0, 2.5, 2.1, 2.2, 2.3]), None, "told already");
        assert_eq!(of(&[3.0, 2.0, 2.5, 2.0, 2.2, 2.3]), None, "as low again is not worse");
        assert_eq!(of(&[3.0, 2.0, 2.5, 2.1, 2.2, 1.0, 1.1, 1.2, 1.3]), Some((60, 1.0)), "another best");
        assert_eq!(of(&[1.0, 1.0, 1.0, 1.0, 1.0]), None);
    }

    #[test]
    fn the_same_step_again_says_nothing_new() {
        assert_eq!(turned([(1, 1.0), (2, 2.0), (3, 3.0), (3, 3.0), (3, 3.0)]), None);
        assert_eq!(turned([(1, 1.0), (2, 2.0), (3, 3.0), (3, 3.0), (4, 3.0)]), Some((1, 1.0)));
    }
}
