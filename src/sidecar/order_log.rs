//! The order log: the journal projected into a file of SQLite, so that orders, executions, positions and alerts are told
//! with exact totals, in milliseconds.
//!
//! One task follows the streams ([`follow`]) and hands what it reads ([`event`]) in batches to the one writer
//! ([`writer`]), which makes rows of it ([`projection`]) and notes in the same transaction how far it has come. Beside the
//! file stands an index in memory ([`index`]) that answers which orders a filter takes ([`filter`]); a reader ([`read`])
//! sees both of the same moment. Everything is made of the journal alone and is the same on every sidecar: the file can
//! be deleted at any time. While it cannot be written the log is behind and says so ([`status`]); orders go on.

mod alerts;
mod event;
mod filter;
mod follow;
mod index;
mod labels;
mod load;
mod positions;
mod projection;
mod read;
mod schema;
mod status;
mod times;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rusqlite::Connection;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use alerts::AlertFilter;
pub use filter::Filter;
pub use positions::PositionRow;
pub use projection::{MAX_NOTES_BYTES, MAX_ORDER_TAGS};
pub use read::Window;
pub use status::{Standing, Status};

use crate::bus::connection::Bus;
use crate::domain::id::AccountId;
use crate::domain::terms::Mode;
use crate::fault::{Code, Fault};
use crate::wire::order_record::{ExecutionRecord, OrderRecord};
use index::{Change, Index};
pub use writer::WriteError;

/// The file below the data directory.
const FILE: &str = "order-log/orders.sqlite";
/// How many reads go on at a time; others wait for their turn.
const READS_MAX: usize = 4;
/// How many reads may wait.
const WAITING_READS_MAX: usize = 1_024;

/// The order log of one sidecar. Clones share it.
#[derive(Debug, Clone)]
pub struct OrderLog {
    shared: Arc<Shared>,
    tasks: TaskTracker,
}

/// What the writer and the readers share.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    index: RwLock<Index>,
    readers: Mutex<Readers>,
    places: Arc<Semaphore>,
    /// Reads that wait for their turn or go on.
    waiting: Arc<Semaphore>,
    status: watch::Sender<Status>,
    /// The highest sequence of the journal that this sidecar has told a client of.
    told: AtomicU64,
    /// Whether a reader has found the file broken: it is to be made anew.
    is_broken: AtomicBool,
}

/// Connections that rest, of the file that stands at the path now.
#[derive(Debug, Default)]
struct Readers {
    generation: u64,
    resting: Vec<Connection>,
}

/// A part of what a filter takes, and how many there are in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// The newest first.
    pub items: Vec<T>,
    /// How many the filter takes.
    pub total: u64,
}

/// Positions of one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Positions {
    /// What is held, or was.
    pub rows: Vec<PositionRow>,
    /// The mode in force: the one that operators have set last, or else the one every router starts in.
    pub mode: Mode,
}

impl OrderLog {
    /// Opens the log below a data directory and follows the streams from then on, until it is stopped.
    pub fn start(data_dir: &Path, bus: Bus, stop: CancellationToken) -> Self {
        let shared = Arc::new(Shared {
            path: data_dir.join(FILE),
            index: RwLock::default(),
            readers: Mutex::default(),
            places: Arc::new(Semaphore::new(READS_MAX)),
            waiting: Arc::new(Semaphore::new(WAITING_READS_MAX)),
            status: watch::Sender::new(Status::default()),
            told: AtomicU64::new(0),
            is_broken: AtomicBool::new(false),
        });
        let tasks = TaskTracker::new();
        tasks.spawn(follow::run(Arc::clone(&shared), bus, stop));
        tasks.close();
        Self { shared, tasks }
    }

    /// Removes the log below a data directory, so that the next start makes it anew.
    ///
    /// # Errors
    /// When another process uses it, or the file system refuses.
    pub fn remove(data_dir: &Path) -> Result<(), WriteError> {
        writer::remove_unused(&data_dir.join(FILE))
    }

    /// Waits until the file is closed, after it was told to stop.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }

    /// Follows how the log stands.
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.shared.status.subscribe()
    }

    /// Returns how the log stands.
    pub fn status(&self) -> Status {
        self.shared.status.borrow().clone()
    }

    /// Takes note that a client was told of something at this place of the journal: what it reads from now on has that.
    pub fn told(&self, journal_sequence: Option<u64>) {
        if let Some(sequence) = journal_sequence {
            self.shared.told.fetch_max(sequence, Ordering::AcqRel);
        }
    }

    /// Returns the orders that a filter takes.
    ///
    /// # Errors
    /// See [`OrderLog::read`].
    pub async fn orders(&self, filter: Filter, window: Window, until: Instant) -> Result<Page<OrderRecord>, Fault> {
        self.read(
            until,
            move |index, connection| read::choose_orders(&filter, window, index, connection),
            |(total, ordinals), connection| {
                let items = ordinals.into_iter().map(|ordinal| read::order(connection, ordinal));
                let items = items.collect::<Result<_, _>>()?;
                Ok(Page { items, total })
            },
        )
        .await
    }

    /// Returns the executions that a filter takes.
    ///
    /// # Errors
    /// See [`OrderLog::read`].
    pub async fn executions(
        &self,
        filter: Filter,
        window: Window,
        until: Instant,
    ) -> Result<Page<ExecutionRecord>, Fault> {
        self.read(
            until,
            move |index, connection| read::choose_executions(&filter, window, index, connection),
            |(total, ordinals), connection| {
                let items = ordinals.into_iter().map(|ordinal| read::execution(connection, ordinal));
                let items = items.collect::<Result<_, _>>()?;
                Ok(Page { items, total })
            },
        )
        .await
    }

    /// Returns the newest alerts that a filter takes, the newest first, as one JSON list.
    ///
    /// # Errors
    /// See [`OrderLog::read`].
    pub async fn alerts(&self, filter: AlertFilter, limit: u64, until: Instant) -> Result<Vec<u8>, Fault> {
        let list = move |(), connection: &Connection| alerts::list(connection, &filter, limit);
        self.read(until, |_, _| Ok(()), list).await
    }

    /// Returns the positions of an account, or of every one, in a mode or in all; those that are flat, too.
    ///
    /// # Errors
    /// See [`OrderLog::read`].
    pub async fn positions(&self, account: Option<AccountId>, until: Instant) -> Result<Positions, Fault> {
        let rows = move |(), connection: &Connection| {
            Ok(Positions {
                rows: positions::list(connection, account.as_ref())?,
                mode: positions::mode(connection)?,
            })
        };
        self.read(until, |_, _| Ok(()), rows).await
    }

    /// Reads: first what the index and the file say together, then what the file says of the same moment.
    ///
    /// # Errors
    /// `store_unavailable` or `bus_unavailable` while the log is not whole, lacks what a client was told, or cannot be
    /// read; `queue_full`.
    async fn read<C, T>(
        &self,
        until: Instant,
        choose: impl FnOnce(&Index, &Connection) -> rusqlite::Result<C> + Send + 'static,
        fetch: impl FnOnce(C, &Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Fault>
    where
        C: Send + 'static,
        T: Send + 'static,
    {
        self.has_come_to(self.shared.told.load(Ordering::Acquire), until)
            .await?;
        let full = |_| Fault::new(Code::QueueFull, "as many reads of the order log wait as may; ask again");
        let waiting = Arc::clone(&self.shared.waiting).try_acquire_owned().map_err(full)?;
        let late = || {
            Fault::new(
                Code::StoreUnavailable,
                "the order log does not answer in time; ask again",
            )
        };
        let places = Arc::clone(&self.shared.places);
        let place = timeout_at(until, places.acquire_owned()).await.map_err(|_| late())?;
        let shared = Arc::clone(&self.shared);
        let reading = tokio::task::spawn_blocking(move || {
            // Also a read that nobody waits for any more keeps its place to its end.
            let _held = (waiting, place);
            shared.read(choose, fetch)
        });
        let read = timeout_at(until, reading).await.map_err(|_| late())?;
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "the order log cannot be read");
            Fault::new(
                Code::StoreUnavailable,
                "the order log cannot be read; ask again: it rebuilds itself",
            )
        };
        read.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
    }

    /// Waits until the log is whole and has come to a place of the journal.
    async fn has_come_to(&self, sequence: u64, until: Instant) -> Result<(), Fault> {
        let mut status = self.shared.status.subscribe();
        let come = status.wait_for(|status| status.is_whole && status.journal_sequence >= sequence);
        match timeout_at(until, come).await {
            Ok(Ok(_)) => Ok(()),
            _ => {
                let status = self.status();
                let code = match status.standing {
                    Standing::Cut(_) => Code::BusUnavailable,
                    _ => Code::StoreUnavailable,
                };
                Err(Fault::new(code, status.to_string()))
            }
        }
    }
}

impl Shared {
    fn read<C, T>(
        &self,
        choose: impl FnOnce(&Index, &Connection) -> rusqlite::Result<C>,
        fetch: impl FnOnce(C, &Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let (generation, connection) = self.reader()?;
        let read = (|| {
            let transaction = connection.unchecked_transaction()?;
            let chosen = {
                let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
                if self.generation() != generation {
                    return Err(superseded());
                }
                // The first look fixes what the transaction sees: nothing is committed while the index is held.
                transaction.query_row("SELECT count(*) FROM progress", [], |_| Ok(()))?;
                choose(&index, &transaction)?
            };
            fetch(chosen, &transaction)
        })();
        if read.as_ref().is_err_and(schema::is_broken) && self.generation() == generation {
            self.is_broken.store(true, Ordering::Release);
        }
        if read.is_ok() {
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            if readers.generation == generation && readers.resting.len() < READS_MAX {
                readers.resting.push(connection);
            }
        }
        read
    }

    fn generation(&self) -> u64 {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).generation
    }

    fn reader(&self) -> rusqlite::Result<(u64, Connection)> {
        let (generation, resting) = {
            let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
            (readers.generation, readers.resting.pop())
        };
        let connection = resting.map_or_else(|| schema::open_to_read(&self.path), Ok)?;
        Ok((generation, connection))
    }

    /// Returns how many orders and executions there are.
    fn lengths(&self) -> (u32, u32) {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        (index.orders.len(), index.executions.len())
    }

    /// Commits and changes the index, both while nobody looks.
    fn change(&self, changes: Vec<Change>, commit: impl FnOnce() -> rusqlite::Result<()>) -> rusqlite::Result<()> {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        commit()?;
        changes.into_iter().for_each(|change| index.apply(change));
        Ok(())
    }

    /// Puts the index of a file that was opened in the place of what was.
    fn replace(&self, index: Index) {
        let mut current = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.generation += 1;
        readers.resting.clear();
        *current = index;
    }
}

fn superseded() -> rusqlite::Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY);
    rusqlite::Error::SqliteFailure(code, Some("the file was made anew during the read".to_owned()))
}
