//! Reads of the order log: when they may start, how many run at a time, and what a caller gets when one fails.

use std::sync::Arc;

use rusqlite::Connection;
use tokio::time::{Instant, timeout_at};

use crate::fault::{Fault, FaultCode};
use crate::order_log::index::OrderLogIndex;
use crate::order_log::shared::{OrderLogShared, ReadInterrupt};
use crate::order_log::status::SyncState;

/// The streams that a response is made of.
#[derive(Debug, Clone, Copy)]
pub(in crate::order_log) struct RequiredStreams {
    journal: bool,
    alerts: bool,
}

impl RequiredStreams {
    /// The journal.
    pub(in crate::order_log) const JOURNAL: Self = Self {
        journal: true,
        alerts: false,
    };
    /// The stream of alerts.
    pub(in crate::order_log) const ALERTS: Self = Self {
        journal: false,
        alerts: true,
    };
}

/// Waits until the log reflects the read floor, then selects rows by the index and the file, and loads them, all from one
/// state of both.
///
/// # Errors
/// `store_unavailable` or `bus_unavailable` while the log is incomplete, is below the read floor, or cannot be read;
/// `queue_full` when too many reads wait.
pub(in crate::order_log) async fn read_when_ready<C, T>(
    shared: &Arc<OrderLogShared>,
    required: RequiredStreams,
    until: Instant,
    select_rows: impl FnOnce(&OrderLogIndex, &Connection) -> rusqlite::Result<C> + Send + 'static,
    load_rows: impl FnOnce(C, &Connection) -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, Fault>
where
    C: Send + 'static,
    T: Send + 'static,
{
    wait_for_sequence(shared, required, shared.read_floor(), until).await?;
    let queue_full = |_| {
        let detail = "too many reads of the order log are waiting; retry later";
        Fault::new(FaultCode::QueueFull, detail)
    };
    let too_late = |_| {
        let detail = "the order log did not answer in time; retry";
        Fault::new(FaultCode::StoreUnavailable, detail)
    };
    let queue_permit = Arc::clone(&shared.queue_permits)
        .try_acquire_owned()
        .map_err(queue_full)?;
    let acquire = Arc::clone(&shared.read_permits).acquire_owned();
    let read_permit = timeout_at(until, acquire).await.map_err(too_late)?;
    let interrupt = ReadInterrupt::default();
    let reading = {
        let (shared, interrupt) = (Arc::clone(shared), interrupt.clone());
        tokio::task::spawn_blocking(move || {
            // A read whose caller has left keeps its permits to its end.
            let _permits = (queue_permit, read_permit);
            shared.read_snapshot(&interrupt, select_rows, load_rows)
        })
    };
    let read = timeout_at(until, reading).await.map_err(|elapsed| {
        // A read without a caller must not hold up others.
        interrupt.interrupt();
        too_late(elapsed)
    })?;
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(%error, "the order log cannot be read");
        Fault::new(
            FaultCode::StoreUnavailable,
            "the order log cannot be read and is rebuilt if its file is corrupt; retry later",
        )
    };
    read.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

/// Waits until the log is complete and has applied a journal sequence.
///
/// # Errors
/// `bus_unavailable` when a stream cannot be followed, `store_unavailable` otherwise; the detail is the status.
pub(in crate::order_log) async fn wait_for_sequence(
    shared: &OrderLogShared,
    required: RequiredStreams,
    sequence: u64,
    until: Instant,
) -> Result<(), Fault> {
    let mut status = shared.status.subscribe();
    let applied = status.wait_for(|status| {
        let has_journal = !required.journal || status.is_complete && status.journal_sequence >= sequence;
        has_journal && (!required.alerts || status.has_all_alerts)
    });
    if let Ok(Ok(_)) = timeout_at(until, applied).await {
        return Ok(());
    }
    let status = shared.status.borrow();
    let code = match status.sync_state {
        SyncState::StreamUnavailable(_) => FaultCode::BusUnavailable,
        _ => FaultCode::StoreUnavailable,
    };
    Err(Fault::new(code, status.to_string()))
}
