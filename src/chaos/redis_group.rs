//! The Redis of a run: one server, or a primary with a replica and three Sentinels.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep};

use crate::chaos::redis_control::{can_fail_over, named_primary, read_replication};
use crate::chaos::servers::{ChaosServer, ServerSetup};

/// How many Sentinels watch a primary.
pub(in crate::chaos) const SENTINELS: usize = 3;
/// How many servers hold the data, with Sentinels.
pub(in crate::chaos) const REPLICATED_SERVERS: usize = 2;
/// How long the group may take until a failover is possible again.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
/// The time between two looks at a group that is awaited.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// The Redis of a run.
#[derive(Debug)]
pub(in crate::chaos) struct RedisGroup {
    servers: Vec<ChaosServer>,
    sentinels: Vec<ChaosServer>,
}

impl RedisGroup {
    /// Returns servers that are not started yet: the first one is the primary. Without addresses for Sentinels there is one.
    ///
    /// # Errors
    /// When there is no address, or a directory cannot be created.
    pub(in crate::chaos) fn new(
        servers: &[SocketAddr],
        sentinels: &[SocketAddr],
        parent: &Path,
    ) -> anyhow::Result<Self> {
        let primary = *servers.first().context("Redis has no address")?;
        let number = |servers: &[SocketAddr], index: usize| match servers.len() {
            1 => String::new(),
            _ => format!("-{}", index + 1),
        };
        let mut group = Self {
            servers: Vec::new(),
            sentinels: Vec::new(),
        };
        for (index, address) in servers.iter().enumerate() {
            let setup = ServerSetup::Redis {
                replica_of: (index > 0).then_some(primary),
            };
            let name = format!("redis-server{}", number(servers, index));
            group.servers.push(ChaosServer::new(&name, setup, *address, parent)?);
        }
        for (index, address) in sentinels.iter().enumerate() {
            let name = format!("sentinel{}", number(sentinels, index));
            let setup = ServerSetup::Sentinel { primary };
            group.sentinels.push(ChaosServer::new(&name, setup, *address, parent)?);
        }
        Ok(group)
    }

    /// Reports whether there are Sentinels.
    pub(in crate::chaos) fn has_sentinels(&self) -> bool {
        !self.sentinels.is_empty()
    }

    /// Returns the addresses of the Sentinels.
    pub(in crate::chaos) fn sentinel_addresses(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(ChaosServer::address).collect()
    }

    /// Returns the servers and the Sentinels.
    pub(in crate::chaos) fn all(&mut self) -> impl Iterator<Item = &mut ChaosServer> {
        self.servers.iter_mut().chain(&mut self.sentinels)
    }

    /// Returns a server.
    ///
    /// # Errors
    /// When there is no such server.
    pub(in crate::chaos) fn server(&mut self, index: usize) -> anyhow::Result<&mut ChaosServer> {
        self.servers.get_mut(index).context("no such Redis")
    }

    /// Returns the address of a server.
    ///
    /// # Errors
    /// When there is no such server.
    pub(in crate::chaos) fn address(&self, index: usize) -> anyhow::Result<SocketAddr> {
        Ok(self.servers.get(index).context("no such Redis")?.address())
    }

    /// Returns the primary: the one that most Sentinels name, or the only server.
    ///
    /// # Errors
    /// When no two Sentinels name the same one.
    pub(in crate::chaos) async fn find_primary(&self) -> anyhow::Result<usize> {
        if !self.has_sentinels() {
            return Ok(0);
        }
        let mut votes = vec![0; self.servers.len()];
        for sentinel in &self.sentinels {
            let Ok(named) = named_primary(sentinel.address()).await else {
                continue;
            };
            let index = self.servers.iter().position(|server| server.address() == named);
            if let Some(count) = index.and_then(|index| votes.get_mut(index)) {
                *count += 1;
            }
        }
        let named = votes.iter().position(|votes| votes * 2 > self.sentinels.len());
        named.context("the Sentinels do not name the same primary")
    }

    /// Waits until every server replies; with Sentinels, until all of them name the same primary, its replica follows it,
    /// and another failover is possible.
    ///
    /// # Errors
    /// When that is not so in time.
    pub(in crate::chaos) async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        for server in self.all() {
            server.wait_until_ready().await?;
        }
        let end = Instant::now() + READY_TIMEOUT;
        while let Some(obstacle) = self.obstacle().await {
            if Instant::now() >= end {
                bail!("after {READY_TIMEOUT:?}, {obstacle}");
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Returns why no failover is possible; `None` where one is, and without Sentinels.
    async fn obstacle(&self) -> Option<&'static str> {
        if !self.has_sentinels() {
            return None;
        }
        let Ok(primary) = self.find_primary().await else {
            return Some("the Sentinels do not name the same primary");
        };
        for (index, server) in self.servers.iter().enumerate() {
            let fields = read_replication(server.address()).await.unwrap_or_default();
            let has = |name: &str, value: &str| fields.get(name).is_some_and(|found| found == value);
            let is_ready = match index == primary {
                true => has("role", "master") && fields.get("slave0").is_some_and(|text| text.contains("state=online")),
                false => has("role", "slave") && has("master_link_status", "up"),
            };
            if !is_ready {
                return Some("the replica does not follow the primary");
            }
        }
        for sentinel in &self.sentinels {
            if !can_fail_over(sentinel.address()).await {
                return Some("a Sentinel does not reach the replica or the other Sentinels");
            }
        }
        None
    }
}
