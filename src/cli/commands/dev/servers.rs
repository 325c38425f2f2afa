//! The servers of `dev`: nats-server with JetStream and redis-server with its append-only file, on the loopback interface.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::cli::arguments::global::{SettingFlag, setting_flag};
use crate::cli::commands::dev::child_process;
use crate::cli::commands::dev::child_process::ChildBinder;
use crate::cli::commands::dev::data_directory::DevDataDirectory;
use crate::cli::commands::dev::readiness::ReadinessProbe;
use crate::cli::commands::dev::{JournalSync, ensure_address_free, loopback_address, program_path};

/// How long a server may take to read its data and answer.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// How often it is asked whether it is ready.
const READINESS_POLL_INTERVAL: Duration = Duration::from_millis(20);
/// How long a server may take to close its files.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

const NATS: &str = "nats-server";
const REDIS: &str = "redis-server";

/// Where the servers listen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerAddresses {
    nats: SocketAddr,
    redis: SocketAddr,
}

impl ServerAddresses {
    /// Returns the ports that are asked for, a free one for each 0.
    ///
    /// # Errors
    /// When one is taken.
    pub(crate) fn resolve(nats: u16, redis: u16) -> anyhow::Result<Self> {
        for (name, port, remedy) in [("NATS", nats, "--nats-port 0"), ("Redis", redis, "--redis-port 0")] {
            ensure_address_free(name, loopback_address(port), remedy)?;
        }
        // Held until both are chosen, so that they differ.
        let held = [nats, redis].map(|port| TcpListener::bind(loopback_address(port)));
        let [nats, redis] = held.map(|listener| listener.and_then(|listener| Ok((listener.local_addr()?, listener))));
        let taken = "choosing the servers' ports (they must differ)";
        Ok(Self {
            nats: nats.context(taken)?.0,
            redis: redis.context(taken)?.0,
        })
    }
}

/// The two servers.
#[derive(Debug)]
pub(crate) struct DevServers {
    directory: DevDataDirectory,
    ports: ServerAddresses,
    sync: JournalSync,
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
    /// Returns servers that are still to be started.
    ///
    /// # Errors
    /// When a program is not installed.
    pub(crate) async fn new(
        directory: DevDataDirectory,
        ports: ServerAddresses,
        sync: JournalSync,
    ) -> anyhow::Result<Self> {
        for name in [NATS, REDIS] {
            program_path::find_server(name)?;
        }
        Ok(Self {
            directory,
            ports,
            sync,
            binder: ChildBinder::detect().await,
            running: Vec::new(),
        })
    }

    /// Starts both and returns when both are ready. To be called from the main thread, see [`Binder::command`].
    ///
    /// # Errors
    /// When one does not start, with the end of its log.
    pub(crate) async fn start(&mut self) -> anyhow::Result<()> {
        let nats = self.nats_command()?;
        self.spawn(NATS, nats)?;
        let redis = self.redis_command()?;
        self.spawn(REDIS, redis)?;
        for (index, (probe, address)) in [
            (ReadinessProbe::Nats, self.ports.nats),
            (ReadinessProbe::Redis, self.ports.redis),
        ]
        .into_iter()
        .enumerate()
        {
            self.running[index].wait_until_ready(probe, address).await?;
        }
        Ok(())
    }

    /// Returns where their data lie.
    pub(crate) fn directory(&self) -> &DevDataDirectory {
        &self.directory
    }

    /// Returns the settings that lead to them.
    pub(crate) fn setting_flags(&self) -> [SettingFlag; 2] {
        [
            setting_flag("nats.url", format!("nats://{}", self.ports.nats)),
            setting_flag("redis.url", format!("redis://{}", self.ports.redis)),
        ]
    }

    /// Returns where they listen, as the ready line tells it.
    pub(crate) fn ready_line_urls(&self) -> String {
        format!("nats=nats://{} redis=redis://{}", self.ports.nats, self.ports.redis)
    }

    /// Waits until one of them ends by itself and returns what there is to say about it.
    pub(crate) async fn wait_for_unexpected_exit(&mut self) -> anyhow::Error {
        let ends = self.running.iter_mut().map(|server| Box::pin(server.wait_for_exit()));
        futures_util::future::select_all(ends).await.0
    }

    /// Asks both to end, and does not wait.
    pub(crate) async fn request_stop(&self) {
        let processes: Vec<u32> = self.running.iter().filter_map(|server| server.child.id()).collect();
        child_process::send_sigterm(&processes).await;
    }

    /// Asks both to end and waits for it.
    pub(crate) async fn stop(&mut self) {
        self.request_stop().await;
        let ends = self.running.iter_mut();
        let ends = ends.map(|server| child_process::wait_or_kill(server.name, &mut server.child, STOP_TIMEOUT));
        futures_util::future::join_all(ends).await;
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
            "# Written anew by each start of `order-router dev`.\nserver_name: order-router-dev\nlisten: \"{}\"\n\
             max_payload: 1MB\njetstream {{ store_dir: {:?}{sync_interval} }}\n",
            self.ports.nats, store
        );
        let path = self.directory.path("nats.conf");
        std::fs::write(&path, config).with_context(|| format!("writing {}", path.display()))?;
        let mut command = self.binder.bound_command(&program_path::find_server(NATS)?);
        command.arg("--config").arg(path);
        Ok(command)
    }

    fn redis_command(&self) -> anyhow::Result<Command> {
        let mut command = self.binder.bound_command(&program_path::find_server(REDIS)?);
        let port = self.ports.redis.port().to_string();
        // The settings of deploy/redis.conf.
        command.args(["--bind", "127.0.0.1", "--port", &port, "--daemonize", "no"]);
        command.args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]);
        command
            .args(["--maxmemory-policy", "noeviction", "--dir"])
            .arg(self.directory.path("redis"));
        Ok(command)
    }
}

impl ServerProcess {
    /// Waits for the server's first answer.
    async fn wait_until_ready(&mut self, probe: ReadinessProbe, address: SocketAddr) -> anyhow::Result<()> {
        let end = Instant::now() + START_TIMEOUT;
        while !probe.is_ready(address).await {
            if let Some(status) = self
                .child
                .try_wait()
                .with_context(|| format!("watching {}", self.name))?
            {
                return Err(self.exit_error(status));
            }
            if Instant::now() >= end {
                bail!(
                    "{} does not answer at {address} within {START_TIMEOUT:?}; the end of {}:{}",
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

    /// Waits for its end and returns what there is to say about it.
    async fn wait_for_exit(&mut self) -> anyhow::Error {
        match self.child.wait().await {
            Ok(status) => self.exit_error(status),
            Err(error) => anyhow::Error::new(error).context(format!("watching {}", self.name)),
        }
    }

    fn exit_error(&self, status: ExitStatus) -> anyhow::Error {
        let (name, log) = (self.name, self.log.display());
        anyhow::anyhow!(
            "{name} ended by itself ({status}); the end of {log}:{}",
            child_process::read_tail(&self.log)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_and_a_taken_one_is_told() {
        let ports = ServerAddresses::resolve(0, 0).unwrap();
        assert_ne!(ports.nats, ports.redis);
        let taken = TcpListener::bind(loopback_address(0)).unwrap();
        let error = ServerAddresses::resolve(taken.local_addr().unwrap().port(), 0)
            .unwrap_err()
            .to_string();
        assert!(error.contains("--nats-port"), "{error}");
    }
}
