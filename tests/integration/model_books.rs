//! The product's store on a real Redis, with a journal of its settlements: the real scripts, without a worker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use order_router::config::Settings;
use order_router::config::limits::LimitSettings;
use order_router::domain::adjustment_deltas::{fee_adjustment_deltas, position_adjustment_deltas};
use order_router::domain::content_hash::ContentHash;
use order_router::domain::control::{ControlState, LockScope};
use order_router::domain::daily_pnl::{DailyPnl, ProfitView};
use order_router::domain::day_profit::{ValuationInputs, compute_day_profit};
use order_router::domain::id::{AdjustmentId, ClientOrderId, LeaseToken, VenueId};
use order_router::domain::metadata::Metadata;
use order_router::domain::money::Micros;
use order_router::domain::order::{Order, OrderUpdate};
use order_router::domain::order_terms::Mode;
use order_router::domain::quantity::Price;
use order_router::domain::settlement::SumDeltas;
use order_router::domain::symbol::Symbol;
use order_router::domain::time::Timestamp;
use order_router::risk::limits::{AccountLimits, RateLimits, RiskLimits};
use order_router::risk::{Admissibility, Evaluation, RuleInput, evaluate};
use order_router::store::Store;
use order_router::store::control::locks::SetLockOutcome;
use order_router::store::orders::mark_journaled::{MarkJournaledOutcome, MarkJournaledRequest};
use order_router::store::orders::reserve::{
    ClaimRequest, ClaimStep, ReservationCheck, ReserveAction, ReserveOutcome, ReserveRequest,
};
use order_router::store::orders::settle::{LossWatch, SettleOutcome, SettleRequest};
use order_router::store::rebuild::epoch::BeginRebuildOutcome;
use order_router::store::rebuild::lease::StoreRebuild;
use order_router::store::rebuild::orders::OrderReplay;
use order_router::store::sums::adjustment::{
    AdjustmentBooking, AdjustmentMode, BookAdjustmentOutcome, MarkAdjustmentOutcome,
};
use order_router::store::sums::day::{DayRoll, DayRollOutcome};
use order_router::store::sums::ledgers::LedgerOwner;
use order_router::wire::journal_report::{build_journal_report, build_settled_report, decode_journal_report};
use order_router::worker::control::limits;
use redis::aio::MultiplexedConnection;
use rust_decimal::Decimal as Number;
use uuid::Uuid;

use crate::conformance_store::NO_LATE_EVENTS;
use crate::model::{ALL, Adjusted, OWNERS, PricedFee};
use crate::model_markets::{
    DAILY_LOSS, DAILY_LOSS_OF_SECOND, DAILY_NOTIONAL, DAILY_NOTIONAL_OF_FIRST, MARKETS, MAX_OPEN_ORDERS, STOP_LOSS,
    in_asset, loss_limit, markets, micros, rate,
};
use crate::model_orders::{Side, Terms};
use crate::model_words::{account, claimed, date, exact, instrument, intent};
use crate::support::servers::RedisServer;

/// More orders a second than a test can submit.
const NO_RATE: RateLimits = RateLimits {
    per_account: 1_000_000,
    per_broker: 1_000_000,
};

/// An event of the journal.
#[derive(Debug, Clone)]
pub enum JournalEvent {
    /// An order's report.
    Report(Bytes),
    /// An adjustment.
    Adjustment(Box<AdjustmentBooking>),
}

/// The store, and the journal of its events.
pub struct StoreUnderTest {
    pub redis: RedisServer,
    pub store: Store,
    pub(crate) connection: MultiplexedConnection,
    limits: RiskLimits,
    epoch: i64,
    generation: u64,
    pub journal: Vec<JournalEvent>,
    pub day: usize,
    /// The profit of each owner that orders are evaluated with.
    pub views: Vec<ProfitView>,
}

/// A claim attempt: the order, its evaluation by the rules and the outcome of the reservation.
pub struct ClaimAttempt {
    pub order: Order,
    pub lease: LeaseToken,
    pub evaluation: Evaluation,
    pub reserved: ReserveOutcome,
}

fn small_limits() -> RiskLimits {
    let mut settings = Settings::default();
    settings.risk.daily_notional_limit = DAILY_NOTIONAL.to_string();
    settings.risk.daily_loss_limit = DAILY_LOSS.to_string();
    settings.risk.max_open_orders = MAX_OPEN_ORDERS;
    settings.risk.account_stop_loss = STOP_LOSS.to_string();
    let money = |units| Micros::new(i64::try_from(micros(units)).unwrap());
    let first = AccountLimits {
        daily_notional: money(DAILY_NOTIONAL_OF_FIRST),
        ..AccountLimits::default()
    };
    let second = AccountLimits {
        daily_loss: money(DAILY_LOSS_OF_SECOND),
        ..AccountLimits::default()
    };
    RiskLimits {
        order_rates: NO_RATE,
        accounts: [(account(0), first), (account(1), second)].into(),
        ..limits::risk_limits(&LimitSettings::of(&settings)).unwrap()
    }
}

impl StoreUnderTest {
    pub async fn open() -> Self {
        let redis = RedisServer::start().await;
        let mut settings = Settings::default();
        settings.redis.url = redis.url();
        // A busy machine may not fail a sequence.
        settings.redis.response_timeout_ms = 30_000;
        Self {
            store: Store::connect(&settings.redis).await.unwrap(),
            connection: redis.connection().await,
            redis,
            limits: small_limits(),
            epoch: Timestamp::now().as_milliseconds(),
            generation: 0,
            journal: Vec::new(),
            day: 0,
            views: Vec::new(),
        }
    }

    /// Empties everything and starts the first day.
    pub async fn reset(&mut self) {
        self.journal.clear();
        self.day = 0;
        self.views = vec![ProfitView::default(); OWNERS];
        self.rebuild(&[]).await;
    }

    /// Empties Redis and replays these journal positions in the given order, twice: the second replay has no effect.
    pub async fn rebuild(&mut self, order: &[usize]) {
        self.redis.flushall().await;
        let status = self.store.read_status().await.unwrap();
        let BeginRebuildOutcome::Acquired(rebuild) = self.store.begin_rebuild(&status).await.unwrap() else {
            panic!("the rebuild is not acquired")
        };
        let events: Vec<_> = order.iter().map(|place| self.journal[*place].clone()).collect();
        assert_eq!(self.replay(&rebuild, &events).await, events.len());
        assert_eq!(self.replay(&rebuild, &events).await, 0);
        let day = DayRoll {
            trading_date: date(self.day),
            marks: vec![],
        };
        let rolled = self.store.roll_day_for_rebuild(&rebuild, None, &day).await;
        assert_eq!(rolled, Ok(DayRollOutcome::Rolled));
        self.epoch += 1;
        let finished = self
            .store
            .finish_rebuild(&rebuild, self.epoch, "test", NO_LATE_EVENTS)
            .await;
        finished.unwrap();
    }

    /// Replays events in this order; returns how many changed something.
    async fn replay(&self, rebuild: &StoreRebuild, events: &[JournalEvent]) -> usize {
        let mut changed = 0;
        let both_are_reports = |one: &JournalEvent, next: &JournalEvent| {
            matches!((one, next), (JournalEvent::Report(_), JournalEvent::Report(_)))
        };
        let mut sequence = 0;
        for batch in events.chunk_by(both_are_reports) {
            let next = sequence + 1;
            sequence += u64::try_from(batch.len()).unwrap();
            if let [JournalEvent::Adjustment(booking)] = batch {
                let is_new = self
                    .store
                    .replay_adjustment(Some(rebuild), booking, next)
                    .await
                    .unwrap();
                changed += usize::from(is_new);
                continue;
            }
            let reports: Vec<_> = (next..)
                .zip(batch)
                .filter_map(|(at, event)| order_replay(at, event))
                .collect();
            let replayed = self
                .store
                .replay_orders_with_conflicts(Some(rebuild), &reports, None)
                .await;
            let (count, conflicts) = replayed.unwrap();
            assert_eq!(conflicts, Vec::<usize>::new());
            changed += usize::try_from(count).unwrap();
        }
        changed
    }

    /// Starts the next day; pending evaluations of the day before are repeated.
    pub async fn roll_day(&mut self) {
        self.day += 1;
        let day = DayRoll {
            trading_date: date(self.day),
            marks: vec![],
        };
        let rolled = self.store.roll_day(Some(date(self.day - 1)), &day).await;
        assert_eq!(rolled, Ok(DayRollOutcome::Rolled));
    }

    /// Computes the profits of the day like a worker, at these marks, from positions at their references at its start.
    pub async fn compute_views(&mut self, marks: &[Number; MARKETS]) {
        let valuations: BTreeMap<(VenueId, Symbol), ValuationInputs> = markets()
            .iter()
            .zip(marks)
            .map(|(market, mark)| {
                let key = (
                    VenueId::new(market.venue).unwrap(),
                    Symbol::parse(market.symbol).unwrap(),
                );
                let [mark, start_mark] = [*mark, market.reference].map(|price| Price::new(exact(price)).ok());
                let base_rate = exact(rate(market.quote).unwrap());
                (
                    key,
                    ValuationInputs {
                        base_rate,
                        mark,
                        start_mark,
                    },
                )
            })
            .collect();
        self.views.clear();
        for owner in 0..OWNERS {
            let ledger = if owner == ALL {
                LedgerOwner::Total(Mode::Paper)
            } else {
                LedgerOwner::Account(Mode::Paper, account(owner))
            };
            let ledger = self.store.read_ledger(ledger).await.unwrap();
            let today = date(self.day);
            let day = compute_day_profit(&ledger.holdings, today, &valuations).unwrap();
            assert_eq!(day.unpriced, []);
            self.views.push(ProfitView {
                day,
                fill_result: ledger.fill_result_on(today),
                unpriced_fees: ledger.unpriced_fees,
            });
        }
    }

    /// Sets the lock of a loss that has reached its limit.
    pub async fn lock(&self, owner: usize) {
        let scope = if owner == ALL {
            LockScope::All
        } else {
            LockScope::Account(account(owner))
        };
        let id = format!("model_{owner}");
        let set = self
            .store
            .set_lock(&id, &Bytes::from_static(b"{}"), None, Some((Mode::Paper, &scope)), None)
            .await;
        assert!(
            matches!(set, Ok(SetLockOutcome::Set | SetLockOutcome::AlreadySet(_))),
            "{set:?}"
        );
    }

    /// Books an adjustment, and appends it to the journal.
    pub async fn adjust(&mut self, adjusted: &Adjusted) {
        let market = &markets()[adjusted.market];
        let terms = Terms {
            account: adjusted.account,
            market: adjusted.market,
            side: Side::Buy,
            quantity: 1,
            lot: 1,
            limit: None,
            mark: market.reference,
            expected_loss: Number::ZERO,
            reduce_only: false,
            day: adjusted.day,
        };
        let price = Price::new(exact(adjusted.price)).unwrap();
        let quantity = exact(in_asset(adjusted.quantity));
        let deltas = position_adjustment_deltas(&instrument(&terms), quantity, price).unwrap();
        let booked = self
            .book_adjustment(adjusted.account, adjusted.market, adjusted.day, deltas)
            .await;
        assert_eq!(booked, BookAdjustmentOutcome::Booked);
    }

    /// Books the price of a fee, and appends it to the journal if it is booked.
    pub async fn price_fee(&mut self, priced: &PricedFee) -> BookAdjustmentOutcome {
        let fills = u32::try_from(priced.fills).unwrap();
        let price = Price::new(exact(priced.price)).unwrap();
        let deltas = fee_adjustment_deltas(exact(priced.amount), price, fills).unwrap();
        self.book_adjustment(priced.account, priced.market, priced.day, deltas)
            .await
    }

    async fn book_adjustment(
        &mut self,
        owner: usize,
        market: usize,
        day: usize,
        deltas: SumDeltas,
    ) -> BookAdjustmentOutcome {
        let market = &markets()[market];
        let id = Uuid::now_v7().simple().to_string();
        let booking = AdjustmentBooking {
            adjustment_id: AdjustmentId::new(&id).unwrap(),
            content_hash: ContentHash::of(id.as_bytes()),
            event_document: id.into(),
            mode: Mode::Paper,
            trading_date: Some(date(day)),
            account_id: account(owner),
            instrument: Some((
                VenueId::new(market.venue).unwrap(),
                Symbol::parse(market.symbol).unwrap(),
            )),
            deltas,
            created_at: Timestamp::now(),
        };
        let deadline = Timestamp::now().saturating_add(Duration::from_secs(60));
        let booked = self
            .store
            .book_adjustment(&booking, AdjustmentMode::Active, deadline)
            .await
            .unwrap();
        if booked != BookAdjustmentOutcome::Booked {
            return booked;
        }
        let again = self
            .store
            .book_adjustment(&booking, AdjustmentMode::Active, deadline)
            .await;
        assert!(matches!(again, Ok(BookAdjustmentOutcome::AlreadyKnown(_))), "{again:?}");
        self.journal.push(JournalEvent::Adjustment(Box::new(booking.clone())));
        let sequence = u64::try_from(self.journal.len()).unwrap();
        let marked = self
            .store
            .mark_adjustment_journaled(&booking.adjustment_id, &booking.event_document, sequence)
            .await;
        assert_eq!(marked, Ok(MarkAdjustmentOutcome::Marked));
        booked
    }

    /// Attempts a claim like a worker: the rules first, then the store, again when the control generation has changed.
    pub async fn attempt_claim(&mut self, terms: &Terms, id: ClientOrderId) -> ClaimAttempt {
        let intent = intent(terms, id);
        let order = claimed(terms, &intent);
        let instrument = instrument(terms);
        let reference_price = Price::new(exact(terms.mark)).unwrap();
        let now = Timestamp::now();
        let evaluation = evaluate(&RuleInput {
            intent: &intent,
            instrument: &instrument,
            quantity_units: terms.quantity,
            reference_price,
            has_market_price: true,
            reservation: &order.reservation,
            is_replacement: false,
            limits: &self.limits,
            control: &ControlState::without_overrides(),
            daily_pnl: &DailyPnl {
                trading_date: date(terms.day),
                account: self.views[terms.account].clone(),
                total: self.views[ALL].clone(),
                measured_at_ms: i64::MAX / 2_000,
            },
            deadline: now.saturating_add(Duration::from_secs(60)),
            now,
        });
        let lease = LeaseToken::generate();
        let reserved = loop {
            let reservation_check = self.reservation_check(&order, &evaluation, &lease);
            let command = ReserveRequest {
                key: order.key(),
                order_id: order.order_id.clone(),
                account_id: order.account_id.clone(),
                content: order.content_hash.digest(),
                action: ReserveAction::Evaluate(Box::new(reservation_check)),
            };
            match self.store.reserve(command).await.unwrap() {
                ReserveOutcome::GenerationChanged(generation) => {
                    assert_ne!(generation, self.generation);
                    self.generation = generation;
                }
                reserved => break reserved,
            }
        };
        ClaimAttempt {
            order,
            lease,
            evaluation,
            reserved,
        }
    }

    fn reservation_check(&self, order: &Order, evaluation: &Evaluation, lease: &LeaseToken) -> ReservationCheck {
        let claim = || ClaimRequest {
            reductions_only: evaluation.admissibility() == Admissibility::ReductionsOnly,
            deltas: order.reservation_deltas(),
            step: ClaimStep::Lease {
                lease: lease.clone(),
                document: build_journal_report(order, order.reservation_deltas(), self.epoch, Metadata::new()).encode(),
            },
        };
        ReservationCheck {
            scope: order.sum_scope(),
            broker: order.broker.clone(),
            side: order.side,
            quantity: order.reservation.reserved,
            control_generation: self.generation,
            evaluated_at_ms: i64::MAX / 2_000,
            caps: evaluation.caps().to_vec(),
            alert_levels: self.limits.alerts,
            rate_limits: self.limits.order_rates,
            duplicate_check: None,
            is_counted: true,
            claim: (evaluation.admissibility() != Admissibility::Nothing).then(claim),
        }
    }

    /// Returns the settlement of an effect that is booked on a day; the first event of an order includes its reservation.
    /// On the trading day the losses are compared with their limits where a fill has made something.
    pub fn settlement(
        &self,
        before: &Order,
        applied: &OrderUpdate,
        lease: Option<LeaseToken>,
        day: usize,
    ) -> Arc<SettleRequest> {
        let reserved = if before.version == 0 {
            before.reservation_deltas()
        } else {
            SumDeltas::default()
        };
        let deltas = reserved.checked_add(&applied.deltas).unwrap();
        let id = Uuid::now_v7();
        let mut order = applied.order.clone();
        order.book_on(date(day), &applied.deltas).unwrap();
        order.settle_as(id);
        let document = build_settled_report(&order, deltas, date(day), self.epoch, Metadata::new(), Some(id));
        let owner = (0..ALL).find(|at| account(*at) == before.account_id).unwrap();
        let limit = |owner| i64::try_from(loss_limit(owner)).unwrap();
        let watch = LossWatch {
            account_loss: self.views[owner].loss_before_fills(),
            account_limit: limit(owner),
            total_loss: self.views[ALL].loss_before_fills(),
            total_limit: limit(ALL),
        };
        Arc::new(SettleRequest {
            order,
            deltas: applied.deltas,
            event_document: document.encode().into(),
            booked_on: date(day),
            watch: Some(watch).filter(|_| day == self.day && applied.deltas.fill_result != 0),
            only_reduces: applied.order.reduce_only,
            lease,
            deadline: None,
            settlement_id: id,
        })
    }

    pub async fn settle(&self, settle: &Arc<SettleRequest>) -> SettleOutcome {
        self.store.settle(settle.clone()).await.unwrap()
    }

    /// Appends a settlement to the journal; returns the order as journaled.
    pub fn append(&mut self, settle: &SettleRequest) -> Order {
        self.journal.push(JournalEvent::Report(settle.event_document.clone()));
        decode_journal_report(&settle.event_document).unwrap().0
    }

    /// Marks the latest event of an order, which is at this journal position.
    pub async fn mark(&self, settle: &SettleRequest, place: usize) {
        let mark = MarkJournaledRequest {
            key: settle.order.key(),
            order_id: settle.order.order_id.clone(),
            version: settle.order.version,
            settlement_id: Some(settle.settlement_id),
            sequence: u64::try_from(place).unwrap() + 1,
        };
        assert_eq!(self.store.mark_journaled(mark).await, Ok(MarkJournaledOutcome::Marked));
    }

    /// Replays an event that the store has settled.
    pub async fn replay_late(&self, place: usize) {
        let event = order_replay(u64::try_from(place).unwrap() + 1, &self.journal[place]).unwrap();
        assert_eq!(
            self.store.replay_orders_with_conflicts(None, &[event], None).await,
            Ok((0, Vec::new()))
        );
    }

    /// Returns the number of keys of each kind.
    pub async fn count_keys_by_kind(&self) -> BTreeMap<String, usize> {
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg("{or}:*")
            .query_async(&mut self.connection.clone())
            .await
            .unwrap();
        let mut counts = BTreeMap::new();
        for key in keys {
            let kind = key.split(':').nth(1).unwrap_or_default().to_owned();
            *counts.entry(kind).or_default() += 1;
        }
        // An order that has ended is an entry of a bucket.
        let remembered: Option<usize> = redis::cmd("HGET")
            .arg("{or}:ids")
            .arg("count")
            .query_async(&mut self.connection.clone())
            .await
            .unwrap();
        *counts.entry("order".to_owned()).or_default() += remembered.unwrap_or(0);
        counts
    }
}

fn order_replay(sequence: u64, event: &JournalEvent) -> Option<OrderReplay> {
    let JournalEvent::Report(document) = event else {
        return None;
    };
    let (order, settlement) = decode_journal_report(document).unwrap();
    Some(OrderReplay {
        order,
        deltas: settlement.deltas.try_into().unwrap(),
        booked_on: settlement.booked_on,
        earlier_days: Vec::new(),
        sequence,
        document: document.clone(),
    })
}
