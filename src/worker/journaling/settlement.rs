//! The settlement of what venues say, and the book the paper venues keep in the store through it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::brokers::adapter::{BookedEffect, Placement};
use crate::brokers::port::{BookError, PaperBook};
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::id::LeaseToken;
use crate::domain::metadata::Metadata;
use crate::domain::order::{ApplyReportError, Order, OrderUpdate};
use crate::domain::settlement::SumDeltas;
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{OutboxEntry, VenueReport};
use crate::store::keys::OrderKey;
use crate::store::orders::settle::{SettleOutcome, SettleRequest};
use crate::store::{Store, StoreError};
use crate::wire::journal_report::{build_settled_report, decode_journal_report};

use crate::worker::stop_point;

/// How often a settlement is sent again whose answer was lost; it is known by its id and booked once.
const MAX_SEND_ATTEMPTS: u32 = 5;
/// The pause before it is sent again.
const SEND_RETRY_DELAY: Duration = Duration::from_millis(100);

/// How often a venue's word is settled anew because the order changed or the store is being rebuilt.
const MAX_SETTLE_ATTEMPTS: usize = 20;
/// The pause before that.
const SETTLE_RETRY_DELAY: Duration = Duration::from_millis(250);

/// The paper venues' book: their orders' records in the store.
#[derive(Debug, Clone)]
pub struct StorePaperBook {
    store: Store,
    rates: Arc<CurrencyRates>,
}

impl StorePaperBook {
    /// Returns the book in a store, with what fees' currencies are worth.
    pub fn new(store: Store, rates: Arc<CurrencyRates>) -> Self {
        Self { store, rates }
    }
}

impl PaperBook for StorePaperBook {
    async fn book_placement(&self, placement: &Placement, report: VenueReport) -> Result<BookedEffect, BookError> {
        settle_placement(&self.store, &self.rates, placement, report, Some(placement.deadline)).await
    }

    async fn book_effect(&self, order: &Order, report: VenueReport) -> Result<BookedEffect, BookError> {
        settle_amendment(&self.store, &self.rates, order, report).await
    }
}

/// Settles a later effect of an order, if it is still at this version.
///
/// # Errors
/// Says whether nothing was booked, or may have been.
pub async fn settle_amendment(
    store: &Store,
    rates: &CurrencyRates,
    order: &Order,
    report: VenueReport,
) -> Result<BookedEffect, BookError> {
    let applied = apply_report(order, &report, rates)?;
    book_effect(
        store,
        applied,
        SumDeltas::default(),
        SettlementFence::default(),
        Metadata::new(),
    )
    .await
}

/// Settles what is said of an order in its venue's place, that nobody knows or that it was not placed: only for whoever
/// holds this lease on it.
///
/// # Errors
/// Says whether nothing was booked, or may have been.
pub async fn settle_with_lease(
    store: &Store,
    rates: &CurrencyRates,
    order: &Order,
    lease: &LeaseToken,
    report: VenueReport,
    readings: Metadata,
) -> Result<BookedEffect, BookError> {
    let applied = apply_report(order, &report, rates)?;
    let fence = SettlementFence {
        lease: Some(lease.clone()),
        deadline: None,
    };
    book_effect(store, applied, unjournaled_reservation(order), fence, readings).await
}

/// Settles a venue's own word: it counts whoever brings it, on the order as it stands by now. While the store is being
/// rebuilt it is tried again.
///
/// # Errors
/// Says whether nothing was booked, or may have been; the venue can be asked again.
pub async fn settle_venue_report(
    store: &Store,
    rates: &CurrencyRates,
    order: &Order,
    report: VenueReport,
    readings: Metadata,
) -> Result<BookedEffect, BookError> {
    let mut order = order.clone();
    let mut outcome = BookError::Unknown("other effects came first again and again".to_owned());
    for _ in 0..MAX_SETTLE_ATTEMPTS {
        let applied = apply_report(&order, &report, rates)?;
        let fence = SettlementFence::default();
        match book_effect(store, applied, unjournaled_reservation(&order), fence, readings.clone()).await {
            Err(BookError::Superseded(now)) => order = *now,
            Err(error @ (BookError::Unavailable(_) | BookError::OrderNotFound)) => {
                outcome = error;
                tokio::time::sleep(SETTLE_RETRY_DELAY).await;
            }
            settled => return settled,
        }
    }
    Err(outcome)
}

/// Returns what the journal's first event of an order tells beyond its own moves: what was reserved before it.
fn unjournaled_reservation(order: &Order) -> SumDeltas {
    if order.version == 0 {
        order.reservation_deltas()
    } else {
        SumDeltas::default()
    }
}

/// What an effect needs to be booked beyond the order's version.
#[derive(Debug, Default)]
struct SettlementFence {
    lease: Option<LeaseToken>,
    deadline: Option<Timestamp>,
}

/// Settles the first thing said of a claimed order, fenced by its lease and, where the settlement is the sending, by
/// its deadline.
///
/// # Errors
/// Says whether nothing was booked, or may have been.
pub async fn settle_placement(
    store: &Store,
    rates: &CurrencyRates,
    placement: &Placement,
    report: VenueReport,
    deadline: Option<Timestamp>,
) -> Result<BookedEffect, BookError> {
    let applied = apply_report(&placement.order, &report, rates)?;
    let fence = SettlementFence {
        lease: Some(placement.lease.clone()),
        deadline,
    };
    stop_point::reach("before_settle");
    let reserved = placement.order.reservation_deltas();
    let booked = book_effect(store, applied, reserved, fence, placement.readings.clone()).await;
    stop_point::reach("after_settle");
    booked
}

fn apply_report(order: &Order, report: &VenueReport, rates: &CurrencyRates) -> Result<OrderUpdate, BookError> {
    order
        .apply_report(report, rates, Timestamp::now())
        .map_err(|error| match error {
            ApplyReportError::NoChange => BookError::NothingNew,
            ApplyReportError::ExceedsExactRange | ApplyReportError::TooManyFills => {
                BookError::Unavailable(error.to_string())
            }
        })
}

/// Books an effect. The journal's first event of an order tells its moves from nothing: what was reserved before, and
/// what is settled now.
async fn book_effect(
    store: &Store,
    applied: OrderUpdate,
    reserved: SumDeltas,
    fence: SettlementFence,
    readings: Metadata,
) -> Result<BookedEffect, BookError> {
    let OrderUpdate {
        order,
        deltas,
        anomalies: notices,
    } = applied;
    let epoch = store
        .epoch()
        .ok_or_else(|| BookError::Unavailable("the shared state is being rebuilt".to_owned()))?;
    let told = reserved.checked_add(&deltas);
    let told = told.ok_or_else(|| BookError::Unavailable("its sums leave the exact range".to_owned()))?;
    let settlement_id = Uuid::now_v7();
    let body = Bytes::from(build_settled_report(&order, told, epoch, readings, Some(settlement_id)).encode());
    let settle = Arc::new(SettleRequest {
        order,
        deltas,
        event_document: body.clone(),
        lease: fence.lease,
        deadline: fence.deadline,
        settlement_id,
    });
    let mut pending = send_settlement(store, &settle).await?;
    pending.push(OutboxEntry {
        version: settle.order.version,
        body,
    });
    Ok(BookedEffect {
        order: Arc::unwrap_or_clone(settle).order,
        pending_events: pending,
        notices,
    })
}

/// Sends a settlement until its answer is known, a bounded number of times.
async fn send_settlement(store: &Store, settle: &Arc<SettleRequest>) -> Result<Vec<OutboxEntry>, BookError> {
    let mut may_be_booked = false;
    let mut reason = String::new();
    for attempt in 0..MAX_SEND_ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(SEND_RETRY_DELAY).await;
        }
        let error = match store.settle(Arc::clone(settle)).await {
            // An earlier try may have been booked in a store that has been rebuilt since.
            Ok(SettleOutcome::OrderNotFound | SettleOutcome::LeaseLost) if may_be_booked => {
                return Err(BookError::Unknown("the shared state was rebuilt meanwhile".to_owned()));
            }
            Ok(settled) => return booking_from_settled(store, settle, settled).await,
            Err(error) => error,
        };
        may_be_booked |= error.may_have_executed();
        reason = error.to_string();
        match error {
            StoreError::OutcomeUnknown(_) | StoreError::Corrupt(_) | StoreError::QueueFull => {}
            StoreError::NotExecuted(_) | StoreError::Stale(_) => break,
        }
    }
    if may_be_booked {
        Err(BookError::Unknown(reason))
    } else {
        Err(BookError::Unavailable(reason))
    }
}

async fn booking_from_settled(
    store: &Store,
    settle: &SettleRequest,
    settled: SettleOutcome,
) -> Result<Vec<OutboxEntry>, BookError> {
    match settled {
        SettleOutcome::Booked(pending) => Ok(pending),
        SettleOutcome::LeaseLost => Err(BookError::LeaseLost),
        SettleOutcome::DeadlinePassed => Err(BookError::DeadlinePassed),
        SettleOutcome::Halted => Err(BookError::Halted),
        SettleOutcome::OrderNotFound => Err(BookError::OrderNotFound),
        SettleOutcome::SumOutOfRange => Err(BookError::Unavailable(
            "a shared sum would leave the exact range".to_owned(),
        )),
        SettleOutcome::Superseded(document) => Err(load_superseding_order(store, settle, &document).await),
    }
}

/// Returns the order as another effect left it.
async fn load_superseding_order(store: &Store, settle: &SettleRequest, document: &[u8]) -> BookError {
    let order = match decode_journal_report(document) {
        Ok((order, _)) => return BookError::Superseded(Box::new(order)),
        Err(_) => &settle.order,
    };
    // Without a document it has ended and only the journal holds its report, or it changed while we looked.
    let key = OrderKey::of(order);
    match store.read_order(&key).await {
        Ok(Some(record)) if record.document.is_empty() => BookError::Ended,
        Ok(Some(record)) => match decode_journal_report(&record.document) {
            Ok((order, _)) => BookError::Superseded(Box::new(order)),
            Err(error) => BookError::Unavailable(error.to_string()),
        },
        Ok(None) => BookError::OrderNotFound,
        Err(error) => BookError::Unavailable(error.to_string()),
    }
}
