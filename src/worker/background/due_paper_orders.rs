//! Due paper orders: later fills and expiries. The first worker to get there executes them; the others find nothing
//! due.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::brokers::adapter::DueOutcome;
use crate::domain::order_key::OrderKey;
use crate::repeated_log::log_at_intervals;
use crate::store::orders::read::WorkQueue;
use crate::worker::background::open_order::load_open_order;
use crate::worker::journaling::append;
use crate::worker::periodic::repeat_every;
use crate::worker::router::Router;

/// How often due orders are read.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How many due orders are processed at a time.
const DUE_ORDER_CONCURRENCY: usize = 64;

/// Executes what is due at each paper broker, until the worker stops.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    let queues: Vec<WorkQueue> = router.brokers_in_store().into_iter().map(WorkQueue::Due).collect();
    let mut runs = repeat_every(POLL_INTERVAL, &stop);
    while runs.next().await {
        for queue in &queues {
            // A store that does not reply is read again at the next poll; its rebuild is another task's work.
            let Ok(keys) = router.store.list_waiting_orders(queue, Duration::ZERO).await else {
                continue;
            };
            stream::iter(keys)
                .for_each_concurrent(DUE_ORDER_CONCURRENCY, |key| process_due_order(&router, key))
                .await;
        }
    }
}

async fn process_due_order(router: &Router, key: OrderKey) {
    let Some((order, broker)) = load_open_order(router, &key).await else {
        return;
    };
    match broker.execute_due(order).await {
        DueOutcome::Booked(booked) => {
            if let Err(error) = append::append_booked_effect(router, &booked).await {
                log_at_intervals!(
                    warn,
                    order = key.name(), %error,
                    "a settled fill is not journaled yet; it waits in the outbox"
                );
            }
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
}
