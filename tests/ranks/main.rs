//! Several processes that train one model: the numbers in threads of this process, the processes under mpirun.

mod buckets;
mod circle;
mod launched;
#[cfg(unix)]
mod stops;
mod sums;
mod support;
mod torchrun;
mod training;
