//! The dead man's switch: an account whose heartbeats stay away is locked and its open orders are cancelled, once, whatever
//! becomes of workers and Redis meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use order_router::bus::router_client::RequestError;
use order_router::bus::subjects;
use order_router::config::brokers::RestFill;
use order_router::domain::id::AccountId;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::time::Timestamp;
use order_router::fault::FaultCode;
use order_router::store::control::dead_man_switches::{ArmOutcome, HeartbeatOutcome};
use order_router::store::limits::MAX_EXPIRED_SWITCHES;
use order_router::wire::heartbeat::{HeartbeatAnswer, HeartbeatEvent, SwitchChange, SwitchState};
use order_router::wire::lock::{LockChange, LockEvent};
use order_router::worker::{Worker, stop_point};

use crate::conformance_store::ready_store;
use crate::external_venue::{Venue, additional_brokers};
use crate::rig::{Client, Rig, SOON, ibkr, intent};
use crate::support::poll;

/// The lock of the account `alpha`.
const LOCK: &str = "paper.account.alpha.dead_man_switch";
/// The shortest time of a switch.
const SHORT: &str = r#"{"timeout_ms":1000}"#;
/// A time that no test waits for.
const LONG: &str = r#"{"timeout_ms":3600000}"#;

impl Client {
    /// Sends a heartbeat.
    pub async fn beat(&self, account: &str, body: &str) -> Result<HeartbeatAnswer, RequestError> {
        let account = AccountId::new(account).unwrap();
        let reply = self.call(&subjects::heartbeat(&account), body).await?;
        Ok(serde_json::from_slice(&reply).unwrap())
    }

    /// Returns the changes of an account's switch on the journal, each with its time.
    async fn switch_events(&self, account: &str) -> Vec<(SwitchChange, Option<u64>)> {
        let subject = format!("orders.events.heartbeat.{account}");
        let journal = self.journal().await;
        let events = journal.iter().filter(|entry| entry.subject == subject);
        events
            .map(|entry| serde_json::from_slice::<HeartbeatEvent>(&entry.body).unwrap())
            .map(|event| (event.event, event.timeout_ms))
            .collect()
    }

    async fn wait_for_end(&self, account: &str) {
        poll::until(SOON, format!("the switch of {account} is done"), async || {
            let events = self.switch_events(account).await;
            events.last().is_some_and(|(change, _)| *change == SwitchChange::Fired)
        })
        .await;
    }

    /// Returns the locks that switches have set, as the journal has them.
    async fn switch_locks(&self) -> Vec<LockEvent> {
        let journal = self.journal().await;
        let events = journal.iter().filter(|entry| subjects::is_lock(&entry.subject));
        let events = events.map(|entry| serde_json::from_slice::<LockEvent>(&entry.body).unwrap());
        events
            .filter(|event| event.lock.rule_id == "dead_man_switch" && event.event == LockChange::Locked)
            .collect()
    }

    /// Returns the client order ids of cancelled orders, each as often as the journal says so.
    async fn cancelled_ids(&self) -> Vec<String> {
        let reports = self.reports().await.into_iter();
        let mut ids: Vec<String> = reports
            .filter(|report| report.status == OrderStatus::Cancelled)
            .map(|report| report.client_order_id)
            .collect();
        ids.sort();
        ids
    }
}

/// Returns an order of an account that stays open in part.
fn open_order(id: &str, account: &str) -> String {
    ibkr(id, &[("account_id", &format!("{account:?}"))])
}

fn buy(id: &str) -> String {
    intent(id, &[("account_id", "\"alpha\"")])
}

async fn rig() -> Rig {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn only_changes_of_a_switch_are_journaled_and_a_disarmed_one_does_not_fire() {
    let rig = rig().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let disarm = r#"{"timeout_ms":0,"actor":"ann","reason":"the algorithm ends"}"#;
    assert_eq!(client.beat("alpha", disarm).await.unwrap().state, SwitchState::Disarmed);
    assert!(client.switch_events("alpha").await.is_empty());
    let before = rig.redis_clock().await;
    let armed = client.beat("alpha", r#"{"timeout_ms":60000}"#).await.unwrap();
    let after = rig.redis_clock().await;
    assert_eq!(
        (armed.state, armed.timeout_ms, armed.latch_id),
        (SwitchState::Armed, Some(60_000), None)
    );
    let expires_at = armed.expires_at.unwrap().as_milliseconds() - 60_000;
    assert!((before..=after).contains(&expires_at), "{before} {expires_at} {after}");
    for _ in 0..3 {
        let again = client.beat("alpha", r#"{"timeout_ms":60000}"#).await.unwrap();
        assert!(again.expires_at.unwrap().as_milliseconds() >= armed.expires_at.unwrap().as_milliseconds());
    }
    // A shorter time, a longer one, and none.
    let shorter = r#"{"timeout_ms":30000}"#;
    client
        .beat("alpha", r#"{"timeout_ms":30000,"actor":"ann","reason":"news"}"#)
        .await
        .unwrap();
    let longer = client.beat("alpha", LONG).await.unwrap();
    assert_eq!(longer.timeout_ms, Some(3_600_000));
    assert_eq!(client.beat("alpha", shorter).await.unwrap().timeout_ms, Some(30_000));
    assert_eq!(client.beat("alpha", disarm).await.unwrap().state, SwitchState::Disarmed);
    assert_eq!(client.beat("alpha", disarm).await.unwrap().state, SwitchState::Disarmed);
    assert_eq!(rig.expiry_of("alpha").await, 0);
    let times = [Some(60_000), Some(30_000), Some(3_600_000), Some(30_000)];
    let mut expected: Vec<_> = times.map(|time| (SwitchChange::Armed, time)).into();
    expected.push((SwitchChange::Disarmed, None));
    assert_eq!(client.switch_events("alpha").await, expected);
    // Another account's switch fires, and this one's does not.
    client.beat("beta", SHORT).await.unwrap();
    client.wait_for_end("beta").await;
    assert_eq!(
        client.locks().await,
        BTreeSet::from(["paper.account.beta.dead_man_switch".to_owned()])
    );
    for (body, field) in [
        (r#"{"timeout_ms":999}"#, "timeout_ms"),
        (r#"{"timeout_ms":0}"#, "reason"),
    ] {
        match client.beat("alpha", body).await {
            Err(RequestError::Fault(fault)) => {
                assert_eq!(
                    (fault.code, fault.field.as_deref()),
                    (FaultCode::InvalidField, Some(field))
                );
            }
            other => panic!("{other:?}"),
        }
    }
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_fires_locks_its_account_and_cancels_its_orders_once() {
    let rig = rig().await;
    let workers = [rig.worker().await, rig.worker().await, rig.worker().await];
    let client = rig.caller().await;
    for id in ["a1", "a2"] {
        client.report(&open_order(id, "alpha")).await;
    }
    client.report(&open_order("b1", "beta")).await;
    client.beat("beta", LONG).await.unwrap();
    client.beat("alpha", SHORT).await.unwrap();
    client.wait_for_end("alpha").await;
    assert_eq!(client.cancelled_ids().await, ["a1", "a2"]);
    let locks = client.switch_locks().await;
    assert_eq!(locks.len(), 1, "{locks:?}");
    assert_eq!(
        (locks[0].actor.as_str(), locks[0].lock.latch_id.as_str()),
        ("order-router", LOCK)
    );
    assert!(
        locks[0].reason.contains("no heartbeat for 1000 ms"),
        "{}",
        locks[0].reason
    );
    let events = client.switch_events("alpha").await;
    assert_eq!(
        events,
        [(SwitchChange::Armed, Some(1_000)), (SwitchChange::Fired, Some(1_000))]
    );

    // Openings are locked, also once the heartbeat is back; a reduction passes.
    assert_eq!(client.fault(&buy("opening")).await.code, FaultCode::ReduceOnly);
    let back = poll::eventually(SOON, "the worker that replies knows of the lock", async || {
        let back = client.beat("alpha", LONG).await.unwrap();
        assert_eq!(back.state, SwitchState::Armed);
        Some(back).filter(|back| back.latch_id.is_some())
    })
    .await;
    assert_eq!(back.latch_id.as_deref(), Some(LOCK));
    assert_eq!(client.fault(&buy("opening-2")).await.code, FaultCode::ReduceOnly);
    let sell = ibkr(
        "sell",
        &[("account_id", "\"alpha\""), ("side", "\"sell\""), ("quantity", "1")],
    );
    client.report(&sell).await;
    client.lift(LOCK).await.unwrap();
    assert_eq!(client.report(&buy("opening-3")).await.status, OrderStatus::Filled);
    for worker in workers {
        worker.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_in_time_keep_a_switch_from_firing() {
    let rig = rig().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    client.report(&open_order("a1", "alpha")).await;
    // The other switch fires several times while this one is beaten, and its account is lifted each time.
    let time = r#"{"timeout_ms":6000}"#;
    client.beat("alpha", time).await.unwrap();
    let started = tokio::time::Instant::now();
    while started.elapsed() < Duration::from_secs(8) {
        client.beat("beta", SHORT).await.unwrap();
        poll::until(SOON, "the other switch fires", async || {
            assert_eq!(client.beat("alpha", time).await.unwrap().state, SwitchState::Armed);
            client.locks().await.contains("paper.account.beta.dead_man_switch")
        })
        .await;
        client.lift("paper.account.beta.dead_man_switch").await.unwrap();
        client.wait_for_end("beta").await;
    }
    assert!(client.locks().await.is_empty());
    assert!(client.cancelled_ids().await.is_empty());
    // A heartbeat that stays away counts from the last one.
    client.wait_for_end("alpha").await;
    assert_eq!(client.cancelled_ids().await, ["a1"]);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn a_worker_killed_at_any_step_leaves_one_lock_and_no_open_order() {
    let rig = rig().await;
    let client = rig.caller().await;
    for (n, stop_at) in stop_point::SWITCH_POINTS.iter().enumerate() {
        let (account, id) = (format!("fund-{n}"), format!("o{n}"));
        let mut victim = rig.worker_process(Some(stop_at)).await;
        client.report(&open_order(&id, &account)).await;
        let account_id = AccountId::new(&account).unwrap();
        let (subject, deadline) = (
            subjects::heartbeat(&account_id),
            Timestamp::now().saturating_add(Duration::from_secs(5)),
        );
        let armed = client.caller.request(&subject, SHORT.into(), deadline).await.is_ok();
        let ended = victim.process().wait(SOON).await;
        assert!(!ended.success(), "{stop_at}: {}", victim.stderr_text());
        assert_eq!(
            armed,
            !["switch_armed", "switch_journaled"].contains(stop_at),
            "{stop_at}"
        );
        let other = rig.worker().await;
        client.wait_for_end(&account).await;
        let cancelled = client.cancelled_ids().await;
        assert_eq!(
            cancelled.iter().filter(|one| **one == id).count(),
            1,
            "{stop_at}: {cancelled:?}"
        );
        let locks = client.switch_locks().await;
        let lock_id = format!("paper.account.{account}.dead_man_switch");
        let locks = locks.iter().filter(|event| event.lock.latch_id == lock_id).count();
        assert_eq!(locks, 1, "{stop_at}");
        let events = client.switch_events(&account).await;
        assert_eq!(
            events,
            [(SwitchChange::Armed, Some(1_000)), (SwitchChange::Fired, Some(1_000))],
            "{stop_at}"
        );
        other.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_armed_switch_survives_all_workers_and_the_loss_of_redis() {
    let mut rig = rig().await;
    let client = rig.caller().await;
    let worker = rig.worker().await;
    for account in ["alpha", "beta", "gamma"] {
        client.report(&open_order(account, account)).await;
        client.beat(account, r#"{"timeout_ms":8000}"#).await.unwrap();
    }
    let disarm = r#"{"timeout_ms":0,"reason":"done"}"#;
    client.beat("gamma", disarm).await.unwrap();
    worker.drain(SOON).await;
    rig.redis.restart_empty().await;
    let worker = rig.worker().await;
    // The algorithm of one account is still there.
    poll::until(SOON, "the switch of the silent account fires", async || {
        assert_eq!(
            client.beat("beta", r#"{"timeout_ms":8000}"#).await.unwrap().state,
            SwitchState::Armed
        );
        client.cancelled_ids().await == ["alpha"]
    })
    .await;
    client.wait_for_end("alpha").await;
    // Lifted, and lost once more: it does not come back.
    client.lift(LOCK).await.unwrap();
    rig.redis.flushall().await;
    poll::until(SOON, "the other switch fires after another loss", async || {
        client.cancelled_ids().await == ["alpha", "beta"]
    })
    .await;
    client.wait_for_end("beta").await;
    assert_eq!(
        client.locks().await,
        BTreeSet::from(["paper.account.beta.dead_man_switch".to_owned()])
    );
    assert_eq!(client.switch_events("gamma").await.len(), 2);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_of_all_workers_gives_each_switch_its_whole_time_again() {
    let rig = rig().await;
    let store = ready_store(&rig).await;
    let account = AccountId::new("alpha").unwrap();
    assert!(matches!(
        store.arm_switch(&account, 1_000, &"{}".into()).await.unwrap(),
        ArmOutcome::Armed(_)
    ));
    let armed = store.find_switch(&account).await.unwrap().unwrap();
    assert!(armed.is_awaiting_journal && !armed.has_fired);
    // The first look comes after a gap, and so does each that finds the one before it too long ago.
    poll::until(SOON, "more than the switch's time has passed", async || {
        assert_eq!(store.expire_switches(0, 1_000).await, Ok(Vec::new()));
        rig.redis_clock().await > rig.expiry_of("alpha").await - 900
    })
    .await;
    let first = rig.expiry_of("alpha").await;
    poll::until(SOON, "the switch's time is over", async || {
        rig.redis_clock().await > first
    })
    .await;
    assert_eq!(store.expire_switches(0, 1_000).await, Ok(Vec::new()));
    assert!(rig.expiry_of("alpha").await > first);
    // Without a gap it fires.
    let fired = poll::eventually(SOON, "the switch fires", async || {
        store.expire_switches(60_000, 1_000).await.unwrap().pop()
    })
    .await;
    assert_eq!((fired.account_id.as_str(), fired.timeout_ms), ("alpha", 1_000));
    assert_eq!(store.take_heartbeat(&account, 1_000).await, Ok(HeartbeatOutcome::Fired));
    assert!(matches!(
        store.arm_switch(&account, 500, &"{}".into()).await.unwrap(),
        ArmOutcome::Fired
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_cancels_are_sent_again_and_heartbeats_do_not_count_meanwhile() {
    let (rig, venue) = (Rig::start().await, Venue::new());
    venue.set(|behaviour| behaviour.keeps_open = true);
    let worker = Worker::start_with_brokers(&rig.settings, additional_brokers(&venue))
        .await
        .unwrap();
    let client = rig.caller().await;
    client.report(&buy("a1")).await;
    venue.set(|behaviour| behaviour.refuses_cancels = true);
    client.beat("alpha", SHORT).await.unwrap();
    poll::until(SOON, "the account is locked", async || {
        client.locks().await.contains(LOCK)
    })
    .await;
    assert_eq!(client.beat("alpha", SHORT).await.unwrap().state, SwitchState::Fired);
    // A person lifts the lock: it does not come back while the cancels go on.
    client.lift(LOCK).await.unwrap();
    let turns_before = rig.turn_of("alpha").await;
    poll::until(SOON, "another turn has begun", async || {
        rig.turn_of("alpha").await > turns_before
    })
    .await;
    assert!(client.locks().await.is_empty());
    assert!(client.cancelled_ids().await.is_empty());
    venue.set(|behaviour| behaviour.refuses_cancels = false);
    client.wait_for_end("alpha").await;
    assert_eq!(client.cancelled_ids().await, ["a1"]);
    assert!(client.locks().await.is_empty());
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_an_account_arm_its_switch_with_its_first_open_order() {
    let mut rig = rig().await;
    let account = "account_id = \"alpha\"\nheartbeat_timeout_ms = 8000\n";
    rig.settings.accounts.0.push(toml::from_str(account).unwrap());
    let workers = [rig.worker().await, rig.worker().await];
    let client = rig.caller().await;
    client.report(&open_order("b1", "beta")).await;
    // A filled order arms nothing; an open one does, and again after it was disarmed.
    client.report(&buy("filled")).await;
    client.report(&open_order("a1", "alpha")).await;
    let armed = (SwitchChange::Armed, Some(8_000));
    let has_events = async |count: usize| client.switch_events("alpha").await.len() == count;
    poll::until(SOON, "the open order arms the switch", async || has_events(1).await).await;
    client
        .beat("alpha", r#"{"timeout_ms":0,"reason":"test"}"#)
        .await
        .unwrap();
    client.wait_for_end("alpha").await;
    let events = client.switch_events("alpha").await;
    assert_eq!(
        events,
        [
            armed,
            (SwitchChange::Disarmed, None),
            armed,
            (SwitchChange::Fired, Some(8_000))
        ]
    );
    assert_eq!(client.cancelled_ids().await, ["a1"]);
    assert!(client.switch_events("beta").await.is_empty());
    for worker in workers {
        worker.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_switches_cost_a_bounded_number_each_look() {
    const SWITCHES: usize = 10_000;
    let rig = rig().await;
    let store = ready_store(&rig).await;
    let arm = |n: usize| {
        let (store, account) = (store.clone(), AccountId::new(&format!("account-{n}")).unwrap());
        async move {
            let timeout_ms = if n < SWITCHES / 2 { 1 } else { 3_600_000 };
            store.arm_switch(&account, timeout_ms, &"{}".into()).await.unwrap()
        }
    };
    let armed: Vec<ArmOutcome> = stream::iter(0..SWITCHES).map(arm).buffer_unordered(64).collect().await;
    assert!(armed.iter().all(|outcome| matches!(outcome, ArmOutcome::Armed(_))));
    // The first look gives each switch that it meets its time again, for no worker has looked before.
    let (mut fired, mut calls) = (BTreeSet::new(), 0);
    while fired.len() < SWITCHES / 2 {
        let expired = store.expire_switches(60_000, 1_000).await.unwrap();
        assert!(expired.len() <= MAX_EXPIRED_SWITCHES);
        fired.extend(expired.into_iter().map(|switch| switch.account_id));
        calls += 1;
        assert!(
            calls < 2 * SWITCHES / MAX_EXPIRED_SWITCHES,
            "{} after {calls} calls",
            fired.len()
        );
    }
    assert!(store.expire_switches(60_000, 1_000).await.unwrap().is_empty());
    assert!(
        fired
            .iter()
            .all(|account| account.as_str()["account-".len()..].parse::<usize>().unwrap() < SWITCHES / 2)
    );
    // Turns are bounded, too, and no switch has two of them.
    poll::until(SOON, "the turns are due", async || {
        rig.redis_clock().await > rig.last_turn().await
    })
    .await;
    let mut turns = BTreeSet::new();
    loop {
        let page = store.take_switch_turns(3_600_000, 100).await.unwrap();
        assert!(page.len() <= 100);
        if page.is_empty() {
            break;
        }
        for switch in page {
            assert!(turns.insert(switch.account_id.clone()), "{}", switch.account_id);
        }
    }
    assert_eq!(turns, fired);
}

impl Rig {
    /// Returns Redis' clock, in milliseconds since 1970.
    async fn redis_clock(&self) -> i64 {
        let mut connection = self.redis.connection().await;
        let (seconds, micros): (i64, i64) = redis::cmd("TIME").query_async(&mut connection).await.unwrap();
        seconds * 1_000 + micros / 1_000
    }

    async fn score(&self, key: &str, account: &str) -> i64 {
        let mut connection = self.redis.connection().await;
        let score = redis::cmd("ZSCORE").arg(key).arg(account).to_owned();
        let score: Option<i64> = score.query_async(&mut connection).await.unwrap();
        score.unwrap_or(0)
    }

    async fn expiry_of(&self, account: &str) -> i64 {
        self.score("{or}:switch_expiries", account).await
    }

    async fn turn_of(&self, account: &str) -> i64 {
        self.score("{or}:switch_turns", account).await
    }

    /// Returns the moment of the last turn.
    async fn last_turn(&self) -> i64 {
        let mut connection = self.redis.connection().await;
        let mut last = redis::cmd("ZRANGE");
        last.arg("{or}:switch_turns").arg(-1).arg(-1).arg("WITHSCORES");
        let last: Vec<(String, i64)> = last.query_async(&mut connection).await.unwrap();
        last[0].1
    }
}
