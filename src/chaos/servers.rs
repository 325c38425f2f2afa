//! The servers of a run, nats-server, redis-server and Sentinels: their commands, their readiness, and what their files
//! lose.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

use crate::chaos::child::ChildProcess;
use crate::chaos::options::ChaosPrograms;

/// Ports to choose from. They lie below those that the kernel gives to outgoing connections: a server must get its port
/// again after a kill.
const FIRST_PORT: u16 = 10_000;
const PORT_COUNT: u16 = 5_000;
/// How long a server may take to read its data and reply.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How long one reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);
/// The time between two readiness probes.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The name by which the Sentinels of a run know the primary.
pub(in crate::chaos) const SENTINEL_SERVICE: &str = "chaos";
/// How many Sentinels have to agree that the primary is away.
const SENTINEL_QUORUM: u32 = 2;
/// After how long without a reply a Sentinel takes the primary for away, in milliseconds.
const DOWN_AFTER_MS: u32 = 500;
/// How long one failover may take until the Sentinels try again, in milliseconds.
const FAILOVER_TIMEOUT_MS: u32 = 5_000;

/// What a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::chaos) enum ServerSetup {
    /// nats-server with JetStream, alone.
    Nats,
    /// nats-server with JetStream, one node of a cluster.
    NatsNode {
        /// The address for the other nodes.
        route: SocketAddr,
        /// The same of every node.
        routes: Vec<SocketAddr>,
    },
    /// redis-server with its append-only file; the replica of another one where it is named.
    Redis {
        /// The primary that it follows at its first start.
        replica_of: Option<SocketAddr>,
    },
    /// A Sentinel that first knows this primary.
    Sentinel {
        /// The primary.
        primary: SocketAddr,
    },
}

/// A server of NATS or Redis, by its number from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::chaos) enum ServerPlace {
    /// A node of NATS.
    Nats(usize),
    /// A Redis.
    Redis(usize),
}

/// A server with its port and its directory, which outlive its processes.
#[derive(Debug)]
pub(in crate::chaos) struct ChaosServer {
    name: String,
    setup: ServerSetup,
    address: SocketAddr,
    directory: PathBuf,
    process: Option<ChildProcess>,
}

/// Returns addresses on the loopback interface whose ports are free, and stay so across restarts as far as a run can see
/// to it: those in `taken` are not chosen, and it gets the new ones.
///
/// # Errors
/// When too few ports are free.
pub(in crate::chaos) fn choose_addresses(count: usize, taken: &mut Vec<SocketAddr>) -> anyhow::Result<Vec<SocketAddr>> {
    // Runs begin at different ports, so that they rarely try the same one.
    let begin = u16::try_from(std::process::id() % u32::from(PORT_COUNT)).unwrap_or(0);
    let ports = (0..PORT_COUNT).map(|step| FIRST_PORT + (begin.wrapping_mul(31) % PORT_COUNT + step * 7) % PORT_COUNT);
    let addresses = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let free = addresses.filter(|address| !taken.contains(address) && TcpListener::bind(address).is_ok());
    let chosen: Vec<SocketAddr> = free.take(count).collect();
    anyhow::ensure!(chosen.len() == count, "no port is free");
    taken.extend(&chosen);
    Ok(chosen)
}

impl ChaosServer {
    /// Returns a server that is not started yet. Its files lie in a directory of its own below `parent`.
    ///
    /// # Errors
    /// When the directory cannot be created.
    pub(in crate::chaos) fn new(
        name: &str,
        setup: ServerSetup,
        address: SocketAddr,
        parent: &Path,
    ) -> anyhow::Result<Self> {
        let directory = parent.join(name);
        std::fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        Ok(Self {
            name: name.to_owned(),
            setup,
            address,
            directory,
            process: None,
        })
    }

    /// Returns its name.
    pub(in crate::chaos) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the directory of its files.
    pub(in crate::chaos) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns the address that it listens on.
    pub(in crate::chaos) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts it and does not wait until it is ready.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(in crate::chaos) fn start(&mut self, programs: &ChaosPrograms, logs: &Path) -> anyhow::Result<()> {
        let command = match &self.setup {
            ServerSetup::Nats => self.nats_command(programs, "")?,
            ServerSetup::NatsNode { route, routes } => self.nats_command(programs, &cluster_block(*route, routes))?,
            ServerSetup::Redis { .. } | ServerSetup::Sentinel { .. } => self.redis_command(programs)?,
        };
        self.process = Some(ChildProcess::start(&self.name, command, logs)?);
        Ok(())
    }

    /// Waits until it replies.
    ///
    /// # Errors
    /// When it ends before, or does not reply in time.
    pub(in crate::chaos) async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + START_TIMEOUT;
        let name = self.name.clone();
        while !self.is_ready().await {
            if !self.process.as_mut().is_some_and(ChildProcess::is_running) {
                bail!("{name} ended before it was ready");
            }
            if Instant::now() >= end {
                bail!("{name} did not reply within {START_TIMEOUT:?}");
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Returns its process.
    ///
    /// # Errors
    /// When it was not started.
    pub(in crate::chaos) fn process(&mut self) -> anyhow::Result<&mut ChildProcess> {
        let name = &self.name;
        self.process.as_mut().with_context(|| format!("{name} was not started"))
    }

    /// Cuts the end of the append-only file of a Redis that does not run. `detail` chooses the byte: often near the end, as
    /// a power cut would, and sometimes anywhere, as a failover to a copy that was behind. Returns how many bytes are lost.
    ///
    /// # Errors
    /// When the file cannot be cut.
    pub(in crate::chaos) fn cut_append_only_file(&self, detail: u64) -> anyhow::Result<u64> {
        const NEAR_END_BYTES: u64 = 32_768;
        let directory = self.directory.join("appendonlydir");
        let files = std::fs::read_dir(&directory).with_context(|| format!("reading {}", directory.display()))?;
        let names = files.flatten().map(|file| file.path());
        let newest = names
            .filter(|path| path.to_string_lossy().ends_with(".incr.aof"))
            .max_by_key(|path| append_only_number(path));
        let path = newest.context("Redis has no append-only file")?;
        let file = std::fs::OpenOptions::new().write(true).open(&path)?;
        let length = file.metadata()?.len();
        let most = if detail.is_multiple_of(4) {
            length
        } else {
            length.min(NEAR_END_BYTES)
        };
        let lost = (detail >> 8).checked_rem(most + 1).unwrap_or(0);
        file.set_len(length - lost)
            .with_context(|| format!("cutting {}", path.display()))?;
        Ok(lost)
    }

    /// Removes the append-only file of a Redis that has ended because it cannot read it, as an operator does: the journal has
    /// everything. Returns whether it was so.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub(in crate::chaos) fn drop_damaged_append_only_file(&mut self) -> anyhow::Result<bool> {
        let directory = self.directory.join("appendonlydir");
        let Some(process) = self.process.as_mut() else {
            return Ok(false);
        };
        if process.is_running() || !process.output_text().contains("Bad file format") {
            return Ok(false);
        }
        std::fs::remove_dir_all(&directory).with_context(|| format!("removing {}", directory.display()))?;
        Ok(true)
    }

    async fn is_ready(&self) -> bool {
        let is_nats = matches!(self.setup, ServerSetup::Nats | ServerSetup::NatsNode { .. });
        let request: &[u8] = if is_nats { b"" } else { b"PING\r\n" };
        let Ok(Some(line)) = timeout(REPLY_TIMEOUT, first_line(self.address, request)).await else {
            return false;
        };
        match is_nats {
            // It greets its clients only once JetStream has recovered.
            true => line.contains("\"jetstream\":true"),
            // While it loads its file it replies with an error.
            false => line.starts_with("+PONG"),
        }
    }

    fn nats_command(&self, programs: &ChaosPrograms, cluster: &str) -> anyhow::Result<Command> {
        let store = self.directory.join("store");
        let config = format!(
            "server_name: {}\nlisten: \"{}\"\nmax_payload: 1MB\njetstream {{ store_dir: {store:?} }}\n{cluster}",
            self.name, self.address
        );
        let path = self.directory.join("nats.conf");
        std::fs::write(&path, config).with_context(|| format!("writing {}", path.display()))?;
        let mut command = (programs.command)(&programs.nats);
        command.arg("--config").arg(path);
        Ok(command)
    }

    /// Returns the command of a Redis or a Sentinel. Its configuration is written once: Sentinels change that of a server
    /// whose role changes, and keep what they know in their own.
    fn redis_command(&self, programs: &ChaosPrograms) -> anyhow::Result<Command> {
        let path = self.directory.join("redis.conf");
        let mut config = format!(
            "bind 127.0.0.1\nport {}\ndaemonize no\ndir {}\n",
            self.address.port(),
            self.directory.display()
        );
        match &self.setup {
            ServerSetup::Sentinel { primary } => config.push_str(&sentinel_lines(*primary)),
            ServerSetup::Redis { replica_of } => {
                config.push_str("appendonly yes\nappendfsync everysec\nsave \"\"\nmaxmemory-policy noeviction\n");
                // A replica that was away for a moment continues where it was; one that was not takes a whole copy at once.
                config.push_str("repl-diskless-sync yes\nrepl-diskless-sync-delay 0\n");
                if let Some(primary) = replica_of {
                    config.push_str(&format!("replicaof {} {}\n", primary.ip(), primary.port()));
                }
            }
            ServerSetup::Nats | ServerSetup::NatsNode { .. } => {}
        }
        if !path.exists() {
            std::fs::write(&path, config).with_context(|| format!("writing {}", path.display()))?;
        }
        let mut command = (programs.command)(&programs.redis);
        command.arg(path);
        if matches!(self.setup, ServerSetup::Sentinel { .. }) {
            command.arg("--sentinel");
        }
        Ok(command)
    }
}

/// Returns the configuration of a node's cluster. Clients learn of no other node: each has proxies of its own.
fn cluster_block(route: SocketAddr, routes: &[SocketAddr]) -> String {
    let routes: Vec<String> = routes.iter().map(|route| format!("\"nats://{route}\"")).collect();
    format!(
        "cluster {{ name: chaos, listen: \"{route}\", no_advertise: true, routes: [{}] }}\n",
        routes.join(", ")
    )
}

fn sentinel_lines(primary: SocketAddr) -> String {
    let service = SENTINEL_SERVICE;
    format!(
        "sentinel monitor {service} {} {} {SENTINEL_QUORUM}\n\
         sentinel down-after-milliseconds {service} {DOWN_AFTER_MS}\n\
         sentinel failover-timeout {service} {FAILOVER_TIMEOUT_MS}\n",
        primary.ip(),
        primary.port()
    )
}

/// Returns the number in the name of an append-only file, such as 7 of `appendonly.aof.7.incr.aof`.
fn append_only_number(path: &Path) -> u64 {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_default();
    name.split('.').find_map(|part| part.parse().ok()).unwrap_or(0)
}

async fn first_line(address: SocketAddr, request: &[u8]) -> Option<String> {
    const MAX_LINE_BYTES: u64 = 8_192;
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request).await.ok()?;
    let mut line = String::new();
    let limited = tokio::io::AsyncReadExt::take(stream, MAX_LINE_BYTES);
    BufReader::new(limited).read_line(&mut line).await.ok()?;
    Some(line)
}
