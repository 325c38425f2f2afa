//! The counts of a venue's request limits in Redis: all workers share them, and neither a lost Redis nor a rebuild makes the
//! router send more than the venue allows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use hyper::HeaderMap;
use order_router::brokers::binance::memory_ledger::MemoryLedger;
use order_router::brokers::binance::request_budget::{RequestBudget, RequestPurpose};
use order_router::brokers::port::LimitLedger;
use order_router::config::redis::RedisSettings;
use order_router::domain::request_limit::{LimitCharge, LimitDecision, LimitKind, LimitScopes};
use order_router::domain::symbol::Symbol;
use order_router::domain::time::Timestamp;
use order_router::store::Store;
use order_router::store::raised_numbers::RaiseFrom;
use order_router::store::settled_trades::SettledTradesOf;
use order_router::worker::venue::limit_ledger::SharedLimitLedger;
use redis::AsyncCommands;

use crate::rig::{Rig, SOON, intent};
use crate::support::poll;
use crate::support::servers::RedisServer;

const VENUE: &str = "https://api.binance.com";
const SECOND: Duration = Duration::from_secs(1);
const TEN_SECONDS: Duration = Duration::from_secs(10);
const MINUTE: Duration = Duration::from_secs(60);

/// Returns a moment in a window of ten seconds, and of a minute, that began `seconds` before it.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_milliseconds(1_767_225_600_000 + seconds * 1_000)
}

fn orders(amount: u32, cap: u32) -> LimitCharge {
    charge(LimitKind::Orders, TEN_SECONDS, amount, cap)
}

fn weight(amount: u32, cap: u32) -> LimitCharge {
    charge(LimitKind::RequestWeight, MINUTE, amount, cap)
}

fn charge(kind: LimitKind, window: Duration, amount: u32, cap: u32) -> LimitCharge {
    LimitCharge {
        kind,
        window,
        amount,
        cap,
    }
}

/// Returns the counts as one worker has them.
async fn worker_ledger(redis: &RedisServer, account_key: &str) -> SharedLimitLedger {
    let settings = RedisSettings {
        url: redis.url(),
        ..RedisSettings::default()
    };
    let store = Store::connect(&settings).await.unwrap();
    SharedLimitLedger::new(store, LimitScopes::new(VENUE, account_key))
}

async fn keys(redis: &RedisServer) -> Vec<String> {
    redis.connection().await.keys("*").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_one_count() {
    let redis = RedisServer::start().await;
    let (one, two) = (worker_ledger(&redis, "a").await, worker_ledger(&redis, "a").await);
    let charges = [weight(1, 1_000), orders(1, 100)];
    let sent = (0..300).map(|n| {
        let ledger = if n % 2 == 0 { &one } else { &two };
        ledger.charge(&charges, at(0))
    });
    let decisions: Vec<LimitDecision> = join_all(sent).await.into_iter().map(Result::unwrap).collect();
    let charged = decisions.iter().filter(|one| **one == LimitDecision::Charged).count();
    let exhausted = LimitDecision::Exhausted(LimitKind::Orders, at(10));
    let refused = decisions.iter().filter(|one| **one == exhausted).count();
    assert_eq!((charged, refused), (100, 200));
    // An order that was refused has no weight, either; the account's next window is empty.
    assert_eq!(
        one.charge(&[weight(901, 1_000)], at(0)).await,
        Ok(LimitDecision::Exhausted(LimitKind::RequestWeight, at(60)))
    );
    assert_eq!(
        two.charge(&[weight(900, 1_000)], at(0)).await,
        Ok(LimitDecision::Charged)
    );
    assert_eq!(
        two.charge(&[orders(100, 100)], at(10)).await,
        Ok(LimitDecision::Charged)
    );
    // Another account has orders of its own and shares the weight of the address.
    let other = worker_ledger(&redis, "b").await;
    assert_eq!(
        other.charge(&[orders(100, 100)], at(0)).await,
        Ok(LimitDecision::Charged)
    );
    assert_eq!(
        other.charge(&[weight(1, 1_000)], at(0)).await,
        Ok(LimitDecision::Exhausted(LimitKind::RequestWeight, at(60)))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_in_redis_decide_as_counts_in_memory() {
    let redis = RedisServer::start().await;
    let (shared, memory) = (worker_ledger(&redis, "a").await, MemoryLedger::default());
    let (mut state, mut now_ms) = (42_u64, 1_767_225_600_000);
    let mut next = |below: u32| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(state >> 33).unwrap() % below
    };
    let mut seen = [0; 3];
    for step in 0..2_000 {
        now_ms += i64::from(next(900));
        let now = Timestamp::from_milliseconds(now_ms);
        let kind = [LimitKind::RequestWeight, LimitKind::Orders][next(2) as usize];
        match next(20) {
            0 => {
                let used = next(14);
                shared.raise(kind, TEN_SECONDS, used, now).await;
                memory.raise(kind, TEN_SECONDS, used, now).await;
            }
            1 => {
                let until = now.saturating_add(Duration::from_millis(next(3_000).into()));
                shared.close_until(kind, until).await;
                memory.close_until(kind, until).await;
            }
            _ => {
                let charges = [
                    charge(LimitKind::RequestWeight, MINUTE, next(4), 60),
                    charge(LimitKind::RequestWeight, TEN_SECONDS, next(4), 20),
                    charge(LimitKind::Orders, TEN_SECONDS, 1, 12),
                ];
                let charges = &charges[next(3) as usize..];
                let decision = shared.charge(charges, now).await.unwrap();
                assert_eq!(Ok(decision), memory.charge(charges, now).await, "step {step}");
                seen[match decision {
                    LimitDecision::Charged => 0,
                    LimitDecision::Exhausted(..) => 1,
                    LimitDecision::Closed(..) => 2,
                }] += 1;
            }
        }
    }
    assert!(seen.iter().all(|count| *count > 50), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_expires() {
    let redis = RedisServer::start().await;
    let ledger = worker_ledger(&redis, "a").await;
    let short = charge(LimitKind::RawRequests, SECOND, 1, 10);
    let day = charge(LimitKind::Orders, 1_440 * MINUTE, 1, 10);
    ledger.charge(&[short, day], at(0)).await.unwrap();
    ledger.raise(LimitKind::RequestWeight, MINUTE, 7, at(0)).await;
    ledger.close_until(LimitKind::Orders, Timestamp::MAX).await;
    let mut connection = redis.connection().await;
    let mut found = keys(&redis).await;
    found.sort();
    let lives: Vec<i64> = {
        let mut lives = Vec::new();
        for key in &found {
            lives.push(connection.pttl(key).await.unwrap());
        }
        lives
    };
    let most = [4 * 86_400_000, 2 * 86_400_000, 2_000, 120_000];
    assert_eq!(found.len(), most.len(), "{found:?}");
    for ((key, life), most) in found.iter().zip(lives).zip(most) {
        assert!(
            life > 0 && life <= most && life > most - 30_000.min(most),
            "{key}: {life} of {most} ms"
        );
    }
    poll::until(SOON, "the count of a second is gone", async || {
        !keys(&redis).await.iter().any(|key| key.contains("raw_requests"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_venues_count_raises_ours_for_all_workers_and_never_lowers_it() {
    let redis = RedisServer::start().await;
    let (one, two) = (worker_ledger(&redis, "a").await, worker_ledger(&redis, "a").await);
    one.raise(LimitKind::Orders, TEN_SECONDS, 9, at(0)).await;
    two.raise(LimitKind::Orders, TEN_SECONDS, 2, at(1)).await;
    assert_eq!(two.charge(&[orders(1, 10)], at(2)).await, Ok(LimitDecision::Charged));
    // A reply that was sent before that order reports one less.
    one.raise(LimitKind::Orders, TEN_SECONDS, 9, at(3)).await;
    let full = LimitDecision::Exhausted(LimitKind::Orders, at(10));
    assert_eq!(two.charge(&[orders(1, 10)], at(3)).await, Ok(full));
    // A late reply about the window before says nothing of this one.
    assert_eq!(one.charge(&[orders(10, 10)], at(11)).await, Ok(LimitDecision::Charged));
    one.raise(LimitKind::Orders, TEN_SECONDS, 1_000, at(9)).await;
    assert_eq!(two.charge(&[orders(1, 11)], at(12)).await, Ok(LimitDecision::Charged));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closure_holds_for_all_workers_until_its_end() {
    let redis = RedisServer::start().await;
    let (one, two) = (worker_ledger(&redis, "a").await, worker_ledger(&redis, "a").await);
    one.close_until(LimitKind::RequestWeight, at(30)).await;
    two.close_until(LimitKind::RequestWeight, at(20)).await;
    for (name, ledger) in [("one", &one), ("two", &two)] {
        let charges = [orders(1, 10), weight(1, 10)];
        let closed = LimitDecision::Closed(LimitKind::RequestWeight, at(30));
        assert_eq!(ledger.charge(&charges, at(29)).await, Ok(closed), "{name}");
        assert_eq!(
            ledger.charge(&[orders(5, 10)], at(29)).await,
            Ok(LimitDecision::Charged),
            "{name}"
        );
    }
    for ledger in [&one, &two] {
        assert_eq!(
            ledger.charge(&[weight(5, 10)], at(30)).await,
            Ok(LimitDecision::Charged)
        );
    }
    assert_eq!(
        one.charge(&[weight(1, 10)], at(31)).await,
        Ok(LimitDecision::Exhausted(LimitKind::RequestWeight, at(60)))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_only_cancels_are_sent_and_closures_are_obeyed_and_shared_later() {
    let mut redis = RedisServer::start().await;
    let (one, two) = (worker_ledger(&redis, "a").await, worker_ledger(&redis, "a").await);
    let (one, two) = (RequestBudget::new(Arc::new(one)), RequestBudget::new(Arc::new(two)));
    redis.pause();
    let started = Instant::now();
    for purpose in [RequestPurpose::Order, RequestPurpose::Read] {
        let refused = one.acquire(purpose, 1, at(0)).await.unwrap_err();
        assert!(refused.contains("unreachable"), "{refused}");
    }
    assert_eq!(one.acquire(RequestPurpose::Cancel, 1, at(0)).await, Ok(()));
    // The venue's answer to that cancel: no requests for 60 s.
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", "60".parse().unwrap());
    one.stop_requests(&headers, at(0)).await;
    assert!(one.acquire(RequestPurpose::Cancel, 1, at(59)).await.is_err());
    // Each of the five calls has its time limit.
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    redis.resume();
    poll::until(SOON, "the other worker knows of the closure", async || {
        assert!(one.acquire(RequestPurpose::Cancel, 1, at(58)).await.is_err());
        matches!(two.acquire(RequestPurpose::Read, 1, at(58)).await, Err(reason) if reason.contains("takes no"))
    })
    .await;
    for budget in [&one, &two] {
        assert_eq!(budget.acquire(RequestPurpose::Order, 1, at(60)).await, Ok(()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_counts_neither_stop_a_rebuild_nor_end_with_it() {
    let rig = Rig::start().await;
    let _worker = rig.worker().await;
    let client = rig.caller().await;
    client.report(&intent("before", &[])).await;
    rig.quiet().await;
    let ledger = worker_ledger(&rig.redis, "a").await;
    ledger.charge(&[orders(3, 10)], at(0)).await.unwrap();
    ledger.close_until(LimitKind::RequestWeight, at(30)).await;
    // Every key of the store is lost; the counts are not.
    let mut connection = rig.redis.connection().await;
    let store: Vec<String> = connection.keys("{or}:*").await.unwrap();
    let _: () = connection.del(store).await.unwrap();
    // The counts are served before the store is rebuilt, and by an emptied Redis, too.
    assert_eq!(ledger.charge(&[orders(3, 10)], at(1)).await, Ok(LimitDecision::Charged));
    poll::until(SOON, "the store is rebuilt beside the counts", async || {
        client.submit(&intent("after", &[])).await.is_ok()
    })
    .await;
    let full = LimitDecision::Exhausted(LimitKind::Orders, at(10));
    assert_eq!(ledger.charge(&[orders(5, 10)], at(2)).await, Ok(full));
    assert_eq!(ledger.charge(&[orders(4, 10)], at(2)).await, Ok(LimitDecision::Charged));
    let fresh = worker_ledger(&rig.redis, "a").await;
    let closed = LimitDecision::Closed(LimitKind::RequestWeight, at(30));
    assert_eq!(fresh.charge(&[weight(1, 10)], at(29)).await, Ok(closed));

    rig.redis.flushall().await;
    fresh.raise(LimitKind::Orders, TEN_SECONDS, 10, at(3)).await;
    assert_eq!(ledger.charge(&[orders(1, 10)], at(3)).await, Ok(full));
    poll::until(SOON, "the store is rebuilt once more", async || {
        client.submit(&intent("last", &[])).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moment_of_settled_trades_only_rises_and_begins_with_a_whole_reading() {
    let redis = RedisServer::start().await;
    let settings = RedisSettings {
        url: redis.url(),
        ..RedisSettings::default()
    };
    let store = Store::connect(&settings).await.unwrap();
    let symbol = Symbol::parse("BTCUSDT").unwrap();
    let of = |journal| SettledTradesOf {
        key: "k",
        symbol: &symbol,
        journal,
    };
    let read = async |journal| store.read_settled_trades(&of(journal)).await.unwrap();
    let record = async |at, from| store.record_settled_trades(&of("1.0"), at, from).await.unwrap();
    record(at(10), RaiseFrom::Known).await;
    assert_eq!(read("1.0").await, None);
    record(at(10), RaiseFrom::Nothing).await;
    record(at(30), RaiseFrom::Known).await;
    record(at(20), RaiseFrom::Known).await;
    record(at(20), RaiseFrom::Nothing).await;
    assert_eq!((read("1.0").await, read("1.7").await), (Some(at(30)), None));
    // A Redis that was emptied does not learn it from a worker that goes on.
    let _: () = redis::cmd("FLUSHALL")
        .query_async(&mut redis.connection().await)
        .await
        .unwrap();
    record(at(40), RaiseFrom::Known).await;
    assert_eq!(read("1.0").await, None);
    assert!(keys(&redis).await.is_empty());
}
