//! The settlement of what venues say, and the book the paper venues keep in the store through it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use crate::brokers::adapter::{Booked, Placement};
use crate::brokers::port::{BookError, PaperBook};
use crate::domain::execution::{PendingEvent, VenueReport};
use crate::domain::id::LeaseToken;
use crate::domain::metadata::Metadata;
use crate::domain::order::{Applied, ApplyError, Order};
use crate::domain::rates::Rates;
use crate::domain::settlement::Deltas;
use crate::domain::time::Timestamp;
use crate::store::keys::OrderKey;
use crate::store::settle::{Settle, Settled};
use crate::store::{Store, StoreError};
use crate::wire::settlement::{read_document, settled_document};

use super::stop_point;

/// How often a settlement is sent again whose answer was lost; it is known by its id and booked once.
const MAX_ATTEMPTS: u32 = 5;
/// The pause before it is sent again.
const PAUSE: Duration = Duration::from_millis(100);

/// How often a venue's word is settled anew because the order changed or the store is being rebuilt.
const MAX_WORDS: usize = 20;
/// The pause before that.
const WORD_PAUSE: Duration = Duration::from_millis(250);

/// The paper venues' book: their orders' records in the store.
#[derive(Debug, Clone)]
pub struct StoreBook {
    store: Store,
    rates: Arc<Rates>,
}

impl StoreBook {
    /// Returns the book in a store, with what fees' currencies are worth.
    pub fn new(store: Store, rates: Arc<Rates>) -> Self {
        Self { store, rates }
    }
}

impl PaperBook for StoreBook {
    async fn place(&self, placement: &Placement, report: VenueReport) -> Result<Booked, BookError> {
        settle_placement(&self.store, &self.rates, placement, report, Some(placement.deadline)).await
    }

    async fn amend(&self, order: &Order, report: VenueReport) -> Result<Booked, BookError> {
        settle_later(&self.store, &self.rates, order, report).await
    }
}

/// Settles a later effect of an order, if it is still at this version.
///
/// # Errors
/// Says whether nothing was booked, or may have been.
pub async fn settle_later(
    store: &Store,
    rates: &Rates,
    order: &Order,
    report: VenueReport,
) -> Result<Booked, BookError> {
    let applied = apply(order, &report, rates)?;
    book(store, applied, Deltas::default(), Fence::default(), Metadata::new()).await
}

/// Settles what is said of an order in its venue's place, that nobody knows or that it was not placed: only for whoever
/// holds this lease on it.
///
/// # Errors
/// Says whether nothing was booked, or may have been.
pub async fn settle_under(
    store: &Store,
    rates: &Rates,
    order: &Order,
    lease: &LeaseToken,
    report: VenueReport,
    figures: Metadata,
) -> Result<Booked, BookError> {
    let applied = apply(order, &report, rates)?;
    let fence = Fence {
        lease: Some(lease.clone()),
        deadline: None,
    };
    book(store, applied, reserved(order), fence, figures).await
}

/// Settles a venue's own word: it counts whoever brings it, on the order as it stands by now. While the store is being
/// rebuilt it is tried again.
///
/// # Errors
/// Says whether nothing was booked, or may have been; the venue can be asked again.
pub async fn settle_word(
    store: &Store,
    rates: &Rates,
    order: &Order,
    report: VenueReport,
    figures: Metadata,
) -> Result<Booked, BookError> {
    let mut order = order.clone();
    let mut outcome = BookError::Unknown("other effects came first again and again".to_owned());
    for _ in 0..MAX_WORDS {
        let applied = apply(&order, &report, rates)?;
        let fence = Fence::default();
        match book(store, applied, reserved(&order), fence, figures.clone()).await {
            Err(BookError::Superseded(now)) => order = *now,
            Err(error @ (BookError::Unavailable(_) | BookError::Missing)) => {
                outcome = error;
                tokio::time::sleep(WORD_PAUSE).await;
            }
            settled => return settled,
        }
    }
    Err(outcome)
}

/// Returns what the journal's first event of an order tells beyond its own moves: what was reserved before it.
fn reserved(order: &Order) -> Deltas {
    if order.version == 0 {
        order.claim_deltas()
    } else {
        Deltas::default()
    }
}

/// What an effect needs to be booked beyond the order's version.
#[derive(Debug, Default)]
struct Fence {
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
    rates: &Rates,
    placement: &Placement,
    report: VenueReport,
    deadline: Option<Timestamp>,
) -> Result<Booked, BookError> {
    let applied = apply(&placement.order, &report, rates)?;
    let fence = Fence {
        lease: Some(placement.lease.clone()),
        deadline,
    };
    stop_point::reach("before_settle");
    let reserved = placement.order.claim_deltas();
    let booked = book(store, applied, reserved, fence, placement.figures.clone()).await;
    stop_point::reach("after_settle");
    booked
}

fn apply(order: &Order, report: &VenueReport, rates: &Rates) -> Result<Applied, BookError> {
    order
        .apply(report, rates, Timestamp::now())
        .map_err(|error| match error {
            ApplyError::NothingNew => BookError::NothingNew,
            ApplyError::NotExact | ApplyError::TooManyFills => BookError::Unavailable(error.to_string()),
        })
}

/// Books an effect. The journal's first event of an order tells its moves from nothing: what was reserved before, and
/// what is settled now.
async fn book(
    store: &Store,
    applied: Applied,
    reserved: Deltas,
    fence: Fence,
    figures: Metadata,
) -> Result<Booked, BookError> {
    let Applied { order, deltas, notices } = applied;
    let epoch = store
        .epoch()
        .ok_or_else(|| BookError::Unavailable("the shared state is being rebuilt".to_owned()))?;
    let told = reserved.plus(&deltas);
    let told = told.ok_or_else(|| BookError::Unavailable("its sums leave the exact range".to_owned()))?;
    let settlement_id = Uuid::now_v7();
    let body = Bytes::from(settled_document(&order, told, epoch, figures, Some(settlement_id)).encode());
    let settle = Arc::new(Settle {
        order,
        deltas,
        document: body.clone(),
        lease: fence.lease,
        deadline: fence.deadline,
        settlement_id,
    });
    let mut pending = send(store, &settle).await?;
    pending.push(PendingEvent {
        version: settle.order.version,
        body,
    });
    Ok(Booked {
        order: Arc::unwrap_or_clone(settle).order,
        pending,
        notices,
    })
}

/// Sends a settlement until its answer is known, a bounded number of times.
async fn send(store: &Store, settle: &Arc<Settle>) -> Result<Vec<PendingEvent>, BookError> {
    let mut may_be_booked = false;
    let mut reason = String::new();
    for attempt in 0..MAX_ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(PAUSE).await;
        }
        let error = match store.settle(Arc::clone(settle)).await {
            // An earlier try may have been booked in a store that has been rebuilt since.
            Ok(Settled::Missing | Settled::LeaseLost) if may_be_booked => {
                return Err(BookError::Unknown("the shared state was rebuilt meanwhile".to_owned()));
            }
            Ok(settled) => return answer(store, settle, settled).await,
            Err(error) => error,
        };
        may_be_booked |= error.may_have_happened();
        reason = error.to_string();
        match error {
            StoreError::Unknown(_) | StoreError::Corrupt(_) | StoreError::QueueFull => {}
            StoreError::NotExecuted(_) | StoreError::Stale(_) => break,
        }
    }
    if may_be_booked {
        Err(BookError::Unknown(reason))
    } else {
        Err(BookError::Unavailable(reason))
    }
}

async fn answer(store: &Store, settle: &Settle, settled: Settled) -> Result<Vec<PendingEvent>, BookError> {
    match settled {
        Settled::Booked(pending) => Ok(pending),
        Settled::LeaseLost => Err(BookError::LeaseLost),
        Settled::Late => Err(BookError::Expired),
        Settled::Halted => Err(BookError::Halted),
        Settled::Missing => Err(BookError::Missing),
        Settled::Inexact => Err(BookError::Unavailable(
            "a shared sum would leave the exact range".to_owned(),
        )),
        Settled::Superseded(document) => Err(superseded(store, settle, &document).await),
    }
}

/// Returns the order as another effect left it.
async fn superseded(store: &Store, settle: &Settle, document: &[u8]) -> BookError {
    let order = match read_document(document) {
        Ok((order, _)) => return BookError::Superseded(Box::new(order)),
        Err(_) => &settle.order,
    };
    // Without a document it has ended and only the journal holds its report, or it changed while we looked.
    let key = OrderKey::of(order);
    match store.read(&key).await {
        Ok(Some(record)) if record.document.is_empty() => BookError::Ended,
        Ok(Some(record)) => match read_document(&record.document) {
            Ok((order, _)) => BookError::Superseded(Box::new(order)),
            Err(error) => BookError::Unavailable(error.to_string()),
        },
        Ok(None) => BookError::Missing,
        Err(error) => BookError::Unavailable(error.to_string()),
    }
}
