//! A known id: its current report is returned before any rule or deadline is evaluated, and nothing is sent again.

use std::time::Duration;

use crate::domain::content_hash::ContentDigest;
use crate::domain::id::OrderId;
use crate::domain::intent::Intent;
use crate::domain::order_key::OrderKey;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::store::orders::record::{KnownOrder, RecordStage};
use crate::wire::report::ExecutionReport;
use crate::worker::faults::store_unavailable;
use crate::worker::journaling::current_report;
use crate::worker::router::Router;
use crate::worker::submission::outcome::SubmissionOutcome;

/// How often an order in flight is read again.
pub const IN_FLIGHT_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The longest that a caller waits for another worker's order, whatever the caller's deadline.
pub const MAX_IN_FLIGHT_WAIT: Duration = Duration::from_secs(5);

/// Returns the order that has a key; `None` if the id is new.
///
/// # Errors
/// If the store does not reply.
pub async fn find_known_order(router: &Router, key: &OrderKey) -> Result<Option<KnownOrder>, Fault> {
    let record = router.store.read_order(key).await.map_err(store_unavailable)?;
    Ok(record.map(|record| record.known))
}

/// Returns a known id's outcome: its current report, or a receipt if there is none yet. Returns `None` if the order was
/// released in the meantime, so that the id is free.
///
/// # Errors
/// The problem that the order was denied with, a conflict for other content, or a journal that cannot be read.
pub async fn replay_outcome(
    router: &Router,
    intent: &Intent,
    known: KnownOrder,
    deadline: Timestamp,
) -> Result<Option<SubmissionOutcome>, Fault> {
    check_same_content(intent, known.content)?;
    let key = OrderKey::new(router.control.mode(), &intent.account_id, &intent.client_order_id);
    let Some(known) = wait_until_settled(router, &key, known, deadline).await? else {
        return Ok(None);
    };
    if known.stage == RecordStage::Released {
        return Ok(None);
    }
    if known.stage.is_in_flight() {
        return Ok(Some(in_flight_receipt(router, intent, &known.order_id)));
    }
    // The id may have been freed and taken by other content during the wait.
    check_same_content(intent, known.content)?;
    let mut outcome = match current_report::current_report(router, &key).await {
        Ok(Some(outcome)) => outcome,
        Ok(None) => return Ok(None),
        Err(fault) => return unreadable_journal_outcome(router, intent, &known, fault),
    };
    if let Some(denial) = outcome.report.denial() {
        return Err(Fault {
            journal_sequence: outcome.journal_sequence,
            ..denial
        });
    }
    outcome.is_replay = true;
    Ok(Some(outcome))
}

fn check_same_content(intent: &Intent, content: ContentDigest) -> Result<(), Fault> {
    if intent.content_hash().digest() == content {
        return Ok(());
    }
    let detail = format!(
        "the client order id {} was used in account {} for another order; use a new id",
        intent.client_order_id, intent.account_id
    );
    Err(Fault::new(FaultCode::ClientOrderIdConflict, detail))
}

/// Waits until an order is no longer in flight; returns `None` if its record is gone: it was released.
async fn wait_until_settled(
    router: &Router,
    key: &OrderKey,
    mut known: KnownOrder,
    deadline: Timestamp,
) -> Result<Option<KnownOrder>, Fault> {
    let end = deadline.min(Timestamp::now().saturating_add(MAX_IN_FLIGHT_WAIT));
    while known.stage.is_in_flight() && Timestamp::now() < end {
        tokio::time::sleep(IN_FLIGHT_POLL_INTERVAL).await;
        match find_known_order(router, key).await? {
            Some(current) => known = current,
            None => return Ok(None),
        }
    }
    Ok(Some(known))
}

fn in_flight_receipt(router: &Router, intent: &Intent, order_id: &OrderId) -> SubmissionOutcome {
    let reason = Reason::new(ReasonCode::InFlight, "the order is in flight; read it again");
    let report = ExecutionReport::receipt(intent, Some(order_id), router.control.mode(), reason);
    SubmissionOutcome {
        report,
        journal_sequence: None,
        is_replay: true,
    }
}

/// Returns a receipt for an order whose journaled report cannot be read. A denial returns the fault instead: it is
/// certain that nothing was sent.
fn unreadable_journal_outcome(
    router: &Router,
    intent: &Intent,
    known: &KnownOrder,
    fault: Fault,
) -> Result<Option<SubmissionOutcome>, Fault> {
    if known.stage == RecordStage::Denied {
        return Err(fault);
    }
    let reason = Reason::new(
        ReasonCode::NotJournaled,
        format!("the order is known, and its report cannot be read: {}", fault.detail),
    );
    let report = ExecutionReport::receipt(intent, Some(&known.order_id), router.control.mode(), reason);
    Ok(Some(SubmissionOutcome {
        report,
        journal_sequence: None,
        is_replay: true,
    }))
}
