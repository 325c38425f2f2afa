//! The targets of `cargo fuzz`. `tests/fuzz` runs the same checks on a stable toolchain.

pub mod checks;
