//! Two releases at one store: one of another schema never touches it, one of the same schema joins it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use order_router::bus::subjects;
use order_router::domain::order_terms::OrderStatus;
use order_router::store::rebuild::epoch::{BeginRebuildOutcome, STORE_SCHEMA};
use order_router::worker::Worker;

use redis::AsyncCommands;

use crate::rig::{Client, Rig, SOON, intent};
use crate::support::poll;

async fn epoch(rig: &Rig) -> String {
    rig.redis.connection().await.hget("{or}:meta", "epoch").await.unwrap()
}

async fn set_schema(rig: &Rig, schema: &str) {
    let mut connection = rig.redis.connection().await;
    let _: () = connection.hset("{or}:meta", "schema", schema).await.unwrap();
}

async fn is_taken(client: &Client, id: &str) -> bool {
    client
        .submit_within(&intent(id, &[]), Duration::from_secs(2))
        .await
        .is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn store_of_another_schema_is_refused_by_name_and_never_rebuilt() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    assert_eq!(client.report(&intent("before", &[])).await.status, OrderStatus::Filled);
    rig.quiet().await;
    let own = STORE_SCHEMA.to_string();
    let before = epoch(&rig).await;
    for foreign in ["9", ""] {
        set_schema(&rig, foreign).await;
        let error = Worker::start(&rig.settings).await.unwrap_err().to_string();
        let named = if foreign.is_empty() { "0" } else { foreign };
        assert!(
            error.contains(&format!("schema {named}")) && error.contains(&format!("schema {own}")),
            "{error}"
        );
        poll::until(SOON, "the running worker refuses, too", async || {
            let health = client.call(subjects::HEALTH, "").await.unwrap();
            String::from_utf8_lossy(&health).contains(&format!("schema {named}"))
        })
        .await;
        assert!(!is_taken(&client, &format!("foreign{foreign}")).await);
        // Even without its scripts, as after a restart, the store is the other release's to rebuild.
        let store = &worker.router().store;
        let status = store.read_status().await.unwrap();
        let begun = store.begin_rebuild(&status).await.unwrap();
        assert!(matches!(begun, BeginRebuildOutcome::ForeignSchema(_)), "{begun:?}");
        assert_eq!(epoch(&rig).await, before);
        set_schema(&rig, &own).await;
        poll::until(SOON, "the worker continues", async || {
            is_taken(&client, &format!("own{foreign}")).await
        })
        .await;
        assert_eq!(epoch(&rig).await, before);
    }
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn release_of_the_same_schema_adds_its_scripts_and_rebuilds_nothing() {
    let rig = Rig::start().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    assert_eq!(client.report(&intent("before", &[])).await.status, OrderStatus::Filled);
    let before = epoch(&rig).await;
    // Another release has built the store: it has marked the epoch and loaded texts of its own. Every release of the
    // schema marks an epoch by these bytes.
    let marker = format!("#!lua flags=no-writes\n-- marks the epoch {before}\nreturn 1\n");
    let mut connection = rig.redis.connection().await;
    let mut pipeline = redis::pipe();
    pipeline
        .atomic()
        .cmd("SCRIPT")
        .arg("FLUSH")
        .cmd("SCRIPT")
        .arg("LOAD")
        .arg(&marker);
    let _: ((), String) = pipeline.query_async(&mut connection).await.unwrap();
    let second = Worker::start(&rig.settings).await.unwrap();
    poll::until(SOON, "both take orders", async || is_taken(&client, "after").await).await;
    assert_eq!(epoch(&rig).await, before);
    // Without the mark Redis was restarted: the store is rebuilt.
    let _: () = redis::cmd("SCRIPT")
        .arg("FLUSH")
        .query_async(&mut connection)
        .await
        .unwrap();
    poll::until(SOON, "the store is rebuilt", async || {
        is_taken(&client, "rebuilt").await && epoch(&rig).await != before
    })
    .await;
    for worker in [worker, second] {
        worker.drain(SOON).await;
    }
}
