//! The fences of the store, one by one: epoch, lease, deadline, version; each change applies once under repetition.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use order_router::brokers::adapter::Placement;
use order_router::brokers::conformance::CaseTerms;
use order_router::brokers::paper::binance;
use order_router::domain::decimal::Decimal;
use order_router::domain::id::LeaseToken;
use order_router::domain::instrument::Instrument;
use order_router::domain::metadata::Metadata;
use order_router::domain::order::OrderUpdate;
use order_router::domain::order_key::OrderKey;
use order_router::domain::order_terms::{Mode, OrderType, TimeInForce};
use order_router::domain::quantity::to_quantity_units;
use order_router::domain::replace::LegWord;
use order_router::domain::settlement::SumDeltas;
use order_router::domain::time::Timestamp;
use order_router::domain::venue_report::{Fill, VenueOrderState, VenueReport};
use order_router::store::orders::mark_journaled::{MarkJournaledOutcome, MarkJournaledRequest};
use order_router::store::orders::reserve::{ClaimRequest, ClaimStep, ImmediateEffect, ReserveOutcome};
use order_router::store::orders::settle::{SettleOutcome, SettleRequest};
use order_router::store::rebuild::epoch::BeginRebuildOutcome;
use order_router::store::rebuild::orders::{ConflictingOrder, OrderReplay};
use order_router::store::{Store, StoreError};
use order_router::wire::journal_report::{build_journal_report, decode_journal_report};
use tokio::time::Instant;
use uuid::Uuid;

use crate::conformance_store::{NO_LATE_EVENTS, claim, intent_for, ready_store};
use crate::rig::Rig;
use crate::store_scripts::{booked, cancelled, evaluate, filled, roomy, settlement};

const POSITION: (&str, &str) = ("sums:paper:default:binance.spot:BTCUSDT", "position");
const LONG: (&str, &str) = ("sums:paper:default:binance.spot:BTCUSDT", "long");

fn bitcoin(rig: &Rig) -> Instrument {
    rig.settings.instruments.to_instruments(&rig.settings.risk).remove(0)
}

async fn claimed(rig: &Rig, store: &Store) -> Placement {
    let instrument = bitcoin(rig);
    let intent = intent_for(&instrument, CaseTerms::buy(OrderType::Limit, TimeInForce::Gtc, 100));
    let deadline = Timestamp::now().saturating_add(Duration::from_secs(60));
    claim(store, &instrument, binance::PREFIX, &intent, deadline)
        .await
        .into_inner()
}

/// The settlement of a complete fill.
fn settle(placement: &Placement) -> SettleRequest {
    let order = &placement.order;
    let fill = Fill {
        exec_id: format!("{}-1", order.order_id),
        quantity: order.quantity,
        price: order.price.unwrap(),
        timestamp: Timestamp::now(),
        fee: Decimal::ZERO,
        fee_currency: "USDT".into(),
    };
    let report = VenueReport {
        broker_order_id: None,
        fills: vec![fill],
        state: VenueOrderState::Working,
        cumulative_quantity: None,
        legs: LegWord::default(),
        due: None,
    };
    let applied = order
        .apply_report(
            &report,
            &order_router::domain::currency_rates::CurrencyRates::default(),
            Timestamp::now(),
        )
        .unwrap();
    SettleRequest {
        event_document: build_journal_report(&applied.order, applied.deltas, 1, Metadata::new())
            .encode()
            .into(),
        order: applied.order,
        deltas: applied.deltas,
        booked_on: Timestamp::now().utc_date(),
        watch: None,
        only_reduces: false,
        lease: Some(placement.lease.clone()),
        deadline: Some(placement.deadline),
        settlement_id: Uuid::now_v7(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settlement_is_booked_once_and_only_under_its_fences() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let placement = claimed(&rig, &store).await;
    assert_eq!(
        (rig.sum(LONG.0, LONG.1).await, rig.sum(POSITION.0, POSITION.1).await),
        (100, 0)
    );

    let foreign = SettleRequest {
        lease: Some(LeaseToken::generate()),
        ..settle(&placement)
    };
    assert_eq!(store.settle(foreign).await, Ok(SettleOutcome::LeaseLost));
    let late = SettleRequest {
        deadline: Some(Timestamp::from_milliseconds(1)),
        ..settle(&placement)
    };
    assert_eq!(store.settle(late).await, Ok(SettleOutcome::DeadlinePassed));
    assert_eq!(rig.sum(POSITION.0, POSITION.1).await, 0);

    let effect = settle(&placement);
    for _ in 0..3 {
        assert_eq!(store.settle(effect.clone()).await, Ok(booked(vec![])));
    }
    assert!(matches!(
        store.settle(settle(&placement)).await,
        Ok(SettleOutcome::Superseded(_))
    ));
    assert_eq!(
        (rig.sum(LONG.0, LONG.1).await, rig.sum(POSITION.0, POSITION.1).await),
        (100, 100)
    );
    // A settled order is no claim any more and cannot be released.
    assert_eq!(store.release_claim(&placement.order, &placement.lease).await, Ok(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_without_its_lease_changes_nothing() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let placement = claimed(&rig, &store).await;
    // Another worker finds the lease ended and releases the claim.
    assert_eq!(store.release_claim(&placement.order, &placement.lease).await, Ok(true));
    assert_eq!(store.release_claim(&placement.order, &placement.lease).await, Ok(false));
    assert_eq!(rig.sum(LONG.0, LONG.1).await, 0);
    assert_eq!(store.settle(settle(&placement)).await, Ok(SettleOutcome::OrderNotFound));
    assert_eq!(
        (rig.sum(LONG.0, LONG.1).await, rig.sum(POSITION.0, POSITION.1).await),
        (0, 0)
    );
    let left: Vec<String> = rig
        .store()
        .await
        .into_keys()
        .filter(|key| key.starts_with("order:"))
        .collect();
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_of_an_old_epoch_changes_nothing() {
    let rig = Rig::start().await;
    let (old, other) = (ready_store(&rig).await, ready_store(&rig).await);
    let placement = claimed(&rig, &old).await;
    let status = other.read_status().await.unwrap();
    let BeginRebuildOutcome::Acquired(rebuild) = other.begin_rebuild(&status).await.unwrap() else {
        panic!("the rebuild is not acquired")
    };
    // During a rebuild no other worker starts one, and every other script is refused.
    assert!(matches!(
        old.settle(settle(&placement)).await,
        Err(StoreError::Stale(_))
    ));
    assert_eq!(old.epoch(), None);
    let during = old.read_status().await.unwrap();
    assert!(matches!(
        old.begin_rebuild(&during).await.unwrap(),
        BeginRebuildOutcome::Busy
    ));
    let epoch = status.epoch.parse::<i64>().unwrap() + 1;
    other
        .finish_rebuild(&rebuild, epoch, "test", NO_LATE_EVENTS)
        .await
        .unwrap();
    old.join_epoch(epoch - 1);
    assert!(matches!(
        old.settle(settle(&placement)).await,
        Err(StoreError::Stale(_))
    ));
    assert_eq!(rig.sum(POSITION.0, POSITION.1).await, 0);
    assert!(matches!(
        old.begin_rebuild(&status).await.unwrap(),
        BeginRebuildOutcome::AlreadyRebuilt
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_is_detected_by_missing_scripts() {
    let mut rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let placement = claimed(&rig, &store).await;
    rig.redis.kill9();
    rig.redis.restart().await;
    let outcome = crate::support::poll::eventually(crate::rig::SOON, "Redis replies again", async || {
        match store.settle(settle(&placement)).await {
            Err(StoreError::OutcomeUnknown(_)) => None,
            outcome => Some(outcome),
        }
    })
    .await;
    assert!(matches!(outcome, Err(StoreError::Stale(_))), "{outcome:?}");
    assert_eq!(store.epoch(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn store_with_orders_and_no_epoch_is_not_rebuilt() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    claimed(&rig, &store).await;
    let mut connection = rig.redis.connection().await;
    redis::cmd("DEL")
        .arg("{or}:meta")
        .query_async::<()>(&mut connection)
        .await
        .unwrap();
    let status = store.read_status().await.unwrap();
    assert!(matches!(
        store.begin_rebuild(&status).await,
        Err(StoreError::Corrupt(_))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn copy_from_before_the_present_epoch_is_not_ready() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let status = store.read_status().await.unwrap();
    assert!(status.active_epoch().is_some());
    // An older primary returns with the scripts of its own epoch and learns of the newer one.
    let newer = status.epoch.parse::<i64>().unwrap() + 1;
    let mut connection = rig.redis.connection().await;
    redis::cmd("HSET")
        .arg("{or}:meta")
        .arg("epoch")
        .arg(newer)
        .query_async::<()>(&mut connection)
        .await
        .unwrap();
    assert_eq!(store.read_status().await.unwrap().active_epoch(), None);
    store.join_epoch(newer);
    let placement = intent_for(&bitcoin(&rig), CaseTerms::buy(OrderType::Limit, TimeInForce::Gtc, 1));
    let key = OrderKey::new(Mode::Paper, &placement.account_id, &placement.client_order_id);
    assert!(matches!(store.read_order(&key).await, Err(StoreError::Stale(_))));
}

fn event(settle: &SettleRequest, sequence: u64) -> OrderReplay {
    let claimed = SumDeltas {
        long: to_quantity_units(settle.order.quantity.decimal()).unwrap(),
        ..SumDeltas::default()
    };
    OrderReplay {
        order: settle.order.clone(),
        deltas: claimed.checked_add(&settle.deltas).unwrap(),
        booked_on: settle.booked_on,
        earlier_days: Vec::new(),
        sequence,
        document: settle.event_document.clone(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mark_of_a_lost_event_is_reported_and_the_event_replayed_once() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let placement = claimed(&rig, &store).await;
    let effect = settle(&placement);
    store.settle(effect.clone()).await.unwrap();
    // The store loses its last writes: the order and its deltas.
    let mut connection = rig.redis.connection().await;
    for key in rig.store_keys().await.into_iter().filter(|key| key != "meta") {
        redis::cmd("DEL")
            .arg(format!("{{or}}:{key}"))
            .query_async::<()>(&mut connection)
            .await
            .unwrap();
    }
    let order = &effect.order;
    let key = order.key();
    let mark = MarkJournaledRequest {
        key,
        order_id: order.order_id.clone(),
        version: 1,
        settlement_id: None,
        sequence: 7,
    };
    assert_eq!(
        store.mark_journaled(mark.clone()).await,
        Ok(MarkJournaledOutcome::NeedsReplay)
    );
    assert_eq!(rig.sum("meta", "journal_sequence").await, 0);
    assert_eq!(
        store
            .replay_orders_with_conflicts(None, &[event(&effect, 7)], None)
            .await,
        Ok((1, Vec::new()))
    );
    assert_eq!(
        store
            .replay_orders_with_conflicts(None, &[event(&effect, 9)], None)
            .await,
        Ok((0, Vec::new()))
    );
    assert_eq!(
        (rig.sum(LONG.0, LONG.1).await, rig.sum(POSITION.0, POSITION.1).await),
        (100, 100)
    );
    assert_eq!(store.mark_journaled(mark).await, Ok(MarkJournaledOutcome::Marked));
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_journal_event_counts_once() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let placement = claimed(&rig, &store).await;
    let mut effect = settle(&placement);
    store.release_claim(&placement.order, &placement.lease).await.unwrap();
    // Older than any retention.
    effect.order.updated_at = Timestamp::from_milliseconds(1);
    assert_eq!(
        store
            .replay_orders_with_conflicts(None, &[event(&effect, 3), event(&effect, 4)], None)
            .await,
        Ok((1, Vec::new()))
    );
    assert_eq!(
        store
            .replay_orders_with_conflicts(None, &[event(&effect, 5)], None)
            .await,
        Ok((0, Vec::new()))
    );
    assert_eq!(rig.sum(POSITION.0, POSITION.1).await, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn mark_or_settlement_of_another_order_with_the_id_changes_nothing() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let placement = claimed(&rig, &store).await;
    let effect = settle(&placement);
    store.settle(effect.clone()).await.unwrap();
    let order = &effect.order;
    let key = order.key();
    let later = Timestamp::now().saturating_add(Duration::from_secs(1));
    let other = key.order_id(binance::PREFIX, later);
    let mark = MarkJournaledRequest {
        key,
        order_id: other.clone(),
        version: 1,
        settlement_id: None,
        sequence: 7,
    };
    assert_eq!(store.mark_journaled(mark).await, Ok(MarkJournaledOutcome::NeedsReplay));
    assert!(rig.store_keys().await.contains(&"outbox".to_owned()));
    let mut foreign = settle(&placement);
    foreign.order.order_id = other;
    foreign.order.version = 2;
    foreign.lease = None;
    assert_eq!(store.settle(foreign).await, Ok(SettleOutcome::OrderNotFound));
}

/// Where an event of the journal takes the place of what the store holds of an order.
async fn replace_by(store: &Store, stored: &OrderUpdate, counts: &OrderUpdate, moved: SumDeltas, sequence: u64) {
    let stored = ConflictingOrder {
        order: stored.order.clone(),
    };
    let events = [crate::store_scripts::event(counts, moved, sequence)];
    let replaced = store.replay_orders_with_conflicts(None, &events, Some(&stored)).await;
    assert_eq!(replaced, Ok((1, Vec::new())));
}

#[tokio::test(flavor = "multi_thread")]
async fn effect_is_not_booked_on_another_effect_of_the_same_version() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (claim, _) = crate::store_scripts::claimed(&rig, &store, 30).await;
    let reserved = claim.reservation_deltas();
    // One worker reads the first version of an order; then another effect is that version.
    let (void, counts) = (filled(&claim, 10), filled(&claim, 4));
    assert_eq!(store.settle(settlement(&void)).await, Ok(booked(vec![])));
    let moved = reserved.checked_add(&counts.deltas).unwrap();
    replace_by(&store, &void, &counts, moved, 7).await;
    assert_eq!(rig.sum(POSITION.0, POSITION.1).await, 4);
    let on_void = settlement(&filled(&void.order, 20));
    let superseded = store.settle(on_void).await.unwrap();
    let SettleOutcome::Superseded(document) = superseded else {
        panic!("{superseded:?}")
    };
    assert_eq!(
        decode_journal_report(&document).unwrap().0.settlement_id,
        counts.order.settlement_id
    );
    assert_eq!(rig.sum(POSITION.0, POSITION.1).await, 4);
    // What builds on the effect that counts is booked, also twice.
    let ended = cancelled(&counts.order);
    for _ in 0..2 {
        assert_eq!(store.settle(settlement(&ended)).await, Ok(booked(vec![])));
    }

    // The same once the order has ended, and only its entry is left.
    let mark = MarkJournaledRequest {
        key: claim.key(),
        order_id: claim.order_id.clone(),
        version: 2,
        settlement_id: ended.order.settlement_id,
        sequence: 8,
    };
    assert_eq!(store.mark_journaled(mark).await, Ok(MarkJournaledOutcome::Marked));
    let on_void = settlement(&filled(&cancelled(&counts.order).order, 20));
    assert_eq!(store.settle(on_void).await, Ok(SettleOutcome::Superseded(Bytes::new())));
    assert_eq!(rig.sum(POSITION.0, POSITION.1).await, 4);
    let on_ended = settlement(&filled(&ended.order, 3));
    assert_eq!(store.settle(on_ended).await, Ok(booked(vec![])));
    assert_eq!(rig.sum(POSITION.0, POSITION.1).await, 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_terms_are_not_booked_on_another_effect_of_the_same_version() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (claim, _) = crate::store_scripts::claimed(&rig, &store, 30).await;
    let (void, counts) = (filled(&claim, 10), filled(&claim, 4));
    assert_eq!(store.settle(settlement(&void)).await, Ok(booked(vec![])));
    let moved = claim.reservation_deltas().checked_add(&counts.deltas).unwrap();
    replace_by(&store, &void, &counts, moved, 7).await;
    for (base, is_booked) in [(&void, false), (&counts, true)] {
        let effect = filled(&base.order, 1);
        let request = settlement(&effect);
        let immediate = ImmediateEffect {
            order: request.order,
            document: request.event_document,
            readings_at: 0,
            booked_on: request.booked_on,
            watch: None,
            only_reduces: false,
            deadline: Timestamp::now().saturating_add(Duration::from_secs(60)),
            settlement_id: request.settlement_id,
            prepared_at: Instant::now(),
        };
        let claimed = ClaimRequest {
            reductions_only: false,
            deltas: effect.deltas,
            step: ClaimStep::Effect(Arc::new(immediate)),
        };
        let outcome = evaluate(&store, &claim, roomy(&claim), claimed).await;
        match outcome {
            ReserveOutcome::Superseded => assert!(!is_booked),
            ReserveOutcome::Booked(..) => assert!(is_booked),
            other => panic!("{other:?}"),
        }
        let position = if is_booked { 5 } else { 4 };
        assert_eq!(rig.sum(POSITION.0, POSITION.1).await, position);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn late_effects_of_another_chain_are_neither_marked_nor_replayed_on_what_counts() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (claim, _) = crate::store_scripts::claimed(&rig, &store, 30).await;
    // The store was lost with the first two effects of an order, whose events come late; another effect is its first here.
    let late = filled(&claim, 10);
    let later = filled(&late.order, 5);
    let counts = filled(&claim, 4);
    assert_eq!(store.settle(settlement(&counts)).await, Ok(booked(vec![])));
    let mark = |effect: &OrderUpdate, sequence| MarkJournaledRequest {
        key: claim.key(),
        order_id: claim.order_id.clone(),
        version: effect.order.version,
        settlement_id: effect.order.settlement_id,
        sequence,
    };
    for _ in 0..2 {
        assert_eq!(
            store.mark_journaled(mark(&counts, 9)).await,
            Ok(MarkJournaledOutcome::Marked)
        );
    }
    assert_eq!(
        store.mark_journaled(mark(&late, 7)).await,
        Ok(MarkJournaledOutcome::NeedsReplay)
    );
    let events = [crate::store_scripts::event(&later, later.deltas, 8)];
    let replayed = store.replay_orders_with_conflicts(None, &events, None).await;
    assert_eq!(replayed, Ok((0, vec![0])));
    let whole = [events[0].from_nothing().unwrap()];
    assert_eq!(whole[0].order.builds_on, None);
    assert_eq!(rig.sum(POSITION.0, POSITION.1).await, 4);
    let record = store.read_order(&claim.key()).await.unwrap().unwrap();
    assert_eq!(record.known.version, 1);
    // The same of an order that has ended: only its entry is left.
    let ended = cancelled(&counts.order);
    assert_eq!(store.settle(settlement(&ended)).await, Ok(booked(vec![])));
    assert_eq!(
        store.mark_journaled(mark(&ended, 10)).await,
        Ok(MarkJournaledOutcome::Marked)
    );
    assert_eq!(
        store.mark_journaled(mark(&later, 8)).await,
        Ok(MarkJournaledOutcome::NeedsReplay)
    );
    let latest = filled(&later.order, 5);
    let events = [crate::store_scripts::event(&latest, latest.deltas, 11)];
    let replayed = store.replay_orders_with_conflicts(None, &events, None).await;
    assert_eq!(replayed, Ok((0, vec![0])));
    assert_eq!(rig.sum(POSITION.0, POSITION.1).await, 4);
}
