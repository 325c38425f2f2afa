//! Waiting for the answers to durable intents: one subscription, a token for each intent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::bus::connection::{BusError, with_timeout};
use crate::bus::reply_codec;
use crate::bus::router_client::{REPLY_GRACE, ReceivedReply, RequestError, RouterClient};
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};

/// The most intents whose answers are waited for at once.
const MAX_PENDING_REPLIES: usize = 65_536;

type PendingReplies = Arc<Mutex<HashMap<String, oneshot::Sender<Result<ReceivedReply, Fault>>>>>;

/// A place where the answers to durable intents arrive.
#[derive(Debug)]
pub struct ReplyInbox {
    client: RouterClient,
    inbox: String,
    pending: PendingReplies,
    reader_task: JoinHandle<()>,
}

impl ReplyInbox {
    /// Opens one.
    ///
    /// # Errors
    /// When the subscription cannot be made.
    pub async fn open(caller: &RouterClient) -> Result<Self, BusError> {
        let bus = caller.bus();
        let inbox = bus.client.new_inbox();
        let subscribed = bus.client.subscribe(format!("{inbox}.*"));
        let mut messages = with_timeout(bus.request_timeout(), "subscribing", subscribed).await?;
        // An answer may come before the acknowledgement of the intent.
        bus.round_trip().await?;
        let waiting = PendingReplies::default();
        let readers = Arc::clone(&waiting);
        let reader = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                let token = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
                // Nobody waits for an answer that comes twice, or too late.
                if let Some(waiter) = remove_pending(&readers, &token) {
                    let _ = waiter.send(reply_codec::decode_reply(message).map(ReceivedReply::from));
                }
            }
        });
        Ok(Self {
            client: caller.clone(),
            inbox,
            pending: waiting,
            reader_task: reader,
        })
    }

    /// Hands an intent to the durable door and waits for its answer until a little after the deadline.
    ///
    /// # Errors
    /// See [`CallError`]. After [`CallError::Timeout`] the intent may still be executed before its deadline.
    pub async fn submit_and_wait(
        &self,
        broker: &BrokerId,
        account: &AccountId,
        body: Bytes,
        deadline: Timestamp,
    ) -> Result<ReceivedReply, RequestError> {
        let token = uuid::Uuid::now_v7().simple().to_string();
        let reply_to = format!("{}.{token}", self.inbox);
        let (waiter, answered) = oneshot::channel();
        let _place = PendingReply::register(&self.pending, token, waiter)?;
        let kept = self
            .client
            .publish_intent(broker, account, body, Some(deadline), Some(&reply_to))
            .await;
        match kept {
            // Without an acknowledgement it may be kept all the same: its answer tells.
            Ok(_) | Err(RequestError::Timeout) => {}
            Err(refused) => return Err(refused),
        }
        match timeout(
            deadline.saturating_duration_since(Timestamp::now()) + REPLY_GRACE,
            answered,
        )
        .await
        {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(_)) | Err(_) => Err(RequestError::Timeout),
        }
    }
}

impl Drop for ReplyInbox {
    fn drop(&mut self) {
        self.reader_task.abort();
    }
}

/// A place among those who wait, given back when the wait is over, however it ends.
struct PendingReply {
    pending: PendingReplies,
    token: String,
}

impl PendingReply {
    fn register(
        waiting: &PendingReplies,
        token: String,
        waiter: oneshot::Sender<Result<ReceivedReply, Fault>>,
    ) -> Result<Self, Fault> {
        let mut map = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= MAX_PENDING_REPLIES {
            return Err(Fault::new(
                FaultCode::QueueFull,
                "too many intents wait for their answers; nothing was sent",
            ));
        }
        map.insert(token.clone(), waiter);
        drop(map);
        Ok(Self {
            pending: Arc::clone(waiting),
            token,
        })
    }
}

impl Drop for PendingReply {
    fn drop(&mut self) {
        drop(remove_pending(&self.pending, &self.token));
    }
}

fn remove_pending(waiting: &PendingReplies, token: &str) -> Option<oneshot::Sender<Result<ReceivedReply, Fault>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(token)
}
