//! Taking requests: one task reads, each request runs in a task of its own, and none is dropped silently.

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
use crate::bus::{headers, subjects};
use crate::config::doors::DoorSettings;
use crate::domain::time::Timestamp;
use crate::fault::{Fault, FaultCode};

pub(in crate::bus) struct RequestIntake<H> {
    requests: SelectAll<Subscriber>,
    processor: Arc<RequestProcessor<H>>,
    in_flight: TaskTracker,
}

/// What every request needs.
struct RequestProcessor<H> {
    bus: Bus,
    slots: Arc<Semaphore>,
    identity: Arc<ServiceInstance>,
    handler: Arc<H>,
}

impl<H: RequestHandler> RequestIntake<H> {
    /// Subscribes every endpoint in the queue group.
    pub(in crate::bus) async fn subscribe(
        bus: &Bus,
        doors: &DoorSettings,
        identity: Arc<ServiceInstance>,
        handler: Arc<H>,
        calls: TaskTracker,
    ) -> Result<Self, BusError> {
        let mut requests = Vec::new();
        for endpoint in Endpoint::ALL {
            let group = subjects::QUEUE_GROUP.to_owned();
            let subscribed = bus.client.queue_subscribe(endpoint.subject(), group);
            requests.push(with_timeout(bus.request_timeout(), "subscribing", subscribed).await?);
        }
        let door = RequestProcessor {
            bus: bus.clone(),
            slots: Arc::new(Semaphore::new(doors.request_max_in_flight)),
            identity,
            handler,
        };
        Ok(Self {
            requests: select_all(requests),
            processor: Arc::new(door),
            in_flight: calls,
        })
    }

    /// Takes requests until told to stop, and then those that are already on their way.
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
                        tracing::warn!(%error, "the end of intake is not confirmed: a late request may be lost");
                    }
                    break;
                }
            }
        }
        // What came before the fence is in the queues by now.
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
            Ok(place) => {
                let door = Arc::clone(&self.processor);
                self.in_flight.spawn(async move {
                    door.process(request).await;
                    drop(place);
                });
            }
            Err(_) => {
                let full = Fault::new(
                    FaultCode::QueueFull,
                    "the worker has as many requests under way as it takes",
                );
                self.processor.send_reply(&request, &Err(full)).await;
            }
        }
    }
}

/// A request that may be answered.
struct PendingRequest {
    endpoint: Endpoint,
    reply_to: String,
    started_at: Instant,
    request: Result<BusRequest, Fault>,
}

impl PendingRequest {
    /// Returns the request, or `None` when there is nowhere to answer it: then it is not executed either.
    fn from_message(message: Message, arrived_at: Timestamp) -> Option<Self> {
        let endpoint = endpoint_for_subject(&message.subject)?;
        let ids = subjects::parse_broker_and_account(&message.subject);
        let (broker, account) = (ids.map(|(broker, _)| broker), ids.map(|(_, account)| account));
        let reply = message.reply.as_ref().map_or("", |reply| reply.as_str());
        if !subjects::is_allowed_reply(reply, account) {
            tracing::warn!(subject = %message.subject, reply, "a request with no place to answer it to is dropped");
            return None;
        }
        let map = message.headers.as_ref();
        let call = headers::parse_deadline(map).map(|deadline| BusRequest {
            endpoint,
            broker: broker.map(str::to_owned),
            account: account.map(str::to_owned),
            body: message.payload.clone(),
            deadline,
            received_at: arrived_at,
            traceparent: headers::single_text(map, headers::TRACEPARENT).map(str::to_owned),
            is_durable: false,
        });
        Some(Self {
            endpoint,
            reply_to: reply.to_owned(),
            started_at: Instant::now(),
            request: call,
        })
    }
}

fn endpoint_for_subject(subject: &str) -> Option<Endpoint> {
    let fits = |pattern: &str| {
        let mut tokens = subject.split('.');
        pattern
            .split('.')
            .all(|wanted| tokens.next().is_some_and(|token| wanted == "*" || wanted == token))
            && tokens.next().is_none()
    };
    Endpoint::ALL.into_iter().find(|endpoint| fits(endpoint.subject()))
}

impl<H: RequestHandler> RequestProcessor<H> {
    async fn process(&self, mut request: PendingRequest) {
        let result = match std::mem::replace(&mut request.request, Err(Fault::new(FaultCode::NotFound, ""))) {
            Err(fault) => Err(fault),
            Ok(call) => match AssertUnwindSafe(self.handler.handle(call)).catch_unwind().await {
                Ok(result) => result,
                Err(_) => {
                    // Nobody knows how far it came, so there is nothing true to say: the caller's wait runs out.
                    tracing::error!(endpoint = request.endpoint.name(), "a request's handler panicked");
                    self.identity.record_request(
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
        // Counted first: whoever has an answer finds it counted.
        self.identity
            .record_request(request.endpoint, request.started_at.elapsed(), error);
        let (map, body) = reply_codec::encode_reply(result);
        if let Err(error) = self.bus.publish_with_headers(request.reply_to.clone(), map, body).await {
            tracing::error!(%error, endpoint = request.endpoint.name(), "an answer could not be sent");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_endpoint_knows_its_subjects() {
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
