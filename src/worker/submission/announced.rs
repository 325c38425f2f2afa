//! Orders whose submission is journaled: released with an event, or presumed unknown, never sent again.

use bytes::Bytes;

use crate::bus::journal::JournalEntry;
use crate::bus::subjects;
use crate::domain::id::LeaseToken;
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::replace::LegWord;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{DueAction, DueTask, VenueOrderState, VenueReport};
use crate::fault::{Fault, FaultCode};
use crate::store::orders::read::StoredOrder;
use crate::store::orders::submission::WithdrawalStage;
use crate::wire::journaled_submission::{build_submission_event, decode_submission};
use crate::wire::submission::RELEASED_EVENT_KIND;
use crate::worker::faults::{bus_unavailable, store_unavailable, unreadable_document};
use crate::worker::journaling::append;
use crate::worker::journaling::order_document::order_from_document;
use crate::worker::journaling::settlement;
use crate::worker::router::Router;

/// Returns the event that releases an order.
pub fn encode_release_event(order: &Order, lease: &LeaseToken, epoch: i64) -> Bytes {
    build_submission_event(order, lease, epoch, Metadata::new())
        .encode()
        .into()
}

/// Releases an announced order and journals the release. Returns whether this claim still held the order: if it did
/// not, the order may have been sent.
///
/// # Errors
/// If the release is not confirmed by store and journal.
pub async fn release_announced(
    router: &Router,
    order: &Order,
    lease: &LeaseToken,
    reached: WithdrawalStage,
) -> Result<bool, Fault> {
    let epoch = router.store.epoch().unwrap_or_default();
    let body = encode_release_event(order, lease, epoch);
    let withdrawn = router.store.withdraw_submission(order, lease, reached, &body).await;
    if !withdrawn.map_err(store_unavailable)? {
        return Ok(false);
    }
    journal_release(router, order, lease, body).await?;
    Ok(true)
}

async fn journal_release(router: &Router, order: &Order, lease: &LeaseToken, body: Bytes) -> Result<(), Fault> {
    let entry = JournalEntry {
        subject: subjects::event(RELEASED_EVENT_KIND, Some(&order.account_id)),
        message_id: format!("{}:{RELEASED_EVENT_KIND}:{}", order.order_id, lease.as_str()),
        body,
        headers: Vec::new(),
    };
    let appended = router.journal_writer.append(entry).await;
    let sequence = appended.map_err(|error| bus_unavailable(&error))?;
    let marked = router.store.mark_withdrawal_journaled(order, lease, sequence).await;
    marked.map_err(store_unavailable)
}

/// Journals a release that is in the outbox.
///
/// # Errors
/// If journal or store do not confirm it.
pub async fn append_waiting_release(router: &Router, record: &StoredOrder) -> Result<(), Fault> {
    let submission = decode_submission(&record.document).map_err(|error| unreadable_document(&error))?;
    journal_release(router, &submission.order, &submission.claim, record.document.clone()).await
}

/// Returns the report of an order that may have been sent: its outcome is unknown, and its venue is asked after the
/// first retry delay of the settings.
pub fn unknown_outcome_report(router: &Router, reason: &str) -> VenueReport {
    VenueReport {
        broker_order_id: None,
        fills: Vec::new(),
        state: VenueOrderState::Unknown(Reason::new(ReasonCode::OutcomeUnknown, reason)),
        cumulative_quantity: None,
        legs: LegWord::default(),
        due: Some(DueTask {
            at: Timestamp::now().saturating_add(router.inquiry_settings.first_retry_delay()),
            action: DueAction::Inquire,
        }),
    }
}

/// Settles an order as unknown whose sender's lease has expired: the order keeps all its reservations, and its venue is
/// asked.
///
/// # Errors
/// If the order cannot be read or settled; the caller tries it again.
pub async fn presume_outcome_unknown(router: &Router, record: &StoredOrder, lease: &LeaseToken) -> Result<(), Fault> {
    let order = order_from_document(&record.document)?;
    let report = unknown_outcome_report(
        router,
        "the worker that sent the order was lost before it settled the venue's reply",
    );
    let settled = settlement::settle_with_lease(&router.settler, &order, lease, report, Metadata::new()).await;
    let booked = settled.map_err(|error| Fault::new(FaultCode::StoreUnavailable, error.to_string()))?;
    tracing::warn!(
        order_id = %booked.order.order_id,
        "an order may have been sent and its outcome is unknown: its venue is asked"
    );
    let appended = append::append_booked_effect(router, &booked).await;
    appended.map(drop).map_err(|error| bus_unavailable(&error))
}
