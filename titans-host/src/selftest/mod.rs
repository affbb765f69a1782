//! Does a device compute what it should? Every operation on two devices with the same numbers, and golden vectors.
//!
//! The reference is usually the CPU in `f64`. Numbers are chosen so that `f32` holds them exactly; what differs is the
//! arithmetic alone. Sizes are 1, primes and one off powers of two; [`real`] has those of models at work.

mod attention;
mod exact;
mod golden;
mod many;
mod memory;
mod operations;
mod real;
mod segments;
mod training;

pub use exact::exact_memories;
pub use golden::{golden, golden_in_pieces};
pub use memory::memories;
pub use operations::operations;
pub use real::{RealSizes, real};
pub use training::training;

use crate::device::Device;
use crate::error::Result;
use std::path::Path;
use titans_kernel::Scalar;

/// Largest error of one operation's outputs, relative to the largest value of each, for devices that compute in `f32`.
pub const TOLERANCE: f64 = 1e-5;

/// One comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The operation and the output, e.g. `conv_vjp d_w`.
    pub name: String,
    /// Largest difference, divided by the reference's largest absolute value; NaN where a number is not finite.
    pub error: f64,
    /// What is allowed.
    pub tolerance: f64,
    /// Why there is no number, when an operation failed.
    pub failure: Option<String>,
    /// Why nothing was compared, where this device cannot be asked.
    pub skipped: Option<String>,
}

impl Check {
    /// Within the tolerance?
    pub fn passed(&self) -> bool {
        self.failure.is_none() && self.error <= self.tolerance
    }

    /// What it belongs to: the name's first word, e.g. `conv`, `memory`, `golden`.
    pub fn group(&self) -> &str {
        self.name.split([' ', ',']).next().unwrap_or_default()
    }

    /// Compares what a device gave with what it should have.
    pub fn new(name: impl Into<String>, tolerance: f64, got: &[f64], want: &[f64]) -> Self {
        let largest = want.iter().fold(0.0f64, |a, x| a.max(x.abs()));
        let scale = if largest > 0.0 { largest } else { 1.0 };
        let finite = got.iter().chain(want).all(|x| x.is_finite());
        let worst = got.iter().zip(want).fold(0.0f64, |a, (g, w)| a.max((g - w).abs())) / scale;
        let failure = (got.len() != want.len()).then(|| format!("{} numbers instead of {}", got.len(), want.len()));
        let error = if finite { worst } else { f64::NAN };
        Self { name: name.into(), error, tolerance, failure, skipped: None }
    }

    /// One that is not made here, and why.
    fn skip(name: impl Into<String>, why: String) -> Self {
        Self { name: name.into(), error: 0.0, tolerance: 0.0, failure: None, skipped: Some(why) }
    }
}

/// Everything: [`operations`], [`memories`], [`exact_memories`], [`training`], and the [`golden`] vectors of a folder
/// (or the built-in ones), whole and [in pieces](golden_in_pieces).
///
/// # Errors
/// As [`golden`]; an operation that fails is a failed [`Check`], not an error.
pub fn all<D: Device, R: Device>(device: &D, reference: &R, vectors: Option<&Path>) -> Result<Vec<Check>> {
    let mut checks = operations(device, reference);
    checks.extend(memories(device, reference));
    checks.extend(exact_memories(device, reference, false));
    checks.extend(training(device, reference));
    checks.extend(golden(device, reference, vectors)?);
    checks.extend(golden_in_pieces(device, reference, vectors)?);
    Ok(checks)
}

/// Named outputs of an operation, as the host sees them.
type Outputs = Vec<(&'static str, Vec<f64>)>;

/// Adds one check an output, or one failure.
fn compare(checks: &mut Vec<Check>, name: &str, tolerance: f64, got: Result<Outputs>, want: Result<Outputs>) {
    match (got, want) {
        (Ok(got), Ok(want)) => {
            for ((output, got), (_, want)) in got.iter().zip(&want) {
                checks.push(Check::new(format!("{name} {output}"), tolerance, got, want));
            }
        }
        (got, want) => {
            let reason = [("device", got.err()), ("reference", want.err())];
            let reason: Vec<_> =
                reason.iter().filter_map(|(who, e)| e.as_ref().map(|e| format!("{who}: {e}"))).collect();
            let failure = Some(reason.join("; "));
            checks.push(Check { name: name.to_owned(), error: f64::NAN, tolerance, failure, skipped: None });
        }
    }
}

/// Numbers from a seed, uniform in [−1, 1] and exact in `f32` (SplitMix64).
struct NumberGenerator(u64);

impl NumberGenerator {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn uniform(&mut self) -> f64 {
        (self.next() >> 40) as f64 / f64::from(1u32 << 23) - 1.0
    }

    /// `n` numbers in `[middle − half, middle + half]`.
    fn around(&mut self, middle: f64, half: f64, n: usize) -> Vec<f64> {
        (0..n).map(|_| f64::from((middle + half * self.uniform()) as f32)).collect()
    }

    /// `n` numbers in [−1, 1].
    fn vec(&mut self, n: usize) -> Vec<f64> {
        self.around(0.0, 1.0, n)
    }

    /// `n` numbers in `0 .. below`.
    fn indices(&mut self, below: u32, n: usize) -> Vec<u32> {
        (0..n).map(|_| (self.next() % u64::from(below)) as u32).collect()
    }
}

/// Copies to a device.
fn put<D: Device>(device: &D, x: &[f64]) -> Result<D::Buffer> {
    device.upload(&x.iter().map(|&x| D::Elem::from_f64(x)).collect::<Vec<_>>())
}

/// Copies from a device.
fn get<D: Device>(device: &D, x: &D::Buffer) -> Result<Vec<f64>> {
    Ok(device.download(x)?.into_iter().map(Scalar::to_f64).collect())
}
