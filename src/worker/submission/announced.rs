//! Orders that were announced to the journal: given back with an event, or taken for unknown, never sent again.

use bytes::Bytes;

use crate::brokers::adapter::Effects;
use crate::bus::journal::JournalEntry;
use crate::bus::subjects;
use crate::domain::id::{BrokerId, LeaseToken};
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{DueAction, DueTask, VenueOrderState, VenueReport};
use crate::fault::{Fault, FaultCode};
use crate::store::orders::read::StoredOrder;
use crate::store::orders::submission::WithdrawalStage;
use crate::wire::submission::{RELEASED_EVENT_KIND, SubmissionEvent, decode_submission};
use crate::worker::journaling::append;
use crate::worker::journaling::current_report;
use crate::worker::journaling::settlement;
use crate::worker::router::Router;

/// Whether what is sent to a broker outlives us. One that this worker does not know may be such a one.
pub fn places_at_venue(router: &Router, broker: &BrokerId) -> bool {
    let effects = router.brokers.get(broker).map(|handle| handle.capabilities().effects);
    effects != Some(Effects::InStore)
}

/// Returns the event that an order was given back.
pub fn encode_release_event(order: &Order, claim: &LeaseToken, epoch: i64) -> Bytes {
    SubmissionEvent::of(order, claim, epoch, Metadata::new())
        .encode()
        .into()
}

/// Gives back what an announced order holds, and journals that. Returns whether the order was this claim's to give back:
/// otherwise it may have been sent.
///
/// # Errors
/// When it is not known to be given back and on the journal.
pub async fn release_announced(
    router: &Router,
    order: &Order,
    claim: &LeaseToken,
    reached: WithdrawalStage,
) -> Result<bool, Fault> {
    let epoch = router.store.epoch().unwrap_or_default();
    let body = encode_release_event(order, claim, epoch);
    let withdrawn = router.store.withdraw_submission(order, claim, reached, &body).await;
    if !withdrawn.map_err(|error| crate::worker::submission::claim::store_unavailable(&error))? {
        return Ok(false);
    }
    journal_release(router, order, claim, body).await?;
    Ok(true)
}

async fn journal_release(router: &Router, order: &Order, claim: &LeaseToken, body: Bytes) -> Result<(), Fault> {
    let entry = JournalEntry {
        subject: subjects::event(RELEASED_EVENT_KIND, Some(&order.account_id)),
        message_id: format!("{}:{RELEASED_EVENT_KIND}:{}", order.order_id, claim.as_str()),
        body,
        headers: Vec::new(),
    };
    let appended = router.journal_writer.append(entry).await;
    let sequence = appended.map_err(|error| Fault::new(FaultCode::BusUnavailable, error.to_string()))?;
    let marked = router.store.mark_withdrawal_journaled(order, claim, sequence).await;
    marked.map_err(|error| crate::worker::submission::claim::store_unavailable(&error))
}

/// Brings a release that waits in the outbox to the journal.
///
/// # Errors
/// When journal or store do not take it.
pub async fn append_waiting_release(router: &Router, record: &StoredOrder) -> Result<(), Fault> {
    let submission = decode_submission(&record.document)
        .map_err(|error| Fault::new(FaultCode::StoreUnavailable, error.to_string()))?;
    journal_release(router, &submission.order, &submission.claim, record.document.clone()).await
}

/// Returns what is told of an order that may have been sent: nothing but that, and that its venue is asked about it.
pub fn unknown_outcome_report(router: &Router, reason: &str) -> VenueReport {
    VenueReport {
        broker_order_id: None,
        fills: Vec::new(),
        state: VenueOrderState::Unknown(Reason::new(ReasonCode::OutcomeUnknown, reason)),
        cumulative_quantity: None,
        due: Some(DueTask {
            at: Timestamp::now().saturating_add(router.inquiry_settings.first_retry_delay()),
            action: DueAction::Inquire,
        }),
    }
}

/// Takes an order for unknown whose sender has not told what became of it within its lease: it keeps everything it
/// reserves, and its venue is asked.
///
/// # Errors
/// When the order cannot be read or settled; it is tried again.
pub async fn presume_outcome_unknown(router: &Router, record: &StoredOrder, lease: &LeaseToken) -> Result<(), Fault> {
    let order = current_report::order_from_document(&record.document)?;
    let report = unknown_outcome_report(
        router,
        "the worker that sent it was lost before the venue's answer was settled",
    );
    let settled =
        settlement::settle_with_lease(&router.store, &router.rates, &order, lease, report, Metadata::new()).await;
    let booked = settled.map_err(|error| Fault::new(FaultCode::StoreUnavailable, error.to_string()))?;
    tracing::warn!(order_id = %booked.order.order_id, "an order may have been sent and nobody knows: its venue is asked");
    let recorded = append::append_booked_effect(router, &booked).await;
    recorded
        .map(drop)
        .map_err(|error| Fault::new(FaultCode::BusUnavailable, error.to_string()))
}
