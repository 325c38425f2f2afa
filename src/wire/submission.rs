//! The `SubmissionEvent`: the journal's record that an order is about to be sent to a venue outside the store, or that it
//! was not sent after all (law 2 in docs/architecture.md).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::id::LeaseToken;
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::settlement::SumDeltas;
use crate::wire::journal_report::{JournalReportError, build_journal_report, restore_order};
use crate::wire::report::ExecutionReport;
use crate::wire::settlement::InvalidSettledQuantity;

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

/// A submission decoded from its journal event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournaledSubmission {
    /// The order, as it was claimed.
    pub order: Order,
    /// The token of the lease that the order was claimed under.
    pub claim: LeaseToken,
    /// The order's reservations in the shared sums.
    pub deltas: SumDeltas,
    /// The epoch of the store that the order was claimed in.
    pub epoch: i64,
    /// The JSON of the order's report.
    pub report_json: Vec<u8>,
}

impl SubmissionEvent {
    /// Returns the event of a claimed order.
    pub fn of(order: &Order, claim: &LeaseToken, epoch: i64, figures: Metadata) -> Self {
        Self {
            claim: claim.as_str().to_owned(),
            order: build_journal_report(order, order.reservation_deltas(), epoch, figures),
        }
    }

    /// Returns the event's JSON.
    pub fn encode(&self) -> Vec<u8> {
        // Cannot fail: the event holds only strings and exact numbers.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Decodes a submission event of the journal.
///
/// # Errors
/// When the body is not a submission event, or a part of the order is missing or invalid.
pub fn decode_submission(body: &[u8]) -> Result<JournaledSubmission, JournalReportError> {
    let event: SubmissionEvent = serde_json::from_slice(body).map_err(|error| JournalReportError {
        order_id: "?".to_owned(),
        problem: error.to_string(),
    })?;
    let (order, settlement) = restore_order(&event.order)?;
    let deltas = settlement.deltas.try_into();
    let deltas = deltas.map_err(|error: InvalidSettledQuantity| JournalReportError {
        order_id: order.order_id.to_string(),
        problem: error.to_string(),
    })?;
    Ok(JournaledSubmission {
        order,
        claim: LeaseToken(event.claim.as_str().into()),
        deltas,
        epoch: settlement.epoch,
        report_json: event.order.encode(),
    })
}
