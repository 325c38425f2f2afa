//! NATS of a run: one server, or a cluster of three.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use async_nats::jetstream;
use tokio::time::{Instant, sleep, timeout};

use crate::bus::subjects;
use crate::chaos::servers::{ChaosServer, ServerSetup};

/// How many nodes a cluster has.
pub(in crate::chaos) const CLUSTER_NODES: usize = 3;
/// How long the cluster may take until every node has every entry again.
const READY_TIMEOUT: Duration = Duration::from_secs(90);
/// How long one question to the cluster may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// The time between two looks at a cluster that is awaited.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The streams that an order passes.
const STREAMS: [&str; 2] = [subjects::STREAM_REPORTS, subjects::STREAM_INTENTS];

/// NATS of a run.
#[derive(Debug)]
pub(in crate::chaos) struct NatsGroup {
    nodes: Vec<ChaosServer>,
}

impl NatsGroup {
    /// Returns servers that are not started yet. Without addresses for each other there is one.
    ///
    /// # Errors
    /// When a directory cannot be created.
    pub(in crate::chaos) fn new(clients: &[SocketAddr], routes: &[SocketAddr], parent: &Path) -> anyhow::Result<Self> {
        let mut nodes = Vec::new();
        for (index, address) in clients.iter().enumerate() {
            let (name, setup) = match routes.get(index) {
                None => ("nats-server".to_owned(), ServerSetup::Nats),
                Some(route) => {
                    let routes = routes.to_vec();
                    let setup = ServerSetup::NatsNode { route: *route, routes };
                    (format!("nats-server-{}", index + 1), setup)
                }
            };
            nodes.push(ChaosServer::new(&name, setup, *address, parent)?);
        }
        Ok(Self { nodes })
    }

    /// Returns how many nodes there are.
    pub(in crate::chaos) fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the addresses of the nodes.
    pub(in crate::chaos) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(ChaosServer::address).collect()
    }

    /// Returns the nodes.
    pub(in crate::chaos) fn all(&mut self) -> impl Iterator<Item = &mut ChaosServer> {
        self.nodes.iter_mut()
    }

    /// Returns a node.
    ///
    /// # Errors
    /// When there is no such node.
    pub(in crate::chaos) fn node(&mut self, index: usize) -> anyhow::Result<&mut ChaosServer> {
        self.nodes.get_mut(index).context("no such node of NATS")
    }

    /// Returns the node that leads the journal.
    ///
    /// # Errors
    /// When the cluster has no leader.
    pub(in crate::chaos) async fn find_leader(&self) -> anyhow::Result<usize> {
        let infos = self.read_streams().await?;
        let journal = infos.first().and_then(|info| info.cluster.as_ref());
        let leader = journal.and_then(|cluster| cluster.leader.clone());
        let leader = leader.context("the journal has no leader")?;
        let index = self.nodes.iter().position(|node| node.name() == leader);
        index.with_context(|| format!("no node is called {leader}"))
    }

    /// Waits until every node replies.
    ///
    /// # Errors
    /// When one does not in time.
    pub(in crate::chaos) async fn wait_until_started(&mut self) -> anyhow::Result<()> {
        for node in &mut self.nodes {
            node.wait_until_ready().await?;
        }
        Ok(())
    }

    /// Waits until every node replies, and each has every entry of the streams that an order passes.
    ///
    /// # Errors
    /// When that is not so in time.
    pub(in crate::chaos) async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        self.wait_until_started().await?;
        let end = Instant::now() + READY_TIMEOUT;
        while self.nodes.len() > 1 && !self.is_current().await {
            if Instant::now() >= end {
                bail!("a node of NATS does not have every entry after {READY_TIMEOUT:?}");
            }
            sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    async fn is_current(&self) -> bool {
        let infos = self.read_streams().await.unwrap_or_default();
        let mut clusters = infos.iter().map(|info| info.cluster.as_ref());
        infos.len() == STREAMS.len()
            && clusters.all(|cluster| {
                cluster.is_some_and(|cluster| {
                    let mut others = cluster.replicas.iter();
                    cluster.leader.is_some()
                        && cluster.replicas.len() + 1 == self.nodes.len()
                        && others.all(|replica| replica.current && !replica.offline)
                })
            })
    }

    async fn read_streams(&self) -> anyhow::Result<Vec<jetstream::stream::Info>> {
        let urls: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("nats://{}", node.address()))
            .collect();
        let read = async {
            let client = async_nats::connect(urls).await?;
            let context = jetstream::new(client);
            let mut infos = Vec::new();
            for name in STREAMS {
                infos.push(context.get_stream(name).await?.cached_info().clone());
            }
            anyhow::Ok(infos)
        };
        timeout(QUERY_TIMEOUT, read).await.context("reading the streams")?
    }
}
