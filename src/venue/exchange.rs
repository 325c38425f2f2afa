//! The exchange: a deterministic machine. The same commands at the same times give the same state and the same effects.

mod cancellation;
mod commands;
pub mod effects;
mod filling;
mod matching;
mod placement;
mod prices;
mod queries;
mod quoting;
pub mod snapshot;
pub mod state;
mod stops;

#[cfg(test)]
mod exchange_tests;
#[cfg(test)]
mod property_tests;
