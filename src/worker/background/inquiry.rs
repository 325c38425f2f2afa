//! Inquiries: the venue of an unknown order, or of a replace whose outcome is open, is asked, by one worker at a time, until it
//! reports the outcome.
//!
//! Only the venue's report ends such an order (law 3 in docs/architecture.md). An inquiry without a reply has no
//! effect. A "not found" counts only in the turn that it was asked in, and is conclusive only after several of them,
//! the last one after the time in which the order could still have arrived.

use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::brokers::adapter::{BookedEffect, Effects, InquiryOutcome};
use crate::brokers::handle::BrokerHandle;
use crate::brokers::port::BookError;
use crate::config::brokers::InquirySettings;
use crate::domain::id::LeaseToken;
use crate::domain::metadata::Metadata;
use crate::domain::order::Order;
use crate::domain::order_key::OrderKey;
use crate::domain::order_terms::OrderStatus;
use crate::domain::reason::{Reason, ReasonCode};
use crate::domain::replace::LegWord;
use crate::domain::replace::{ReplaceMethod, ReplaceOutcome};
use crate::domain::time::Timestamp;
use crate::domain::venue_report::{VenueOrderState, VenueReport};
use crate::repeated_log::log_at_intervals;
use crate::store::orders::inquiry::InquiryTurn;
use crate::store::orders::waiting::WorkQueue;
use crate::worker::background::aged_orders::AgedOrders;
use crate::worker::background::open_order::load_open_order;
use crate::worker::journaling::{append, settlement};
use crate::worker::periodic::repeat_every;
use crate::worker::queue_cursor::QueueCursor;
use crate::worker::router::Router;

/// How often orders with a due inquiry are read.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How many inquiries are in flight at a time.
const INQUIRY_CONCURRENCY: usize = 16;
/// How much longer than a call to the broker a turn lasts: a turn must not end before its inquiry.
const INQUIRY_LEASE_MARGIN: Duration = Duration::from_secs(1);

/// Asks each venue about its unknown orders, until the worker stops. No venue waits for another.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    let brokers = router.brokers.with_effects(Effects::AtVenue).into_iter();
    let aged = AgedOrders::default();
    join_all(brokers.map(|broker| run_broker(&router, &aged, WorkQueue::Due(broker), &stop))).await;
}

async fn run_broker(router: &Router, aged: &AgedOrders, queue: WorkQueue, stop: &CancellationToken) {
    let mut runs = repeat_every(POLL_INTERVAL, stop);
    let mut cursor = QueueCursor::default();
    while runs.next().await {
        // A store that does not reply is read again at the next poll.
        let waiting = router.store.list_waiting_orders(&queue, Duration::ZERO, cursor.skip());
        if let Ok(page) = waiting.await {
            let process = |key| inquire_if_unknown(router, aged, key);
            cursor.process_page(page, INQUIRY_CONCURRENCY, process).await;
        }
    }
}

/// Asks the venue about an order of unknown outcome. Reports whether it was such an order: its next inquiry is due later
/// then, whatever the venue replied.
async fn inquire_if_unknown(router: &Router, aged: &AgedOrders, key: OrderKey) -> bool {
    if let Some((order, broker)) = load_open_order(router, &key).await
        && (order.status == Some(OrderStatus::Unknown) || order.open_replace().is_some())
    {
        let is_asked = inquire(router, broker, &order).await;
        if is_asked == Inquired::StillUnknown {
            aged.raise(router, &order).await;
        }
        return is_asked != Inquired::ByOther;
    }
    false
}

/// What became of an inquiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inquired {
    /// Another worker has the turn to ask.
    ByOther,
    /// The outcome is still unknown.
    StillUnknown,
    /// The venue has replied, or can no longer receive the order.
    Settled,
}

/// Asks the venue about one order, if this worker acquires the turn to do so.
async fn inquire(router: &Router, broker: &BrokerHandle, order: &Order) -> Inquired {
    let (store, settings, turn) = (&router.store, &router.inquiry_settings, LeaseToken::generate());
    let lease_time = router.broker_call_timeout + INQUIRY_LEASE_MARGIN;
    let Ok(Some(asked)) = store.acquire_inquiry_turn(order, &turn, lease_time).await else {
        return Inquired::ByOther;
    };
    let retry_delays = [settings.first_pause_ms, settings.longest_pause_ms].map(Duration::from_millis);
    let asked_at = Timestamp::now();
    let settled = match broker.inquire(order.clone()).await {
        InquiryOutcome::Reported(report) => {
            settlement::settle_venue_report(&router.settler, order, report, Metadata::new()).await
        }
        InquiryOutcome::NotFound => {
            let Ok(Some(recorded)) = store.record_not_found(order, &turn, retry_delays).await else {
                return Inquired::StillUnknown;
            };
            // The reply says what the venue had when it was asked: a worker may record it much later.
            let inquired = InquiryTurn {
                time_since_sending: time_since_request(order, asked, asked_at),
                ..recorded
            };
            if order.open_replace().is_some() {
                match conclude_replace(settings, order, inquired) {
                    Some(report) => settle_at_version(router, order, &report).await,
                    None => return Inquired::StillUnknown,
                }
            } else if is_not_found_conclusive(settings, inquired) {
                let report = not_placed_report(inquired);
                settlement::settle_with_lease(&router.settler, order, &turn, report, Metadata::new()).await
            } else {
                return Inquired::StillUnknown;
            }
        }
        InquiryOutcome::Unanswered(reason) => {
            log_at_intervals!(
                warn,
                order_id = %order.order_id, reason,
                "the venue has not reported the outcome of an order; it is asked again"
            );
            let _ = store.record_unanswered(order, &turn, retry_delays).await;
            return Inquired::StillUnknown;
        }
    };
    let is_settled = matches!(
        settled,
        Ok(_) | Err(BookError::NothingNew | BookError::Superseded(_) | BookError::Ended)
    );
    journal_inquiry_result(router, order, settled).await;
    if is_settled {
        Inquired::Settled
    } else {
        Inquired::StillUnknown
    }
}

/// Returns how long before the question the request was sent: the order's, or that of its open replace, which is the later one
/// and has a worker's time; of the two clocks, the one that says less counts.
fn time_since_request(order: &Order, asked: InquiryTurn, asked_at: Timestamp) -> Duration {
    let replace = order.open_replace();
    let age = replace.map(|replace| asked_at.saturating_duration_since(replace.requested_at));
    age.map_or(asked.time_since_sending, |age| age.min(asked.time_since_sending))
}

/// Reports whether a venue that does not have an order can no longer receive it.
fn is_not_found_conclusive(settings: &InquirySettings, inquired: InquiryTurn) -> bool {
    let window = Duration::from_millis(settings.not_found_window_ms);
    inquired.not_found_count >= settings.not_found_min && inquired.time_since_sending >= window
}

/// Returns the outcome of a replace whose new leg the venue does not have: conclusive once its request can no longer take
/// effect. A leg that was not announced was not sent.
fn conclude_replace(settings: &InquirySettings, order: &Order, inquired: InquiryTurn) -> Option<VenueReport> {
    let replace = order.open_replace()?;
    let is_unsent = replace.method == ReplaceMethod::CancelFirst && !replace.is_placing && replace.ended_leg.is_some();
    if !is_unsent && !is_not_found_conclusive(settings, inquired) {
        return None;
    }
    let message = format!(
        "the venue does not have the new terms: it was asked {} times, the last time {} ms after they were sent",
        inquired.not_found_count,
        inquired.time_since_sending.as_millis()
    );
    // Where the earlier leg has ended, this ends the order.
    let reason = Reason::new(ReasonCode::NotReplaced, message);
    Some(order.report_of_replace(ReplaceOutcome::NotReplaced(reason)))
}

/// Settles what an inquiry concludes, at this version of the order and no other: its sender may have taken another step.
async fn settle_at_version(router: &Router, order: &Order, report: &VenueReport) -> Result<BookedEffect, BookError> {
    let update = router.settler.apply_report(order, report)?;
    settlement::settle_update(&router.settler, update, None).await
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
        legs: LegWord::default(),
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
