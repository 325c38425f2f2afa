//! Reading from the sidecar over REST.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::failure::{Failure, because};
use crate::wire::problem::Problem;

/// The longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64 * 1024 * 1024;
const END_OF_HEAD: &[u8] = b"\r\n\r\n";
const OK: &[u8] = b"200";

/// Asks the sidecar at an address for a path, and returns the JSON it answers with.
///
/// # Errors
/// A refusal, or that there is no whole answer within `limit`.
pub(crate) async fn get(address: SocketAddr, path: &str, limit: Duration) -> Result<Vec<u8>, Failure> {
    let read = timeout(limit, exchange(address, path)).await;
    let read = read.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    let bytes = read.map_err(|error| {
        let what = format!("there is no answer from http://{address}: {error}");
        because(what, "is the sidecar running? `http.addr` says where it is looked for")
    })?;
    match answer(&bytes) {
        Some(Ok(body)) => Ok(body.to_vec()),
        Some(Err(problem)) => Err(problem.into_fault().into()),
        None => Err(because("the answer is none of a sidecar's", "look at `http.addr`").into()),
    }
}

async fn exchange(address: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0: the answer comes in one piece, and ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Reads an answer: its body, or the problem it tells; `None` where it is neither.
fn answer(bytes: &[u8]) -> Option<Result<&[u8], Problem>> {
    let end = bytes
        .windows(END_OF_HEAD.len())
        .position(|window| window == END_OF_HEAD)?;
    let (head, body) = (bytes.get(..end)?, bytes.get(end + END_OF_HEAD.len()..)?);
    match head.split(|byte| *byte == b' ').nth(1)? {
        OK => Some(Ok(body)),
        _ => serde_json::from_slice(body).ok().map(Err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_body_or_a_problem() {
        let told = answer(b"HTTP/1.0 200 OK\r\na: b\r\n\r\n[1]\r\n\r\n").unwrap();
        assert_eq!(told.unwrap(), b"[1]\r\n\r\n");
        let problem = br#"{"type":"t","title":"t","status":503,"detail":"d","code":"bus_unavailable"}"#;
        let refused = [b"HTTP/1.0 503 Service Unavailable\r\n\r\n", &problem[..]].concat();
        assert_eq!(answer(&refused).unwrap().unwrap_err().code, "bus_unavailable");
        for bytes in [
            &b""[..],
            b"HTTP/1.0 200 OK\r\n",
            b"HTTP/1.0 404 Not Found\r\n\r\nnothing",
        ] {
            assert!(answer(bytes).is_none());
        }
    }
}
