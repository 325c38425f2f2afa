//! A stream that lost its newest entries (restored from a copy, or truncated by a power failure) is detected before the
//! next append, by a running writer and by a new one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::path::Path;
use std::time::Duration;

use futures_util::future::join_all;
use order_router::bus::connection::Bus;
use order_router::bus::journal::{AppendError, JournalEntry, JournalReader, JournalWriter};
use order_router::bus::router_client::RequestError;
use order_router::config::journal::{AppendMode, JournalSettings};
use order_router::fault::FaultCode;
use order_router::wire::health::ComponentStatus;
use order_router::wire::report::ExecutionReport;

use crate::bus_fixture;
use crate::rig::{Rig, SOON, intent};
use crate::support::poll;
use crate::support::servers::NatsServer;

fn entry(id: &str) -> JournalEntry {
    JournalEntry {
        subject: "orders.events.test._".to_owned(),
        message_id: id.to_owned(),
        body: "{}".into(),
        headers: Vec::new(),
    }
}

fn writer(bus: &Bus, append: AppendMode) -> JournalWriter {
    let settings = JournalSettings {
        append,
        ack_timeout_ms: 5_000,
        ..JournalSettings::default()
    };
    JournalWriter::start(bus.clone(), settings).0
}

async fn append(journal: &JournalWriter, name: &str, count: usize) -> Vec<Result<u64, AppendError>> {
    let entries: Vec<JournalEntry> = (0..count).map(|n| entry(&format!("{name}{n}"))).collect();
    join_all(entries.into_iter().map(|entry| journal.append(entry))).await
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Copies the server's data and restarts the server.
pub async fn snapshot(nats: &mut NatsServer) -> tempfile::TempDir {
    let kept = tempfile::tempdir().unwrap();
    nats.kill9();
    copy(&nats.data_directory(), kept.path());
    nats.restart().await;
    kept
}

/// Replaces the server's data with an earlier copy and restarts the server.
pub async fn restore(nats: &mut NatsServer, kept: &tempfile::TempDir) {
    nats.kill9();
    std::fs::remove_dir_all(nats.data_directory()).unwrap();
    copy(kept.path(), &nats.data_directory());
    nats.restart().await;
}

/// Appends until the server is reachable again.
async fn append_when_reachable(journal: &JournalWriter, name: &str) -> Result<u64, AppendError> {
    poll::eventually(SOON, "the server is reachable again", async || {
        match journal.append(entry(name)).await {
            Err(AppendError::Refused(_) | AppendError::OutcomeUnknown(_)) => None,
            result => Some(result),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn writer_appends_nothing_to_a_truncated_stream() {
    for mode in [AppendMode::Pipelined, AppendMode::Atomic] {
        let (mut nats, bus) = bus_fixture::start().await;
        let journal = writer(&bus, mode);
        assert!(append(&journal, "a", 3).await.iter().all(Result::is_ok));
        let kept = snapshot(&mut nats).await;
        assert!(append_when_reachable(&journal, "b").await.is_ok());
        assert!(append(&journal, "c", 20).await.iter().all(Result::is_ok));
        // A repeated append returns its first sequence and indicates no loss.
        assert_eq!(append_when_reachable(&journal, "b").await, Ok(4));
        assert_eq!(journal.highest_sequence(), 24);
        restore(&mut nats, &kept).await;
        let behind = append_when_reachable(&journal, "d").await;
        assert_eq!(behind, Err(AppendError::Behind { sequence: 4, seen: 24 }), "{mode:?}");
        for result in append(&journal, "e", 5).await {
            assert!(
                matches!(result, Err(AppendError::Behind { .. })),
                "{mode:?}: {result:?}"
            );
        }
        let info = JournalReader::new(bus.clone()).read_extent().await.unwrap();
        assert_eq!(info.last_sequence, 4, "{mode:?}: nothing more was sent");
        // A writer that starts later detects the loss by the store's watermark.
        let later = writer(&bus, mode);
        later.observe_sequence(24);
        for result in append(&later, "f", 3).await {
            assert!(
                matches!(result, Err(AppendError::Behind { .. })),
                "{mode:?}: {result:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_refuses_orders_over_a_truncated_journal() {
    let mut rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    client.report(&intent("a1", &[])).await;
    let kept = snapshot(&mut rig.nats).await;
    for n in 0..5 {
        poll::until(SOON, "the order is accepted", async || {
            let result = client.submit(&intent(&format!("b{n}"), &[])).await;
            result.is_ok_and(|reply| !ExecutionReport::decode(&reply.body).unwrap().is_receipt())
        })
        .await;
    }
    rig.quiet().await;
    restore(&mut rig.nats, &kept).await;
    poll::until(SOON, "no order is accepted", async || {
        match client.submit(&intent("c", &[])).await {
            Ok(reply) => {
                let report = ExecutionReport::decode(&reply.body).unwrap();
                assert!(report.is_receipt(), "reported over a truncated journal: {report:?}");
                false
            }
            Err(RequestError::Fault(fault)) => fault.code == FaultCode::StoreUnavailable,
            Err(_) => false,
        }
    })
    .await;
    poll::until(SOON, "the journal is behind", async || {
        let health = worker.router().readiness.health();
        !health.accepts_orders && health.journal.status == ComponentStatus::Behind
    })
    .await;
    for n in 0..10 {
        let fault = client.fault(&intent(&format!("d{n}"), &[])).await;
        assert_eq!(fault.code, FaultCode::StoreUnavailable);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    worker.drain(SOON).await;
    let error = order_router::worker::Worker::start(&rig.settings)
        .await
        .expect_err("the worker refuses to start");
    assert!(error.to_string().contains("restored, cut or replaced"), "{error}");
}
