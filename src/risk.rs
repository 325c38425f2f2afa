//! The risk engine: pure rules, their order, and the decision. It needs no servers.
//!
//! [`evaluate`] runs every rule in its order. A rule answers in two ways: with a signal, where the intent alone is enough
//! to decide, or with a cap on a shared sum, which the store compares and reserves in one step for all workers.
//! [`Evaluation::decide`] combines both. It keeps every signal; the first lock in the order of the rules is the outcome.
//! Only it creates an [`Approved`] order, and brokers accept nothing else. An order that takes effect in the very step that
//! compares its caps is [`ApprovedUnderCaps`].
//!
//! A **reduction** is an order that moves a position towards zero, whatever else fills first: the sum of its quantity and
//! the short exposure (for a sell) or the long exposure (for a buy) is at most zero. The store evaluates this in the same
//! step. Rules that only stop openings let reductions pass (law 8 in docs/architecture.md).

pub mod alerts;
pub mod approved;
pub mod cap;
pub mod decision;
pub mod evaluation;
pub mod limits;
pub mod rule_input;
pub mod rules;

pub use crate::risk::approved::{Approved, ApprovedUnderCaps};
pub use crate::risk::cap::{Cap, CapBound, CapMeasure, CapReading, CapReadings};
pub use crate::risk::decision::RiskDecision;
pub use crate::risk::evaluation::{Admissibility, Evaluation};
pub use crate::risk::limits::RiskLimits;
pub use crate::risk::rule_input::RuleInput;
pub use crate::risk::rules::{evaluate, rule_ids};

#[cfg(test)]
#[path = "risk/rules_tests.rs"]
mod tests;
