//! The product's store on a real Redis, with a journal of its settlements: the real scripts, without a worker.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "in a test a panic is the verdict"
)]

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use order_router::config::Settings;
use order_router::domain::control::ControlState;
use order_router::domain::daily_pnl::DailyPnl;
use order_router::domain::id::{ClientOrderId, LeaseToken};
use order_router::domain::metadata::Metadata;
use order_router::domain::money::{BASE_ASSET_FEE_SCALE, Micros, Rounding, round_to_units};
use order_router::domain::order::{Order, OrderUpdate};
use order_router::domain::settlement::SumDeltas;
use order_router::domain::time::Timestamp;
use order_router::risk::limits::{AccountLimits, RateLimits, RiskLimits};
use order_router::risk::{Admissibility, Evaluation, RuleInput, evaluate};
use order_router::store::Store;
use order_router::store::keys::OrderKey;
use order_router::store::orders::mark_journaled::{MarkJournaledOutcome, MarkJournaledRequest};
use order_router::store::orders::reserve::{
    ClaimRequest, ReservationCheck, ReserveAction, ReserveOutcome, ReserveRequest,
};
use order_router::store::orders::settle::{SettleOutcome, SettleRequest};
use order_router::store::rebuild::epoch::BeginRebuildOutcome;
use order_router::store::rebuild::orders::OrderReplay;
use order_router::store::sums::day::{DayRoll, DayRollOutcome};
use order_router::wire::journal_report::{build_journal_report, build_settled_report, decode_journal_report};
use order_router::worker::control::limits;
use redis::aio::MultiplexedConnection;
use uuid::Uuid;

use crate::conformance_store::NO_LATE_EVENTS;
use crate::model::{Sum, Sums, Terms, add};
use crate::model_markets::{
    ACCOUNTS, DAILY_LOSS, DAILY_LOSS_OF_SECOND, DAILY_NOTIONAL, DAILY_NOTIONAL_OF_FIRST, MAX_OPEN_ORDERS, markets,
    micros,
};
use crate::model_words::{account, claimed, date, instrument, intent};
use crate::support::servers::RedisServer;

/// More orders a second than a test can submit.
const NO_RATE: RateLimits = RateLimits {
    per_account: 1_000_000,
    per_broker: 1_000_000,
};

/// The store, and the journal of its events.
pub struct StoreUnderTest {
    pub redis: RedisServer,
    pub store: Store,
    connection: MultiplexedConnection,
    limits: RiskLimits,
    epoch: i64,
    generation: u64,
    pub journal: Vec<Bytes>,
    pub day: usize,
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
    let money = |units| Micros::new(micros(units));
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
        ..limits::limits_from_settings(&settings).unwrap()
    }
}

impl StoreUnderTest {
    pub async fn open() -> Self {
        let redis = RedisServer::start().await;
        let mut settings = Settings::default();
        settings.redis.url = redis.url();
        Self {
            store: Store::connect(&settings.redis).await.unwrap(),
            connection: redis.connection().await,
            redis,
            limits: small_limits(),
            epoch: Timestamp::now().as_milliseconds(),
            generation: 0,
            journal: Vec::new(),
            day: 0,
        }
    }

    /// Empties everything and starts the first day.
    pub async fn reset(&mut self) {
        self.journal.clear();
        self.day = 0;
        self.rebuild(&[]).await;
    }

    /// Empties Redis and replays these journal positions in the given order, twice: the second replay has no effect.
    pub async fn rebuild(&mut self, order: &[usize]) {
        self.redis.flushall().await;
        let status = self.store.read_status().await.unwrap();
        let BeginRebuildOutcome::Acquired(rebuild) = self.store.begin_rebuild(&status).await.unwrap() else {
            panic!("the rebuild is not acquired")
        };
        let events: Vec<_> = (1..)
            .zip(order)
            .map(|(at, place)| order_replay(at, &self.journal[*place]))
            .collect();
        let count = u64::try_from(events.len()).unwrap();
        assert_eq!(
            self.store
                .replay_orders_with_conflicts(Some(&rebuild), &events, None)
                .await,
            Ok((count, Vec::new()))
        );
        assert_eq!(
            self.store
                .replay_orders_with_conflicts(Some(&rebuild), &events, None)
                .await,
            Ok((0, Vec::new()))
        );
        let day = DayRoll {
            trading_date: date(self.day),
            starts: vec![],
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

    /// Starts the second day; pending evaluations of the first day are repeated.
    pub async fn roll_day(&mut self) {
        self.day = 1;
        let day = DayRoll {
            trading_date: date(1),
            starts: vec![],
        };
        let rolled = self.store.roll_day(Some(date(0)), &day).await;
        assert_eq!(rolled, Ok(DayRollOutcome::Rolled));
    }

    /// Attempts a claim like a worker: the rules first, then the store, again when the control generation has changed.
    pub async fn attempt_claim(&mut self, terms: &Terms, id: ClientOrderId) -> ClaimAttempt {
        let intent = intent(terms, id);
        let order = claimed(terms, &intent);
        let instrument = instrument(&markets()[terms.market]);
        let now = Timestamp::now();
        let evaluation = evaluate(&RuleInput {
            intent: &intent,
            instrument: &instrument,
            quantity_lots: terms.lots,
            reference_price: instrument.reference_price,
            has_market_price: true,
            reservation: &order.reservation,
            limits: &self.limits,
            control: &ControlState::without_overrides(),
            daily_pnl: &DailyPnl::zero(date(terms.day)),
            deadline: now.saturating_add(Duration::from_secs(60)),
            now,
        });
        let lease = LeaseToken::generate();
        let base_lot = instrument.base_asset.as_ref();
        let base_lot =
            base_lot.and_then(|_| round_to_units(instrument.lot_size.decimal(), BASE_ASSET_FEE_SCALE, Rounding::Down));
        let reserved = loop {
            let reservation_check = self.reservation_check(&order, &evaluation, &lease, base_lot);
            let command = ReserveRequest {
                key: OrderKey::of(&order),
                order_id: order.order_id.clone(),
                content_hash: order.content_hash.clone(),
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

    fn reservation_check(
        &self,
        order: &Order,
        evaluation: &Evaluation,
        lease: &LeaseToken,
        base_lot: Option<i64>,
    ) -> ReservationCheck {
        let claim = || ClaimRequest {
            reductions_only: evaluation.admissibility() == Admissibility::ReductionsOnly,
            deltas: order.reservation_deltas(),
            lease: lease.clone(),
            document: build_journal_report(order, order.reservation_deltas(), self.epoch, Metadata::new()).encode(),
        };
        ReservationCheck {
            scope: order.sum_scope(),
            broker: order.broker.clone(),
            side: order.side,
            lots: order.reservation.reserved_lots,
            base_lot,
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

    /// Returns the settlement of an effect; the first event of an order includes its reservation.
    pub fn settlement(&self, before: &Order, applied: &OrderUpdate, lease: Option<LeaseToken>) -> Arc<SettleRequest> {
        let reserved = if before.version == 0 {
            before.reservation_deltas()
        } else {
            SumDeltas::default()
        };
        let deltas = reserved.checked_add(&applied.deltas).unwrap();
        let id = Uuid::now_v7();
        let document = build_settled_report(&applied.order, deltas, self.epoch, Metadata::new(), Some(id));
        Arc::new(SettleRequest {
            order: applied.order.clone(),
            deltas: applied.deltas,
            event_document: document.encode().into(),
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
        self.journal.push(settle.event_document.clone());
        decode_journal_report(&settle.event_document).unwrap().0
    }

    /// Marks the latest event of an order, which is at this journal position.
    pub async fn mark(&self, settle: &SettleRequest, place: usize) {
        let mark = MarkJournaledRequest {
            key: OrderKey::of(&settle.order),
            order_id: settle.order.order_id.clone(),
            version: settle.order.version,
            settlement_id: Some(settle.settlement_id),
            sequence: u64::try_from(place).unwrap() + 1,
        };
        assert_eq!(self.store.mark_journaled(mark).await, Ok(MarkJournaledOutcome::Marked));
    }

    /// Replays an event that the store has settled.
    pub async fn replay_late(&self, place: usize) {
        let event = order_replay(u64::try_from(place).unwrap() + 1, &self.journal[place]);
        assert_eq!(
            self.store.replay_orders_with_conflicts(None, &[event], None).await,
            Ok((0, Vec::new()))
        );
    }

    /// Reads every sum of the store.
    pub async fn sums(&self) -> Sums {
        type KeySums = (String, Vec<(&'static str, Sum)>);
        let mut places: Vec<KeySums> = vec![("totals:paper".into(), vec![("open_loss", Sum::OpenLoss)])];
        for (day, date) in [0, 1].map(|day| (day, date(day))) {
            let of = |account| vec![("daily_notional", Sum::AccountDailyNotional(account, day))];
            places.push((
                format!("day:paper:{date}"),
                vec![("daily_notional", Sum::DailyNotional(day))],
            ));
            places.extend((0..ACCOUNTS).map(|at| (format!("day:paper:{date}:{}", account(at)), of(at))));
        }
        for at in 0..ACCOUNTS {
            let loss = vec![("open_loss", Sum::AccountOpenLoss(at))];
            places.push((format!("account:paper:{}", account(at)), loss));
            for (place, market) in markets().iter().enumerate() {
                let fields = vec![
                    ("long", Sum::Long(at, place)),
                    ("short", Sum::Short(at, place)),
                    ("position", Sum::Position(at, place)),
                    ("cash_flow", Sum::CashFlow(at, place)),
                    ("fees", Sum::Fees(at, place)),
                    ("base_fees", Sum::BaseFees(at, place)),
                    ("open_orders", Sum::OpenOrders(at, place)),
                ];
                places.push((
                    format!("sums:paper:{}:{}:{}", account(at), market.venue, market.symbol),
                    fields,
                ));
            }
        }
        let mut pipe = redis::pipe();
        for (key, _) in &places {
            pipe.hgetall(format!("{{or}}:{key}"));
        }
        let found: Vec<HashMap<String, i64>> = pipe.query_async(&mut self.connection.clone()).await.unwrap();
        let mut sums = Sums::new();
        for ((_, fields), values) in places.iter().zip(&found) {
            for (field, sum) in fields {
                add(&mut sums, *sum, values.get(*field).copied().unwrap_or(0));
            }
        }
        sums
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
        counts
    }
}

fn order_replay(sequence: u64, document: &Bytes) -> OrderReplay {
    let (order, settlement) = decode_journal_report(document).unwrap();
    OrderReplay {
        order,
        deltas: settlement.deltas.into(),
        sequence,
        document: document.clone(),
    }
}
