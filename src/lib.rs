//! x
pub mod bus;
pub mod config;
pub mod domain;
pub mod fault;
pub mod wire;
