//! The live adapter of Binance Spot passes the conformance suite at the local exchange: without faults, with every fault that
//! leaves the answers alone, and by the laws of outcomes under each of the others.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::time::Duration;

use futures_util::future::join_all;
use order_router::brokers::conformance::run_suite;
use order_router::brokers::conformance::under_faults::{FaultRunCounts, FaultyHarness, run_under_faults};
use serde_json::{Value, json};

use crate::conformance_adapter::AdapterFlaw;
use crate::conformance_harness::{ExchangeHarness, start_exchange};

/// The time limit of a placement or a cancel where nothing is delayed beyond it.
const ORDER_LIMIT: Duration = Duration::from_secs(4);
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

/// A fault that leaves every answer as it is, apart from a delay below the time limit: each case demands the same of the
/// adapter as without it.
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

/// A fault that changes answers, and how often it is in force.
struct LawCase {
    fault: Value,
    /// The time limit of a placement or a cancel.
    order_limit: Duration,
}

fn law_case(fault: Value) -> LawCase {
    LawCase {
        fault,
        order_limit: ORDER_LIMIT,
    }
}

/// Runs the scenarios under one fault, and checks what the stream and the reconciliation make of it.
async fn assert_laws_hold(case: LawCase) -> (String, FaultRunCounts, u64) {
    let venue = start_exchange("7").await;
    let name = case.fault["name"].as_str().unwrap().to_owned();
    let harness = ExchangeHarness::start(&venue, case.order_limit, json!([case.fault])).await;
    let counts = run_under_faults(&harness).await;
    let counts = counts.unwrap_or_else(|failure| panic!("{name}: {failure}"));
    harness.check_book(&name).await;
    let injected = venue.injected(&name).await;
    assert!(injected >= 3, "{name} struck {injected} times");
    (name, counts, injected)
}

#[tokio::test(flavor = "multi_thread")]
async fn laws_of_outcomes_hold_where_an_answer_is_lost() {
    for fault in [
        "request_lost",
        "answer_lost",
        "error_before",
        "error_after",
        "timeout_before",
        "timeout_after",
    ] {
        let begin = std::time::Instant::now();
        let result = assert_laws_hold(law_case(json!({"name": fault, "probability": 0.4}))).await;
        println!("{result:?} {:?}", begin.elapsed());
    }
}
