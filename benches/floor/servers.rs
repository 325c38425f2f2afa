//! nats-server and redis-server for one measurement, on free ports of the loopback, in a temporary directory.

use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// Where the servers listen.
#[derive(Debug, Clone)]
pub struct Addresses {
    pub nats: String,
    pub redis: String,
}

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause between two attempts to connect.
const RETRY_DELAY: Duration = Duration::from_millis(20);

/// Both servers; dropping the value kills them.
pub struct Servers {
    pub addresses: Addresses,
    _nats: Child,
    _redis: Child,
    _directory: tempfile::TempDir,
}

impl Servers {
    /// Starts both and returns when both accept connections. `syncs_always` makes JetStream sync each write to the disk;
    /// otherwise the server's default of two minutes holds. Redis syncs its append-only file every second.
    pub async fn start(syncs_always: bool) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("a temporary directory")?;
        let (nats_port, redis_port) = (free_port()?, free_port()?);
        let nats = start_nats(directory.path(), nats_port, syncs_always)?;
        let redis = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &redis_port.to_string(), "--save", ""])
            .args([
                "--appendonly",
                "yes",
                "--appendfsync",
                "everysec",
                "--auto-aof-rewrite-min-size",
                "512mb",
                "--maxmemory-policy",
                "noeviction",
            ])
            .arg("--dir")
            .arg(directory.path())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting redis-server")?;
        for port in [nats_port, redis_port] {
            wait_for_port(port).await?;
        }
        let addresses = Addresses {
            nats: format!("nats://127.0.0.1:{nats_port}"),
            redis: format!("redis://127.0.0.1:{redis_port}"),
        };
        Ok(Self {
            addresses,
            _nats: nats,
            _redis: redis,
            _directory: directory,
        })
    }
}

fn start_nats(directory: &Path, port: u16, syncs_always: bool) -> anyhow::Result<Child> {
    let sync = if syncs_always { ", sync_interval: always" } else { "" };
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: {:?}{sync} }}\n",
        directory.join("nats")
    );
    let config = directory.join("nats.conf");
    std::fs::write(&config, text).context("writing nats.conf")?;
    Command::new("nats-server")
        .arg("--config")
        .arg(config)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("starting nats-server; `make setup` installs it")
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("a free port")?;
    Ok(listener.local_addr()?.port())
}

async fn wait_for_port(port: u16) -> anyhow::Result<()> {
    let end = Instant::now() + START_TIMEOUT;
    loop {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(_) => return Ok(()),
            Err(error) if Instant::now() > end => return Err(error).with_context(|| format!("port {port}")),
            Err(_) => sleep(RETRY_DELAY).await,
        }
    }
}
