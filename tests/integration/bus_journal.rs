//! The journal: acknowledged entries are stored once and in order, and missing ones are detected.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the verdict")]

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use order_router::bus::connection::{Bus, BusError};
use order_router::bus::journal::{AppendError, JournalEntry, JournalReader, JournalWriter};
use order_router::bus::stream_entry::StoredEntry;
use order_router::bus::topology;
use order_router::config::journal::{AppendMode, JournalSettings};
use order_router::config::nats::NatsSettings;

use crate::bus_fixture::{SOON, bare, broker, doors, settings, start};
use crate::support::poll::until;
use crate::support::servers::NatsServer;

const BOTH: [AppendMode; 2] = [AppendMode::Pipelined, AppendMode::Atomic];

fn entry(id: impl ToString) -> JournalEntry {
    JournalEntry {
        subject: "orders.reports.binance.a1".into(),
        message_id: id.to_string(),
        body: Bytes::from(id.to_string()),
        headers: vec![("traceparent".into(), "00-1-2-01".into())],
    }
}

fn journal(bus: &Bus, append: AppendMode) -> JournalWriter {
    JournalWriter::start(
        bus.clone(),
        JournalSettings {
            append,
            ..JournalSettings::default()
        },
    )
    .0
}

async fn all(bus: &Bus) -> Vec<StoredEntry> {
    let reader = JournalReader::new(bus.clone());
    let info = reader.read_extent().await.unwrap();
    reader.replay(1, info.last_sequence).try_collect().await.unwrap()
}

#[tokio::test]
async fn each_append_returns_its_own_sequence() {
    for append in BOTH {
        let (_server, bus) = start().await;
        let journal = journal(&bus, append);
        let ids: Vec<u32> = (0..3_000).collect();
        let sequences = join_all(ids.iter().map(|id| journal.append(entry(id)))).await;
        let appended: BTreeMap<u64, String> = sequences
            .into_iter()
            .map(Result::unwrap)
            .zip(ids.iter().map(ToString::to_string))
            .collect();
        let stored = all(&bus).await;
        let found: BTreeMap<u64, String> = stored
            .into_iter()
            .map(|one| (one.sequence, String::from_utf8(one.body.to_vec()).unwrap()))
            .collect();
        assert_eq!(appended, found, "{append:?}");
        assert_eq!(appended.len(), 3_000);
    }
}

#[tokio::test]
async fn repeated_append_returns_the_first_sequence() {
    for append in BOTH {
        let (_server, bus) = start().await;
        let journal = journal(&bus, append);
        assert_eq!(journal.append(entry("a")).await, Ok(1));
        assert_eq!(journal.append(entry("b")).await, Ok(2));
        // The repeated entry is in a batch with new ones, one of them repeated within the batch.
        let ids = ["c", "a", "d", "d", "b"];
        let sequences: Vec<u64> = join_all(ids.map(|id| journal.append(entry(id))))
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        assert_eq!((sequences[1], sequences[4]), (1, 2), "{append:?}");
        assert_eq!(sequences[2], sequences[3]);
        assert_eq!(all(&bus).await.len(), 4);
    }
}

#[tokio::test]
async fn entries_are_stored_in_order() {
    let (_server, bus) = start().await;
    let journal = journal(&bus, AppendMode::Atomic);
    let orders = (0..20).map(|order| {
        let versions = (1..=5).map(|version| entry(format!("{order}-{version}"))).collect();
        journal.append_in_order(versions)
    });
    for sequences in join_all(orders).await {
        assert!(sequences.unwrap().is_sorted());
    }
    assert_eq!(all(&bus).await.len(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_restart_loses_no_acknowledged_entry() {
    for append in BOTH {
        let (mut server, bus) = start().await;
        let (journal, task) = JournalWriter::start(
            bus.clone(),
            JournalSettings {
                append,
                attempts: 20,
                ..JournalSettings::default()
            },
        );
        let appended = tokio::spawn(async move {
            let mut outcomes = Vec::new();
            for round in 0..60 {
                let ids = (0..50).map(|id| format!("{round}-{id}"));
                let results = join_all(ids.map(|id| {
                    let journal = journal.clone();
                    async move { (journal.append(entry(&id)).await, id) }
                }));
                outcomes.extend(results.await);
            }
            outcomes
        });
        let reader = JournalReader::new(bus.clone());
        until(SOON, "some entries", async || {
            reader.read_extent().await.unwrap().last_sequence > 200
        })
        .await;
        server.restart().await;
        let outcomes = appended.await.unwrap();
        task.wait().await;
        let stored: BTreeMap<u64, StoredEntry> = all(&bus).await.into_iter().map(|one| (one.sequence, one)).collect();
        assert!(stored.len() <= outcomes.len(), "an entry is stored twice");
        for (result, id) in outcomes {
            let sequence = result.unwrap();
            assert_eq!(stored[&sequence].body, id.as_bytes(), "{append:?}");
        }
    }
}

#[tokio::test]
async fn full_journal_and_full_queue_are_distinct_errors() {
    let server = NatsServer::start().await;
    let bus = bare(&server).await;
    let small = NatsSettings {
        reports_max_bytes: 10_000,
        ..settings(&server)
    };
    topology::apply(&bus, &small, &doors(), &[broker()]).await.unwrap();
    for append in BOTH {
        let settings = JournalSettings {
            append,
            queue_max: 400,
            ..JournalSettings::default()
        };
        let (journal, task) = JournalWriter::start(bus.clone(), settings);
        let name = format!("{append:?}");
        let results = join_all((0..500).map(|id| journal.append(entry(format!("{name}-{id}"))))).await;
        let full = results
            .iter()
            .filter(|result| **result == Err(AppendError::QueueFull))
            .count();
        let refused = results
            .iter()
            .filter(|result| matches!(result, Err(AppendError::Refused(_))))
            .count();
        assert_eq!(full, 100, "{append:?}");
        assert!(refused > 200, "{append:?}: {results:?}");
        drop(journal);
        task.wait().await;
    }
    let info = JournalReader::new(bus).read_extent().await.unwrap();
    assert!(info.bytes <= 10_000 && info.max_bytes == 10_000);
}

#[tokio::test]
async fn append_without_stream_or_server_is_refused() {
    let mut server = NatsServer::start().await;
    let bus = bare(&server).await;
    let settings = JournalSettings {
        attempts: 2,
        ack_timeout_ms: 100,
        ..JournalSettings::default()
    };
    let journal = JournalWriter::start(bus.clone(), settings).0;
    let error = journal.append(entry("a")).await.unwrap_err();
    assert_eq!(error, AppendError::Refused("no stream stores the subject".into()));
    server.kill9();
    until(SOON, "the end of the connection", async || !bus.is_connected()).await;
    let error = journal.append(entry("a")).await.unwrap_err();
    assert_eq!(error, AppendError::Refused("NATS is unreachable".into()));
}

#[tokio::test]
async fn append_without_reply_is_unknown() {
    let (mut server, bus) = start().await;
    for append in BOTH {
        let settings = JournalSettings {
            append,
            attempts: 2,
            ack_timeout_ms: 100,
            ..JournalSettings::default()
        };
        let journal = JournalWriter::start(bus.clone(), settings).0;
        server.pause();
        let results = join_all(["a", "b", "c"].map(|id| journal.append(entry(id)))).await;
        server.resume();
        for result in results {
            assert!(
                matches!(result, Err(AppendError::OutcomeUnknown(_))),
                "{append:?}: {result:?}"
            );
        }
        let again = join_all(["a", "b", "c"].map(|id| journal.append(entry(id)))).await;
        assert!(again.iter().all(Result::is_ok), "{again:?}");
    }
    assert_eq!(all(&bus).await.len(), 3);
}

#[tokio::test]
async fn writer_answers_every_append_and_ends_with_its_last_handle() {
    let (_server, bus) = start().await;
    let (journal, task) = JournalWriter::start(bus.clone(), JournalSettings::default());
    let appended: Vec<_> = (0..1_000)
        .map(|id| {
            let journal = journal.clone();
            tokio::spawn(async move { journal.append(entry(id)).await })
        })
        .collect();
    drop(journal);
    task.wait().await;
    for one in appended {
        assert!(one.await.unwrap().is_ok());
    }
    assert_eq!(all(&bus).await.len(), 1_000);
}

#[tokio::test]
async fn reader_finds_single_entries_and_the_latest_of_a_subject() {
    let (_server, bus) = start().await;
    let reader = JournalReader::new(bus.clone());
    assert_eq!(reader.read_entry(1).await.unwrap(), None);
    assert_eq!(
        reader.read_last_for_subject("orders.reports.binance.a1").await.unwrap(),
        None
    );
    assert_eq!(reader.read_extent().await.unwrap().last_sequence, 0);
    assert_eq!(reader.replay(1, 0).count().await, 0);
    let journal = journal(&bus, AppendMode::Pipelined);
    journal.append_in_order(vec![entry("a"), entry("b")]).await.unwrap();
    let last = reader
        .read_last_for_subject("orders.reports.binance.a1")
        .await
        .unwrap()
        .unwrap();
    assert_eq!((last.sequence, &last.body[..]), (2, &b"b"[..]));
    assert_eq!(reader.read_entry(1).await.unwrap().unwrap().body, "a");
    assert_eq!(reader.read_entry(3).await.unwrap(), None);
}

#[tokio::test]
async fn replay_reports_gaps_and_a_missing_end() {
    let (server, bus) = start().await;
    let journal = journal(&bus, AppendMode::Pipelined);
    for result in join_all((0..600).map(|id| journal.append(entry(id)))).await {
        result.unwrap();
    }
    let client = async_nats::connect(server.url()).await.unwrap();
    let stream = async_nats::jetstream::new(client)
        .get_stream("ORDER_REPORTS")
        .await
        .unwrap();
    for sequence in [1, 2, 300, 301] {
        stream.delete_message(sequence).await.unwrap();
    }
    let results: Vec<_> = JournalReader::new(bus.clone()).replay(1, 602).collect().await;
    let errors: Vec<_> = results.iter().filter_map(|one| one.as_ref().err().cloned()).collect();
    let gap = |from, to| BusError::JournalGap { from, to };
    assert_eq!(errors, [gap(1, 2), gap(300, 301), gap(601, 602)]);
    let sequences: Vec<u64> = results
        .iter()
        .filter_map(|one| Some(one.as_ref().ok()?.sequence))
        .collect();
    assert_eq!(sequences.len(), 596);
    assert!(sequences.is_sorted());
    let part: Vec<u64> = JournalReader::new(bus)
        .replay(10, 12)
        .map(|one| one.unwrap().sequence)
        .collect()
        .await;
    assert_eq!(part, [10, 11, 12]);
}

#[tokio::test]
async fn replay_continues_after_a_server_restart() {
    let (mut server, bus) = start().await;
    let journal = journal(&bus, AppendMode::Pipelined);
    for result in join_all((0..1_000).map(|id| journal.append(entry(id)))).await {
        result.unwrap();
    }
    let mut replay = std::pin::pin!(JournalReader::new(bus).replay(1, 1_000));
    for sequence in 1..=10 {
        assert_eq!(replay.next().await.unwrap().unwrap().sequence, sequence);
    }
    server.restart().await;
    for sequence in 11..=1_000 {
        assert_eq!(replay.next().await.unwrap().unwrap().sequence, sequence);
    }
    assert!(replay.next().await.is_none());
}
