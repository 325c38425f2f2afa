//! The intake of requests: one task receives them, each is handled in a task of its own, and none is dropped silently.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_nats::{Message, Subscriber};
use futures_util::stream::{SelectAll, select_all};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::connection::{Bus, BusError, unsubscribe_on_server, with_timeout};
use crate::bus::reply_codec;
use crate::bus::request::{BusReply, BusRequest, Endpoint, RequestHandler};
use crate::bus::request_door::discovery::ServiceInstance;
use crate::bus::subjects;
use crate::config::doors::DoorSettings;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};
use crate::repeated_log::log_at_intervals;

/// Receives the requests of every endpoint.
pub(in crate::bus) struct RequestIntake<H> {
    requests: SelectAll<Subscriber>,
    processor: Arc<RequestProcessor<H>>,
    in_flight: TaskTracker,
}

/// Handles requests and sends their replies.
struct RequestProcessor<H> {
    bus: Bus,
    slots: Arc<Semaphore>,
    instance: Arc<ServiceInstance>,
    handler: Arc<H>,
}

impl<H: RequestHandler> RequestIntake<H> {
    /// Subscribes to every endpoint, as a member of the queue group.
    pub(in crate::bus) async fn subscribe(
        bus: &Bus,
        doors: &DoorSettings,
        instance: Arc<ServiceInstance>,
        handler: Arc<H>,
        in_flight: TaskTracker,
    ) -> Result<Self, BusError> {
        let mut requests = Vec::new();
        for endpoint in Endpoint::ALL {
            let group = subjects::QUEUE_GROUP.to_owned();
            let subscribed = bus.client.queue_subscribe(endpoint.subject(), group);
            requests.push(with_timeout(bus.request_timeout(), "subscribing", subscribed).await?);
        }
        let processor = RequestProcessor {
            bus: bus.clone(),
            slots: Arc::new(Semaphore::new(doors.request_max_in_flight)),
            instance,
            handler,
        };
        Ok(Self {
            requests: select_all(requests),
            processor: Arc::new(processor),
            in_flight,
        })
    }

    /// Takes requests until `stop` is cancelled, and then those that are already in transit.
    pub(in crate::bus) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                request = self.requests.next() => match request {
                    Some(request) => self.accept(request).await,
                    None => return,
                },
            }
        }
        for subscription in self.requests.iter_mut() {
            unsubscribe_on_server(&self.processor.bus, subscription).await;
        }
        let bus = self.processor.bus.clone();
        let mut fence = std::pin::pin!(bus.round_trip());
        loop {
            tokio::select! {
                biased;
                Some(request) = self.requests.next() => self.accept(request).await,
                passed = &mut fence => {
                    if let Err(error) = passed {
                        tracing::warn!(%error, "the end of the subscriptions is not confirmed: a late request may be lost");
                    }
                    break;
                }
            }
        }
        // Requests that arrived before the fence are in the buffers by now.
        while let Some(Some(request)) = self.requests.next().now_or_never() {
            self.accept(request).await;
        }
    }

    async fn accept(&self, request: Message) {
        let arrived_at = Timestamp::now();
        let Some(request) = PendingRequest::from_message(request, arrived_at) else {
            return;
        };
        match Arc::clone(&self.processor.slots).try_acquire_owned() {
            Ok(slot) => {
                let processor = Arc::clone(&self.processor);
                self.in_flight.spawn(async move {
                    processor.process(request).await;
                    drop(slot);
                });
            }
            Err(_) => {
                let full = Fault::new(
                    FaultCode::QueueFull,
                    "the worker has its maximum number of requests in flight; nothing was sent",
                );
                self.processor.send_reply(&request, &Err(full)).await;
            }
        }
    }
}

/// A request with an allowed reply subject.
struct PendingRequest {
    endpoint: Endpoint,
    reply_to: String,
    started_at: Instant,
    request: Result<BusRequest, Fault>,
}

impl PendingRequest {
    /// Returns the request, or `None` if its reply subject is not allowed: then it is not executed either.
    fn from_message(message: Message, arrived_at: Timestamp) -> Option<Self> {
        let endpoint = endpoint_for_subject(&message.subject)?;
        let account = subjects::parse_account(&message.subject);
        let reply = message.reply.as_ref().map_or("", |reply| reply.as_str());
        if !subjects::is_allowed_reply(reply, account) {
            log_at_intervals!(
                warn,
                subject = %message.subject,
                reply,
                "a request without an allowed reply subject is not executed"
            );
            return None;
        }
        Some(Self {
            endpoint,
            reply_to: reply.to_owned(),
            started_at: Instant::now(),
            request: BusRequest::from_message(&message, endpoint, arrived_at, false),
        })
    }
}

fn endpoint_for_subject(subject: &str) -> Option<Endpoint> {
    let matches = |pattern: &str| {
        let mut tokens = subject.split('.');
        pattern
            .split('.')
            .all(|expected| tokens.next().is_some_and(|token| expected == "*" || expected == token))
            && tokens.next().is_none()
    };
    Endpoint::ALL.into_iter().find(|endpoint| matches(endpoint.subject()))
}

impl<H: RequestHandler> RequestProcessor<H> {
    async fn process(&self, mut request: PendingRequest) {
        let result = match std::mem::replace(&mut request.request, Err(Fault::new(FaultCode::NotFound, ""))) {
            Err(fault) => Err(fault),
            Ok(call) => match AssertUnwindSafe(self.handler.handle(call)).catch_unwind().await {
                Ok(result) => result,
                Err(_) => {
                    // Its effects are unknown, so no reply would be true: the caller times out.
                    tracing::error!(
                        endpoint = request.endpoint.name(),
                        "the handler of a request panicked; the caller gets no reply"
                    );
                    self.instance.record_request(
                        request.endpoint,
                        request.started_at.elapsed(),
                        Some("panicked".to_owned()),
                    );
                    return;
                }
            },
        };
        self.send_reply(&request, &result).await;
        self.handler.on_reply_sent();
    }

    async fn send_reply(&self, request: &PendingRequest, result: &Result<BusReply, Fault>) {
        let error = result.as_ref().err();
        let error = error.map(|fault| format!("{}:{}", fault.code.status(), fault.code.as_str()));
        // Counted before the reply: a caller that has its reply finds it counted.
        self.instance
            .record_request(request.endpoint, request.started_at.elapsed(), error);
        let (map, body) = reply_codec::encode_reply(result);
        if let Err(error) = self.bus.publish_with_headers(request.reply_to.clone(), map, body).await {
            log_at_intervals!(error, %error, endpoint = request.endpoint.name(), "a reply was not sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subject_belongs_to_its_endpoint() {
        for endpoint in Endpoint::ALL {
            assert_eq!(
                endpoint_for_subject(&endpoint.subject().replace('*', "x")),
                Some(endpoint)
            );
        }
        for subject in [
            "orders.submit.x",
            "orders.submit.x.y.z",
            "router.state",
            "router.state.get.x",
        ] {
            assert_eq!(endpoint_for_subject(subject), None);
        }
    }
}
