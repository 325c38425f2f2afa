//! Readiness probes of the servers.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one reply may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);
/// The most bytes of a reply that are read; NATS' greeting has some hundred.
const MAX_REPLY_BYTES: usize = 8_192;

/// The sign that a server is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum ReadinessProbe {
    /// NATS greets each connection once JetStream has recovered.
    Nats,
    /// Redis replies to a ping once it has loaded its append-only file.
    Redis,
    /// The local exchange replies to a ping over HTTP.
    Venue,
}

impl ReadinessProbe {
    /// Reports whether the server at this address is ready.
    pub(in crate::cli) async fn is_ready(self, address: SocketAddr) -> bool {
        let request: &[u8] = match self {
            Self::Nats => b"",
            Self::Redis => b"PING\r\n",
            Self::Venue => b"GET /api/v3/ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        };
        let Ok(Some(line)) = timeout(REPLY_TIMEOUT, read_first_line(address, request)).await else {
            return false;
        };
        match self {
            Self::Nats => line.starts_with("INFO ") && line.contains("\"jetstream\":true"),
            Self::Redis => line.starts_with("+PONG"),
            Self::Venue => line.starts_with("HTTP/1.1 200"),
        }
    }
}

async fn read_first_line(address: SocketAddr, request: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request).await.ok()?;
    let mut reply = Vec::new();
    let mut chunk = [0; 1_024];
    while reply.len() < MAX_REPLY_BYTES && !reply.contains(&b'\n') {
        match stream.read(&mut chunk).await.ok()? {
            0 => break,
            length => reply.extend_from_slice(&chunk[..length]),
        }
    }
    String::from_utf8(reply).ok()
}
