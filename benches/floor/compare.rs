//! The router beside the floor, on the same servers in the same run; medians over all runs, as ratios.

use anyhow::ensure;
use tokio::process::Command;

use crate::router::{Measured, MeasuredProcess, Process, read_measured, start_sidecar, start_worker};
use crate::servers::Addresses;
use crate::servers::Servers;
use crate::table::{Row, print_head};
use crate::{Way, pure_parts, router};

/// The accounts of the router's load, over all instruments of the settings.
const ACCOUNTS: &str = "64";
/// The requests in flight over REST, and of the door beside it.
const REST_CONCURRENCY: &str = "64";

/// How much is measured.
pub struct Options {
    /// The time of one measurement, in seconds.
    pub seconds: u64,
    /// Runs; the table shows medians.
    pub runs: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { seconds: 3, runs: 3 }
    }
}

/// A load on the router, and the ways of the floor to compare it with.
struct Comparison {
    title: &'static str,
    syncs_always: bool,
    door: &'static str,
    concurrency: &'static str,
    /// Compares the median latency instead of the throughput.
    by_latency: bool,
    /// The ways, each with the ratio to reach.
    floors: &'static [(Way, &'static str)],
}

const COMPARISONS: &[Comparison] = &[
    Comparison {
        title: "request door, 1 at a time, p50",
        syncs_always: false,
        door: "request",
        concurrency: "1",
        by_latency: true,
        floors: &[(Way::Direct, "<= 1.0, at the worst 1.25")],
    },
    Comparison {
        title: "request door, 256 at a time",
        syncs_always: false,
        door: "request",
        concurrency: "256",
        by_latency: false,
        floors: &[(Way::Group, ">= 0.55"), (Way::Direct, "> 1.0")],
    },
    Comparison {
        title: "request door, sync always, 256 at a time",
        syncs_always: true,
        door: "request",
        concurrency: "256",
        by_latency: false,
        floors: &[(Way::Group, ">= 0.6"), (Way::Direct, "> 1.5")],
    },
    Comparison {
        title: "durable door, 256 at a time",
        syncs_always: false,
        door: "durable",
        concurrency: "256",
        by_latency: false,
        floors: &[(Way::Durable, ">= 1.0")],
    },
];

/// The floors of a comparison, in its order, and the router beside them.
struct Run {
    floors: Vec<Measured>,
    router: Measured,
}

/// Measures every comparison and prints the table.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let runs = options.runs.max(1);
    let (mut memory, mut environment) = (Vec::new(), serde_json::Value::Null);
    print_head();
    for comparison in COMPARISONS {
        let mut measured = Vec::new();
        for _ in 0..runs {
            measured.push(measure(comparison, options.seconds).await?);
        }
        print_rows(comparison, &measured);
        print_journal_entries(comparison, &measured);
        if comparison.concurrency == "256" && comparison.door == "request" && !comparison.syncs_always {
            memory = measured.iter().flat_map(|run| run.router.processes.clone()).collect();
        }
        environment = measured
            .pop()
            .map_or(serde_json::Value::Null, |run| run.router.environment);
    }
    let mut rest = Vec::new();
    for _ in 0..runs {
        rest.push(measure_rest(options.seconds).await?);
    }
    let throughput = |(door, rest): &(Measured, Measured)| (door.throughput_per_s, rest.throughput_per_s);
    let row = Row {
        measure: "REST POST /orders, 64 connections",
        floor_name: "request door",
        unit: "/s",
        runs: rest.iter().map(throughput).collect(),
        target: ">= 0.5",
    };
    row.print();
    print_memory(&memory);
    pure_parts::print()?;
    println!("\n{environment}");
    Ok(())
}

fn print_rows(comparison: &Comparison, runs: &[Run]) {
    let value = |measured: &Measured| {
        if comparison.by_latency {
            measured.p50_us
        } else {
            measured.throughput_per_s
        }
    };
    for (index, (way, target)) in comparison.floors.iter().enumerate() {
        let pair = |run: &Run| (run.floors.get(index).map_or(0, value), value(&run.router));
        let row = Row {
            measure: comparison.title,
            floor_name: way.name(),
            unit: if comparison.by_latency { " us" } else { "/s" },
            runs: runs.iter().map(pair).collect(),
            target,
        };
        row.print();
    }
}

/// Prints how many entries the journal took: an order that fills in parts has several.
fn print_journal_entries(comparison: &Comparison, runs: &[Run]) {
    if comparison.by_latency {
        return;
    }
    let entries = |run: &Run| run.router.journal_entries_per_s.map(|entries| (0, entries));
    let row = Row {
        measure: "  its journal entries",
        floor_name: "",
        unit: "/s",
        runs: runs.iter().filter_map(entries).collect(),
        target: "",
    };
    row.print();
}

fn print_memory(processes: &[MeasuredProcess]) {
    let worker = || processes.iter().filter(|process| process.name == "worker");
    let row = |measure, value: fn(&MeasuredProcess) -> u64, unit, target| Row {
        measure,
        floor_name: "",
        unit,
        runs: worker().map(|process| (0, value(process))).collect(),
        target,
    };
    let (mib, percent) = (" MiB", " %");
    row("worker memory at rest", |one| one.rest_kib / 1_024, mib, "<= 30 MB").print();
    row(
        "worker memory, peak at 256 in flight",
        |one| one.peak_kib / 1_024,
        mib,
        "<= 80 MB",
    )
    .print();
    row(
        "worker processor time at 256 in flight",
        |one| one.cpu_percent,
        percent,
        "",
    )
    .print();
}

/// Measures the ways of the floor, then the router, on the same servers.
async fn measure(comparison: &Comparison, seconds: u64) -> anyhow::Result<Run> {
    let servers = Servers::start(comparison.syncs_always).await?;
    let (addresses, seconds) = (&servers.addresses, seconds.to_string());
    let (concurrency, mut floors) = (comparison.concurrency, Vec::new());
    for (way, _) in comparison.floors {
        let worker = start_floor_worker(addresses, comparison.syncs_always && *way == Way::Group).await?;
        let mut load = Command::new(std::env::current_exe()?);
        load.args(["load", &addresses.nats, way.name(), concurrency, &seconds]);
        floors.push(read_measured(load).await?);
        drop(worker);
    }
    let worker = start_worker(addresses, comparison.syncs_always).await?;
    let mut load = router_load(addresses, comparison.door, concurrency, &seconds);
    load.args(["--process", &format!("worker={}", worker.id())]);
    let router = read_checked(load, comparison.title).await?;
    drop(worker);
    Ok(Run { floors, router })
}

/// Measures the request door, then REST, on the same servers and the same worker.
async fn measure_rest(seconds: u64) -> anyhow::Result<(Measured, Measured)> {
    let servers = Servers::start(false).await?;
    let (addresses, seconds) = (&servers.addresses, seconds.to_string());
    let _worker = start_worker(addresses, false).await?;
    let door = router_load(addresses, "request", REST_CONCURRENCY, &seconds);
    let door = read_checked(door, "request door beside REST").await?;
    let directory = tempfile::tempdir()?;
    let sidecar = start_sidecar(addresses, directory.path()).await?;
    let mut rest = router_load(addresses, "rest", REST_CONCURRENCY, &seconds);
    rest.args(["--http-addr", sidecar.announced.trim()]);
    Ok((door, read_checked(rest, "REST").await?))
}

fn router_load(addresses: &Addresses, door: &str, concurrency: &str, seconds: &str) -> Command {
    let mut load = router::command(addresses);
    load.args(["bench", "--json", "--door", door, "--concurrency", concurrency]);
    load.args(["--seconds", seconds, "--accounts", ACCOUNTS]);
    load
}

async fn read_checked(load: Command, title: &str) -> anyhow::Result<Measured> {
    let measured = read_measured(load).await?;
    let errors = measured.errors;
    ensure!(errors == 0, "{title}: {errors} orders were not executed");
    Ok(measured)
}

async fn start_floor_worker(addresses: &Addresses, appends_atomic: bool) -> anyhow::Result<Process> {
    let appends = if appends_atomic { "atomic" } else { "pipelined" };
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["worker", &addresses.nats, &addresses.redis, appends]);
    Process::start(command, "ready").await
}
