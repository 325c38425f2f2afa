//! What a worker that died left behind: claims whose lease has ended are released, events that wait in the outbox are
//! brought to the journal. Every worker does this for all of them.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use crate::domain::id::LeaseToken;
use crate::fault::Fault;
use crate::store::keys::OrderKey;
use crate::store::orders::read::{StoredOrder, WorkQueue};
use crate::store::orders::record::RecordStage;
use crate::store::orders::submission::WithdrawalStage;
use crate::worker::adjustments;
use crate::worker::control::{locks, operator_state_journal};
use crate::worker::journaling::current_report;
use crate::worker::router::Router;
use crate::worker::submission::announced;

/// How often it is looked for what was left.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
/// How long an event may wait in the outbox before somebody else than its owner brings it to the journal.
pub const OUTBOX_GRACE_PERIOD: Duration = Duration::from_secs(1);
/// How many orders are worked on at a time.
const RECOVERY_CONCURRENCY: usize = 32;

/// Releases what others claimed and did not finish, until it is stopped.
pub(in crate::worker) async fn recover_expired_leases(router: Router, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Ok(keys) = router
            .store
            .list_waiting_orders(&WorkQueue::ExpiredLeases, Duration::ZERO)
            .await
        {
            stream::iter(keys)
                .for_each_concurrent(RECOVERY_CONCURRENCY, |key| recover_expired_lease(&router, key))
                .await;
        }
        wait_for_next_sweep(&stop).await;
    }
}

/// Brings what others settled to the journal, until it is stopped. Apart from the releases: a journal that is away must
/// not hold them up.
pub(in crate::worker) async fn drain_outbox(router: Router, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Ok(keys) = router
            .store
            .list_waiting_orders(&WorkQueue::Outbox, OUTBOX_GRACE_PERIOD)
            .await
        {
            stream::iter(keys)
                .for_each_concurrent(RECOVERY_CONCURRENCY, |key| append_order_events(&router, key))
                .await;
        }
        adjustments::append_waiting_adjustments(&router).await;
        if let Err(fault) = operator_state_journal::append_unjournaled_change(&router).await {
            tracing::debug!(%fault, "the shared state is brought to the journal later");
        }
        if let Err(fault) = locks::append_unjournaled_locks(&router).await {
            tracing::debug!(%fault, "locks are brought to the journal later");
        }
        wait_for_next_sweep(&stop).await;
    }
}

async fn wait_for_next_sweep(stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(SWEEP_INTERVAL) => {}
    }
}

/// Releases a claim whose lease has ended: it was never sent, and who held it has lost the right to. An order that was
/// being sent is never released: nobody knows what became of it but its venue.
async fn recover_expired_lease(router: &Router, key: OrderKey) {
    let Ok(Some(record)) = router.store.read_order(&key).await else {
        return;
    };
    let Some(lease) = &record.lease else { return };
    let order_id = &record.known.order_id;
    match record.known.stage {
        RecordStage::Claimed => match release_expired_claim(router, &record, lease).await {
            Ok(true) => tracing::warn!(%order_id, "released a claim that nobody finished; it was not sent"),
            Ok(false) => {}
            Err(fault) => tracing::warn!(%order_id, %fault, "a claim is released later"),
        },
        RecordStage::Sending => {
            if let Err(fault) = announced::presume_outcome_unknown(router, &record, lease).await {
                tracing::warn!(%order_id, %fault, "an order that may have been sent is looked at again");
            }
        }
        _ => {}
    }
}

async fn release_expired_claim(router: &Router, record: &StoredOrder, lease: &LeaseToken) -> Result<bool, Fault> {
    let order = current_report::order_from_document(&record.document)?;
    if announced::places_at_venue(router, &order.broker) {
        return announced::release_announced(router, &order, lease, WithdrawalStage::Claimed).await;
    }
    let released = router.store.release_claim(&order, lease).await;
    released.map_err(|error| crate::worker::submission::claim::store_unavailable(&error))
}

/// Brings the events of an order to the journal.
async fn append_order_events(router: &Router, key: OrderKey) {
    let Ok(Some(record)) = router.store.read_order(&key).await else {
        return;
    };
    let brought = match record.known.stage {
        RecordStage::Releasing => announced::append_waiting_release(router, &record).await,
        _ if record.known.journaled_version >= record.known.version => return,
        _ => current_report::append_outbox_events(router, &record).await,
    };
    match brought {
        Ok(()) => tracing::info!(order_id = %record.known.order_id, "brought a waiting event to the journal"),
        Err(fault) => tracing::warn!(order_id = %record.known.order_id, %fault, "an event waits for the journal"),
    }
}
