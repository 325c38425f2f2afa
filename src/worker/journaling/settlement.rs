//! Settlement of venue reports: fills are booked once, sums move, and the event enters the outbox. The paper venues
//! keep their book through it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use uuid::Uuid;

use crate::brokers::adapter::{BookedEffect, Placement};
use crate::brokers::port::{BookError, PaperBook};
use crate::bus::journal::JournalReader;
use crate::domain::control::LockScope;
use crate::domain::currency_rates::CurrencyRates;
use crate::domain::daily_pnl::DailyPnl;
use crate::domain::id::{AccountId, LeaseToken};
use crate::domain::metadata::Metadata;
use crate::domain::order::{ApplyReportError, Order, OrderUpdate};
use crate::domain::replace::ReplaceTerms;
use crate::domain::settlement::SumDeltas;
use crate::domain::time::{Timestamp, TradingDate};
use crate::domain::venue_report::{OutboxEntry, VenueReport};
use crate::risk::rules::max_daily_loss;
use crate::risk::rules::max_daily_loss::DayLoss;
use crate::store::Store;
use crate::store::orders::settle::{BookedSettlement, LossWatch, SettleOutcome, SettleRequest};
use crate::wire::journal_report::{build_settled_report, decode_journal_report};
use crate::worker::control::cache::ControlSnapshot;
use crate::worker::journaling::order_document::load_stored_order;
use crate::worker::journaling::repeated_send::{Reply, WhenQueueFull, send_until_answered};
use crate::worker::stop_point;
use crate::worker::trading_day::TradingDayCache;

/// How often a venue report is settled because the order has changed or the store is being rebuilt.
const MAX_SETTLE_ATTEMPTS: usize = 20;
/// The pause while the store is being rebuilt.
const SETTLE_RETRY_DELAY: Duration = Duration::from_millis(250);

/// What a settlement is computed with: the store, the rates of fees, and the losses that it may bring to their limits.
#[derive(Debug, Clone)]
pub struct Settler {
    store: Store,
    rates: Arc<CurrencyRates>,
    losses: Option<TradingDayCache>,
    /// Where orders are read whose documents have left the store.
    journal: Option<JournalReader>,
}

impl Settler {
    /// Returns a settler that compares no losses and reads no journal; `rates` values the currencies of fees.
    pub fn new(store: Store, rates: Arc<CurrencyRates>) -> Self {
        Self {
            store,
            rates,
            losses: None,
            journal: None,
        }
    }

    /// Returns a settler that values fees at the rates in force, and compares losses with the limits in force in the step
    /// that books a fill.
    pub fn watching(store: Store, trading_day: TradingDayCache, journal: JournalReader) -> Self {
        Self {
            store,
            rates: Arc::default(),
            losses: Some(trading_day),
            journal: Some(journal),
        }
    }

    /// Returns the order after a report.
    pub(in crate::worker) fn apply_report(
        &self,
        order: &Order,
        report: &VenueReport,
    ) -> Result<OrderUpdate, BookError> {
        match &self.losses {
            Some(trading_day) => apply_report(order, report, &trading_day.limits().rates),
            None => apply_report(order, report, &self.rates),
        }
    }

    /// Returns an order with new terms in force, and what its venue, the store, reports of them.
    pub(in crate::worker) fn replace_at_once(
        &self,
        order: &Order,
        terms: &ReplaceTerms,
        report: &VenueReport,
    ) -> Result<OrderUpdate, BookError> {
        let now = Timestamp::now();
        let replaced = match &self.losses {
            Some(trading_day) => order.replace_at_once(terms, report, &trading_day.limits().rates, now),
            None => order.replace_at_once(terms, report, &self.rates, now),
        };
        replaced.map_err(booking_error)
    }

    /// Returns an order that has ended, from the journal: a venue's word about it still counts.
    async fn read_ended(&self, order: &Order) -> Result<Order, BookError> {
        let journal = self.journal.as_ref().ok_or(BookError::Ended)?;
        let record = self.store.read_order(&order.key()).await;
        let record = record.map_err(|error| BookError::Unavailable(error.to_string()))?;
        let record = record.filter(|record| record.known.order_id == order.order_id);
        let record = record.ok_or(BookError::OrderNotFound)?;
        let read = load_stored_order(journal, &record).await;
        read.map_err(|fault| BookError::Unavailable(fault.detail))
    }

    /// Returns the epoch that effects are booked in.
    pub(super) fn active_epoch(&self) -> Result<i64, BookError> {
        let epoch = self.store.epoch();
        epoch.ok_or_else(|| BookError::Unavailable("the shared state is being rebuilt".to_owned()))
    }

    /// Returns the trading date that a fill counts for now.
    pub(super) fn booking_date(&self) -> TradingDate {
        let active = self.losses.as_ref().map(TradingDayCache::booking_date);
        active.unwrap_or_else(|| Timestamp::now().utc_date())
    }

    /// Returns the losses to compare an order's fills with; `None` where the views cannot be read, or the order is of
    /// another mode. The next order then meets the loss.
    async fn watch(&self, order: &Order) -> Option<LossWatch> {
        let trading_day = self.losses.as_ref()?;
        let (control, pnl) = trading_day.load_pnl(&order.account_id).await.ok()?;
        (control.mode == order.mode).then(|| losses_to_watch(&control, &pnl, &order.account_id))
    }
}

/// Returns the losses of an account and of all accounts before fills, and their limits.
pub(in crate::worker) fn losses_to_watch(
    control: &ControlSnapshot,
    pnl: &DailyPnl,
    account_id: &AccountId,
) -> LossWatch {
    let limit = |scope| max_daily_loss::loss_limit(control, &control.limits.risk, &scope).units();
    LossWatch {
        account_loss: pnl.account.loss_before_fills(),
        account_limit: limit(LockScope::Account(account_id.clone())),
        total_loss: pnl.total.loss_before_fills(),
        total_limit: limit(LockScope::All),
    }
}

/// The paper venues' book: the records of their orders in the store.
#[derive(Debug, Clone)]
pub struct StorePaperBook(Settler);

impl StorePaperBook {
    /// Returns the book in the store of a settler.
    pub fn new(settler: Settler) -> Self {
        Self(settler)
    }
}

impl PaperBook for StorePaperBook {
    async fn book_placement(&self, placement: &Placement, report: VenueReport) -> Result<BookedEffect, BookError> {
        settle_placement(&self.0, placement, report, Some(placement.deadline)).await
    }

    async fn book_effect(&self, order: &Order, report: VenueReport) -> Result<BookedEffect, BookError> {
        settle_amendment(&self.0, order, report).await
    }
}

/// Settles a later effect of an order, if the order is still at this version.
///
/// # Errors
/// A [`BookError`], which says whether the effect may have been booked.
async fn settle_amendment(settler: &Settler, order: &Order, report: VenueReport) -> Result<BookedEffect, BookError> {
    let applied = settler.apply_report(order, &report)?;
    let fence = SettlementFence {
        only_reduces: order.reduce_only,
        ..SettlementFence::default()
    };
    book_effect(settler, applied, SumDeltas::default(), fence, Metadata::new()).await
}

/// Settles an update of an order that is still at its version before. With a deadline it is refused after that, by Redis'
/// clock, and while trading is halted: it announces what is sent next.
///
/// # Errors
/// A [`BookError`], which says whether the update may have been booked.
pub(in crate::worker) async fn settle_update(
    settler: &Settler,
    update: OrderUpdate,
    deadline: Option<Timestamp>,
) -> Result<BookedEffect, BookError> {
    let fence = SettlementFence {
        deadline,
        ..SettlementFence::default()
    };
    book_effect(settler, update, SumDeltas::default(), fence, Metadata::new()).await
}

/// Settles a report that the router makes in the venue's place: that the outcome is unknown, or that the order was not
/// placed. Only the holder of this lease on the order may do so.
///
/// # Errors
/// A [`BookError`], which says whether the report may have been booked.
pub async fn settle_with_lease(
    settler: &Settler,
    order: &Order,
    lease: &LeaseToken,
    report: VenueReport,
    figures: Metadata,
) -> Result<BookedEffect, BookError> {
    let applied = settler.apply_report(order, &report)?;
    let fence = SettlementFence {
        lease: Some(lease.clone()),
        ..SettlementFence::default()
    };
    book_effect(settler, applied, unjournaled_reservation(order), fence, figures).await
}

/// Settles a venue's own report. It needs no lease and applies to the order's current version, also after its end. While the
/// store is being rebuilt it is tried again.
///
/// # Errors
/// A [`BookError`], which says whether the report may have been booked; the venue can be asked again.
pub async fn settle_venue_report(
    settler: &Settler,
    order: &Order,
    report: VenueReport,
    figures: Metadata,
) -> Result<BookedEffect, BookError> {
    let mut order = order.clone();
    let mut outcome = BookError::Unknown("other effects of the order were booked first, too often".to_owned());
    for _ in 0..MAX_SETTLE_ATTEMPTS {
        let applied = settler.apply_report(&order, &report)?;
        let fence = SettlementFence::default();
        match book_effect(
            settler,
            applied,
            unjournaled_reservation(&order),
            fence,
            figures.clone(),
        )
        .await
        {
            Err(BookError::Superseded(current)) => order = *current,
            Err(BookError::Ended) => match settler.read_ended(&order).await {
                Ok(ended) => order = ended,
                Err(error @ BookError::Unavailable(_)) => {
                    outcome = error;
                    tokio::time::sleep(SETTLE_RETRY_DELAY).await;
                }
                Err(error) => return Err(error),
            },
            Err(error @ (BookError::Unavailable(_) | BookError::OrderNotFound)) => {
                outcome = error;
                tokio::time::sleep(SETTLE_RETRY_DELAY).await;
            }
            settled => return settled,
        }
    }
    Err(outcome)
}

/// Returns what an order's first event on the journal carries in addition to its own deltas: the reservations before
/// it.
fn unjournaled_reservation(order: &Order) -> SumDeltas {
    if order.version == 0 {
        order.reservation_deltas()
    } else {
        SumDeltas::default()
    }
}

/// The conditions for booking an effect, beside the order's version.
#[derive(Debug, Default)]
struct SettlementFence {
    lease: Option<LeaseToken>,
    deadline: Option<Timestamp>,
    /// Whether fills may only reduce the position.
    only_reduces: bool,
}

/// Settles the first report of a claimed order, fenced by its lease and, if the settlement is the sending, by its
/// deadline.
///
/// # Errors
/// A [`BookError`], which says whether the report may have been booked.
async fn settle_placement(
    settler: &Settler,
    placement: &Placement,
    report: VenueReport,
    deadline: Option<Timestamp>,
) -> Result<BookedEffect, BookError> {
    let applied = settler.apply_report(&placement.order, &report)?;
    let fence = SettlementFence {
        lease: Some(placement.lease.clone()),
        deadline,
        only_reduces: placement.order.reduce_only,
    };
    stop_point::reach("before_settle");
    let reserved = placement.order.reservation_deltas();
    let booked = book_effect(settler, applied, reserved, fence, placement.figures.clone()).await;
    stop_point::reach("after_settle");
    booked
}

pub(super) fn apply_report(
    order: &Order,
    report: &VenueReport,
    rates: &CurrencyRates,
) -> Result<OrderUpdate, BookError> {
    order
        .apply_report(report, rates, Timestamp::now())
        .map_err(booking_error)
}

/// Returns why an update that an order does not take is not booked.
pub(in crate::worker) fn booking_error(error: ApplyReportError) -> BookError {
    match error {
        ApplyReportError::NoChange => BookError::NothingNew,
        ApplyReportError::ExceedsExactRange | ApplyReportError::TooManyFills | ApplyReportError::TooManyLegs => {
            BookError::Uncountable(error)
        }
    }
}

/// Returns what an order's first event carries: the reservations before it plus the deltas of its effect.
pub(super) fn sum_deltas(reserved: SumDeltas, deltas: &SumDeltas) -> Result<SumDeltas, BookError> {
    reserved.checked_add(deltas).ok_or_else(inexact)
}

pub(super) fn inexact() -> BookError {
    BookError::Unavailable("its sums exceed the range of exact numbers".to_owned())
}

/// Books an effect. An order's first event on the journal carries its deltas from zero: the reservations before it plus
/// the deltas of this settlement.
async fn book_effect(
    settler: &Settler,
    applied: OrderUpdate,
    reserved: SumDeltas,
    fence: SettlementFence,
    figures: Metadata,
) -> Result<BookedEffect, BookError> {
    let OrderUpdate {
        mut order,
        deltas,
        anomalies,
    } = applied;
    let (store, booked_on) = (&settler.store, settler.booking_date());
    order.book_on(booked_on, &deltas).ok_or_else(inexact)?;
    let epoch = settler.active_epoch()?;
    let journaled_deltas = sum_deltas(reserved, &deltas)?;
    let (settlement_id, prepared_at) = (Uuid::now_v7(), Instant::now());
    order.settle_as(settlement_id);
    let watch = if deltas.fill_result == 0 {
        None
    } else {
        settler.watch(&order).await
    };
    let report = build_settled_report(&order, journaled_deltas, booked_on, epoch, figures, Some(settlement_id));
    let body = Bytes::from(report.encode());
    let request = Arc::new(SettleRequest {
        order,
        deltas,
        booked_on,
        watch,
        only_reduces: fence.only_reduces,
        event_document: body.clone(),
        lease: fence.lease,
        deadline: fence.deadline,
        settlement_id,
    });
    let BookedSettlement {
        mut pending_events,
        account_breach,
        total_breach,
    } = send_settlement(store, &request).await?;
    pending_events.push(OutboxEntry {
        version: request.order.version,
        body,
        settlement_id: Some(settlement_id),
    });
    let account = request.order.account_id.clone();
    Ok(BookedEffect {
        order: Arc::unwrap_or_clone(request).order,
        pending_events,
        notices: anomalies,
        breaches: losses_at_limit(&account, account_breach, total_breach),
        prepared_at,
    })
}

/// Returns the losses that have reached their limits, in the order of their scopes.
pub(in crate::worker) fn losses_at_limit(
    account_id: &AccountId,
    account_breach: Option<i64>,
    total_breach: Option<i64>,
) -> Vec<DayLoss> {
    let account = account_breach.map(|loss| DayLoss {
        scope: LockScope::Account(account_id.clone()),
        loss,
    });
    let total = total_breach.map(|loss| DayLoss {
        scope: LockScope::All,
        loss,
    });
    account.into_iter().chain(total).collect()
}

/// Sends a settlement until its reply arrives.
async fn send_settlement(store: &Store, request: &Arc<SettleRequest>) -> Result<BookedSettlement, BookError> {
    match send_until_answered(WhenQueueFull::SendAgain, || store.settle(Arc::clone(request))).await {
        // An earlier attempt may have been booked in a store that has been rebuilt since.
        Ok(Reply {
            outcome: SettleOutcome::OrderNotFound | SettleOutcome::LeaseLost,
            may_have_executed_before: true,
        }) => Err(BookError::Unknown("the shared state was rebuilt meanwhile".to_owned())),
        Ok(reply) => booking_from_outcome(store, request, reply.outcome).await,
        Err(unanswered) if unanswered.may_have_executed => Err(BookError::Unknown(unanswered.error.to_string())),
        Err(unanswered) => Err(BookError::Unavailable(unanswered.error.to_string())),
    }
}

async fn booking_from_outcome(
    store: &Store,
    request: &SettleRequest,
    outcome: SettleOutcome,
) -> Result<BookedSettlement, BookError> {
    match outcome {
        SettleOutcome::Booked(booked) => Ok(booked),
        SettleOutcome::CrossesZero(position) => Err(BookError::CrossesZero(position)),
        SettleOutcome::LeaseLost => Err(BookError::LeaseLost),
        SettleOutcome::DeadlinePassed => Err(BookError::DeadlinePassed),
        SettleOutcome::Halted => Err(BookError::Halted),
        SettleOutcome::OrderNotFound => Err(BookError::OrderNotFound),
        SettleOutcome::SumOutOfRange => Err(BookError::Unavailable(
            "a shared sum would exceed the range of exact numbers".to_owned(),
        )),
        SettleOutcome::Superseded(document) => Err(load_superseding_order(store, request, &document).await),
    }
}

/// Returns the order after the effect that was booked first.
async fn load_superseding_order(store: &Store, request: &SettleRequest, document: &[u8]) -> BookError {
    let order = match decode_journal_report(document) {
        Ok((order, _)) => return BookError::Superseded(Box::new(order)),
        Err(_) => &request.order,
    };
    // A record without a document has ended, and only the journal holds its report; or it changed during the read.
    let key = order.key();
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
