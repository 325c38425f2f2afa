//! Alerts leave through the outbox: the death of a worker loses none, and none is stored twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use order_router::bus::subjects;
use order_router::domain::rule_signal::SignalLevel;
use order_router::fault::FaultCode;
use order_router::wire::risk_signal::RiskSignal;
use order_router::worker::control::alert_outbox;

use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;

/// Returns every alert of the stream, in its order.
async fn alerts(client: &Client) -> Vec<RiskSignal> {
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    let stream = jetstream.get_stream(subjects::STREAM_ALERTS).await.unwrap();
    let mut found = Vec::new();
    for sequence in 1..=stream.cached_info().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        found.push(serde_json::from_slice(&message.payload).unwrap());
    }
    found
}

async fn is_outbox_empty(rig: &Rig) -> bool {
    let keys = rig.store_keys().await;
    !keys.iter().any(|key| key.starts_with("alerts"))
}

/// An order that loses 3 against the market, and its sale, which loses 3 more.
fn losing(id: &str, side: &str) -> String {
    let price = if side == "buy" { "33000" } else { "27000" };
    intent(id, &[("side", &format!("{side:?}")), ("price", price)])
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn alert_of_a_worker_that_died_is_published_once_with_its_facts() {
    for stop_at in ["after_settle", "alert_marked", "alert_published"] {
        let mut rig = Rig::start().await;
        // An order is worth 30: the third is the first above 80 %.
        rig.settings.risk.daily_notional_limit = "100".to_owned();
        let client = rig.caller().await;
        let first = rig.worker().await;
        client.report(&intent("a1", &[])).await;
        client.report(&intent("a2", &[])).await;
        rig.quiet().await;
        first.drain(SOON).await;
        let mut victim = rig.worker_process(Some(stop_at)).await;
        let crossing = client.submit_within(&intent("a3", &[]), Duration::from_secs(2)).await;
        victim.process().wait(SOON).await;
        assert!(crossing.is_err() || stop_at == "alert_published", "{stop_at}");
        let survivor = rig.worker().await;
        poll::until(SOON, "the alert is published", async || {
            is_outbox_empty(&rig).await && !alerts(&client).await.is_empty()
        })
        .await;
        let [alert] = alerts(&client).await.try_into().unwrap();
        assert_eq!(
            (alert.rule_id.as_str(), alert.level, alert.client_order_id.as_deref()),
            ("max_daily_notional", SignalLevel::Alert, Some("a3")),
            "{stop_at}"
        );
        assert_eq!(
            alert.message, "the day's routed notional is 90, at or above 80 % of the limit of 100",
            "{stop_at}"
        );
        let metadata = serde_json::to_value(&alert.metadata).unwrap();
        assert_eq!(
            metadata.to_string(),
            r#"{"before":60,"limit":100,"value":90}"#,
            "{stop_at}"
        );
        survivor.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn alert_of_a_lock_survives_the_worker_that_set_it() {
    let mut rig = Rig::start().await;
    rig.settings.risk.daily_loss_limit = "5".to_owned();
    let client = rig.caller().await;
    let mut victim = rig.worker_process(Some("lock_active")).await;
    client.report(&losing("l1", "buy")).await;
    let _ = client
        .submit_within(&losing("l2", "sell"), Duration::from_secs(2))
        .await;
    victim.process().wait(SOON).await;
    let survivor = rig.worker().await;
    poll::until(SOON, "the lock's alert is published", async || {
        is_outbox_empty(&rig).await
            && alerts(&client)
                .await
                .iter()
                .any(|alert| alert.level == SignalLevel::Lock)
    })
    .await;
    let fault = client.fault(&intent("l3", &[])).await;
    assert_eq!(fault.code, FaultCode::DailyLossExceeded);
    assert_alerts_come_before_locks(&alerts(&client).await);
    survivor.drain(SOON).await;
}

/// Checks that each lock is announced once, and that no alert of the daily loss follows the first of them.
fn assert_alerts_come_before_locks(alerts: &[RiskSignal]) {
    let of_locks: Vec<&RiskSignal> = alerts
        .iter()
        .filter(|alert| alert.level == SignalLevel::Lock && alert.order_id.is_none())
        .collect();
    let mut ids: Vec<String> = of_locks
        .iter()
        .map(|alert| serde_json::to_value(&alert.metadata).unwrap()["latch_id"].to_string())
        .collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert!(count > 0 && ids.len() == count, "{of_locks:?}");
    let first_lock = alerts
        .iter()
        .position(|alert| alert.level == SignalLevel::Lock)
        .unwrap();
    let is_loss_alert = |alert: &RiskSignal| alert.level == SignalLevel::Alert && alert.rule_id == "max_daily_loss";
    assert!(alerts[..first_lock].iter().any(is_loss_alert), "{alerts:?}");
    assert!(!alerts[first_lock..].iter().any(is_loss_alert), "{alerts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_of_a_loss_is_on_the_stream_before_its_lock_is_answered() {
    let mut rig = Rig::start().await;
    rig.settings.risk.daily_loss_limit = "5".to_owned();
    let workers = [rig.worker().await, rig.worker().await];
    let client = rig.caller().await;
    client.report(&losing("l1", "buy")).await;
    client.report(&losing("l2", "sell")).await;
    let fault = client.fault(&intent("l3", &[])).await;
    assert_eq!(fault.code, FaultCode::DailyLossExceeded);
    assert_alerts_come_before_locks(&alerts(&client).await);
    for worker in workers {
        worker.drain(SOON).await;
    }
    assert_alerts_come_before_locks(&alerts(&client).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_that_two_workers_publish_is_stored_once() {
    let mut rig = Rig::start().await;
    rig.settings.risk.daily_notional_limit = "100".to_owned();
    rig.settings.risk.duplicate_window_ms = 60_000;
    let workers = [rig.worker().await, rig.worker().await];
    let client = rig.caller().await;
    let publish = async {
        for _ in 0..200 {
            let [one, two] = [&workers[0], &workers[1]].map(|worker| worker.router());
            let (one, two) = tokio::join!(
                alert_outbox::publish_waiting_alerts(one, Duration::ZERO),
                alert_outbox::publish_waiting_alerts(two, Duration::ZERO)
            );
            one.and(two).unwrap();
        }
    };
    let orders = async {
        for id in ["d1", "d2", "d3"] {
            client.report(&intent(id, &[])).await;
        }
    };
    tokio::join!(publish, orders);
    poll::until(SOON, "the outbox is empty", async || is_outbox_empty(&rig).await).await;
    for worker in workers {
        worker.drain(SOON).await;
    }
    // Two duplicates, and one crossing.
    let found = alerts(&client).await;
    let mut names: Vec<(&str, Option<&str>)> = found
        .iter()
        .map(|alert| (alert.rule_id.as_str(), alert.client_order_id.as_deref()))
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            ("duplicate_order", Some("d2")),
            ("duplicate_order", Some("d3")),
            ("max_daily_notional", Some("d3")),
        ]
    );
    let ids: std::collections::BTreeSet<_> = found.iter().map(|alert| alert.alert_id).collect();
    assert_eq!(ids.len(), found.len());
}
