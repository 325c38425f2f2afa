//! The inbox for the replies to durable intents: one subscription, and one subject token per intent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::bus::connection::{Bus, BusError, with_timeout};
use crate::bus::reply::BusReply;
use crate::bus::reply_codec;
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
    inbox: String,
    pending: PendingReplies,
    reader_task: JoinHandle<()>,
}

/// A reply that is awaited. Dropping it ends the wait.
#[derive(Debug)]
pub struct AwaitedReply {
    /// The subject of the reply.
    pub reply_to: String,
    reply: oneshot::Receiver<Result<BusReply, Fault>>,
    _registration: PendingReply,
}

impl ReplyInbox {
    /// Subscribes to a new inbox.
    ///
    /// # Errors
    /// When the subscription fails.
    pub async fn open(bus: &Bus) -> Result<Self, BusError> {
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
            inbox,
            pending,
            reader_task,
        })
    }

    /// Starts to await a reply, on a subject of its own.
    ///
    /// # Errors
    /// `queue_full` when too many intents wait for their replies.
    pub fn expect_reply(&self) -> Result<AwaitedReply, Fault> {
        let token = uuid::Uuid::now_v7().simple().to_string();
        let reply_to = format!("{}.{token}", self.inbox);
        let (waiter, reply) = oneshot::channel();
        Ok(AwaitedReply {
            reply_to,
            reply,
            _registration: PendingReply::register(&self.pending, token, waiter)?,
        })
    }
}

impl AwaitedReply {
    /// Waits for the reply; `None` when none arrives within `limit`, or it was returned before.
    pub async fn wait(&mut self, limit: Duration) -> Option<Result<BusReply, Fault>> {
        if self.reply.is_terminated() {
            return None;
        }
        timeout(limit, &mut self.reply).await.ok()?.ok()
    }
}

impl Drop for ReplyInbox {
    fn drop(&mut self) {
        self.reader_task.abort();
    }
}

/// The registration of a waiting intent; dropping it at the end of the wait removes it.
#[derive(Debug)]
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
