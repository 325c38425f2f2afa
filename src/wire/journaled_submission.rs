//! The order in a `SubmissionEvent`: into the event, and back from the journal.

use crate::domain::id::LeaseToken;
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::settlement::SumDeltas;
use crate::wire::journal_report::{JournalReportError, build_journal_report, restore_order};
use crate::wire::settlement::InvalidSettledQuantity;
use crate::wire::submission::SubmissionEvent;

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

/// Returns the event of a claimed order.
pub fn build_submission_event(order: &Order, claim: &LeaseToken, epoch: i64, figures: Metadata) -> SubmissionEvent {
    SubmissionEvent {
        claim: claim.as_str().to_owned(),
        order: build_journal_report(order, order.reservation_deltas(), epoch, figures),
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
    let report_json = event.order.encode();
    let (order, settlement) = restore_order(event.order)?;
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
        report_json,
    })
}
