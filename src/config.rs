//! Settings.
pub mod redis;
