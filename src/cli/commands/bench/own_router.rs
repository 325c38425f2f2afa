//! The router of `bench --dev`: servers, workers and, for REST, a sidecar, each a process of its own, so that the load
//! shares only the processors with them.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;

use crate::bench::LoadDoor;
use crate::cli::arguments::global::{CommandKind, GlobalOptions, SettingFlag, setting_flag};
use crate::cli::commands::bench::{BenchArgs, BenchTarget, measure_and_print};
use crate::cli::commands::dev::addresses::ServerAddresses;
use crate::cli::commands::dev::child_process;
use crate::cli::commands::dev::child_process::ChildBinder;
use crate::cli::commands::dev::data_directory::DevDataDirectory;
use crate::cli::commands::dev::journal_sync::JournalSync;
use crate::cli::commands::dev::servers::DevServers;
use crate::cli::commands::dev::workers::WorkerProcesses;
use crate::cli::error::{CommandError, CommandResult};
use crate::cli::process::services::SIDECAR_GRACE;
use crate::cli::process::shutdown_signals::ShutdownSignals;
use crate::config::load::environment_name;
use crate::config::private_files::create_private_directory;

/// Limits that no run reaches.
const LIMITS: [(&str, &str); 4] = [
    ("risk.daily_notional_limit", "9000000000"),
    ("risk.orders_per_second_and_account", "1000000"),
    ("risk.orders_per_second_and_broker", "1000000"),
    ("http.max_in_flight", "32768"),
];
/// How long the sidecar may take to be ready.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// The beginning of the line that `order-router sidecar` prints once it is ready.
const SIDECAR_READY: &str = "ready http=http://";

/// Starts a router, sends the load, and removes everything afterwards.
///
/// # Errors
/// When a part cannot start, or an order got no report.
pub(super) async fn run(args: &BenchArgs, options: &GlobalOptions) -> CommandResult {
    if let Some(name) = options.server_flag() {
        return Err(CommandError::Usage(format!(
            "{name} cannot be used with --dev, which starts servers of its own"
        )));
    }
    let temporary = TemporaryDirectory::create()?;
    let mut signals = ShutdownSignals::listen()?;
    let sync = args.sync.unwrap_or(JournalSync::Always);
    let directory = DevDataDirectory::open(&temporary.0).await?;
    let mut servers = DevServers::new(directory, ServerAddresses::resolve(0, 0)?, sync, None).await?;
    let ended = match signals
        .unless_interrupted(run_against(args, options, sync, &mut servers, &temporary))
        .await
    {
        Ok(ended) => ended,
        Err(interrupted) => Err(interrupted),
    };
    signals.unless_interrupted(servers.stop()).await?;
    ended
}

async fn run_against(
    args: &BenchArgs,
    options: &GlobalOptions,
    sync: JournalSync,
    servers: &mut DevServers,
    temporary: &TemporaryDirectory,
) -> CommandResult {
    let mut flags = vec![
        sync.append_setting_flag(),
        setting_flag("data_dir", temporary.0.join("order-log").display()),
        setting_flag("http.addr", "127.0.0.1:0"),
    ];
    flags.extend(LIMITS.map(|(setting, value)| setting_flag(setting, value)));
    flags.extend(options.setting_flags());
    flags.extend(servers.setting_flags());
    let settings = options.load_settings(&flags)?;
    options.start_log(&settings, CommandKind::Client);
    servers.start().await?;
    let metrics = settings.metrics.addr.clone();
    let mut workers = WorkerProcesses::new(1..=args.workers, options, &flags, metrics, servers.directory()).await?;
    let measured = match workers.start().await {
        Ok(()) => {
            let mut processes = servers.process_ids();
            processes.extend(workers.process_ids());
            tokio::select! {
                measured = measure(args, &settings, &flags, processes, sync) => measured,
                exit_error = servers.wait_for_unexpected_exit() => Err(exit_error.into()),
            }
        }
        Err(error) => Err(error.into()),
    };
    workers.drain().await;
    measured
}

async fn measure(
    args: &BenchArgs,
    settings: &crate::config::Settings,
    flags: &[SettingFlag],
    mut processes: Vec<(String, u32)>,
    sync: JournalSync,
) -> CommandResult {
    let sidecar = match args.door {
        LoadDoor::Rest => Some(SidecarProcess::start(flags).await?),
        LoadDoor::Request | LoadDoor::Durable => None,
    };
    processes.extend(sidecar.as_ref().and_then(SidecarProcess::id));
    let target = BenchTarget {
        authority: sidecar.as_ref().map(|one| one.authority.clone()).unwrap_or_default(),
        processes,
        sync: Some(sync),
    };
    let measured = measure_and_print(args, settings, &target).await;
    if let Some(sidecar) = sidecar {
        sidecar.stop().await;
    }
    measured
}

/// A sidecar process.
struct SidecarProcess {
    child: Child,
    authority: String,
}

impl SidecarProcess {
    /// Starts a sidecar with these settings on a free port, and returns once it is ready. It must be called from the main
    /// thread, see [`ChildBinder::bound_command`].
    async fn start(flags: &[SettingFlag]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut command = ChildBinder::detect().await.bound_command(&program);
        command.arg("sidecar");
        command.envs(
            flags
                .iter()
                .map(|(path, value)| (environment_name(path), value.clone())),
        );
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .context("starting the sidecar")?;
        let output = child.stdout.take().context("the sidecar's output")?;
        let ready = async { BufReader::new(output).lines().next_line().await };
        let line = timeout(START_TIMEOUT, ready)
            .await
            .context("the sidecar is not ready in time")??
            .unwrap_or_default();
        let authority = line.strip_prefix(SIDECAR_READY);
        let authority = authority.context("the sidecar cannot start: see `order-router sidecar`")?;
        Ok(Self {
            authority: authority.to_owned(),
            child,
        })
    }

    fn id(&self) -> Option<(String, u32)> {
        Some(("sidecar".to_owned(), self.child.id()?))
    }

    async fn stop(mut self) {
        child_process::send_sigterm(&self.child.id().into_iter().collect::<Vec<_>>()).await;
        child_process::wait_or_kill("sidecar", &mut self.child, SIDECAR_GRACE).await;
    }
}

/// A directory that is removed when the value is dropped.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn create() -> anyhow::Result<Self> {
        let name = format!("order-router-bench-{}", uuid::Uuid::new_v4().simple());
        let path = std::env::temp_dir().join(name);
        create_private_directory(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, directory = %self.0.display(), "the temporary directory could not be removed");
        }
    }
}
