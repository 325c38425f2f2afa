//! Orders nobody knows the fate of: their venue is asked, by whichever worker gets there, until it has said.
//!
//! Only the venue's word ends such an order. A question that is not answered counts for nothing. That the venue does not
//! have it counts only under the turn it was asked in, and is its word only when it has said so several times, the last
//! time after the order could still have turned up.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::brokers::adapter::{BookedEffect, Effects, InquiryOutcome};
use crate::brokers::handle::BrokerHandle;
use crate::brokers::port::BookError;
use crate::config::brokers::InquirySettings;
use crate::domain::id::{BrokerId, LeaseToken};
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::order_terms::OrderStatus;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::venue_report::{VenueOrderState, VenueReport};
use crate::store::keys::OrderKey;
use crate::store::orders::inquiry::InquiryTurn;
use crate::store::orders::read::WorkQueue;
use crate::store::orders::record::RecordStage;
use crate::worker::journaling::{append, current_report, settlement};
use crate::worker::router::Router;

/// How often orders are looked for that a venue is to be asked about.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How many of them are worked on at a time.
const INQUIRY_CONCURRENCY: usize = 16;
/// How much longer than a call to the broker a turn lasts: a turn must not end before its question.
const INQUIRY_LEASE_MARGIN: Duration = Duration::from_secs(1);

/// Asks each venue that outlives us about the orders nobody knows the fate of, until it is stopped.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    let outlives_us = |broker: &&BrokerId| {
        let handle = router.brokers.get(*broker);
        handle.is_some_and(|handle| handle.capabilities().effects == Effects::AtVenue)
    };
    let brokers: Vec<BrokerId> = router.brokers.keys().filter(outlives_us).cloned().collect();
    while !stop.is_cancelled() {
        for broker in &brokers {
            let due = WorkQueue::Due(broker.clone());
            // A store that cannot be asked now is asked again in a moment.
            if let Ok(keys) = router.store.list_waiting_orders(&due, Duration::ZERO).await {
                stream::iter(keys)
                    .for_each_concurrent(INQUIRY_CONCURRENCY, |key| inquire_if_unknown(&router, key))
                    .await;
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }
}

async fn inquire_if_unknown(router: &Router, key: OrderKey) {
    let Ok(Some(record)) = router.store.read_order(&key).await else {
        return;
    };
    if record.known.stage != RecordStage::Open {
        return;
    }
    let order = match current_report::order_from_document(&record.document) {
        Ok(order) => order,
        Err(fault) => {
            tracing::error!(order = key.name(), %fault, "an order whose venue is to be asked cannot be read");
            return;
        }
    };
    let Some(broker) = router.brokers.get(&order.broker) else {
        return;
    };
    if order.status == Some(OrderStatus::Unknown) {
        inquire(router, broker, &order).await;
    }
}

/// Asks the venue about one order, if it is this worker's turn.
async fn inquire(router: &Router, broker: &BrokerHandle, order: &Order) {
    let (store, settings, turn) = (&router.store, &router.inquiry_settings, LeaseToken::generate());
    let hold = router.broker_call_timeout + INQUIRY_LEASE_MARGIN;
    if !matches!(store.acquire_inquiry_turn(order, &turn, hold).await, Ok(Some(_))) {
        return;
    }
    let pauses = [settings.first_pause_ms, settings.longest_pause_ms].map(Duration::from_millis);
    let settled = match broker.inquire(order.clone()).await {
        InquiryOutcome::Reported(report) => {
            settlement::settle_venue_report(store, &router.rates, order, report, Metadata::new()).await
        }
        InquiryOutcome::NotFound => match store.record_not_found(order, &turn, pauses).await {
            Ok(Some(asked)) if is_not_found_conclusive(settings, asked) => {
                settlement::settle_with_lease(
                    store,
                    &router.rates,
                    order,
                    &turn,
                    not_placed_report(asked),
                    Metadata::new(),
                )
                .await
            }
            _ => return,
        },
        InquiryOutcome::Unanswered(why) => {
            tracing::warn!(order_id = %order.order_id, why, "the venue has not said what became of an order");
            let _ = store.record_unanswered(order, &turn, pauses).await;
            return;
        }
    };
    journal_inquiry_result(router, order, settled).await;
}

/// Whether a venue that does not have an order cannot come to have it any more.
fn is_not_found_conclusive(settings: &InquirySettings, asked: InquiryTurn) -> bool {
    let window = Duration::from_millis(settings.not_found_window_ms);
    asked.not_found_count >= settings.not_found_min && asked.time_since_sending >= window
}

fn not_placed_report(asked: InquiryTurn) -> VenueReport {
    let message = format!(
        "the venue does not have the order: it was asked {} times, the last time {} ms after its sending",
        asked.not_found_count,
        asked.time_since_sending.as_millis()
    );
    VenueReport {
        broker_order_id: None,
        fills: Vec::new(),
        state: VenueOrderState::Rejected(Reason::new(ReasonCode::NotPlaced, message)),
        cumulative_quantity: None,
        due: None,
    }
}

async fn journal_inquiry_result(router: &Router, order: &Order, settled: Result<BookedEffect, BookError>) {
    match settled {
        Ok(booked) => {
            tracing::info!(order_id = %order.order_id, status = ?booked.order.status, "the venue has said what became of an order");
            if let Err(error) = append::append_booked_effect(router, &booked).await {
                tracing::warn!(order_id = %order.order_id, %error, "the venue's word waits in the outbox for the journal");
            }
        }
        Err(error) => tracing::warn!(order_id = %order.order_id, %error, "the venue's word is asked for again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_venue_that_does_not_have_an_order_is_believed_late_and_after_several_times() {
        let settings = InquirySettings {
            not_found_min: 3,
            not_found_window_ms: 20_000,
            ..InquirySettings::default()
        };
        for (not_founds, seconds, believed) in [(1, 3_600, false), (2, 20, false), (3, 19, false), (3, 20, true)] {
            let asked = InquiryTurn {
                not_found_count: not_founds,
                time_since_sending: Duration::from_secs(seconds),
            };
            assert_eq!(is_not_found_conclusive(&settings, asked), believed, "{asked:?}");
        }
    }
}
