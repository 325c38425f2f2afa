//! `order-router audit` of routers that are well: nothing is found, at rest and while orders run, and a journal that cannot
//! be relied on is refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use order_router::audit::{AuditError, FindingLevel, audit};
use order_router::bus::subjects;
use order_router::worker::rebuild::error::StoreRebuildError;
use serde_json::Value;

use crate::audit_fixture::{AuditedRouter, assert_clean, of_level, run_command};
use crate::rig::{SOON, ibkr, intent};

#[tokio::test(flavor = "multi_thread")]
async fn audit_of_a_router_at_rest_finds_nothing() {
    let router = AuditedRouter::busy().await;
    let report = router.audit().await;
    assert_clean(&report);
    assert!(
        report.journal.orders >= 10 && report.journal.adjustments == 2,
        "{report:?}"
    );
    let (redis, log) = (report.store.unwrap(), report.order_log.unwrap());
    assert_eq!((redis.open_orders, redis.locks), (1, 1), "{redis:?}");
    assert!(redis.remembered_ids >= 9 && redis.ledgers >= 3, "{redis:?}");
    assert_eq!(log.orders, report.journal.orders);
    assert!(log.executions >= 6 && log.positions >= 3, "{log:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn command_prints_one_object_and_its_exit_status_says_what_was_found() {
    let router = AuditedRouter::busy().await;
    let data = router.rig.settings.data_dir.0.display().to_string();
    let args = ["audit", "--json", "--order-log", &data];
    let (status, output, errors) = run_command(&router.rig, &args, &[]).await;
    assert_eq!(status, 0, "{output} {errors}");
    let object: Value = serde_json::from_str(&output).unwrap();
    assert_eq!((&object["clean"], &object["breaks"]), (&true.into(), &0.into()));
    assert!(object["journal"]["entries"].as_u64().unwrap() > 10 && object["findings"] == serde_json::json!([]));
    let mut redis = router.rig.redis.connection().await;
    let changed = redis::cmd("HSET")
        .arg("{or}:totals:paper")
        .arg("sums")
        .arg("0 0 0 0 0 0 0 0")
        .to_owned();
    let _: i64 = changed.query_async(&mut redis).await.unwrap();
    let (status, output, _) = run_command(&router.rig, &args, &[]).await;
    let object: Value = serde_json::from_str(&output).unwrap();
    assert_eq!((status, &object["clean"]), (3, &false.into()), "{output}");
    let finding = &object["findings"][0];
    assert_eq!(
        (&finding["kind"], &finding["level"]),
        (&"store_ledger".into(), &"break".into())
    );
    let (status, text, _) = run_command(&router.rig, &["audit", "--without-order-log"], &[]).await;
    assert!(
        status == 3 && text.contains("break     store_ledger all accounts (paper): "),
        "{text}"
    );
    let args = ["audit", "--without-redis", "--order-log", &data];
    let (status, text, _) = run_command(&router.rig, &args, &[]).await;
    assert!(status == 0 && text.contains("redis     left out"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn audit_beside_running_orders_finds_no_break() {
    let router = Arc::new(AuditedRouter::busy().await);
    let is_done = Arc::new(AtomicBool::new(false));
    let mut traders = Vec::new();
    for trader in 0..3 {
        let (router, is_done) = (Arc::clone(&router), Arc::clone(&is_done));
        traders.push(tokio::spawn(async move {
            let mut count = 0;
            while !is_done.load(Ordering::Relaxed) {
                let side = ["\"buy\"", "\"sell\""][count % 2];
                let id = format!("run_{trader}_{count}");
                router.client.report(&intent(&id, &[("side", side)])).await;
                router
                    .client
                    .report(&ibkr(&format!("{id}_i"), &[("side", side), ("quantity", "1")]))
                    .await;
                count += 1;
            }
            count
        }));
    }
    for _ in 0..3 {
        let report = router.audit().await;
        assert!(
            of_level(&report, FindingLevel::Break).is_empty(),
            "{:#?}",
            report.findings.listed()
        );
    }
    is_done.store(true, Ordering::Relaxed);
    for trader in traders {
        assert!(trader.await.unwrap() > 0);
    }
    router.rig.quiet().await;
    assert_clean(&router.audit().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn journal_that_lost_entries_or_fell_behind_is_refused() {
    let router = AuditedRouter::busy().await;
    let jetstream = async_nats::jetstream::new(router.client.raw.clone());
    let stream = jetstream.get_stream(subjects::STREAM_REPORTS).await.unwrap();
    let entry = router.entry_of("buy", 1).await;
    stream.delete_message(entry.sequence).await.unwrap();
    let refused = audit(router.scope().await).await.unwrap_err();
    assert!(
        matches!(refused, AuditError::Journal(StoreRebuildError::JournalIncomplete(_))),
        "{refused}"
    );
    let (status, _, errors) = run_command(&router.rig, &["audit", "--without-order-log"], &[]).await;
    assert!(status == 1 && errors.contains("accept-loss"), "{errors}");
    let seen = router.client.reader.read_extent().await.unwrap().last_sequence + 100;
    router.worker.drain(SOON).await;
    let mut redis = router.rig.redis.connection().await;
    let changed = redis::cmd("HSET")
        .arg("{or}:meta")
        .arg("journal_sequence")
        .arg(seen)
        .to_owned();
    let _: i64 = changed.query_async(&mut redis).await.unwrap();
    let (status, _, errors) = run_command(&router.rig, &["audit", "--without-order-log"], &[]).await;
    assert!(
        status == 1 && errors.contains(&format!("has seen sequence {seen}")),
        "{errors}"
    );
}
