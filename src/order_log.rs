//! The order log: the journal projected into a file of SQLite, so that orders, executions, positions and alerts are told
//! with exact totals, in milliseconds.
//!
//! One task follows the streams ([`follow`]) and hands what it reads ([`event`]) in batches to the one writer
//! ([`writer`]), which makes rows of it ([`projection`]) and notes in the same transaction how far it has come. Beside the
//! file stands an index in memory ([`index`]) that answers which orders a filter takes ([`filter`]); a reader ([`read`])
//! sees both of the same moment. Everything is made of the journal alone and is the same on every sidecar: the file can
//! be deleted at any time. While it cannot be written the log is behind and says so ([`status`]); orders go on.

use crate::order_log::database::schema;
use crate::order_log::ingest::follower;
use crate::order_log::ingest::writer;
use crate::order_log::query::pages;
use crate::order_log::tables::alerts;
use crate::order_log::tables::positions;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rusqlite::{Connection, InterruptHandle};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use crate::order_log::ingest::projection::{MAX_NOTES_BYTES, MAX_ORDER_TAGS};
pub use crate::order_log::query::filter::OrderLogFilter;
pub use crate::order_log::query::pages::PageWindow;
pub use crate::order_log::status::{OrderLogStatus, SyncState};
pub use crate::order_log::tables::alerts::AlertFilter;
use crate::order_log::tables::positions::MAX_POSITIONS_RETURNED;
pub use crate::order_log::tables::positions::PositionRow;

use crate::bus::connection::Bus;
use crate::bus::journal::JournalReader;
use crate::domain::id::AccountId;
use crate::domain::order_terms::Mode;
use crate::fault::{Fault, FaultCode};
use crate::order_log::index::{IndexChange, OrderLogIndex};
pub use crate::order_log::ingest::writer::OrderLogWriteError;
use crate::wire::order_record::{ExecutionRecord, OrderRecord};

/// The file below the data directory.
const DATABASE_FILE: &str = "order-log/orders.sqlite";
/// How many reads go on at a time; others wait for their turn.
const MAX_CONCURRENT_READS: usize = 4;
/// How many reads may wait.
const MAX_QUEUED_READS: usize = 1_024;

/// The order log of one sidecar. Clones share it.
#[derive(Debug, Clone)]
pub struct OrderLog {
    shared: Arc<OrderLogShared>,
    tasks: TaskTracker,
}

/// What the writer and the readers share.
#[derive(Debug)]
struct OrderLogShared {
    path: PathBuf,
    index: RwLock<OrderLogIndex>,
    pool: Mutex<ReaderPool>,
    read_permits: Arc<Semaphore>,
    /// Reads that wait for their turn or go on.
    queue_permits: Arc<Semaphore>,
    status: watch::Sender<OrderLogStatus>,
    /// The highest sequence of the journal that this sidecar has told a client of.
    read_floor: AtomicU64,
    /// Whether a reader has found the file broken: it is to be made anew.
    is_corrupt: AtomicBool,
}

/// Connections that rest, of the file that stands at the path now.
#[derive(Debug, Default)]
struct ReaderPool {
    generation: u64,
    idle: Vec<Connection>,
}

/// A part of what a filter takes, and how many there are in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPage<T> {
    /// The newest first.
    pub items: Vec<T>,
    /// How many the filter takes.
    pub total: u64,
}

/// Positions of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionsSnapshot {
    /// What is held, or was.
    pub rows: Vec<PositionRow>,
    /// The mode in force: the one that operators have set last, or else the one every router starts in.
    pub mode: Mode,
}

impl OrderLog {
    /// Opens the log below a data directory and follows the streams from then on, until it is stopped.
    pub fn start(data_dir: &Path, bus: Bus, stop: CancellationToken) -> Self {
        let shared = Arc::new(OrderLogShared {
            path: data_dir.join(DATABASE_FILE),
            index: RwLock::default(),
            pool: Mutex::default(),
            read_permits: Arc::new(Semaphore::new(MAX_CONCURRENT_READS)),
            queue_permits: Arc::new(Semaphore::new(MAX_QUEUED_READS)),
            status: watch::Sender::new(OrderLogStatus::default()),
            read_floor: AtomicU64::new(0),
            is_corrupt: AtomicBool::new(false),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(follower::follow_streams(Arc::clone(&shared), bus, stop));
        tasks.close();
        Self { shared, tasks }
    }

    /// Removes the log below a data directory, so that the next start makes it anew.
    ///
    /// # Errors
    /// When another process uses it, or the file system refuses.
    pub fn remove_file(data_dir: &Path) -> Result<(), OrderLogWriteError> {
        writer::remove_unused(&data_dir.join(DATABASE_FILE))
    }

    /// Waits until the file is closed, after it was told to stop.
    pub async fn wait_until_stopped(&self) {
        self.tasks.wait().await;
    }

    /// Follows how the log stands.
    pub fn watch_status(&self) -> watch::Receiver<OrderLogStatus> {
        self.shared.status.subscribe()
    }

    /// Returns how the log stands.
    pub fn status(&self) -> OrderLogStatus {
        self.shared.status.borrow().clone()
    }

    /// Takes note that a client was told of something at this place of the journal: what it reads from now on has that.
    pub fn raise_read_floor(&self, journal_sequence: Option<u64>) {
        if let Some(sequence) = journal_sequence {
            self.shared.read_floor.fetch_max(sequence, Ordering::AcqRel);
        }
    }

    /// Returns the orders that a filter takes.
    ///
    /// # Errors
    /// See [`OrderLog::read`]; `invalid_field` for a page that would be too large.
    pub async fn list_orders(
        &self,
        filter: OrderLogFilter,
        window: PageWindow,
        until: Instant,
    ) -> Result<LogPage<OrderRecord>, Fault> {
        let choose = move |index: &OrderLogIndex, connection: &Connection| {
            pages::select_orders(&filter, window, index, connection)
        };
        let page = self.read_when_ready(RequiredStreams::JOURNAL, until, choose, |chosen, connection| {
            pages::load_page(chosen, |ordinal| pages::load_order(connection, ordinal))
        });
        page.await?.ok_or_else(page_too_large)
    }

    /// Returns the executions that a filter takes.
    ///
    /// # Errors
    /// See [`OrderLog::orders`].
    pub async fn list_executions(
        &self,
        filter: OrderLogFilter,
        window: PageWindow,
        until: Instant,
    ) -> Result<LogPage<ExecutionRecord>, Fault> {
        let choose = move |index: &OrderLogIndex, connection: &Connection| {
            pages::select_executions(&filter, window, index, connection)
        };
        let page = self.read_when_ready(RequiredStreams::JOURNAL, until, choose, |chosen, connection| {
            pages::load_page(chosen, |ordinal| pages::load_execution(connection, ordinal))
        });
        page.await?.ok_or_else(page_too_large)
    }

    /// Returns the newest alerts that a filter takes, the newest first, as one JSON list.
    ///
    /// # Errors
    /// See [`OrderLog::read`].
    pub async fn list_alerts(&self, filter: AlertFilter, limit: u64, until: Instant) -> Result<Vec<u8>, Fault> {
        let list = move |(), connection: &Connection| alerts::list_newest(connection, &filter, limit);
        self.read_when_ready(RequiredStreams::ALERTS, until, |_, _| Ok(()), list)
            .await
    }

    /// Returns the positions of an account, or of every one, in a mode or in all; those that are flat, too.
    ///
    /// # Errors
    /// See [`OrderLog::read`]; `invalid_field` where there are too many.
    pub async fn list_positions(&self, account: Option<AccountId>, until: Instant) -> Result<PositionsSnapshot, Fault> {
        let rows = move |(), connection: &Connection| {
            Ok(PositionsSnapshot {
                rows: positions::list_positions(connection, account.as_ref())?,
                mode: positions::load_mode(connection)?,
            })
        };
        let positions = self
            .read_when_ready(RequiredStreams::JOURNAL, until, |_, _| Ok(()), rows)
            .await?;
        if positions.rows.len() > MAX_POSITIONS_RETURNED {
            let rule = format!("must be given: there are more than {MAX_POSITIONS_RETURNED} positions");
            return Err(Fault::for_field(FaultCode::InvalidField, "account_id", rule));
        }
        Ok(positions)
    }

    /// Waits until the log has everything that the journal holds now: what is done by what it tells must not be done by
    /// an older word.
    ///
    /// # Errors
    /// `store_unavailable` or `bus_unavailable` where it does not come to that.
    pub async fn wait_until_current(&self, bus: &Bus, until: Instant) -> Result<(), Fault> {
        let last_sequence = read_last_sequence(bus, until).await?;
        self.wait_for_sequence(RequiredStreams::JOURNAL, last_sequence, until)
            .await
    }

    /// Has later reads see everything that is on the journal by now.
    ///
    /// # Errors
    /// `bus_unavailable` where the journal does not tell how far it goes.
    pub async fn raise_read_floor_to_journal_end(&self, bus: &Bus, until: Instant) -> Result<(), Fault> {
        let last_sequence = read_last_sequence(bus, until).await?;
        self.raise_read_floor(Some(last_sequence));
        Ok(())
    }

    /// Reads: first what the index and the file say together, then what the file says of the same moment.
    ///
    /// # Errors
    /// `store_unavailable` or `bus_unavailable` while the log is not whole, lacks what a client was told, or cannot be
    /// read; `queue_full`.
    async fn read_when_ready<C, T>(
        &self,
        required: RequiredStreams,
        until: Instant,
        select_rows: impl FnOnce(&OrderLogIndex, &Connection) -> rusqlite::Result<C> + Send + 'static,
        load_rows: impl FnOnce(C, &Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault>
    where
        C: Send + 'static,
        T: Send + 'static,
    {
        self.wait_for_sequence(required, self.shared.read_floor.load(Ordering::Acquire), until)
            .await?;
        let full = |_| {
            Fault::new(
                FaultCode::QueueFull,
                "as many reads of the order log wait as may; ask again",
            )
        };
        let waiting = Arc::clone(&self.shared.queue_permits)
            .try_acquire_owned()
            .map_err(full)?;
        let late = || {
            Fault::new(
                FaultCode::StoreUnavailable,
                "the order log does not answer in time; ask again",
            )
        };
        let places = Arc::clone(&self.shared.read_permits);
        let place = timeout_at(until, places.acquire_owned()).await.map_err(|_| late())?;
        let (shared, interrupt) = (Arc::clone(&self.shared), ReadInterrupt::default());
        let interrupted = interrupt.clone();
        let reading = tokio::task::spawn_blocking(move || {
            // Also a read that nobody waits for any more keeps its place to its end.
            let _held = (waiting, place);
            shared.read_snapshot(&interrupted, select_rows, load_rows)
        });
        let read = timeout_at(until, reading).await.map_err(|_| {
            // It must not go on and hold up others.
            interrupt.interrupt();
            late()
        })?;
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "the order log cannot be read");
            Fault::new(
                FaultCode::StoreUnavailable,
                "the order log cannot be read; ask again: it rebuilds itself",
            )
        };
        read.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    /// Waits until the log is whole and has come to a place of the journal.
    async fn wait_for_sequence(&self, required: RequiredStreams, sequence: u64, until: Instant) -> Result<(), Fault> {
        let mut status = self.shared.status.subscribe();
        let come = status.wait_for(|status| {
            let has_journal = !required.journal || status.is_complete && status.journal_sequence >= sequence;
            has_journal && (!required.alerts || status.has_all_alerts)
        });
        match timeout_at(until, come).await {
            Ok(Ok(_)) => Ok(()),
            _ => {
                let status = self.status();
                let code = match status.sync_state {
                    SyncState::StreamUnavailable(_) => FaultCode::BusUnavailable,
                    _ => FaultCode::StoreUnavailable,
                };
                Err(Fault::new(code, status.to_string()))
            }
        }
    }
}

async fn read_last_sequence(bus: &Bus, until: Instant) -> Result<u64, Fault> {
    let late = || {
        Fault::new(
            FaultCode::BusUnavailable,
            "the journal does not answer in time; nothing was sent",
        )
    };
    let reader = JournalReader::new(bus.clone());
    let info = timeout_at(until, reader.read_extent()).await.map_err(|_| late())?;
    let info = info.map_err(|error| Fault::new(FaultCode::BusUnavailable, error.to_string()))?;
    Ok(info.last_sequence)
}

/// Which streams an answer is made of.
#[derive(Debug, Clone, Copy)]
struct RequiredStreams {
    journal: bool,
    alerts: bool,
}

impl RequiredStreams {
    const JOURNAL: Self = Self {
        journal: true,
        alerts: false,
    };
    const ALERTS: Self = Self {
        journal: false,
        alerts: true,
    };
}

/// What ends a read that is under way.
#[derive(Clone, Default)]
struct ReadInterrupt(Arc<Mutex<Option<InterruptHandle>>>);

impl ReadInterrupt {
    fn arm(&self, connection: &Connection) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.get_interrupt_handle());
    }

    fn disarm(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn interrupt(&self) {
        if let Some(handle) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            handle.interrupt();
        }
    }
}

fn page_too_large() -> Fault {
    let rule = "takes in more than a page may have: the orders have long notes or many tags; ask for fewer";
    Fault::for_field(FaultCode::InvalidField, "limit", rule)
}

impl OrderLogShared {
    fn read_snapshot<C, T>(
        &self,
        interrupt: &ReadInterrupt,
        select_rows: impl FnOnce(&OrderLogIndex, &Connection) -> rusqlite::Result<C>,
        load_rows: impl FnOnce(C, &Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let (generation, connection) = self.take_connection()?;
        interrupt.arm(&connection);
        let read = (|| {
            let transaction = connection.unchecked_transaction()?;
            let chosen = {
                let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
                if self.generation() != generation {
                    return Err(superseded_error());
                }
                // The first look fixes what the transaction sees: nothing is committed while the index is held.
                transaction.query_row("SELECT count(*) FROM progress", [], |_| Ok(()))?;
                select_rows(&index, &transaction)?
            };
            load_rows(chosen, &transaction)
        })();
        interrupt.disarm();
        if read.as_ref().is_err_and(schema::is_corrupt) && self.generation() == generation {
            self.is_corrupt.store(true, Ordering::Release);
        }
        if read.is_ok() {
            let mut readers = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.generation == generation && readers.idle.len() < MAX_CONCURRENT_READS {
                readers.idle.push(connection);
            }
        }
        read
    }

    fn generation(&self) -> u64 {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).generation
    }

    fn take_connection(&self) -> rusqlite::Result<(u64, Connection)> {
        let (generation, resting) = {
            let mut readers = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
            (readers.generation, readers.idle.pop())
        };
        let connection = resting.map_or_else(|| schema::open_read_only(&self.path), Ok)?;
        Ok((generation, connection))
    }

    /// Returns how many orders and executions there are.
    fn row_counts(&self) -> (u32, u32) {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        (index.orders.len(), index.executions.len())
    }

    /// Commits and changes the index, both while nobody looks.
    fn commit_with_index(
        &self,
        changes: Vec<IndexChange>,
        commit: impl FnOnce() -> rusqlite::Result<()>,
    ) -> rusqlite::Result<()> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        commit()?;
        changes.into_iter().for_each(|change| index.apply(change));
        Ok(())
    }

    /// Puts the index of a file that was opened in the place of what was.
    fn replace_index(&self, index: OrderLogIndex) {
        let mut current = self.index.write().unwrap_or_else(PoisonError::into_inner);
        self.discard_connections();
        self.is_corrupt.store(false, Ordering::Release);
        *current = index;
    }

    /// Takes note that connections that were opened before are of another file.
    fn discard_connections(&self) {
        let mut readers = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        readers.generation += 1;
        readers.idle.clear();
    }
}

fn superseded_error() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    rusqlite::Error::SqliteFailure(code, Some("the file was made anew during the read".to_owned()))
}
pub mod database;
pub(crate) mod index;
pub mod ingest;
pub mod query;
pub(crate) mod status;
pub mod tables;
