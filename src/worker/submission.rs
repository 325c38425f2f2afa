//! The submission pipeline: from the bytes of an intent to its reply.
//!
//! Read [`pipeline`] first. Its steps: [`admission`] parses and plans, [`claim`] evaluates the rules and reserves in
//! the store, [`send_gate`] journals a submission before its first byte leaves. [`announced`] handles orders whose
//! submission is journaled, [`not_sent`] and [`unknown_outcome`] the ends without an acknowledgement.
//! [`idempotent_replay`] replies to a known id.

pub mod admission;
pub mod announced;
pub mod claim;
pub mod claim_evaluation;
mod claim_in_store;
pub mod idempotent_replay;
pub(in crate::worker) mod measurement;
pub mod not_sent;
pub mod outcome;
pub mod pipeline;
pub mod send_gate;
pub mod unknown_outcome;
