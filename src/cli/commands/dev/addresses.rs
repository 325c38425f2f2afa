//! Addresses to listen on.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::Context;

use crate::cli::error::error_with_reason;
use crate::config::listen_address::ListenAddress;
use crate::http;

/// The addresses of the two servers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerAddresses {
    /// The address of NATS.
    pub(crate) nats: SocketAddr,
    /// The address of Redis.
    pub(crate) redis: SocketAddr,
}

impl ServerAddresses {
    /// Returns the loopback addresses of these ports; for each 0, of a free port.
    ///
    /// # Errors
    /// When a port is in use.
    pub(crate) fn resolve(nats: u16, redis: u16) -> anyhow::Result<Self> {
        for (name, port, remedy) in [("NATS", nats, "--nats-port 0"), ("Redis", redis, "--redis-port 0")] {
            ensure_address_free(name, loopback_address(port), remedy)?;
        }
        // Both are bound until both are chosen, so that they differ.
        let bound = [nats, redis].map(|port| TcpListener::bind(loopback_address(port)));
        let [nats, redis] = bound.map(|listener| listener.and_then(|listener| Ok((listener.local_addr()?, listener))));
        let failed = "choosing the servers' ports (they must differ)";
        Ok(Self {
            nats: nats.context(failed)?.0,
            redis: redis.context(failed)?.0,
        })
    }
}

/// Returns a loopback address with a free port.
///
/// # Errors
/// When there is none.
pub(crate) fn choose_free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind(loopback_address(0))?.local_addr()
}

/// Checks that the address of a setting can be listened on, as [`ensure_address_free`] does.
///
/// # Errors
/// When it cannot, or its host has no address.
pub(crate) async fn ensure_host_free(name: &str, address: &ListenAddress, remedy: &str) -> anyhow::Result<()> {
    let resolved = http::resolve_host(address.host(), address.port()).await;
    let resolved = resolved.with_context(|| format!("{name} cannot listen on {address}"))?;
    ensure_address_free(name, resolved[0], remedy)
}

/// Checks that an address can be listened on; `name` is what will listen there.
///
/// # Errors
/// When it cannot. The error's text names the flag `remedy`, which chooses another address.
pub(crate) fn ensure_address_free(name: &str, address: SocketAddr, remedy: &str) -> anyhow::Result<()> {
    match TcpListener::bind(address) {
        Ok(_) => Ok(()),
        Err(error) => {
            let reason =
                format!("{error}; stop the process that listens there, or choose another address with {remedy}");
            Err(error_with_reason(format!("{name} cannot listen on {address}"), reason))
        }
    }
}

fn loopback_address(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_ports_differ_and_a_port_in_use_is_named() {
        let addresses = ServerAddresses::resolve(0, 0).unwrap();
        assert_ne!(addresses.nats, addresses.redis);
        let taken = TcpListener::bind(loopback_address(0)).unwrap();
        let error = ServerAddresses::resolve(taken.local_addr().unwrap().port(), 0)
            .unwrap_err()
            .to_string();
        assert!(error.contains("--nats-port"), "{error}");
    }
}
