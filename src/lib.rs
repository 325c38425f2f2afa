//! x
pub mod domain;
pub mod fault;
pub mod wire;
