//! The fold of the journal against the replay scripts: random journals, with every kind of event and every repetition,
//! leave equal keys and values.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    reason = "in a test a panic is the verdict"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use order_router::config::Settings;
use order_router::domain::adjustment_deltas::position_adjustment_deltas;
use order_router::domain::content_hash::ContentHash;
use order_router::domain::id::{AccountId, AdjustmentId, ClientOrderId, LeaseToken, OrderId, OrderIdPrefix};
use order_router::domain::metadata::Metadata;
use order_router::domain::order::Order;
use order_router::domain::order_terms::Mode;
use order_router::domain::quantity::Price;
use order_router::domain::reason::{Reason, ReasonCode};
use order_router::domain::settlement::SumDeltas;
use order_router::domain::time::Timestamp;
use order_router::domain::venue_report::{DueAction, DueTask};
use order_router::store::Store;
use order_router::store::control::dead_man_switches::JournaledSwitchEvent;
use order_router::store::rebuild::epoch::BeginRebuildOutcome;
use order_router::store::rebuild::fold::{FoldedState, ReportContext};
use order_router::store::rebuild::lease::StoreRebuild;
use order_router::store::rebuild::orders::{ConflictingOrder, OrderReplay};
use order_router::store::rebuild::submissions::SubmissionReplay;
use order_router::store::sums::adjustment::AdjustmentBooking;
use order_router::wire::journal_report::{build_settled_report, decode_journal_report};
use redis::aio::MultiplexedConnection;
use rust_decimal::Decimal as Number;
use uuid::Uuid;

use crate::model_markets::{MARKETS, in_units, markets};
use crate::model_orders::{Message, ReportedState, Side, Terms, Trade};
use crate::model_words::{account, claimed, date, exact, instrument, intent, rates, report};
use crate::remembered_view::text_of;
use crate::support::servers::RedisServer;

/// Every key of a store, with its values and the hours it lives.
pub type Dump = BTreeMap<String, (Vec<String>, i64)>;

const JOURNALS: u64 = 60;
const EVENTS: usize = 60;
const ACCOUNTS: usize = 3;
/// Few ids, so that events meet.
const IDS: usize = 5;

/// A journal event, as both sides read it.
#[derive(Debug, Clone)]
pub enum FoldEvent {
    Report(Box<OrderReplay>),
    Submission(Box<SubmissionReplay>),
    Adjustment(Box<AdjustmentBooking>),
}

/// A seeded source of numbers.
pub struct Dice(pub u64);

impl Dice {
    /// Returns a number below `most`.
    pub fn roll(&mut self, most: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % most
    }
}

/// Makes journals.
pub struct JournalMaker {
    pub dice: Dice,
    /// The orders that have been claimed, at their latest versions.
    orders: Vec<Order>,
    terms: Vec<Terms>,
    tokens: Vec<LeaseToken>,
    pub events: Vec<FoldEvent>,
    /// How many client order ids the orders share.
    pub ids: usize,
    /// Whether there are events that a running worker goes on from: submissions, moments at which orders expire.
    pub has_pending: bool,
}

impl JournalMaker {
    pub fn new(seed: u64) -> Self {
        Self {
            dice: Dice(seed),
            orders: Vec::new(),
            terms: Vec::new(),
            tokens: Vec::new(),
            events: Vec::new(),
            ids: IDS,
            has_pending: true,
        }
    }

    /// Appends events.
    pub fn fill(&mut self, count: usize) {
        while self.events.len() < count {
            match self.dice.roll(20) {
                0..5 => self.claim(),
                5..8 if self.has_pending => self.submit(),
                8..10 if self.has_pending => self.release(),
                10 if self.has_pending => self.adjust(),
                11 if !self.events.is_empty() => {
                    let again = self.dice.roll(self.events.len());
                    self.events.push(self.events[again].clone());
                }
                12 => self.deny(),
                _ => self.report(),
            }
        }
    }

    fn pick(&mut self) -> Option<usize> {
        (!self.orders.is_empty()).then(|| self.dice.roll(self.orders.len()))
    }

    fn claim(&mut self) {
        let market = self.dice.roll(MARKETS);
        let terms = Terms {
            account: self.dice.roll(ACCOUNTS),
            market,
            side: if self.dice.roll(2) == 0 { Side::Buy } else { Side::Sell },
            quantity: in_units(markets()[market].lot) * 8,
            lot: in_units(markets()[market].lot),
            limit: (self.dice.roll(3) > 0).then(|| markets()[market].reference),
            mark: markets()[market].reference,
            expected_loss: Number::new(i64::try_from(self.dice.roll(3)).unwrap(), 0),
            reduce_only: false,
            day: self.dice.roll(3),
        };
        let id = ClientOrderId::new(&format!("id_{}", self.dice.roll(self.ids))).unwrap();
        let mut order = claimed(&terms, &intent(&terms, id));
        // Claims of one millisecond differ, too.
        let at = Timestamp::now().saturating_add(Duration::from_millis(self.orders.len() as u64));
        order.order_id = match self.dice.roll(8) {
            0 => OrderId::new(&format!("FOREIGN-{}", self.orders.len())).unwrap(),
            _ => order.key().order_id(OrderIdPrefix("MO"), at),
        };
        self.orders.push(order);
        self.terms.push(terms);
        self.tokens.push(LeaseToken::generate());
    }

    fn submit(&mut self) {
        let Some(at) = self.pick() else { return };
        if self.dice.roll(3) == 0 {
            self.tokens[at] = LeaseToken::generate();
        }
        self.push_submission(at, false);
    }

    fn release(&mut self) {
        let Some(at) = self.pick() else { return };
        self.push_submission(at, true);
    }

    fn push_submission(&mut self, at: usize, is_released: bool) {
        let order = Order {
            version: 0,
            status: None,
            ..self.orders[at].clone()
        };
        let reserved = order.reservation_deltas();
        let order = Order {
            total_deltas: reserved,
            ..order
        };
        let document = build_settled_report(&order, reserved, date(self.terms[at].day), 1, Metadata::new(), None);
        self.events.push(FoldEvent::Submission(Box::new(SubmissionReplay {
            document: document.encode(),
            claim_token: self.tokens[at].clone(),
            order,
            reserved,
            is_released,
            sequence: 0,
        })));
    }

    fn deny(&mut self) {
        let Some(at) = self.pick().filter(|at| self.orders[*at].version == 0) else {
            return;
        };
        let reason = Reason::new(ReasonCode::DryRun, "set by the test");
        let order = self.orders[at].clone().into_denied(reason, Timestamp::now());
        self.push_report(at, order, SumDeltas::default());
    }

    fn report(&mut self) {
        let Some(at) = self.pick() else { return };
        let (before, terms) = (self.orders[at].clone(), self.terms[at]);
        let trades = (0..self.dice.roll(3)).map(|_| Trade {
            id: u8::try_from(self.dice.roll(4)).unwrap(),
            quantity: terms.lot * 3,
            price: terms.price(),
            fee: Number::new(1, 3),
            currency: "USD",
            day: terms.day,
        });
        let trades: Vec<Trade> = trades.collect();
        let state = [
            ReportedState::Working,
            ReportedState::Working,
            ReportedState::Unknown,
            ReportedState::Cancelled,
            ReportedState::Rejected,
        ][self.dice.roll(5)];
        let message = Message {
            trades,
            state,
            counted: None,
            day: terms.day,
        };
        let Ok(applied) = before.apply_report(&report(&message), &rates(), Timestamp::now()) else {
            return;
        };
        let reserved = if before.version == 0 {
            before.reservation_deltas()
        } else {
            SumDeltas::default()
        };
        let mut order = applied.order;
        if self.has_pending && order.reservation.is_open && self.dice.roll(3) == 0 {
            let at = Timestamp::now();
            let action = DueAction::Expire;
            order.due = Some(DueTask { at, action });
        }
        order.settle_as(Uuid::now_v7());
        match self.dice.roll(12) {
            // A version is lost: the next one does not follow on the one that is known.
            0 => order.settlement_id = None,
            // An effect was never journaled: what builds on it is void.
            1 => {}
            _ => self.push_report(at, order.clone(), reserved.checked_add(&applied.deltas).unwrap()),
        }
        self.orders[at] = order;
    }

    fn push_report(&mut self, at: usize, order: Order, deltas: SumDeltas) {
        let day = self.terms[at].day + self.dice.roll(3) / 2;
        let id = order.settlement_id;
        let document = build_settled_report(&order, deltas, date(day), 1, Metadata::new(), id);
        self.orders[at] = order.clone();
        self.events.push(FoldEvent::Report(Box::new(OrderReplay {
            order,
            deltas,
            booked_on: date(day),
            sequence: 0,
            earlier_days: Vec::new(),
            document: document.encode().into(),
        })));
    }

    fn adjust(&mut self) {
        let market = self.dice.roll(MARKETS);
        let terms = Terms {
            account: self.dice.roll(ACCOUNTS),
            market,
            side: Side::Buy,
            quantity: 1,
            lot: 1,
            limit: None,
            mark: markets()[market].reference,
            expected_loss: Number::ZERO,
            reduce_only: false,
            day: self.dice.roll(3),
        };
        let one = instrument(&terms);
        let id = format!("adjustment_{}", self.dice.roll(4));
        let price = Price::new(exact(terms.mark)).unwrap();
        let quantity = exact(Number::new(i64::try_from(self.dice.roll(200)).unwrap() - 100, 5));
        let is_cash = self.dice.roll(4) == 0;
        let document = Uuid::now_v7().to_string();
        self.events.push(FoldEvent::Adjustment(Box::new(AdjustmentBooking {
            adjustment_id: AdjustmentId::new(&id).unwrap(),
            content_hash: ContentHash::of(id.as_bytes()),
            event_document: document.into(),
            mode: Mode::Paper,
            trading_date: Some(date(terms.day)),
            account_id: account(terms.account),
            instrument: (!is_cash).then(|| (one.venue.clone(), one.symbol.clone())),
            deltas: position_adjustment_deltas(&one, quantity, price).unwrap_or_default(),
            created_at: Timestamp::now(),
        })));
    }

    /// Returns the events with their sequences, the first of them at `first`.
    pub fn numbered(&self, first: u64) -> Vec<(u64, FoldEvent)> {
        let mut numbered = Vec::new();
        for (sequence, event) in (first..).zip(self.events.clone()) {
            let event = match event {
                FoldEvent::Report(event) => FoldEvent::Report(Box::new(OrderReplay { sequence, ..*event })),
                FoldEvent::Submission(event) => {
                    FoldEvent::Submission(Box::new(SubmissionReplay { sequence, ..*event }))
                }
                adjustment @ FoldEvent::Adjustment(_) => adjustment,
            };
            numbered.push((sequence, event));
        }
        numbered
    }
}

async fn begin(redis: &RedisServer, store: &Store) -> StoreRebuild {
    redis.flushall().await;
    let status = store.read_status().await.unwrap();
    let BeginRebuildOutcome::Acquired(rebuild) = store.begin_rebuild(&status).await.unwrap() else {
        panic!("the rebuild is not acquired")
    };
    assert!(rebuild.is_from_nothing);
    rebuild
}

/// Replays events by the scripts, as a worker does whose brokers are `in_store`. Returns whether events stay that do not count:
/// the watermark stays below them until the rebuild is finished.
async fn replay(store: &Store, rebuild: &StoreRebuild, events: &[(u64, FoldEvent)], is_in_store: bool) -> bool {
    let mut has_void = false;
    for (sequence, event) in events {
        match event {
            FoldEvent::Submission(event) => {
                let events = std::slice::from_ref(&**event);
                store.replay_submissions(rebuild, events).await.unwrap();
            }
            FoldEvent::Adjustment(booking) => {
                store
                    .replay_adjustment(Some(rebuild), booking, *sequence)
                    .await
                    .unwrap();
            }
            FoldEvent::Report(event) => {
                let events = std::slice::from_ref(&**event);
                let replayed = store.replay_orders_with_conflicts(Some(rebuild), events, None).await;
                let (_, conflicts) = replayed.unwrap();
                if conflicts.is_empty() || !is_in_store {
                    has_void |= !conflicts.is_empty();
                    continue;
                }
                let key = event.order.key();
                let stored = store.read_order_for_rebuild(rebuild, &key).await.unwrap().unwrap();
                if stored.known.order_id == event.order.order_id {
                    // It builds on an effect that was never journaled.
                    assert_ne!(stored.known.version, 0);
                    has_void = true;
                    continue;
                }
                let (order, _) = decode_journal_report(&stored.document).unwrap();
                let whole = OrderReplay {
                    deltas: event.order.total_deltas,
                    ..(**event).clone()
                };
                let conflicting = ConflictingOrder { order };
                let replayed = store
                    .replay_orders_with_conflicts(Some(rebuild), &[whole], Some(&conflicting))
                    .await;
                assert!(replayed.unwrap().1.is_empty());
            }
        }
    }
    has_void
}

/// Folds events.
pub fn fold(state: &mut FoldedState, events: &[(u64, FoldEvent)], is_in_store: bool) {
    let stored_at = Timestamp::now();
    for (sequence, event) in events {
        match event {
            FoldEvent::Report(event) => {
                let context = ReportContext {
                    stored_at,
                    retention: Settings::default().redis.retention(),
                    is_at_venue: !is_in_store,
                };
                state.apply_report(event, &context);
            }
            FoldEvent::Submission(event) => {
                _ = state.apply_submission(event, stored_at, Settings::default().redis.retention())
            }
            FoldEvent::Adjustment(booking) => _ = state.apply_adjustment(booking, *sequence, stored_at),
        }
        state.progress.sequence = *sequence;
    }
}

/// Returns every key with its values, and the hours it lives. The moments at which leases end, and keys of the rebuild
/// itself, differ by nature.
pub async fn dump(connection: &mut MultiplexedConnection) -> Dump {
    let keys: Vec<String> = redis::cmd("KEYS").arg("{or}:*").query_async(connection).await.unwrap();
    let mut found = BTreeMap::new();
    for key in keys {
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(connection).await.unwrap();
        let read = match kind.as_str() {
            "hash" => vec!["HGETALL"],
            "set" => vec!["SMEMBERS"],
            "zset" => vec!["ZRANGE", "0", "-1", "WITHSCORES"],
            _ => vec!["GET"],
        };
        let mut command = redis::cmd(read[0]);
        command.arg(&key).arg(&read[1..]);
        let values: redis::Value = command.query_async(connection).await.unwrap();
        let mut values: Vec<String> = match kind.as_str() {
            "string" => vec![redis::from_redis_value(values).unwrap()],
            "set" => redis::from_redis_value(values).unwrap(),
            "hash" => {
                let fields: BTreeMap<String, Vec<u8>> = redis::from_redis_value(values).unwrap();
                fields
                    .iter()
                    .map(|(name, value)| format!("{name}={}", text_of(value)))
                    .collect()
            }
            _ => {
                let members: Vec<(String, String)> = redis::from_redis_value(values).unwrap();
                let shows_score = !key.ends_with(":leases");
                let text = |(name, score): &(String, String)| {
                    if shows_score {
                        format!("{name}@{score}")
                    } else {
                        name.clone()
                    }
                };
                members.iter().map(text).collect()
            }
        };
        if key.ends_with(":meta") {
            values.retain(|field| field.starts_with("journal_sequence="));
        }
        if key.ends_with(":ids") {
            values.retain(|field| field.starts_with("buckets=") || field.starts_with("count="));
        }
        values.sort();
        let ttl: i64 = redis::cmd("TTL").arg(&key).query_async(connection).await.unwrap();
        let is_passing = key.contains("sweep")
            || [":healing", ":state", ":snapshot_turn"]
                .iter()
                .any(|own| key.ends_with(own));
        if !is_passing {
            found.insert(key, (values, (ttl + 1800) / 3600));
        }
    }
    found
}

/// Checks that two stores are equal; names the first key that differs.
pub fn assert_same(one: &Dump, other: &Dump, what: &str) {
    let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
    for key in keys {
        assert_eq!(one.get(key), other.get(key), "{key} of {what}");
    }
}

/// Returns the stages of the remembered ids.
fn remembered_stages(dump: &Dump) -> Vec<String> {
    let buckets = dump.iter().filter(|(key, _)| key.starts_with("{or}:ids:"));
    let entries = buckets.flat_map(|(_, (values, _))| values);
    let stage = |entry: &String| match entry.split_once('=').map(|(_, hex)| &hex[6..8]) {
        Some("01") => "ended".to_owned(),
        Some("02") => "denied".to_owned(),
        other => panic!("{other:?}"),
    };
    entries.map(stage).collect()
}

#[test]
fn armed_switches_survive_a_snapshot() {
    let event = |account: &str, armed_ms| JournaledSwitchEvent {
        account_id: AccountId::new(account).unwrap(),
        armed_ms,
        document: format!("{account} {armed_ms:?}").into(),
    };
    let mut state = FoldedState::default();
    for (sequence, (account, armed_ms)) in (1..).zip([
        ("a", Some(1_000)),
        ("b", Some(5_000)),
        ("a", Some(2_000)),
        ("c", Some(9)),
        ("b", None),
    ]) {
        state.apply_switch(event(account, armed_ms), sequence);
    }
    let armed: Vec<_> = state
        .switches
        .iter()
        .map(|(account, (time, _))| (account.as_str(), *time))
        .collect();
    assert_eq!(armed, [("a", 2_000), ("c", 9)]);
    assert_eq!(state.progress.switch_watermark, 5);
    assert_eq!(through_snapshot(&state, 0), state);
}

/// Returns a state as a snapshot gives it back: what had ended up to a sequence in an earlier segment than the rest.
fn through_snapshot(state: &FoldedState, first_segment_to: u64) -> FoldedState {
    let mut read = FoldedState::default();
    let items = state
        .id_items(0)
        .chain(state.id_items(first_segment_to))
        .map(|(_, item)| item);
    for item in items.chain(state.state_items()) {
        read.absorb(&item.unwrap()).unwrap();
    }
    read
}

#[tokio::test(flavor = "multi_thread")]
async fn fold_and_scripts_leave_equal_keys_and_values() {
    let redis = RedisServer::start().await;
    let mut settings = Settings::default();
    settings.redis.url = redis.url();
    settings.redis.response_timeout_ms = 30_000;
    let store = Store::connect(&settings.redis).await.unwrap();
    let mut connection = redis.connection().await;
    let mut kinds = BTreeSet::new();
    for seed in 0..JOURNALS {
        let mut maker = JournalMaker::new(seed);
        // One journal with so many ids that their buckets split.
        let count = if seed == 0 { 25 * EVENTS } else { EVENTS };
        maker.ids = if seed == 0 { 500 } else { IDS };
        maker.fill(count);
        let (events, is_in_store) = (maker.numbered(1), seed % 2 == 0);
        let rebuild = begin(&redis, &store).await;
        let has_void = replay(&store, &rebuild, &events, is_in_store).await;
        let mut replayed = dump(&mut connection).await;
        let rebuild = begin(&redis, &store).await;
        let mut state = FoldedState::default();
        let (before, after) = events.split_at(count / 2);
        fold(&mut state, before, is_in_store);
        state = through_snapshot(&state, count as u64 / 4);
        fold(&mut state, after, is_in_store);
        assert_eq!(through_snapshot(&state, count as u64 / 2), state);
        store.load_folded_state(&rebuild, &state).await.unwrap();
        let mut loaded = dump(&mut connection).await;
        if has_void {
            for dump in [&mut replayed, &mut loaded] {
                dump.remove("{or}:meta");
            }
        }
        assert_same(&replayed, &loaded, &format!("journal {seed}"));
        let stages = replayed.values().flat_map(|(values, _)| values.iter());
        kinds.extend(stages.filter(|value| value.starts_with("st=")).cloned());
        kinds.extend(remembered_stages(&replayed));
        kinds.extend(replayed.contains_key("{or}:ids:2").then(|| "buckets".to_owned()));
        kinds.extend(
            replayed
                .keys()
                .filter_map(|key| key.split(':').nth(1))
                .map(str::to_owned),
        );
    }
    for kind in [
        "st=open",
        "ended",
        "denied",
        "st=sending",
        "st=released",
        "ids",
        "account",
        "totals",
        "adjustment",
        "due",
        "open",
        "leases",
        "buckets",
    ] {
        assert!(kinds.contains(kind), "{kind} never occurs: {kinds:?}");
    }
}
