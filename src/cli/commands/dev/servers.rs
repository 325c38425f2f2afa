//! The servers of `dev`: nats-server with JetStream, redis-server with its append-only file and, where asked for, the local
//! exchange; all on the loopback interface.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::cli::arguments::global::{SettingFlag, no_sentinels, setting_flag};
use crate::cli::commands::dev::addresses::ServerAddresses;
use crate::cli::commands::dev::child_process;
use crate::cli::commands::dev::child_process::ChildBinder;
use crate::cli::commands::dev::data_directory::DevDataDirectory;
use crate::cli::commands::dev::journal_sync::JournalSync;
use crate::cli::commands::dev::program_path;
use crate::cli::commands::dev::readiness::ReadinessProbe;
use crate::cli::commands::dev::venue::DevVenue;
use crate::config::private_files;

/// How long a server may take to load its data and accept requests.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// The time between two readiness probes.
const READINESS_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long a server may take to exit.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

const NATS: &str = "nats-server";
const REDIS: &str = "redis-server";
const VENUE: &str = "venue";

/// The servers.
#[derive(Debug)]
pub(crate) struct DevServers {
    directory: DevDataDirectory,
    addresses: ServerAddresses,
    sync: JournalSync,
    venue: Option<DevVenue>,
    binder: ChildBinder,
    running: Vec<ServerProcess>,
}

#[derive(Debug)]
struct ServerProcess {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl DevServers {
    /// Returns the servers, not started yet.
    ///
    /// # Errors
    /// When a program is not installed.
    pub(crate) async fn new(
        directory: DevDataDirectory,
        addresses: ServerAddresses,
        sync: JournalSync,
        venue: Option<DevVenue>,
    ) -> anyhow::Result<Self> {
        for name in [NATS, REDIS] {
            program_path::find_server(name)?;
        }
        Ok(Self {
            directory,
            addresses,
            sync,
            venue,
            binder: ChildBinder::detect().await,
            running: Vec::new(),
        })
    }

    /// Starts the servers and returns when all are ready. It must be called from the main thread, see
    /// [`ChildBinder::bound_command`].
    ///
    /// # Errors
    /// When a server cannot start; the text holds the end of its log.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        let nats = self.nats_command()?;
        self.spawn(NATS, nats)?;
        let redis = self.redis_command()?;
        self.spawn(REDIS, redis)?;
        let mut probes = vec![
            (ReadinessProbe::Nats, self.addresses.nats),
            (ReadinessProbe::Redis, self.addresses.redis),
        ];
        if let Some(venue) = &self.venue {
            let mut command = self
                .binder
                .bound_command(&std::env::current_exe().context("finding this program")?);
            command.args(venue.arguments());
            probes.push((ReadinessProbe::Venue, venue.address));
            self.spawn(VENUE, command)?;
        }
        for (server, (probe, address)) in self.running.iter_mut().zip(probes) {
            server.wait_until_ready(probe, address).await?;
        }
        Ok(())
    }

    /// Returns the data directory.
    pub(crate) fn directory(&self) -> &DevDataDirectory {
        &self.directory
    }

    /// Returns the settings with the servers' URLs. They listen on the loopback interface, without TLS.
    pub(crate) fn setting_flags(&self) -> Vec<SettingFlag> {
        let mut flags = vec![
            setting_flag("nats.url", format!("nats://{}", self.addresses.nats)),
            setting_flag("redis.url", format!("redis://{}", self.addresses.redis)),
        ];
        flags.extend(no_sentinels());
        for section in ["nats", "redis"] {
            let files = ["ca_file", "cert_file", "key_file"];
            flags.extend(files.map(|file| setting_flag(&format!("{section}.tls.{file}"), "")));
        }
        flags.extend(self.venue.iter().flat_map(DevVenue::setting_flags));
        flags
    }

    /// Returns the process id of each server, by name.
    pub(crate) fn process_ids(&self) -> Vec<(String, u32)> {
        let running = self.running.iter();
        running
            .filter_map(|server| Some((server.name.to_owned(), server.child.id()?)))
            .collect()
    }

    /// Returns the servers' URLs as the ready line of `dev` prints them.
    pub(crate) fn ready_line_urls(&self) -> String {
        let venue = self.venue.as_ref();
        let venue = venue.map_or_else(String::new, |venue| format!(" venue=http://{}", venue.address));
        format!(
            "nats=nats://{} redis=redis://{}{venue}",
            self.addresses.nats, self.addresses.redis
        )
    }

    /// Waits until a server exits and returns its error.
    pub(crate) async fn wait_for_unexpected_exit(&mut self) -> anyhow::Error {
        let exits = self.running.iter_mut().map(|server| Box::pin(server.wait_for_exit()));
        futures_util::future::select_all(exits).await.0
    }

    /// Sends SIGTERM to the servers and does not wait.
    pub(crate) async fn request_stop(&self) {
        let processes: Vec<u32> = self.running.iter().filter_map(|server| server.child.id()).collect();
        child_process::send_sigterm(&processes).await;
    }

    /// Sends SIGTERM to the servers and waits until they have exited.
    pub(crate) async fn stop(&mut self) {
        self.request_stop().await;
        let servers = self.running.iter_mut();
        let exits = servers.map(|server| child_process::wait_or_kill(server.name, &mut server.child, STOP_TIMEOUT));
        futures_util::future::join_all(exits).await;
    }

    fn spawn(&mut self, name: &'static str, mut command: Command) -> anyhow::Result<()> {
        let log = self.directory.log_path(name);
        let (out, errors) = child_process::open_log(&log)?;
        command
            .stdin(self.directory.lock_as_stdin()?)
            .stdout(out)
            .stderr(errors);
        let child = command.spawn().with_context(|| format!("starting {name}"))?;
        if let Some(process) = child.id() {
            self.directory.record_process(name, process)?;
        }
        self.running.push(ServerProcess { name, child, log });
        Ok(())
    }

    fn nats_command(&self) -> anyhow::Result<Command> {
        let sync_interval = match self.sync {
            JournalSync::Always => ", sync_interval: always",
            JournalSync::Default => "",
        };
        let store = self.directory.path("nats");
        let config = format!(
            "# Rewritten by each start of `order-router dev`.\nserver_name: order-router-dev\nlisten: \"{}\"\n\
             max_payload: 1MB\njetstream {{ store_dir: {:?}{sync_interval} }}\n",
            self.addresses.nats, store
        );
        let path = self.directory.path("nats.conf");
        private_files::open_private_file(&path)
            .and_then(|_| std::fs::write(&path, config))
            .with_context(|| format!("writing {}", path.display()))?;
        let mut command = self.binder.bound_command(&program_path::find_server(NATS)?);
        command.arg("--config").arg(path);
        Ok(command)
    }

    fn redis_command(&self) -> anyhow::Result<Command> {
        let mut command = self.binder.bound_command(&program_path::find_server(REDIS)?);
        let port = self.addresses.redis.port().to_string();
        // The settings of deploy/redis.conf.
        command.args(["--bind", "127.0.0.1", "--port", &port, "--daemonize", "no"]);
        command.args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]);
        command.args(["--auto-aof-rewrite-min-size", "512mb", "--lazyfree-lazy-expire", "yes"]);
        command
            .args(["--maxmemory-policy", "noeviction", "--dir"])
            .arg(self.directory.path("redis"));
        Ok(command)
    }
}

impl ServerProcess {
    /// Waits until the server is ready.
    async fn wait_until_ready(&mut self, probe: ReadinessProbe, address: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !probe.is_ready(address).await {
            if let Some(status) = self
                .child
                .try_wait()
                .with_context(|| format!("watching {}", self.name))?
            {
                return Err(self.exit_error(status));
            }
            if Instant::now() >= deadline {
                bail!(
                    "{} is not ready at {address} within {START_TIMEOUT:?}; the end of {}:{}",
                    self.name,
                    self.log.display(),
                    child_process::read_tail(&self.log)
                );
            }
            sleep(READINESS_POLL_INTERVAL).await;
        }
        tracing::info!(%address, log = %self.log.display(), "{} is ready", self.name);
        Ok(())
    }

    /// Waits until the server exits and returns its error.
    async fn wait_for_exit(&mut self) -> anyhow::Error {
        match self.child.wait().await {
            Ok(status) => self.exit_error(status),
            Err(error) => anyhow::Error::new(error).context(format!("watching {}", self.name)),
        }
    }

    fn exit_error(&self, status: ExitStatus) -> anyhow::Error {
        let (name, log) = (self.name, self.log.display());
        anyhow::anyhow!(
            "{name} exited unexpectedly ({status}); the end of {log}:{}",
            child_process::read_tail(&self.log)
        )
    }
}
