//! The submission pipeline: from the bytes of an intent to its reply.
//!
//! Read [`pipeline`] first. Its steps: [`admission`] parses and plans, [`claim`] evaluates the rules and reserves in the
//! store, [`send_gate`] journals a submission before its first byte leaves, [`announced`] handles orders whose submission is
//! journaled. A known id is answered by [`idempotent_replay`].

pub mod admission;
pub mod announced;
pub mod claim;
pub mod idempotent_replay;
pub(in crate::worker) mod measurement;
pub mod pipeline;
pub mod send_gate;
