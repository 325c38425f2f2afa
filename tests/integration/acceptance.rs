//! The end-to-end guarantee: thousands of intents through both doors, by four publishers over two worker processes, then
//! the same files again. Small in `make test`, at full size in `make acceptance`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use order_router::domain::order_terms::OrderStatus;
use order_router::domain::time::Timestamp;
use order_router::wire::report::ExecutionReport;

use crate::rig::{Client, Rig, intent};
use crate::support::poll;

const PUBLISHERS: usize = 4;
/// How long a run may take on a busy machine.
const RUN_TIMEOUT: Duration = Duration::from_secs(600);

/// Writes each publisher's file: sides alternate, so that no cap is reached.
fn files(directory: &Path, door: &str, intents: usize, expires_at: Timestamp) -> Vec<PathBuf> {
    let expires_at = format!("\"{expires_at}\"");
    let part = intents / PUBLISHERS;
    let file = |publisher: usize| {
        let mut text = String::new();
        for n in 0..part {
            let side = if n.is_multiple_of(2) { "\"buy\"" } else { "\"sell\"" };
            let id = format!("{door}-{publisher}-{n}");
            writeln!(text, "{}", intent(&id, &[("side", side), ("expires_at", &expires_at)])).unwrap();
        }
        let path = directory.join(format!("{door}-{publisher}.ndjson"));
        std::fs::write(&path, text).unwrap();
        path
    };
    (0..PUBLISHERS).map(file).collect()
}

/// Runs one `order-router submit` per file, concurrently; returns each intent's report.
async fn submit(rig: &Rig, files: &[PathBuf], durable: bool) -> BTreeMap<String, ExecutionReport> {
    let url = rig.nats.url();
    let run = |file: &PathBuf| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_order-router"));
        command
            .args([
                "--nats-url",
                &url,
                "submit",
                "--json",
                "--timeout-ms",
                "30000",
                "--file",
            ])
            .arg(file);
        command.args(durable.then_some("--durable")).kill_on_drop(true);
        async move {
            tokio::time::timeout(RUN_TIMEOUT, command.output())
                .await
                .unwrap()
                .unwrap()
        }
    };
    let outputs = futures_util::future::join_all(files.iter().map(run)).await;
    let mut reports = BTreeMap::new();
    for output in outputs {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        for line in output
            .stdout
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            let shown = String::from_utf8_lossy(line).into_owned();
            let report = ExecutionReport::decode(line).unwrap_or_else(|error| panic!("{error}: {shown}\n{said}"));
            reports.insert(report.client_order_id.clone(), report);
        }
        assert!(output.status.success(), "{said}");
    }
    reports
}

/// Checks journal, counters and leftovers after `orders` filled orders of 30 each.
async fn assert_complete(rig: &Rig, client: &Client, orders: usize) {
    poll::until(RUN_TIMEOUT, "no order is in flight", async || {
        let store = rig.store_keys().await;
        !store.iter().any(|key| ["leases", "outbox"].contains(&key.as_str())) && client.queued().await == 0
    })
    .await;
    let mut finals: BTreeMap<String, usize> = BTreeMap::new();
    for report in client.reports().await {
        assert_eq!(
            (report.status, report.version),
            (OrderStatus::Filled, 1),
            "{}",
            report.client_order_id
        );
        *finals.entry(report.order_id).or_default() += 1;
    }
    assert_eq!(finals.len(), orders);
    assert!(finals.values().all(|count| *count == 1));
    for field in ["position", "long", "short", "cash_flow"] {
        assert_eq!(
            rig.sum("sums:paper:default:binance.spot:BTCUSDT", field).await,
            0,
            "{field}"
        );
    }
    let routed = rig.sum("totals:paper", "daily_notional").await;
    assert_eq!(routed, i64::try_from(orders).unwrap() * 30_000_000);
    assert!(!rig.store_keys().await.iter().any(|key| key.starts_with("open:")));
    assert_eq!(client.dead_letters().await, 0);
}

async fn acceptance(intents: usize, expire_after: Duration) {
    let rig = Rig::start().await;
    let directory = tempfile::tempdir().unwrap();
    let client = rig.caller().await;
    let (mut one, mut two) = tokio::join!(rig.worker_process(None), rig.worker_process(None));
    let expires_at = Timestamp::now().saturating_add(expire_after);
    let request = files(directory.path(), "request", intents, expires_at);
    let durable = files(directory.path(), "durable", intents, expires_at);
    let first = submit(&rig, &request, false).await;
    assert_eq!(first.len(), intents);
    assert_complete(&rig, &client, intents).await;
    let kept = submit(&rig, &durable, true).await;
    assert_eq!(kept.len(), intents);
    assert_complete(&rig, &client, 2 * intents).await;

    // The same files again: no new order and the same reports, also with lower limits and passed deadlines.
    assert_eq!(submit(&rig, &request, false).await, first);
    let lower = r#"{"daily_notional_limit":1,"actor":"test","reason":"nothing new fits"}"#;
    client.call("router.state.set", lower).await.unwrap();
    poll::until(RUN_TIMEOUT, "the deadlines have passed", async || {
        Timestamp::now() > expires_at
    })
    .await;
    assert_eq!(submit(&rig, &request, false).await, first);
    assert_eq!(submit(&rig, &durable, true).await, kept);
    assert_complete(&rig, &client, 2 * intents).await;
    for worker in [&mut one, &mut two] {
        assert!(worker.terminate(Duration::from_secs(30)).await.success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_intents_through_both_doors_execute_once_each() {
    acceptance(400, Duration::from_secs(15)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the full size: `make acceptance`"]
async fn ten_thousand_intents_through_both_doors_execute_once_each() {
    acceptance(10_000, Duration::from_secs(180)).await;
}
