//! Remembered ids: one small entry an order that has ended, found by either id, split over buckets, swept when its
//! retention has ended, and bounded; denials have a budget.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt};
use order_router::domain::order::Order;
use order_router::domain::settlement::SumDeltas;
use order_router::domain::time::Timestamp;
use order_router::fault::FaultCode;
use order_router::store::Store;
use order_router::store::orders::mark_journaled::{MarkJournaledOutcome, MarkJournaledRequest};
use order_router::store::orders::record::RecordStage;
use order_router::store::orders::reserve::{ReserveAction, ReserveOutcome};
use order_router::store::orders::settle::SettleOutcome;
use redis::AsyncCommands;

use crate::conformance_store::ready_store;
use crate::rig::{Rig, SOON, intent};
use crate::store_scripts::{booked, claimed, event, filled, order, reserve, settlement};

/// The most bytes of Redis that a remembered id may take.
const MAX_BYTES_PER_ID: usize = 80;
/// How many calls of a test wait at a time.
const CONCURRENCY: usize = 256;

fn denial(max_denials_per_hour: Option<i64>) -> ReserveAction {
    ReserveAction::RecordDecision {
        document: b"{}".to_vec(),
        max_denials_per_hour,
    }
}

async fn mark(store: &Store, order: &Order, version: u32, sequence: u64) {
    let marked = store.mark_journaled(MarkJournaledRequest {
        key: order.key(),
        order_id: order.order_id.clone(),
        version,
        settlement_id: None,
        sequence,
    });
    assert_eq!(marked.await, Ok(MarkJournaledOutcome::Marked));
}

/// Records this many denials and marks them as journaled, under the sequences from 1.
async fn remember(rig: &Rig, store: &Store, count: u64) -> Vec<Order> {
    let orders: Vec<Order> = (0..count).map(|_| order(rig, 10)).collect();
    stream::iter(orders.iter().zip(1..))
        .for_each_concurrent(CONCURRENCY, |(order, sequence)| async move {
            assert_eq!(
                reserve(store, order, denial(None)).await,
                ReserveOutcome::DenialRecorded
            );
            mark(store, order, 1, sequence).await;
        })
        .await;
    orders
}

async fn assert_remembered(store: &Store, orders: &[Order]) {
    stream::iter(orders.iter().zip(1..))
        .for_each_concurrent(CONCURRENCY, |(order, sequence)| async move {
            let ReserveOutcome::AlreadyKnown(known) = reserve(store, order, ReserveAction::Lookup).await else {
                panic!("{} is forgotten", order.client_order_id);
            };
            assert_eq!(known.order_id, order.order_id);
            assert_eq!(known.content, order.content_hash.digest());
            assert_eq!(
                (
                    known.stage,
                    known.version,
                    known.journaled_version,
                    known.journal_sequence
                ),
                (RecordStage::Denied, 1, 1, sequence)
            );
        })
        .await;
}

async fn bucket_keys(rig: &Rig) -> Vec<String> {
    rig.redis.connection().await.keys("{or}:ids:*").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_take_few_bytes_and_are_found_through_every_split() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let orders = remember(&rig, &store, 6_000).await;
    assert_remembered(&store, &orders).await;
    let mut redis = rig.redis.connection().await;
    let (mut bytes, mut entries) = (0, 0);
    for key in bucket_keys(&rig).await {
        let encoding: String = redis::cmd("OBJECT")
            .arg("ENCODING")
            .arg(&key)
            .query_async(&mut redis)
            .await
            .unwrap();
        assert_eq!(encoding, "listpack", "{key}");
        entries += redis.hlen::<_, usize>(&key).await.unwrap();
        let usage: usize = redis::cmd("MEMORY")
            .arg("USAGE")
            .arg(&key)
            .query_async(&mut redis)
            .await
            .unwrap();
        bytes += usage;
    }
    assert_eq!(entries, orders.len());
    assert!(bytes <= MAX_BYTES_PER_ID * entries, "{} bytes an id", bytes / entries);
    let left: Vec<String> = redis.keys("{or}:order:*").await.unwrap();
    assert_eq!(left, Vec::<String>::new());
    let count: usize = redis.hget("{or}:ids", "count").await.unwrap();
    assert_eq!(count, entries);
}

#[tokio::test(flavor = "multi_thread")]
async fn sweep_drops_what_has_expired_and_merges_buckets() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let orders = remember(&rig, &store, 2_000).await;
    let buckets = bucket_keys(&rig).await.len();
    let mut redis = rig.redis.connection().await;
    // All but every 50th expired long ago.
    let mut kept = BTreeMap::new();
    for key in bucket_keys(&rig).await {
        let entries: BTreeMap<String, Vec<u8>> = redis.hgetall(&key).await.unwrap();
        for (name, mut entry) in entries {
            if orders.iter().step_by(50).any(|order| order.key().name() == name) {
                kept.insert(name, entry);
            } else {
                entry[..3].fill(0);
                redis.hset::<_, _, _, ()>(&key, name, entry).await.unwrap();
            }
        }
    }
    let mut dropped = 0;
    for _ in 0..buckets {
        // The pace is one round an hour: an hour has passed since the last look.
        let hour_ago = Timestamp::now().as_milliseconds() - 3_600_000;
        redis
            .hset::<_, _, _, ()>("{or}:ids", "swept_at", hour_ago)
            .await
            .unwrap();
        dropped += store.sweep_remembered_ids().await.unwrap().dropped;
    }
    let swept = store.sweep_remembered_ids().await.unwrap();
    assert_eq!((dropped, swept.count), (2_000 - 40, 40));
    assert!(swept.buckets <= 5, "{} buckets for 40 ids", swept.buckets);
    assert!(bucket_keys(&rig).await.len() as u64 <= swept.buckets);
    let known: BTreeMap<_, _> = (1..).zip(&orders).step_by(50).collect();
    for (sequence, order) in known {
        let ReserveOutcome::AlreadyKnown(known) = reserve(&store, order, ReserveAction::Lookup).await else {
            panic!("{sequence} is forgotten");
        };
        assert_eq!(known.journal_sequence, sequence);
    }
    // Without a pause nothing is due.
    assert_eq!(store.sweep_remembered_ids().await.unwrap().dropped, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_fill_of_a_remembered_order_is_booked_once() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let (claim, _) = claimed(&rig, &store, 10).await;
    let whole = filled(&claim, 10);
    let settle = settlement(&whole);
    assert_eq!(store.settle(settle.clone()).await, Ok(booked(vec![])));
    let marked = MarkJournaledRequest {
        key: claim.key(),
        order_id: claim.order_id.clone(),
        version: 1,
        settlement_id: Some(settle.settlement_id),
        sequence: 7,
    };
    assert_eq!(store.mark_journaled(marked).await, Ok(MarkJournaledOutcome::Marked));
    // The reply was lost, and another worker has journaled it: the same settlement is still booked once.
    assert_eq!(store.settle(settle.clone()).await, Ok(booked(vec![])));
    let late = filled(&whole.order, 1);
    let another = settlement(&filled(&claim, 10));
    assert!(matches!(store.settle(another).await, Ok(SettleOutcome::Superseded(_))));
    let late_settle = settlement(&late);
    for _ in 0..2 {
        assert_eq!(store.settle(late_settle.clone()).await, Ok(booked(vec![])));
    }
    let record = store.read_order(&claim.key()).await.unwrap().unwrap();
    assert_eq!(
        (
            record.known.version,
            record.known.journaled_version,
            record.known.journal_sequence
        ),
        (2, 1, 7)
    );
    mark(&store, &claim, 2, 9).await;
    let stored = &rig.store().await[&format!("order:{}", claim.key())];
    assert_eq!(
        (stored["v"].as_str(), stored["seq"].as_str(), stored["fs"].as_str()),
        ("2", "9", "7")
    );
    assert_eq!(stored["o"], claim.order_id.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn remembered_order_of_an_id_that_its_key_is_no_part_of_is_found() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let own = order(&rig, 10);
    // An id as another release made it.
    let foreign = Order {
        order_id: order(&rig, 10).order_id,
        ..own.clone()
    };
    assert_eq!(
        reserve(&store, &foreign, denial(None)).await,
        ReserveOutcome::DenialRecorded
    );
    mark(&store, &foreign, 1, 3).await;
    let ReserveOutcome::AlreadyKnown(known) = reserve(&store, &own, ReserveAction::Lookup).await else {
        panic!("the id is forgotten");
    };
    assert_eq!(known.order_id, foreign.order_id);
    // A late replay of it changes nothing.
    let claim = Order {
        version: 0,
        ..foreign.clone()
    };
    let again = event(&filled(&claim, 10), SumDeltas::default(), 3);
    let replayed = store.replay_orders_with_conflicts(None, &[again], None).await;
    assert_eq!(replayed, Ok((0, vec![])));
}

#[tokio::test(flavor = "multi_thread")]
async fn denials_beyond_the_budget_of_the_hour_are_not_recorded() {
    let rig = Rig::start().await;
    let store = ready_store(&rig).await;
    let orders: Vec<Order> = (0..3).map(|_| order(&rig, 10)).collect();
    for order in &orders[..2] {
        let recorded = reserve(&store, order, denial(Some(2))).await;
        assert_eq!(recorded, ReserveOutcome::DenialRecorded);
    }
    let before = rig.store().await;
    let third = reserve(&store, &orders[2], denial(Some(2))).await;
    assert_eq!(third, ReserveOutcome::DenialBudgetUsed);
    assert_eq!(rig.store().await, before);
    // A known id is answered all the same, and another account has a budget of its own.
    let known = reserve(&store, &orders[0], denial(Some(2))).await;
    assert!(matches!(known, ReserveOutcome::AlreadyKnown(_)), "{known:?}");
    let other = Order {
        account_id: order_router::domain::id::AccountId::new("other").unwrap(),
        ..orders[2].clone()
    };
    assert_eq!(
        reserve(&store, &other, denial(Some(2))).await,
        ReserveOutcome::DenialRecorded
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn new_ids_are_refused_where_no_more_may_be_remembered() {
    let mut rig = Rig::start().await;
    // A mebibyte holds 13 107 ids.
    rig.settings.redis.remembered_ids_mb = 1;
    let store = ready_store(&rig).await;
    let orders = remember(&rig, &store, 10).await;
    let mut redis = rig.redis.connection().await;
    redis.hset::<_, _, _, ()>("{or}:ids", "count", 13_107).await.unwrap();
    let next = order(&rig, 10);
    assert_eq!(reserve(&store, &next, denial(None)).await, ReserveOutcome::StoreFull);
    assert_remembered(&store, &orders).await;
    redis.hset::<_, _, _, ()>("{or}:ids", "count", 13_106).await.unwrap();
    assert_eq!(
        reserve(&store, &next, denial(None)).await,
        ReserveOutcome::DenialRecorded
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn account_beyond_its_budget_of_denials_is_refused_and_nothing_is_journaled() {
    let mut rig = Rig::start().await;
    rig.settings.risk.max_denials_per_hour = 1;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let too_large = |id: &str| intent(id, &[("quantity", "0.75001")]);
    let denied = client.fault(&too_large("a1")).await;
    assert_eq!(denied.code, FaultCode::OrderSizeExceeded);
    let journaled = client.journal().await.len();
    let refused = client.fault(&too_large("a2")).await;
    assert_eq!(refused.code, FaultCode::RateLimited);
    assert!(
        refused.detail.contains("risk.max_denials_per_hour"),
        "{}",
        refused.detail
    );
    assert_eq!(client.journal().await.len(), journaled);
    // The id is free, and the recorded one has its answer.
    assert!(client.submit(&intent("a2", &[])).await.is_ok());
    assert_eq!(client.fault(&too_large("a1")).await, denied);
    worker.drain(SOON).await;
}
