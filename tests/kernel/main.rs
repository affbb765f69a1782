//! The kernel's tests across its rooms, in one program: it is linked once.

#[path = "../common/case.rs"]
mod case;
#[path = "../common/checks.rs"]
mod checks;
#[path = "../common/forms.rs"]
mod forms;
#[path = "../common/golden.rs"]
mod vectors;

mod admitted;
mod adversary;
mod boundaries;
mod exact;
mod golden;
mod layer_gates;
mod memory;
mod model;
mod pieces;
mod range;
