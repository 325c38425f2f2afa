//! One delivered intent: handled once, answered, and then acknowledged, given back, or dead-lettered.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_nats::jetstream::{self, AckKind};
use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{Instant, interval_at};

use crate::bus::connection::{Bus, with_timeout};
use crate::bus::durable_door::dead_letter;
use crate::bus::journal::reader::timestamp_from_nanoseconds;
use crate::bus::reply_codec;
use crate::bus::request::{BusReply, BusRequest, Endpoint, RequestHandler};
use crate::bus::{headers, subjects};
use crate::config::doors::DoorSettings;
use crate::domain::time::Timestamp;
use crate::fault::{self, Fault, FaultCode};
use crate::wire::problem::Problem;

/// An intent rests longer each time, up to so many times the delay of the settings: by default the deliveries then last
/// beyond an intent's own deadline, and a short outage makes no dead letters.
const MAX_NAK_DELAY_FACTOR: u32 = 10;

/// What every delivery needs.
pub(in crate::bus) struct DeliveryProcessor<H> {
    pub(in crate::bus) bus: Bus,
    pub(in crate::bus) settings: DoorSettings,
    pub(in crate::bus) handler: Arc<H>,
}

/// An intent as the server delivered it.
pub(in crate::bus) struct IntentDelivery {
    pub(in crate::bus) message: Message,
    /// Where acknowledgements go.
    ack_subject: String,
    /// How often it has been delivered, this time included.
    pub(in crate::bus) deliveries: u64,
    pub(in crate::bus) stream_sequence: u64,
    /// When the stream took it.
    pub(in crate::bus) published_at: Timestamp,
}

/// What becomes of the message.
enum Disposition {
    Ack,
    Nak,
    DeadLetter(Problem),
}

impl IntentDelivery {
    /// Returns the delivery, or `None` for a message that came from no stream.
    pub(in crate::bus) fn from_message(message: jetstream::Message) -> Option<Self> {
        let info = match message.info() {
            Ok(info) => info,
            Err(error) => {
                tracing::error!(%error, "a message without a delivery came out of the work queue");
                return None;
            }
        };
        let (deliveries, stream_sequence) = (u64::try_from(info.delivered).unwrap_or(0), info.stream_sequence);
        let published_at = timestamp_from_nanoseconds(info.published.unix_timestamp_nanos());
        let acknowledge = message.reply.as_ref()?.to_string();
        Some(Self {
            message: message.message,
            ack_subject: acknowledge,
            deliveries,
            stream_sequence,
            published_at,
        })
    }

    fn headers(&self) -> Option<&HeaderMap> {
        self.message.headers.as_ref()
    }

    /// Returns where the answer goes, if anywhere.
    fn parse_reply_to(&self, account: Option<&str>) -> Result<Option<String>, Fault> {
        match headers::parse_reply_to(self.headers())? {
            Some(reply) if !subjects::is_allowed_reply(reply, account) => {
                let rule = "must lie under _INBOX or the account's own orders.replies, without wildcards";
                Err(Fault::for_field(FaultCode::InvalidField, headers::REPLY_TO, rule))
            }
            reply => Ok(reply.map(str::to_owned)),
        }
    }

    fn to_request(&self) -> Result<BusRequest, Fault> {
        let ids = subjects::parse_broker_and_account(&self.message.subject);
        Ok(BusRequest {
            endpoint: Endpoint::Submit,
            broker: ids.map(|(broker, _)| broker.to_owned()),
            account: ids.map(|(_, account)| account.to_owned()),
            body: self.message.payload.clone(),
            deadline: headers::parse_deadline(self.headers())?,
            received_at: self.published_at,
            traceparent: headers::single_text(self.headers(), headers::TRACEPARENT).map(str::to_owned),
            is_durable: true,
        })
    }
}

impl<H: RequestHandler> DeliveryProcessor<H> {
    /// Handles a delivery and tells the server what became of it.
    pub(in crate::bus) async fn process(&self, delivery: IntentDelivery) {
        match self.evaluate_disposition(&delivery).await {
            // A lost acknowledgement brings the intent again, and its id is known by then.
            Disposition::Ack => self.send_ack(&delivery, AckKind::Ack).await,
            Disposition::Nak => self.nak_with_delay(&delivery).await,
            Disposition::DeadLetter(problem) => {
                match dead_letter::append_dead_letter(&self.bus, &delivery, &problem).await {
                    Ok(_) => self.confirm_termination(&delivery).await,
                    Err(error) => {
                        tracing::error!(%error, subject = %delivery.message.subject, "a dead letter could not be kept");
                        self.nak_with_delay(&delivery).await;
                    }
                }
            }
        }
    }

    async fn evaluate_disposition(&self, delivery: &IntentDelivery) -> Disposition {
        if delivery.deliveries > self.settings.durable_max_deliver {
            tracing::error!(
                subject = %delivery.message.subject,
                deliveries = delivery.deliveries,
                "an intent was delivered too often and is dead-lettered"
            );
            return Disposition::DeadLetter(max_deliver_problem(delivery.deliveries - 1));
        }
        let account = subjects::parse_broker_and_account(&delivery.message.subject).map(|(_, account)| account);
        let reply_to = match delivery.parse_reply_to(account) {
            Ok(reply_to) => reply_to,
            Err(fault) => return Disposition::DeadLetter(Problem::from(&fault)),
        };
        let result = match delivery.to_request() {
            Ok(call) => self.handle_with_progress(delivery, call).await,
            Err(fault) => Some(Err(fault)),
        };
        let Some(result) = result else {
            return Disposition::Nak;
        };
        let disposition = match result.as_ref().err().map(|fault| (fault, fault.code.ack_type())) {
            None | Some((_, fault::AckType::Ack)) => Disposition::Ack,
            Some((_, fault::AckType::Nak)) => return Disposition::Nak,
            Some((fault, fault::AckType::Term)) => Disposition::DeadLetter(Problem::from(fault)),
        };
        if let Some(reply_to) = reply_to {
            let (map, body) = reply_codec::encode_reply(&result);
            if let Err(error) = self.bus.publish_with_headers(reply_to, map, body).await {
                tracing::warn!(%error, "the answer to a durable intent could not be sent");
            }
        }
        self.handler.on_reply_sent();
        disposition
    }

    /// Awaits the handler and gives signs of life meanwhile; `None` when it panicked.
    async fn handle_with_progress(
        &self,
        delivery: &IntentDelivery,
        call: BusRequest,
    ) -> Option<Result<BusReply, Fault>> {
        let mut handled = std::pin::pin!(AssertUnwindSafe(self.handler.handle(call)).catch_unwind());
        let every = self.settings.durable_progress_interval();
        let mut signs = interval_at(Instant::now() + every, every);
        loop {
            tokio::select! {
                biased;
                result = &mut handled => {
                    return result
                        .inspect_err(|_| tracing::error!(subject = %delivery.message.subject, "an intent's handler panicked"))
                        .ok();
                }
                _ = signs.tick() => self.send_ack(delivery, AckKind::Progress).await,
            }
        }
    }

    async fn nak_with_delay(&self, delivery: &IntentDelivery) {
        let times = u32::try_from(delivery.deliveries)
            .unwrap_or(MAX_NAK_DELAY_FACTOR)
            .clamp(1, MAX_NAK_DELAY_FACTOR);
        self.send_ack(delivery, AckKind::Nak(Some(self.settings.nak_delay() * times)))
            .await;
    }

    async fn send_ack(&self, delivery: &IntentDelivery, kind: AckKind) {
        let word: Bytes = kind.into();
        if let Err(error) = self.bus.publish(delivery.ack_subject.clone(), word).await {
            tracing::warn!(%error, "an acknowledgement could not be sent: the intent comes again");
        }
    }

    /// Ends a dead letter's deliveries. Confirmed, since an intent that comes again would be kept as dead a second time.
    async fn confirm_termination(&self, delivery: &IntentDelivery) {
        let word: Bytes = AckKind::Term.into();
        let limit = self.bus.request_timeout();
        let confirmed = self.bus.client.request(delivery.ack_subject.clone(), word);
        if let Err(error) = with_timeout(limit, "ending a delivery", confirmed).await {
            tracing::warn!(%error, "the end of a dead letter is not confirmed: it may come again");
        }
    }
}

fn max_deliver_problem(deliveries: u64) -> Problem {
    let fault = Fault::new(
        FaultCode::PersistenceFailed,
        format!(
            "the intent was delivered {deliveries} times and never came to an end; what became of it is not known: ask \
             for the order by its client_order_id before it is sent again"
        ),
    );
    Problem {
        kind: format!("/problems/{}", subjects::DEAD_REASON_MAX_DELIVER),
        title: "The intent was delivered too often".to_owned(),
        // Not an error's status: a 5xx would say that nothing was sent.
        status: 202,
        code: subjects::DEAD_REASON_MAX_DELIVER.to_owned(),
        ..Problem::from(&fault)
    }
}
