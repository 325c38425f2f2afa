//! Pulling: as many intents as there are places, and a new start whenever the server falls silent.
//!
//! The client library's own batches lose their wake-up on a heartbeat, and its endless stream takes more than there are
//! places for; so the pull requests are made here.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, StatusCode, Subscriber, jetstream};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::delivery::{Delivery, Door};
use crate::bus::call::Handler;
use crate::bus::connection::{end_on_server, within};
use crate::bus::subjects;
use crate::bus::topology::{Intent, consumers};
use crate::domain::id::BrokerId;

/// How long the server keeps a pull request.
const EXPIRES: Duration = Duration::from_secs(5);
/// How often the server says that it still has it.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which the request counts as lost.
const SILENCE: Duration = Duration::from_millis(2_500);
/// The pause before a new start.
const RESTART_PAUSE: Duration = Duration::from_millis(200);
const CONSUMER_DELETED: &str = "Consumer Deleted";

pub(super) struct Puller<H> {
    pub(super) door: Arc<Door<H>>,
    pub(super) broker: BrokerId,
    pub(super) places: Arc<Semaphore>,
    pub(super) calls: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// How one pull request ended.
enum Pulled {
    /// It has been served, or its time was over.
    Done,
    /// The door is closing.
    Stopped,
    /// The consumer or the server is gone.
    Lost(String),
}

impl<H: Handler> Puller<H> {
    pub(super) async fn run(self) {
        while !self.stop.is_cancelled() {
            let Err(reason) = self.session().await else {
                return;
            };
            tracing::warn!(broker = %self.broker, reason, "the durable door starts anew");
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep(RESTART_PAUSE) => {}
            }
        }
    }

    /// Pulls until told to stop; an error says why a new start is needed.
    async fn session(&self) -> Result<(), String> {
        let (bus, doors) = (&self.door.bus, &self.door.doors);
        let ensured = consumers::ensure(bus, doors, &self.broker, Intent::Apply).await;
        ensured.map_err(|error| error.to_string())?;
        let inbox = bus.client.new_inbox();
        let subscribed = bus.client.subscribe(format!("{inbox}.*"));
        let subscribed = within(bus.request_timeout(), "subscribing", subscribed).await;
        let mut messages = subscribed.map_err(|error| error.to_string())?;
        let mut number = 0_u64;
        loop {
            number += 1;
            let Some(places) = self.free_places().await else {
                self.give_back(&mut messages).await;
                return Ok(());
            };
            let reply = format!("{inbox}.{number}");
            self.ask(&reply, places.num_permits()).await?;
            match self.receive(&mut messages, &reply, places).await {
                Pulled::Done => {}
                Pulled::Stopped => {
                    self.give_back(&mut messages).await;
                    return Ok(());
                }
                Pulled::Lost(reason) => return Err(reason),
            }
        }
    }

    /// Waits for a free place and takes all that are free then; `None` when the door is closing.
    async fn free_places(&self) -> Option<OwnedSemaphorePermit> {
        let first = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            place = Arc::clone(&self.places).acquire_owned() => place,
        };
        let mut places = first.ok()?;
        let more = u32::try_from(self.places.available_permits()).unwrap_or(0);
        if let Ok(more) = Arc::clone(&self.places).try_acquire_many_owned(more) {
            places.merge(more);
        }
        Some(places)
    }

    async fn ask(&self, reply: &str, count: usize) -> Result<(), String> {
        let bus = &self.door.bus;
        let subject = subjects::pull(subjects::STREAM_INTENTS, &subjects::intents_consumer(&self.broker));
        let nanoseconds = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let wish = json!({
            "batch": count, "expires": nanoseconds(EXPIRES), "idle_heartbeat": nanoseconds(HEARTBEAT),
        });
        let asked = bus
            .client
            .publish_with_reply(subject, reply.to_owned(), wish.to_string().into());
        let asked = within(bus.request_timeout(), "pulling", asked).await;
        asked.map_err(|error| error.to_string())
    }

    async fn receive(&self, messages: &mut Subscriber, reply: &str, mut places: OwnedSemaphorePermit) -> Pulled {
        while places.num_permits() > 0 {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Pulled::Stopped,
                next = timeout(SILENCE, messages.next()) => next,
            };
            let message = match next {
                Ok(Some(message)) => message,
                Ok(None) => return Pulled::Lost("the connection was closed".to_owned()),
                Err(_) => return Pulled::Lost("the server fell silent".to_owned()),
            };
            match message.status.filter(|status| *status != StatusCode::OK) {
                None => match places.split(1) {
                    Some(place) => self.begin(message, place),
                    None => self.nak(message).await,
                },
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(StatusCode::NO_RESPONDERS) => return Pulled::Lost("nobody serves the consumer".to_owned()),
                Some(_) if message.description.as_deref() == Some(CONSUMER_DELETED) => {
                    return Pulled::Lost("the consumer was deleted".to_owned());
                }
                // The end of an earlier request says nothing about this one.
                Some(_) if message.subject.as_str() == reply => return Pulled::Done,
                Some(_) => {}
            }
        }
        Pulled::Done
    }

    fn begin(&self, message: Message, place: OwnedSemaphorePermit) {
        let door = Arc::clone(&self.door);
        let context = door.bus.jetstream.clone();
        let Some(delivery) = Delivery::read(jetstream::Message { message, context }) else {
            return;
        };
        self.calls.spawn(async move {
            door.serve(delivery).await;
            drop(place);
        });
    }

    /// Ends the subscription and gives back what was pulled and has not begun.
    async fn give_back(&self, messages: &mut Subscriber) {
        end_on_server(&self.door.bus, messages).await;
        if let Err(error) = self.door.bus.round_trip().await {
            tracing::warn!(%error, "what was pulled last may wait until its time is over");
        }
        while let Some(Some(message)) = messages.next().now_or_never() {
            if message.status.is_none_or(|status| status == StatusCode::OK) {
                self.nak(message).await;
            }
        }
    }

    async fn nak(&self, message: Message) {
        if let Some(reply) = message.reply {
            let nak: Bytes = jetstream::AckKind::Nak(None).into();
            if let Err(error) = self.door.bus.publish(reply.to_string(), nak).await {
                tracing::warn!(%error, "an intent that has not begun could not be given back");
            }
        }
    }
}
