//! Choosing the arithmetic; what it computes is tested in the kernel.

use super::super::{Isa, isa_named, simd};

#[test]
fn sets_have_names_and_absent_ones_are_errors() {
    for isa in Isa::ALL {
        assert_eq!(isa_named(isa.name()).unwrap(), isa);
        assert_eq!(simd(isa).is_ok(), isa.available());
    }
    assert!(Isa::Portable.available() && Isa::best().available());
    assert!(isa_named("sse9").unwrap_err().to_string().contains("sse9"));
}
