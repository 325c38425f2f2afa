//! Recovery of what a dead worker left: claims whose lease has expired are released, and events that wait in the outbox
//! are journaled. Every worker does this for all of them.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::config::guards::Guard;
use crate::domain::id::LeaseToken;
use crate::domain::order_key::OrderKey;
use crate::fault::Fault;
use crate::repeated_log::log_at_intervals;
use crate::store::orders::mark_journaled::MarkJournaledRequest;
use crate::store::orders::read::StoredOrder;
use crate::store::orders::record::RecordStage;
use crate::store::orders::submission::WithdrawalStage;
use crate::store::orders::waiting::WorkQueue;
use crate::worker::adjustments;
use crate::worker::control::{alert_outbox, locks_journal, operator_state_journal, switch_journal};
use crate::worker::faults::store_unavailable;
use crate::worker::journaling::current_report;
use crate::worker::journaling::order_document::order_from_document;
use crate::worker::periodic::repeat_every;
use crate::worker::queue_cursor::QueueCursor;
use crate::worker::router::Router;
use crate::worker::submission::announced;

/// The pause between two sweeps.
const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
/// How long an event may wait in the outbox before a worker other than its owner journals it.
pub const OUTBOX_GRACE_PERIOD: Duration = Duration::from_secs(1);
/// How many orders are recovered at a time.
const RECOVERY_CONCURRENCY: usize = 32;

/// Releases expired claims and settles expired sends as unknown, until the worker stops.
pub(in crate::worker) async fn recover_expired_leases(router: Router, stop: CancellationToken) {
    let mut runs = repeat_every(SWEEP_INTERVAL, &stop);
    let mut cursor = QueueCursor::default();
    while runs.next().await {
        let expired = router
            .store
            .list_waiting_orders(&WorkQueue::ExpiredLeases, Duration::ZERO, cursor.skip())
            .await;
        if let Ok(page) = expired {
            let recover = |key| recover_expired_lease(&router, key);
            cursor.process_page(page, RECOVERY_CONCURRENCY, recover).await;
        }
    }
}

/// Journals what other workers settled and did not journal, until the worker stops. A task of its own: a journal that
/// is away must not delay the release of claims. Orders, adjustments, the operator state, locks and dead man's switches do not
/// wait for each other.
pub(in crate::worker) async fn drain_outbox(router: Router, stop: CancellationToken) {
    tokio::join!(
        append_waiting_orders(&router, &stop),
        append_waiting_adjustments(&router, &stop),
        publish_waiting_alerts(&router, &stop),
        append_waiting_changes(&router, &stop),
        append_waiting_locks(&router, &stop),
        append_waiting_switches(&router, &stop),
    );
}

async fn append_waiting_orders(router: &Router, stop: &CancellationToken) {
    let mut runs = repeat_every(SWEEP_INTERVAL, stop);
    let mut cursor = QueueCursor::default();
    while runs.next().await {
        let waiting = router
            .store
            .list_waiting_orders(&WorkQueue::Outbox, OUTBOX_GRACE_PERIOD, cursor.skip())
            .await;
        if let Ok(page) = waiting {
            let append = |key| append_order_events(router, key);
            cursor.process_page(page, RECOVERY_CONCURRENCY, append).await;
        }
    }
}

async fn append_waiting_adjustments(router: &Router, stop: &CancellationToken) {
    let mut runs = repeat_every(SWEEP_INTERVAL, stop);
    let mut cursor = QueueCursor::default();
    while runs.next().await {
        adjustments::append_waiting_adjustments(router, OUTBOX_GRACE_PERIOD, &mut cursor).await;
    }
}

async fn publish_waiting_alerts(router: &Router, stop: &CancellationToken) {
    let mut runs = repeat_every(SWEEP_INTERVAL, stop);
    while runs.next().await {
        if let Err(fault) = alert_outbox::publish_waiting_alerts(router, OUTBOX_GRACE_PERIOD).await {
            tracing::debug!(%fault, "alerts in the outbox could not be published yet; retrying");
        }
    }
}

async fn append_waiting_changes(router: &Router, stop: &CancellationToken) {
    let mut runs = repeat_every(SWEEP_INTERVAL, stop);
    while runs.next().await {
        if let Err(fault) = operator_state_journal::append_unjournaled_change(router).await {
            tracing::debug!(%fault, "the operator state could not be journaled yet; retrying");
        }
    }
}

async fn append_waiting_locks(router: &Router, stop: &CancellationToken) {
    let mut runs = repeat_every(SWEEP_INTERVAL, stop);
    while runs.next().await {
        if let Err(fault) = locks_journal::append_unjournaled_locks(router).await {
            tracing::debug!(%fault, "locks could not be journaled yet; retrying");
        }
    }
}

async fn append_waiting_switches(router: &Router, stop: &CancellationToken) {
    let mut runs = repeat_every(SWEEP_INTERVAL, stop);
    while runs.next().await {
        if let Err(fault) = switch_journal::append_unjournaled_switches(router).await {
            tracing::debug!(%fault, "dead man's switches could not be journaled yet; retrying");
        }
    }
}

/// Releases a claim whose lease has expired: it was not sent, and its owner may no longer send it. An order that was
/// being sent is never released, since only its venue knows the outcome: it is settled as unknown. Reports whether the
/// order is claimed no more.
async fn recover_expired_lease(router: &Router, key: OrderKey) -> bool {
    let Ok(Some(record)) = router.store.read_order(&key).await else {
        return false;
    };
    let Some(lease) = &record.lease else { return false };
    let order_id = &record.known.order_id;
    match record.known.stage {
        RecordStage::Claimed => match release_expired_claim(router, &record, lease).await {
            Ok(true) => {
                tracing::warn!(%order_id, "released an expired claim; the order was not sent");
                true
            }
            Ok(false) => false,
            Err(fault) => {
                log_at_intervals!(warn, %order_id, %fault, "an expired claim could not be released yet; retrying");
                false
            }
        },
        RecordStage::Sending => match announced::presume_outcome_unknown(router, &record, lease).await {
            Ok(()) => true,
            Err(fault) => {
                log_at_intervals!(
                    warn,
                    %order_id, %fault,
                    "an order that may have been sent could not be settled as unknown yet; retrying"
                );
                false
            }
        },
        _ => false,
    }
}

async fn release_expired_claim(router: &Router, record: &StoredOrder, lease: &LeaseToken) -> Result<bool, Fault> {
    let order = order_from_document(&record.document)?;
    if router.places_at_venue(&order) {
        return announced::release_announced(router, &order, lease, WithdrawalStage::Claimed).await;
    }
    let released = router.store.release_claim(&order, lease).await;
    released.map_err(store_unavailable)
}

/// Takes an order out of the outbox whose newest event is marked as journaled. A Redis that was restored from a damaged
/// append-only file can hold such an entry. Reports whether it is gone.
async fn drop_stale_entry(router: &Router, record: &StoredOrder, key: OrderKey) -> bool {
    let mark = MarkJournaledRequest {
        key,
        order_id: record.known.order_id.clone(),
        version: record.known.version,
        settlement_id: None,
        sequence: record.known.journal_sequence,
    };
    router.store.mark_journaled(mark).await.is_ok()
}

/// Journals the waiting events of an order. Reports whether none waits any more.
async fn append_order_events(router: &Router, key: OrderKey) -> bool {
    if Guard::Outbox.is_off() {
        return false;
    }
    let Ok(Some(record)) = router.store.read_order(&key).await else {
        return false;
    };
    let appended = match record.known.stage {
        RecordStage::Releasing => announced::append_waiting_release(router, &record).await,
        _ if record.known.journaled_version >= record.known.version => {
            return drop_stale_entry(router, &record, key).await;
        }
        _ => current_report::append_outbox_events(router, &record).await,
    };
    match appended {
        Ok(()) => tracing::info!(order_id = %record.known.order_id, "journaled a waiting event"),
        Err(fault) => {
            log_at_intervals!(
                warn,
                order_id = %record.known.order_id, %fault,
                "a waiting event could not be journaled yet; retrying"
            );
            return false;
        }
    }
    true
}
