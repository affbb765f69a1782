//! titans
fn main() {}
