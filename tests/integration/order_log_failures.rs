//! The order log under failure: orders continue, the log reports that it is behind, and recovers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use order_router::sidecar::Sidecar;
use serde_json::{Value, json};

use crate::rest_router::{Router, get, order};
use crate::rig::{Rig, SOON};
use crate::support::poll;
use crate::support::process::RouterProcess;

/// Requests that every sidecar must response with the same text.
const COMPARED_PATHS: &[&str] = &[
    "/orders/log?limit=500",
    "/orders/log?limit=2&offset=3",
    "/orders/log?tag=Odd",
    "/orders/log?status=rejected",
    "/executions?limit=500",
    "/executions?strategy=even",
    "/risk/alerts?limit=500",
];

fn file_below(data: &Path) -> PathBuf {
    data.join("order-log/orders.sqlite")
}

impl Router {
    /// Submits filled, partially filled and denied orders, and adds a note.
    async fn trade(&self, from: usize, to: usize) {
        for n in from..to {
            let over = match n % 4 {
                0 => json!({"tags": ["strategy:Even"], "quantity": "0.001"}),
                1 => json!({"tags": ["odd"], "quantity": "0.8"}),
                2 => json!({"broker": "ibkr", "venue": "ibkr.paper", "symbol": "AAPL", "price": 180, "quantity": 3}),
                _ => json!({"tags": ["ODD"], "side": "sell", "quantity": "0.001", "account_id": "fund"}),
            };
            let response = self.submit(&order(&format!("o{n}"), &over)).await;
            assert_eq!(response.status, if n % 4 == 1 { 400 } else { 201 }, "{response:?}");
        }
        let (items, _) = self.list("/orders/log?limit=1").await;
        let note = json!({"notes": format!("after {to}"), "tags": ["odd"]});
        let response = self.post(&format!("/orders/{}/notes", items[0]["id"]), &note).await;
        assert_eq!(response.status, 200, "{response:?}");
    }

    async fn log_status(&self) -> String {
        let response = self.get("/health").await;
        assert_eq!(response.status, 200, "{response:?}");
        response.json()["checks"]["order_log"]["status"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    async fn wait_for_log_status(&self, status: &str) {
        poll::until(SOON, format!("the log is {status}"), async || {
            self.log_status().await == status
        })
        .await;
    }
}

async fn responses(sidecar: &Sidecar) -> Vec<String> {
    let mut responses = Vec::new();
    for path in COMPARED_PATHS {
        let response = get(sidecar, path).await;
        responses.push(format!("{} {path} {}", response.status, response.text));
    }
    responses
}

/// Waits until both sidecars return the same responses.
async fn wait_until_equal(one: &Sidecar, other: &Sidecar) {
    poll::until(SOON, "both sidecars return the same responses", async || {
        let (one, other) = (responses(one).await, responses(other).await);
        one.iter().all(|response| response.starts_with("200 ")) && one == other
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_sidecar_gives_the_same_responses_whatever_happens_to_its_file() {
    let router = Router::start().await;
    let data = tempfile::tempdir().unwrap();
    router.trade(0, 8).await;
    let other = router.another_sidecar(&data).await;
    router.trade(8, 16).await;
    wait_until_equal(&router.sidecar, &other).await;
    // Its file is removed while it runs.
    std::fs::remove_file(file_below(data.path())).unwrap();
    router.trade(16, 20).await;
    poll::until(SOON, "the file exists again", async || file_below(data.path()).exists()).await;
    wait_until_equal(&router.sidecar, &other).await;
    // The file is missing at a start.
    other.drain(SOON).await;
    std::fs::remove_dir_all(data.path().join("order-log")).unwrap();
    let other = router.another_sidecar(&data).await;
    wait_until_equal(&router.sidecar, &other).await;
    other.drain(SOON).await;
    // The file is damaged at a start, in the middle and at its header.
    for at in [4_096, 0] {
        check_damaged_file(&router, &data, at).await;
    }
}

/// Starts a sidecar on a file that is damaged from an offset on.
async fn check_damaged_file(router: &Router, data: &tempfile::TempDir, at: usize) {
    let path = file_below(data.path());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at..].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let _ = std::fs::remove_file(path.with_extension("sqlite-wal"));
    let other = router.another_sidecar(data).await;
    wait_until_equal(&router.sidecar, &other).await;
    other.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_breaks_during_a_read_is_rebuilt() {
    let router = Router::start().await;
    router.trade(0, 8).await;
    let before = router.get("/orders/log?client_order_id=o0").await.text;
    let path = file_below(&router.rig.settings.data_dir.0);
    // An idle log writes its pages to the file.
    poll::until(SOON, "the pages are in the file", async || {
        std::fs::metadata(&path).unwrap().len() > 16 * 4_096
    })
    .await;
    {
        use std::os::unix::fs::FileExt;
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        for page in 1..std::fs::metadata(&path).unwrap().len() / 4_096 {
            file.write_all_at(&[0x5a; 4_096], page * 4_096).unwrap();
        }
    }
    poll::until(SOON, "the log is rebuilt", async || {
        // Every read in between is correct or refused.
        let response = router.get("/orders/log?client_order_id=o0").await;
        assert!(response.status == 503 || response.text == before, "{response:?}");
        router
            .submit(&order(&uuid::Uuid::now_v7().to_string(), &json!({"quantity": "0.8"})))
            .await;
        router.get("/orders/log?limit=1").await.status == 200 && is_intact(&path) == Some(true)
    })
    .await;
}

/// Whether the file at a path is intact; `None` if it cannot be opened.
fn is_intact(path: &Path) -> Option<bool> {
    let connection = rusqlite::Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
    let verdict: String = connection
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .ok()?;
    Some(verdict == "ok")
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_file_stops_no_order_and_the_log_catches_up() {
    let router = Router::start().await;
    router.trade(0, 4).await;
    router.wait_for_log_status("ok").await;
    let path = file_below(&router.rig.settings.data_dir.0);
    let other_program = rusqlite::Connection::open(&path).unwrap();
    other_program.execute_batch("BEGIN IMMEDIATE").unwrap();
    let response = router.submit(&order("while-locked", &json!({}))).await;
    assert_eq!(response.status, 201, "{response:?}");
    router.wait_for_log_status("behind").await;
    // The log lacks a reported order: reads are refused instead of returning a partial list.
    let response = router.get("/orders/log").await;
    assert_eq!((response.status, response.code().as_str()), (503, "store_unavailable"));
    other_program.execute_batch("ROLLBACK").unwrap();
    router.wait_for_log_status("ok").await;
    let (items, total) = router.list("/orders/log?client_order_id=while-locked").await;
    assert_eq!((&items[0]["status"], total), (&json!("filled"), 1));
    // A second process does not open the file.
    let second = Sidecar::start(&router.rig.settings).await.unwrap();
    let response = get(&second, "/orders/log").await;
    assert_eq!((response.status, response.code().as_str()), (503, "store_unavailable"));
    assert!(response.text.contains("another process"), "{response:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_stops_no_order_and_the_log_catches_up() {
    let mount = tempfile::tempdir().unwrap();
    let path = mount.path().to_str().unwrap();
    let size = |options: &str| {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", options, "tmpfs", path])
            .status();
        mounted.is_ok_and(|status| status.success())
    };
    if !size("size=384k") {
        eprintln!("skipped: tmpfs cannot be mounted here");
        return;
    }
    let router = Router::start_with(|rig| rig.settings.data_dir.0 = mount.path().to_owned()).await;
    let mut placed = 0;
    poll::until(SOON, "the disk is full", async || {
        for _ in 0..20 {
            placed += 1;
            let tags: Vec<String> = (0..32).map(|n| format!("{placed}-{n}-{}", "x".repeat(50))).collect();
            let over = json!({"quantity": "0.00001", "tags": tags});
            assert_eq!(router.submit(&order(&format!("o{placed}"), &over)).await.status, 201);
        }
        router.log_status().await == "behind"
    })
    .await;
    assert_eq!(
        router
            .submit(&order("on-full", &json!({"quantity": "0.00001"})))
            .await
            .status,
        201
    );
    assert!(size("remount,size=64m"));
    router.wait_for_log_status("ok").await;
    assert_eq!(router.list("/orders/log").await.1, placed + 1);
    drop(router);
    poll::until(SOON, "the file system is unmounted", async || {
        Command::new("umount").arg(path).status().unwrap().success()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_journal_is_refused_until_an_operator_decides() {
    let mut router = Router::start().await;
    router.trade(0, 4).await;
    let settings = router.rig.settings.clone();
    router.sidecar.drain(SOON).await;
    // Another journal, without the log's entries.
    let rig = Rig::start().await;
    let mut settings_of_other = settings.clone();
    settings_of_other.nats.url = rig.nats.url();
    settings_of_other.redis.url = rig.redis.url();
    let _worker = order_router::worker::Worker::start(&settings_of_other).await.unwrap();
    router.sidecar = Sidecar::start(&settings_of_other).await.unwrap();
    router.wait_for_log_status("refused").await;
    let response = router.get("/orders/log").await;
    assert_eq!((response.status, response.code().as_str()), (503, "store_unavailable"));
    assert!(response.text.contains("orders.sqlite"), "{response:?}");
    assert_eq!(router.submit(&order("other", &json!({}))).await.status, 201);
    // Removing the file accepts the new journal, without a restart.
    std::fs::remove_file(file_below(&settings.data_dir.0)).unwrap();
    router.wait_for_log_status("ok").await;
    assert_eq!(router.list("/orders/log").await.1, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_sidecar_continues() {
    let router = Router::start().await;
    let data = tempfile::tempdir().unwrap();
    let (nats, directory) = (router.rig.nats.url(), data.path().to_str().unwrap().to_owned());
    let start = async || {
        let environment = [
            ("ORDER_ROUTER_NATS_URL", nats.as_str()),
            ("ORDER_ROUTER_DATA_DIR", &directory),
            ("ORDER_ROUTER_HTTP_ADDR", "127.0.0.1:0"),
        ];
        let mut process = RouterProcess::start(&["sidecar"], environment);
        process.wait_ready(SOON).await;
        process
    };
    for round in 0..6 {
        let mut process = start().await;
        // Each round kills the process a little later.
        router.trade(round * 8, round * 8 + 1 + round).await;
        process.kill9();
        router.trade(round * 8 + 1 + round, round * 8 + 8).await;
    }
    let other = router.another_sidecar(&data).await;
    wait_until_equal(&router.sidecar, &other).await;
    let body: Value = get(&other, "/orders/log?limit=1").await.json();
    assert_eq!(body["metadata"]["total"], 48);
}
