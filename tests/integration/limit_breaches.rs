//! A realised loss locks its account on every worker, through restarts and data loss, until an operator lifts the lock;
//! reductions pass. Rules alert when their threshold is crossed, not with every order above it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use order_router::bus::subjects;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::time::Timestamp;
use order_router::fault::FaultCode;
use order_router::wire::lock::LockList;
use order_router::wire::risk_signal::RiskSignal;

use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;
use crate::worker_laws::rebuildable_state;

/// Publishes a price of BTCUSDT.
async fn quote(client: &Client, last: &str) {
    let body = format!(r#"{{"last": {last}, "timestamp": "{}"}}"#, Timestamp::now());
    let subject = subjects::quote("binance.spot", "BTCUSDT");
    client.raw.publish(subject, body.into()).await.unwrap();
    client.raw.flush().await.unwrap();
}

pub async fn lock_ids(client: &Client) -> Vec<String> {
    let Ok(body) = client.call("router.locks.list", "{}").await else {
        return Vec::new();
    };
    let list: LockList = serde_json::from_slice(&body).unwrap();
    list.items.into_iter().map(|lock| lock.latch_id).collect()
}

/// Returns the published alerts and locks, as `level rule account`.
pub async fn signals(client: &Client) -> Vec<String> {
    use futures_util::StreamExt;
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    let stream = jetstream.get_stream(subjects::STREAM_ALERTS).await.unwrap();
    let consumer = stream
        .create_consumer(async_nats::jetstream::consumer::pull::Config::default())
        .await
        .unwrap();
    let mut messages = consumer.fetch().max_messages(1_000).messages().await.unwrap();
    let mut found = Vec::new();
    while let Some(message) = messages.next().await {
        let signal: RiskSignal = serde_json::from_slice(&message.unwrap().payload).unwrap();
        let account = signal.account_id.unwrap_or_else(|| "_".to_owned());
        found.push(format!("{} {} {account}", signal.level.as_str(), signal.rule_id));
    }
    found
}

fn of(account: &'static str, id: &str, over: &[(&str, &str)]) -> String {
    let account = match account {
        "a" => "\"a\"",
        _ => "\"b\"",
    };
    let mut all = vec![("account_id", account)];
    all.extend_from_slice(over);
    intent(id, &all)
}

/// Publishes a quote until a worker denies an order: each worker applies a quote a moment after its publication.
async fn denied(client: &Client, account: &'static str, last: &str) -> FaultCode {
    let mut n = 0;
    poll::eventually(SOON, "the loss is detected", async || {
        quote(client, last).await;
        n += 1;
        let result = client.submit(&of(account, &format!("probe-{last}-{n}"), &[])).await;
        match result {
            Err(order_router::bus::router_client::RequestError::Fault(fault)) => Some(fault.code),
            _ => None,
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn loss_locks_its_account_until_an_operator_lifts_it() {
    let mut rig = Rig::start().await;
    rig.settings.risk.daily_loss_limit = "99".to_owned();
    rig.settings.risk.account_stop_loss = "1000000".to_owned();
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    let client = rig.caller().await;
    // Account b gains what a loses: the total loss is zero.
    let large = [("quantity", "0.1")];
    let short = [("quantity", "0.1"), ("side", "\"sell\"")];
    client.report(&of("a", "long", &large)).await;
    client.report(&of("b", "short", &short)).await;
    assert_eq!(denied(&client, "a", "29000").await, FaultCode::DailyLossExceeded);
    poll::until(SOON, "the account is locked", async || {
        lock_ids(&client).await == ["paper.account.a.max_daily_loss"]
    })
    .await;
    // The lock remains after the price recovers. The other account continues, and the held position may be sold.
    quote(&client, "30000").await;
    let still = client.fault(&of("a", "later", &[])).await;
    assert_eq!(
        (still.code, still.rule_id.as_deref()),
        (FaultCode::DailyLossExceeded, Some("trading_state"))
    );
    assert_eq!(
        client.report(&of("b", "other", &[("quantity", "0.01")])).await.status,
        OrderStatus::Filled
    );
    let part = [("quantity", "0.01"), ("side", "\"sell\""), ("reduce_only", "true")];
    assert_eq!(client.report(&of("a", "part", &part)).await.status, OrderStatus::Filled);
    rig.quiet().await;
    let before = rebuildable_state(&rig).await;
    tokio::join!(one.drain(SOON), two.drain(SOON));
    rig.redis.flushall().await;
    let worker = rig.worker().await;
    assert_eq!(lock_ids(&client).await, ["paper.account.a.max_daily_loss"]);
    rig.quiet().await;
    assert_eq!(rebuildable_state(&rig).await, before);
    assert_eq!(
        client.fault(&of("a", "rebuilt", &[])).await.code,
        FaultCode::DailyLossExceeded
    );
    quote(&client, "30000").await;
    let lift = r#"{"latch_id":"paper.account.a.max_daily_loss","actor":"ops","reason":"reviewed"}"#;
    client.call("router.locks.lift", lift).await.unwrap();
    poll::until(SOON, "the account is open again", async || {
        quote(&client, "30000").await;
        let report = client.submit(&of("a", "lifted", &[])).await;
        report.is_ok()
    })
    .await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn total_loss_locks_without_any_order() {
    let mut rig = Rig::start().await;
    rig.settings.risk.daily_loss_limit = "60".to_owned();
    let worker = rig.worker().await;
    let client = rig.caller().await;
    // A loss of 50 each: no account reaches its limit, the total does.
    for account in ["a", "b"] {
        client.report(&of(account, account, &[("quantity", "0.05")])).await;
    }
    poll::until(SOON, "everything is locked", async || {
        quote(&client, "29000").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        lock_ids(&client).await == ["paper.all.max_daily_loss"]
    })
    .await;
    poll::until(SOON, "the lock is published", async || {
        signals(&client).await.contains(&"lock max_daily_loss _".to_owned())
    })
    .await;
    assert_eq!(
        signals(&client)
            .await
            .iter()
            .filter(|signal| *signal == "lock max_daily_loss _")
            .count(),
        1
    );
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_alerts_once_per_crossing() {
    let mut rig = Rig::start().await;
    // The cap is 0.2: the alert threshold of 80 % is 0.16, and the rule is calm below 0.15.
    rig.settings.instruments.0[0].max_notional = "6000".to_owned();
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    let client = rig.caller().await;
    let order = async |id: &str, side: &str, quantity: &str| {
        let side = format!("{side:?}");
        let over = [("side", side.as_str()), ("quantity", quantity)];
        client.report(&intent(id, &over)).await;
    };
    let expect_alerts = async |crossings: usize| {
        poll::until(SOON, "the alerts are published", async || {
            let signals = signals(&client).await;
            signals
                .iter()
                .filter(|signal| *signal == "alert max_notional default")
                .count()
                >= crossings
        })
        .await;
        rig.quiet().await;
        let signals = signals(&client).await;
        assert_eq!(
            signals
                .iter()
                .filter(|signal| *signal == "alert max_notional default")
                .count(),
            crossings
        );
    };
    order("up", "buy", "0.159").await;
    expect_alerts(0).await;
    for n in 0..5 {
        order(&format!("above-{n}"), "buy", "0.002").await;
    }
    expect_alerts(1).await;
    // Down to 0.151 and up again: between the two thresholds there is no new alert.
    order("between", "sell", "0.018").await;
    order("again", "buy", "0.012").await;
    expect_alerts(1).await;
    // Down to 0.14: the next order finds the rule calm, and the one after it crosses again.
    order("down", "sell", "0.023").await;
    order("calm", "buy", "0.005").await;
    order("crossing", "buy", "0.02").await;
    expect_alerts(2).await;
    tokio::join!(one.drain(SOON), two.drain(SOON));
}
