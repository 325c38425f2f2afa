//! Inquiries: the venue of an unknown order is asked, by one worker at a time, until it reports the outcome.
//!
//! Only the venue's report ends such an order (law 3 in docs/architecture.md). An inquiry without a reply has no
//! effect. A "not found" counts only in the turn that it was asked in, and is conclusive only after several of them,
//! the last one after the time in which the order could still have arrived.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::brokers::adapter::{BookedEffect, InquiryOutcome};
use crate::brokers::handle::BrokerHandle;
use crate::brokers::port::BookError;
use crate::config::brokers::InquirySettings;
use crate::domain::id::LeaseToken;
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::order_key::OrderKey;
use crate::domain::order_terms::OrderStatus;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::venue_report::{VenueOrderState, VenueReport};
use crate::repeated_log::log_at_intervals;
use crate::store::orders::inquiry::InquiryTurn;
use crate::store::orders::read::WorkQueue;
use crate::worker::background::open_order::load_open_order;
use crate::worker::journaling::{append, settlement};
use crate::worker::periodic::repeat_every;
use crate::worker::router::Router;

/// How often orders with a due inquiry are read.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How many inquiries are in flight at a time.
const INQUIRY_CONCURRENCY: usize = 16;
/// How much longer than a call to the broker a turn lasts: a turn must not end before its inquiry.
const INQUIRY_LEASE_MARGIN: Duration = Duration::from_secs(1);

/// Asks each venue about its unknown orders, until the worker stops.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    let queues: Vec<WorkQueue> = router.brokers_at_venue().into_iter().map(WorkQueue::Due).collect();
    let mut runs = repeat_every(POLL_INTERVAL, &stop);
    while runs.next().await {
        for queue in &queues {
            // A store that does not reply is read again at the next poll.
            if let Ok(keys) = router.store.list_waiting_orders(queue, Duration::ZERO).await {
                stream::iter(keys)
                    .for_each_concurrent(INQUIRY_CONCURRENCY, |key| inquire_if_unknown(&router, key))
                    .await;
            }
        }
    }
}

async fn inquire_if_unknown(router: &Router, key: OrderKey) {
    if let Some((order, broker)) = load_open_order(router, &key).await
        && order.status == Some(OrderStatus::Unknown)
    {
        inquire(router, broker, &order).await;
    }
}

/// Asks the venue about one order, if this worker acquires the turn.
async fn inquire(router: &Router, broker: &BrokerHandle, order: &Order) {
    let (store, settings, turn) = (&router.store, &router.inquiry_settings, LeaseToken::generate());
    let lease_time = router.broker_call_timeout + INQUIRY_LEASE_MARGIN;
    if !matches!(store.acquire_inquiry_turn(order, &turn, lease_time).await, Ok(Some(_))) {
        return;
    }
    let retry_delays = [settings.first_pause_ms, settings.longest_pause_ms].map(Duration::from_millis);
    let settled = match broker.inquire(order.clone()).await {
        InquiryOutcome::Reported(report) => {
            settlement::settle_venue_report(&router.settler, order, report, Metadata::new()).await
        }
        InquiryOutcome::NotFound => match store.record_not_found(order, &turn, retry_delays).await {
            Ok(Some(inquired)) if is_not_found_conclusive(settings, inquired) => {
                settlement::settle_with_lease(
                    &router.settler,
                    order,
                    &turn,
                    not_placed_report(inquired),
                    Metadata::new(),
                )
                .await
            }
            _ => return,
        },
        InquiryOutcome::Unanswered(reason) => {
            log_at_intervals!(
                warn,
                order_id = %order.order_id, reason,
                "the venue has not reported the outcome of an order; it is asked again"
            );
            let _ = store.record_unanswered(order, &turn, retry_delays).await;
            return;
        }
    };
    journal_inquiry_result(router, order, settled).await;
}

/// Reports whether a venue that does not have an order can no longer receive it.
fn is_not_found_conclusive(settings: &InquirySettings, inquired: InquiryTurn) -> bool {
    let window = Duration::from_millis(settings.not_found_window_ms);
    inquired.not_found_count >= settings.not_found_min && inquired.time_since_sending >= window
}

fn not_placed_report(inquired: InquiryTurn) -> VenueReport {
    let message = format!(
        "the venue does not have the order: it was asked {} times, the last time {} ms after it was sent",
        inquired.not_found_count,
        inquired.time_since_sending.as_millis()
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
            tracing::info!(
                order_id = %order.order_id, status = ?booked.order.status,
                "the venue has reported the outcome of an order"
            );
            if let Err(error) = append::append_booked_effect(router, &booked).await {
                log_at_intervals!(
                    warn,
                    order_id = %order.order_id, %error,
                    "the venue's report is settled and not journaled yet; it waits in the outbox"
                );
            }
        }
        Err(error) => {
            log_at_intervals!(
                warn,
                order_id = %order.order_id, %error,
                "the venue's report could not be settled; the venue is asked again"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_found_is_conclusive_after_several_inquiries_and_the_window() {
        let settings = InquirySettings {
            not_found_min: 3,
            not_found_window_ms: 20_000,
            ..InquirySettings::default()
        };
        for (not_found_count, seconds, expected) in [(1, 3_600, false), (2, 20, false), (3, 19, false), (3, 20, true)] {
            let inquired = InquiryTurn {
                not_found_count,
                time_since_sending: Duration::from_secs(seconds),
            };
            assert_eq!(is_not_found_conclusive(&settings, inquired), expected, "{inquired:?}");
        }
    }
}
