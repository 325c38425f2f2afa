//! Adjustments: booked once through any failure, journaled before they are confirmed, and restored by a rebuild.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use order_router::bus::request::BusReply;
use order_router::bus::router_client::RequestError;
use order_router::bus::stream_entry::StoredEntry;
use order_router::bus::subjects;
use order_router::domain::id::AccountId;
use order_router::domain::money::{Micros, Rounding};
use order_router::domain::time::Timestamp;
use order_router::fault::{Fault, FaultCode};
use order_router::wire::adjustment::AdjustmentEvent;
use order_router::worker::Worker;
use order_router::worker::stop_point;
use order_router::worker::trading_day::VIEW_REUSE;
use redis::AsyncCommands;
use serde_json::{Value, json};

use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;

const SUMS: &str = "sums:paper:fund:ibkr.paper:AAPL";

fn position(id: &str, quantity: &str, price: &str) -> Value {
    json!({"adjustment_id": id, "account_id": "fund", "venue": "ibkr.paper", "symbol": "AAPL",
        "quantity": quantity, "price": price, "actor": "mira", "reason": "opening"})
}

fn cash(id: &str, amount: &str) -> Value {
    json!({"adjustment_id": id, "account_id": "fund", "cash": amount, "actor": "mira", "reason": "deposit"})
}

async fn adjust(client: &Client, body: &Value) -> Result<BusReply, RequestError> {
    let deadline = Timestamp::now().saturating_add(Duration::from_secs(10));
    client
        .caller
        .request(subjects::ADJUST, body.to_string().into(), deadline)
        .await
}

async fn adjust_ok(client: &Client, body: &Value) -> (Value, BusReply) {
    let reply = adjust(client, body)
        .await
        .unwrap_or_else(|error| panic!("{body}: {error}"));
    (serde_json::from_slice(&reply.body).unwrap(), reply)
}

async fn fault(client: &Client, body: &Value) -> Fault {
    match adjust(client, body).await {
        Err(RequestError::Fault(fault)) => fault,
        other => panic!("{body}: {other:?}"),
    }
}

async fn journaled(client: &Client) -> Vec<StoredEntry> {
    let mut entries = client.journal().await;
    entries.retain(|entry| subjects::is_adjustment(&entry.subject));
    entries
}

async fn sums(rig: &Rig) -> [i64; 4] {
    let mut sums = [0; 4];
    for (sum, field) in sums.iter_mut().zip(["position", "long", "short", "cash_flow"]) {
        *sum = rig.sum(SUMS, field).await;
    }
    sums
}

/// Returns the cash of every booked adjustment, in millionths.
async fn cash_of(rig: &Rig) -> i64 {
    let store = rig.store().await;
    let booked = store.iter().filter(|(key, _)| key.starts_with("adjustment:"));
    let cash = booked.filter_map(|(_, record)| {
        let event: AdjustmentEvent = serde_json::from_str(&record["doc"]).unwrap();
        Micros::from_decimal(event.cash?, Rounding::Down).map(Micros::units)
    });
    cash.sum()
}

async fn wait_until_journaled(rig: &Rig) {
    poll::until(SOON, "no adjustment waits for the journal", async || {
        !rig.store_keys().await.iter().any(|key| key == "adjustments")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adjustment_is_booked_once_and_its_reply_is_the_journaled_event() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;

    let (event, reply) = adjust_ok(&client, &position("p1", "1.5", "180.01")).await;
    assert_eq!(event["deltas"]["cash_flow"], -270_015_000);
    assert_eq!(
        (event["actor"].as_str(), event["reason"].as_str()),
        (Some("mira"), Some("opening"))
    );
    assert!(!reply.is_replay);
    let [entry] = journaled(&client).await.try_into().unwrap();
    assert_eq!(entry.subject, "orders.events.adjustment.fund");
    assert_eq!(
        (entry.body.to_vec(), Some(entry.sequence)),
        (reply.body.clone(), reply.journal_sequence)
    );
    assert_eq!(sums(&rig).await, [150, 150, -150, -270_015_000]);
    let holding = rig.store().await["holding_accounts:paper"].clone();
    assert!(holding.contains_key("{or}:account:paper:fund"), "{holding:?}");

    // A repeated request returns the same reply; other content is a conflict. Neither books anything.
    let (_, again) = adjust_ok(&client, &position("p1", "1.50", "180.01")).await;
    assert_eq!((again.body, again.is_replay), (reply.body, true));
    let conflict = fault(&client, &position("p1", "2", "180.01")).await;
    assert_eq!(conflict.code, FaultCode::ClientOrderIdConflict);
    assert_eq!(
        fault(&client, &cash("p1", "2")).await.code,
        FaultCode::ClientOrderIdConflict
    );
    assert_eq!(sums(&rig).await, [150, 150, -150, -270_015_000]);

    adjust_ok(&client, &position("p2", "-2", "180")).await;
    assert_eq!(sums(&rig).await, [-50, -50, 50, 89_985_000]);
    adjust_ok(&client, &cash("c1", "1000.000001")).await;
    adjust_ok(&client, &cash("c2", "-250")).await;
    assert_eq!(cash_of(&rig).await, 750_000_001);
    assert_eq!(journaled(&client).await.len(), 4);
    wait_until_journaled(&rig).await;

    // A refusal names the field. An assigned id is returned, in the reply and in a refusal.
    let mut without_id = cash("x", "1");
    without_id.as_object_mut().unwrap().remove("adjustment_id");
    let (event, _) = adjust_ok(&client, &without_id).await;
    assert_eq!(event["adjustment_id"].as_str().unwrap().len(), 36);
    let mut unknown = position("u", "1", "1");
    unknown["symbol"] = json!("NOPE");
    let refused = fault(&client, &unknown).await;
    assert_eq!(
        (refused.code, refused.field.as_deref()),
        (FaultCode::UnsupportedPair, Some("symbol"))
    );
    assert_eq!(refused.metadata.text("adjustment_id"), Some("u"));
    let fraction = fault(&client, &position("f", "0.000000001", "1")).await;
    assert_eq!(
        (fraction.code, fraction.field.as_deref()),
        (FaultCode::InvalidField, Some("quantity"))
    );
    // No rule applies to an adjustment: this one far exceeds the position and notional limits of an order.
    adjust_ok(&client, &position("large", "1000000", "180")).await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cash_adjustment_does_not_change_daily_pnl_even_after_a_rebuild() {
    let rig = Rig::start().await;
    let days = Arc::new(AtomicU64::new(0));
    let ahead = days.clone();
    let clock = move || Timestamp::now().saturating_add(Duration::from_secs(ahead.load(Ordering::SeqCst) * 86_400));
    let worker = Worker::start_with_clock(&rig.settings, Arc::new(clock)).await.unwrap();
    let client = rig.caller().await;
    let load_profit = async || {
        tokio::time::sleep(VIEW_REUSE).await;
        let fund = AccountId::new("fund").unwrap();
        let pnl = poll::eventually(SOON, "the profit and loss is known", async || {
            worker.router().trading_day.load_pnl(&fund).await.ok()
        });
        let (_, pnl) = pnl.await;
        (pnl.account.day.profit, pnl.total.day.profit)
    };
    let nothing = (Micros::ZERO, Micros::ZERO);
    adjust_ok(&client, &cash("in", "5")).await;
    adjust_ok(&client, &position("p", "1", "180")).await;
    assert_eq!(load_profit().await, nothing);
    // The next day starts with the cash of the day before; a withdrawal follows.
    days.store(1, Ordering::SeqCst);
    assert_eq!(load_profit().await, nothing);
    adjust_ok(&client, &cash("out", "-2")).await;
    assert_eq!(load_profit().await, nothing);
    rig.redis.flushall().await;
    assert_eq!(load_profit().await, nothing);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adjustment_beyond_the_exact_range_is_refused_before_any_write() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let most = 9_007_199_254_740_991_i64;
    adjust_ok(&client, &position("first", "0.01", "180")).await;
    // The cash flow is the last sum of a position that is checked.
    let mut redis = rig.redis.connection().await;
    let (ledger, holding) = ("{or}:account:paper:fund", "ibkr.paper:AAPL");
    let packed: String = redis.hget(ledger, holding).await.unwrap();
    let mut numbers: Vec<String> = packed.split(' ').map(str::to_owned).collect();
    numbers[5] = (1 - most).to_string();
    redis
        .hset::<_, _, _, ()>(ledger, holding, numbers.join(" "))
        .await
        .unwrap();
    let refused = fault(&client, &position("p", "0.01", "180")).await;
    assert_eq!(
        (refused.code, refused.field.as_deref()),
        (FaultCode::InvalidField, Some("quantity"))
    );
    assert_eq!(sums(&rig).await, [1, 1, -1, 1 - most]);
    assert_eq!(journaled(&client).await.len(), 1);
    worker.drain(SOON).await;
}

/// Positions below a lot are adjusted, too: nothing else could clear them.
#[tokio::test(flavor = "multi_thread")]
async fn adjustment_takes_any_quantity_of_eight_decimals() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    adjust_ok(&client, &position("in", "0.12345678", "180")).await;
    let held = async || rig.store().await["account:paper:fund"]["ibkr.paper:AAPL.position"].clone();
    assert_eq!(held().await, "12345678");
    adjust_ok(&client, &position("out", "-0.12345678", "180")).await;
    assert_eq!(held().await, "0");
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_book_one_adjustment_id_once() {
    let rig = Rig::start().await;
    let workers = [rig.worker().await, rig.worker().await];
    let client = rig.caller().await;
    for round in 0..5 {
        let (one, other) = (
            position(&format!("r{round}"), "1", "180"),
            position(&format!("r{round}"), "2", "180"),
        );
        let mut calls = Vec::new();
        for _ in 0..8 {
            calls.push(adjust(&client, &one));
            calls.push(adjust(&client, &other));
        }
        let replies = futures_util::future::join_all(calls).await;
        let bodies: std::collections::BTreeSet<&Vec<u8>> = replies.iter().flatten().map(|reply| &reply.body).collect();
        assert_eq!(bodies.len(), 1, "one reply for the id");
        assert_eq!(replies.iter().flatten().count(), 8);
        let conflicts = replies.iter().filter(
            |reply| matches!(reply, Err(RequestError::Fault(fault)) if fault.code == FaultCode::ClientOrderIdConflict),
        );
        assert_eq!(conflicts.count(), 8);
    }
    let entries = journaled(&client).await;
    let shares: i64 = entries
        .iter()
        .map(|entry| {
            serde_json::from_slice::<Value>(&entry.body).unwrap()["deltas"]["position"]
                .as_i64()
                .unwrap()
        })
        .sum();
    // Lots of 0.01.
    assert_eq!((entries.len(), sums(&rig).await[0]), (5, 100 * shares));
    for worker in workers {
        worker.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_counts_each_adjustment_once() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    for n in 0..3 {
        adjust_ok(&client, &position(&format!("p{n}"), "1", "180")).await;
        client
            .report(&intent(&format!("o{n}"), &[("account_id", "\"fund\"")]))
            .await;
        adjust_ok(&client, &cash(&format!("c{n}"), "10")).await;
    }
    wait_until_journaled(&rig).await;
    rig.quiet().await;
    let of_adjustments = async || {
        let mut store = rig.store().await;
        store.retain(|key, _| {
            ["adjustment", "account:paper:fund"]
                .iter()
                .any(|start| key.starts_with(start))
        });
        store
    };
    let before = of_adjustments().await;
    // The journal may contain an adjustment twice, and another one under an id that is already booked.
    let entries = journaled(&client).await;
    let mut other: Value = serde_json::from_slice(&entries[0].body).unwrap();
    other["deltas"]["position"] = json!(7_777);
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    for body in [entries[0].body.to_vec(), other.to_string().into_bytes()] {
        let subject = entries[0].subject.clone();
        jetstream.publish(subject, body.into()).await.unwrap().await.unwrap();
    }
    rig.redis.flushall().await;
    poll::until(SOON, "the store is rebuilt", async || {
        adjust(&client, &cash("c2", "10"))
            .await
            .is_ok_and(|reply| reply.is_replay)
    })
    .await;
    assert_eq!(of_adjustments().await, before);
    assert!(rig.store().await["holding_accounts:paper"].contains_key("{or}:account:paper:fund"));
    assert_eq!(sums(&rig).await, [300, 300, -300, -540_000_000]);
    // The ids are known again and expire after their retention.
    let ttl: i64 = rig.redis.connection().await.pttl("{or}:adjustment:p0").await.unwrap();
    assert!(ttl > 0, "{ttl}");
    assert_eq!(
        fault(&client, &position("p1", "9", "180")).await.code,
        FaultCode::ClientOrderIdConflict
    );
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn adjustment_is_confirmed_only_after_it_is_journaled() {
    let mut rig = Rig::start().await;
    rig.settings.journal.attempts = 1;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    // The stream accepts nothing more: the booking stays pending, and its caller gets no confirmation.
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    let stream = jetstream.get_stream(subjects::STREAM_REPORTS).await.unwrap();
    let config = stream.cached_info().config.clone();
    let mut closed = config.clone();
    closed.max_message_size = 1;
    jetstream.update_stream(&closed).await.unwrap();
    let refused = fault(&client, &cash("w", "1")).await;
    assert_eq!(refused.code, FaultCode::BusUnavailable);
    assert_eq!(cash_of(&rig).await, 1_000_000);
    assert!(journaled(&client).await.is_empty());
    // Any worker appends it once the journal accepts it; a repeated request returns the booking.
    jetstream.update_stream(&config).await.unwrap();
    wait_until_journaled(&rig).await;
    assert_eq!(journaled(&client).await.len(), 1);
    let (_, again) = adjust_ok(&client, &cash("w", "1")).await;
    assert!(again.is_replay);
    assert_eq!(cash_of(&rig).await, 1_000_000);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_adjustment_is_refused_but_a_known_id_is_replayed() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let late = async |body: &Value| {
        let (timeout, trace) = (
            Duration::from_secs(10),
            order_router::bus::router_client::new_traceparent(),
        );
        let past = Timestamp::from_milliseconds(Timestamp::now().as_milliseconds() - 1_000);
        client
            .caller
            .request_with_timeout(timeout, subjects::ADJUST, body.to_string().into(), past, &trace)
            .await
    };
    let RequestError::Fault(refused) = late(&cash("l", "1")).await.unwrap_err() else {
        panic!("a fault")
    };
    assert_eq!(refused.code, FaultCode::IntentExpired);
    assert_eq!(cash_of(&rig).await, 0);
    adjust_ok(&client, &cash("l", "1")).await;
    assert!(late(&cash("l", "1")).await.unwrap().is_replay);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn adjustment_is_booked_once_wherever_its_worker_is_killed() {
    let rig = Rig::start().await;
    let client = rig.caller().await;
    for (n, stop_at) in (1..).zip(stop_point::ADJUSTMENT_POINTS) {
        let body = position(stop_at, "1", "180");
        let mut victim = rig.worker_process(Some(stop_at)).await;
        let deadline = Timestamp::now().saturating_add(Duration::from_secs(1));
        let first = client
            .caller
            .request(subjects::ADJUST, body.to_string().into(), deadline)
            .await;
        assert!(first.is_err(), "{stop_at}");
        assert!(!victim.process().wait(SOON).await.success(), "{stop_at}");
        let other = rig.worker().await;
        wait_until_journaled(&rig).await;
        let (_, reply) = adjust_ok(&client, &body).await;
        assert!(reply.is_replay, "{stop_at}");
        assert_eq!(
            sums(&rig).await,
            [100 * n, 100 * n, -100 * n, -180_000_000 * n],
            "{stop_at}"
        );
        let of_id = journaled(&client)
            .await
            .into_iter()
            .filter(|entry| entry.body[..] == reply.body[..]);
        assert_eq!(of_id.count(), 1, "{stop_at}");
        other.drain(SOON).await;
    }
    // Everything is journaled: an emptied store is rebuilt with it.
    let before = sums(&rig).await;
    rig.redis.flushall().await;
    let worker = rig.worker().await;
    assert_eq!(sums(&rig).await, before);
    worker.drain(SOON).await;
}
