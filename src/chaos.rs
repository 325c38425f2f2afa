//! The chaos harness: a router of several processes under load and faults, and a checker of what it leaves behind.
//!
//! A run starts nats-server, redis-server, workers and a sidecar as child processes ([`router_under_test`]). Callers send
//! intents under their own ids through every door and retry ([`caller`]). The nemesis injects the faults of a schedule that
//! follows from the seed ([`nemesis`], [`schedule`]). When all of it has recovered, the checker compares what callers were
//! answered, the journal, Redis, the order log and REST ([`checks`]). docs/reliability.md describes both.

mod append_only_copy;
mod caller;
mod checks;
mod child;
mod doors;
mod failover;
mod full_disk;
mod history;
mod journal_model;
mod judgement;
mod local_exchange;
mod model_sums;
mod nats_group;
mod nemesis;
mod options;
mod proxy;
mod quiet;
mod random;
mod redis_control;
mod redis_group;
mod replace_calls;
mod replace_plan;
mod rest_caller;
mod retries;
mod router_settings;
mod router_under_test;
mod schedule;
mod servers;
mod store_reader;
mod summary;
mod venue_faults;
mod violation;
mod worker_place;
mod workload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::bus::connection::{ConnectPolicy, connect};
use crate::bus::journal::JournalReader;
use crate::bus::router_client::RouterClient;
use crate::chaos::caller::{SharedProgress, run_lane};
pub use crate::chaos::child::BoundCommand;
use crate::chaos::doors::ChaosDoors;
use crate::chaos::history::{CallAnswer, IntentHistory};
use crate::chaos::journal_model::{JournalModel, ModelOrder, read_journal};
use crate::chaos::model_sums::ModelSums;
use crate::chaos::nemesis::{InjectedFaults, inject_faults};
pub use crate::chaos::options::{ChaosBroker, ChaosOptions, ChaosPrograms, LeastCounts};
use crate::chaos::quiet::{QUIET_POLL_INTERVAL, QuietProbe, REST_TIMEOUT};
use crate::chaos::rest_caller::RestCaller;
use crate::chaos::router_under_test::RouterUnderTest;
pub use crate::chaos::schedule::FaultKind;
use crate::chaos::schedule::FaultSchedule;
use crate::chaos::store_reader::StoreReader;
pub use crate::chaos::summary::ChaosSummary;
pub use crate::chaos::venue_faults::VenueFaultCounts;
pub use crate::chaos::violation::ChaosViolation;
use crate::chaos::violation::FoundViolations;
use crate::chaos::workload::ChaosRun;
use crate::config::nats::NatsSettings;
use crate::domain::time::Timestamp;

/// How long connecting to NATS may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the order log may take to catch up with the journal.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the switch to live trading may take.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(60);

/// What the callers saw, and what the nemesis did.
struct ChaosLoad {
    histories: Vec<IntentHistory>,
    injected: InjectedFaults,
    elapsed: Duration,
}

/// Runs the load under faults, checks what it left behind, and stops every process.
///
/// # Errors
/// When the router cannot be started, or what it left behind cannot be read: the run has no result.
pub async fn run(options: &ChaosOptions) -> anyhow::Result<ChaosSummary> {
    let begun_at = Instant::now();
    let mut router = RouterUnderTest::start(options).await.context("starting the router")?;
    let checked = run_and_check(options, &mut router).await;
    router.stop().await;
    let summary = checked?;
    Ok(ChaosSummary {
        elapsed_ms: milliseconds(begun_at.elapsed()),
        ..summary
    })
}

async fn run_and_check(options: &ChaosOptions, router: &mut RouterUnderTest) -> anyhow::Result<ChaosSummary> {
    let nats = NatsSettings {
        url: router.nats_url(),
        ..NatsSettings::default()
    };
    let bus = connect(&nats, "order-router chaos", ConnectPolicy::RetryFor(CONNECT_TIMEOUT)).await?;
    let rest = RestCaller::new(router.http_address());
    let run = ChaosRun {
        seed: options.seed,
        broker: options.broker,
    };
    let client = RouterClient::new(bus.clone());
    if options.broker == ChaosBroker::LiveVenue {
        switch_to_live(&rest).await?;
    }
    let load = run_load(options, router, &client, rest).await?;
    let mut found = FoundViolations::default();
    for failure in &load.injected.failures {
        found.add("not_recovered", failure.clone());
    }
    let mut store = StoreReader::connect(router.redis_address().await?, options.broker.mode()).await?;
    let reader = JournalReader::new(bus);
    let quiet = QuietProbe {
        store: &mut store,
        reader: &reader,
        rest: &rest,
        client: &client,
        broker: options.broker,
    };
    quiet.wait(&mut found).await?;
    let model = read_journal(&reader, &mut found).await?;
    let sums = ModelSums::of(&model).context("the journal's fills do not add up")?;
    checks::orders::check_orders(&model, &mut found);
    checks::answers::check_answers(run, &load.histories, &model, &mut found)?;
    checks::replaces::check_replaces(run, &load.histories, &model, &mut found)?;
    checks::limits::check_limits(&model, &sums, options.broker == ChaosBroker::Paper, &mut found);
    checks::store::check_store(&mut store, &sums, &mut found).await?;
    checks::reads::check_reads(&client, run, &load.histories, &model, &mut found).await;
    if let Some(venue) = router.venue_address() {
        let venue = RestCaller::new(venue);
        checks::venue::check_venue(&venue, &model, &mut found).await?;
        checks::legs::check_legs(&venue, &model, &mut found).await?;
    }
    wait_for_order_log(&rest, &model).await;
    checks::order_log::check_order_log(&rest, &model, &mut found).await?;
    checks::order_log::check_positions(&rest, &sums, &mut found).await?;
    let mut summary = summarize(options, &load, &model);
    summary.restarts = router.restarts();
    if router.venue_address().is_some() {
        summary.venue_faults = Some(router.venue()?.faults().await?);
    }
    let asked = (&options.at_least, options.venue_fault_percent);
    checks::coverage::check_coverage(asked, &summary, &mut found);
    summary.violations = found.total();
    summary.found = found.into_kept();
    Ok(summary)
}

/// Switches the router to live trading.
async fn switch_to_live(rest: &RestCaller) -> anyhow::Result<()> {
    let end = Instant::now() + SWITCH_TIMEOUT;
    let body = r#"{"mode":"live","reason":"order-router chaos"}"#;
    loop {
        let reply = rest.put("/state", body.into(), REST_TIMEOUT).await;
        match reply {
            Ok(reply) if reply.status == 200 => return Ok(()),
            _ if Instant::now() < end => sleep(QUIET_POLL_INTERVAL).await,
            reply => anyhow::bail!("the router does not switch to live trading: {reply:?}"),
        }
    }
}

/// Sends intents and injects faults until the time is over or every intent is sent, and lets everything recover.
async fn run_load(
    options: &ChaosOptions,
    router: &mut RouterUnderTest,
    client: &RouterClient,
    rest: RestCaller,
) -> anyhow::Result<ChaosLoad> {
    let doors = ChaosDoors::open(client, rest).await?;
    let run = ChaosRun {
        seed: options.seed,
        broker: options.broker,
    };
    let progress = Arc::new(SharedProgress::new());
    let (stop, stopped) = watch::channel(false);
    let (set_recovered, recovered) = watch::channel(false);
    let begun_at = Instant::now();
    let mut lanes = JoinSet::new();
    for _ in 0..options.lanes {
        let (doors, progress) = (doors.clone(), Arc::clone(&progress));
        let (stopped, recovered) = (stopped.clone(), recovered.clone());
        lanes.spawn(run_lane(doors, progress, run, options.max_intents, stopped, recovered));
    }
    let ended = async {
        tokio::select! {
            () = sleep(options.duration) => {}
            () = join_all(&mut lanes) => {}
        }
        stop.send_replace(true);
    };
    let schedule = FaultSchedule::new(options.seed, &options.kinds, options.fault_places());
    let schedule = schedule.with_at_least(&options.at_least.faults);
    // The nemesis runs on this thread: a child ends with the thread that started it.
    let (injected, ()) = tokio::join!(inject_faults(router, schedule, stopped), ended);
    let injected = injected?;
    set_recovered.send_replace(true);
    let elapsed = begun_at.elapsed();
    tracing::info!(
        faults = injected.total(),
        "the last fault is over: the callers finish their intents"
    );
    join_all(&mut lanes).await;
    Ok(ChaosLoad {
        histories: progress.take_histories(),
        injected,
        elapsed,
    })
}

async fn join_all(lanes: &mut JoinSet<()>) {
    while let Some(ended) = lanes.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a lane failed");
        }
    }
}

/// Waits until the order log has as many orders as the journal; the check that follows says what it lacks.
async fn wait_for_order_log(rest: &RestCaller, model: &JournalModel) {
    let end = Instant::now() + CATCH_UP_TIMEOUT;
    let expected = u64::try_from(model.orders.len()).unwrap_or(u64::MAX);
    while Instant::now() < end {
        let page = rest.get("/orders/log?limit=1", REST_TIMEOUT).await.ok();
        let page = page.and_then(|page| serde_json::from_slice::<serde_json::Value>(&page.body).ok());
        if page.is_some_and(|page| page["metadata"]["total"] == expected) {
            return;
        }
        sleep(QUIET_POLL_INTERVAL).await;
    }
}

/// Returns what a run did, without what was found.
fn summarize(options: &ChaosOptions, load: &ChaosLoad, model: &JournalModel) -> ChaosSummary {
    let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
    let mut intents_by_outcome = BTreeMap::new();
    for history in &load.histories {
        *intents_by_outcome.entry(history.outcome().as_str()).or_default() += 1;
    }
    let answers = || {
        load.histories
            .iter()
            .flat_map(|history| &history.calls)
            .map(|call| &call.answer)
    };
    let is_to_retry = |answer: &&CallAnswer| {
        matches!(
            answer,
            CallAnswer::Problem {
                status: 429 | 500..,
                ..
            }
        )
    };
    let fills = model.orders.values().map(|order| u64::from(order.newest.fills_total));
    let faults_by_kind = load.injected.counts.iter();
    ChaosSummary {
        seed: options.seed,
        intents: count(load.histories.len()),
        faults: load.injected.total(),
        violations: 0,
        intents_by_outcome,
        calls: count(answers().count()),
        calls_without_answer: count(answers().filter(|answer| **answer == CallAnswer::Nothing).count()),
        calls_to_retry: count(answers().filter(is_to_retry).count()),
        orders: count(model.orders.values().filter(|order| !order.is_denied()).count()),
        fills: fills.sum(),
        journal_entries: model.entries.values().sum(),
        void_orders: count(model.void_orders.len()),
        void_effects: model.void_effects,
        replaces_by_state: replaces_by_state(model),
        faults_by_kind: faults_by_kind.map(|(kind, count)| (kind.as_str(), *count)).collect(),
        found: Vec::new(),
        venue_faults: None,
        longest_stop_ms: longest_stop_ms(&load.histories),
        redis_bytes_lost: load.injected.redis_bytes_lost,
        restarts: 0,
        load_ms: milliseconds(load.elapsed),
        elapsed_ms: 0,
    }
}

/// Returns the number of replaces on the journal by what became of them.
fn replaces_by_state(model: &JournalModel) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for replace in model.orders.values().flat_map(ModelOrder::replaces) {
        *counts.entry(replace.state.as_str()).or_default() += 1;
    }
    counts
}

/// Returns the longest time between two answers with a journaled report to any caller, in milliseconds.
fn longest_stop_ms(histories: &[IntentHistory]) -> u64 {
    let calls = histories.iter().flat_map(IntentHistory::submissions);
    // A receipt has no version.
    let taken = calls.filter(|call| matches!(&call.answer, CallAnswer::Report(report) if report.version > 0));
    let mut moments: Vec<Timestamp> = taken.map(|call| call.answered_at).collect();
    moments.sort_unstable();
    let pauses = moments.windows(2).filter_map(|pair| match pair {
        [before, after] => Some(after.saturating_duration_since(*before)),
        _ => None,
    });
    milliseconds(pauses.max().unwrap_or_default())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
