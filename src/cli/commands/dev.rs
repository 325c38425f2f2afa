//! `dev`: runs everything on this machine, with servers of its own.
//!
//! The servers and further workers are children in process groups of their own. So Ctrl-C reaches this process only, and
//! it stops workers, sidecar and servers in this order.

pub(in crate::cli) mod addresses;
pub(crate) mod child_process;
pub(crate) mod data_directory;
pub(in crate::cli) mod journal_sync;
pub(in crate::cli) mod program_path;
pub(in crate::cli) mod readiness;
pub(crate) mod servers;
mod venue;
pub(crate) mod workers;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::cli::arguments::global::{CommandKind, GlobalOptions, SettingFlag, setting_flag};
use crate::cli::commands::dev::addresses::{ServerAddresses, ensure_host_free};
use crate::cli::commands::dev::data_directory::DevDataDirectory;
use crate::cli::commands::dev::journal_sync::JournalSync;
use crate::cli::commands::dev::servers::DevServers;
use crate::cli::commands::dev::venue::DevVenue;
use crate::cli::commands::dev::workers::{MAX_WORKERS, WorkerProcesses};
use crate::cli::commands::topology;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::output;
use crate::cli::process::services;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::config::Settings;
use crate::config::listen_address::ListenAddress;
use crate::sidecar::Sidecar;
use crate::telemetry::Telemetry;
use crate::worker::{OwnLimits, Worker};

/// How long draining may take after a server has exited unexpectedly.
const GRACE_AFTER_SERVER_EXIT: Duration = Duration::from_secs(5);

/// The actor of a change of limits that `dev` finds in its settings.
const LIMITS_ACTOR: &str = "order-router dev";
/// The reason of such a change.
const LIMITS_REASON: &str = "the settings at its start";

/// Arguments of `dev`.
#[derive(Debug, Args)]
pub(crate) struct DevArgs {
    /// Keep the servers' data in this directory; a later `dev` continues with it.
    #[arg(long, env = "ORDER_ROUTER_DATA_DIR", value_name = "DIR", default_value = ".data")]
    data_dir: PathBuf,
    /// Serve REST on this address; port 0 chooses a free one [default: 127.0.0.1:8100, env: ORDER_ROUTER_HTTP_ADDR].
    #[arg(long, value_name = "ADDRESS")]
    http_addr: Option<ListenAddress>,
    /// The port of NATS on 127.0.0.1; 0 chooses a free one.
    #[arg(long, value_name = "PORT", default_value_t = 4222)]
    nats_port: u16,
    /// The port of Redis on 127.0.0.1; 0 chooses a free one.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    redis_port: u16,
    /// Run this many worker processes, 1 to 64; this process is the first.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=MAX_WORKERS))]
    workers: u16,
    /// When the journal is synced to disk.
    #[arg(long, value_enum, default_value_t = JournalSync::Always)]
    sync: JournalSync,
    /// Start a local exchange, too, and let the account `default` trade there while the mode is live.
    #[arg(long)]
    with_venue: bool,
}

/// Starts everything, runs until a signal comes or a server exits, and stops everything in order.
///
/// # Errors
/// When a part cannot start, or a server exits unexpectedly; on a second signal.
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
    ensure_host_free("REST", &settings.http.addr, "--http-addr 127.0.0.1:0").await?;
    let addresses = ServerAddresses::resolve(args.nats_port, args.redis_port)?;
    let venue = match args.with_venue {
        true => Some(DevVenue::prepare(&settings, &directory)?),
        false => None,
    };
    let mut servers = DevServers::new(directory, addresses, args.sync, venue).await?;
    let started = signals
        .unless_interrupted(servers.start())
        .await
        .and_then(|started| Ok(started?));
    let ended = match started {
        Ok(()) => {
            settings = load_dev_settings(options, &mut flags, Some(&servers))?;
            let mut workers = WorkerProcesses::new(
                2..=args.workers,
                options,
                &flags,
                settings.metrics.addr.clone(),
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

/// Adds the user's flags, or those of the servers once they are known, and loads the settings.
fn load_dev_settings(
    options: &GlobalOptions,
    flags: &mut Vec<SettingFlag>,
    servers: Option<&DevServers>,
) -> Result<Settings, CommandError> {
    if let Some(name) = options.server_flag() {
        let text = format!("{name} cannot be used with `dev`, which starts servers of its own: use `order-router run`");
        return Err(CommandError::Usage(text));
    }
    match servers {
        None => flags.extend(options.setting_flags()),
        Some(servers) => flags.extend(servers.setting_flags()),
    }
    options.load_settings(flags)
}

/// Runs worker and sidecar against the servers until a signal comes or a server exits.
async fn serve_until_stopped(
    settings: &Settings,
    servers: &mut DevServers,
    workers: &mut WorkerProcesses,
    signals: &mut ShutdownSignals,
) -> CommandResult {
    let telemetry = services::start_telemetry(settings)?;
    let (worker, sidecar) = tokio::select! {
        started = signals.unless_interrupted(start_services(settings, &telemetry, workers)) => started??,
        exit_error = servers.wait_for_unexpected_exit() => return Err(exit_error.into()),
    };
    let ready = format!("ready http=http://{} {}", sidecar.address(), servers.ready_line_urls());
    let exit_error = match output::print_line(ready) {
        Err(error) => Some(error),
        Ok(()) => tokio::select! {
            name = signals.next_signal() => {
                tracing::info!(signal = name, "draining; a second signal exits at once");
                None
            }
            exit_error = servers.wait_for_unexpected_exit() => {
                tracing::error!(error = %exit_error, "a server exited: draining without it");
                Some(exit_error)
            }
            never = workers.supervise() => match never {},
        },
    };
    let drained = async {
        tokio::join!(worker.drain(services::WORKER_GRACE), workers.drain());
        sidecar.drain(services::SIDECAR_GRACE).await;
        telemetry.finish_spans(services::SPANS_GRACE).await;
    };
    match exit_error {
        None => signals.unless_interrupted(drained).await,
        Some(exit_error) => {
            // A request to the server that exited never returns.
            let limited = tokio::time::timeout(GRACE_AFTER_SERVER_EXIT, drained);
            if signals.unless_interrupted(limited).await?.is_err() {
                tracing::warn!("the drain did not finish in time; orders in flight are recovered at the next start");
            }
            Err(exit_error.into())
        }
    }
}

async fn start_services(
    settings: &Settings,
    telemetry: &Telemetry,
    workers: &mut WorkerProcesses,
) -> anyhow::Result<(Worker, Sidecar)> {
    // The first worker rebuilds the store; the others find it complete.
    topology::apply_settings(settings, "order-router dev").await?;
    // A router of this machine alone enforces the settings of its start.
    let own_limits = OwnLimits::Apply {
        actor: LIMITS_ACTOR.to_owned(),
        reason: LIMITS_REASON.to_owned(),
    };
    let worker = services::start_worker(settings, telemetry, own_limits).await?;
    let sidecar = services::start_sidecar(settings, telemetry).await?;
    workers.start().await?;
    Ok((worker, sidecar))
}
