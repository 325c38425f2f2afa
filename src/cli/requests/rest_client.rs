//! Reading from the sidecar over REST, with a key where it wants one.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::cli::error::{CommandError, error_with_reason};
use crate::config::api_keys::ApiKey;
use crate::config::nats::Secret;
use crate::wire::problem::Problem;

/// The longest answer that is read.
const MAX_RESPONSE_BYTES: u64 = 64 * 1024 * 1024;
const HEADER_END: &[u8] = b"\r\n\r\n";
const STATUS_OK: &[u8] = b"200";

/// Where REST is served, and the key it is asked with.
#[derive(Debug, Clone, Args)]
pub(crate) struct RestEndpointArgs {
    /// Where REST is served [default: the setting http.addr].
    #[arg(long, value_name = "ADDRESS")]
    http_addr: Option<SocketAddr>,
    /// The key, where the sidecar wants one. The variable is the better place: other users see a process's arguments.
    #[arg(long, value_name = "KEY", env = "ORDER_ROUTER_API_KEY", hide_env_values = true, value_parser = parse_secret)]
    api_key: Option<Secret>,
}

/// Where requests go, and what they present.
#[derive(Debug)]
pub(crate) struct RestEndpoint {
    address: SocketAddr,
    key: Option<ApiKey>,
}

/// A refusal by `clap` would show the value, so there is none here.
fn parse_secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

impl RestEndpointArgs {
    /// Returns where requests go: to `configured` unless an argument names another address.
    ///
    /// # Errors
    /// When the key has not the form of one; the message does not show it.
    pub(crate) fn endpoint(&self, configured: SocketAddr) -> Result<RestEndpoint, CommandError> {
        let key = match &self.api_key {
            None => None,
            Some(text) => Some(ApiKey::parse(text.reveal().trim()).ok_or_else(|| {
                let what = "the key of --api-key or ORDER_ROUTER_API_KEY is none";
                CommandError::Usage(format!(
                    "{what}: it must be `ork_` and 64 hex digits, as `order-router key new` prints it"
                ))
            })?),
        };
        Ok(RestEndpoint {
            address: self.http_addr.unwrap_or(configured),
            key,
        })
    }
}

/// Asks the sidecar for a path, and returns the JSON it answers with.
///
/// # Errors
/// A refusal, or that there is no whole answer within `limit`.
pub(crate) async fn fetch(rest: &RestEndpoint, path: &str, limit: Duration) -> Result<Vec<u8>, CommandError> {
    let address = rest.address;
    let read = timeout(limit, send_request(rest, path)).await;
    let read = read.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
    let bytes = read.map_err(|error| {
        let what = format!("there is no answer from http://{address}: {error}");
        error_with_reason(what, "is the sidecar running? `http.addr` says where it is looked for")
    })?;
    match parse_response(&bytes) {
        Some(Ok(body)) => Ok(body.to_vec()),
        Some(Err(problem)) => Err(problem.into_fault().into()),
        None => Err(error_with_reason("the answer is none of a sidecar's", "look at `http.addr`").into()),
    }
}

async fn send_request(rest: &RestEndpoint, path: &str) -> std::io::Result<Vec<u8>> {
    let address = rest.address;
    let key = rest.key.as_ref();
    let key = key.map_or_else(String::new, |key| format!("Authorization: Bearer {}\r\n", key.reveal()));
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0: the answer comes in one piece, and ends with the connection.
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{key}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut bytes = Vec::new();
    stream.take(MAX_RESPONSE_BYTES).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Reads an answer: its body, or the problem it tells; `None` where it is neither.
fn parse_response(bytes: &[u8]) -> Option<Result<&[u8], Problem>> {
    let end = bytes
        .windows(HEADER_END.len())
        .position(|window| window == HEADER_END)?;
    let (head, body) = (bytes.get(..end)?, bytes.get(end + HEADER_END.len()..)?);
    match head.split(|byte| *byte == b' ').nth(1)? {
        STATUS_OK => Some(Ok(body)),
        _ => serde_json::from_slice(body).ok().map(Err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_body_or_a_problem() {
        let told = parse_response(b"HTTP/1.0 200 OK\r\na: b\r\n\r\n[1]\r\n\r\n").unwrap();
        assert_eq!(told.unwrap(), b"[1]\r\n\r\n");
        let problem = br#"{"type":"t","title":"t","status":503,"detail":"d","code":"bus_unavailable"}"#;
        let refused = [b"HTTP/1.0 503 Service Unavailable\r\n\r\n", &problem[..]].concat();
        assert_eq!(parse_response(&refused).unwrap().unwrap_err().code, "bus_unavailable");
        for bytes in [
            &b""[..],
            b"HTTP/1.0 200 OK\r\n",
            b"HTTP/1.0 404 Not Found\r\n\r\nnothing",
        ] {
            assert!(parse_response(bytes).is_none());
        }
    }
}
