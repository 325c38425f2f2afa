//! What a measurement depends on beside the load: versions, durability, processors.

use std::time::Duration;

use serde::Serialize;
use tokio::time::timeout;

use crate::bus::connection::Bus;
use crate::cli::commands::dev::journal_sync::JournalSync;
use crate::config::Settings;
use crate::config::journal::AppendMode;

/// How long Redis may take to answer.
const REDIS_TIMEOUT: Duration = Duration::from_secs(2);
/// What is printed where something is not known.
const UNKNOWN: &str = "unknown";

/// What a measurement depends on.
#[derive(Debug, Serialize, Default)]
pub(super) struct Environment {
    /// The version of this program.
    pub(super) order_router: &'static str,
    /// The version of the NATS server, major and minor.
    pub(super) nats: String,
    /// JetStream's `sync_interval`: `always`, `default` (two minutes), or `unknown`.
    pub(super) nats_sync: &'static str,
    /// How the worker appends to the journal: the setting `journal.append` of this command.
    pub(super) journal_append: AppendMode,
    /// The version of Redis.
    pub(super) redis: String,
    /// Whether Redis writes its append-only file, and when it syncs it.
    pub(super) redis_aof: String,
    /// The processors that this machine offers.
    pub(super) processors: usize,
}

impl Environment {
    /// Reads the environment of a router; what cannot be read is `unknown`.
    pub(super) async fn read(settings: &Settings, bus: &Bus, sync: Option<JournalSync>) -> Self {
        let redis = match settings.redis.uses_sentinels() {
            // Which Redis it is, only a worker knows.
            true => None,
            false => timeout(REDIS_TIMEOUT, read_redis(&settings.redis.url))
                .await
                .ok()
                .flatten(),
        };
        let (redis, redis_aof) = redis.unwrap_or((UNKNOWN.to_owned(), UNKNOWN.to_owned()));
        let version = bus.server_version();
        Self {
            order_router: env!("CARGO_PKG_VERSION"),
            nats: format!("{}.{}", version.major, version.minor),
            nats_sync: match sync {
                Some(JournalSync::Always) => "always",
                Some(JournalSync::Default) => "default",
                None => UNKNOWN,
            },
            journal_append: settings.journal.append,
            redis,
            redis_aof,
            processors: std::thread::available_parallelism().map_or(0, usize::from),
        }
    }
}

/// Returns the version of Redis, and how it keeps its append-only file.
async fn read_redis(url: &str) -> Option<(String, String)> {
    let mut connection = redis::Client::open(url)
        .ok()?
        .get_multiplexed_async_connection()
        .await
        .ok()?;
    let info: String = redis::cmd("INFO").query_async(&mut connection).await.ok()?;
    let value = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(|value| value.trim().to_owned())
    };
    let aof = match value("aof_enabled").as_deref() {
        Some("1") => {
            let mut command = redis::cmd("CONFIG");
            command.arg("GET").arg("appendfsync");
            let config: Result<Vec<String>, _> = command.query_async(&mut connection).await;
            let fsync = config.ok().and_then(|pair| pair.into_iter().nth(1));
            format!("on, fsync {}", fsync.as_deref().unwrap_or(UNKNOWN))
        }
        Some(_) => "off".to_owned(),
        None => UNKNOWN.to_owned(),
    };
    Some((value("redis_version")?, aof))
}
