//! AArch64: NEON, which every processor of this kind has.

pub(super) mod neon;
