//! The router beside the floor, on the same servers in the same run; medians over all runs, as ratios.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::servers::Servers;
use crate::{Addresses, Way};

/// How long a worker may take to be ready, and a load beyond its own time.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// The accounts of the router's load.
const ACCOUNTS: &str = "64";
/// High enough that the load meets no limit.
const LIMITS: [(&str, &str); 3] = [
    ("ORDER_ROUTER_RISK_DAILY_NOTIONAL_LIMIT", "9000000000"),
    ("ORDER_ROUTER_RISK_ORDERS_PER_SECOND_AND_ACCOUNT", "1000000"),
    ("ORDER_ROUTER_RISK_ORDERS_PER_SECOND_AND_BROKER", "1000000"),
];

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

/// What one load measured. Both loads print these fields.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Measured {
    throughput_per_s: u64,
    p50_us: u64,
    #[serde(default)]
    errors: u64,
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
        floors: &[(Way::Direct, "<= 1.25")],
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
        title: "durable door, 256 at a time",
        syncs_always: false,
        door: "durable",
        concurrency: "256",
        by_latency: false,
        floors: &[(Way::Durable, ">= 1.0")],
    },
    Comparison {
        title: "request door, sync always, 256 at a time",
        syncs_always: true,
        door: "request",
        concurrency: "256",
        by_latency: false,
        floors: &[(Way::Group, ">= 0.6"), (Way::Direct, "> 1.5")],
    },
];

/// The floors of a comparison, in its order, and the router beside them.
struct Run {
    floors: Vec<Measured>,
    router: Measured,
}

/// Measures every comparison and prints the table.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    println!(
        "{:<42} {:<8} {:>12} {:>12} {:>7}  target",
        "measure", "floor", "floor", "router", "ratio"
    );
    for comparison in COMPARISONS {
        let mut runs = Vec::new();
        for _ in 0..options.runs.max(1) {
            runs.push(measure(comparison, options.seconds).await?);
        }
        for (index, (way, target)) in comparison.floors.iter().enumerate() {
            print_row(comparison, &runs, index, *way, target);
        }
    }
    Ok(())
}

fn print_row(comparison: &Comparison, runs: &[Run], index: usize, way: Way, target: &str) {
    let (by_latency, unit) = (comparison.by_latency, if comparison.by_latency { "us" } else { "/s" });
    let value = |measured: &Measured| {
        if by_latency {
            measured.p50_us
        } else {
            measured.throughput_per_s
        }
    };
    let floor = |run: &Run| run.floors.get(index).map_or(0, value);
    let ratio = median(runs.iter().map(|run| value(&run.router) * 1_000 / floor(run).max(1)));
    println!(
        "{:<42} {:<8} {:>10}{unit} {:>10}{unit} {:>3}.{:03}  {target}",
        comparison.title,
        way.name(),
        median(runs.iter().map(floor)),
        median(runs.iter().map(|run| value(&run.router))),
        ratio / 1_000,
        ratio % 1_000,
    );
}

fn median(values: impl Iterator<Item = u64>) -> u64 {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
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
    let worker = start_router_worker(addresses, comparison.syncs_always).await?;
    let mut load = router_command(addresses);
    load.args([
        "bench",
        "--json",
        "--door",
        comparison.door,
        "--concurrency",
        concurrency,
    ]);
    load.args(["--seconds", &seconds, "--accounts", ACCOUNTS]);
    let router = read_measured(load).await?;
    drop(worker);
    let (title, errors) = (comparison.title, router.errors);
    ensure!(errors == 0, "{title}: {errors} orders were not executed");
    Ok(Run { floors, router })
}

fn router_command(addresses: &Addresses) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_order-router"));
    command.env("ORDER_ROUTER_NATS_URL", &addresses.nats);
    command.env("ORDER_ROUTER_REDIS_URL", &addresses.redis);
    command
}

async fn start_floor_worker(addresses: &Addresses, appends_atomic: bool) -> anyhow::Result<Child> {
    let appends = if appends_atomic { "atomic" } else { "pipelined" };
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["worker", &addresses.nats, &addresses.redis, appends]);
    start_until_ready(command).await
}

async fn start_router_worker(addresses: &Addresses, syncs_always: bool) -> anyhow::Result<Child> {
    let mut command = router_command(addresses);
    command.arg("worker").envs(LIMITS);
    command.env(
        "ORDER_ROUTER_JOURNAL_APPEND",
        if syncs_always { "atomic" } else { "pipelined" },
    );
    start_until_ready(command).await
}

/// Starts a process and returns once it has printed a line that begins with `ready`.
async fn start_until_ready(mut command: Command) -> anyhow::Result<Child> {
    command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().context("starting a worker")?;
    let output = child.stdout.take().context("the worker's output")?;
    let mut lines = BufReader::new(output).lines();
    let ready = async {
        while let Some(line) = lines.next_line().await? {
            if line.starts_with("ready") {
                return Ok(());
            }
        }
        anyhow::bail!("the worker ended before it was ready")
    };
    timeout(START_TIMEOUT, ready)
        .await
        .context("the worker is not ready in time")??;
    // The process may print more; its pipe must not fill up.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    Ok(child)
}

async fn read_measured(mut command: Command) -> anyhow::Result<Measured> {
    let output = command.stderr(Stdio::inherit()).kill_on_drop(true).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text
        .lines()
        .rfind(|line| line.starts_with('{'))
        .context("a load printed no measurements")?;
    serde_json::from_str(line).with_context(|| format!("a load's measurements: {line}"))
}
