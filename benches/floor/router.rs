//! The router's processes, and the load on them.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::servers::Addresses;

/// How long a process may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The beginning of the line that a sidecar prints once it is ready.
const SIDECAR_READY: &str = "ready http=http://";
/// Limits so high that the load meets none, and rests that fill within a run.
const LIMITS: [(&str, &str); 5] = [
    ("ORDER_ROUTER_BROKERS_PAPER_IBKR_REST_FILL", "500ms"),
    ("ORDER_ROUTER_RISK_DAILY_NOTIONAL_LIMIT", "9000000000"),
    ("ORDER_ROUTER_RISK_ORDERS_PER_SECOND_AND_ACCOUNT", "1000000"),
    ("ORDER_ROUTER_RISK_ORDERS_PER_SECOND_AND_BROKER", "1000000"),
    ("ORDER_ROUTER_HTTP_MAX_IN_FLIGHT", "32768"),
];

/// What one load measured. The loads of the floor and of the router print these fields.
#[derive(Debug, Clone, Deserialize)]
pub struct Measured {
    pub throughput_per_s: u64,
    pub p50_us: u64,
    #[serde(default)]
    #[allow(dead_code, reason = "only one of the two programs that share this file prints it")]
    pub p99_us: u64,
    #[serde(default)]
    pub errors: u64,
    #[serde(default)]
    pub journal_entries_per_s: Option<u64>,
    #[serde(default)]
    pub processes: Vec<MeasuredProcess>,
    #[serde(default)]
    pub environment: serde_json::Value,
}

/// The memory of one process of the router.
#[derive(Debug, Clone, Deserialize)]
pub struct MeasuredProcess {
    pub name: String,
    pub cpu_percent: u64,
    pub rest_kib: u64,
    pub peak_kib: u64,
}

/// A started process, killed when it is dropped.
pub struct Process {
    child: Child,
    /// What its ready line says after the expected beginning.
    pub announced: String,
}

impl Process {
    /// Starts a process and returns once it has printed a line with this beginning.
    pub async fn start(mut command: Command, ready: &str) -> anyhow::Result<Self> {
        command.stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().context("starting a process")?;
        let output = child.stdout.take().context("the output of a process")?;
        let mut lines = BufReader::new(output).lines();
        let announced = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(rest) = line.strip_prefix(ready) {
                    return Ok(rest.to_owned());
                }
            }
            anyhow::bail!("the process ended before it was ready")
        };
        let announced = timeout(START_TIMEOUT, announced)
            .await
            .context("the process is not ready in time")??;
        // The process may print more; its pipe must not fill up.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { child, announced })
    }

    /// Returns the process' id.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }
}

/// Returns a command of the router against these servers, with limits that no load meets.
pub fn command(addresses: &Addresses) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_order-router"));
    command.env("ORDER_ROUTER_NATS_URL", &addresses.nats);
    command.env("ORDER_ROUTER_REDIS_URL", &addresses.redis);
    command.envs(LIMITS);
    command
}

/// Starts a worker.
pub async fn start_worker(addresses: &Addresses, syncs_always: bool) -> anyhow::Result<Process> {
    let mut command = command(addresses);
    command.arg("worker").env(
        "ORDER_ROUTER_JOURNAL_APPEND",
        if syncs_always { "atomic" } else { "pipelined" },
    );
    Process::start(command, "ready").await
}

/// Starts a sidecar that keeps its order log in this directory; it announces its address.
pub async fn start_sidecar(addresses: &Addresses, directory: &Path) -> anyhow::Result<Process> {
    let mut command = command(addresses);
    command
        .arg("sidecar")
        .env("ORDER_ROUTER_HTTP_ADDR", "127.0.0.1:0")
        .env("ORDER_ROUTER_DATA_DIR", directory);
    Process::start(command, SIDECAR_READY).await
}

/// Runs a load to its end and returns what it measured.
pub async fn read_measured(mut command: Command) -> anyhow::Result<Measured> {
    let output = command.stderr(Stdio::inherit()).kill_on_drop(true).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text
        .lines()
        .rfind(|line| line.starts_with('{'))
        .context("a load printed no measurements")?;
    serde_json::from_str(line).with_context(|| format!("a load's measurements: {line}"))
}
