//! The chaos harness: it finds nothing in the router as it is, and something as soon as one guard is off.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "in a test a panic is the verdict"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use order_router::config::guards::{ENVIRONMENT_VARIABLE, Guard};
use serde_json::Value;

use crate::support::process::RouterProcess;

/// How long a run may take: its load, the recovery, and the check, on a busy machine.
const RUN_DEADLINE: Duration = Duration::from_secs(400);

/// Runs the harness and returns its exit code and its summary.
async fn run(arguments: &str, guard_off: Option<Guard>) -> (Option<i32>, Value) {
    let arguments: Vec<&str> = ["chaos", "--json"]
        .into_iter()
        .chain(arguments.split_whitespace())
        .collect();
    let environment = guard_off.map(|guard| (ENVIRONMENT_VARIABLE, guard.as_str()));
    let mut process = RouterProcess::start(&arguments, environment);
    let ended = process.process().wait(RUN_DEADLINE).await;
    let text = process.stdout_text();
    let summary = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("{error} in {text:?}; its log:\n{}", process.stderr_text()));
    (ended.code(), summary)
}

/// Runs the harness with a guard turned off, and checks that it finds one of these violations.
async fn assert_seen(guard: Guard, arguments: &str, checks: &[&str]) {
    let (code, summary) = run(arguments, Some(guard)).await;
    assert_eq!(code, Some(1), "{guard:?}: {summary}");
    let found = summary["found"].as_array().unwrap().iter();
    let found: BTreeSet<&str> = found.map(|violation| violation["check"].as_str().unwrap()).collect();
    let is_seen = checks.iter().any(|check| found.contains(check));
    assert!(is_seen, "{guard:?}: {found:?} has none of {checks:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make chaos runs longer ones"]
async fn faults_leave_nothing_behind() {
    let (code, summary) = run("--seed 1 --seconds 10", None).await;
    assert_eq!((code, &summary["violations"]), (Some(0), &Value::from(0)), "{summary}");
    assert!(
        summary["faults"].as_u64() > Some(0) && summary["intents"].as_u64() > Some(0),
        "{summary}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn live_orders_survive_that_redis_is_put_back() {
    let arguments = "--broker live-venue --seed 1 --seconds 10 --fault redis_put_back --at-least redis_put_back=1";
    let (code, summary) = run(arguments, None).await;
    assert_eq!((code, &summary["violations"]), (Some(0), &Value::from(0)), "{summary}");
    assert!(summary["orders"].as_u64() > Some(0), "{summary}");
    let venue = &summary["venue_faults"];
    assert!(
        venue["requests"].as_u64() > Some(0) && venue["by_kind"]["event_late"].is_u64(),
        "{summary}"
    );
}

/// Runs the harness on a cluster with one kind of fault, and checks that intake never stopped for longer than this.
async fn assert_short_stop(kind: &str, seconds: u32, most_ms: u64) -> Value {
    let arguments = format!("--cluster --seed 1 --seconds {seconds} --concurrency 32 --fault {kind}");
    let (code, summary) = run(&arguments, None).await;
    assert_eq!((code, &summary["violations"]), (Some(0), &Value::from(0)), "{summary}");
    assert!(summary["faults"].as_u64() > Some(0), "{summary}");
    let stop = summary["longest_stop_ms"].as_u64().unwrap();
    println!("{kind}: intake stopped for {stop} ms at most");
    assert!(stop <= most_ms, "{summary}");
    summary
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_bears_the_loss_of_a_primary_whose_replica_is_behind() {
    // A failover takes about 2 s; beside other tests, this machine may be much slower.
    let summary = assert_short_stop("redis_failover", 12, 15_000).await;
    assert!(summary["redis_bytes_lost"].as_u64() > Some(0), "{summary}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_bears_the_loss_of_a_node_of_nats() {
    assert_short_stop("nats_node_killed", 12, 15_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make chaos-cluster runs it alone"]
async fn stop_of_intake_at_a_failover_of_redis_is_short() {
    assert_short_stop("redis_failover", 60, 5_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "make chaos-cluster runs it alone"]
async fn stop_of_intake_at_the_loss_of_a_node_of_nats_is_short() {
    assert_short_stop("nats_node_killed", 60, 15_000).await;
}

/// Defines the test of one guard: the faults that need it, and the violations that show that it is off.
macro_rules! guard_tests {
    ($($name:ident: $guard:ident, $arguments:literal, $checks:expr;)+) => {$(
        #[tokio::test(flavor = "multi_thread")]
        #[ignore = "make chaos-guards runs them one by one"]
        async fn $name() {
            assert_seen(Guard::$guard, $arguments, &$checks).await;
        }
    )+};
}

guard_tests! {
    chaos_sees_claims_of_known_ids: Claim,
        "--seed 1 --seconds 8 --fault worker_killed --fault link_stalled",
        ["two_orders", "get_differs", "positions_differ"];
    chaos_sees_scripts_of_another_epoch: Epoch,
        "--seed 1 --seconds 8 --fault redis_flushed",
        ["two_orders", "positions_differ", "get_differs"];
    chaos_sees_an_outbox_that_is_not_drained: Outbox,
        "--seed 1 --seconds 8 --fault worker_killed --fault nats_killed",
        ["positions_differ", "not_quiet"];
    chaos_sees_replies_before_the_journal: JournalBeforeReply,
        "--seed 1 --seconds 5 --fault worker_killed",
        ["answer_before_journal", "answer_not_journaled"];
    chaos_sees_effects_that_are_booked_twice: FillDedupe,
        "--seed 1 --seconds 10 --fault worker_killed",
        ["positions_differ", "fill_twice", "order_arithmetic"];
    chaos_sees_late_executions: Deadline,
        "--seed 1 --seconds 12 --concurrency 64 --fault redis_paused --fault redis_killed",
        ["late"];
    chaos_sees_a_send_without_a_lease: LeaseToken,
        "--seed 1 --seconds 20 --concurrency 64 --broker live-venue --fault worker_paused --fault link_stalled",
        ["executed_twice", "venue_differs", "positions_differ", "order_behind_refusals"];
    chaos_sees_a_send_without_a_submission: SubmissionEvent,
        "--seed 1 --seconds 15 --broker live-venue --fault redis_flushed --fault worker_killed",
        ["sent_before_journal"];
}
