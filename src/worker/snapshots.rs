//! Snapshots of the shared state: made by folding the journal onto the one before, never from Redis, and read by a rebuild
//! from nothing.

pub mod failure;
pub(in crate::worker) mod make;
pub(in crate::worker) mod read;
pub mod tools;
