//! `dev`: everything on this machine, with servers of its own.
//!
//! The servers and further workers are children in process groups of their own, so that Ctrl-C reaches this process only
//! and the order of the end is ours: workers, sidecar, servers.

pub(crate) mod child_process;
pub(crate) mod data_directory;
pub(in crate::cli) mod program_path;
pub(in crate::cli) mod readiness;
pub(crate) mod servers;
pub(crate) mod workers;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::arguments::global::{CommandKind, GlobalOptions, SettingFlag, setting_flag};
use crate::cli::commands::dev::data_directory::DevDataDirectory;
use crate::cli::commands::dev::servers::{DevServers, ServerAddresses};
use crate::cli::commands::dev::workers::WorkerProcesses;
use crate::cli::error::{CommandError, CommandResult, error_with_reason};
use crate::cli::output;
use crate::cli::process::services;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::config::Settings;
use crate::sidecar::Sidecar;
use crate::telemetry::Telemetry;
use crate::worker::Worker;

/// The most worker processes on one machine.
const MAX_WORKERS: i64 = 64;

/// How long draining is tried after a server has ended by itself.
const GRACE_AFTER_SERVER_EXIT: Duration = Duration::from_secs(5);

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Where the servers keep their data; a later `dev` goes on with them.
    #[arg(long, env = "ORDER_ROUTER_DATA_DIR", value_name = "DIR", default_value = ".data")]
    data_dir: PathBuf,
    /// Where REST listens; port 0 takes a free one [default: 127.0.0.1:8100, env: ORDER_ROUTER_HTTP_ADDR].
    #[arg(long, value_name = "ADDRESS")]
    http_addr: Option<SocketAddr>,
    /// The port of NATS on 127.0.0.1; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 4222)]
    nats_port: u16,
    /// The port of Redis on 127.0.0.1; 0 takes a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    redis_port: u16,
    /// Worker processes; this process is the first of them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=MAX_WORKERS))]
    workers: u16,
    /// When the journal is on the disk.
    #[arg(long, value_enum, default_value_t = JournalSync::Always)]
    sync: JournalSync,
}

/// JetStream's `sync_interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum JournalSync {
    /// Before each acknowledgement: a power cut loses nothing that was told.
    Always,
    /// Every two minutes, as the server does by default: faster, and a power cut loses what was told since.
    Default,
}

impl JournalSync {
    /// Returns the way of appending that suits it.
    pub(crate) fn append_setting_flag(self) -> SettingFlag {
        let append = match self {
            Self::Always => "atomic",
            Self::Default => "pipelined",
        };
        setting_flag("journal.append", append)
    }
}

/// Starts everything, runs until a signal comes or a server ends, and stops everything in order.
///
/// # Errors
/// When something does not start, or a server ends by itself; on a second signal.
pub(crate) async fn run(args: DevArgs, options: &GlobalOptions) -> CommandResult {
    let mut flags = vec![
        args.sync.append_setting_flag(),
        setting_flag("data_dir", args.data_dir.display()),
    ];
    flags.extend(args.http_addr.map(|address| setting_flag("http.addr", address)));
    let mut settings = load_dev_settings(options, &mut flags, None)?;
    options.start_log(&settings, CommandKind::Daemon);
    let mut signals = ShutdownSignals::listen()?;
    let directory = signals
        .unless_interrupted(DevDataDirectory::open(&args.data_dir))
        .await??;
    ensure_address_free("REST", settings.http.addr, "--http-addr 127.0.0.1:0")?;
    let ports = ServerAddresses::resolve(args.nats_port, args.redis_port)?;
    let mut servers = DevServers::new(directory, ports, args.sync).await?;
    let started = signals
        .unless_interrupted(servers.start())
        .await
        .and_then(|started| Ok(started?));
    let ended = match started {
        Ok(()) => {
            settings = self::load_dev_settings(options, &mut flags, Some(&servers))?;
            let mut workers = WorkerProcesses::new(
                2..=args.workers,
                options,
                &flags,
                settings.metrics.addr,
                servers.directory(),
            )
            .await?;
            serve_until_stopped(&settings, &mut servers, &mut workers, &mut signals).await
        }
        Err(failure) => Err(failure),
    };
    match ended {
        Err(CommandError::Interrupted) => servers.request_stop().await,
        _ => signals.unless_interrupted(servers.stop()).await?,
    }
    ended
}

/// Adds what only the user and the servers know to the flags, and reads the settings.
fn load_dev_settings(
    options: &GlobalOptions,
    flags: &mut Vec<SettingFlag>,
    servers: Option<&DevServers>,
) -> Result<Settings, CommandError> {
    if let Some(name) = options.server_flag() {
        let text = format!("{name} does not go with `dev`, which starts servers of its own; see `order-router run`");
        return Err(CommandError::Usage(text));
    }
    match servers {
        None => flags.extend(options.setting_flags()),
        Some(servers) => flags.extend(servers.setting_flags()),
    }
    options.load_settings(flags)
}

/// Runs the router's parts on the servers until a signal comes or a server ends.
async fn serve_until_stopped(
    settings: &Settings,
    servers: &mut DevServers,
    workers: &mut WorkerProcesses,
    signals: &mut ShutdownSignals,
) -> CommandResult {
    let (worker, sidecar) = tokio::select! {
        started = signals.unless_interrupted(start_parts(settings, workers)) => started??,
        death = servers.wait_for_unexpected_exit() => return Err(death.into()),
    };
    let ready = format!("ready http=http://{} {}", sidecar.address(), servers.ready_line_urls());
    let death = match output::print_line(ready) {
        Err(error) => Some(error),
        Ok(()) => tokio::select! {
            name = signals.next_signal() => {
                tracing::info!(signal = name, "draining; a second signal ends at once");
                None
            }
            death = servers.wait_for_unexpected_exit() => {
                tracing::error!(%death, "draining what can still be drained");
                Some(death)
            }
            never = workers.supervise() => match never {},
        },
    };
    let drained = async {
        tokio::join!(worker.drain(services::WORKER_GRACE), workers.drain());
        sidecar.drain(services::SIDECAR_GRACE).await;
    };
    match death {
        None => signals.unless_interrupted(drained).await,
        Some(death) => {
            // What waits for the dead server would wait in vain.
            let limited = tokio::time::timeout(GRACE_AFTER_SERVER_EXIT, drained);
            if signals.unless_interrupted(limited).await?.is_err() {
                tracing::warn!("not everything could be drained");
            }
            Err(death.into())
        }
    }
}

async fn start_parts(settings: &Settings, workers: &mut WorkerProcesses) -> anyhow::Result<(Worker, Sidecar)> {
    // The first worker applies the topology and heals the store; the others find both done.
    let telemetry = Telemetry::new();
    let worker = services::start_worker(settings, &telemetry).await?;
    let sidecar = services::start_sidecar(settings, &telemetry).await?;
    workers.start().await?;
    Ok((worker, sidecar))
}

/// Refuses an address that somebody else listens on.
pub(crate) fn ensure_address_free(what: &str, address: SocketAddr, remedy: &str) -> anyhow::Result<()> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => {
            let reason = format!("{error}; end what listens there, or choose another with {remedy}");
            Err(error_with_reason(format!("{what} cannot listen on {address}"), reason))
        }
    }
}

/// Returns an address on this machine's loopback interface.
pub(crate) fn loopback_address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}
