//! The order log when things go wrong: orders go on, the log says that it is behind, and becomes what it was.

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

/// What every sidecar must answer with the same text.
const QUESTIONS: &[&str] = &[
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
    /// Submits some orders: filled, partly filled, denied and noted ones.
    async fn trade(&self, from: usize, to: usize) {
        for n in from..to {
            let over = match n % 4 {
                0 => json!({"tags": ["strategy:Even"], "quantity": "0.001"}),
                1 => json!({"tags": ["odd"], "quantity": "0.8"}),
                2 => json!({"broker": "ibkr", "venue": "ibkr.paper", "symbol": "AAPL", "price": 180, "quantity": 3}),
                _ => json!({"tags": ["ODD"], "side": "sell", "quantity": "0.001", "account_id": "fund"}),
            };
            let told = self.submit(&order(&format!("o{n}"), &over)).await;
            assert_eq!(told.status, if n % 4 == 1 { 400 } else { 201 }, "{told:?}");
        }
        let (items, _) = self.list("/orders/log?limit=1").await;
        let note = json!({"notes": format!("after {to}"), "tags": ["odd"]});
        let told = self.post(&format!("/orders/{}/notes", items[0]["id"]), &note).await;
        assert_eq!(told.status, 200, "{told:?}");
    }

    async fn standing(&self) -> String {
        let told = self.get("/health").await;
        assert_eq!(told.status, 200, "{told:?}");
        told.json()["checks"]["order_log"]["status"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    async fn stands(&self, standing: &str) {
        poll::until(SOON, format!("the log is {standing}"), async || {
            self.standing().await == standing
        })
        .await;
    }
}

async fn answers(sidecar: &Sidecar) -> Vec<String> {
    let mut answers = Vec::new();
    for question in QUESTIONS {
        let told = get(sidecar, question).await;
        answers.push(format!("{} {question} {}", told.status, told.text));
    }
    answers
}

/// Waits until a sidecar answers everything as another one does.
async fn same(one: &Sidecar, other: &Sidecar) {
    poll::until(SOON, "both answer the same", async || {
        let (one, other) = (answers(one).await, answers(other).await);
        one.iter().all(|answer| answer.starts_with("200 ")) && one == other
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
    same(&router.sidecar, &other).await;
    // Its file goes while it runs.
    std::fs::remove_file(file_below(data.path())).unwrap();
    router.trade(16, 20).await;
    poll::until(SOON, "there is a file again", async || file_below(data.path()).exists()).await;
    same(&router.sidecar, &other).await;
    // It is gone at a start.
    other.drain(SOON).await;
    std::fs::remove_dir_all(data.path().join("order-log")).unwrap();
    let other = router.another_sidecar(&data).await;
    same(&router.sidecar, &other).await;
    other.drain(SOON).await;
    // It is broken at a start, in the middle and at its head.
    for at in [4_096, 0] {
        other_broken(&router, &data, at).await;
    }
}

/// Starts a sidecar on a file that is broken from a place on.
async fn other_broken(router: &Router, data: &tempfile::TempDir, at: usize) {
    let path = file_below(data.path());
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at..].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let _ = std::fs::remove_file(path.with_extension("sqlite-wal"));
    let other = router.another_sidecar(data).await;
    same(&router.sidecar, &other).await;
    other.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_breaks_during_a_read_is_rebuilt() {
    let router = Router::start().await;
    router.trade(0, 8).await;
    let before = router.get("/orders/log?client_order_id=o0").await.text;
    let path = file_below(&router.rig.settings.data_dir.0);
    // A quiet log brings its pages to the file.
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
    poll::until(SOON, "the log is made anew", async || {
        // Whatever is read meanwhile is right or refused.
        let told = router.get("/orders/log?client_order_id=o0").await;
        assert!(told.status == 503 || told.text == before, "{told:?}");
        router
            .submit(&order(&uuid::Uuid::now_v7().to_string(), &json!({"quantity": "0.8"})))
            .await;
        router.get("/orders/log?limit=1").await.status == 200 && rows(&path) == Some(true)
    })
    .await;
}

/// Whether the file at a path is whole; `None` where it cannot be told.
fn rows(path: &Path) -> Option<bool> {
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
    router.stands("ok").await;
    let path = file_below(&router.rig.settings.data_dir.0);
    let other_program = rusqlite::Connection::open(&path).unwrap();
    other_program.execute_batch("BEGIN IMMEDIATE").unwrap();
    let told = router.submit(&order("while-locked", &json!({}))).await;
    assert_eq!(told.status, 201, "{told:?}");
    router.stands("behind").await;
    // What was told is not there to be read: that is said, and nothing is left out.
    let told = router.get("/orders/log").await;
    assert_eq!((told.status, told.code().as_str()), (503, "store_unavailable"));
    other_program.execute_batch("ROLLBACK").unwrap();
    router.stands("ok").await;
    let (items, total) = router.list("/orders/log?client_order_id=while-locked").await;
    assert_eq!((&items[0]["status"], total), (&json!("filled"), 1));
    // A second process keeps off the file.
    let second = Sidecar::start(&router.rig.settings).await.unwrap();
    let told = get(&second, "/orders/log").await;
    assert_eq!((told.status, told.code().as_str()), (503, "store_unavailable"));
    assert!(told.text.contains("another process"), "{told:?}");
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
        eprintln!("skipped: file systems of a size cannot be mounted here");
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
        router.standing().await == "behind"
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
    router.stands("ok").await;
    assert_eq!(router.list("/orders/log").await.1, placed + 1);
    drop(router);
    poll::until(SOON, "the file system can go", async || {
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
    // Another journal, with none of what the log has.
    let rig = Rig::start().await;
    let mut settings_of_other = settings.clone();
    settings_of_other.nats.url = rig.nats.url();
    settings_of_other.redis.url = rig.redis.url();
    let _worker = order_router::worker::Worker::start(&settings_of_other).await.unwrap();
    router.sidecar = Sidecar::start(&settings_of_other).await.unwrap();
    router.stands("refused").await;
    let told = router.get("/orders/log").await;
    assert_eq!((told.status, told.code().as_str()), (503, "store_unavailable"));
    assert!(told.text.contains("orders.sqlite"), "{told:?}");
    assert_eq!(router.submit(&order("other", &json!({}))).await.status, 201);
    // Removing the file is the decision; it works without a restart, too.
    std::fs::remove_file(file_below(&settings.data_dir.0)).unwrap();
    router.stands("ok").await;
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
        // Each time a little later on its way.
        router.trade(round * 8, round * 8 + 1 + round).await;
        process.kill9();
        router.trade(round * 8 + 1 + round, round * 8 + 8).await;
    }
    let other = router.another_sidecar(&data).await;
    same(&router.sidecar, &other).await;
    let told: Value = get(&other, "/orders/log?limit=1").await.json();
    assert_eq!(told["metadata"]["total"], 48);
}
