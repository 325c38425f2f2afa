//! Which workers run: they reply to service discovery (ADR-32 of the NATS project).

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use crate::bus::connection::{Bus, BusError, with_timeout};
use crate::bus::subjects::{self, SERVICE_NAME};

/// How long workers have to reply.
const REPLY_WINDOW: Duration = Duration::from_secs(1);
/// The most workers that are listed.
const MAX_WORKERS: usize = 1_000;

#[derive(Deserialize)]
struct PingReply {
    name: String,
    id: String,
}

/// Returns the instance ids of the workers that run: of those that reply within a second, at most 1 000.
///
/// # Errors
/// When the server is out of reach.
pub async fn find_workers(bus: &Bus) -> Result<BTreeSet<String>, BusError> {
    let inbox = bus.client.new_inbox();
    let subscribed = bus.client.subscribe(inbox.clone());
    let mut replies = with_timeout(bus.request_timeout(), "subscribing", subscribed).await?;
    let asked = bus
        .client
        .publish_with_reply(subjects::service_ping(), inbox, Bytes::new());
    with_timeout(bus.request_timeout(), "asking for workers", asked).await?;
    // A server that is out of reach shows here, and not as a router without workers.
    bus.round_trip().await?;
    let (mut found, end) = (BTreeSet::new(), Instant::now() + REPLY_WINDOW);
    while found.len() < MAX_WORKERS
        && let Ok(Some(message)) = timeout_at(end, replies.next()).await
    {
        // Without any worker the server replies at once, with a status and no body.
        if message.status.is_some() {
            break;
        }
        let reply: Result<PingReply, _> = serde_json::from_slice(&message.payload);
        found.extend(
            reply
                .ok()
                .filter(|reply| reply.name == SERVICE_NAME)
                .map(|reply| reply.id),
        );
    }
    Ok(found)
}
