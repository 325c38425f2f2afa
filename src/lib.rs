//! x
pub mod config;
pub mod domain;
pub mod fault;
pub mod risk;
pub mod store;
pub mod wire;
