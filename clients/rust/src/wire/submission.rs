//! The `SubmissionEvent`: the journal's record that an order is about to be sent to a venue outside the store, or that it
//! was not sent after all (law 2 in docs/architecture.md).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wire::report::ExecutionReport;

/// The kind of the event of an order that is about to be sent (`orders.events.submitting.{account}`).
pub const SUBMITTING_EVENT_KIND: &str = "submitting";
/// The kind of the event of an order that was not sent (`orders.events.released.{account}`).
pub const RELEASED_EVENT_KIND: &str = "released";

/// An order before its first report: about to be sent, or not sent after all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubmissionEvent {
    /// The token of the lease that the order is sent under. A `released` event undoes the `submitting` event of the same
    /// claim, and no other.
    pub claim: String,
    /// The order before its first report (`version` 0), with its reservations in the settlement.
    pub order: ExecutionReport,
}

impl SubmissionEvent {
    /// Returns the event's JSON.
    pub fn encode(&self) -> Vec<u8> {
        // Cannot fail: the event holds only strings and exact numbers.
        serde_json::to_vec(self).unwrap_or_default()
    }
}
