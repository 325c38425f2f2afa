//! What becomes of an order of a load, as far as it is no report.

use serde::Deserialize;

use crate::domain::order_terms::OrderStatus;

/// The code of an order without a reply in time.
pub(super) const NO_ANSWER: &str = "no_answer";
/// The code of an order whose outcome is unknown.
pub(super) const UNKNOWN: &str = "unknown";

/// Checks that a report has a known outcome.
///
/// # Errors
/// [`UNKNOWN`] if it has not.
pub(super) fn check_outcome(report: &[u8]) -> Result<(), &'static str> {
    #[derive(Deserialize)]
    struct ReplyStatus {
        status: OrderStatus,
    }
    match serde_json::from_slice(report) {
        Ok(ReplyStatus { status }) if status != OrderStatus::Unknown => Ok(()),
        _ => Err(UNKNOWN),
    }
}
