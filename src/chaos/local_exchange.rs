//! The local exchange of a run with live orders: `order-router venue`, with faults of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use crate::chaos::child::ChildProcess;
use crate::chaos::options::ChaosPrograms;
use crate::chaos::rest_caller::RestCaller;
use crate::chaos::venue_faults::{VenueFaultCounts, venue_faults};
use crate::config::private_files::open_private_file;

/// The API key that the exchange accepts, and its secret.
const KEY: (&str, &str) = ("chaos-key", "chaos-secret");
/// Rates that no run reaches.
const UNREACHED_RATE: &str = "1000000000";
/// What the account begins with.
const BALANCES: &[&str] = &["USDT=1000000000", "BTC=10000", "ETH=100000"];

/// How long the list of its faults may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// The local exchange; its data outlive its processes.
#[derive(Debug)]
pub(in crate::chaos) struct LocalExchange {
    address: SocketAddr,
    seed: u64,
    directory: PathBuf,
    key_file: PathBuf,
    process: Option<ChildProcess>,
    /// The share of its requests and events that faults meet, in percent.
    fault_percent: Option<u8>,
    /// The faults of its processes that have ended.
    ended_faults: VenueFaultCounts,
}

impl LocalExchange {
    /// Returns an exchange that is not started yet.
    ///
    /// # Errors
    /// When the file of its API key cannot be written.
    pub(in crate::chaos) fn new(
        address: SocketAddr,
        (seed, fault_percent): (u64, Option<u8>),
        parent: &Path,
    ) -> anyhow::Result<Self> {
        let key_file = parent.join("venue-key.toml");
        let text = format!("api_key = \"{}\"\nsecret = \"{}\"\n", KEY.0, KEY.1);
        open_private_file(&key_file)
            .and_then(|_| std::fs::write(&key_file, text))
            .with_context(|| format!("writing {}", key_file.display()))?;
        Ok(Self {
            address,
            seed,
            directory: parent.join("venue"),
            key_file,
            process: None,
            fault_percent,
            ended_faults: VenueFaultCounts::default(),
        })
    }

    /// Returns the address that it listens on.
    pub(in crate::chaos) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the file with the API key.
    pub(in crate::chaos) fn key_file(&self) -> &Path {
        &self.key_file
    }

    /// Kills it; the faults that it has counted are kept.
    ///
    /// # Errors
    /// When it does not list its faults, or does not end.
    pub(in crate::chaos) async fn kill(&mut self) -> anyhow::Result<()> {
        self.ended_faults = self.faults().await?;
        self.process()?.kill().await
    }

    /// Returns the faults of all its processes.
    ///
    /// # Errors
    /// When it does not list them.
    pub(in crate::chaos) async fn faults(&self) -> anyhow::Result<VenueFaultCounts> {
        let reply = RestCaller::new(self.address).get("/control/faults", LIST_TIMEOUT).await;
        let reply = reply.map_err(|failure| anyhow::anyhow!("{failure:?}"));
        let reply = reply.context("reading the faults of the local exchange")?;
        let listed = serde_json::from_slice(&reply.body).context("decoding the faults of the local exchange")?;
        let mut faults = self.ended_faults.clone();
        faults.add(listed);
        Ok(faults)
    }

    fn process(&mut self) -> anyhow::Result<&mut ChildProcess> {
        self.process.as_mut().context("the local exchange was not started")
    }

    /// Starts it and does not wait until it is ready.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(in crate::chaos) fn start(&mut self, programs: &ChaosPrograms, logs: &Path) -> anyhow::Result<()> {
        let mut command = (programs.command)(&programs.router);
        command.args(["venue", "--market-maker", "--addr", &self.address.to_string()]);
        command.arg("--data-dir").arg(&self.directory);
        command.args(["--key", &format!("{}:{}", KEY.0, KEY.1)]);
        command.args(["--seed", &self.seed.to_string()]);
        command.args(["--faults", &venue_faults(self.fault_percent)]);
        for rate in ["--weight-limit", "--orders-per-10s", "--orders-per-day"] {
            command.args([rate, UNREACHED_RATE]);
        }
        for balance in BALANCES {
            command.args(["--balance", balance]);
        }
        self.process = Some(ChildProcess::start("venue", command, logs)?);
        Ok(())
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// When it ends before, or is not ready within the limit.
    pub(in crate::chaos) async fn wait_until_ready(&mut self, limit: Duration) -> anyhow::Result<()> {
        self.process()?.wait_for_line("ready http=", limit).await.map(drop)
    }
}
