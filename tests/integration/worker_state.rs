//! The shared state: a tightening applies at once, a loosening is journaled first, and both survive restarts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use futures_util::future::join_all;
use order_router::bus::router_client::RequestError;
use order_router::bus::subjects;
use order_router::domain::order_terms::{Mode, TradingState};
use order_router::fault::FaultCode;
use order_router::wire::state::{RouterState, StateEvent};
use redis::AsyncCommands;

use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;
use crate::worker_guards::delete_journal;

const TIGHTER: &str = r#""daily_notional_limit":1000"#;
const LOOSER: &str = r#""daily_notional_limit":2000000000"#;

fn change(values: &str, reason: &str) -> String {
    format!(r#"{{{values},"actor":"ops","reason":"{reason}"}}"#)
}

impl Client {
    /// Sets values of the state.
    pub async fn set_state(&self, values: &str) -> Result<RouterState, RequestError> {
        let body = self.call(subjects::STATE_SET, &change(values, "test")).await?;
        Ok(serde_json::from_slice(&body).unwrap())
    }

    /// Returns the state in force.
    pub async fn state(&self) -> RouterState {
        poll::eventually(SOON, "the state is returned", async || {
            let body = self.call(subjects::STATE_GET, "").await.ok()?;
            Some(serde_json::from_slice(&body).unwrap())
        })
        .await
    }

    async fn state_events(&self) -> Vec<StateEvent> {
        let journal = self.journal().await;
        let events = journal.iter().filter(|entry| entry.subject == "orders.events.state._");
        events
            .map(|entry| serde_json::from_slice(&entry.body).unwrap())
            .collect()
    }
}

fn code(result: Result<RouterState, RequestError>) -> FaultCode {
    match result {
        Err(RequestError::Fault(fault)) => fault.code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_value_is_set_returned_and_kept_through_restarts_and_the_loss_of_redis() {
    let mut rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let first = client.state().await;
    assert_eq!(
        (first.mode, first.trading_state, first.version),
        (Mode::Paper, TradingState::Active, 0)
    );
    assert_eq!(
        (
            first.daily_loss_limit.to_string(),
            first.daily_pnl.map(|pnl| pnl.to_string())
        ),
        ("50000".to_owned(), Some("0".to_owned()))
    );
    assert_eq!(client.set_state(r#""mode":"sandbox""#).await.unwrap().mode, Mode::Paper);
    assert_eq!(
        client.set_state(r#""mode":"dry_run""#).await.unwrap().mode,
        Mode::DryRun
    );
    assert_eq!(
        code(client.set_state(r#""mode":"live""#).await),
        FaultCode::ModeUnavailable
    );
    client.set_state(r#""trading_state":"reduce_only""#).await.unwrap();
    let set = client
        .set_state(r#""daily_notional_limit":"777.50","daily_loss_limit":42"#)
        .await
        .unwrap();
    assert_eq!((set.version, set.cancelled), (4, None));
    for bad in [
        r#""mode":"simulated""#,
        r#""trading_state":"Halted""#,
        r#""daily_loss_limit":0"#,
        r#""daily_loss_limit":-5"#,
        r#""version":7"#,
    ] {
        assert_eq!(code(client.set_state(bad).await).status(), 400, "{bad}");
    }
    let events = client.state_events().await;
    assert_eq!(
        events.iter().map(|event| event.version).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
    assert!(
        events
            .iter()
            .all(|event| (event.actor.as_str(), event.reason.as_str()) == ("ops", "test"))
    );

    let before = client.state().await;
    assert_eq!(
        (before.mode, before.trading_state),
        (Mode::DryRun, TradingState::ReduceOnly)
    );
    assert_eq!(before.daily_notional_limit.to_string(), "777.5");
    worker.drain(SOON).await;
    let worker = rig.worker().await;
    assert_eq!(client.state().await, before);
    let generation = rig.sum("state", "generation").await;
    for empty in [false, true] {
        rig.redis.kill9();
        if empty {
            rig.redis.restart_empty().await;
        } else {
            rig.redis.restart().await;
        }
        assert_eq!(client.state().await, before);
        // A worker never mistakes an earlier generation for the current one.
        assert!(rig.sum("state", "generation").await > generation);
    }
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_raises_the_generation_and_reading_does_not() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let mut last = rig.sum("state", "generation").await;
    for values in [
        TIGHTER,
        LOOSER,
        r#""trading_state":"reduce_only""#,
        r#""daily_loss_limit":5"#,
        r#""mode":"dry_run""#,
    ] {
        client.set_state(values).await.unwrap();
        let now = rig.sum("state", "generation").await;
        assert!(now > last, "{values}");
        client.state().await;
        assert_eq!(rig.sum("state", "generation").await, now, "{values}");
        last = now;
    }
    worker.drain(SOON).await;
}

/// Returns the daily notional limit in the store and on the journal, 0 for none.
async fn limits(rig: &Rig, client: &Client) -> (i64, String) {
    let journaled = client
        .state_events()
        .await
        .pop()
        .and_then(|event| event.daily_notional_limit);
    let journaled = journaled.map_or_else(|| "0".to_owned(), |limit| limit.to_string());
    (rig.sum("state", "daily_notional_limit").await / 1_000_000, journaled)
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn change_of_a_killed_worker_is_finished_by_another_worker() {
    for (values, stop_at, at_death, afterwards) in [
        (TIGHTER, "change_active", (1_000, "0"), (1_000, "1000")),
        (TIGHTER, "change_journaled", (1_000, "1000"), (1_000, "1000")),
        (
            LOOSER,
            "change_journaled",
            (0, "2000000000"),
            (2_000_000_000, "2000000000"),
        ),
        (
            LOOSER,
            "change_active",
            (2_000_000_000, "2000000000"),
            (2_000_000_000, "2000000000"),
        ),
    ] {
        let rig = Rig::start().await;
        let client = rig.caller().await;
        let mut victim = rig.worker_process(Some(stop_at)).await;
        let answered = client.set_state(values);
        let (answered, ended) = tokio::join!(
            tokio::time::timeout(std::time::Duration::from_secs(3), answered),
            victim.process().wait(SOON)
        );
        assert!(!ended.success() && !matches!(answered, Ok(Ok(_))), "{values} {stop_at}");
        let (store, journal) = limits(&rig, &client).await;
        assert_eq!((store, journal.as_str()), at_death, "{values} {stop_at}");
        let other = rig.worker().await;
        poll::until(SOON, format!("{values} {stop_at} is finished"), async || {
            let (store, journal) = limits(&rig, &client).await;
            (store, journal.as_str()) == afterwards
        })
        .await;
        assert_eq!(client.state_events().await.len(), 1, "{values} {stop_at}");
        assert_eq!(client.state().await.version, 1);
        other.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_changes_on_two_workers_are_serialised() {
    let rig = Rig::start().await;
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    let client = rig.caller().await;
    let values = (0..12).map(|n| match n % 4 {
        0 => format!(r#""daily_notional_limit":{}"#, 1_000 - n),
        1 => format!(r#""daily_loss_limit":{}"#, 100 + n),
        2 => r#""trading_state":"reduce_only""#.to_owned(),
        _ => r#""trading_state":"active""#.to_owned(),
    });
    let calls = values.map(|values| {
        let client = &client;
        async move { (client.set_state(&values).await, values) }
    });
    let results = join_all(calls).await;
    for (result, values) in &results {
        // A change without confirmation gets a fault.
        if let Err(error) = result {
            assert!(
                matches!(error, RequestError::Fault(fault) if fault.code == FaultCode::StoreUnavailable),
                "{values}: {error}"
            );
        }
    }
    let events = client.state_events().await;
    let versions: Vec<u64> = events.iter().map(|event| event.version).collect();
    assert!(versions.is_sorted_by(|earlier, later| earlier < later), "{versions:?}");
    let (state, last) = (client.state().await, events.last().unwrap());
    assert_eq!(state.version, last.version);
    assert_eq!(Some(state.trading_state), last.trading_state);
    assert_eq!(Some(state.daily_loss_limit), last.daily_loss_limit);
    rig.redis.flushall().await;
    assert_eq!(client.state().await, state);
    tokio::join!(one.drain(SOON), two.drain(SOON));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_journal_the_next_tightening_applies_and_lists_the_earlier_one() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    delete_journal(&client).await;
    assert!(client.set_state(r#""trading_state":"reduce_only""#).await.is_err());
    assert!(client.set_state(r#""trading_state":"halted""#).await.is_err());
    assert!(client.set_state(r#""trading_state":"active""#).await.is_err());
    let mut redis = rig.redis.connection().await;
    let (state, document): (String, String) = redis.hmget("{or}:state", &["trading_state", "doc"]).await.unwrap();
    let event: StateEvent = serde_json::from_str(&document).unwrap();
    assert_eq!(
        (state.as_str(), event.trading_state),
        ("halted", Some(TradingState::Halted))
    );
    let earlier: Vec<_> = event
        .earlier
        .iter()
        .map(|one| (one.version, one.actor.as_str()))
        .collect();
    assert_eq!(earlier, [(1, "ops")]);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn next_change_keeps_the_tightening_of_a_change_that_never_took_effect() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    // A change that does both is journaled, and its worker dies before it activates it; then an operator tightens.
    let both = r#"{"version":1,"trading_state":"reduce_only","daily_notional_limit":2000000000,"actor":"ops",
        "reason":"both","timestamp":"2026-01-01T00:00:00Z"}"#;
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    let published = jetstream.publish(subjects::event(subjects::STATE_EVENT_KIND, None), both.into());
    published.await.unwrap().await.unwrap();
    let state = client.set_state(TIGHTER).await.unwrap();
    assert_eq!(
        (state.trading_state, state.daily_notional_limit.to_string()),
        (TradingState::ReduceOnly, "1000".to_owned())
    );
    assert!(client.submit(&intent("a1", &[("quantity", "0.04")])).await.is_err());
    worker.drain(SOON).await;
}
