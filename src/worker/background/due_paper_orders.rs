//! What happens to paper orders by themselves: rests that fill later, days that end. Whichever worker gets there first
//! does it; the others find nothing due.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::brokers::adapter::{DueOutcome, Effects};
use crate::domain::id::BrokerId;
use crate::store::keys::OrderKey;
use crate::store::orders::read::WorkQueue;
use crate::store::orders::record::RecordStage;
use crate::worker::journaling::{append, current_report};
use crate::worker::router::Router;

/// How often due orders are looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How many due orders are worked on at a time.
const DUE_ORDER_CONCURRENCY: usize = 64;

/// Carries out what is due at each broker whose book is ours, until it is stopped.
pub(in crate::worker) async fn run(router: Router, stop: CancellationToken) {
    let ours = |broker: &&BrokerId| {
        router
            .brokers
            .get(*broker)
            .is_some_and(|handle| handle.capabilities().effects == Effects::InStore)
    };
    let brokers: Vec<BrokerId> = router.brokers.keys().filter(ours).cloned().collect();
    while !stop.is_cancelled() {
        for broker in &brokers {
            // A store that cannot be asked now is asked again in a moment; healing is somebody else's work.
            let Ok(keys) = router
                .store
                .list_waiting_orders(&WorkQueue::Due(broker.clone()), Duration::ZERO)
                .await
            else {
                continue;
            };
            stream::iter(keys)
                .for_each_concurrent(DUE_ORDER_CONCURRENCY, |key| process_due_order(&router, key))
                .await;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
        }
    }
}

async fn process_due_order(router: &Router, key: OrderKey) {
    let Ok(Some(record)) = router.store.read_order(&key).await else {
        return;
    };
    if record.known.stage != RecordStage::Open {
        return;
    }
    let order = match current_report::order_from_document(&record.document) {
        Ok(order) => order,
        Err(fault) => {
            tracing::error!(order = key.name(), %fault, "a due order cannot be read");
            return;
        }
    };
    let Some(broker) = router.brokers.get(&order.broker) else {
        return;
    };
    match broker.execute_due(order).await {
        DueOutcome::Booked(booked) => {
            if let Err(error) = append::append_booked_effect(router, &booked).await {
                tracing::warn!(order = key.name(), %error, "a fill is settled and waits in the outbox for the journal");
            }
        }
        DueOutcome::NothingDue => {}
        DueOutcome::NotSent(why) => tracing::debug!(order = key.name(), ?why, "a due order is tried again"),
        DueOutcome::OutcomeUnknown(why) => tracing::warn!(order = key.name(), why, "a due order is looked at again"),
    }
}
