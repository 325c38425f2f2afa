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

use super::discovery::Identity;
use crate::bus::answer;
use crate::bus::call::{Answer, Call, Endpoint, Handler};
use crate::bus::connection::{Bus, BusError, end_on_server, within};
use crate::bus::{headers, subjects};
use crate::config::doors::DoorSettings;
use crate::domain::time::Timestamp;
use crate::fault::{Code, Fault};

pub(super) struct Intake<H> {
    requests: SelectAll<Subscriber>,
    door: Arc<Door<H>>,
    calls: TaskTracker,
}

/// What every request needs.
struct Door<H> {
    bus: Bus,
    places: Arc<Semaphore>,
    identity: Arc<Identity>,
    handler: Arc<H>,
}

impl<H: Handler> Intake<H> {
    /// Subscribes every endpoint in the queue group.
    pub(super) async fn subscribe(
        bus: &Bus,
        doors: &DoorSettings,
        identity: Arc<Identity>,
        handler: Arc<H>,
        calls: TaskTracker,
    ) -> Result<Self, BusError> {
        let mut requests = Vec::new();
        for endpoint in Endpoint::ALL {
            let group = subjects::QUEUE_GROUP.to_owned();
            let subscribed = bus.client.queue_subscribe(endpoint.subject(), group);
            requests.push(within(bus.request_timeout(), "subscribing", subscribed).await?);
        }
        let door = Door {
            bus: bus.clone(),
            places: Arc::new(Semaphore::new(doors.request_max_in_flight)),
            identity,
            handler,
        };
        Ok(Self {
            requests: select_all(requests),
            door: Arc::new(door),
            calls,
        })
    }

    /// Takes requests until told to stop, and then those that are already on their way.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                request = self.requests.next() => match request {
                    Some(request) => self.take(request).await,
                    None => return,
                },
            }
        }
        for subscription in self.requests.iter_mut() {
            end_on_server(&self.door.bus, subscription).await;
        }
        let bus = self.door.bus.clone();
        let mut fence = std::pin::pin!(bus.round_trip());
        loop {
            tokio::select! {
                biased;
                Some(request) = self.requests.next() => self.take(request).await,
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
            self.take(request).await;
        }
    }

    async fn take(&self, request: Message) {
        let arrived_at = Timestamp::now();
        let Some(request) = Request::read(request, arrived_at) else {
            return;
        };
        match Arc::clone(&self.door.places).try_acquire_owned() {
            Ok(place) => {
                let door = Arc::clone(&self.door);
                self.calls.spawn(async move {
                    door.serve(request).await;
                    drop(place);
                });
            }
            Err(_) => {
                let full = Fault::new(Code::QueueFull, "the worker has as many requests under way as it takes");
                self.door.answer(&request, &Err(full)).await;
            }
        }
    }
}

/// A request that may be answered.
struct Request {
    endpoint: Endpoint,
    reply: String,
    begun: Instant,
    call: Result<Call, Fault>,
}

impl Request {
    /// Returns the request, or `None` when there is nowhere to answer it: then it is not executed either.
    fn read(message: Message, arrived_at: Timestamp) -> Option<Self> {
        let endpoint = endpoint_of(&message.subject)?;
        let ids = subjects::broker_and_account(&message.subject);
        let (broker, account) = (ids.map(|(broker, _)| broker), ids.map(|(_, account)| account));
        let reply = message.reply.as_ref().map_or("", |reply| reply.as_str());
        if !subjects::allowed_reply(reply, account) {
            tracing::warn!(subject = %message.subject, reply, "a request with no place to answer it to is dropped");
            return None;
        }
        let map = message.headers.as_ref();
        let call = headers::deadline(map).map(|deadline| Call {
            endpoint,
            broker: broker.map(str::to_owned),
            account: account.map(str::to_owned),
            body: message.payload.clone(),
            deadline,
            arrived_at,
            traceparent: headers::text(map, headers::TRACEPARENT).map(str::to_owned),
            durable: false,
        });
        Some(Self {
            endpoint,
            reply: reply.to_owned(),
            begun: Instant::now(),
            call,
        })
    }
}

fn endpoint_of(subject: &str) -> Option<Endpoint> {
    let fits = |pattern: &str| {
        let mut tokens = subject.split('.');
        pattern
            .split('.')
            .all(|wanted| tokens.next().is_some_and(|token| wanted == "*" || wanted == token))
            && tokens.next().is_none()
    };
    Endpoint::ALL.into_iter().find(|endpoint| fits(endpoint.subject()))
}

impl<H: Handler> Door<H> {
    async fn serve(&self, mut request: Request) {
        let result = match std::mem::replace(&mut request.call, Err(Fault::new(Code::NotFound, ""))) {
            Err(fault) => Err(fault),
            Ok(call) => match AssertUnwindSafe(self.handler.handle(call)).catch_unwind().await {
                Ok(result) => result,
                Err(_) => {
                    // Nobody knows how far it came, so there is nothing true to say: the caller's wait runs out.
                    tracing::error!(endpoint = request.endpoint.name(), "a request's handler panicked");
                    self.identity
                        .count(request.endpoint, request.begun.elapsed(), Some("panicked".to_owned()));
                    return;
                }
            },
        };
        self.answer(&request, &result).await;
        self.handler.answered();
    }

    async fn answer(&self, request: &Request, result: &Result<Answer, Fault>) {
        let error = result.as_ref().err();
        let error = error.map(|fault| format!("{}:{}", fault.code.status(), fault.code.as_str()));
        // Counted first: whoever has an answer finds it counted.
        self.identity.count(request.endpoint, request.begun.elapsed(), error);
        let (map, body) = answer::message(result);
        if let Err(error) = self.bus.publish_with(request.reply.clone(), map, body).await {
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
            assert_eq!(endpoint_of(&endpoint.subject().replace('*', "x")), Some(endpoint));
        }
        for subject in [
            "orders.submit.x",
            "orders.submit.x.y.z",
            "router.state",
            "router.state.get.x",
        ] {
            assert_eq!(endpoint_of(subject), None);
        }
    }
}
