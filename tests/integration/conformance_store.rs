//! The conformance suite over the real book: the paper venues on Redis, through the worker's own settlement.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use order_router::brokers::adapter::{BookedEffect, BrokerAdapter, Placement};
use order_router::brokers::conformance::{
    CaseTerms, ConformanceHarness, HarnessResult, PlacementDeadline, PlacementLease, VenueFault, VenueLeg, run_suite,
};
use order_router::brokers::paper::{PaperVenue, binance, ibkr};
use order_router::brokers::port::{BookError, PaperBook};
use order_router::config::Settings;
use order_router::config::limits::LimitSettings;
use order_router::domain::control::ControlState;
use order_router::domain::daily_pnl::DailyPnl;
use order_router::domain::decimal::Decimal;
use order_router::domain::id::{AccountId, ClientOrderId, LeaseToken, OrderId, OrderIdPrefix};
use order_router::domain::instrument::Instrument;
use order_router::domain::intent::{Intent, RiskOverrides};
use order_router::domain::metadata::Metadata;
use order_router::domain::order::Order;
use order_router::domain::order_key::OrderKey;
use order_router::domain::order_terms::{Mode, OrderType};
use order_router::domain::quantity::{Price, Quantity};
use order_router::domain::replace::{LegWord, ReplaceTerms};
use order_router::domain::reservation::Reservation;
use order_router::domain::settlement::SumDeltas;
use order_router::domain::time::Timestamp;
use order_router::domain::venue_report::{VenueOrderState, VenueReport};
use order_router::risk::{Approved, ApprovedUnderCaps, Evaluation, RiskDecision, RuleInput, evaluate};
use order_router::store::Store;
use order_router::store::orders::reserve::{
    ClaimRequest, ClaimStep, ReservationCheck, ReserveAction, ReserveOutcome, ReserveRequest,
};
use order_router::store::rebuild::epoch::{BeginRebuildOutcome, LateEvents};
use order_router::wire::journal_report::{build_journal_report, decode_journal_report};
use order_router::worker::control::limits;
use order_router::worker::journaling::settlement::{Settler, StorePaperBook};
use redis::AsyncCommands;

use crate::rig::Rig;

/// The late-event window of a store without other writers.
pub const NO_LATE_EVENTS: LateEvents = LateEvents {
    from_sequence: 1,
    window_ms: 0,
};

/// The real book with an injected fault.
struct FaultyBook {
    book: StorePaperBook,
    fault: Mutex<Option<VenueFault>>,
}

impl FaultyBook {
    fn take_fault(&self) -> Result<bool, BookError> {
        match self.fault.lock().unwrap().take() {
            Some(VenueFault::Unreachable) => Err(BookError::Unavailable("cut off".into())),
            Some(VenueFault::ReplyLost) => Ok(true),
            None => Ok(false),
        }
    }
}

fn lose_reply_if(is_lost: bool, booked: Result<BookedEffect, BookError>) -> Result<BookedEffect, BookError> {
    if is_lost {
        Err(BookError::Unknown("the reply was lost".into()))
    } else {
        booked
    }
}

impl PaperBook for FaultyBook {
    async fn book_placement(&self, placement: &Placement, report: VenueReport) -> Result<BookedEffect, BookError> {
        let is_lost = self.take_fault()?;
        lose_reply_if(is_lost, self.book.book_placement(placement, report).await)
    }

    async fn book_effect(&self, order: &Order, report: VenueReport) -> Result<BookedEffect, BookError> {
        let is_lost = self.take_fault()?;
        lose_reply_if(is_lost, self.book.book_effect(order, report).await)
    }
}

struct StoreHarness {
    store: Store,
    book: Arc<FaultyBook>,
    adapter: PaperVenue<FaultyBook>,
    instrument: Instrument,
    prefix: OrderIdPrefix,
    clock_ms: Arc<AtomicI64>,
    placed: Mutex<Vec<OrderKey>>,
    redis: redis::aio::MultiplexedConnection,
}

/// Returns a rebuilt store on the test's own servers.
pub async fn ready_store(rig: &Rig) -> Store {
    let store = Store::connect(&rig.settings.redis).await.unwrap();
    let status = store.read_status().await.unwrap();
    match status.active_epoch() {
        Some(epoch) => store.join_epoch(epoch),
        None => {
            let BeginRebuildOutcome::Acquired(rebuild) = store.begin_rebuild(&status).await.unwrap() else {
                panic!("the rebuild is not acquired")
            };
            store
                .finish_rebuild(&rebuild, Timestamp::now().as_milliseconds(), "test", NO_LATE_EVENTS)
                .await
                .unwrap();
        }
    }
    store
}

/// Returns an intent for an instrument.
pub fn intent_for(instrument: &Instrument, terms: CaseTerms) -> Intent {
    let lots = Decimal::from(terms.lots)
        .checked_mul(instrument.lot_size.decimal())
        .unwrap();
    let limit = instrument
        .reference_price
        .decimal()
        .checked_sub("0.5".parse().unwrap())
        .unwrap();
    Intent {
        broker: instrument.broker.clone(),
        venue: instrument.venue.clone(),
        symbol: instrument.symbol.clone(),
        side: terms.side,
        quantity: Quantity::new(lots).unwrap(),
        order_type: terms.order_type,
        price: (terms.order_type == OrderType::Limit).then(|| Price::new(limit).unwrap()),
        time_in_force: terms.time_in_force,
        client_order_id: ClientOrderId::generate(),
        account_id: AccountId::default_account(),
        tags: vec![],
        reduce_only: false,
        estimated_loss: None,
        mode: None,
        expires_at: None,
        risk: RiskOverrides::default(),
    }
}

/// Returns what an order reserves, and how the rules judge it by the limits of the default settings, where nothing is used yet.
pub fn evaluated(
    instrument: &Instrument,
    intent: &Intent,
    deadline: Timestamp,
    now: Timestamp,
) -> (Reservation, Evaluation) {
    let price = intent.price.unwrap_or(instrument.reference_price);
    let reservation = Reservation::for_order(instrument, intent, price, price, now.utc_date()).unwrap();
    let limits = limits::risk_limits(&LimitSettings::of(&Settings::default())).unwrap();
    let evaluation = evaluate(&RuleInput {
        intent,
        instrument,
        quantity_units: reservation.reserved,
        reference_price: instrument.reference_price,
        has_market_price: true,
        reservation: &reservation,
        is_replacement: false,
        limits: &limits,
        control: &ControlState::without_overrides(),
        daily_pnl: &DailyPnl::zero(now.utc_date()),
        deadline,
        now,
    });
    (reservation, evaluation)
}

/// Claims an order in a store like a worker.
pub async fn claim(
    store: &Store,
    instrument: &Instrument,
    prefix: OrderIdPrefix,
    intent: &Intent,
    deadline: Timestamp,
) -> Approved<Placement> {
    let now = Timestamp::now();
    let later = deadline.max(now.saturating_add(std::time::Duration::from_secs(1)));
    let (reservation, evaluation) = evaluated(instrument, intent, later, now);
    let limits = limits::risk_limits(&LimitSettings::of(&Settings::default())).unwrap();
    let order = Order::from_intent(intent, prefix, Mode::Paper, reservation, now);
    let lease = LeaseToken::generate();
    let claim = ClaimRequest {
        reductions_only: false,
        deltas: order.reservation_deltas(),
        step: ClaimStep::Lease {
            lease: lease.clone(),
            document: build_journal_report(&order, SumDeltas::default(), 1, Metadata::new()).encode(),
        },
    };
    let action = ReserveAction::Evaluate(Box::new(ReservationCheck {
        scope: order.sum_scope(),
        broker: order.broker.clone(),
        side: order.side,
        quantity: order.reservation.reserved,
        control_generation: store.read_control("").await.unwrap().control.generation,
        evaluated_at_ms: i64::MAX / 2_000,
        caps: evaluation.caps().to_vec(),
        alert_levels: limits.alerts,
        rate_limits: limits.order_rates,
        duplicate_check: None,
        is_counted: true,
        claim: Some(claim),
    }));
    let key = OrderKey::new(Mode::Paper, &order.account_id, &order.client_order_id);
    let command = ReserveRequest {
        key,
        order_id: order.order_id.clone(),
        account_id: order.account_id.clone(),
        content: order.content_hash.digest(),
        action,
    };
    let ReserveOutcome::Claimed(observed) = store.reserve(command).await.unwrap() else {
        panic!("not claimed")
    };
    let placement = Placement {
        order,
        reference_price: instrument.reference_price,
        quote_currency: instrument.quote.clone(),
        deadline,
        lease,
        figures: Metadata::new(),
    };
    match evaluation.decide(placement, &observed) {
        RiskDecision::Approved(approved, _) => approved,
        RiskDecision::Denied(reason, _) | RiskDecision::Refused(reason, _) => panic!("{reason:?}"),
    }
}

impl StoreHarness {
    async fn start(rig: &Rig, name: &str) -> Self {
        let store = ready_store(rig).await;
        let book = Arc::new(FaultyBook {
            book: StorePaperBook::new(Settler::new(store.clone(), Arc::default())),
            fault: Mutex::new(None),
        });
        let clock_ms = Arc::new(AtomicI64::new(Timestamp::now().as_milliseconds()));
        let clock = clock_ms.clone();
        let (venue, prefix) = match name {
            binance::BROKER => (binance::venue(book.clone()).unwrap(), binance::PREFIX),
            _ => (
                ibkr::venue(book.clone(), &rig.settings.brokers.paper_ibkr).unwrap(),
                ibkr::PREFIX,
            ),
        };
        let adapter = venue.with_clock(Arc::new(move || {
            Timestamp::from_milliseconds(clock.load(Ordering::SeqCst))
        }));
        let instruments = rig.settings.instruments.to_instruments(&rig.settings.risk);
        let instrument = instruments.into_iter().find(|one| one.broker.as_str() == name).unwrap();
        Self {
            store,
            book,
            adapter,
            instrument,
            prefix,
            clock_ms,
            placed: Mutex::default(),
            redis: rig.redis.connection().await,
        }
    }
}

impl ConformanceHarness for StoreHarness {
    type Adapter = PaperVenue<FaultyBook>;

    fn adapter(&self) -> &Self::Adapter {
        &self.adapter
    }

    async fn claim_order(&self, terms: CaseTerms) -> HarnessResult<Approved<Placement>> {
        let now = Timestamp::now();
        let deadline = match terms.deadline {
            PlacementDeadline::Ahead => now.saturating_add(std::time::Duration::from_secs(60)),
            PlacementDeadline::Passed => Timestamp::from_milliseconds(now.as_milliseconds() - 1),
        };
        let intent = intent_for(&self.instrument, terms);
        let approved = claim(&self.store, &self.instrument, self.prefix, &intent, deadline).await;
        let order = &approved.inner().order;
        let key = order.key();
        self.placed.lock().unwrap().push(key);
        if terms.lease == PlacementLease::Lost {
            // Another worker holds the order now.
            let mut redis = self.redis.clone();
            let record = format!("{{or}}:order:{}", key.name());
            redis
                .hset::<_, _, _, ()>(record, "tok", "another's")
                .await
                .map_err(|error| error.to_string())?;
        }
        Ok(approved)
    }

    async fn open_order(&self, terms: CaseTerms) -> HarnessResult<Order> {
        let approved = self.claim_order(terms).await?;
        let order_id = approved.inner().order.order_id.clone();
        if self.adapter.capabilities().broker.as_str() == ibkr::BROKER {
            self.adapter.place(approved).await;
        } else {
            let acknowledgement = VenueReport {
                broker_order_id: None,
                fills: vec![],
                state: VenueOrderState::Working,
                cumulative_quantity: None,
                legs: LegWord::default(),
                due: None,
            };
            let booked = self.book.book_placement(approved.inner(), acknowledgement).await;
            booked.map_err(|error| error.to_string())?;
        }
        self.read_order(&order_id).await
    }

    async fn read_order(&self, order_id: &OrderId) -> HarnessResult<Order> {
        let keys = self.placed.lock().unwrap().clone();
        for key in keys {
            let record = self.store.read_order(&key).await.map_err(|error| error.to_string())?;
            let Some(record) = record else { continue };
            let (order, _) = decode_journal_report(&record.document).map_err(|error| error.to_string())?;
            if order.order_id == *order_id {
                return Ok(order);
            }
        }
        Err("no such order".into())
    }

    async fn inject_fault(&self, fault: VenueFault) -> HarnessResult<()> {
        *self.book.fault.lock().unwrap() = Some(fault);
        Ok(())
    }

    async fn approve_terms(&self, order: &Order, terms: &ReplaceTerms) -> HarnessResult<ApprovedUnderCaps<Placement>> {
        let now = Timestamp::now();
        let intent = Intent {
            quantity: terms.quantity,
            price: Some(terms.price),
            ..intent_for(
                &self.instrument,
                CaseTerms::buy(order.order_type, order.time_in_force, 1),
            )
        };
        let limits = limits::risk_limits(&LimitSettings::of(&Settings::default())).unwrap();
        let deadline = now.saturating_add(std::time::Duration::from_secs(60));
        let evaluation = evaluate(&RuleInput {
            intent: &intent,
            instrument: &self.instrument,
            quantity_units: 0,
            reference_price: self.instrument.reference_price,
            has_market_price: true,
            reservation: &order.reservation,
            is_replacement: true,
            limits: &limits,
            control: &ControlState::without_overrides(),
            daily_pnl: &DailyPnl::zero(now.utc_date()),
            deadline,
            now,
        });
        let placement = Placement {
            order: order.under_terms(terms).map_err(|error| error.to_string())?,
            reference_price: self.instrument.reference_price,
            quote_currency: self.instrument.quote.clone(),
            deadline,
            lease: LeaseToken::generate(),
            figures: Metadata::new(),
        };
        let approved = evaluation.approve_under_caps(placement);
        approved.ok_or_else(|| "a rule stops the new terms".into())
    }

    async fn open_legs(&self, _: &OrderId) -> HarnessResult<Vec<VenueLeg>> {
        Err("the venue has its book in the store".into())
    }

    async fn advance_clock_to(&self, at: Timestamp) {
        self.clock_ms.fetch_max(at.as_milliseconds(), Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn paper_venues_conform_over_redis() {
    let rig = Rig::start().await;
    for name in [binance::BROKER, ibkr::BROKER] {
        let rig = &rig;
        let passed = run_suite(async || Ok(StoreHarness::start(rig, name).await)).await;
        let passed = passed.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        assert_eq!(passed.len(), 29, "{name}: {passed:?}");
    }
}
