//! Replaces of paper orders: new terms are in force in one step, under the same limits as any order, once per replace id.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use order_router::bus::router_client::RequestError;
use order_router::bus::subjects;
use order_router::config::brokers::RestFill;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::replace::ReplaceState;
use order_router::fault::{Fault, FaultCode};
use order_router::wire::report::ExecutionReport;
use order_router::worker::stop_point;
use serde_json::json;

use crate::audit_fixture::{AuditedRouter, assert_clean, signed};
use crate::rig::{Client, Rig, SOON, ibkr};
use crate::support::poll;
use crate::worker_firsts::assert_rebuild_is_equal;

const SUBJECT: &str = "orders.replace.ibkr.default";
const SUMS: &str = "sums:paper:default:ibkr.paper:AAPL";
/// A lot of AAPL in hundredths: the sums of the rig count in lots.
const LOTS: i64 = 100;

async fn replace(client: &Client, body: &serde_json::Value) -> Result<ExecutionReport, Fault> {
    match client.call(SUBJECT, &body.to_string()).await {
        Ok(body) => Ok(ExecutionReport::decode(&body).unwrap()),
        Err(RequestError::Fault(fault)) => Err(fault),
        Err(error) => panic!("{error}"),
    }
}

fn state(report: &ExecutionReport) -> (ReplaceState, u8) {
    let replace = report.replace.as_ref().unwrap();
    (replace.state, replace.leg)
}

async fn start() -> (Rig, order_router::worker::Worker, Client) {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let worker = rig.worker().await;
    let client = rig.caller().await;
    (rig, worker, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn new_terms_fill_as_a_new_order_does_and_the_order_stays_one() {
    let (rig, worker, client) = start().await;
    let first = client.report(&ibkr("a", &[])).await;
    assert_eq!(
        (first.filled_quantity, first.leaves_quantity),
        ("9.5".parse().unwrap(), "0.5".parse().unwrap())
    );
    // 0.5 of 10 is open: 20 at 181 leave 10.5, of which 95 % fill at once.
    let report = replace(
        &client,
        &json!({"client_order_id": "a", "price": "181", "quantity": "20", "replace_id": "r1"}),
    )
    .await
    .unwrap();
    assert_eq!(report.order_id, first.order_id);
    assert_eq!((report.version, state(&report)), (2, (ReplaceState::Done, 2)));
    assert_eq!(
        (report.quantity, report.price),
        ("20".parse().unwrap(), Some("181".parse().unwrap()))
    );
    assert_eq!(report.filled_quantity, "19.47".parse().unwrap());
    assert_eq!(report.fills[1].exec_id, format!("{}2-1", report.order_id));
    assert_eq!(report.fills[1].price, "181".parse().unwrap());
    assert_eq!(report.status, OrderStatus::PartiallyFilled);
    rig.quiet().await;
    assert_eq!(rig.sum(SUMS, "position").await, 1_947);
    assert_eq!(rig.sum(SUMS, "long").await, 20 * LOTS);
    // 9.5 at 180, then 10.5 at 181.
    assert_eq!(rig.sum("totals:paper", "daily_notional").await, 3_610_500_000);
    // The rest is reduced in place: nothing fills, and the leg is another one.
    let reduced = replace(
        &client,
        &json!({"order_id": report.order_id, "quantity": "19.48", "replace_id": "r2"}),
    )
    .await;
    let reduced = reduced.unwrap();
    assert_eq!((state(&reduced), reduced.fills_total), ((ReplaceState::Done, 3), 2));
    assert_eq!(reduced.leaves_quantity, "0.01".parse().unwrap());
    rig.quiet().await;
    assert_eq!(rig.sum(SUMS, "long").await, 1_948);
    let cancelled = client
        .order("cancel", "ibkr", r#"{"client_order_id":"a"}"#)
        .await
        .unwrap();
    assert_eq!(cancelled.status, OrderStatus::Cancelled);
    rig.quiet().await;
    assert_eq!(
        (rig.sum(SUMS, "long").await, rig.sum(SUMS, "short").await),
        (1_947, -1_947)
    );
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replace_id_is_done_once_and_says_what_became_of_it_for_ever() {
    let (rig, worker, client) = start().await;
    client.report(&ibkr("a", &[])).await;
    let body = json!({"client_order_id": "a", "quantity": "20", "replace_id": "r1"});
    let first = replace(&client, &body).await.unwrap();
    let second = rig.worker().await;
    // Both workers answer some of these.
    for _ in 0..6 {
        assert_eq!(replace(&client, &body).await.unwrap(), first);
    }
    for other in [
        json!({"client_order_id": "a", "quantity": "21", "replace_id": "r1"}),
        json!({"client_order_id": "a", "quantity": "20", "price": "180.01", "replace_id": "r1"}),
    ] {
        let fault = replace(&client, &other).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::ReplaceIdConflict, "{other}");
    }
    let next = replace(
        &client,
        &json!({"client_order_id": "a", "price": "180.01", "replace_id": "r2"}),
    )
    .await
    .unwrap();
    assert_eq!(state(&next), (ReplaceState::Done, 3));
    // After a later replace and after the end of the order the first one is still known.
    let again = replace(&client, &body).await.unwrap();
    assert_eq!((again.version, state(&again)), (next.version, (ReplaceState::Done, 2)));
    client
        .order("cancel", "ibkr", r#"{"client_order_id":"a"}"#)
        .await
        .unwrap();
    poll::until(SOON, "the first replace of an ended order is known", async || {
        let again = replace(&client, &body).await.unwrap();
        assert_eq!(
            (again.status, state(&again)),
            (OrderStatus::Cancelled, (ReplaceState::Done, 2))
        );
        true
    })
    .await;
    let fault = replace(
        &client,
        &json!({"client_order_id": "a", "quantity": "30", "replace_id": "r3"}),
    )
    .await;
    assert_eq!(fault.unwrap_err().code, FaultCode::OrderClosed);
    assert_eq!(client.reports().await.len(), 4);
    worker.drain(SOON).await;
    second.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_that_an_order_cannot_have_leave_it_as_it_is() {
    let (_rig, worker, client) = start().await;
    let before = client.report(&ibkr("a", &[])).await;
    client.report(&ibkr("market", &[("order_type", "\"market\"")])).await;
    for (body, code) in [
        (
            json!({"client_order_id": "a", "quantity": "9.5"}),
            FaultCode::NotReplaced,
        ),
        (
            json!({"client_order_id": "a", "quantity": "10", "price": "180"}),
            FaultCode::NotReplaced,
        ),
        (
            json!({"client_order_id": "market", "quantity": "20"}),
            FaultCode::NotReplaced,
        ),
        (
            json!({"client_order_id": "a", "quantity": "9.505"}),
            FaultCode::InvalidField,
        ),
        (
            json!({"client_order_id": "a", "quantity": "20.001"}),
            FaultCode::InvalidField,
        ),
        (
            json!({"client_order_id": "a", "price": "180.001"}),
            FaultCode::InvalidField,
        ),
        (json!({"client_order_id": "a", "price": "1800"}), FaultCode::RiskLocked),
        (
            json!({"client_order_id": "a", "quantity": "1001"}),
            FaultCode::OrderSizeExceeded,
        ),
        (json!({"client_order_id": "b", "price": "181"}), FaultCode::UnknownOrder),
        (json!({"client_order_id": "a"}), FaultCode::InvalidField),
    ] {
        let fault = replace(&client, &body).await.unwrap_err();
        assert_eq!(fault.code, code, "{body}: {fault}");
    }
    assert_eq!(
        client.order("get", "ibkr", r#"{"client_order_id":"a"}"#).await.unwrap(),
        before
    );
    assert_eq!(client.reports().await.len(), 2);
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn halts_and_locks_stop_what_opens_and_let_a_reduction_of_the_order_pass() {
    let (_rig, worker, client) = start().await;
    client.report(&ibkr("a", &[("quantity", "100")])).await;
    let more = json!({"client_order_id": "a", "quantity": "110"});
    let dearer = json!({"client_order_id": "a", "price": "180.01"});
    let mut left = 100;
    for (change, code) in [
        (json!({"trading_state": "reduce_only"}), FaultCode::ReduceOnly),
        (json!({"trading_state": "halted"}), FaultCode::TradingHalted),
    ] {
        // A halt cancels what is open: this one meets an order that the sweep has not reached.
        let is_halt = code == FaultCode::TradingHalted;
        if is_halt {
            let fence = json!({"trading_state": "active"});
            client.call(subjects::STATE_SET, &signed(fence)).await.unwrap();
        }
        client.call(subjects::STATE_SET, &signed(change)).await.unwrap();
        for body in [&more, &dearer] {
            let fault = replace(&client, body).await.unwrap_err();
            let expected = if is_halt {
                [code, FaultCode::OrderClosed]
            } else {
                [code, code]
            };
            assert!(expected.contains(&fault.code), "{body}: {fault}");
        }
        if !is_halt {
            left -= 1;
            let body = json!({"client_order_id": "a", "quantity": left});
            assert_eq!(state(&replace(&client, &body).await.unwrap()).0, ReplaceState::Done);
        }
    }
    worker.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_replace_passes_a_cap_by_one_lot_however_many_try() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let instruments = &mut rig.settings.instruments.0;
    let aapl = instruments.iter_mut().find(|one| one.symbol == "AAPL").unwrap();
    aapl.max_position = "1000".to_owned();
    let workers = [rig.worker().await, rig.worker().await];
    let client = rig.caller().await;
    // 20 orders of 10 reserve 200. Each asks for 40 more: 20 of them have room.
    for n in 0..40 {
        client.report(&ibkr(&format!("o{n}"), &[])).await;
    }
    let attempts = (0..40).map(|n| {
        let body = json!({"client_order_id": format!("o{n}"), "quantity": "40", "replace_id": "r"});
        let client = &client;
        async move { replace(client, &body).await }
    });
    let outcomes = futures_util::future::join_all(attempts).await;
    let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let denied = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    assert!(
        denied.clone().all(|fault| fault.code == FaultCode::RiskLocked),
        "{:?}",
        denied.collect::<Vec<_>>()
    );
    assert_eq!(done, 20);
    rig.quiet().await;
    assert_eq!(rig.sum(SUMS, "long").await, 1_000 * LOTS);
    for worker in workers {
        worker.drain(SOON).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_replaces_at_once_one_wins() {
    let (rig, worker, client) = start().await;
    let second = rig.worker().await;
    for round in 0..10 {
        let id = format!("o{round}");
        client.report(&ibkr(&id, &[])).await;
        let attempts = (0..6).map(|n| {
            let body = json!({"client_order_id": id, "quantity": 20 + n, "replace_id": format!("r{n}")});
            let client = &client;
            async move { replace(client, &body).await }
        });
        let outcomes = futures_util::future::join_all(attempts).await;
        let done = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert!(done >= 1, "{outcomes:?}");
        for fault in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            let is_expected = [FaultCode::ReplaceInFlight, FaultCode::NotReplaced].contains(&fault.code);
            assert!(is_expected, "{fault}");
        }
        let name = format!(r#"{{"client_order_id":"{id}"}}"#);
        let last = client.order("get", "ibkr", &name).await.unwrap();
        assert_eq!(usize::from(state(&last).1), done + 1, "one leg for each that was done");
    }
    worker.drain(SOON).await;
    second.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_orders_survive_a_rebuild_and_pass_an_audit() {
    let router = AuditedRouter::busy().await;
    let client = &router.client;
    for (body, leaves) in [
        (
            json!({"client_order_id": "open", "quantity": "20", "price": "181.5"}),
            "0.53",
        ),
        (json!({"client_order_id": "open", "quantity": "19.6"}), "0.13"),
        (json!({"client_order_id": "open", "price": "179"}), "0.01"),
    ] {
        let report = replace(client, &body).await.unwrap();
        assert_eq!(report.leaves_quantity, leaves.parse().unwrap(), "{body}");
    }
    router.rig.quiet().await;
    assert_clean(&router.audit().await);
    assert_rebuild_is_equal(&router.rig).await;
    let again = replace(client, &json!({"client_order_id": "open", "quantity": "30"}))
        .await
        .unwrap();
    assert_eq!(state(&again), (ReplaceState::Done, 5));
    client
        .order("cancel", "ibkr", r#"{"client_order_id":"open"}"#)
        .await
        .unwrap();
    router.rig.quiet().await;
    assert_clean(&router.audit().await);
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn killed_worker_leaves_one_replace() {
    let mut rig = Rig::start().await;
    rig.settings.brokers.paper_ibkr.rest_fill = RestFill::Never;
    let client = rig.caller().await;
    let points = [
        "before_replace",
        "after_replace",
        "before_journal",
        "after_journal",
        "after_reply",
    ];
    for (n, (stop_at, quantity)) in points
        .iter()
        .flat_map(|point| [(point, "20"), (point, "9.6")])
        .enumerate()
    {
        let id = format!("o{n}");
        let keeper = rig.worker().await;
        client.report(&ibkr(&id, &[])).await;
        keeper.drain(SOON).await;
        let mut victim = rig.worker_process(Some(stop_at)).await;
        let body = json!({"client_order_id": id, "quantity": quantity, "replace_id": "r"});
        let subject = SUBJECT.to_owned();
        let deadline = order_router::domain::time::Timestamp::now().saturating_add(std::time::Duration::from_secs(2));
        let _ = client.caller.request(&subject, body.to_string().into(), deadline).await;
        let ended = victim.process().wait(SOON).await;
        assert!(!ended.success(), "{id}: {}", victim.stderr_text());
        let other = rig.worker().await;
        let report = poll::eventually(SOON, format!("{stop_at} {quantity} is answered"), async || {
            replace(&client, &body).await.ok().filter(|report| !report.is_receipt())
        })
        .await;
        assert_eq!(
            (report.version, state(&report)),
            (2, (ReplaceState::Done, 2)),
            "{stop_at} {quantity}"
        );
        rig.quiet().await;
        let versions = client.reports().await;
        let versions = versions.iter().filter(|report| report.client_order_id == id).count();
        assert_eq!(versions, 2, "{stop_at} {quantity}");
        client
            .order("cancel", "ibkr", &format!(r#"{{"client_order_id":"{id}"}}"#))
            .await
            .unwrap();
        other.drain(SOON).await;
    }
    assert!(stop_point::REPLACE_POINTS.iter().take(2).eq(&points[..2]));
}
