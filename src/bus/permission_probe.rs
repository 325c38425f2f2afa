//! Whether the NATS user may publish to a subject, found out by a message that has no effect.

use std::time::Duration;

use async_nats::{HeaderMap, Request};
use bytes::Bytes;

use crate::bus::connection::{AwaitedSubjects, Bus, BusError};
use crate::bus::headers::EXPECTED_STREAM;

/// The name of a stream that does not exist: a stream stores no message that expects it.
const NO_STREAM: &str = "-";
/// How long the server may take to reply or to deny.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Reports whether the user may publish to a subject. The message has no body, which a worker refuses as malformed, and a
/// header with which no stream stores it.
///
/// # Errors
/// When the server is unreachable.
pub async fn may_publish(bus: &Bus, subject: &str) -> Result<bool, BusError> {
    let mut headers = HeaderMap::new();
    headers.insert(EXPECTED_STREAM, NO_STREAM);
    let request = Request::new()
        .headers(headers)
        .payload(Bytes::new())
        .timeout(Some(PROBE_TIMEOUT));
    let probed = async {
        // Any reply, and none as well, shows that the message was accepted.
        let _ = bus.client.send_request(subject.to_owned(), request).await;
        match bus.is_connected() {
            true => Ok(true),
            false => Err(BusError::Unreachable("the connection was lost".to_owned())),
        }
    };
    match bus.unless_denied(AwaitedSubjects::One(subject), probed).await {
        Err(BusError::Denied(_)) => Ok(false),
        other => other,
    }
}
