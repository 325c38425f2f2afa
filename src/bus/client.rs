//! The caller's side: requests, durable intents, and following what happens.

use std::time::Duration;

use async_nats::{HeaderMap, RequestErrorKind};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde::Deserialize;

use super::call::Answer;
use super::connection::{Bus, BusError, within};
use super::{answer, headers, subjects};
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::time::Timestamp;
use crate::fault::{Code, Fault};

/// How long after the deadline a caller still listens: the worker's word that it was too late is worth having.
pub(super) const ANSWER_GRACE: Duration = Duration::from_millis(250);

/// What a worker answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The JSON.
    pub body: Vec<u8>,
    /// Where in the journal it stands.
    pub journal_sequence: Option<u64>,
    /// Whether it repeats an earlier answer.
    pub replayed: bool,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self {
            body: answer.body,
            journal_sequence: answer.journal_sequence,
            replayed: answer.replayed,
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A worker's fault, or one that shows that no worker has got the call.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// It was sent and nobody has answered: what became of it is not known.
    #[error("no answer in time: what became of the call is not known")]
    Timeout,
}

/// A message of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// The subject it was published on.
    pub subject: String,
    /// The JSON.
    pub body: Bytes,
}

/// Calls workers.
#[derive(Debug, Clone)]
pub struct Caller {
    bus: Bus,
}

impl Caller {
    /// Returns a caller on this connection.
    pub fn new(bus: Bus) -> Self {
        Self { bus }
    }

    /// Returns the connection.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Sends a request under a new trace and waits for its answer.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn request(&self, subject: &str, body: Bytes, deadline: Timestamp) -> Result<Reply, CallError> {
        self.request_traced(subject, body, deadline, &new_traceparent()).await
    }

    /// Sends a request as part of a trace and waits for its answer until a little after the deadline.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn request_traced(
        &self,
        subject: &str,
        body: Bytes,
        deadline: Timestamp,
        traceparent: &str,
    ) -> Result<Reply, CallError> {
        let left = deadline.since(Timestamp::now());
        if left.is_zero() {
            return Err(Fault::new(Code::IntentExpired, "the deadline had passed before anything was sent").into());
        }
        self.request_for(left + ANSWER_GRACE, subject, body, deadline, traceparent)
            .await
    }

    /// Sends a request as part of a trace, even one whose deadline has passed, and waits `patience` for its answer: of
    /// an order that is known, a worker tells whatever the deadline says.
    ///
    /// # Errors
    /// See [`CallError`].
    pub async fn request_for(
        &self,
        patience: Duration,
        subject: &str,
        body: Bytes,
        deadline: Timestamp,
        traceparent: &str,
    ) -> Result<Reply, CallError> {
        let map = caller_headers(Some(deadline), traceparent);
        let message = self.send(subject, map, body, patience, no_worker).await?;
        Ok(answer::read(message)?.into())
    }

    /// Hands an intent to the durable door and returns its place in the work queue: from then on it is kept. The report
    /// follows on the journal's subject and, if given, on `reply_to`.
    ///
    /// # Errors
    /// See [`CallError`]; a broker that is not configured has no queue and is `unknown_broker`.
    pub async fn publish_intent(
        &self,
        broker: &BrokerId,
        account: &AccountId,
        body: Bytes,
        deadline: Option<Timestamp>,
        reply_to: Option<&str>,
    ) -> Result<u64, CallError> {
        if let Some(reply_to) = reply_to
            && !subjects::allowed_reply(reply_to, Some(account.as_str()))
        {
            let rule = "must lie under _INBOX or the account's own orders.replies, without wildcards";
            return Err(Fault::field(Code::InvalidField, headers::REPLY_TO, rule).into());
        }
        let mut map = caller_headers(deadline, &new_traceparent());
        if let Some(reply_to) = reply_to {
            headers::set(&mut map, headers::REPLY_TO, reply_to);
        }
        let (subject, limit) = (subjects::intents(broker, account), self.bus.request_timeout());
        let unknown = || {
            Fault::new(
                Code::UnknownBroker,
                format!("no queue takes intents for the broker {broker}"),
            )
        };
        let message = self.send(&subject, map, body, limit, unknown).await?;
        kept(&message.payload)
    }

    async fn send(
        &self,
        subject: &str,
        map: HeaderMap,
        body: Bytes,
        limit: Duration,
        nobody: impl FnOnce() -> Fault,
    ) -> Result<async_nats::Message, CallError> {
        if !self.bus.is_connected() {
            // Sent now, it would be kept by the library and reach a worker after the outage.
            return Err(Fault::new(Code::BusUnavailable, "the bus is out of reach; nothing was sent").into());
        }
        let request = async_nats::Request::new()
            .headers(map)
            .payload(body)
            .timeout(Some(limit));
        let sent = self.bus.client.send_request(subject.to_owned(), request);
        match tokio::time::timeout(limit, sent).await {
            Err(_) => Err(CallError::Timeout),
            Ok(Ok(message)) => Ok(message),
            Ok(Err(error)) => Err(match error.kind() {
                RequestErrorKind::NoResponders => nobody().into(),
                RequestErrorKind::InvalidSubject => Fault::field(Code::InvalidField, "subject", "is not valid").into(),
                RequestErrorKind::MaxPayloadExceeded => Fault::new(Code::PayloadTooLarge, error.to_string()).into(),
                _ => CallError::Timeout,
            }),
        }
    }

    /// Follows the reports of one account, or of all, from now on. A follower that is too slow loses some: the journal
    /// has them all.
    ///
    /// # Errors
    /// When the subscription cannot be made.
    pub async fn subscribe_reports(
        &self,
        account: Option<&AccountId>,
    ) -> Result<impl Stream<Item = Received> + Send + Unpin + use<>, BusError> {
        let subject = account.map_or_else(|| subjects::REPORTS_ALL.to_owned(), subjects::reports_of);
        self.follow(subject).await
    }

    /// Follows the alerts of one account, or of all, from now on; see [`Caller::subscribe_reports`].
    ///
    /// # Errors
    /// When the subscription cannot be made.
    pub async fn subscribe_alerts(
        &self,
        account: Option<&AccountId>,
    ) -> Result<impl Stream<Item = Received> + Send + Unpin + use<>, BusError> {
        let subject = account.map_or_else(
            || subjects::ALERTS_ALL.to_owned(),
            |account| subjects::alerts_of(Some(account)),
        );
        self.follow(subject).await
    }

    /// Follows the events of one account and those that concern all of them, or everybody's, from now on; see
    /// [`Caller::subscribe_reports`].
    ///
    /// # Errors
    /// When the subscriptions cannot be made.
    pub async fn subscribe_events(
        &self,
        account: Option<&AccountId>,
    ) -> Result<impl Stream<Item = Received> + Send + Unpin + use<>, BusError> {
        let all = match account {
            None => self.follow(subjects::EVENTS_ALL.to_owned()).await?.left_stream(),
            Some(_) => {
                let own = self.follow(subjects::events_of(account)).await?;
                let common = self.follow(subjects::events_of(None)).await?;
                futures_util::stream::select(own, common).right_stream()
            }
        };
        Ok(all)
    }

    async fn follow(&self, subject: String) -> Result<impl Stream<Item = Received> + Send + Unpin + use<>, BusError> {
        let limit = self.bus.request_timeout();
        let messages = within(limit, "subscribing", self.bus.client.subscribe(subject)).await?;
        // Whatever is published after this call is seen.
        self.bus.round_trip().await?;
        Ok(messages.map(|message| Received {
            subject: message.subject.to_string(),
            body: message.payload,
        }))
    }
}

fn no_worker() -> Fault {
    Fault::new(Code::NoWorker, "no worker is up to take the request; nothing was sent")
}

/// Reads the work queue's acknowledgement.
fn kept(body: &[u8]) -> Result<u64, CallError> {
    #[derive(Deserialize)]
    struct Kept {
        #[serde(default)]
        seq: u64,
        error: Option<Refusal>,
    }
    #[derive(Deserialize)]
    struct Refusal {
        #[serde(default)]
        description: String,
    }
    match serde_json::from_slice(body) {
        Ok(Kept {
            error: Some(refusal), ..
        }) => {
            let detail = format!("the work queue does not take the intent: {}", refusal.description);
            Err(Fault::new(Code::QueueFull, detail).into())
        }
        Ok(Kept { seq, error: None }) if seq > 0 => Ok(seq),
        _ => Err(CallError::Timeout),
    }
}

fn caller_headers(deadline: Option<Timestamp>, traceparent: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    if let Some(deadline) = deadline {
        headers::set(&mut map, headers::DEADLINE, &deadline.to_string());
    }
    headers::set(&mut map, headers::TRACEPARENT, traceparent);
    map
}

/// Returns the header of a new trace (W3C Trace Context, version 00, sampled).
pub fn new_traceparent() -> String {
    let (trace, span) = (
        uuid::Uuid::new_v4().simple().to_string(),
        uuid::Uuid::new_v4().simple().to_string(),
    );
    format!("00-{trace}-{}-01", &span[..16])
}
