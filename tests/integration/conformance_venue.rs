//! The live adapter of Binance Spot passes the conformance suite at the local exchange: without faults, with every fault that
//! leaves the answers alone, and by the laws of outcomes under each of the others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use order_router::brokers::conformance::run_suite;
use order_router::brokers::conformance::under_faults::{FaultRunCounts, run_under_faults};
use serde_json::{Value, json};

use crate::conformance_adapter::AdapterFlaw;
use crate::conformance_harness::{ExchangeHarness, start_exchange};

/// The time limit of a placement or a cancel where nothing is delayed beyond it.
const ORDER_LIMIT: Duration = Duration::from_secs(4);
/// The time limit of a placement or a cancel under delays beyond it.
const SHORT_ORDER_LIMIT: Duration = Duration::from_millis(800);
/// Every case that applies to a venue outside the store: the others are about effects in the store.
const VENUE_CASES: [&str; 30] = [
    "P01", "P02", "P05", "P06", "P07", "S01", "S03", "S05", "S06", "C01", "C02", "C03", "C04", "C05", "C06", "C07",
    "D01", "D02", "D03", "D04", "D05", "D06", "D07", "R03", "R04", "R05", "R06", "R07", "R08", "R09",
];

/// Runs the whole suite at an exchange with faults that never end.
async fn assert_suite_passes(faults: Value) {
    let venue = start_exchange("1").await;
    let shown = faults.to_string();
    venue.faults(faults.clone()).await;
    let passed = run_suite(async || Ok(ExchangeHarness::start(&venue, ORDER_LIMIT, faults.clone()).await)).await;
    let passed = passed.unwrap_or_else(|failure| panic!("{shown}: {failure}"));
    assert_eq!(passed, VENUE_CASES, "{shown}");
    for fault in faults.as_array().unwrap() {
        let name = fault["name"].as_str().unwrap();
        assert!(venue.injected(name).await >= 30, "{shown} struck too rarely");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn adapter_passes_the_suite_at_the_exchange() {
    assert_suite_passes(json!([])).await;
}

/// These leave every answer as it is, apart from a delay below the time limit: each case demands the same as without them.
#[tokio::test(flavor = "multi_thread")]
async fn adapter_passes_the_suite_under_faults_that_leave_the_answers_alone() {
    let faults = [
        json!({"name": "request_delayed", "duration_ms": 10}),
        json!({"name": "answer_delayed", "duration_ms": 10}),
        json!({"name": "event_duplicated"}),
        json!({"name": "event_reordered", "duration_ms": 20}),
        json!({"name": "event_late", "duration_ms": 100}),
        json!({"name": "event_lost"}),
        json!({"name": "clock_skew", "duration_ms": 30_000}),
        json!({"name": "clock_skew", "duration_ms": -30_000}),
    ];
    join_all(faults.map(|fault| assert_suite_passes(json!([fault])))).await;
}

/// The operations that the adapter calls for an order.
const ORDER_CALLS: [&str; 6] = ["place", "cancel", "cancel_replace", "amend", "query_order", "my_trades"];

/// The plans of one fault.
type FaultPlans = Vec<Value>;

/// The answer to a call is lost, or proves nothing.
fn lost_answers() -> Vec<FaultPlans> {
    let names = [
        "request_lost",
        "answer_lost",
        "error_before",
        "error_after",
        "timeout_before",
        "timeout_after",
        "maintenance",
    ];
    let plan = |name| json!({"name": name, "probability": 0.4, "on": ["place", "cancel", "cancel_replace", "amend"]});
    names.map(|name| vec![plan(name)]).to_vec()
}

/// A request or its answer is later than the adapter waits.
fn late_answers() -> Vec<FaultPlans> {
    let plan = |name| json!({"name": name, "probability": 0.15, "duration_ms": 1_200});
    vec![vec![plan("request_delayed")], vec![plan("answer_delayed")]]
}

/// The exchange refuses a call, in each way once or twice for each operation: the adapter then waits for a second.
fn refused_calls() -> Vec<FaultPlans> {
    let each = |name: &str, count: u32, duration_ms: i64| -> FaultPlans {
        let plan = |on| json!({"name": name, "count": count, "duration_ms": duration_ms, "on": [on]});
        ORDER_CALLS.map(plan).to_vec()
    };
    vec![
        each("rate_limited", 1, 500),
        each("banned", 1, 500),
        each("clock_skew", 2, 20_000),
        each("clock_skew", 2, -20_000),
    ]
}

/// What else an order meets: a halt, a lag of the queries, and fills that no call reports.
fn other_conditions() -> Vec<FaultPlans> {
    vec![
        vec![json!({"name": "symbols_halted", "probability": 0.3})],
        vec![json!({"name": "order_hidden", "duration_ms": 800})],
        vec![json!({"name": "partial_fills", "duration_ms": 8})],
        vec![json!({"name": "cancel_fill_race", "count": 4})],
    ]
}

/// Events that the stream doubles, swaps, delays or loses.
fn failing_events() -> Vec<FaultPlans> {
    vec![
        vec![json!({"name": "event_duplicated", "probability": 0.5})],
        vec![json!({"name": "event_reordered", "probability": 0.5, "duration_ms": 50})],
        vec![json!({"name": "event_late", "probability": 0.5, "duration_ms": 200})],
        vec![json!({"name": "event_lost", "probability": 0.5})],
        vec![json!({"name": "stream_cut", "count": 4})],
    ]
}

/// Every fault at once, also at the queries that resolve an unknown outcome.
fn all_faults() -> FaultPlans {
    let at_calls = |name: &str| json!({"name": name, "probability": 0.06, "on": ORDER_CALLS});
    let at_events = |name: &str| json!({"name": name, "probability": 0.1, "duration_ms": 50});
    let mut plans = [
        "request_lost",
        "answer_lost",
        "error_before",
        "error_after",
        "timeout_before",
        "timeout_after",
        "maintenance",
    ]
    .map(at_calls)
    .to_vec();
    plans.extend(["event_duplicated", "event_reordered", "event_late", "event_lost"].map(at_events));
    for name in ["request_delayed", "answer_delayed"] {
        plans.push(json!({"name": name, "probability": 0.1, "duration_ms": 300}));
    }
    for (name, count) in [
        ("stream_cut", 2),
        ("rate_limited", 1),
        ("banned", 1),
        ("clock_skew", 2),
        ("symbols_halted", 2),
    ] {
        plans.push(json!({"name": name, "count": count, "duration_ms": 500}));
    }
    plans.push(json!({"name": "order_hidden", "probability": 0.3, "duration_ms": 500}));
    plans.push(json!({"name": "partial_fills", "probability": 0.5, "duration_ms": 8}));
    plans.push(json!({"name": "cancel_fill_race", "probability": 0.3}));
    plans
}

#[tokio::test(flavor = "multi_thread")]
async fn laws_of_outcomes_hold_under_every_fault_at_once() {
    assert_laws_hold(ORDER_LIMIT, vec![all_faults()]).await;
}

/// Runs the scenarios under each of these faults, at an exchange of its own, and checks that it struck, and what the stream
/// and the reconciliation make of it. Returns how the calls ended, with the faults.
async fn assert_laws_hold(order_limit: Duration, faults: Vec<FaultPlans>) -> Vec<(String, FaultRunCounts)> {
    let runs = faults.into_iter().map(|plans| async move {
        let shown = json!(plans).to_string();
        let venue = start_exchange("7").await;
        let harness = ExchangeHarness::start(&venue, order_limit, json!(plans)).await;
        let counts = run_under_faults(&harness).await;
        let counts = counts.unwrap_or_else(|failure| panic!("{shown}: {failure}"));
        harness.check_book(&shown).await;
        let faults = venue.get("/control/faults").await.ok();
        let struck: u64 = faults["injected"]
            .as_object()
            .unwrap()
            .values()
            .map(|count| count.as_u64().unwrap())
            .sum();
        assert!(struck >= 3, "{shown} struck {struck} times");
        (shown, counts)
    });
    join_all(runs).await
}

#[tokio::test(flavor = "multi_thread")]
async fn laws_of_outcomes_hold_where_answers_are_lost() {
    for (faults, counts) in assert_laws_hold(ORDER_LIMIT, lost_answers()).await {
        assert!(counts.unknown >= 3 && counts.answered >= 3, "{faults}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn laws_of_outcomes_hold_where_answers_are_late() {
    for (faults, counts) in assert_laws_hold(SHORT_ORDER_LIMIT, late_answers()).await {
        assert!(counts.unknown >= 3 && counts.answered >= 3, "{faults}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn laws_of_outcomes_hold_where_the_exchange_refuses() {
    for (faults, counts) in assert_laws_hold(ORDER_LIMIT, refused_calls()).await {
        assert!(counts.not_sent >= 2 && counts.answered >= 3, "{faults}: {counts:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn laws_of_outcomes_hold_under_other_conditions() {
    assert_laws_hold(ORDER_LIMIT, other_conditions()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn laws_of_outcomes_hold_where_events_fail() {
    assert_laws_hold(ORDER_LIMIT, failing_events()).await;
}

#[tokio::test]
async fn every_fault_of_the_exchange_is_run() {
    let groups = [
        lost_answers(),
        late_answers(),
        refused_calls(),
        other_conditions(),
        failing_events(),
    ];
    let plans = groups.iter().flatten().flatten();
    let run: BTreeSet<&str> = plans.map(|plan| plan["name"].as_str().unwrap()).collect();
    let listed = start_exchange("1").await.get("/control/faults").await.ok();
    let kinds: BTreeSet<&str> = listed["injected"]
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(run, kinds);
}

/// Each flaw breaks a law: the case that finds it, and when.
#[tokio::test(flavor = "multi_thread")]
async fn laws_find_an_adapter_that_claims_what_it_does_not_know() {
    let late = json!({"name": "request_delayed", "count": 3, "duration_ms": 1_200, "on": ["place"]});
    let strikes = |name: &str, on: &[&str]| json!({"name": name, "on": on});
    let replaces = ["cancel_replace", "amend"];
    let flaws = [
        (
            AdapterFlaw::UnknownIsRejected,
            strikes("answer_lost", &["place"]),
            "F01",
            "while",
        ),
        (AdapterFlaw::LateIsRejected, late, "F01", "after"),
        (
            AdapterFlaw::UnknownIsNotSent,
            strikes("answer_lost", &["place"]),
            "F01",
            "while",
        ),
        (
            AdapterFlaw::UnknownIsAcknowledged,
            strikes("request_lost", &["place"]),
            "F01",
            "while",
        ),
        (
            AdapterFlaw::UnknownIsCancelled,
            strikes("request_lost", &["cancel"]),
            "F02",
            "while",
        ),
        (
            AdapterFlaw::UnknownIsReplaced,
            strikes("request_lost", &replaces),
            "F03",
            "while",
        ),
        (
            AdapterFlaw::UnknownIsNotReplaced,
            strikes("answer_lost", &replaces),
            "F03",
            "while",
        ),
        (
            AdapterFlaw::FindsNothing,
            strikes("answer_lost", &["place"]),
            "F01",
            "after",
        ),
    ];
    let runs = flaws.map(|(flaw, fault, case, when)| async move {
        let venue = start_exchange("7").await;
        let harness = ExchangeHarness::with_flaw(&venue, SHORT_ORDER_LIMIT, json!([fault]), Some(flaw)).await;
        let failure = run_under_faults(&harness).await.expect_err("a flawed adapter passes");
        let found = (failure.case, failure.detail.starts_with(when));
        assert_eq!(found, (case, true), "{flaw:?} under {fault}: {failure}");
    });
    join_all(runs).await;
}
