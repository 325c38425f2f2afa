//! One delivered intent: handled once, answered, and then acknowledged, given back, or dead-lettered.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_nats::jetstream::{self, AckKind};
use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{Instant, interval_at};

use super::dead_letter;
use crate::bus::answer;
use crate::bus::call::{Answer, Call, Endpoint, Handler};
use crate::bus::connection::{Bus, within};
use crate::bus::journal::reader::from_nanoseconds;
use crate::bus::{headers, subjects};
use crate::config::doors::DoorSettings;
use crate::domain::time::Timestamp;
use crate::fault::{self, Code, Fault};
use crate::wire::problem::Problem;

/// An intent rests longer each time, up to so many times the delay of the settings: by default the deliveries then last
/// beyond an intent's own deadline, and a short outage makes no dead letters.
const REST_GROWTH_MAX: u32 = 10;

/// What every delivery needs.
pub(super) struct Door<H> {
    pub(super) bus: Bus,
    pub(super) doors: DoorSettings,
    pub(super) handler: Arc<H>,
}

/// An intent as the server delivered it.
pub(super) struct Delivery {
    pub(super) message: Message,
    /// Where acknowledgements go.
    acknowledge: String,
    /// How often it has been delivered, this time included.
    pub(super) deliveries: u64,
    pub(super) stream_sequence: u64,
    /// When the stream took it.
    pub(super) published_at: Timestamp,
}

/// What becomes of the message.
enum Disposition {
    Ack,
    Nak,
    Dead(Problem),
}

impl Delivery {
    /// Returns the delivery, or `None` for a message that came from no stream.
    pub(super) fn read(message: jetstream::Message) -> Option<Self> {
        let info = match message.info() {
            Ok(info) => info,
            Err(error) => {
                tracing::error!(%error, "a message without a delivery came out of the work queue");
                return None;
            }
        };
        let (deliveries, stream_sequence) = (u64::try_from(info.delivered).unwrap_or(0), info.stream_sequence);
        let published_at = from_nanoseconds(info.published.unix_timestamp_nanos());
        let acknowledge = message.reply.as_ref()?.to_string();
        Some(Self {
            message: message.message,
            acknowledge,
            deliveries,
            stream_sequence,
            published_at,
        })
    }

    fn headers(&self) -> Option<&HeaderMap> {
        self.message.headers.as_ref()
    }

    /// Returns where the answer goes, if anywhere.
    fn reply_to(&self, account: Option<&str>) -> Result<Option<String>, Fault> {
        match headers::reply_to(self.headers())? {
            Some(reply) if !subjects::allowed_reply(reply, account) => {
                let rule = "must lie under _INBOX or the account's own orders.replies, without wildcards";
                Err(Fault::field(Code::InvalidField, headers::REPLY_TO, rule))
            }
            reply => Ok(reply.map(str::to_owned)),
        }
    }

    fn call(&self) -> Result<Call, Fault> {
        let ids = subjects::broker_and_account(&self.message.subject);
        Ok(Call {
            endpoint: Endpoint::Submit,
            broker: ids.map(|(broker, _)| broker.to_owned()),
            account: ids.map(|(_, account)| account.to_owned()),
            body: self.message.payload.clone(),
            deadline: headers::deadline(self.headers())?,
            arrived_at: self.published_at,
            traceparent: headers::text(self.headers(), headers::TRACEPARENT).map(str::to_owned),
            durable: true,
        })
    }
}

impl<H: Handler> Door<H> {
    /// Handles a delivery and tells the server what became of it.
    pub(super) async fn serve(&self, delivery: Delivery) {
        match self.disposition(&delivery).await {
            // A lost acknowledgement brings the intent again, and its id is known by then.
            Disposition::Ack => self.tell(&delivery, AckKind::Ack).await,
            Disposition::Nak => self.rest(&delivery).await,
            Disposition::Dead(problem) => match dead_letter::keep(&self.bus, &delivery, &problem).await {
                Ok(_) => self.terminate(&delivery).await,
                Err(error) => {
                    tracing::error!(%error, subject = %delivery.message.subject, "a dead letter could not be kept");
                    self.rest(&delivery).await;
                }
            },
        }
    }

    async fn disposition(&self, delivery: &Delivery) -> Disposition {
        if delivery.deliveries > self.doors.durable_max_deliver {
            tracing::error!(
                subject = %delivery.message.subject,
                deliveries = delivery.deliveries,
                "an intent was delivered too often and is dead-lettered"
            );
            return Disposition::Dead(too_often(delivery.deliveries - 1));
        }
        let account = subjects::broker_and_account(&delivery.message.subject).map(|(_, account)| account);
        let reply_to = match delivery.reply_to(account) {
            Ok(reply_to) => reply_to,
            Err(fault) => return Disposition::Dead(Problem::from(&fault)),
        };
        let result = match delivery.call() {
            Ok(call) => self.handle(delivery, call).await,
            Err(fault) => Some(Err(fault)),
        };
        let Some(result) = result else {
            return Disposition::Nak;
        };
        let disposition = match result.as_ref().err().map(|fault| (fault, fault.code.delivery())) {
            None | Some((_, fault::Delivery::Ack)) => Disposition::Ack,
            Some((_, fault::Delivery::Nak)) => return Disposition::Nak,
            Some((fault, fault::Delivery::Term)) => Disposition::Dead(Problem::from(fault)),
        };
        if let Some(reply_to) = reply_to {
            let (map, body) = answer::message(&result);
            if let Err(error) = self.bus.publish_with(reply_to, map, body).await {
                tracing::warn!(%error, "the answer to a durable intent could not be sent");
            }
        }
        self.handler.answered();
        disposition
    }

    /// Awaits the handler and gives signs of life meanwhile; `None` when it panicked.
    async fn handle(&self, delivery: &Delivery, call: Call) -> Option<Result<Answer, Fault>> {
        let mut handled = std::pin::pin!(AssertUnwindSafe(self.handler.handle(call)).catch_unwind());
        let every = self.doors.durable_progress();
        let mut signs = interval_at(Instant::now() + every, every);
        loop {
            tokio::select! {
                biased;
                result = &mut handled => {
                    return result
                        .inspect_err(|_| tracing::error!(subject = %delivery.message.subject, "an intent's handler panicked"))
                        .ok();
                }
                _ = signs.tick() => self.tell(delivery, AckKind::Progress).await,
            }
        }
    }

    async fn rest(&self, delivery: &Delivery) {
        let times = u32::try_from(delivery.deliveries)
            .unwrap_or(REST_GROWTH_MAX)
            .clamp(1, REST_GROWTH_MAX);
        self.tell(delivery, AckKind::Nak(Some(self.doors.nak_delay() * times)))
            .await;
    }

    async fn tell(&self, delivery: &Delivery, kind: AckKind) {
        let word: Bytes = kind.into();
        if let Err(error) = self.bus.publish(delivery.acknowledge.clone(), word).await {
            tracing::warn!(%error, "an acknowledgement could not be sent: the intent comes again");
        }
    }

    /// Ends a dead letter's deliveries. Confirmed, since an intent that comes again would be kept as dead a second time.
    async fn terminate(&self, delivery: &Delivery) {
        let word: Bytes = AckKind::Term.into();
        let limit = self.bus.request_timeout();
        let confirmed = self.bus.client.request(delivery.acknowledge.clone(), word);
        if let Err(error) = within(limit, "ending a delivery", confirmed).await {
            tracing::warn!(%error, "the end of a dead letter is not confirmed: it may come again");
        }
    }
}

fn too_often(deliveries: u64) -> Problem {
    let fault = Fault::new(
        Code::PersistenceFailed,
        format!("the intent was delivered {deliveries} times and never came to an end"),
    );
    Problem {
        kind: format!("/problems/{}", subjects::DEAD_MAX_DELIVER),
        title: "The intent was delivered too often".to_owned(),
        code: subjects::DEAD_MAX_DELIVER.to_owned(),
        ..Problem::from(&fault)
    }
}
