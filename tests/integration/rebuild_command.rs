//! `order-router rebuild`: Redis from the journal alone, whatever it held; refused beside workers; `--check` names what
//! differs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use order_router::worker::stop_point;
use redis::AsyncCommands;
use serde_json::Value;

use crate::audit_fixture::{AuditedRouter, run_command};
use crate::rebuild_fold::{assert_same, dump};
use crate::rig::{Rig, SOON, intent};

/// Returns a rig whose worker and sidecar have stopped, after a bit of everything.
async fn stopped() -> Rig {
    let AuditedRouter {
        rig, worker, sidecar, ..
    } = AuditedRouter::busy().await;
    worker.drain(SOON).await;
    sidecar.drain(SOON).await;
    rig
}

async fn check(rig: &Rig) -> (i32, Value) {
    let (status, output, errors) = run_command(rig, &["rebuild", "--check", "--json"], &[]).await;
    let object = serde_json::from_str(&output).unwrap_or_else(|_| panic!("{output} {errors}"));
    (status, object)
}

async fn assert_equal(rig: &Rig) {
    let (status, object) = check(rig).await;
    assert_eq!((status, &object["equal"]), (0, &true.into()), "{object:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn emptied_redis_is_made_from_the_journal_and_twice_is_harmless() {
    let rig = stopped().await;
    assert_equal(&rig).await;
    rig.redis.flushall().await;
    let (status, output, errors) = run_command(&rig, &["rebuild", "--json"], &[]).await;
    assert_eq!(status, 0, "{errors}");
    let object: Value = serde_json::from_str(&output).unwrap();
    assert!(object["journal_sequence"].as_u64().unwrap() > 10, "{object}");
    assert_equal(&rig).await;
    let first = dump(&mut rig.redis.connection().await).await;
    let (status, text, errors) = run_command(&rig, &["rebuild"], &[]).await;
    assert!(
        status == 0 && text.starts_with("Redis holds the journal up to entry"),
        "{text} {errors}"
    );
    assert_same(&dump(&mut rig.redis.connection().await).await, &first, "the store");
    // A worker takes orders with it.
    let worker = rig.worker().await;
    let client = rig.caller().await;
    assert_eq!(client.report(&intent("after", &[])).await.version, 1);
    let again = client.report(&intent("buy", &[])).await;
    assert_eq!(again.client_order_id, "buy");
    rig.quiet().await;
    worker.drain(SOON).await;
    assert_equal(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_redis_is_named_by_check_and_rebuilt() {
    let rig = stopped().await;
    let mut redis = rig.redis.connection().await;
    let _: i64 = redis
        .hset("{or}:totals:paper", "binance.spot:BTCUSDT", "9 9 9 9 9 9 9 9")
        .await
        .unwrap();
    let _: i64 = redis.hset("{or}:order:AAAAAAAAAAAAA", "st", "open").await.unwrap();
    let _: i64 = redis.del("{or}:limits").await.unwrap();
    let (status, object) = check(&rig).await;
    assert_eq!((status, &object["equal"]), (3, &false.into()), "{object:#}");
    let findings = object["findings"].as_array().unwrap();
    for (kind, field) in [
        ("store_ledger", "binance.spot:BTCUSDT.position"),
        ("store_order", "record"),
        ("store_control", "document"),
    ] {
        let is_it = |finding: &&Value| finding["kind"] == kind && finding["field"] == field;
        assert!(
            findings.iter().any(|finding| is_it(&finding)),
            "{kind} {field}: {object:#}"
        );
    }
    let (status, _, errors) = run_command(&rig, &["rebuild"], &[]).await;
    assert_eq!(status, 0, "{errors}");
    assert_equal(&rig).await;
    // A store that lost its epoch but not its orders is rebuilt, too.
    let _: i64 = redis.del("{or}:meta").await.unwrap();
    let (status, _, errors) = run_command(&rig, &["rebuild"], &[]).await;
    assert_eq!(status, 0, "{errors}");
    assert_equal(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_is_refused_beside_a_worker_unless_forced() {
    let router = AuditedRouter::busy().await;
    let (status, _, errors) = run_command(&router.rig, &["rebuild"], &[]).await;
    assert!(
        status == 1 && errors.contains("1 workers run") && errors.contains("--force"),
        "{errors}"
    );
    let (status, object) = check(&router.rig).await;
    assert_eq!(status, 0, "{object:#}");
    let (status, _, errors) = run_command(&router.rig, &["rebuild", "--force"], &[]).await;
    assert_eq!(status, 0, "{errors}");
    // The worker joins the new epoch by itself.
    let taken = crate::support::poll::eventually(SOON, "an order is taken", async || {
        router.client.submit(&intent("after", &[])).await.ok()
    });
    taken.await;
    router.rig.quiet().await;
    let (status, object) = check(&router.rig).await;
    assert_eq!(status, 0, "{object:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_are_not_journaled_are_only_dropped_when_told() {
    let rig = stopped().await;
    let mut redis = rig.redis.connection().await;
    let _: i64 = redis.hset("{or}:latches_waiting", "a", "{}").await.unwrap();
    let _: i64 = redis.zadd("{or}:outbox", "AAAAAAAAAAAAA", 1).await.unwrap();
    let (status, _, errors) = run_command(&rig, &["rebuild"], &[]).await;
    assert_eq!(status, 1, "{errors}");
    assert!(errors.contains("1 orders with settled events, 1 locks"), "{errors}");
    let (status, object) = check(&rig).await;
    assert!(status == 0 || object["breaks"] == 0, "{object:#}");
    let (status, _, errors) = run_command(&rig, &["rebuild", "--drop-unjournaled"], &[]).await;
    assert_eq!(status, 0, "{errors}");
    assert_equal(&rig).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_that_was_killed_is_made_whole_by_the_next_one() {
    let rig = stopped().await;
    for point in ["rebuild_folded", "rebuild_loaded", "limits_enforced"] {
        let killed = [(stop_point::ENVIRONMENT_VARIABLE, point)];
        let (status, _, _) = run_command(&rig, &["rebuild"], &killed).await;
        assert_ne!(status, 0, "{point}");
        // The lease of the killed rebuild ends by itself.
        let mut redis = rig.redis.connection().await;
        let _: i64 = redis.del("{or}:healing").await.unwrap();
        let (status, _, errors) = run_command(&rig, &["rebuild"], &[]).await;
        assert_eq!(status, 0, "{point}: {errors}");
        assert_equal(&rig).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn journal_that_fell_behind_is_not_loaded() {
    let rig = stopped().await;
    let mut redis = rig.redis.connection().await;
    let _: i64 = redis.hset("{or}:meta", "journal_sequence", 100_000).await.unwrap();
    let (status, _, errors) = run_command(&rig, &["rebuild"], &[]).await;
    assert!(status == 1 && errors.contains("has seen sequence 100000"), "{errors}");
}
