//! Attention against its definition, its differences, and what a row may not see.

mod case;
mod forward;
mod refusals;
mod vjp;
