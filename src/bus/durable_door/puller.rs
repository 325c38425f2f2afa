//! Pulls intents: as many as there are free slots. A new session starts whenever the server becomes silent.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Message, StatusCode, Subscriber, jetstream};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::connection::{unsubscribe_on_server, with_timeout};
use crate::bus::durable_door::delivery::DeliveryProcessor;
use crate::bus::durable_door::intent_delivery::IntentDelivery;
use crate::bus::pull_consumer::{self, SILENCE_TIMEOUT};
use crate::bus::request::RequestHandler;
use crate::bus::subjects;
use crate::bus::topology::{ReconcileMode, consumers};
use crate::domain::id::BrokerId;
use crate::repeated_log::log_at_intervals;

/// How long the server holds a pull request.
const PULL_EXPIRES: Duration = Duration::from_secs(5);
/// The delay before a new session.
const RESTART_DELAY: Duration = Duration::from_millis(200);
/// The server's description of a pull request that ends because its consumer was deleted.
const CONSUMER_DELETED_DESCRIPTION: &str = "Consumer Deleted";

/// Pulls the intents of one broker, each with a permit of `slots`.
pub(in crate::bus) struct IntentPuller<H> {
    pub(in crate::bus) processor: Arc<DeliveryProcessor<H>>,
    pub(in crate::bus) broker: BrokerId,
    pub(in crate::bus) slots: Arc<Semaphore>,
    pub(in crate::bus) in_flight: TaskTracker,
    pub(in crate::bus) stop: CancellationToken,
}

/// How one pull request ended.
enum PullOutcome {
    /// It was served, or it expired.
    Completed,
    /// The door is closing.
    Stopped,
    /// The consumer or the server is gone, with the reason.
    Lost(String),
}

impl<H: RequestHandler> IntentPuller<H> {
    /// Pulls until the door closes, in one session after another.
    pub(in crate::bus) async fn run(self) {
        while !self.stop.is_cancelled() {
            let Err(reason) = self.run_session().await else {
                return;
            };
            log_at_intervals!(warn, broker = %self.broker, reason, "the durable door lost its consumer and starts a new session");
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = sleep(RESTART_DELAY) => {}
            }
        }
    }

    /// Pulls until the door closes; an error is the reason for a new session.
    async fn run_session(&self) -> Result<(), String> {
        let (bus, doors) = (&self.processor.bus, &self.processor.settings);
        let ensured = consumers::ensure_consumer(bus, doors, &self.broker, ReconcileMode::Apply).await;
        ensured.map_err(|error| error.to_string())?;
        let inbox = bus.client.new_inbox();
        let subscribed = bus.client.subscribe(format!("{inbox}.*"));
        let subscribed = with_timeout(bus.request_timeout(), "subscribing", subscribed).await;
        let mut messages = subscribed.map_err(|error| error.to_string())?;
        let mut request_number = 0_u64;
        loop {
            request_number += 1;
            let Some(slots) = self.acquire_free_slots().await else {
                self.release_unstarted(&mut messages).await;
                return Ok(());
            };
            let reply = format!("{inbox}.{request_number}");
            self.request_batch(&reply, slots.num_permits()).await?;
            match self.receive_batch(&mut messages, &reply, slots).await {
                PullOutcome::Completed => {}
                PullOutcome::Stopped => {
                    self.release_unstarted(&mut messages).await;
                    return Ok(());
                }
                PullOutcome::Lost(reason) => return Err(reason),
            }
        }
    }

    /// Waits for a free slot and takes every slot that is free then. Returns `None` when the door is closing.
    async fn acquire_free_slots(&self) -> Option<OwnedSemaphorePermit> {
        let first = tokio::select! {
            biased;
            () = self.stop.cancelled() => return None,
            slot = Arc::clone(&self.slots).acquire_owned() => slot,
        };
        let mut slots = first.ok()?;
        let more = u32::try_from(self.slots.available_permits()).unwrap_or(0);
        if let Ok(more) = Arc::clone(&self.slots).try_acquire_many_owned(more) {
            slots.merge(more);
        }
        Some(slots)
    }

    async fn request_batch(&self, reply: &str, batch: usize) -> Result<(), String> {
        let subject = subjects::pull_request(subjects::STREAM_INTENTS, &subjects::intents_consumer(&self.broker));
        let bus = &self.processor.bus;
        pull_consumer::request_batch(bus, "pulling intents", subject, reply.to_owned(), batch, PULL_EXPIRES)
            .await
            .map_err(|error| error.to_string())
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
                Err(_) => return PullOutcome::Lost("the server is silent".to_owned()),
            };
            match message.status.filter(|status| *status != StatusCode::OK) {
                None => match slots.split(1) {
                    Some(slot) => self.spawn_processing(message, slot),
                    None => self.send_nak(message).await,
                },
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(StatusCode::NO_RESPONDERS) => {
                    return PullOutcome::Lost("the consumer has no responders".to_owned());
                }
                Some(_) if message.description.as_deref() == Some(CONSUMER_DELETED_DESCRIPTION) => {
                    return PullOutcome::Lost("the consumer was deleted".to_owned());
                }
                // The status of an earlier request does not end this one.
                Some(_) if message.subject.as_str() == reply => return PullOutcome::Completed,
                Some(_) => {}
            }
        }
        PullOutcome::Completed
    }

    fn spawn_processing(&self, message: Message, slot: OwnedSemaphorePermit) {
        let processor = Arc::clone(&self.processor);
        let context = processor.bus.jetstream.clone();
        let Some(delivery) = IntentDelivery::from_message(jetstream::Message { message, context }) else {
            return;
        };
        self.in_flight.spawn(async move {
            processor.process(delivery).await;
            drop(slot);
        });
    }

    /// Ends the subscription and returns pulled intents that have not started to the queue.
    async fn release_unstarted(&self, messages: &mut Subscriber) {
        unsubscribe_on_server(&self.processor.bus, messages).await;
        if let Err(error) = self.processor.bus.round_trip().await {
            tracing::warn!(%error, "the end of the subscription is not confirmed; intents pulled last are redelivered after the acknowledgement wait");
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
                log_at_intervals!(warn, %error, "an intent was not returned to the queue; it is redelivered after the acknowledgement wait");
            }
        }
    }
}
