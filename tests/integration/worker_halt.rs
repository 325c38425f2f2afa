//! The kill switch: no new order executes, every open order is cancelled, and the halt persists.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use order_router::bus::subjects;
use order_router::config::brokers::RestFill;
use order_router::domain::order_terms::{OrderStatus, TradingState};
use order_router::domain::time::Timestamp;
use order_router::fault::FaultCode;
use order_router::store::orders::settle::{SettleOutcome, SettleRequest};
use order_router::wire::report::ExecutionReport;
use order_router::wire::state::RouterState;

use crate::conformance_store::ready_store;
use crate::rig::{Client, Rig, SOON, ibkr, intent};
use crate::store_scripts::{booked, claimed, filled, settlement};
use crate::support::poll;

const HALT: &str = r#""trading_state":"halted""#;
const RESUME: &str = r#""trading_state":"active""#;
const OPEN_SETS: &str = "open_sets";

/// A rig whose orders at `ibkr` stay open.
async fn rig() -> Rig {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    rig
}

/// Submits orders that stay open in two accounts, and one that fills; returns the ids of the open orders.
async fn open_orders(client: &Client) -> BTreeSet<String> {
    let bodies = (0..30).map(|n| {
        let account = if n % 2 == 0 { "\"fund-7\"" } else { "\"fund-8\"" };
        ibkr(&format!("o{n}"), &[("account_id", account)])
    });
    let reports = join_all(bodies.map(|body| async move { client.report(&body).await })).await;
    assert!(
        reports
            .iter()
            .all(|report| report.status == OrderStatus::PartiallyFilled)
    );
    client.report(&intent("filled", &[])).await;
    reports.into_iter().map(|report| report.order_id).collect()
}

/// Returns the ids of orders with a cancelled report on the journal.
async fn cancelled(client: &Client) -> BTreeSet<String> {
    let reports = client.reports().await;
    let cancelled = reports
        .into_iter()
        .filter(|report| report.status == OrderStatus::Cancelled);
    cancelled.map(|report| report.order_id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn halt_cancels_every_open_order_and_refuses_new_ones_on_all_workers() {
    let rig = rig().await;
    let (one, two) = tokio::join!(rig.worker(), rig.worker());
    let client = rig.caller().await;
    let open = open_orders(&client).await;
    assert_eq!(rig.store().await[OPEN_SETS].len(), 2);
    let state = client.set_state(HALT).await.unwrap();
    assert_eq!(
        (
            state.trading_state,
            state.cancelled,
            state.remaining,
            state.remaining_total
        ),
        (TradingState::Halted, Some(30), Some(vec![]), Some(0))
    );
    assert_eq!(cancelled(&client).await, open);
    assert!(
        !rig.store_keys()
            .await
            .iter()
            .any(|key| key == OPEN_SETS || key.starts_with("open:"))
    );
    for n in 0..10 {
        assert_eq!(
            client.fault(&intent(&format!("h{n}"), &[])).await.code,
            FaultCode::TradingHalted
        );
        assert_eq!(
            client.fault(&ibkr(&format!("i{n}"), &[])).await.code,
            FaultCode::TradingHalted
        );
    }
    // A second halt has nothing to cancel, and is journaled as well.
    let again = client.set_state(HALT).await.unwrap();
    assert_eq!(
        (again.version, again.cancelled, again.remaining_total),
        (2, Some(0), Some(0))
    );
    let resumed = client.set_state(RESUME).await.unwrap();
    assert_eq!(
        (resumed.cancelled, resumed.remaining, resumed.remaining_total),
        (None, None, None)
    );
    client.report(&ibkr("resumed", &[])).await;
    tokio::join!(one.drain(SOON), two.drain(SOON));
}

#[tokio::test(flavor = "multi_thread")]
async fn halt_survives_restarts_and_the_loss_of_redis() {
    let mut rig = rig().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    open_orders(&client).await;
    client.set_state(HALT).await.unwrap();
    worker.drain(SOON).await;
    let worker = rig.worker().await;
    assert_eq!(client.state().await.trading_state, TradingState::Halted);
    for empty in [false, true] {
        rig.redis.kill9();
        if empty {
            rig.redis.restart_empty().await;
        } else {
            rig.redis.restart().await;
        }
        assert_eq!(client.state().await.trading_state, TradingState::Halted);
        assert_eq!(
            client.fault(&intent(&format!("after-{empty}"), &[])).await.code,
            FaultCode::TradingHalted
        );
    }
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn halt_stops_a_claimed_order_and_lists_it_as_remaining() {
    let mut rig = rig().await;
    rig.settings.redis.lease_ms = 60_000;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let store = ready_store(&rig).await;
    let (order, lease) = claimed(&rig, &store, 100).await;
    let deadline = Timestamp::now().saturating_add(Duration::from_secs(2));
    let body = format!(r#"{{{HALT},"actor":"ops","reason":"test"}}"#);
    let reply = client
        .caller
        .request(subjects::STATE_SET, body.into(), deadline)
        .await
        .unwrap();
    let state: RouterState = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(
        (state.cancelled, state.remaining, state.remaining_total),
        (Some(0), Some(vec![order.order_id.to_string()]), Some(1))
    );
    let first = |deadline: Option<Timestamp>| SettleRequest {
        lease: Some(lease.clone()),
        deadline,
        ..settlement(&filled(&order, 40))
    };
    let before = rig.store().await;
    let sending = first(Some(Timestamp::now().saturating_add(SOON)));
    assert_eq!(store.settle(sending).await, Ok(SettleOutcome::Halted));
    assert_eq!(rig.store().await, before);
    // A venue report counts whatever the trading state is.
    assert_eq!(store.settle(first(None)).await, Ok(booked(vec![])));
    poll::until(SOON, "the order is cancelled", async || {
        cancelled(&client).await.contains(order.order_id.as_str())
    })
    .await;
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn halt_during_submissions_leaves_no_order_open() {
    let rig = rig().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    // Orders are in flight all the time: none of them is open when the halt is answered, or later.
    let load = async {
        let orders = (0..400).map(|n| {
            let body = ibkr(&format!("l{n}"), &[("quantity", "1")]);
            let client = &client;
            async move { client.submit(&body).await }
        });
        join_all(orders).await
    };
    let halt = async {
        poll::until(SOON, "some orders are journaled", async || {
            client.reader.read_extent().await.unwrap().last_sequence >= 20
        })
        .await;
        client.set_state(HALT).await.unwrap()
    };
    let (replies, state) = tokio::join!(load, halt);
    assert_eq!(
        (state.remaining_total, state.trading_state),
        (Some(0), TradingState::Halted)
    );
    rig.quiet().await;
    assert!(
        !rig.store_keys()
            .await
            .iter()
            .any(|key| key.starts_with("open:") || key == OPEN_SETS)
    );
    let ended: BTreeSet<String> = client
        .reports()
        .await
        .into_iter()
        .filter(|report| report.status.is_terminal())
        .map(|report| report.order_id)
        .collect();
    for reply in replies.into_iter().flatten() {
        let report = ExecutionReport::decode(&reply.body).unwrap();
        assert!(report.is_receipt() || ended.contains(&report.order_id), "{report:?}");
    }
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn other_workers_finish_the_cancellations_of_a_worker_killed_while_halting() {
    let rig = rig().await;
    let client = rig.caller().await;
    let first = rig.worker().await;
    let open = open_orders(&client).await;
    first.drain(SOON).await;
    let mut victim = rig.worker_process(Some("change_active")).await;
    let halting = tokio::time::timeout(Duration::from_secs(2), client.set_state(HALT));
    let (_, ended) = tokio::join!(halting, victim.process().wait(SOON));
    assert!(!ended.success());
    assert!(cancelled(&client).await.is_empty());
    let other = rig.worker().await;
    poll::until(SOON, "everything is cancelled", async || {
        cancelled(&client).await == open
    })
    .await;
    assert_eq!(client.state().await.trading_state, TradingState::Halted);
    other.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rebuild_restores_the_set_of_open_order_sets() {
    let rig = rig().await;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    let open = open_orders(&client).await;
    rig.quiet().await;
    let before = rig.store().await[OPEN_SETS].clone();
    rig.redis.flushall().await;
    client.state().await;
    assert_eq!(rig.store().await[OPEN_SETS], before);
    let state = client.set_state(HALT).await.unwrap();
    assert_eq!((state.cancelled, state.remaining_total), (Some(30), Some(0)));
    assert_eq!(cancelled(&client).await, open);
    worker.drain(SOON).await;
}
