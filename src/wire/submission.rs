//! The journal's record of an order on its way to a venue that outlives us: that it is about to be sent, and that it was
//! not sent after all.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::id::LeaseToken;
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::settlement::SumDeltas;
use crate::wire::report::ExecutionReport;
use crate::wire::settlement::{JournalReportError, build_journal_report, restore_order};

/// The kind of the event that an order is about to be sent (`orders.events.submitting.{account}`).
pub const SUBMITTING_EVENT_KIND: &str = "submitting";
/// The kind of the event that it was not sent (`orders.events.released.{account}`).
pub const RELEASED_EVENT_KIND: &str = "released";

/// An order before its first report: what it holds, and by which claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SubmissionEvent {
    /// The claim it is sent under. A release undoes the submission of the same claim, and no other.
    pub claim: String,
    /// The order, of which nothing has been told yet (`version` 0), with what it reserves.
    pub order: ExecutionReport,
}

/// A submission as it was read from the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournaledSubmission {
    /// The order as it was claimed.
    pub order: Order,
    /// The claim.
    pub claim: LeaseToken,
    /// What it reserves.
    pub deltas: SumDeltas,
    /// The store's epoch it was claimed in.
    pub epoch: i64,
    /// The order's own document.
    pub report_json: Vec<u8>,
}

impl SubmissionEvent {
    /// Returns the event of a claimed order.
    pub fn of(order: &Order, claim: &LeaseToken, epoch: i64, readings: Metadata) -> Self {
        Self {
            claim: claim.as_str().to_owned(),
            order: build_journal_report(order, order.reservation_deltas(), epoch, readings),
        }
    }

    /// Returns the event's JSON.
    pub fn encode(&self) -> Vec<u8> {
        // Strings and exact numbers only: there is nothing in it that JSON cannot hold.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Reads a submission.
///
/// # Errors
/// When the document is not whole.
pub fn decode_submission(body: &[u8]) -> Result<JournaledSubmission, JournalReportError> {
    let event: SubmissionEvent = serde_json::from_slice(body).map_err(|error| JournalReportError {
        order_id: "?".to_owned(),
        what: error.to_string(),
    })?;
    let (order, settlement) = restore_order(&event.order)?;
    Ok(JournaledSubmission {
        order,
        claim: LeaseToken(event.claim.as_str().into()),
        deltas: settlement.deltas.into(),
        epoch: settlement.epoch,
        report_json: event.order.encode(),
    })
}
