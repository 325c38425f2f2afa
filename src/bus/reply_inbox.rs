//! The inbox for the replies to durable intents: one subscription, and one subject token per intent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::bus::connection::{BusError, with_timeout};
use crate::bus::reply_codec;
use crate::bus::request::BusReply;
use crate::bus::router_client::{REPLY_GRACE, RequestError, RouterClient};
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};

/// The maximum number of intents that wait for their replies at the same time.
const MAX_PENDING_REPLIES: usize = 65_536;

/// Delivers the reply to one waiting intent.
type ReplySender = oneshot::Sender<Result<BusReply, Fault>>;
/// The waiting intents, by token.
type PendingReplies = Arc<Mutex<HashMap<String, ReplySender>>>;

/// Receives the replies to durable intents.
#[derive(Debug)]
pub struct ReplyInbox {
    client: RouterClient,
    inbox: String,
    pending: PendingReplies,
    reader_task: JoinHandle<()>,
}

impl ReplyInbox {
    /// Subscribes to a new inbox.
    ///
    /// # Errors
    /// When the subscription fails.
    pub async fn open(client: &RouterClient) -> Result<Self, BusError> {
        let bus = client.bus();
        let inbox = bus.client.new_inbox();
        let subscribed = bus.client.subscribe(format!("{inbox}.*"));
        let mut messages = with_timeout(bus.request_timeout(), "subscribing", subscribed).await?;
        // A reply may arrive before the acknowledgement of its intent.
        bus.round_trip().await?;
        let pending = PendingReplies::default();
        let waiting = Arc::clone(&pending);
        let reader_task = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                let token = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
                // A repeated or late reply has no waiter.
                if let Some(waiter) = remove_pending(&waiting, &token) {
                    let _ = waiter.send(reply_codec::decode_reply(message));
                }
            }
        });
        Ok(Self {
            client: client.clone(),
            inbox,
            pending,
            reader_task,
        })
    }

    /// Publishes an intent to the durable door and waits for its reply until shortly after the deadline.
    ///
    /// # Errors
    /// See [`RequestError`]. After [`RequestError::Timeout`] the intent may still be executed before its deadline.
    pub async fn submit_and_wait(
        &self,
        broker: &BrokerId,
        account: &AccountId,
        body: Bytes,
        deadline: Timestamp,
    ) -> Result<BusReply, RequestError> {
        let token = uuid::Uuid::now_v7().simple().to_string();
        let reply_to = format!("{}.{token}", self.inbox);
        let (waiter, reply) = oneshot::channel();
        let _registration = PendingReply::register(&self.pending, token, waiter)?;
        let published = self
            .client
            .publish_intent(broker, account, body, Some(deadline), Some(&reply_to))
            .await;
        match published {
            // Without an acknowledgement the intent may still be stored: its reply shows it.
            Ok(_) | Err(RequestError::Timeout) => {}
            Err(refused) => return Err(refused),
        }
        let limit = deadline.saturating_duration_since(Timestamp::now()) + REPLY_GRACE;
        match timeout(limit, reply).await {
            Ok(Ok(reply)) => Ok(reply?),
            Ok(Err(_)) | Err(_) => Err(RequestError::Timeout),
        }
    }
}

impl Drop for ReplyInbox {
    fn drop(&mut self) {
        self.reader_task.abort();
    }
}

/// The registration of a waiting intent; dropping it at the end of the wait removes it.
struct PendingReply {
    pending: PendingReplies,
    token: String,
}

impl PendingReply {
    fn register(pending: &PendingReplies, token: String, waiter: ReplySender) -> Result<Self, Fault> {
        let mut map = pending.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= MAX_PENDING_REPLIES {
            return Err(Fault::new(
                FaultCode::QueueFull,
                format!("{MAX_PENDING_REPLIES} intents wait for their replies already; nothing was sent"),
            ));
        }
        map.insert(token.clone(), waiter);
        drop(map);
        Ok(Self {
            pending: Arc::clone(pending),
            token,
        })
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        drop(remove_pending(&self.pending, &self.token));
    }
}

fn remove_pending(pending: &PendingReplies, token: &str) -> Option<ReplySender> {
    pending.lock().unwrap_or_else(PoisonError::into_inner).remove(token)
}
