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

/// A row of the table.
struct Row {
    title: &'static str,
    syncs_always: bool,
    door: &'static str,
    concurrency: &'static str,
    floor: Way,
    compares_latency: bool,
    target: &'static str,
}

const ROWS: &[Row] = &[
    row(
        "request door, 1 at a time, p50",
        false,
        "request",
        "1",
        Way::Direct,
        true,
        "<= 1.25",
    ),
    row(
        "request door, 256 at a time, against group",
        false,
        "request",
        "256",
        Way::Group,
        false,
        ">= 0.55",
    ),
    row(
        "request door, 256 at a time, against direct",
        false,
        "request",
        "256",
        Way::Direct,
        false,
        "> 1.0",
    ),
    row(
        "durable door, 256 at a time",
        false,
        "durable",
        "256",
        Way::Durable,
        false,
        ">= 1.0",
    ),
    row(
        "sync always, 256 at a time, against group",
        true,
        "request",
        "256",
        Way::Group,
        false,
        ">= 0.6",
    ),
    row(
        "sync always, 256 at a time, against direct",
        true,
        "request",
        "256",
        Way::Direct,
        false,
        "> 1.5",
    ),
];

const fn row(
    title: &'static str,
    syncs_always: bool,
    door: &'static str,
    concurrency: &'static str,
    floor: Way,
    compares_latency: bool,
    target: &'static str,
) -> Row {
    Row {
        title,
        syncs_always,
        door,
        concurrency,
        floor,
        compares_latency,
        target,
    }
}

/// Measures every row and prints the table.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    println!(
        "{:<46} {:>12} {:>12} {:>7}  target",
        "measure", "floor", "router", "ratio"
    );
    for row in ROWS {
        let mut pairs = Vec::new();
        for _ in 0..options.runs.max(1) {
            pairs.push(measure_pair(row, options.seconds).await?);
        }
        let value = |measured: &Measured| {
            if row.compares_latency {
                measured.p50_us
            } else {
                measured.throughput_per_s
            }
        };
        let unit = if row.compares_latency { "us" } else { "/s" };
        let floor = median(pairs.iter().map(|(floor, _)| value(floor)).collect());
        let router = median(pairs.iter().map(|(_, router)| value(router)).collect());
        let ratio = median(
            pairs
                .iter()
                .map(|(floor, router)| value(router) * 1_000 / value(floor).max(1))
                .collect(),
        );
        println!(
            "{:<46} {floor:>10}{unit} {router:>10}{unit} {:>3}.{:03}  {}",
            row.title,
            ratio / 1_000,
            ratio % 1_000,
            row.target
        );
    }
    Ok(())
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}

/// Measures the floor, then the router, on servers of their own.
async fn measure_pair(row: &Row, seconds: u64) -> anyhow::Result<(Measured, Measured)> {
    let servers = Servers::start(row.syncs_always).await?;
    let (addresses, seconds) = (&servers.addresses, seconds.to_string());
    let floor_worker = start_floor_worker(addresses, row.syncs_always && row.floor == Way::Group).await?;
    let mut load = Command::new(std::env::current_exe()?);
    load.args(["load", &addresses.nats, row.floor.name(), row.concurrency, &seconds]);
    let floor = read_measured(load).await?;
    drop(floor_worker);
    let router_worker = start_router_worker(addresses, row.syncs_always).await?;
    let mut load = router_command(addresses);
    load.args([
        "bench",
        "--json",
        "--door",
        row.door,
        "--concurrency",
        row.concurrency,
        "--seconds",
        &seconds,
    ]);
    load.args(["--accounts", ACCOUNTS]);
    let router = read_measured(load).await?;
    drop(router_worker);
    ensure!(
        router.errors == 0,
        "{}: {} orders were not executed",
        row.title,
        router.errors
    );
    Ok((floor, router))
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
