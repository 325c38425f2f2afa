//! Whether a server answers.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long one answer may take.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);
/// How much of an answer is read; NATS' greeting is some hundred bytes.
const MAX_REPLY_BYTES: usize = 8_192;

/// How a server shows that it is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum ReadinessProbe {
    /// It greets whoever connects, once JetStream has recovered.
    Nats,
    /// It answers a ping, once it has read its append-only file.
    Redis,
}

impl ReadinessProbe {
    /// Whether the server at this address is ready.
    pub(in crate::cli) async fn is_ready(self, address: SocketAddr) -> bool {
        let request: &[u8] = match self {
            Self::Nats => b"",
            Self::Redis => b"PING\r\n",
        };
        let Ok(Some(line)) = timeout(REPLY_TIMEOUT, read_first_line(address, request)).await else {
            return false;
        };
        match self {
            Self::Nats => line.starts_with("INFO ") && line.contains("\"jetstream\":true"),
            Self::Redis => line.starts_with("+PONG"),
        }
    }
}

async fn read_first_line(address: SocketAddr, request: &[u8]) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(request).await.ok()?;
    let mut answer = Vec::new();
    let mut chunk = [0; 1_024];
    while answer.len() < MAX_REPLY_BYTES && !answer.contains(&b'\n') {
        match stream.read(&mut chunk).await.ok()? {
            0 => break,
            length => answer.extend_from_slice(&chunk[..length]),
        }
    }
    String::from_utf8(answer).ok()
}
