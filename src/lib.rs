//! x
pub mod brokers;
pub mod config;
pub mod domain;
pub mod fault;
pub mod risk;
pub mod wire;
