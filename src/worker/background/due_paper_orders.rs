//! Due paper orders: later fills and expiries. The first worker to get there executes them; the others find nothing
//! due.

use std::time::Duration;

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::brokers::adapter::{DueOutcome, Effects};
use crate::domain::order_key::OrderKey;
use crate::repeated_log::log_at_intervals;
use crate::store::orders::waiting::WorkQueue;
use crate::worker::background::open_order::load_open_order;
use crate::worker::journaling::append;
use crate::worker::periodic::repeat_every;
use crate::worker::queue_cursor::QueueCursor;
use crate::worker::router::Router;

/// How often due orders are read.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How many due orders are processed at a time.
const DUE_ORDER_CONCURRENCY: usize = 64;

/// Executes what is due at each paper broker, until the worker stops. No broker waits for another.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    let brokers = router.brokers.with_effects(Effects::InStore).into_iter();
    join_all(brokers.map(|broker| run_broker(&router, WorkQueue::Due(broker), &stop))).await;
}

async fn run_broker(router: &Router, queue: WorkQueue, stop: &CancellationToken) {
    let mut runs = repeat_every(POLL_INTERVAL, stop);
    let mut cursor = QueueCursor::default();
    while runs.next().await {
        // A store that does not reply is read again at the next poll; its rebuild is another task's work.
        let waiting = router.store.list_waiting_orders(&queue, Duration::ZERO, cursor.skip());
        if let Ok(page) = waiting.await {
            let process = |key| process_due_order(router, key);
            cursor.process_page(page, DUE_ORDER_CONCURRENCY, process).await;
        }
    }
}

/// Executes what is due for an order. Reports whether that is done.
async fn process_due_order(router: &Router, key: OrderKey) -> bool {
    let Some((order, broker)) = load_open_order(router, &key).await else {
        return false;
    };
    if router.places_at_venue(&order) {
        // What is due of it is an inquiry.
        return false;
    }
    match broker.execute_due(order).await {
        DueOutcome::Booked(booked) => {
            if let Err(error) = append::append_booked_effect(router, &booked).await {
                log_at_intervals!(
                    warn,
                    order = key.name(), %error,
                    "a settled fill is not journaled yet; it waits in the outbox"
                );
            }
            return true;
        }
        DueOutcome::NothingDue => {}
        DueOutcome::NotSent(reason) => tracing::debug!(order = key.name(), ?reason, "a due order is tried again"),
        DueOutcome::OutcomeUnknown(reason) => {
            log_at_intervals!(
                warn,
                order = key.name(),
                reason,
                "the outcome of a due order is unknown; it is read again"
            );
        }
    }
    false
}
