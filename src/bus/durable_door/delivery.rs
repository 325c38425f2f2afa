//! Processing a delivered intent: it is handled, its reply is sent, and then it is acknowledged, returned to the queue
//! with a delay, or dead-lettered.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_nats::jetstream::AckKind;
use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{Instant, interval_at};

use crate::bus::connection::{Bus, with_timeout};
use crate::bus::durable_door::dead_letter::append_dead_letter;
use crate::bus::durable_door::intent_delivery::IntentDelivery;
use crate::bus::reply_codec;
use crate::bus::request::{BusReply, BusRequest, RequestHandler};
use crate::bus::subjects;
use crate::config::doors::DoorSettings;
use crate::fault::{AckType, Fault, FaultCode};
use crate::repeated_log::log_at_intervals;
use crate::wire::problem::Problem;

/// The delay before a redelivery grows with each delivery, up to this multiple of the setting. By default the deliveries
/// then outlast an intent's own deadline, and a short outage creates no dead letters.
const MAX_NAK_DELAY_FACTOR: u32 = 10;

/// Processes the deliveries of one broker's door.
pub(in crate::bus) struct DeliveryProcessor<H> {
    pub(in crate::bus) bus: Bus,
    pub(in crate::bus) settings: DoorSettings,
    pub(in crate::bus) handler: Arc<H>,
}

/// The end of a delivery.
enum Disposition {
    /// The intent is done.
    Ack,
    /// The intent is redelivered after a delay.
    Nak,
    /// The intent is stored as a dead letter and never redelivered.
    DeadLetter(Problem),
}

impl<H: RequestHandler> DeliveryProcessor<H> {
    /// Handles a delivery and acknowledges it accordingly.
    pub(in crate::bus) async fn process(&self, delivery: IntentDelivery) {
        match self.evaluate_disposition(&delivery).await {
            // After a lost acknowledgement the intent is redelivered, and its id is known by then.
            Disposition::Ack => self.send_ack(&delivery, AckKind::Ack).await,
            Disposition::Nak => self.nak_with_delay(&delivery).await,
            Disposition::DeadLetter(problem) => match append_dead_letter(&self.bus, &delivery, &problem).await {
                Ok(_) => self.confirm_termination(&delivery).await,
                Err(error) => {
                    log_at_intervals!(error, %error, subject = %delivery.message.subject, "a dead letter was not stored; the intent is redelivered");
                    self.nak_with_delay(&delivery).await;
                }
            },
        }
    }

    async fn evaluate_disposition(&self, delivery: &IntentDelivery) -> Disposition {
        if delivery.deliveries > self.settings.durable_max_deliver {
            tracing::error!(
                subject = %delivery.message.subject,
                deliveries = delivery.deliveries,
                "an intent exceeded its maximum number of deliveries and is dead-lettered"
            );
            return Disposition::DeadLetter(max_deliver_problem(delivery.deliveries - 1));
        }
        let reply_to = match delivery.parse_reply_to() {
            Ok(reply_to) => reply_to,
            Err(fault) => return Disposition::DeadLetter(Problem::from(&fault)),
        };
        let result = match delivery.to_request() {
            Ok(request) => self.handle_with_progress(delivery, request).await,
            Err(fault) => Some(Err(fault)),
        };
        let Some(result) = result else {
            return Disposition::Nak;
        };
        let disposition = match result.as_ref().err().map(|fault| (fault, fault.code.ack_type())) {
            None | Some((_, AckType::Ack)) => Disposition::Ack,
            Some((_, AckType::Nak)) => return Disposition::Nak,
            Some((fault, AckType::Term)) => Disposition::DeadLetter(Problem::from(fault)),
        };
        if let Some(reply_to) = reply_to {
            let (map, body) = reply_codec::encode_reply(&result);
            if let Err(error) = self.bus.publish_with_headers(reply_to, map, body).await {
                log_at_intervals!(warn, %error, "the reply to a durable intent was not sent; a report, if there is one, is on the journal");
            }
        }
        self.handler.on_reply_sent();
        disposition
    }

    /// Runs the handler and extends the acknowledgement deadline meanwhile. Returns `None` if the handler panicked.
    async fn handle_with_progress(
        &self,
        delivery: &IntentDelivery,
        request: BusRequest,
    ) -> Option<Result<BusReply, Fault>> {
        let mut handled = std::pin::pin!(AssertUnwindSafe(self.handler.handle(request)).catch_unwind());
        let period = self.settings.durable_progress_interval();
        let mut progress = interval_at(Instant::now() + period, period);
        loop {
            tokio::select! {
                biased;
                result = &mut handled => {
                    return result
                        .inspect_err(|_| tracing::error!(subject = %delivery.message.subject, "the handler of an intent panicked; the intent is redelivered"))
                        .ok();
                }
                _ = progress.tick() => self.send_ack(delivery, AckKind::Progress).await,
            }
        }
    }

    async fn nak_with_delay(&self, delivery: &IntentDelivery) {
        let factor = u32::try_from(delivery.deliveries)
            .unwrap_or(MAX_NAK_DELAY_FACTOR)
            .clamp(1, MAX_NAK_DELAY_FACTOR);
        self.send_ack(delivery, AckKind::Nak(Some(self.settings.nak_delay() * factor)))
            .await;
    }

    async fn send_ack(&self, delivery: &IntentDelivery, kind: AckKind) {
        let payload: Bytes = kind.into();
        if let Err(error) = self.bus.publish(delivery.ack_subject.clone(), payload).await {
            log_at_intervals!(warn, %error, "an acknowledgement was not sent; the intent is redelivered");
        }
    }

    /// Terminates the deliveries of a dead-lettered intent and waits for the confirmation: a redelivered intent would be
    /// stored as a dead letter a second time.
    async fn confirm_termination(&self, delivery: &IntentDelivery) {
        let payload: Bytes = AckKind::Term.into();
        let limit = self.bus.request_timeout();
        let confirmed = self.bus.client.request(delivery.ack_subject.clone(), payload);
        if let Err(error) = with_timeout(limit, "terminating a delivery", confirmed).await {
            log_at_intervals!(warn, %error, "the termination of a dead-lettered intent is not confirmed; it may be redelivered");
        }
    }
}

fn max_deliver_problem(deliveries: u64) -> Problem {
    let fault = Fault::new(
        FaultCode::PersistenceFailed,
        format!(
            "the intent was delivered {deliveries} times without being finished; its outcome is unknown: query the order \
             by its client_order_id before sending it again"
        ),
    );
    Problem {
        kind: format!("/problems/{}", subjects::DEAD_REASON_MAX_DELIVER),
        title: "The intent was delivered too often".to_owned(),
        // Not the status of an error: a 5xx would say that nothing was sent.
        status: 202,
        code: subjects::DEAD_REASON_MAX_DELIVER.to_owned(),
        ..Problem::from(&fault)
    }
}
