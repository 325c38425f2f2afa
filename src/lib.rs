//! x
pub mod domain;
pub mod fault;
pub mod risk;
pub mod wire;
