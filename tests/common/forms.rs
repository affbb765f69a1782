//! The two forms beside one another, and gradients beside differences: of any memory, over random cases.

use crate::case::{Case, Output};
use crate::checks::{bits, close, difference, gradients};
use proptest::prelude::*;
use titans_kernel::memory::{Activation, Form};

/// Everything that a forward gives, but for the boundaries, to 1e-11.
pub fn agree(got: &Output<f64>, want: &Output<f64>) -> Result<(), TestCaseError> {
    close("y", &got.y, &want.y, 1e-11)?;
    close("surprise", &got.surprise, &want.surprise, 1e-11)?;
    close("state", &got.state, &want.state, 1e-11)?;
    prop_assert_eq!(got.clipped, want.clipped);
    Ok(())
}

/// Token form and chunk form are the same numbers.
pub fn both_forms(case: &Case) -> Result<(), TestCaseError> {
    let (token, chunk) = (case.run::<f64>(Form::Token), case.run::<f64>(Form::Chunk));
    agree(&chunk, &token)?;
    close("boundaries", &chunk.boundaries, &token.boundaries, 1e-11)
}

/// Gradients match finite differences. ReLU has no derivative at 0, and a clip none where it begins to bite: those are
/// tested apart.
pub fn differences(mut case: Case) -> Result<(), TestCaseError> {
    if case.spec.activation == Activation::Relu {
        case.spec.activation = Activation::Silu;
    }
    case.spec.clip = case.spec.clip.map(|_| 1e-3);
    case.mask = case.mask.map(|m| m.iter().map(|&m| u32::from(m == 0)).collect());
    for (which, d) in gradients(&case).iter().enumerate() {
        let n = d.len();
        for i in [0, n / 3, n / 2, n - 1] {
            let (got, want) = (d[i], difference(&case, which, i));
            let near = (got - want).abs() <= 1e-7 * (1.0 + want.abs());
            prop_assert!(near, "input {which}[{i}]: {got}, differences {want}");
        }
    }
    Ok(())
}

/// Gradients have the same bits however many boundaries are kept.
pub fn boundaries_change_no_bit(case: &Case, keep: usize) -> Result<(), TestCaseError> {
    let mut some = case.clone();
    some.spec.keep_every = keep;
    for (a, b) in gradients(case).iter().zip(&gradients(&some)) {
        prop_assert_eq!(bits(a), bits(b));
    }
    Ok(())
}
