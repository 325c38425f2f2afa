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

use crate::bus::connection::{unsubscribe_on_server, with_timeout};
use crate::bus::durable_door::delivery::{DeliveryProcessor, IntentDelivery};
use crate::bus::request::RequestHandler;
use crate::bus::subjects;
use crate::bus::topology::{ReconcileMode, consumers};
use crate::domain::id::BrokerId;

/// How long the server keeps a pull request.
const PULL_EXPIRES: Duration = Duration::from_secs(5);
/// How often the server says that it still has it.
const PULL_HEARTBEAT: Duration = Duration::from_secs(1);
/// Silence after which the request counts as lost.
const SILENCE_TIMEOUT: Duration = Duration::from_millis(2_500);
/// The pause before a new start.
const RESTART_DELAY: Duration = Duration::from_millis(200);
const CONSUMER_DELETED_DESCRIPTION: &str = "Consumer Deleted";

pub(in crate::bus) struct IntentPuller<H> {
    pub(in crate::bus) processor: Arc<DeliveryProcessor<H>>,
    pub(in crate::bus) broker: BrokerId,
    pub(in crate::bus) slots: Arc<Semaphore>,
    pub(in crate::bus) in_flight: TaskTracker,
    pub(in crate::bus) stop: CancellationToken,
}

/// How one pull request ended.
enum PullOutcome {
    /// It has been served, or its time was over.
    Completed,
    /// The door is closing.
    Stopped,
    /// The consumer or the server is gone.
    Lost(String),
}

impl<H: RequestHandler> IntentPuller<H> {
    pub(in crate::bus) async fn run(self) {
        while !self.stop.is_cancelled() {
            let Err(reason) = self.run_session().await else {
                return;
            };
            tracing::warn!(broker = %self.broker, reason, "the durable door starts anew");
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep(RESTART_DELAY) => {}
            }
        }
    }

    /// Pulls until told to stop; an error says why a new start is needed.
    async fn run_session(&self) -> Result<(), String> {
        let (bus, doors) = (&self.processor.bus, &self.processor.settings);
        let ensured = consumers::ensure_consumer(bus, doors, &self.broker, ReconcileMode::Apply).await;
        ensured.map_err(|error| error.to_string())?;
        let inbox = bus.client.new_inbox();
        let subscribed = bus.client.subscribe(format!("{inbox}.*"));
        let subscribed = with_timeout(bus.request_timeout(), "subscribing", subscribed).await;
        let mut messages = subscribed.map_err(|error| error.to_string())?;
        let mut number = 0_u64;
        loop {
            number += 1;
            let Some(places) = self.acquire_free_slots().await else {
                self.release_unstarted(&mut messages).await;
                return Ok(());
            };
            let reply = format!("{inbox}.{number}");
            self.request_batch(&reply, places.num_permits()).await?;
            match self.receive_batch(&mut messages, &reply, places).await {
                PullOutcome::Completed => {}
                PullOutcome::Stopped => {
                    self.release_unstarted(&mut messages).await;
                    return Ok(());
                }
                PullOutcome::Lost(reason) => return Err(reason),
            }
        }
    }

    /// Waits for a free place and takes all that are free then; `None` when the door is closing.
    async fn acquire_free_slots(&self) -> Option<OwnedSemaphorePermit> {
        let first = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            place = Arc::clone(&self.slots).acquire_owned() => place,
        };
        let mut places = first.ok()?;
        let more = u32::try_from(self.slots.available_permits()).unwrap_or(0);
        if let Ok(more) = Arc::clone(&self.slots).try_acquire_many_owned(more) {
            places.merge(more);
        }
        Some(places)
    }

    async fn request_batch(&self, reply: &str, count: usize) -> Result<(), String> {
        let bus = &self.processor.bus;
        let subject = subjects::pull_request(subjects::STREAM_INTENTS, &subjects::intents_consumer(&self.broker));
        let nanoseconds = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let wish = json!({
            "batch": count, "expires": nanoseconds(PULL_EXPIRES), "idle_heartbeat": nanoseconds(PULL_HEARTBEAT),
        });
        let asked = bus
            .client
            .publish_with_reply(subject, reply.to_owned(), wish.to_string().into());
        let asked = with_timeout(bus.request_timeout(), "pulling", asked).await;
        asked.map_err(|error| error.to_string())
    }

    async fn receive_batch(
        &self,
        messages: &mut Subscriber,
        reply: &str,
        mut slots: OwnedSemaphorePermit,
    ) -> PullOutcome {
        while slots.num_permits() > 0 {
            let next = tokio::select! {
                biased;
                () = self.stop.cancelled() => return PullOutcome::Stopped,
                next = timeout(SILENCE_TIMEOUT, messages.next()) => next,
            };
            let message = match next {
                Ok(Some(message)) => message,
                Ok(None) => return PullOutcome::Lost("the connection was closed".to_owned()),
                Err(_) => return PullOutcome::Lost("the server fell silent".to_owned()),
            };
            match message.status.filter(|status| *status != StatusCode::OK) {
                None => match slots.split(1) {
                    Some(place) => self.spawn_processing(message, place),
                    None => self.send_nak(message).await,
                },
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(StatusCode::NO_RESPONDERS) => return PullOutcome::Lost("nobody serves the consumer".to_owned()),
                Some(_) if message.description.as_deref() == Some(CONSUMER_DELETED_DESCRIPTION) => {
                    return PullOutcome::Lost("the consumer was deleted".to_owned());
                }
                // The end of an earlier request says nothing about this one.
                Some(_) if message.subject.as_str() == reply => return PullOutcome::Completed,
                Some(_) => {}
            }
        }
        PullOutcome::Completed
    }

    fn spawn_processing(&self, message: Message, place: OwnedSemaphorePermit) {
        let door = Arc::clone(&self.processor);
        let context = door.bus.jetstream.clone();
        let Some(delivery) = IntentDelivery::from_message(jetstream::Message { message, context }) else {
            return;
        };
        self.in_flight.spawn(async move {
            door.process(delivery).await;
            drop(place);
        });
    }

    /// Ends the subscription and gives back what was pulled and has not begun.
    async fn release_unstarted(&self, messages: &mut Subscriber) {
        unsubscribe_on_server(&self.processor.bus, messages).await;
        if let Err(error) = self.processor.bus.round_trip().await {
            tracing::warn!(%error, "what was pulled last may wait until its time is over");
        }
        while let Some(Some(message)) = messages.next().now_or_never() {
            if message.status.is_none_or(|status| status == StatusCode::OK) {
                self.send_nak(message).await;
            }
        }
    }

    async fn send_nak(&self, message: Message) {
        if let Some(reply) = message.reply {
            let nak: Bytes = jetstream::AckKind::Nak(None).into();
            if let Err(error) = self.processor.bus.publish(reply.to_string(), nak).await {
                tracing::warn!(%error, "an intent that has not begun could not be given back");
            }
        }
    }
}
