//! Two orders of one id, or two effects of one version, on the journal: the first counts, both in the live store and
//! in a rebuilt one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use order_router::bus::subjects;
use order_router::config::brokers::RestFill;
use order_router::domain::metadata::Metadata;
use order_router::domain::order::{Order, OrderUpdate};
use order_router::wire::journal_report::build_settled_report;
use order_router::wire::report::ExecutionReport;
use uuid::Uuid;

use crate::conformance_store::ready_store;
use crate::remembered_view::record_name;
use crate::rig::{Client, Rig, SOON, ibkr};
use crate::store_scripts::{claimed, filled, order, settlement};
use crate::support::poll;
use crate::worker_laws::rebuildable_state;

const SUMS: &str = "sums:paper:default:binance.spot:BTCUSDT";

/// Appends an effect without booking it in the store, as a worker of an earlier epoch does.
async fn append(client: &Client, claim: &Order, effect: &OrderUpdate, id: Uuid) {
    let moved = claim.reservation_deltas().checked_add(&effect.deltas).unwrap();
    let body = build_settled_report(
        &effect.order,
        moved,
        claim.reservation.trading_date,
        1,
        Metadata::new(),
        Some(id),
    )
    .encode();
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    let subject = subjects::report(&claim.broker, &claim.account_id);
    jetstream.publish(subject, body.into()).await.unwrap().await.unwrap();
}

/// Empties Redis and waits until it is rebuilt: what can be rebuilt is as before.
pub async fn assert_rebuild_is_equal(rig: &Rig) {
    rig.quiet().await;
    let live = rebuildable_state(rig).await;
    rig.redis.flushall().await;
    poll::until(SOON, "the store is rebuilt", async || {
        rig.store()
            .await
            .get("meta")
            .is_some_and(|meta| meta.get("epoch").is_some_and(|epoch| !epoch.starts_with("healing")))
    })
    .await;
    assert_eq!(rebuildable_state(rig).await, live);
}

#[tokio::test(flavor = "multi_thread")]
async fn first_journaled_order_of_an_id_replaces_the_one_in_the_store() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    // The store books the later order, of another symbol and partly open, before the first one is replayed.
    let first = poll::eventually(
        SOON,
        "the later order is booked before the first is replayed",
        async || {
            let first = order(&rig, 100);
            append(&client, &first, &filled(&first, 60), Uuid::now_v7()).await;
            let reply = client.submit(&ibkr(first.client_order_id.as_str(), &[])).await.ok()?;
            (!reply.is_replay).then_some(first)
        },
    )
    .await;
    let record = record_name("default", first.client_order_id.as_str());
    poll::until(SOON, "the first order replaces it", async || {
        rig.store()
            .await
            .get(&record)
            .is_some_and(|record| record["o"] == first.order_id.as_str())
    })
    .await;
    assert_eq!(rig.sum("sums:paper:default:ibkr.paper:AAPL", "position").await, 0);
    assert_eq!(rig.sum("sums:paper:default:ibkr.paper:AAPL", "long").await, 0);
    let name = format!(r#"{{"client_order_id":"{}"}}"#, first.client_order_id);
    let report = client.order("get", "binance", &name).await.unwrap();
    assert_eq!(report.order_id, first.order_id.as_str());
    assert_rebuild_is_equal(&rig).await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_journaled_effect_of_a_version_replaces_the_one_in_the_store() {
    let mut rig = Rig::start().await;
    rig.settings.redis.lease_ms = 60_000;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let store = ready_store(&rig).await;
    for is_appended_first in [false, true] {
        let before = rig.sum(SUMS, "position").await;
        let (claim, _) = claimed(&rig, &store, 100).await;
        // The journal has the effect of a worker of another epoch; the store has booked a different one.
        append(&client, &claim, &filled(&claim, 100), Uuid::now_v7()).await;
        let mut other = settlement(&filled(&claim, 60));
        let moved = claim.reservation_deltas().checked_add(&other.deltas).unwrap();
        let id = Some(other.settlement_id);
        other.event_document = build_settled_report(&other.order, moved, other.booked_on, 1, Metadata::new(), id)
            .encode()
            .into();
        store.settle(other).await.unwrap();
        if is_appended_first {
            // A query appends it to the journal at once, as the second effect, and marks it.
            let name = format!(r#"{{"client_order_id":"{}"}}"#, claim.client_order_id);
            client.order("get", "binance", &name).await.unwrap();
        }
        poll::until(SOON, "the first effect counts", async || {
            rig.sum(SUMS, "position").await == before + 100
        })
        .await;
        rig.quiet().await;
        let name = format!(r#"{{"client_order_id":"{}"}}"#, claim.client_order_id);
        let current: ExecutionReport = client.order("get", "binance", &name).await.unwrap();
        assert_eq!(
            (current.version, current.filled_quantity.to_string()),
            (1, "0.001".into())
        );
        let reports = client.reports().await;
        let of_it: Vec<_> = reports
            .iter()
            .filter(|report| report.order_id == claim.order_id.as_str())
            .collect();
        assert!(!is_appended_first || of_it.len() == 2, "{of_it:?}");
    }
    assert_rebuild_is_equal(&rig).await;
    worker.drain(SOON).await;
}
