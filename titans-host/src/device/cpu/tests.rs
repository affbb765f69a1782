//! Tests of the CPU device as a whole.
