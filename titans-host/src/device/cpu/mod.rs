//! The CPU: the kernel's operations scheduled over a pool of threads.
pub mod gemm;
