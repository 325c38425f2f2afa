//! The scripts' own checks, each at its boundary: caps, the exact range, the limit on keys, marks, the journal watermark
//! and replays. The risk rules repeat some of them; here each script is tested alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::HashSet;
use std::time::Duration;

use order_router::brokers::conformance::CaseTerms;
use order_router::brokers::paper::binance;
use order_router::config::Settings;
use order_router::config::limits::LimitSettings;
use order_router::domain::control::OperatorOverrides;
use order_router::domain::currency_rates::CurrencyRates;
use order_router::domain::decimal::Decimal;
use order_router::domain::id::{AccountId, BrokerId, ClientOrderId, LeaseToken, OrderId};
use order_router::domain::metadata::Metadata;
use order_router::domain::order::{Order, OrderUpdate};
use order_router::domain::order_key::OrderKey;
use order_router::domain::order_terms::{Mode, OrderType, TimeInForce};
use order_router::domain::quantity::{MAX_QUANTITY_UNITS, Quantity};
use order_router::domain::reason::{Reason, ReasonCode};
use order_router::domain::replace::LegWord;
use order_router::domain::reservation::Reservation;
use order_router::domain::settlement::SumDeltas;
use order_router::domain::time::{Timestamp, TradingDate};
use order_router::domain::venue_report::{Fill, OutboxEntry, VenueOrderState, VenueReport};
use order_router::risk::cap::{CapBound, CapUnit};
use order_router::risk::{Cap, CapMeasure};
use order_router::store::control::operator_state::{OperatorStateChange, OperatorStateOutcome};
use order_router::store::orders::mark_journaled::{MarkJournaledOutcome, MarkJournaledRequest};
use order_router::store::orders::open::ScanCursor;
use order_router::store::orders::record::RecordStage;
use order_router::store::orders::reserve::{
    ClaimRequest, ClaimStep, ReservationCheck, ReserveAction, ReserveOutcome, ReserveRequest,
};
use order_router::store::orders::settle::{BookedSettlement, SettleOutcome, SettleRequest};
use order_router::store::rebuild::epoch::BeginRebuildOutcome;
use order_router::store::rebuild::lease::StoreRebuild;
use order_router::store::rebuild::orders::{ConflictingOrder, OrderReplay};
use order_router::store::{Store, StoreError};
use order_router::wire::journal_report::build_settled_report;
use order_router::worker::control::limits;
use redis::AsyncCommands;
use uuid::Uuid;

use crate::conformance_store::{NO_LATE_EVENTS, intent_for, ready_store};
use crate::rig::Rig;

/// The lot of BTCUSDT in units of 1e-8.
const LOT: i128 = 1_000;
const SUMS: &str = "sums:paper:default:binance.spot:BTCUSDT";

/// Returns an order of this many lots, without any venue report.
pub fn order(rig: &Rig, lots: i64) -> Order {
    let instrument = rig.settings.instruments.to_instruments(&rig.settings.risk).remove(0);
    let intent = intent_for(&instrument, CaseTerms::buy(OrderType::Limit, TimeInForce::Gtc, lots));
    let (now, price) = (Timestamp::now(), intent.price.unwrap());
    let reservation = Reservation::for_order(&instrument, &intent, price, price, now.utc_date()).unwrap();
    Order::from_intent(&intent, binance::PREFIX, Mode::Paper, reservation, now)
}

/// Returns another order id of the same key.
fn other_id(order: &Order) -> OrderId {
    let later = Timestamp::now().saturating_add(Duration::from_secs(1));
    order.key().order_id(binance::PREFIX, later)
}

pub fn key(order: &Order) -> OrderKey {
    order.key()
}

fn body(order: &Order, deltas: SumDeltas) -> Vec<u8> {
    let (booked_on, id) = (order.reservation.trading_date, order.settlement_id);
    build_settled_report(order, deltas, booked_on, 1, Metadata::new(), id).encode()
}

fn cap(measure: CapMeasure, delta: i128, limit: i128) -> Cap {
    Cap {
        rule_id: "test",
        code: ReasonCode::RiskLocked,
        label: "",
        measure,
        delta,
        offset: 0,
        limit,
        bound: CapBound::Inclusive,
        unit: CapUnit::Micros,
        description: "the sum",
        allows_reductions: false,
    }
}

/// Returns caps with ample room for an order.
pub fn roomy(order: &Order) -> Vec<Cap> {
    let deltas = order.reservation_deltas();
    vec![
        cap(CapMeasure::Exposure, deltas.long, MAX_QUANTITY_UNITS),
        cap(
            CapMeasure::TotalNotional,
            deltas.daily_notional.into(),
            MAX_QUANTITY_UNITS,
        ),
    ]
}

pub async fn reserve(store: &Store, order: &Order, action: ReserveAction) -> ReserveOutcome {
    let command = ReserveRequest {
        key: key(order),
        order_id: order.order_id.clone(),
        account_id: order.account_id.clone(),
        content: order.content_hash.digest(),
        action,
    };
    store.reserve(command).await.unwrap()
}

pub async fn claim(store: &Store, order: &Order, lease: &LeaseToken, caps: Vec<Cap>) -> ReserveOutcome {
    let mut deltas = SumDeltas::default();
    for cap in &caps {
        match cap.measure {
            CapMeasure::Exposure => deltas.long += cap.delta,
            CapMeasure::TotalNotional => deltas.daily_notional += i64::try_from(cap.delta).unwrap(),
            other => panic!("{other:?}"),
        }
    }
    claim_with(store, order, lease, caps, deltas).await
}

async fn claim_with(
    store: &Store,
    order: &Order,
    lease: &LeaseToken,
    caps: Vec<Cap>,
    deltas: SumDeltas,
) -> ReserveOutcome {
    let claim = ClaimRequest {
        reductions_only: false,
        deltas,
        step: ClaimStep::Lease {
            lease: lease.clone(),
            document: body(order, order.reservation_deltas()),
        },
    };
    evaluate(store, order, caps, claim).await
}

/// Claims an order under caps.
pub async fn evaluate(store: &Store, order: &Order, caps: Vec<Cap>, claim: ClaimRequest) -> ReserveOutcome {
    let question = ReservationCheck {
        scope: order.sum_scope(),
        broker: order.broker.clone(),
        side: order.side,
        quantity: order.reservation.reserved,
        control_generation: store.read_control("").await.unwrap().control.generation,
        evaluated_at_ms: i64::MAX / 2_000,
        caps,
        alert_levels: limits::risk_limits(&LimitSettings::of(&Settings::default()))
            .unwrap()
            .alerts,
        rate_limits: limits::risk_limits(&LimitSettings::of(&Settings::default()))
            .unwrap()
            .order_rates,
        duplicate_check: None,
        is_counted: false,
        claim: Some(claim),
    };
    reserve(store, order, ReserveAction::Evaluate(Box::new(question))).await
}

/// Claims a new order; returns it and its lease.
pub async fn claimed(rig: &Rig, store: &Store, lots: i64) -> (Order, LeaseToken) {
    let (order, lease) = (order(rig, lots), LeaseToken::generate());
    let answer = claim_with(store, &order, &lease, roomy(&order), order.reservation_deltas()).await;
    assert!(matches!(answer, ReserveOutcome::Claimed(_)), "{answer:?}");
    (order, lease)
}

/// Returns the order after a fill of this many lots; the fill's id contains the order's id.
pub fn filled(order: &Order, lots: i64) -> OrderUpdate {
    let quantity = Decimal::from(lots).checked_mul(order.reservation.lot_size).unwrap();
    let fill = Fill {
        exec_id: format!("{}-{}", order.order_id, order.version + 1),
        quantity: Quantity::new(quantity).unwrap(),
        price: order.price.unwrap(),
        timestamp: Timestamp::now(),
        fee: Decimal::ZERO,
        fee_currency: "USDT".into(),
    };
    apply(order, vec![fill], VenueOrderState::Working)
}

fn apply(order: &Order, fills: Vec<Fill>, state: VenueOrderState) -> OrderUpdate {
    let report = VenueReport {
        broker_order_id: None,
        fills,
        state,
        cumulative_quantity: None,
        legs: LegWord::default(),
        due: None,
    };
    applied(order, &report)
}

/// Returns the order after its venue has cancelled it.
pub fn cancelled(order: &Order) -> OrderUpdate {
    let reason = Reason::new(ReasonCode::CancelRequested, "asked for");
    apply(order, vec![], VenueOrderState::Cancelled(reason))
}

/// Returns the order after a report.
pub fn applied(order: &Order, report: &VenueReport) -> OrderUpdate {
    let update = order.apply_report(report, &CurrencyRates::default(), Timestamp::now());
    let mut update = update.unwrap();
    update.order.settle_as(Uuid::now_v7());
    update
}

pub fn settlement(applied: &OrderUpdate) -> SettleRequest {
    SettleRequest {
        event_document: body(&applied.order, applied.deltas).into(),
        order: applied.order.clone(),
        deltas: applied.deltas,
        booked_on: applied.order.reservation.trading_date,
        watch: None,
        only_reduces: false,
        lease: None,
        deadline: None,
        settlement_id: applied.order.settlement_id.unwrap(),
    }
}

pub fn booked(pending_events: Vec<OutboxEntry>) -> SettleOutcome {
    SettleOutcome::Booked(BookedSettlement {
        pending_events,
        ..BookedSettlement::default()
    })
}

pub fn mark(order: &Order, version: u32, sequence: u64) -> MarkJournaledRequest {
    MarkJournaledRequest {
        key: key(order),
        order_id: order.order_id.clone(),
        version,
        settlement_id: None,
        sequence,
    }
}

pub fn event(applied: &OrderUpdate, moved: SumDeltas, sequence: u64) -> OrderReplay {
    OrderReplay {
        document: body(&applied.order, moved).into(),
        order: applied.order.clone(),
        deltas: moved,
        booked_on: applied.order.reservation.trading_date,
        earlier_days: Vec::new(),
        sequence,
    }
}

pub async fn watermark(store: &Store) -> u64 {
    store.read_status().await.unwrap().journal_sequence
}

/// Replaces one number of the account's holding.
async fn set_sum(rig: &Rig, sum: &str, value: i128) {
    let (ledger, field) = ("{or}:account:paper:default", "binance.spot:BTCUSDT");
    let mut redis = rig.redis.connection().await;
    let packed: String = redis.hget(ledger, field).await.unwrap();
    let mut numbers: Vec<String> = packed.split(' ').map(str::to_owned).collect();
    let at = ["long", "short", "position"].iter().position(|name| *name == sum);
    numbers[at.unwrap()] = value.to_string();
    redis
        .hset::<_, _, _, ()>(ledger, field, numbers.join(" "))
        .await
        .unwrap();
}

pub async fn acquire_rebuild(store: &Store) -> StoreRebuild {
    let status = store.read_status().await.unwrap();
    match store.begin_rebuild(&status).await.unwrap() {
        BeginRebuildOutcome::Acquired(rebuild) => rebuild,
        other => panic!("the rebuild is not acquired: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn caps_are_reached_and_never_passed_and_a_denied_order_reserves_nothing() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let caps = |lots, limit| {
        vec![
            cap(CapMeasure::TotalNotional, 5, 1_000),
            cap(CapMeasure::Exposure, lots * LOT, limit * LOT),
        ]
    };
    let lease = LeaseToken::generate();
    let first = claim(&store, &order(&rig, 60), &lease, caps(60, 100)).await;
    assert!(matches!(first, ReserveOutcome::Claimed(_)), "{first:?}");
    let before = rig.store().await;
    let second = order(&rig, 41);
    // The first cap has room and the second lacks one unit; then the reverse.
    let over = claim(&store, &second, &lease, caps(41, 100)).await;
    assert!(matches!(over, ReserveOutcome::LimitExceeded(_)), "{over:?}");
    let reversed = caps(41, 100).into_iter().rev().collect();
    let over = claim(&store, &second, &lease, reversed).await;
    assert!(matches!(over, ReserveOutcome::LimitExceeded(_)), "{over:?}");
    assert_eq!(rig.store().await, before);
    let exact = claim(&store, &second, &lease, caps(41, 101)).await;
    assert!(matches!(exact, ReserveOutcome::Claimed(_)), "{exact:?}");
    assert_eq!(rig.sum(SUMS, "long").await, 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn sums_stay_in_the_exact_range_and_a_change_beyond_it_is_refused_whole() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (one, lease) = claimed(&rig, &store, 10).await;
    set_sum(&rig, "long", MAX_QUANTITY_UNITS - 5).await;
    let before = rig.store().await;
    let other = order(&rig, 10);
    let beyond = SumDeltas {
        long: 100_000_000,
        daily_notional: 1,
        ..SumDeltas::default()
    };
    assert_eq!(
        claim_with(&store, &other, &lease, vec![], beyond).await,
        ReserveOutcome::SumOutOfRange
    );
    assert_eq!(rig.store().await, before);
    set_sum(&rig, "long", 10 * LOT).await;
    set_sum(&rig, "short", 5 - MAX_QUANTITY_UNITS).await;
    let before = rig.store().await;
    let whole = filled(&one, 10);
    assert_eq!(store.settle(settlement(&whole)).await, Ok(SettleOutcome::SumOutOfRange));
    assert_eq!(rig.store().await, before);
    set_sum(&rig, "long", 5 - MAX_QUANTITY_UNITS).await;
    let before = rig.store().await;
    assert_eq!(store.release_claim(&one, &lease).await, Ok(false));
    assert_eq!(rig.store().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn full_store_refuses_new_ids_and_lets_known_orders_end() {
    let mut rig = Rig::start().await;
    let roomy_store = ready_store(&rig).await;
    let (one, lease) = claimed(&rig, &roomy_store, 10).await;
    let (two, _) = claimed(&rig, &roomy_store, 10).await;
    rig.settings.redis.max_memory_mb = 1;
    let store = ready_store(&rig).await;
    let probed = store.probe_write().await;
    assert!(probed.is_err(), "Redis uses more than a mebibyte: {probed:?}");
    let before = rig.store().await;
    let next = order(&rig, 10);
    assert_eq!(
        claim(&store, &next, &lease, roomy(&next)).await,
        ReserveOutcome::StoreFull
    );
    let denial = ReserveAction::RecordDecision {
        document: vec![b'x'],
        max_denials_per_hour: None,
    };
    assert_eq!(reserve(&store, &next, denial).await, ReserveOutcome::StoreFull);
    assert_eq!(rig.store().await, before);
    // A known id is still known, and a claimed order can end.
    assert!(matches!(
        claim(&store, &one, &lease, roomy(&one)).await,
        ReserveOutcome::AlreadyKnown(_)
    ));
    assert_eq!(store.release_claim(&one, &lease).await, Ok(true));
    assert_eq!(store.settle(settlement(&filled(&two, 10))).await, Ok(booked(vec![])));
}

#[tokio::test(flavor = "multi_thread")]
async fn effect_of_another_or_denied_order_is_not_booked() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (one, _) = claimed(&rig, &store, 10).await;
    let denied = order(&rig, 10);
    let denial = ReserveAction::RecordDecision {
        document: vec![b'x'],
        max_denials_per_hour: None,
    };
    assert_eq!(reserve(&store, &denied, denial).await, ReserveOutcome::DenialRecorded);
    let before = rig.store().await;
    let namesake = Order {
        order_id: other_id(&one),
        ..one.clone()
    };
    assert_eq!(
        store.settle(settlement(&filled(&namesake, 10))).await,
        Ok(SettleOutcome::OrderNotFound)
    );
    for version in [0, 1] {
        let versioned = Order {
            version,
            ..denied.clone()
        };
        let settled = store.settle(settlement(&filled(&versioned, 10))).await;
        assert!(matches!(settled, Ok(SettleOutcome::Superseded(_))), "{settled:?}");
    }
    assert_eq!(rig.store().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn settlement_returns_the_earlier_events_that_are_not_journaled() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (claim, _) = claimed(&rig, &store, 30).await;
    let first = filled(&claim, 10);
    let second = filled(&first.order, 10);
    let third = filled(&second.order, 10);
    let settled = async |settle: &SettleRequest| store.settle(settle.clone()).await.unwrap();
    let (one, two, three) = (settlement(&first), settlement(&second), settlement(&third));
    let after = |version, before: &SettleRequest| {
        let body = before.event_document.clone();
        booked(vec![OutboxEntry {
            version,
            body,
            settlement_id: None,
        }])
    };
    // Each twice: a lost reply is repeated in full.
    for _ in 0..2 {
        assert_eq!(settled(&one).await, booked(vec![]));
    }
    // Its position in the outbox is that of its first waiting event, whatever follows.
    let mut redis = rig.redis.connection().await;
    let name = key(&claim).name();
    redis.zadd::<_, _, _, ()>("{or}:outbox", &name, 1).await.unwrap();
    for _ in 0..2 {
        assert_eq!(settled(&two).await, after(1, &one));
    }
    assert_eq!(redis.zscore("{or}:outbox", &name).await, Ok(Some(1)));
    assert_eq!(
        store.mark_journaled(mark(&claim, 1, 1)).await,
        Ok(MarkJournaledOutcome::Marked)
    );
    for _ in 0..2 {
        assert_eq!(settled(&three).await, after(2, &two));
    }
    let record = store.read_order(&key(&claim)).await.unwrap().unwrap();
    let versions: Vec<u32> = record.pending_events.iter().map(|event| event.version).collect();
    assert_eq!((versions, record.known.stage), (vec![2, 3], RecordStage::Ended));
    assert_eq!((rig.sum(SUMS, "position").await, rig.sum(SUMS, "long").await), (30, 30));
}

#[tokio::test(flavor = "multi_thread")]
async fn mark_applies_to_its_order_and_version_and_the_watermark_passes_no_lost_event() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (claim, _) = claimed(&rig, &store, 20).await;
    let first = filled(&claim, 10);
    assert_eq!(store.settle(settlement(&first)).await, Ok(booked(vec![])));
    let before = rig.store().await;
    let namesake = Order {
        order_id: other_id(&claim),
        ..claim.clone()
    };
    let stranger = order(&rig, 10);
    for lost in [mark(&namesake, 1, 7), mark(&claim, 2, 8), mark(&stranger, 1, 9)] {
        assert_eq!(store.mark_journaled(lost).await, Ok(MarkJournaledOutcome::NeedsReplay));
    }
    let mut after = rig.store().await;
    let lost = after.get_mut("meta").unwrap().remove("lost");
    assert_eq!((after, lost.as_deref()), (before, Some("7 8 9")));
    assert_eq!(
        store.mark_journaled(mark(&claim, 1, 5)).await,
        Ok(MarkJournaledOutcome::Marked)
    );
    assert_eq!(watermark(&store).await, 5);
    // A repetition, under an earlier sequence than the mark's, changes nothing.
    let marked = rig.store().await;
    assert_eq!(
        store.mark_journaled(mark(&claim, 1, 3)).await,
        Ok(MarkJournaledOutcome::Marked)
    );
    assert_eq!(rig.store().await, marked);
    // While a later version waits, an earlier one's mark leaves it in the outbox.
    let second = filled(&first.order, 5);
    store.settle(settlement(&second)).await.unwrap();
    store.settle(settlement(&filled(&second.order, 5))).await.unwrap();
    assert_eq!(
        store.mark_journaled(mark(&claim, 2, 6)).await,
        Ok(MarkJournaledOutcome::Marked)
    );
    assert!(rig.store().await.contains_key("outbox"));
    assert_eq!(
        store.mark_journaled(mark(&claim, 3, 10)).await,
        Ok(MarkJournaledOutcome::Marked)
    );
    assert!(!rig.store().await.contains_key("outbox"));
    // The events before 7 are in the store. Those that it has lost are not, whatever is marked after them, until they are
    // replayed.
    assert_eq!(watermark(&store).await, 6);
    let (void, strange) = (filled(&namesake, 10), filled(&stranger, 10));
    let from_nothing = |applied: &OrderUpdate| applied.order.total_deltas;
    let replay = async |events: &[OrderReplay]| {
        let replayed = store.replay_orders_with_conflicts(None, events, None).await;
        assert_eq!(replayed.unwrap().1, Vec::<usize>::new());
    };
    replay(&[
        event(&second, second.deltas, 8),
        event(&strange, from_nothing(&strange), 9),
    ])
    .await;
    assert_eq!(watermark(&store).await, 6);
    replay(&[event(&void, from_nothing(&void), 7)]).await;
    assert_eq!(watermark(&store).await, 7);
    store.mark_journaled(mark(&claim, 3, 11)).await.unwrap();
    assert_eq!(watermark(&store).await, 11);
    assert!(!rig.store().await["meta"].contains_key("lost"));
}

#[tokio::test(flavor = "multi_thread")]
async fn watermark_passes_no_lost_event_however_many_there_are_until_a_rebuild() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (claim, _) = claimed(&rig, &store, 20).await;
    store.settle(settlement(&filled(&claim, 10))).await.unwrap();
    let stranger = order(&rig, 10);
    for sequence in (10..400).rev() {
        store.mark_journaled(mark(&stranger, 1, sequence)).await.unwrap();
    }
    let strange = filled(&stranger, 10);
    let events: Vec<OrderReplay> = (100..300)
        .map(|at| event(&strange, strange.order.total_deltas, at))
        .collect();
    store.replay_orders_with_conflicts(None, &events, None).await.unwrap();
    store.mark_journaled(mark(&claim, 1, 500)).await.unwrap();
    assert_eq!(watermark(&store).await, 9);
    assert!(rig.store().await["meta"]["lost"].len() < 2_000);
    rig.redis
        .connection()
        .await
        .hset::<_, _, _, ()>("{or}:meta", "epoch", "1")
        .await
        .unwrap();
    let rebuild = acquire_rebuild(&store).await;
    assert_eq!(rebuild.journal_sequence, 9);
    let epoch = Timestamp::now().as_milliseconds() + 1;
    store
        .finish_rebuild(&rebuild, epoch, "test", NO_LATE_EVENTS)
        .await
        .unwrap();
    assert!(!rig.store().await["meta"].contains_key("lost"));
}

#[tokio::test(flavor = "multi_thread")]
async fn open_orders_are_listed_and_counted_completely_whatever_their_number() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (binance, account) = (BrokerId::new("binance").unwrap(), AccountId::default_account());
    let set = "{or}:open:binance:default";
    let mut redis = rig.redis.connection().await;
    let keys: Vec<OrderKey> = (0..15_000)
        .map(|n| OrderKey::new(Mode::Paper, &account, &ClientOrderId::new(&format!("o{n}")).unwrap()))
        .collect();
    for chunk in keys.chunks(1_000) {
        let names: Vec<String> = chunk.iter().map(|key| key.name()).collect();
        redis.sadd::<_, _, ()>(set, names).await.unwrap();
    }
    redis.sadd::<_, _, ()>(set, "no order").await.unwrap();
    let (mut found, mut unreadable, mut cursor) = (HashSet::new(), Vec::new(), Some(ScanCursor::start()));
    while let Some(at) = cursor {
        let page = store.scan_open_orders(&binance, &account, &at).await.unwrap();
        assert!(page.members.len() < 1_000);
        found.extend(page.members);
        unreadable.extend(page.unreadable);
        cursor = page.next;
    }
    assert_eq!(
        (found, unreadable),
        (keys.into_iter().collect(), vec!["no order".to_owned()])
    );
    let (claim, _) = claimed(&rig, &store, 10).await;
    let accounts = [(binance.clone(), account), (binance, AccountId::new("none").unwrap())];
    assert_eq!(store.count_open_orders(&accounts).await, Ok(vec![15_002, 0]));
    let stranger = order(&rig, 10);
    let read = store.read_open_orders(&[key(&stranger), key(&claim)]).await.unwrap();
    let stages: Vec<_> = read
        .into_iter()
        .map(|record| record.map(|record| (record.stage, record.order_id)))
        .collect();
    assert_eq!(stages, [None, Some((RecordStage::Claimed, claim.order_id))]);
}

#[tokio::test(flavor = "multi_thread")]
async fn event_is_replayed_once_for_the_first_order_of_its_id() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let rebuild = acquire_rebuild(&store).await;
    let claim = order(&rig, 20);
    let part = filled(&claim, 10);
    let rest = filled(&part.order, 10);
    let namesake = Order {
        order_id: other_id(&claim),
        ..claim.clone()
    };
    let void = filled(&namesake, 10);
    let void_again = filled(&void.order, 5);
    let from_nothing = |applied: &OrderUpdate| claim.reservation_deltas().checked_add(&applied.deltas).unwrap();
    let events = [
        event(&part, from_nothing(&part), 1),
        event(&part, from_nothing(&part), 2),
        event(&void, from_nothing(&void), 3),
        event(&void_again, void_again.deltas, 3),
        event(&rest, rest.deltas, 4),
        event(&part, from_nothing(&part), 5),
        event(&rest, rest.deltas, 6),
    ];
    assert_eq!(
        store.replay_orders_with_conflicts(Some(&rebuild), &events, None).await,
        Ok((2, Vec::new()))
    );
    assert_eq!(
        store.replay_orders_with_conflicts(Some(&rebuild), &events, None).await,
        Ok((0, Vec::new()))
    );
    assert_eq!((rig.sum(SUMS, "position").await, rig.sum(SUMS, "long").await), (20, 20));
    assert_eq!(watermark(&store).await, 6);
    let epoch = Timestamp::now().as_milliseconds() + 1;
    store
        .finish_rebuild(&rebuild, epoch, "test", NO_LATE_EVENTS)
        .await
        .unwrap();
    let record = store.read_order(&key(&claim)).await.unwrap().unwrap();
    assert_eq!(
        (
            record.known.stage,
            record.known.order_id,
            record.known.journaled_version
        ),
        (RecordStage::Ended, claim.order_id.clone(), 2)
    );
    assert_eq!(record.known.journal_sequence, 4);
    let record = format!("{{or}}:order:{}", key(&claim).name());
    let exists: bool = rig.redis.connection().await.exists(&record).await.unwrap();
    assert!(!exists, "only a remembered id stays of an ended order");
    assert!(matches!(
        reserve(&store, &claim, ReserveAction::Lookup).await,
        ReserveOutcome::AlreadyKnown(_)
    ));
}

/// Returns an order after a fill that is booked on a day.
fn filled_on(order: &Order, lots: i64, date: TradingDate) -> OrderUpdate {
    let mut applied = filled(order, lots);
    applied.order.book_on(date, &applied.deltas).unwrap();
    applied
}

#[tokio::test(flavor = "multi_thread")]
async fn void_order_is_undone_on_each_day_that_it_was_booked_on() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (claim, _) = claimed(&rig, &store, 30).await;
    let today = claim.reservation.trading_date;
    let tomorrow = TradingDate::parse("2100-01-02").unwrap();
    let settle = async |applied: &OrderUpdate, booked_on: TradingDate| {
        let settled = store
            .settle(SettleRequest {
                booked_on,
                ..settlement(applied)
            })
            .await;
        assert!(matches!(settled, Ok(SettleOutcome::Booked(_))), "{settled:?}");
    };
    // The void order fills on two days, the second more than the first.
    let one = filled_on(&claim, 10, today);
    settle(&one, today).await;
    let two = filled_on(&one.order, 20, tomorrow);
    settle(&two, tomorrow).await;
    assert_eq!(two.order.earlier_days.len(), 1);
    // The order that came first on the journal filled on both days, too; its second event is replayed.
    let other = order(&rig, 30);
    let namesake = Order {
        client_order_id: claim.client_order_id.clone(),
        ..other
    };
    let first = filled_on(&namesake, 7, today);
    let second = filled_on(&first.order, 5, tomorrow);
    let whole = OrderReplay {
        booked_on: tomorrow,
        ..event(&second, second.deltas, 3)
    };
    let whole = whole.from_nothing().unwrap();
    let (conflicting, events) = (
        ConflictingOrder {
            order: two.order.clone(),
        },
        [whole],
    );
    let found = store.replay_orders_with_conflicts(None, &events, None).await;
    assert_eq!(found, Ok((0, vec![0])));
    let replaced = store
        .replay_orders_with_conflicts(None, &events, Some(&conflicting))
        .await;
    assert_eq!(replaced, Ok((1, Vec::new())));
    let ledger = rig.store().await["account:paper:default"].clone();
    let sum = |name: &str| ledger[&format!("binance.spot:BTCUSDT.{name}")].parse::<i128>().unwrap();
    assert_eq!((sum("position"), sum("start")), (12 * LOT, 7 * LOT));
    assert_eq!((sum("cash_flow"), sum("fees")), (second.deltas.cash_flow.into(), 0));
    assert_eq!((sum("long"), sum("open_orders")), (30 * LOT, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn replay_of_a_settled_event_only_marks_it_as_journaled() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (claim, _) = claimed(&rig, &store, 10).await;
    let whole = filled(&claim, 10);
    assert_eq!(store.settle(settlement(&whole)).await, Ok(booked(vec![])));
    let moved = claim.reservation_deltas().checked_add(&whole.deltas).unwrap();
    assert_eq!(
        store
            .replay_orders_with_conflicts(None, &[event(&whole, moved, 3)], None)
            .await,
        Ok((0, Vec::new()))
    );
    let record = store.read_order(&key(&claim)).await.unwrap().unwrap();
    assert_eq!((record.known.journaled_version, record.known.journal_sequence), (1, 3));
    assert!(record.pending_events.is_empty() && record.document.is_empty());
    assert_eq!(rig.sum(SUMS, "position").await, 10);
    assert!(!rig.store().await.contains_key("outbox"));
    assert_eq!(watermark(&store).await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn state_change_requires_the_version_it_read() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let change = |builds_on: u64, limit: i64| OperatorStateChange {
        base_version: builds_on,
        version: builds_on + 1,
        values: OperatorOverrides {
            daily_notional_limit: Some(order_router::domain::money::Micros::new(limit).unwrap()),
            ..OperatorOverrides::default()
        },
        document: vec![b'x'].into(),
        is_journaled: false,
    };
    assert!(matches!(
        store.set_operator_state(&change(0, 5)).await,
        Ok(OperatorStateOutcome::Changed(_))
    ));
    assert!(matches!(
        store.set_operator_state(&change(0, 6)).await,
        Ok(OperatorStateOutcome::Superseded(_))
    ));
    assert!(matches!(
        store.set_operator_state(&change(1, 7)).await,
        Ok(OperatorStateOutcome::Changed(_))
    ));
    // A late mark of an earlier change reverts nothing.
    store.mark_operator_state_journaled(2).await.unwrap();
    store.mark_operator_state_journaled(1).await.unwrap();
    let state = store.read_operator_state().await.unwrap();
    assert_eq!((state.version, state.journaled_version), (2, 2));
    assert_eq!(state.values.daily_notional_limit.map(|limit| limit.units()), Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn claim_is_released_by_its_own_token_only_and_ends_with_an_effect() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (one, lease) = claimed(&rig, &store, 10).await;
    let before = rig.store().await;
    assert_eq!(store.release_claim(&one, &LeaseToken::generate()).await, Ok(false));
    assert_eq!(rig.store().await, before);
    let part = filled(&one, 4);
    assert_eq!(store.settle(settlement(&part)).await, Ok(booked(vec![])));
    // A record that still carries the token is no claim any more.
    let mut redis = rig.redis.connection().await;
    let record = format!("{{or}}:order:{}", key(&one).name());
    assert_eq!(redis.hget::<_, _, String>(&record, "tok").await, Ok(String::new()));
    redis.hset::<_, _, _, ()>(&record, "tok", lease.as_str()).await.unwrap();
    let before = rig.store().await;
    assert_eq!(store.release_claim(&one, &lease).await, Ok(false));
    assert_eq!(rig.store().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_effect_keeps_an_ended_order_until_it_is_journaled() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (one, _) = claimed(&rig, &store, 10).await;
    let ended = cancelled(&one);
    assert_eq!(store.settle(settlement(&ended)).await, Ok(booked(vec![])));
    assert_eq!(
        store.mark_journaled(mark(&one, 1, 1)).await,
        Ok(MarkJournaledOutcome::Marked)
    );
    let mut redis = rig.redis.connection().await;
    let record = format!("{{or}}:order:{}", key(&one).name());
    assert_eq!(redis.exists::<_, bool>(&record).await, Ok(false));
    let late = filled(&ended.order, 3);
    assert_eq!(store.settle(settlement(&late)).await, Ok(booked(vec![])));
    // An event that waits for the journal has a record that does not expire.
    assert_eq!(redis.pttl::<_, i64>(&record).await, Ok(-1));
    let waiting = store
        .list_waiting_orders(
            &order_router::store::orders::waiting::WorkQueue::Outbox,
            Duration::ZERO,
            0,
        )
        .await;
    assert_eq!(waiting.unwrap().members, [key(&one)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn error_in_one_command_of_a_batch_leaves_the_others_their_answers() {
    let mut rig = Rig::start().await;
    rig.settings.redis.batch_max = 64;
    let store = ready_store(&rig).await;
    let (good, bad) = (order(&rig, 10), order(&rig, 10));
    // A key of another type makes Redis refuse the first command that reads it.
    let mut redis = rig.redis.connection().await;
    let record = format!("{{or}}:order:{}", key(&bad).name());
    redis.set::<_, _, ()>(&record, "no hash").await.unwrap();
    let requests = [&bad, &good, &bad].map(|order| ReserveRequest {
        key: key(order),
        order_id: order.order_id.clone(),
        account_id: order.account_id.clone(),
        content: order.content_hash.digest(),
        action: ReserveAction::RecordDecision {
            document: body(order, SumDeltas::default()),
            max_denials_per_hour: None,
        },
    });
    let replies = futures_util::future::join_all(requests.map(|request| store.reserve(request))).await;
    assert!(
        matches!(&replies[0], Err(StoreError::OutcomeUnknown(why)) if why.contains("WRONGTYPE")),
        "{replies:?}"
    );
    assert_eq!(replies[1], Ok(ReserveOutcome::DenialRecorded));
    assert!(matches!(replies[2], Err(StoreError::OutcomeUnknown(_))), "{replies:?}");
}
