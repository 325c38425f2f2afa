//! Pull consumers: the settings of an ephemeral one, and the request for a batch.
//!
//! The pull requests are made here and not by the client library: its own batches lose their wake-up on a heartbeat, and
//! its endless stream requests more messages than the caller has room for.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use serde_json::json;

use crate::bus::connection::{Bus, BusError, with_timeout};

/// The interval of the heartbeats that the server sends while it holds a pull request.
const PULL_HEARTBEAT: Duration = Duration::from_secs(1);
/// How long the server may be silent; after that the pull request counts as lost. More than two heartbeats.
pub const SILENCE_TIMEOUT: Duration = Duration::from_millis(2_500);
/// How long the server keeps an ephemeral consumer without pull requests.
const INACTIVE_THRESHOLD: Duration = Duration::from_secs(30);

/// Returns the settings of an ephemeral consumer, in memory and without acknowledgements, that delivers the entries from
/// `start_sequence` on; with filters, only those whose subject matches one of them.
pub fn ephemeral_consumer(start_sequence: u64, filter_subjects: Vec<String>) -> pull::Config {
    pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence },
        filter_subjects,
        ack_policy: AckPolicy::None,
        inactive_threshold: INACTIVE_THRESHOLD,
        num_replicas: 1,
        memory_storage: true,
        ..pull::Config::default()
    }
}

/// Requests up to `batch` messages of a consumer for `reply`. The server holds the request for `expires`.
///
/// # Errors
/// When the request could not be published within the time limit of an exchange.
pub async fn request_batch(
    bus: &Bus,
    operation: &'static str,
    pull_subject: String,
    reply: String,
    batch: usize,
    expires: Duration,
) -> Result<(), BusError> {
    let nanoseconds = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
    let request = json!({
        "batch": batch, "expires": nanoseconds(expires), "idle_heartbeat": nanoseconds(PULL_HEARTBEAT),
    });
    let published = bus
        .client
        .publish_with_reply(pull_subject, reply, request.to_string().into());
    with_timeout(bus.request_timeout(), operation, published).await
}
