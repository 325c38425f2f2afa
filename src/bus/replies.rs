//! Waiting for the answers to durable intents: one subscription, a token for each intent.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::answer;
use super::client::{ANSWER_GRACE, CallError, Caller, Reply};
use super::connection::{BusError, within};
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::time::Timestamp;
use crate::fault::{Code, Fault};

/// The most intents whose answers are waited for at once.
const WAITING_MAX: usize = 65_536;

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Result<Reply, Fault>>>>>;

/// A place where the answers to durable intents arrive.
#[derive(Debug)]
pub struct Replies {
    caller: Caller,
    inbox: String,
    waiting: Waiting,
    reader: JoinHandle<()>,
}

impl Replies {
    /// Opens one.
    ///
    /// # Errors
    /// When the subscription cannot be made.
    pub async fn open(caller: &Caller) -> Result<Self, BusError> {
        let bus = caller.bus();
        let inbox = bus.client.new_inbox();
        let subscribed = bus.client.subscribe(format!("{inbox}.*"));
        let mut messages = within(bus.request_timeout(), "subscribing", subscribed).await?;
        // An answer may come before the acknowledgement of the intent.
        bus.round_trip().await?;
        let waiting = Waiting::default();
        let readers = Arc::clone(&waiting);
        let reader = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                let token = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
                // Nobody waits for an answer that comes twice, or too late.
                if let Some(waiter) = take(&readers, &token) {
                    let _ = waiter.send(answer::read(message).map(Reply::from));
                }
            }
        });
        Ok(Self {
            caller: caller.clone(),
            inbox,
            waiting,
            reader,
        })
    }

    /// Hands an intent to the durable door and waits for its answer until a little after the deadline.
    ///
    /// # Errors
    /// See [`CallError`]. After [`CallError::Timeout`] the intent may still be executed before its deadline.
    pub async fn submit(
        &self,
        broker: &BrokerId,
        account: &AccountId,
        body: Bytes,
        deadline: Timestamp,
    ) -> Result<Reply, CallError> {
        let token = uuid::Uuid::now_v7().simple().to_string();
        let reply_to = format!("{}.{token}", self.inbox);
        let (waiter, answered) = oneshot::channel();
        let _place = Place::take(&self.waiting, token, waiter)?;
        let kept = self
            .caller
            .publish_intent(broker, account, body, Some(deadline), Some(&reply_to))
            .await;
        match kept {
            // Without an acknowledgement it may be kept all the same: its answer tells.
            Ok(_) | Err(CallError::Timeout) => {}
            Err(refused) => return Err(refused),
        }
        match timeout(deadline.since(Timestamp::now()) + ANSWER_GRACE, answered).await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(_)) | Err(_) => Err(CallError::Timeout),
        }
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// A place among those who wait, given back when the wait is over, however it ends.
struct Place {
    waiting: Waiting,
    token: String,
}

impl Place {
    fn take(waiting: &Waiting, token: String, waiter: oneshot::Sender<Result<Reply, Fault>>) -> Result<Self, Fault> {
        let mut map = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() >= WAITING_MAX {
            return Err(Fault::new(
                Code::QueueFull,
                "too many intents wait for their answers; nothing was sent",
            ));
        }
        map.insert(token.clone(), waiter);
        drop(map);
        Ok(Self {
            waiting: Arc::clone(waiting),
            token,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(take(&self.waiting, &self.token));
    }
}

fn take(waiting: &Waiting, token: &str) -> Option<oneshot::Sender<Result<Reply, Fault>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(token)
}
