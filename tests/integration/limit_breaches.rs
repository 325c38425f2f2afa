//! A loss that has been made closes its account on every worker, whatever is restarted or lost, until somebody lifts it;
//! reductions pass. And rules alert when their share is crossed, not with every order above it.

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

async fn latches(client: &Client) -> Vec<String> {
    let Ok(answer) = client.call("router.locks.list", "{}").await else {
        return Vec::new();
    };
    let answer: LockList = serde_json::from_slice(&answer).unwrap();
    answer.items.into_iter().map(|lock| lock.latch_id).collect()
}

/// Returns the alerts and locks that are kept, as `level rule account`.
async fn signals(client: &Client) -> Vec<String> {
    use futures_util::StreamExt;
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    let stream = jetstream.get_stream(subjects::STREAM_ALERTS).await.unwrap();
    let consumer = stream
        .create_consumer(async_nats::jetstream::consumer::pull::Config::default())
        .await
        .unwrap();
    let mut messages = consumer.fetch().max_messages(1_000).messages().await.unwrap();
    let mut told = Vec::new();
    while let Some(message) = messages.next().await {
        let signal: RiskSignal = serde_json::from_slice(&message.unwrap().payload).unwrap();
        let account = signal.account_id.unwrap_or_else(|| "_".to_owned());
        told.push(format!("{} {} {account}", signal.level.as_str(), signal.rule_id));
    }
    told
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

/// A worker's view of prices is its own, and moves a moment after a quote.
async fn denied(client: &Client, account: &'static str, last: &str) -> FaultCode {
    let mut n = 0;
    poll::eventually(SOON, "the loss is seen", async || {
        quote(client, last).await;
        n += 1;
        let answer = client.submit(&of(account, &format!("probe-{last}-{n}"), &[])).await;
        match answer {
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
    // Account b wins what a loses: nothing is lost over all.
    let large = [("quantity", "0.1")];
    let short = [("quantity", "0.1"), ("side", "\"sell\"")];
    client.report(&of("a", "long", &large)).await;
    client.report(&of("b", "short", &short)).await;
    assert_eq!(denied(&client, "a", "29000").await, FaultCode::DailyLossExceeded);
    poll::until(SOON, "the account is latched", async || {
        latches(&client).await == ["paper.account.a.max_daily_loss"]
    })
    .await;
    // Even when the price is back: somebody has to lift it. The other account goes on, and what is held may be sold.
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
    assert_eq!(latches(&client).await, ["paper.account.a.max_daily_loss"]);
    rig.quiet().await;
    assert_eq!(rebuildable_state(&rig).await, before);
    assert_eq!(
        client.fault(&of("a", "rebuilt", &[])).await.code,
        FaultCode::DailyLossExceeded
    );
    quote(&client, "30000").await;
    let lift = r#"{"latch_id":"paper.account.a.max_daily_loss","actor":"ops","reason":"looked at"}"#;
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
    // 50 each: no account reaches its limit, all together do.
    for account in ["a", "b"] {
        client.report(&of(account, account, &[("quantity", "0.05")])).await;
    }
    poll::until(SOON, "everything is latched", async || {
        quote(&client, "29000").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        latches(&client).await == ["paper.all.max_daily_loss"]
    })
    .await;
    poll::until(SOON, "monitors are told once", async || {
        signals(&client).await.contains(&"lock max_daily_loss _".to_owned())
    })
    .await;
    assert_eq!(
        signals(&client)
            .await
            .iter()
            .filter(|told| *told == "lock max_daily_loss _")
            .count(),
        1
    );
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_alerts_once_per_crossing() {
    let mut rig = Rig::start().await;
    // The cap is 0.2 lots of room: 80 % are 0.16, and it is calm below 0.15.
    rig.settings.instruments.0[0].max_notional = "6000".to_owned();
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    let client = rig.caller().await;
    let order = async |id: &str, side: &str, quantity: &str| {
        let side = format!("{side:?}");
        let over = [("side", side.as_str()), ("quantity", quantity)];
        client.report(&intent(id, &over)).await;
    };
    let told = async |crossings: usize| {
        poll::until(SOON, "the alerts are there", async || {
            let signals = signals(&client).await;
            signals
                .iter()
                .filter(|told| *told == "alert max_notional default")
                .count()
                >= crossings
        })
        .await;
        rig.quiet().await;
        let signals = signals(&client).await;
        assert_eq!(
            signals
                .iter()
                .filter(|told| *told == "alert max_notional default")
                .count(),
            crossings
        );
    };
    order("up", "buy", "0.159").await;
    told(0).await;
    for n in 0..5 {
        order(&format!("above-{n}"), "buy", "0.002").await;
    }
    told(1).await;
    // Down to 0.151 and up again: between the two shares nothing is new.
    order("between", "sell", "0.018").await;
    order("again", "buy", "0.012").await;
    told(1).await;
    // Down to 0.14: the next order looks calm, and the one after it crosses anew.
    order("down", "sell", "0.023").await;
    order("calm", "buy", "0.005").await;
    order("crossing", "buy", "0.02").await;
    told(2).await;
    tokio::join!(one.drain(SOON), two.drain(SOON));
}
