//! The order log: the journal projected into a SQLite file, so that orders, executions, positions and alerts are listed
//! with exact totals, in milliseconds.
//!
//! One task follows the streams (`ingest::follower`) and hands decoded entries (`ingest::entry`) in batches to the
//! writer (`ingest::writer`). The writer turns them into rows (`ingest::projection`) and stores the watermarks of the
//! streams in the same transaction. An index in memory (`index`) answers which orders match a filter
//! (`query::filter`); a read (`reader`) sees the index and the file in the same state.
//!
//! Everything is derived from the journal alone and is the same on every sidecar: the file can be deleted at any time.
//! While the file cannot be written the log is behind and reports so (`status`); orders are not affected.

mod database;
mod index;
mod ingest;
pub mod inspection;
mod query;
mod reader;
mod shared;
mod status;
mod tables;

use std::path::Path;
use std::sync::Arc;

use rusqlite::Connection;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::bus::connection::Bus;
use crate::bus::journal::JournalReader;
use crate::domain::id::AccountId;
use crate::domain::order_terms::Mode;
use crate::fault::{Fault, FaultCode};
use crate::order_log::database::file::{self, DATABASE_FILE};
use crate::order_log::index::OrderLogIndex;
use crate::order_log::ingest::follower;
use crate::order_log::query::pages;
use crate::order_log::reader::{RequiredStreams, read_when_ready, wait_for_sequence};
use crate::order_log::shared::OrderLogShared;
use crate::order_log::tables::positions::MAX_POSITIONS_RETURNED;
use crate::order_log::tables::{alerts, orders, positions, router_state};
use crate::wire::order_record::{ExecutionRecord, OrderRecord};

pub use crate::order_log::database::file::OrderLogWriteError;
pub use crate::order_log::ingest::projection::{MAX_NOTES_BYTES, MAX_ORDER_TAGS};
pub use crate::order_log::query::filter::OrderLogFilter;
pub use crate::order_log::query::pages::{LogPage, PageWindow};
pub use crate::order_log::status::{OrderLogStatus, SyncState};
pub use crate::order_log::tables::alerts::AlertFilter;
pub use crate::order_log::tables::positions::PositionRow;

/// The order log of one sidecar. Clones share it.
#[derive(Debug, Clone)]
pub struct OrderLog {
    shared: Arc<OrderLogShared>,
    tasks: TaskTracker,
}

/// The positions of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionsSnapshot {
    /// The positions, flat ones included.
    pub rows: Vec<PositionRow>,
    /// The mode of the router: the one that operators have set last, or the one every router starts in.
    pub mode: Mode,
}

impl OrderLog {
    /// Opens the log below a data directory and follows the streams, until `stop` is cancelled.
    pub fn start(data_dir: &Path, bus: Bus, stop: CancellationToken) -> Self {
        let shared = Arc::new(OrderLogShared::new(data_dir.join(DATABASE_FILE)));
        let tasks = TaskTracker::new();
        tasks.spawn(follower::follow_streams(Arc::clone(&shared), bus, stop));
        tasks.close();
        Self { shared, tasks }
    }

    /// Removes the log below a data directory, so that the next start rebuilds it.
    ///
    /// # Errors
    /// `InUse` when another process uses the file; `File` when the file system refuses.
    pub fn remove_file(data_dir: &Path) -> Result<(), OrderLogWriteError> {
        file::remove_unused(&data_dir.join(DATABASE_FILE))
    }

    /// Waits until the file is closed, after `stop` was cancelled.
    pub async fn wait_until_stopped(&self) {
        self.tasks.wait().await;
    }

    /// Returns a receiver of the status and its changes.
    pub fn watch_status(&self) -> watch::Receiver<OrderLogStatus> {
        self.shared.status.subscribe()
    }

    /// Returns the status.
    pub fn status(&self) -> OrderLogStatus {
        self.shared.status.borrow().clone()
    }

    /// Raises the read floor to a journal sequence that was returned to a client: later reads reflect it.
    pub fn raise_read_floor(&self, journal_sequence: Option<u64>) {
        if let Some(sequence) = journal_sequence {
            self.shared.raise_read_floor(sequence);
        }
    }

    /// Returns whether the log has an order at a broker, of any account.
    pub fn has_broker(&self, broker: &str) -> bool {
        self.shared.has_broker(broker)
    }

    /// Returns a page of the orders that match a filter.
    ///
    /// # Errors
    /// `store_unavailable` or `bus_unavailable` while the log is incomplete, is below the read floor, or cannot be read;
    /// `queue_full` when too many reads wait; `invalid_field` for a page that would be too large.
    pub async fn list_orders(
        &self,
        filter: OrderLogFilter,
        window: PageWindow,
        until: Instant,
    ) -> Result<LogPage<OrderRecord>, Fault> {
        let select = move |index: &OrderLogIndex, connection: &Connection| {
            pages::select_orders(&filter, window, index, connection)
        };
        let load = |selected, connection: &Connection| {
            pages::load_page(selected, |ordinal| pages::load_order(connection, ordinal))
        };
        let page = read_when_ready(&self.shared, RequiredStreams::JOURNAL, until, select, load).await?;
        page.ok_or_else(page_too_large)
    }

    /// Returns the version of an order's last report; 0 for an order that is unknown or has none.
    ///
    /// # Errors
    /// See [`OrderLog::list_orders`]; there are no pages.
    pub async fn order_version(&self, order_id: &str, until: Instant) -> Result<u32, Fault> {
        let order_id = order_id.to_owned();
        let load = move |(), connection: &Connection| orders::find(connection, &order_id);
        let found = read_when_ready(&self.shared, RequiredStreams::JOURNAL, until, |_, _| Ok(()), load).await?;
        Ok(found.map_or(0, |order| order.version))
    }

    /// Returns a page of the executions that match a filter.
    ///
    /// # Errors
    /// See [`OrderLog::list_orders`].
    pub async fn list_executions(
        &self,
        filter: OrderLogFilter,
        window: PageWindow,
        until: Instant,
    ) -> Result<LogPage<ExecutionRecord>, Fault> {
        let select = move |index: &OrderLogIndex, connection: &Connection| {
            pages::select_executions(&filter, window, index, connection)
        };
        let load = |selected, connection: &Connection| {
            pages::load_page(selected, |ordinal| pages::load_execution(connection, ordinal))
        };
        let page = read_when_ready(&self.shared, RequiredStreams::JOURNAL, until, select, load).await?;
        page.ok_or_else(page_too_large)
    }

    /// Returns the newest alerts that match a filter, the newest first, as one JSON list.
    ///
    /// # Errors
    /// See [`OrderLog::list_orders`]; there are no pages.
    pub async fn list_alerts(&self, filter: AlertFilter, limit: u64, until: Instant) -> Result<Vec<u8>, Fault> {
        let load = move |(), connection: &Connection| alerts::list_newest(connection, &filter, limit);
        read_when_ready(&self.shared, RequiredStreams::ALERTS, until, |_, _| Ok(()), load).await
    }

    /// Returns the positions of an account, or of every account, over all modes; flat ones included.
    ///
    /// # Errors
    /// See [`OrderLog::list_orders`]; `invalid_field` when there are too many positions.
    pub async fn list_positions(&self, account: Option<AccountId>, until: Instant) -> Result<PositionsSnapshot, Fault> {
        let load = move |(), connection: &Connection| {
            Ok(PositionsSnapshot {
                rows: positions::list(connection, account.as_ref())?,
                mode: router_state::load_mode(connection)?,
            })
        };
        let snapshot = read_when_ready(&self.shared, RequiredStreams::JOURNAL, until, |_, _| Ok(()), load).await?;
        if snapshot.rows.len() > MAX_POSITIONS_RETURNED {
            let rule = format!("must be given: there are more than {MAX_POSITIONS_RETURNED} positions");
            return Err(Fault::for_field(FaultCode::InvalidField, "account_id", rule));
        }
        Ok(snapshot)
    }

    /// Waits until the log has everything that the journal holds now: a decision on the log's answer must not rest on an
    /// older state.
    ///
    /// # Errors
    /// `store_unavailable` or `bus_unavailable` when the log does not reach that in time.
    pub async fn wait_until_current(&self, bus: &Bus, until: Instant) -> Result<(), Fault> {
        let last_sequence = read_last_sequence(bus, until).await?;
        wait_for_sequence(&self.shared, RequiredStreams::JOURNAL, last_sequence, until).await
    }

    /// Raises the read floor to the end of the journal: later reads reflect everything that is on it now.
    ///
    /// # Errors
    /// `bus_unavailable` when the journal does not return its last sequence in time.
    pub async fn raise_read_floor_to_journal_end(&self, bus: &Bus, until: Instant) -> Result<(), Fault> {
        let last_sequence = read_last_sequence(bus, until).await?;
        self.raise_read_floor(Some(last_sequence));
        Ok(())
    }
}

async fn read_last_sequence(bus: &Bus, until: Instant) -> Result<u64, Fault> {
    let reader = JournalReader::new(bus.clone());
    let extent = timeout_at(until, reader.read_extent()).await.map_err(|_| {
        let detail = "the journal did not answer in time; nothing was sent";
        Fault::new(FaultCode::BusUnavailable, detail)
    })?;
    let extent = extent.map_err(|error| Fault::new(FaultCode::BusUnavailable, error.to_string()))?;
    Ok(extent.last_sequence)
}

fn page_too_large() -> Fault {
    let rule = "must be lower: the orders of this page have more notes and tags than one page may hold";
    Fault::for_field(FaultCode::InvalidField, "limit", rule)
}
