//! Replaces at the local exchange while a worker dies at any step, or the venue is late: one leg, and one outcome, which is the
//! venue's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use order_router::bus::subjects;
use order_router::domain::order_terms::OrderStatus;
use order_router::domain::replace::ReplaceState;
use order_router::domain::time::Timestamp;
use order_router::wire::report::ExecutionReport;
use order_router::wire::risk_signal::RiskSignal;
use serde_json::{Value, json};

use crate::live_binance::{LiveRig, takes_orders};
use crate::live_replace::{SUBJECT, VENUE_ARGS, open_legs, replace, rest, settled, state};
use crate::rig::{Client, SOON};
use crate::support::poll;
use crate::venue_fixture::KEY;

/// What is filled of an order before it is replaced.
const FILLED_PART: &str = "0.004";

/// A worker that ends at one step of a replace.
struct Kill {
    point: &'static str,
    /// The fault of the venue that the worker's request meets, and the operation.
    fault: Option<(&'static str, &'static str)>,
    /// Whether a part of the order is filled before: its leg is then cancelled first.
    is_filled: bool,
    change: Value,
    expected: ReplaceState,
}

fn new_price() -> Value {
    json!({"price": "28100"})
}

async fn report_of(client: &Client, id: &str) -> ExecutionReport {
    let name = json!({ "client_order_id": id }).to_string();
    client.order("get", "binance", &name).await.unwrap()
}

/// Fills a part of an order at the venue, and waits until that is booked.
async fn fill_part(live: &LiveRig, client: &Client, order: &ExecutionReport) {
    let venue_id: u64 = order.broker_order_id.as_deref().unwrap().parse().unwrap();
    let fill = json!({"orderId": venue_id, "quantity": FILLED_PART});
    let answer = live.venue.control("/control/fills", fill).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    poll::until(SOON, "the part is booked", async || {
        report_of(client, &order.client_order_id).await.fills_total == 1
    })
    .await;
}

/// Sends a replace until the worker has ended at its stop point. A worker that sends nothing has not reached it: it is asked
/// under the next id.
async fn replace_until_killed(live: &LiveRig, client: &Client, id: &str, kill: &Kill) {
    let mut victim = live.rig.worker_process(Some(kill.point)).await;
    takes_orders(client).await;
    let mut attempts = 0;
    poll::until(SOON, format!("{id} reaches {}", kill.point), async || {
        attempts += 1;
        let body = with_ids(&kill.change, id, &format!("r{attempts}"));
        let deadline = Timestamp::now().saturating_add(Duration::from_secs(2));
        let _ = client.caller.request(SUBJECT, body.to_string().into(), deadline).await;
        victim.process().ended().is_some()
    })
    .await;
}

fn with_ids(change: &Value, id: &str, replace_id: &str) -> Value {
    let mut body = change.clone();
    body["client_order_id"] = id.into();
    body["replace_id"] = replace_id.into();
    body
}

/// Kills a worker at one step, and checks that another one comes to the expected outcome, which is what the venue has.
async fn assert_outcome_after(live: &LiveRig, client: &Client, id: &str, kill: &Kill) {
    let (keeper, _) = live.worker().await;
    let order = rest(client, id, "0.01").await;
    if kill.is_filled {
        fill_part(live, client, &order).await;
    }
    keeper.drain(SOON).await;
    if let Some((fault, operation)) = kill.fault {
        live.venue
            .faults(json!([{"name": fault, "count": 1, "on": [operation]}]))
            .await;
    }
    replace_until_killed(live, client, id, kill).await;
    let (other, _) = live.worker().await;
    live.rig.quiet_outbox().await;
    let begun = report_of(client, id).await.replace.unwrap();
    let report = settled(client, &with_ids(&kill.change, id, &begun.replace_id)).await;
    let case = format!("{} {:?} {}: {report:?}", kill.point, kill.fault, kill.change);
    assert_eq!(state(&report), (kill.expected, begun.leg), "{case}");
    let rest_of = if kill.is_filled { "0.006" } else { "0.01" };
    let quantity = kill.change["quantity"].as_str().unwrap_or(rest_of);
    let price = kill.change["price"].as_str().unwrap_or("28000");
    let leg = |id: String, price: &str, quantity: &str| vec![(id, price.to_owned(), quantity.to_owned())];
    let expected = match kill.expected {
        ReplaceState::Done => leg(begun.leg.to_string(), price, quantity),
        ReplaceState::NotReplaced => leg(String::new(), "28000", "0.01"),
        _ => Vec::new(),
    };
    assert_eq!(open_legs(live, &order.order_id).await, expected, "{case}");
    let filled = if kill.is_filled { FILLED_PART } else { "0" };
    assert_eq!(report.filled_quantity.to_string(), filled, "{case}");
    let has_ended = kill.expected == ReplaceState::CancelledNotPlaced;
    assert_eq!(report.status == OrderStatus::Cancelled, has_ended, "{case}");
    if !has_ended {
        let name = json!({ "client_order_id": id }).to_string();
        client.order("cancel", "binance", &name).await.unwrap();
    }
    other.drain(SOON).await;
}

async fn assert_outcomes(kills: &[Kill]) {
    let live = LiveRig::start(VENUE_ARGS).await;
    let client = live.rig.caller().await;
    for (n, kill) in kills.iter().enumerate() {
        assert_outcome_after(&live, &client, &format!("o{n}"), kill).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn worker_killed_at_any_step_leaves_one_leg_and_one_outcome() {
    let mut kills = Vec::new();
    for (point, expected) in [
        ("after_replace", ReplaceState::NotReplaced),
        ("replace_journaled", ReplaceState::NotReplaced),
        ("replace_sent", ReplaceState::Done),
    ] {
        for change in [new_price(), json!({"quantity": "0.005"})] {
            kills.push(Kill {
                point,
                fault: None,
                is_filled: false,
                change,
                expected,
            });
        }
    }
    assert_outcomes(&kills).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn worker_killed_between_cancel_and_placement_leaves_one_leg_and_one_outcome() {
    let kills = [
        ("replace_journaled", ReplaceState::NotReplaced),
        ("replace_cancel_sent", ReplaceState::CancelledNotPlaced),
        ("placement_announced", ReplaceState::CancelledNotPlaced),
        ("placement_journaled", ReplaceState::CancelledNotPlaced),
        ("replace_sent", ReplaceState::Done),
    ];
    let kills = kills.map(|(point, expected)| Kill {
        point,
        fault: None,
        is_filled: true,
        change: new_price(),
        expected,
    });
    assert_outcomes(&kills).await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg_attr(not(debug_assertions), ignore = "release builds have no stop points")]
async fn worker_killed_after_a_lost_answer_leaves_one_leg_and_one_outcome() {
    let kill = |point, fault, is_filled, expected| Kill {
        point,
        fault: Some(fault),
        is_filled,
        change: new_price(),
        expected,
    };
    let kills = [
        kill(
            "replace_sent",
            ("answer_lost", "cancel_replace"),
            false,
            ReplaceState::Done,
        ),
        kill(
            "replace_sent",
            ("request_lost", "cancel_replace"),
            false,
            ReplaceState::NotReplaced,
        ),
        kill(
            "replace_cancel_sent",
            ("answer_lost", "cancel"),
            true,
            ReplaceState::CancelledNotPlaced,
        ),
        kill(
            "replace_cancel_sent",
            ("request_lost", "cancel"),
            true,
            ReplaceState::NotReplaced,
        ),
        kill("replace_sent", ("answer_lost", "place"), true, ReplaceState::Done),
    ];
    assert_outcomes(&kills).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn worker_killed_while_the_venue_answers_leaves_one_leg_and_one_outcome() {
    let live = LiveRig::start(VENUE_ARGS).await;
    let client = live.rig.caller().await;
    let (keeper, _) = live.worker().await;
    let order = rest(&client, "a", "0.01").await;
    keeper.drain(SOON).await;
    live.venue
        .faults(json!([{"name": "answer_delayed", "duration_ms": 30_000, "on": ["cancel_replace"]}]))
        .await;
    let mut victim = live.rig.worker_process(None).await;
    takes_orders(&client).await;
    let body = with_ids(&new_price(), "a", "r");
    let deadline = Timestamp::now().saturating_add(Duration::from_secs(2));
    let request = client.caller.request(SUBJECT, body.to_string().into(), deadline);
    let killed = async {
        poll::until(SOON, "the venue has the new leg", async || {
            let legs = open_legs(&live, &order.order_id).await;
            legs.iter().any(|(id, ..)| id == "2")
        })
        .await;
        victim.kill9();
    };
    let (answered, ()) = tokio::join!(request, killed);
    let answered = answered.is_ok();
    let (other, _) = live.worker().await;
    let report = settled(&client, &body).await;
    // The venue's stream may have told the victim before its end.
    assert_eq!(
        state(&report),
        (ReplaceState::Done, 2),
        "answered: {answered}, {report:?}"
    );
    let expected = ("2".to_owned(), "28100".to_owned(), "0.01".to_owned());
    assert_eq!(open_legs(&live, &order.order_id).await, [expected]);
    other.drain(SOON).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_leg_that_the_venue_rejects_after_the_cancel_ends_the_replace_and_the_order() {
    let live = LiveRig::start(VENUE_ARGS).await;
    let (worker, client) = live.worker().await;
    let order = rest(&client, "a", "0.01").await;
    fill_part(&live, &client, &order).await;
    withdraw_quote_asset(&live).await;
    let body = json!({"client_order_id": "a", "quantity": "0.5", "price": "28100", "replace_id": "r"});
    let report = replace(&client, &body).await.unwrap();
    assert_eq!(state(&report), (ReplaceState::CancelledNotPlaced, 2), "{report:?}");
    assert_eq!(
        (report.status, report.quantity, report.filled_quantity.to_string()),
        (OrderStatus::Cancelled, order.quantity, FILLED_PART.to_owned())
    );
    let reason = &report.replace.as_ref().unwrap().reason;
    assert!(reason.as_ref().unwrap().message.contains("-2010"), "{reason:?}");
    assert!(open_legs(&live, &order.order_id).await.is_empty());
    worker.drain(SOON).await;
}

/// Takes what the account has free of the quote asset.
async fn withdraw_quote_asset(live: &LiveRig) {
    let account = live
        .venue
        .signed(reqwest::Method::GET, "/api/v3/account", &[])
        .await
        .ok();
    let mut balances = account["balances"].as_array().unwrap().iter();
    let free = balances.find(|one| one["asset"] == "USDT").unwrap()["free"]
        .as_str()
        .unwrap();
    let withdrawn = json!({"account": KEY, "asset": "USDT", "amount": format!("-{free}")});
    let answer = live.venue.control("/control/transfers", withdrawn).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
}

/// Returns the rules and the orders of every alert.
async fn alerts(client: &Client) -> Vec<(String, Option<String>)> {
    let jetstream = async_nats::jetstream::new(client.raw.clone());
    let stream = jetstream.get_stream(subjects::STREAM_ALERTS).await.unwrap();
    let mut found = Vec::new();
    for sequence in 1..=stream.cached_info().state.last_sequence {
        let message = stream.get_raw_message(sequence).await.unwrap();
        let signal: RiskSignal = serde_json::from_slice(&message.payload).unwrap();
        found.push((signal.rule_id, signal.order_id));
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_that_are_found_after_not_replaced_are_in_force_again_with_an_alert() {
    let mut live = LiveRig::start(VENUE_ARGS).await;
    // The venue is taken to have no new terms long before it has them.
    live.rig.settings.brokers.binance_live.order_timeout_ms = 800;
    live.rig.settings.brokers.inquiry.not_found_window_ms = 1_000;
    let (worker, client) = live.worker().await;
    live.venue
        .faults(json!([{"name": "request_delayed", "duration_ms": 4_500, "on": ["cancel_replace"]}]))
        .await;
    // On a busy machine the inquiries may take as long as the request.
    for attempt in 0..4 {
        let id = format!("late-{attempt}");
        let order = rest(&client, &id, "0.01").await;
        let body = with_ids(&new_price(), &id, "r");
        assert_eq!(state(&replace(&client, &body).await.unwrap()).1, 2);
        if state(&settled(&client, &body).await).0 == ReplaceState::Done {
            continue;
        }
        let found = poll::eventually(SOON, "the new terms are found", async || {
            let report = report_of(&client, &id).await;
            (state(&report).0 == ReplaceState::Done).then_some(report)
        })
        .await;
        assert_eq!(found.price.unwrap().to_string(), "28100");
        assert_eq!((found.status, found.quantity), (OrderStatus::Accepted, order.quantity));
        let expected = ("2".to_owned(), "28100".to_owned(), "0.01".to_owned());
        assert_eq!(open_legs(&live, &order.order_id).await, [expected]);
        poll::until(SOON, "the alert is published", async || {
            let wanted = ("reopened_order".to_owned(), Some(order.order_id.clone()));
            alerts(&client).await.contains(&wanted)
        })
        .await;
        worker.drain(SOON).await;
        return;
    }
    panic!("no replace was taken for not replaced before the venue had it");
}
