//! A known id: answered before any rule or deadline is looked at, and never sent again.

use std::time::Duration;

use crate::domain::id::{ContentHash, OrderId};
use crate::domain::intent::Intent;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::store::keys::OrderKey;
use crate::store::orders::record::{KnownOrder, RecordStage};
use crate::wire::report::ExecutionReport;
use crate::worker::journaling::append::SubmissionOutcome;
use crate::worker::journaling::current_report;
use crate::worker::router::Router;
use crate::worker::submission::claim::store_unavailable;

/// How often an order that is under way is looked at again.
pub const IN_FLIGHT_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// The longest a caller waits for another worker's order, whatever its own deadline.
pub const MAX_IN_FLIGHT_WAIT: Duration = Duration::from_secs(5);

/// Returns what is known of an id.
///
/// # Errors
/// When the store cannot be asked.
pub async fn find_known_order(router: &Router, key: &OrderKey) -> Result<Option<KnownOrder>, Fault> {
    let record = router
        .store
        .read_order(key)
        .await
        .map_err(|error| store_unavailable(&error))?;
    Ok(record.map(|record| record.known))
}

/// Answers an id that is known: with its report, or the problem it was denied with; a conflict for other content.
/// `None` when the order was released in the meantime, so that the id is free.
///
/// # Errors
/// The problem the order was denied with, or a conflict, or a journal that cannot be read.
pub async fn replay_outcome(
    router: &Router,
    intent: &Intent,
    known: KnownOrder,
    deadline: Timestamp,
) -> Result<Option<SubmissionOutcome>, Fault> {
    check_same_content(intent, &known.content_hash)?;
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
    // The id may have been freed and taken by other content while we waited.
    check_same_content(intent, &known.content_hash)?;
    let mut told = match current_report::current_report(router, &key).await {
        Ok(Some(told)) => told,
        Ok(None) => return Ok(None),
        Err(fault) => return unreadable_journal_outcome(router, intent, &known, fault),
    };
    if let Some(denial) = told.report.denial() {
        return Err(Fault {
            journal_sequence: told.journal_sequence,
            ..denial
        });
    }
    told.is_replay = true;
    Ok(Some(told))
}

fn check_same_content(intent: &Intent, content: &ContentHash) -> Result<(), Fault> {
    if intent.content_hash() == *content {
        return Ok(());
    }
    let detail = format!(
        "the client order id {} was used in account {} for another order; ids are single-use",
        intent.client_order_id, intent.account_id
    );
    Err(Fault::new(FaultCode::ClientOrderIdConflict, detail))
}

/// Waits until an order is no longer under way; `None` when it was released and nothing is known of it any more.
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
            Some(now) => known = now,
            None => return Ok(None),
        }
    }
    Ok(Some(known))
}

fn in_flight_receipt(router: &Router, intent: &Intent, order_id: &OrderId) -> SubmissionOutcome {
    let reason = Reason::new(ReasonCode::InFlight, "the order is under way; ask for it again");
    let report = ExecutionReport::receipt(intent, Some(order_id), router.control.mode(), reason);
    SubmissionOutcome {
        report,
        journal_sequence: None,
        is_replay: true,
    }
}

/// A journal that cannot be read leaves a receipt, but for a denial, of which it is known that nothing was sent.
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
        format!("the order is known: {}", fault.detail),
    );
    let report = ExecutionReport::receipt(intent, Some(&known.order_id), router.control.mode(), reason);
    Ok(Some(SubmissionOutcome {
        report,
        journal_sequence: None,
        is_replay: true,
    }))
}
