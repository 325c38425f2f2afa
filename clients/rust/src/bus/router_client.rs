//! The client's side of the bus: requests, durable intents, and subscriptions to what workers publish.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, RequestErrorKind};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use tokio::sync::OnceCell;

use crate::bus::connection::{AwaitedSubjects, Bus, BusError, with_timeout};
use crate::bus::reply::BusReply;
use crate::bus::reply_inbox::ReplyInbox;
use crate::bus::{headers, reply_codec, subjects};
use crate::config::retry::RetrySchedule;
use crate::domain::id::{AccountId, BrokerId};
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};

/// How long a client waits after its deadline: a worker that refuses a late request says so.
pub const REPLY_GRACE: Duration = Duration::from_millis(250);

/// Why a request has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A worker's fault, or a fault that shows that no worker received the request.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The request was sent and no reply arrived in time: its outcome is unknown.
    #[error("no reply in time: the outcome of the request is unknown")]
    Timeout,
}

impl From<BusError> for RequestError {
    fn from(error: BusError) -> Self {
        let code = match error {
            BusError::Denied(_) => FaultCode::NotEntitled,
            _ => FaultCode::BusUnavailable,
        };
        Self::Fault(Fault::new(code, error.to_string()))
    }
}

/// A message of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscriptionMessage {
    /// The subject of the publication.
    pub subject: String,
    /// The JSON.
    pub body: Bytes,
}

/// A client of the workers; clones share its connection.
///
/// Here are the calls that take and return bytes. The typed calls are in [`crate::client`].
#[derive(Debug, Clone)]
pub struct RouterClient {
    bus: Bus,
    retry: RetrySchedule,
    replies: Arc<OnceCell<ReplyInbox>>,
}

impl RouterClient {
    /// Returns a client on a connection. Typed calls are repeated by the default schedule.
    pub fn new(bus: Bus) -> Self {
        Self {
            bus,
            retry: RetrySchedule::default(),
            replies: Arc::default(),
        }
    }

    /// Returns the client with another schedule for typed calls.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use order_router_client::{ConnectionSettings, RetrySchedule, RouterClient};
    ///
    /// let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// let once = client.with_retry(RetrySchedule::once());
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn with_retry(self, retry: RetrySchedule) -> Self {
        Self { retry, ..self }
    }

    /// Returns how typed calls are repeated.
    pub fn retry(&self) -> RetrySchedule {
        self.retry
    }

    /// Returns the inbox for replies to durable intents. It is opened once, and shared by the clones of the client.
    ///
    /// # Errors
    /// When the subscription fails.
    pub async fn reply_inbox(&self) -> Result<&ReplyInbox, BusError> {
        self.replies.get_or_try_init(|| ReplyInbox::open(&self.bus)).await
    }

    /// Returns the connection.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Sends a request under a new trace and returns its reply.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request(&self, subject: &str, body: Bytes, deadline: Timestamp) -> Result<BusReply, RequestError> {
        self.request_traced(subject, body, deadline, &new_traceparent()).await
    }

    /// Sends a request as part of a trace and returns its reply. Waits until a little after the deadline.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request_traced(
        &self,
        subject: &str,
        body: Bytes,
        deadline: Timestamp,
        traceparent: &str,
    ) -> Result<BusReply, RequestError> {
        let left = deadline.saturating_duration_since(Timestamp::now());
        if left.is_zero() {
            return Err(Fault::new(
                FaultCode::IntentExpired,
                "the deadline had passed before the request was sent",
            )
            .into());
        }
        self.request_with_timeout(left + REPLY_GRACE, subject, body, deadline, traceparent)
            .await
    }

    /// Sends a request as part of a trace, even one whose deadline has passed, and waits `timeout` for its reply: a worker
    /// returns the report of a known order whatever the deadline is.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn request_with_timeout(
        &self,
        timeout: Duration,
        subject: &str,
        body: Bytes,
        deadline: Timestamp,
        traceparent: &str,
    ) -> Result<BusReply, RequestError> {
        let map = request_headers(Some(deadline), traceparent);
        let message = self.send_request(subject, map, body, timeout, no_worker_fault).await?;
        Ok(reply_codec::decode_reply(message)?)
    }

    /// Publishes an intent to the durable door and returns its sequence in the work queue, which stores it from then on.
    /// The report follows on the journal's subject and, if given, on `reply_to`.
    ///
    /// # Errors
    /// See [`RequestError`]. A broker that is not configured has no queue: `unknown_broker`.
    pub async fn publish_intent(
        &self,
        broker: &BrokerId,
        account: &AccountId,
        body: Bytes,
        deadline: Option<Timestamp>,
        reply_to: Option<&str>,
    ) -> Result<u64, RequestError> {
        if let Some(reply_to) = reply_to
            && !subjects::is_allowed_reply(reply_to, Some(account.as_str()))
        {
            let rule = "must be below _INBOX or the account's own orders.replies, without wildcards";
            return Err(Fault::for_field(FaultCode::InvalidField, headers::REPLY_TO, rule).into());
        }
        let mut map = request_headers(deadline, &new_traceparent());
        if let Some(reply_to) = reply_to {
            headers::set(&mut map, headers::REPLY_TO, reply_to);
        }
        let (subject, limit) = (subjects::intent(broker, account), self.bus.request_timeout());
        let unknown = || {
            Fault::new(
                FaultCode::UnknownBroker,
                format!("no queue accepts intents for the broker {broker}"),
            )
        };
        let message = self.send_request(&subject, map, body, limit, unknown).await?;
        parse_publish_ack(&message.payload)
    }

    async fn send_request(
        &self,
        subject: &str,
        map: HeaderMap,
        body: Bytes,
        timeout: Duration,
        on_no_responders: impl FnOnce() -> Fault,
    ) -> Result<async_nats::Message, RequestError> {
        if !self.bus.is_connected() {
            // The client library would keep a message and send it after the outage.
            return Err(Fault::new(FaultCode::BusUnavailable, "NATS is unreachable; nothing was sent").into());
        }
        let request = async_nats::Request::new()
            .headers(map)
            .payload(body)
            .timeout(Some(timeout));
        let exchange = async {
            let sent = self.bus.client.send_request(subject.to_owned(), request);
            match tokio::time::timeout(timeout, sent).await {
                Err(_) => Err(RequestError::Timeout),
                Ok(Ok(message)) => Ok(message),
                Ok(Err(error)) => Err(match error.kind() {
                    RequestErrorKind::NoResponders => on_no_responders().into(),
                    RequestErrorKind::InvalidSubject => {
                        Fault::for_field(FaultCode::InvalidField, "subject", "is not valid").into()
                    }
                    RequestErrorKind::MaxPayloadExceeded => {
                        Fault::new(FaultCode::PayloadTooLarge, error.to_string()).into()
                    }
                    _ => RequestError::Timeout,
                }),
            }
        };
        self.bus.unless_denied(AwaitedSubjects::One(subject), exchange).await
    }

    /// Subscribes to the reports of one account, or of all. A subscriber that is too slow loses messages; the journal has
    /// them all.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// use futures_util::StreamExt;
    ///
    /// let mut reports = client.subscribe_reports(None).await?;
    /// while let Some(_message) = reports.next().await {}
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the subscription fails.
    pub async fn subscribe_reports(
        &self,
        account: Option<&AccountId>,
    ) -> Result<impl Stream<Item = SubscriptionMessage> + Send + Unpin + use<>, BusError> {
        let subject = account.map_or_else(
            || subjects::REPORTS_WILDCARD.to_owned(),
            subjects::account_reports_wildcard,
        );
        self.subscribe(subject).await
    }

    /// Subscribes to the alerts of one account, or of all, as [`Self::subscribe_reports`] does.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// use futures_util::StreamExt;
    ///
    /// let mut alerts = client.subscribe_alerts(None).await?;
    /// while let Some(_message) = alerts.next().await {}
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the subscription fails.
    pub async fn subscribe_alerts(
        &self,
        account: Option<&AccountId>,
    ) -> Result<impl Stream<Item = SubscriptionMessage> + Send + Unpin + use<>, BusError> {
        let subject = account.map_or_else(
            || subjects::ALERTS_WILDCARD.to_owned(),
            |account| subjects::account_alerts_wildcard(Some(account)),
        );
        self.subscribe(subject).await
    }

    /// Subscribes to the events of one account, and to changes of the state and of locks that are no account's; or to all
    /// events. As [`Self::subscribe_reports`] does.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// # use std::time::Duration;
    /// # use order_router_client::{ConnectionSettings, RouterClient};
    /// # let client = RouterClient::connect(ConnectionSettings::default()).await?;
    /// use futures_util::StreamExt;
    ///
    /// let mut events = client.subscribe_events(None).await?;
    /// while let Some(_message) = events.next().await {}
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When a subscription fails.
    pub async fn subscribe_events(
        &self,
        account: Option<&AccountId>,
    ) -> Result<impl Stream<Item = SubscriptionMessage> + Send + Unpin + use<>, BusError> {
        let all = match account {
            None => self
                .subscribe(subjects::EVENTS_WILDCARD.to_owned())
                .await?
                .left_stream(),
            Some(_) => {
                let own = self.subscribe(subjects::account_events_wildcard(account)).await?;
                let [state, locks] = subjects::public_events();
                let common = futures_util::stream::select(self.subscribe(state).await?, self.subscribe(locks).await?);
                futures_util::stream::select(own, common).right_stream()
            }
        };
        Ok(all)
    }

    async fn subscribe(
        &self,
        subject: String,
    ) -> Result<impl Stream<Item = SubscriptionMessage> + Send + Unpin + use<>, BusError> {
        let limit = self.bus.request_timeout();
        let messages = with_timeout(limit, "subscribing", self.bus.client.subscribe(subject)).await?;
        // Everything published after this call arrives.
        self.bus.round_trip().await?;
        Ok(messages.map(|message| SubscriptionMessage {
            subject: message.subject.to_string(),
            body: message.payload,
        }))
    }
}

fn no_worker_fault() -> Fault {
    Fault::new(FaultCode::NoWorker, "no worker is running; nothing was sent")
}

/// Returns the sequence of a publish acknowledgement.
fn parse_publish_ack(body: &[u8]) -> Result<u64, RequestError> {
    #[derive(Deserialize)]
    struct WorkQueueAck {
        #[serde(default)]
        seq: u64,
        error: Option<WorkQueueError>,
    }
    #[derive(Deserialize)]
    struct WorkQueueError {
        #[serde(default)]
        description: String,
    }
    match serde_json::from_slice(body) {
        Ok(WorkQueueAck {
            error: Some(refusal), ..
        }) => {
            let detail = format!("the work queue refused the intent: {}", refusal.description);
            Err(Fault::new(FaultCode::QueueFull, detail).into())
        }
        Ok(WorkQueueAck { seq, error: None }) if seq > 0 => Ok(seq),
        _ => Err(RequestError::Timeout),
    }
}

fn request_headers(deadline: Option<Timestamp>, traceparent: &str) -> HeaderMap {
    let mut map = HeaderMap::new();
    if let Some(deadline) = deadline {
        headers::set(&mut map, headers::DEADLINE, &deadline.to_string());
    }
    headers::set(&mut map, headers::TRACEPARENT, traceparent);
    map
}

/// Returns the `traceparent` header of a new trace (W3C Trace Context, version 00, sampled).
pub fn new_traceparent() -> String {
    let (trace, span) = (
        uuid::Uuid::new_v4().simple().to_string(),
        uuid::Uuid::new_v4().simple().to_string(),
    );
    format!("00-{trace}-{}-01", &span[..16])
}
