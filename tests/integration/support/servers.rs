//! Real servers, one of each per test: nats-server with JetStream and redis-server with its append-only file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::poll::eventually;
use super::ports::PortLease;
use super::process::{Process, repository, tools_directory};

/// How long a server may take to answer for the first time: reading its data included, on a busy machine.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// Starts on other ports before giving up; more than one is needed only when something else takes the port in between.
const START_ATTEMPTS: u32 = 5;

/// What differs between the two servers.
trait ServerKind {
    /// For messages.
    const NAME: &'static str;

    /// The program and its arguments.
    fn command(&self, port: u16, directory: &Path) -> Command;

    /// Whether the server answers at `address` and has read its data.
    async fn answers(address: SocketAddr) -> bool;
}

/// A server process with its port and its directory, which survive its restarts.
#[derive(Debug)]
struct Server<K> {
    kind: K,
    process: Process,
    port: PortLease,
    directory: TempDir,
}

impl<K: ServerKind> Server<K> {
    async fn start(kind: K) -> Self {
        let directory = tempfile::Builder::new()
            .prefix(K::NAME)
            .tempdir()
            .expect("a temporary directory");
        for _ in 0..START_ATTEMPTS {
            let port = PortLease::take();
            let mut process = launch(&kind, &port, directory.path());
            if ready::<K>(&mut process, &port, directory.path()).await {
                return Self {
                    kind,
                    process,
                    port,
                    directory,
                };
            }
        }
        panic!("{} did not start:\n{}", K::NAME, log_text(directory.path()));
    }

    async fn restart(&mut self) {
        self.process.kill9();
        self.process = launch(&self.kind, &self.port, self.directory.path());
        let up = ready::<K>(&mut self.process, &self.port, self.directory.path()).await;
        assert!(
            up,
            "{} did not start again:\n{}",
            K::NAME,
            log_text(self.directory.path())
        );
    }

    /// Removes what the server has stored; it must not be running.
    fn remove_data(&mut self) {
        assert!(self.process.ended().is_some(), "{} is running: kill it first", K::NAME);
        std::fs::remove_dir_all(data_directory(self.directory.path())).expect("removing a server's data");
    }
}

/// Starts the program; its output goes to a file.
fn launch<K: ServerKind>(kind: &K, port: &PortLease, directory: &Path) -> Process {
    std::fs::create_dir_all(data_directory(directory)).expect("a directory for the server's data");
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(log_path(directory))
        .expect("a log file");
    let server = kind.command(port.number(), directory);
    // A limit on the length of its files is an error to it, as a full disk is, and no signal.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    command.arg(server.get_program()).args(server.get_args());
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a second handle"))
        .stderr(log);
    Process::spawn(K::NAME, &mut command)
        .unwrap_or_else(|error| panic!("starting {}: {error}. `make setup` installs it", K::NAME))
}

/// Waits for the server's first reply; false when it has ended instead.
async fn ready<K: ServerKind>(process: &mut Process, port: &PortLease, directory: &Path) -> bool {
    let what = format!(
        "{} answering at {}; its log: {}",
        K::NAME,
        port.address(),
        log_path(directory).display()
    );
    eventually(START_DEADLINE, what, async || match process.ended() {
        Some(_) => Some(false),
        None => K::answers(port.address()).await.then_some(true),
    })
    .await
}

fn data_directory(directory: &Path) -> PathBuf {
    directory.join("data")
}

fn log_path(directory: &Path) -> PathBuf {
    directory.join("log")
}

fn log_text(directory: &Path) -> String {
    std::fs::read_to_string(log_path(directory)).unwrap_or_default()
}

/// Returns the number in the name of a part with commands, `appendonly.aof.NUMBER.incr.aof`: it rises with each rewrite.
fn append_only_number(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_suffix(".incr.aof")?;
    name.rsplit('.').next()?.parse().ok()
}

/// Returns where each command of an append-only file begins: a list of strings in the Redis protocol.
fn command_offsets(bytes: &[u8]) -> Vec<usize> {
    let line_at = |at: usize| -> Option<(usize, usize)> {
        let end = at + bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
        let number = std::str::from_utf8(bytes.get(at + 1..end)?).ok()?.parse().ok()?;
        Some((number, end + 2))
    };
    let mut begins = Vec::new();
    let mut at = 0;
    while let Some((strings, mut next)) = line_at(at) {
        begins.push(at);
        for _ in 0..strings {
            let Some((length, begin)) = line_at(next) else {
                return begins;
            };
            next = begin + length + 2;
        }
        at = next;
    }
    begins
}

/// Sends `request` and returns the first line of the reply; `None` on any failure and after a second.
async fn first_line(address: SocketAddr, request: &[u8]) -> Option<String> {
    tokio::time::timeout(Duration::from_secs(1), async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(request).await.ok()?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).await.ok()?;
        Some(line)
    })
    .await
    .ok()?
}

/// Settings of a [`NatsServer`].
#[derive(Debug, Clone, Default)]
pub struct NatsOptions {
    /// `sync_interval: always`: JetStream acknowledges what is on the disk. Off by default, since it is slower.
    pub sync_always: bool,
    /// More lines for the configuration file, at its top level.
    pub extra_config: String,
}

impl ServerKind for NatsOptions {
    const NAME: &'static str = "nats-server";

    fn command(&self, port: u16, directory: &Path) -> Command {
        let sync_interval = if self.sync_always { "always" } else { "2m" };
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {:?}, sync_interval: {sync_interval} }}\n{}\n",
            data_directory(directory),
            self.extra_config
        );
        let path = directory.join("nats.conf");
        std::fs::write(&path, config).expect("writing nats.conf");
        let pinned = tools_directory().join(Self::NAME);
        let mut command = if pinned.exists() {
            Command::new(pinned)
        } else {
            Command::new(Self::NAME)
        };
        command.arg("--config").arg(path);
        command
    }

    async fn answers(address: SocketAddr) -> bool {
        // The server greets every client, and listens only after JetStream has recovered.
        first_line(address, b"")
            .await
            .is_some_and(|line| line.starts_with("INFO ") && line.contains("\"jetstream\":true"))
    }
}

/// A nats-server with JetStream on a port and in a directory of its own.
#[derive(Debug)]
pub struct NatsServer(Server<NatsOptions>);

impl NatsServer {
    /// Starts one with the default options and returns when it is ready.
    pub async fn start() -> Self {
        Self::start_with(NatsOptions::default()).await
    }

    /// Starts one and returns when it is ready.
    pub async fn start_with(options: NatsOptions) -> Self {
        Self(Server::start(options).await)
    }

    /// `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address())
    }
}

/// Settings of a [`RedisServer`]: those of `deploy/redis.conf`, and more arguments.
#[derive(Debug, Default)]
struct RedisOptions {
    extra_arguments: Vec<String>,
}

impl ServerKind for RedisOptions {
    const NAME: &'static str = "redis-server";

    fn command(&self, port: u16, directory: &Path) -> Command {
        let mut command = Command::new(Self::NAME);
        // A copy: Sentinels let a server write its configuration again.
        let config = directory.join("redis.conf");
        if !config.exists() {
            std::fs::copy(repository().join("deploy/redis.conf"), &config).expect("copying redis.conf");
        }
        command.arg(config);
        command
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"])
            .arg(data_directory(directory))
            .args(&self.extra_arguments);
        command
    }

    async fn answers(address: SocketAddr) -> bool {
        // While it reads its append-only file it answers "-LOADING …".
        first_line(address, b"PING\r\n")
            .await
            .is_some_and(|line| line.starts_with("+PONG"))
    }
}

/// A redis-server with the settings of `deploy/redis.conf` on a port and in a directory of its own.
#[derive(Debug)]
pub struct RedisServer(Server<RedisOptions>);

impl RedisServer {
    /// Starts one and returns when it is ready.
    pub async fn start() -> Self {
        Self::start_with(Vec::new()).await
    }

    /// Starts one with more arguments and returns when it is ready.
    pub async fn start_with(extra_arguments: Vec<String>) -> Self {
        Self(Server::start(RedisOptions { extra_arguments }).await)
    }

    /// `redis://127.0.0.1:<port>/`.
    pub fn url(&self) -> String {
        format!("redis://{}/", self.address())
    }

    /// A new connection.
    pub async fn connection(&self) -> redis::aio::MultiplexedConnection {
        let client = redis::Client::open(self.url()).expect("a redis address");
        // The default, half a second, is less than a busy machine may take.
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(START_DEADLINE))
            .set_response_timeout(Some(START_DEADLINE));
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .expect("connecting to redis-server")
    }

    /// Removes the last `count` commands from the append-only file of a server that does not run: what a power cut may do,
    /// or a failover to a replica that was behind.
    pub fn cut_append_only_file(&self, count: usize) {
        let directory = data_directory(self.0.directory.path()).join("appendonlydir");
        let files = std::fs::read_dir(directory).expect("the directory of the append-only file");
        let files = files.map(|entry| entry.expect("a file").path());
        // While Redis rewrites its file there are two parts; only the end of the newest may be missing.
        let newest = files.filter_map(|path| Some((append_only_number(&path)?, path))).max();
        let (_, path) = newest.expect("an append-only file");
        let bytes = std::fs::read(&path).expect("reading the append-only file");
        let begins = command_offsets(&bytes);
        let keep = begins.len().saturating_sub(count);
        let length = begins.get(keep).copied().unwrap_or(bytes.len());
        std::fs::write(&path, &bytes[..length]).expect("cutting the append-only file");
    }

    /// Removes every key while the server runs: what an operator's mistake does.
    pub async fn flushall(&self) {
        redis::cmd("FLUSHALL")
            .exec_async(&mut self.connection().await)
            .await
            .expect("FLUSHALL");
    }
}

/// The name by which the Sentinels of tests know the primary.
pub const SENTINEL_SERVICE: &str = "orders";
/// The password of the Sentinels of tests.
const SENTINEL_PASSWORD: &str = "sentinel-test";

/// Settings of a [`SentinelServer`].
#[derive(Debug)]
struct SentinelOptions {
    primary: SocketAddr,
}

impl ServerKind for SentinelOptions {
    const NAME: &'static str = "sentinel";

    fn command(&self, port: u16, directory: &Path) -> Command {
        let path = directory.join("sentinel.conf");
        if !path.exists() {
            let (service, primary) = (SENTINEL_SERVICE, self.primary);
            let config = format!(
                "requirepass {SENTINEL_PASSWORD}\nsentinel monitor {service} {} {} 2\n\
                 sentinel down-after-milliseconds {service} 500\nsentinel failover-timeout {service} 5000\n",
                primary.ip(),
                primary.port()
            );
            std::fs::write(&path, config).expect("writing sentinel.conf");
        }
        let mut command = Command::new("redis-server");
        command.arg(path).arg("--sentinel");
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--dir"]);
        command.arg(data_directory(directory));
        command
    }

    async fn answers(address: SocketAddr) -> bool {
        first_line(address, b"PING\r\n")
            .await
            .is_some_and(|line| line.starts_with("-NOAUTH"))
    }
}

/// A Sentinel that watches a primary. It asks for a password.
#[derive(Debug)]
pub struct SentinelServer(Server<SentinelOptions>);

impl SentinelServer {
    /// Starts one and returns when it is ready.
    pub async fn start(primary: SocketAddr) -> Self {
        Self(Server::start(SentinelOptions { primary }).await)
    }

    /// `redis://:password@127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://:{SENTINEL_PASSWORD}@{}", self.address())
    }
}

/// The faults that a test can inject into a server.
macro_rules! hardships {
    ($server:ty) => {
        impl $server {
            /// The address it listens at.
            pub fn address(&self) -> SocketAddr {
                self.0.port.address()
            }

            /// The directory its data are in: to copy, damage or restore while it is down.
            pub fn data_directory(&self) -> PathBuf {
                data_directory(self.0.directory.path())
            }

            /// Its log, over all restarts.
            pub fn log_text(&self) -> String {
                log_text(self.0.directory.path())
            }

            /// Kills it at once (SIGKILL).
            pub fn kill9(&mut self) {
                self.0.process.kill9();
            }

            /// Starts it again on the same port and data and returns when it is ready; one that runs is killed first.
            pub async fn restart(&mut self) {
                self.0.restart().await;
            }

            /// Starts it again on the same port with no data at all; one that runs is killed first.
            pub async fn restart_empty(&mut self) {
                self.0.process.kill9();
                self.0.remove_data();
                self.0.restart().await;
            }

            /// Lets none of its files become longer than this, as a full disk would; `None` lifts the limit.
            pub fn limit_files(&mut self, bytes: Option<u64>) {
                self.0.process.limit_files(bytes);
            }

            /// Freezes it (SIGSTOP): connections stay open and silent.
            pub fn pause(&mut self) {
                self.0.process.pause();
            }

            /// Resumes it (SIGCONT).
            pub fn resume(&mut self) {
                self.0.process.resume();
            }
        }
    };
}

hardships!(NatsServer);
hardships!(RedisServer);
hardships!(SentinelServer);
