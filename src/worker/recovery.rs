//! What a worker that died left behind: claims whose lease has ended are released, events that wait in the outbox are
//! brought to the journal. Every worker does this for all of them.

use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::router::Router;
use super::{adjust, locks, lookup, state_journal, submission};
use crate::domain::id::LeaseToken;
use crate::fault::Fault;
use crate::store::keys::OrderKey;
use crate::store::read::{Record, Waiting};
use crate::store::reserve::Stage;
use crate::store::sending::Reached;

/// How often it is looked for what was left.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How long an event may wait in the outbox before somebody else than its owner brings it to the journal.
pub const OUTBOX_PATIENCE: Duration = Duration::from_secs(1);
/// How many orders are worked on at a time.
const AT_A_TIME: usize = 32;

/// Releases what others claimed and did not finish, until it is stopped.
pub(super) async fn release_claims(router: Router, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Ok(keys) = router.store.waiting(&Waiting::ExpiredLease, Duration::ZERO).await {
            stream::iter(keys)
                .for_each_concurrent(AT_A_TIME, |key| release(&router, key))
                .await;
        }
        pause(&stop).await;
    }
}

/// Brings what others settled to the journal, until it is stopped. Apart from the releases: a journal that is away must
/// not hold them up.
pub(super) async fn empty_outbox(router: Router, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Ok(keys) = router.store.waiting(&Waiting::Outbox, OUTBOX_PATIENCE).await {
            stream::iter(keys)
                .for_each_concurrent(AT_A_TIME, |key| bring(&router, key))
                .await;
        }
        adjust::bring_waiting(&router).await;
        if let Err(fault) = state_journal::bring_to_journal(&router).await {
            tracing::debug!(%fault, "the shared state is brought to the journal later");
        }
        if let Err(fault) = locks::bring_to_journal(&router).await {
            tracing::debug!(%fault, "locks are brought to the journal later");
        }
        pause(&stop).await;
    }
}

async fn pause(stop: &CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = tokio::time::sleep(LOOK_EVERY) => {}
    }
}

/// Releases a claim whose lease has ended: it was never sent, and who held it has lost the right to. An order that was
/// being sent is never released: nobody knows what became of it but its venue.
async fn release(router: &Router, key: OrderKey) {
    let Ok(Some(record)) = router.store.read(&key).await else {
        return;
    };
    let Some(lease) = &record.lease else { return };
    let order_id = &record.known.order_id;
    match record.known.stage {
        Stage::Claimed => match release_claim(router, &record, lease).await {
            Ok(true) => tracing::warn!(%order_id, "released a claim that nobody finished; it was not sent"),
            Ok(false) => {}
            Err(fault) => tracing::warn!(%order_id, %fault, "a claim is released later"),
        },
        Stage::Sending => {
            if let Err(fault) = submission::presume_unknown(router, &record, lease).await {
                tracing::warn!(%order_id, %fault, "an order that may have been sent is looked at again");
            }
        }
        _ => {}
    }
}

async fn release_claim(router: &Router, record: &Record, lease: &LeaseToken) -> Result<bool, Fault> {
    let order = lookup::order_of(&record.document)?;
    if submission::outlives_us(router, &order.broker) {
        return submission::release(router, &order, lease, Reached::Claimed).await;
    }
    let released = router.store.release(&order, lease).await;
    released.map_err(|error| super::claim::unavailable(&error))
}

/// Brings the events of an order to the journal.
async fn bring(router: &Router, key: OrderKey) {
    let Ok(Some(record)) = router.store.read(&key).await else {
        return;
    };
    let brought = match record.known.stage {
        Stage::Releasing => submission::bring_release(router, &record).await,
        _ if record.known.journaled_version >= record.known.version => return,
        _ => lookup::bring_to_journal(router, &record).await,
    };
    match brought {
        Ok(()) => tracing::info!(order_id = %record.known.order_id, "brought a waiting event to the journal"),
        Err(fault) => tracing::warn!(order_id = %record.known.order_id, %fault, "an event waits for the journal"),
    }
}
