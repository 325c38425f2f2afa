//! A worker killed between any two steps: another worker finishes or releases the order, and it executes once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use order_router::config::Settings;
use order_router::domain::id::{AccountId, BrokerId};
use order_router::domain::order_terms::OrderStatus;
use order_router::store::Store;
use order_router::wire::report::ExecutionReport;
use order_router::worker::stop_point;
use redis::AsyncCommands;

use crate::rig::{Client, Rig, SOON, intent};
use crate::store_scripts::claimed;
use crate::support::poll;
use crate::support::process::RouterProcess;

impl Rig {
    /// Starts a worker in its own process, which ends at a stop point when one is named.
    pub async fn worker_process(&self, stop_at: Option<&str>) -> RouterProcess {
        let mut worker = self.starting_worker_process(stop_at);
        worker.wait_ready(SOON).await;
        worker
    }

    /// Starts a worker in its own process and does not wait until it is ready.
    pub fn starting_worker_process(&self, stop_at: Option<&str>) -> RouterProcess {
        // The limits of every worker of a router are the same.
        let file = self.settings.data_dir.0.join("worker.toml");
        let mut settings = Settings {
            risk: self.settings.risk.clone(),
            instruments: self.settings.instruments.clone(),
            accounts: self.settings.accounts.clone(),
            brokers: self.settings.brokers.clone(),
            ..Settings::default()
        };
        settings.nats.url = self.nats.url();
        settings.redis.url = self.redis.url();
        settings.redis.lease_ms = self.settings.redis.lease_ms;
        settings.doors.durable_ack_wait_ms = 1_000;
        settings.doors.durable_progress_ms = 300;
        // Another process may be reading it: it is replaced as a whole.
        let written = tempfile::NamedTempFile::new_in(&self.settings.data_dir.0).unwrap();
        std::fs::write(written.path(), toml::to_string(&settings).unwrap()).unwrap();
        written.persist(&file).unwrap();
        let environment = stop_at.map(|name| (stop_point::ENVIRONMENT_VARIABLE, name));
        RouterProcess::start(&["worker", "--config", file.to_str().unwrap()], environment)
    }

    /// Starts a worker process that reads its settings from this file.
    pub async fn worker_process_of(&self, settings: &std::path::Path) -> RouterProcess {
        std::fs::write(settings, toml::to_string(&self.settings).unwrap()).unwrap();
        let mut worker = RouterProcess::start(&["worker", "--config", settings.to_str().unwrap()], Vec::new());
        worker.wait_ready(SOON).await;
        worker
    }
}

/// Waits until an order has one final report on the journal, and checks that it was executed once.
async fn assert_executed_once(rig: &Rig, client: &Client, id: &str, orders: i64) {
    poll::until(SOON, format!("{id} is on the journal"), async || {
        client.reports().await.iter().any(|report| report.client_order_id == id)
    })
    .await;
    rig.quiet().await;
    let reports = client.reports().await;
    let of_id: Vec<_> = reports.iter().filter(|report| report.client_order_id == id).collect();
    assert_eq!(
        (of_id.len(), of_id[0].status, of_id[0].version),
        (1, OrderStatus::Filled, 1),
        "{id}"
    );
    let (sums, lots) = ("sums:paper:default:binance.spot:BTCUSDT", orders * 100);
    for (field, value) in [("position", lots), ("long", lots), ("short", -lots)] {
        assert_eq!(rig.sum(sums, field).await, value, "{id}: {field}");
    }
    assert_eq!(
        rig.sum("totals:paper", "daily_notional").await,
        orders * 30_000_000,
        "{id}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn killed_worker_leaves_one_execution() {
    let mut rig = Rig::start().await;
    rig.settings.doors.durable_ack_wait_ms = 1_000;
    rig.settings.doors.durable_progress_ms = 300;
    let client = rig.caller().await;
    let (broker, account) = (BrokerId::new("binance").unwrap(), AccountId::new("default").unwrap());
    let mut orders = 0;
    for stop_at in stop_point::PIPELINE_POINTS {
        for door in ["request", "durable"] {
            let id = format!("{stop_at}-{door}");
            let body = intent(&id, &[]);
            let mut victim = rig.worker_process(Some(stop_at)).await;
            let first = match door {
                "request" => client.submit_within(&body, Duration::from_secs(2)).await.ok(),
                _ => {
                    client
                        .caller
                        .publish_intent(&broker, &account, body.clone().into(), None, None)
                        .await
                        .unwrap();
                    None
                }
            };
            let ended = victim.process().wait(SOON).await;
            assert!(!ended.success(), "{id}: {}", victim.stderr_text());
            let other = rig.worker().await;
            orders += 1;
            if door == "request" {
                // The caller retries under the same id until it gets the report.
                let report = poll::eventually(SOON, format!("{id} is answered"), async || {
                    let reply = client.submit(&body).await.ok()?;
                    Some(ExecutionReport::decode(&reply.body).unwrap()).filter(|report| !report.is_receipt())
                })
                .await;
                if let Some(first) = first {
                    let first = ExecutionReport::decode(&first.body).unwrap();
                    assert_eq!(first.order_id, report.order_id, "{id}");
                }
            }
            assert_executed_once(&rig, &client, &id, orders).await;
            poll::until(SOON, "the queue is empty", async || client.queued().await == 0).await;
            other.drain(SOON).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn abandoned_claim_is_released_at_the_end_of_its_lease() {
    let mut rig = Rig::start().await;
    rig.settings.redis.lease_ms = 500;
    let client = rig.caller().await;
    let other = rig.worker().await;
    // The claim of a worker that is gone.
    let store = Store::connect(&rig.settings.redis).await.unwrap();
    let epoch: i64 = rig.redis.connection().await.hget("{or}:meta", "epoch").await.unwrap();
    store.join_epoch(epoch);
    claimed(&rig, &store, 100).await;
    assert_eq!(rig.sum("sums:paper:default:binance.spot:BTCUSDT", "long").await, 100);
    rig.quiet().await;
    assert_eq!(rig.sum("sums:paper:default:binance.spot:BTCUSDT", "long").await, 0);
    assert_eq!(client.reports().await.len(), 0);
    other.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_drains_and_logs_the_end() {
    let rig = Rig::start().await;
    let client = rig.caller().await;
    let mut leaving = rig.worker_process(None).await;
    let staying = rig.worker().await;
    let load = async {
        let mut answered = 0;
        for chunk in 0..20 {
            let bodies: Vec<String> = (0..20_usize)
                .map(|n| {
                    let side = if n.is_multiple_of(2) { "\"buy\"" } else { "\"sell\"" };
                    intent(&format!("s{chunk}-{n}"), &[("side", side)])
                })
                .collect();
            let replies = futures_util::future::join_all(bodies.iter().map(|body| client.submit(body))).await;
            answered += replies.iter().filter(|reply| reply.is_ok()).count();
        }
        answered
    };
    let shutdown = async {
        poll::until(SOON, "some orders are journaled", async || {
            client.reader.read_extent().await.unwrap().last_sequence >= 40
        })
        .await;
        leaving.terminate(Duration::from_secs(15)).await
    };
    let (answered, ended) = tokio::join!(load, shutdown);
    assert!(ended.success(), "{ended}: {}", leaving.stderr_text());
    // The worker that accepts a request also load it.
    assert_eq!(answered, 400);
    rig.quiet().await;
    assert_eq!(client.reports().await.len(), 400);
    staying.drain(SOON).await;
}
