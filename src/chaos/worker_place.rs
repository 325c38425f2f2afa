//! A worker of a run, and the proxies between it and its servers.

use std::net::SocketAddr;

use crate::chaos::child::ChildProcess;
use crate::chaos::proxy::{LinkFault, LinkProxy};
use crate::chaos::schedule::LinkEnd;

/// The servers that a worker connects to.
#[derive(Debug, Clone)]
pub(in crate::chaos) struct WorkerServers {
    /// The nodes of NATS.
    pub(in crate::chaos) nats: Vec<SocketAddr>,
    /// Redis; `None` where the Sentinels name it: what they name is no proxy.
    pub(in crate::chaos) redis: Option<SocketAddr>,
    /// The local exchange, where there is one.
    pub(in crate::chaos) venue: Option<SocketAddr>,
}

/// A worker and its connections.
#[derive(Debug)]
pub(in crate::chaos) struct WorkerPlace {
    /// Its name.
    pub(in crate::chaos) name: String,
    nats: Vec<LinkProxy>,
    redis: Option<LinkProxy>,
    venue: Option<LinkProxy>,
    /// Its process.
    pub(in crate::chaos) process: Option<ChildProcess>,
    /// Whether the process was ready.
    pub(in crate::chaos) is_ready: bool,
}

impl WorkerPlace {
    /// Starts the proxies of a worker that is not started yet.
    ///
    /// # Errors
    /// When no port is free.
    pub(in crate::chaos) async fn open(name: String, servers: &WorkerServers) -> std::io::Result<Self> {
        let mut nats = Vec::new();
        for address in &servers.nats {
            nats.push(LinkProxy::start(*address).await?);
        }
        Ok(Self {
            name,
            nats,
            redis: open_link(servers.redis).await?,
            venue: open_link(servers.venue).await?,
            process: None,
            is_ready: false,
        })
    }

    /// Returns the servers as the worker sees them: its proxies.
    pub(in crate::chaos) fn proxies(&self) -> WorkerServers {
        WorkerServers {
            nats: self.nats.iter().map(LinkProxy::address).collect(),
            redis: self.redis.as_ref().map(LinkProxy::address),
            venue: self.venue.as_ref().map(LinkProxy::address),
        }
    }

    /// Puts a fault in force on the connections to a server; the default lets everything pass again. A server without a
    /// proxy has none.
    pub(in crate::chaos) fn set_link(&self, end: LinkEnd, fault: LinkFault) {
        let links = match end {
            LinkEnd::Nats => self.nats.as_slice(),
            LinkEnd::Redis => self.redis.as_slice(),
            LinkEnd::Venue => self.venue.as_slice(),
        };
        for link in links {
            link.set(fault);
        }
    }
}

async fn open_link(server: Option<SocketAddr>) -> std::io::Result<Option<LinkProxy>> {
    match server {
        Some(address) => Ok(Some(LinkProxy::start(address).await?)),
        None => Ok(None),
    }
}
