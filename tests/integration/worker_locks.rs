//! Locks: set at once, journaled, restored in journal order, and lifted for good.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use order_router::bus::router_client::RequestError;
use order_router::bus::subjects;
use order_router::domain::control::{Lock, LockScope};
use order_router::domain::id::AccountId;
use order_router::domain::metadata::Metadata;
use order_router::domain::order_terms::Mode;
use order_router::domain::time::{Timestamp, TradingDate};
use order_router::fault::{Fault, FaultCode};
use order_router::risk::rules::max_daily_loss;
use order_router::wire::lock::{LockChange, LockDocument, LockEvent, LockList};
use order_router::worker::control::locks;
use order_router::worker::{Router, Worker};

use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;
use crate::worker_guards::delete_journal;

const ALL: &str = r#"{"kind":"all"}"#;
const FUND: &str = r#"{"kind":"account","account_id":"fund-7"}"#;
const OF_FUND: &str = "paper.account.fund-7.operator";
const OF_ALL: &str = "paper.all.operator";

impl Client {
    /// Sets a lock on a scope.
    pub async fn lock(&self, scope: &str) -> Result<LockDocument, RequestError> {
        let body = format!(r#"{{"scope":{scope},"actor":"ops","reason":"news"}}"#);
        let body = self.call(subjects::LOCKS_SET, &body).await?;
        Ok(serde_json::from_slice(&body).unwrap())
    }

    /// Lifts a lock.
    pub async fn lift(&self, latch_id: &str) -> Result<LockDocument, RequestError> {
        let body = format!(r#"{{"latch_id":"{latch_id}","actor":"ops","reason":"over"}}"#);
        let body = self.call(subjects::LOCKS_LIFT, &body).await?;
        Ok(serde_json::from_slice(&body).unwrap())
    }

    /// Returns the ids of the locks in force.
    pub async fn locks(&self) -> BTreeSet<String> {
        let body = poll::eventually(SOON, "the locks are listed", async || {
            self.call(subjects::LOCKS_LIST, "").await.ok()
        })
        .await;
        let list: LockList = serde_json::from_slice(&body).unwrap();
        assert_eq!(list.total, list.items.len() as u64);
        list.items.into_iter().map(|lock| lock.latch_id).collect()
    }

    async fn lock_events(&self) -> Vec<(LockChange, String)> {
        let journal = self.journal().await;
        let events = journal
            .iter()
            .filter(|entry| entry.subject.starts_with("orders.events.lock."));
        events
            .map(|entry| serde_json::from_slice::<LockEvent>(&entry.body).unwrap())
            .map(|event| (event.event, event.lock.latch_id))
            .collect()
    }
}

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

fn code<T: std::fmt::Debug>(result: Result<T, RequestError>) -> FaultCode {
    match result {
        Err(RequestError::Fault(fault)) => fault.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operator_sets_lists_and_lifts_locks_and_each_change_is_journaled() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    assert!(client.locks().await.is_empty());
    let before = rig.sum("state", "generation").await;
    let lock = client.lock(FUND).await.unwrap();
    assert_eq!(
        (lock.latch_id.as_str(), lock.actor.as_str(), lock.reason.as_str()),
        (OF_FUND, "ops", "news")
    );
    assert!(rig.sum("state", "generation").await > before);
    // Locking a second time returns the same lock.
    assert_eq!(client.lock(FUND).await.unwrap().since, lock.since);
    client
        .lock(r#"{"kind":"symbol","venue":"binance.spot","symbol":"eth/usdt"}"#)
        .await
        .unwrap();
    client.lock(r#"{"kind":"broker","broker":"ibkr"}"#).await.unwrap();
    let open = [
        "paper.broker.ibkr.operator",
        "paper.symbol.binance.spot.ETHUSDT.operator",
    ];
    assert_eq!(client.locks().await, ids(&[OF_FUND, open[0], open[1]]));
    for (scope, expected) in [
        (r#"{"kind":"broker","broker":"kraken"}"#, FaultCode::UnknownBroker),
        (
            r#"{"kind":"symbol","venue":"binance.spot","symbol":"DOGEUSDT"}"#,
            FaultCode::UnsupportedPair,
        ),
        (r#"{"kind":"nothing"}"#, FaultCode::InvalidField),
    ] {
        assert_eq!(code(client.lock(scope).await), expected, "{scope}");
    }
    let generation = rig.sum("state", "generation").await;
    assert_eq!(client.lift(OF_FUND).await.unwrap(), lock);
    assert!(rig.sum("state", "generation").await > generation);
    assert_eq!(code(client.lift(OF_FUND).await), FaultCode::NotFound);
    assert_eq!(client.locks().await, ids(&open));
    let events = client.lock_events().await;
    let of_fund: Vec<_> = events
        .iter()
        .filter(|(_, id)| id == OF_FUND)
        .map(|(what, _)| *what)
        .collect();
    assert_eq!(
        (events.len(), of_fund),
        (4, vec![LockChange::Locked, LockChange::Lifted])
    );
    let journal = client.journal().await;
    assert!(journal.iter().any(|entry| entry.subject == "orders.events.lock.fund-7"));
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lock_stops_the_next_order_on_every_worker_until_it_is_lifted() {
    let rig = Rig::start().await;
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    let client = rig.caller().await;
    let over = [("account_id", "\"fund-7\"")];
    client.report(&intent("a1", &over)).await;
    client.lock(FUND).await.unwrap();
    // Both workers receive some of them.
    let stopped = join_all((0..20).map(|n| {
        let body = intent(&format!("b{n}"), &over);
        let client = &client;
        async move { client.submit(&body).await.is_err() }
    }))
    .await;
    assert_eq!(stopped, vec![true; 20]);
    client.report(&intent("other-account", &[])).await;
    client.lift(OF_FUND).await.unwrap();
    for n in 0..20 {
        client.report(&intent(&format!("c{n}"), &over)).await;
    }
    tokio::join!(one.drain(SOON), two.drain(SOON));
}

#[tokio::test(flavor = "multi_thread")]
async fn locks_and_lifts_survive_restarts_and_the_loss_of_redis() {
    let mut rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    client.lock(ALL).await.unwrap();
    client.lock(FUND).await.unwrap();
    client.lift(OF_ALL).await.unwrap();
    client.lock(r#"{"kind":"account","account_id":"twice"}"#).await.unwrap();
    client.lift("paper.account.twice.operator").await.unwrap();
    client.lock(r#"{"kind":"account","account_id":"twice"}"#).await.unwrap();
    let expected = ids(&[OF_FUND, "paper.account.twice.operator"]);
    worker.drain(SOON).await;
    let worker = rig.worker().await;
    assert_eq!(client.locks().await, expected);
    rig.redis.kill9();
    rig.redis.restart().await;
    assert_eq!(client.locks().await, expected);
    rig.redis.kill9();
    rig.redis.restart_empty().await;
    assert_eq!(client.locks().await, expected);
    rig.redis.flushall().await;
    assert_eq!(client.locks().await, expected);
    assert_eq!(client.lock_events().await.len(), 6);
    let body = intent("a1", &[("account_id", "\"fund-7\"")]);
    assert!(client.submit(&body).await.is_err());
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn lock_or_lift_of_a_killed_worker_is_finished_by_another_worker() {
    // The locks in force and the journaled events when the worker dies, and the locks in force in the end.
    for (stop_at, at_death, in_the_end) in [
        ("lock_active", (1, 0), 1),
        ("lock_journaled", (1, 1), 1),
        ("lift_journaled", (1, 2), 0),
    ] {
        let rig = Rig::start().await;
        let client = rig.caller().await;
        let is_lift = stop_at == "lift_journaled";
        if is_lift {
            let first = rig.worker().await;
            client.lock(FUND).await.unwrap();
            first.drain(SOON).await;
        }
        let mut victim = rig.worker_process(Some(stop_at)).await;
        let call = async {
            if is_lift {
                client.lift(OF_FUND).await
            } else {
                client.lock(FUND).await
            }
        };
        let (_, ended) = tokio::join!(
            tokio::time::timeout(Duration::from_secs(3), call),
            victim.process().wait(SOON)
        );
        assert!(!ended.success(), "{stop_at}");
        let in_force = async || rig.store().await.get("latches").map_or(0, |latches| latches.len());
        assert_eq!(
            (in_force().await, client.lock_events().await.len()),
            at_death,
            "{stop_at}"
        );
        let other = rig.worker().await;
        let events = at_death.1.max(1);
        poll::until(SOON, format!("{stop_at} is finished"), async || {
            let is_waiting = rig.store_keys().await.iter().any(|key| key == "latches_waiting");
            in_force().await == in_the_end && client.lock_events().await.len() == events && !is_waiting
        })
        .await;
        rig.redis.flushall().await;
        assert_eq!(client.locks().await.len(), in_the_end, "{stop_at}");
        other.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_locks_and_lifts_leave_store_and_journal_consistent() {
    let rig = Rig::start().await;
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    let client = rig.caller().await;
    for round in 0..6 {
        let tasks = (0..8).map(|n| {
            let client = &client;
            async move {
                if (n + round) % 2 == 0 {
                    client.lock(FUND).await.map(|_| ())
                } else {
                    client.lift(OF_FUND).await.map(|_| ())
                }
            }
        });
        for result in join_all(tasks).await {
            let is_expected = |fault: &order_router::fault::Fault| {
                matches!(
                    fault.code,
                    FaultCode::NotFound | FaultCode::StoreUnavailable | FaultCode::BusUnavailable
                )
            };
            assert!(
                matches!(&result, Ok(())) || matches!(&result, Err(RequestError::Fault(fault)) if is_expected(fault)),
                "{result:?}"
            );
        }
    }
    poll::until(SOON, "every event is journaled", async || {
        !rig.store_keys().await.iter().any(|key| key == "latches_waiting")
    })
    .await;
    let events = client.lock_events().await;
    // Locks and lifts alternate: no event is journaled without a change.
    assert!(events.windows(2).all(|pair| pair[0].0 != pair[1].0), "{events:?}");
    let expected = events.last().is_some_and(|(what, _)| *what == LockChange::Locked);
    assert_eq!(client.locks().await.contains(OF_FUND), expected);
    rig.redis.flushall().await;
    assert_eq!(client.locks().await.contains(OF_FUND), expected);
    tokio::join!(one.drain(SOON), two.drain(SOON));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_journal_locking_works_and_lifting_is_refused() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    client.lock(FUND).await.unwrap();
    delete_journal(&client).await;
    assert!(client.lock(ALL).await.is_err());
    assert!(client.lift(OF_FUND).await.is_err());
    let store = rig.store().await;
    let latches: BTreeSet<&String> = store["latches"].keys().collect();
    assert_eq!(latches.into_iter().collect::<Vec<_>>(), [OF_FUND, OF_ALL]);
    let waiting: Vec<&String> = store["latches_waiting"].keys().collect();
    assert_eq!(waiting, [OF_ALL]);
    worker.drain(SOON).await;
}

fn daily_loss(account: &str, date: &str) -> Lock {
    let scope = LockScope::Account(AccountId::new(account).unwrap());
    Lock {
        lock_id: Lock::compose_id(Mode::Paper, &scope, max_daily_loss::ID),
        scope,
        mode: Mode::Paper,
        rule_id: max_daily_loss::ID.into(),
        message: "the day's loss has reached its limit".to_owned(),
        metadata: Metadata::new().with("value", 50_001).with("limit", 50_000),
        locked_at: Timestamp::now(),
        trading_date: TradingDate::parse(date),
    }
}

/// Sets a rule's lock, evaluated against the current generation.
async fn set(router: &Router, lock: Lock) -> Result<bool, Fault> {
    let generation = router.store.read_control("").await.unwrap().control.generation;
    locks::set_rule_lock(router, lock, Some(generation), None).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_evaluated_before_a_lift_does_not_lock_again() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let (router, client) = (worker.router(), rig.caller().await);
    let before = router.store.read_control("").await.unwrap().control.generation;
    assert_eq!(set(router, daily_loss("a", "2026-03-02")).await, Ok(true));
    client.lift("paper.account.a.max_daily_loss").await.unwrap();
    assert_eq!(
        locks::set_rule_lock(router, daily_loss("a", "2026-03-02"), Some(before), None).await,
        Ok(false)
    );
    assert!(client.locks().await.is_empty());
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn daily_loss_lock_is_set_once_and_a_new_day_lifts_it_only_if_configured() {
    let mut rig = Rig::start().await;
    let (monday, tuesday) = ("2026-03-02", "2026-03-03");
    for lifts in [false, true] {
        rig.settings.risk.new_day_lifts_daily_loss = lifts;
        if lifts {
            rig.apply_limits().await;
        }
        let noon = Timestamp::parse(&format!("{monday}T12:00:00Z")).unwrap();
        let worker = Worker::start_with_clock(&rig.settings, Arc::new(move || noon)).await;
        let worker = worker.unwrap();
        let client = rig.caller().await;
        let router = worker.router();
        assert_eq!(set(router, daily_loss("a", monday)).await.ok(), Some(!lifts));
        assert_eq!(set(router, daily_loss("a", monday)).await.ok(), Some(false));
        set(router, daily_loss("b", tuesday)).await.unwrap();
        if !lifts {
            client.lock(FUND).await.unwrap();
        }
        let date = TradingDate::parse(tuesday).unwrap();
        let lifted = locks::lift_daily_loss_locks(router, date).await.unwrap();
        assert_eq!(lifted, usize::from(lifts));
        assert_eq!(locks::lift_daily_loss_locks(router, date).await.unwrap(), 0);
        let (of_a, of_b) = ("paper.account.a.max_daily_loss", "paper.account.b.max_daily_loss");
        let expected = if lifts {
            ids(&[of_b, OF_FUND])
        } else {
            ids(&[of_a, of_b, OF_FUND])
        };
        assert_eq!(client.locks().await, expected);
        worker.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_order_passes_a_lock_during_a_rebuild() {
    let rig = Rig::start().await;
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    let client = rig.caller().await;
    client.lock(ALL).await.unwrap();
    for round in 0..3 {
        let rebuilt = std::sync::atomic::AtomicBool::new(false);
        let submissions = join_all((0..40).map(|n| {
            let (client, rebuilt) = (&client, &rebuilt);
            async move {
                let mut passed = 0;
                for m in 0.. {
                    if rebuilt.load(std::sync::atomic::Ordering::SeqCst) {
                        break;
                    }
                    passed += usize::from(client.submit(&intent(&format!("{round}-{n}-{m}"), &[])).await.is_ok());
                }
                passed
            }
        }));
        let flush = async {
            rig.redis.flushall().await;
            assert_eq!(client.locks().await, ids(&[OF_ALL]));
            rebuilt.store(true, std::sync::atomic::Ordering::SeqCst);
        };
        let (passed, ()) = tokio::join!(submissions, flush);
        assert_eq!(passed.iter().sum::<usize>(), 0);
    }
    tokio::join!(one.drain(SOON), two.drain(SOON));
}
