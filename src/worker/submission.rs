//! Orders that were announced to the journal: given back with an event, or taken for unknown, never sent again.

use bytes::Bytes;

use super::book;
use super::lookup;
use super::recording;
use super::router::Router;
use crate::brokers::adapter::Effects;
use crate::bus::journal::Entry;
use crate::bus::subjects;
use crate::domain::execution::{Due, DueAction, VenueReport, VenueState};
use crate::domain::id::{BrokerId, LeaseToken};
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::time::Timestamp;
use crate::fault::{Code, Fault};
use crate::store::read::Record;
use crate::store::sending::Reached;
use crate::wire::submission::{RELEASED, SubmissionEvent, read_submission};

/// Whether what is sent to a broker outlives us. One that this worker does not know may be such a one.
pub fn outlives_us(router: &Router, broker: &BrokerId) -> bool {
    let effects = router.brokers.get(broker).map(|handle| handle.capabilities().effects);
    effects != Some(Effects::InStore)
}

/// Returns the event that an order was given back.
pub fn release_event(order: &Order, claim: &LeaseToken, epoch: i64) -> Bytes {
    SubmissionEvent::of(order, claim, epoch, Metadata::new())
        .encode()
        .into()
}

/// Gives back what an announced order holds, and journals that. Returns whether the order was this claim's to give back:
/// otherwise it may have been sent.
///
/// # Errors
/// When it is not known to be given back and on the journal.
pub async fn release(router: &Router, order: &Order, claim: &LeaseToken, reached: Reached) -> Result<bool, Fault> {
    let epoch = router.store.epoch().unwrap_or_default();
    let body = release_event(order, claim, epoch);
    let withdrawn = router.store.withdraw(order, claim, reached, &body).await;
    if !withdrawn.map_err(|error| super::claim::unavailable(&error))? {
        return Ok(false);
    }
    journal_release(router, order, claim, body).await?;
    Ok(true)
}

async fn journal_release(router: &Router, order: &Order, claim: &LeaseToken, body: Bytes) -> Result<(), Fault> {
    let entry = Entry {
        subject: subjects::event(RELEASED, Some(&order.account_id)),
        message_id: format!("{}:{RELEASED}:{}", order.order_id, claim.as_str()),
        body,
        headers: Vec::new(),
    };
    let appended = router.journal.append(entry).await;
    let sequence = appended.map_err(|error| Fault::new(Code::BusUnavailable, error.to_string()))?;
    let marked = router.store.mark_withdrawn(order, claim, sequence).await;
    marked.map_err(|error| super::claim::unavailable(&error))
}

/// Brings a release that waits in the outbox to the journal.
///
/// # Errors
/// When journal or store do not take it.
pub async fn bring_release(router: &Router, record: &Record) -> Result<(), Fault> {
    let submission =
        read_submission(&record.document).map_err(|error| Fault::new(Code::StoreUnavailable, error.to_string()))?;
    journal_release(router, &submission.order, &submission.claim, record.document.clone()).await
}

/// Returns what is told of an order that may have been sent: nothing but that, and that its venue is asked about it.
pub fn nobody_knows(router: &Router, why: &str) -> VenueReport {
    VenueReport {
        broker_order_id: None,
        fills: Vec::new(),
        state: VenueState::Unknown(Reason::new(ReasonCode::OutcomeUnknown, why)),
        cumulative_quantity: None,
        due: Some(Due {
            at: Timestamp::now().after(router.inquiry.first_pause()),
            action: DueAction::Inquire,
        }),
    }
}

/// Takes an order for unknown whose sender has not told what became of it within its lease: it keeps everything it
/// reserves, and its venue is asked.
///
/// # Errors
/// When the order cannot be read or settled; it is tried again.
pub async fn presume_unknown(router: &Router, record: &Record, lease: &LeaseToken) -> Result<(), Fault> {
    let order = lookup::order_of(&record.document)?;
    let report = nobody_knows(
        router,
        "the worker that sent it was lost before the venue's answer was settled",
    );
    let settled = book::settle_under(&router.store, &router.rates, &order, lease, report, Metadata::new()).await;
    let booked = settled.map_err(|error| Fault::new(Code::StoreUnavailable, error.to_string()))?;
    tracing::warn!(order_id = %booked.order.order_id, "an order may have been sent and nobody knows: its venue is asked");
    let recorded = recording::record_booked(router, &booked).await;
    recorded
        .map(drop)
        .map_err(|error| Fault::new(Code::BusUnavailable, error.to_string()))
}
