//! A replay over entries that the journal has lost: only a loss that an operator accepted is passed over, and an order
//! whose earlier reports are lost is booked from its first one that is left.

use crate::bus::connection::BusError;
use crate::bus::journal::JournalReader;
use crate::store::rebuild::orders::{ConflictingOrder, OrderReplay};
use crate::worker::journaling::order_document::load_stored_order;
use crate::worker::rebuild::error::StoreRebuildError;
use crate::worker::rebuild::replay_target::ReplayTarget;
use crate::worker::router::Router;

/// Checks that an operator accepted the loss of the entries from one sequence to another, both included.
///
/// # Errors
/// [`StoreRebuildError::JournalIncomplete`] if not; any error of the journal.
pub(super) async fn check_accepted(reader: &JournalReader, from: u64, to: u64) -> Result<(), StoreRebuildError> {
    let accepted = reader.read_accepted_loss().await?;
    if accepted.is_some_and(|(event, _)| event.covers_gap(from, to)) {
        tracing::warn!(
            from,
            to,
            "the journal has lost these entries, as an operator accepted; the replay goes without them"
        );
        return Ok(());
    }
    let extent = reader.read_extent().await?;
    Err(match reader.find_unaccepted_loss(&extent).await? {
        Some(loss) => StoreRebuildError::JournalIncomplete(loss),
        None => BusError::JournalGap { from, to }.into(),
    })
}

/// Makes a report count from the last version that the store has, where the versions between them are lost. Reports
/// whether the report is replayed with that.
///
/// # Errors
/// Any error of store or journal.
pub(super) async fn include_lost_versions(
    router: &Router,
    target: ReplayTarget<'_>,
    report: &mut OrderReplay,
) -> Result<bool, StoreRebuildError> {
    let (store, key) = (&router.store, report.order.key());
    let record = target.read_order(router, &key).await?;
    let record = record.filter(|record| record.known.order_id == report.order.order_id);
    // Version 0 is a submission: the first report counts from nothing.
    let Some(record) = record.filter(|record| record.known.version > 0) else {
        *report = from_nothing(report)?;
        return Ok(false);
    };
    if record.known.version + 1 >= report.order.version {
        return Ok(false);
    }
    let whole = from_nothing(report)?;
    let earlier = ConflictingOrder {
        order: load_stored_order(&router.journal_reader, &record).await?,
    };
    store
        .replay_orders_with_conflicts(target.rebuild(), &[whole], Some(&earlier))
        .await?;
    Ok(true)
}

/// Returns an event with everything that its order has moved so far.
///
/// # Errors
/// If its sums leave the exact range.
pub(super) fn from_nothing(event: &OrderReplay) -> Result<OrderReplay, StoreRebuildError> {
    event.from_nothing().ok_or_else(|| {
        let order_id = &event.order.order_id;
        StoreRebuildError::Journal(format!("the sums of order {order_id} leave the exact range"))
    })
}
