//! Reference prices over a real NATS: a quote applies on every worker and goes stale, and an invalid quote has no effect.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use order_router::bus::subjects;
use order_router::domain::instrument::Instrument;
use order_router::domain::order_terms::Mode;
use order_router::domain::quantity::Price;
use order_router::domain::time::Timestamp;
use order_router::worker::{Router, Worker};

use crate::rig::{Rig, SOON};
use crate::support::poll;

const MAX_AGE: Duration = Duration::from_secs(1);

fn price(text: &str) -> Option<Price> {
    Some(Price::new(text.parse().unwrap()).unwrap())
}

fn bitcoin(router: &Router) -> Instrument {
    let limits = router.limits();
    let found = limits.instruments.all().find(|one| one.symbol.as_str() == "BTCUSDT");
    found.unwrap().clone()
}

async fn publish(rig: &Rig, body: String) {
    let subject = subjects::quote("binance.spot", "BTCUSDT");
    let bus = rig.bus().await;
    bus.publish(subject, body.into()).await.unwrap();
    bus.round_trip().await.unwrap();
}

fn quote(last: &str) -> String {
    format!(r#"{{"last": {last}, "timestamp": "{}"}}"#, Timestamp::now())
}

async fn wait_for_mark(worker: &Worker, wanted: &str) {
    let (prices, bitcoin) = (&worker.router().prices, bitcoin(worker.router()));
    poll::until(SOON, "the quote is applied", async || {
        prices.mark_price(&bitcoin, Mode::Live) == price(wanted)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quote_is_the_reference_price_of_every_worker_until_it_is_stale() {
    let mut rig = Rig::start().await;
    rig.settings.risk.quote_max_age_ms = 1_000;
    let workers = [rig.worker().await, rig.worker().await];
    let bitcoin = bitcoin(workers[0].router());
    let reference = |worker: &Worker| worker.router().prices.reference_price(&bitcoin, Mode::Paper, MAX_AGE);
    for worker in &workers {
        assert_eq!(reference(worker), price("30000"));
        assert_eq!(
            worker.router().prices.reference_price(&bitcoin, Mode::Live, MAX_AGE),
            None
        );
    }

    // With repeated quotes, it is fresh on both workers at some moment.
    poll::until(SOON, "both workers use the quote as reference price", async || {
        publish(&rig, quote("29000")).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        workers.iter().all(|worker| reference(worker) == price("29000"))
    })
    .await;
    poll::until(SOON, "the quote is stale, and no price replaces it", async || {
        workers.iter().all(|worker| reference(worker).is_none())
    })
    .await;
    // Positions keep the last known price.
    for worker in &workers {
        assert_eq!(worker.router().prices.mark_price(&bitcoin, Mode::Paper), price("29000"));
    }
    for worker in workers {
        worker.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_quote_is_counted_and_ignored() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    publish(&rig, quote("29000")).await;
    wait_for_mark(&worker, "29000").await;
    let ahead = Timestamp::now().saturating_add(Duration::from_secs(60));
    for body in [
        "no JSON".to_owned(),
        format!(r#"{{"last": -1, "timestamp": "{}"}}"#, Timestamp::now()),
        format!(r#"{{"last": 1, "timestamp": "{ahead}"}}"#),
        r#"{"last": 1}"#.to_owned(),
    ] {
        publish(&rig, body).await;
    }
    poll::until(SOON, "all four messages are counted", async || {
        worker.router().prices.refused_count() == 4
    })
    .await;
    wait_for_mark(&worker, "29000").await;
    publish(&rig, quote("28000")).await;
    wait_for_mark(&worker, "28000").await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_worker_knows_the_shared_prices() {
    let rig = Rig::start().await;
    let first = rig.worker().await;
    let bitcoin = bitcoin(first.router());
    publish(&rig, quote("29000")).await;
    wait_for_mark(&first, "29000").await;
    let kept = async || {
        let mut redis = rig.redis.connection().await;
        let kept: Option<String> = redis::AsyncCommands::hget(
            &mut redis,
            "{or-cache}:quotes",
            subjects::quote("binance.spot", "BTCUSDT"),
        )
        .await
        .unwrap();
        kept.is_some()
    };
    poll::until(SOON, "the quote is stored", kept).await;
    let second = rig.worker().await;
    assert_eq!(second.router().prices.mark_price(&bitcoin, Mode::Paper), price("29000"));
    // A rebuild does not need it.
    rig.redis.flushall().await;
    poll::until(SOON, "the emptied store is rebuilt", async || {
        second.router().store.epoch().is_some() && first.router().store.epoch().is_some()
    })
    .await;
    poll::until(SOON, "the quote is stored again", kept).await;
    tokio::join!(first.drain(SOON), second.drain(SOON));
}
