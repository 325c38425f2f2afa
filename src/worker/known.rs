//! A known id: answered before any rule or deadline is looked at, and never sent again.

use std::time::Duration;

use super::claim::unavailable;
use super::lookup;
use super::recording::Told;
use super::router::Router;
use crate::domain::id::{ContentHash, OrderId};
use crate::domain::intent::Intent;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::time::Timestamp;
use crate::fault::{Code, Fault};
use crate::store::keys::OrderKey;
use crate::store::reserve::{KnownOrder, Stage};
use crate::wire::report::ExecutionReport;

/// How often an order that is under way is looked at again.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// The longest a caller waits for another worker's order, whatever its own deadline.
pub const MAX_WAIT: Duration = Duration::from_secs(5);

/// Returns what is known of an id.
///
/// # Errors
/// When the store cannot be asked.
pub async fn look(router: &Router, key: &OrderKey) -> Result<Option<KnownOrder>, Fault> {
    let record = router.store.read(key).await.map_err(|error| unavailable(&error))?;
    Ok(record.map(|record| record.known))
}

/// Answers an id that is known: with its report, or the problem it was denied with; a conflict for other content.
/// `None` when the order was released in the meantime, so that the id is free.
///
/// # Errors
/// The problem the order was denied with, or a conflict, or a journal that cannot be read.
pub async fn answer(
    router: &Router,
    intent: &Intent,
    known: KnownOrder,
    deadline: Timestamp,
) -> Result<Option<Told>, Fault> {
    same_content(intent, &known.content)?;
    let key = OrderKey::new(router.control.mode(), &intent.account_id, &intent.client_order_id);
    let Some(known) = settled(router, &key, known, deadline).await? else {
        return Ok(None);
    };
    if known.stage == Stage::Released {
        return Ok(None);
    }
    if known.stage.is_under_way() {
        return Ok(Some(in_flight(router, intent, &known.order_id)));
    }
    // The id may have been freed and taken by other content while we waited.
    same_content(intent, &known.content)?;
    let mut told = match lookup::report(router, &key).await {
        Ok(Some(told)) => told,
        Ok(None) => return Ok(None),
        Err(fault) => return not_readable(router, intent, &known, fault),
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

fn same_content(intent: &Intent, content: &ContentHash) -> Result<(), Fault> {
    if intent.content_hash() == *content {
        return Ok(());
    }
    let detail = format!(
        "the client order id {} was used in account {} for another order; ids are single-use",
        intent.client_order_id, intent.account_id
    );
    Err(Fault::new(Code::ClientOrderIdConflict, detail))
}

/// Waits until an order is no longer under way; `None` when it was released and nothing is known of it any more.
async fn settled(
    router: &Router,
    key: &OrderKey,
    mut known: KnownOrder,
    deadline: Timestamp,
) -> Result<Option<KnownOrder>, Fault> {
    let end = deadline.min(Timestamp::now().after(MAX_WAIT));
    while known.stage.is_under_way() && Timestamp::now() < end {
        tokio::time::sleep(LOOK_AGAIN).await;
        match look(router, key).await? {
            Some(now) => known = now,
            None => return Ok(None),
        }
    }
    Ok(Some(known))
}

fn in_flight(router: &Router, intent: &Intent, order_id: &OrderId) -> Told {
    let reason = Reason::new(ReasonCode::InFlight, "the order is under way; ask for it again");
    let report = ExecutionReport::receipt(intent, Some(order_id), router.control.mode(), reason);
    Told {
        report,
        journal_sequence: None,
        is_replay: true,
    }
}

/// A journal that cannot be read leaves a receipt, but for a denial, of which it is known that nothing was sent.
fn not_readable(router: &Router, intent: &Intent, known: &KnownOrder, fault: Fault) -> Result<Option<Told>, Fault> {
    if known.stage == Stage::Denied {
        return Err(fault);
    }
    let reason = Reason::new(
        ReasonCode::NotJournaled,
        format!("the order is known: {}", fault.detail),
    );
    let report = ExecutionReport::receipt(intent, Some(&known.order_id), router.control.mode(), reason);
    Ok(Some(Told {
        report,
        journal_sequence: None,
        is_replay: true,
    }))
}
