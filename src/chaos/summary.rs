//! What a run did and found.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::chaos::venue_faults::VenueFaultCounts;
use crate::chaos::violation::ChaosViolation;

/// What a run did and found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ChaosSummary {
    /// The seed.
    pub seed: u64,
    /// The number of intents that were sent.
    pub intents: u64,
    /// The number of faults that were injected.
    pub faults: u64,
    /// The number of violations.
    pub violations: u64,
    /// The intents by what their callers got: `reported`, `denied`, `refused`, `nothing_sent` (every call got a 5xx or 429),
    /// `unknown` (a caller that gave up).
    pub intents_by_outcome: BTreeMap<&'static str, u64>,
    /// The calls that the callers made, repeated ones and cancels included.
    pub calls: u64,
    /// The calls without an answer in time.
    pub calls_without_answer: u64,
    /// The calls that were answered with a 5xx or 429.
    pub calls_to_retry: u64,
    /// The orders that count.
    pub orders: u64,
    /// The fills of these orders.
    pub fills: u64,
    /// The entries of the journal.
    pub journal_entries: u64,
    /// Orders on the journal behind another order of the same id: no consumer counts them.
    pub void_orders: u64,
    /// Effects on the journal behind another one of the same order and version: no consumer counts them.
    pub void_effects: u64,
    /// The replaces on the journal by what became of them.
    pub replaces_by_state: BTreeMap<&'static str, u64>,
    /// The faults by kind.
    pub faults_by_kind: BTreeMap<&'static str, u64>,
    /// What the local exchange did wrong; `None` without one.
    pub venue_faults: Option<VenueFaultCounts>,
    /// The longest time between two journaled answers to any caller, in milliseconds: how long intake stopped at most.
    pub longest_stop_ms: u64,
    /// How many bytes of commands the replicas lacked that were promoted.
    pub redis_bytes_lost: u64,
    /// How often a worker or the sidecar was started again because it ended while it started: a server was away.
    pub restarts: u64,
    /// The violations, at most 200.
    pub found: Vec<ChaosViolation>,
    /// How long intents were sent and faults were injected, in milliseconds.
    pub load_ms: u64,
    /// How long the whole run took, in milliseconds.
    pub elapsed_ms: u64,
}
