//! The one who writes the file: a batch of entries is one transaction, with the sequences it brings the log to.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::event::Entry;
use super::index::{Change, Index};
use super::labels::Labels;
use super::positions::Positions;
use super::projection::{Projection, VERSION};
use super::schema::{is_broken, open_to_write};
use super::{Shared, alerts, load};
use crate::domain::time::Timestamp;

/// From which size on the write-ahead file is emptied while readers wait.
const LONG_WAL_BYTES: u64 = 64 * 1_024 * 1_024;
/// After how many entries pages are brought from the write-ahead file to the main one.
const CHECKPOINT_ENTRIES: usize = 4_096;

/// The streams that the log follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Orders, notes, adjustments and what operators set.
    Journal,
    /// What the risk rules say.
    Alerts,
}

impl Source {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Journal => "journal",
            Self::Alerts => "alerts",
        }
    }
}

/// How far a stream is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Applied {
    /// When the stream was created.
    pub(super) created: Timestamp,
    /// The sequence of the last entry that is applied; 0 before the first.
    pub(super) sequence: u64,
    /// When the stream took that entry: another one at its place is of another stream.
    pub(super) taken_at: Timestamp,
}

/// Why the log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// What SQLite says.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// What the file system says.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// Another process has it.
    #[error("another process has {0}; give each sidecar a data directory of its own (data_dir)")]
    Taken(String),
}

impl WriteError {
    fn file(path: &Path, error: std::io::Error) -> Self {
        Self::File(path.display().to_string(), error)
    }
}

/// The file, opened for writing, and locked against other processes.
#[derive(Debug)]
pub(super) struct Writer {
    connection: Connection,
    labels: Labels,
    positions: Positions,
    journal: Option<Applied>,
    alerts: Option<Applied>,
    /// Tells the file we have from another one that has come to stand in its place.
    inode: u64,
    path: PathBuf,
    since_checkpoint: usize,
    skipped: u64,
    _lock: File,
}

impl Writer {
    /// Opens the file and reads the index from it. A file that cannot be used is made anew.
    ///
    /// # Errors
    /// When it cannot be had: it is worth another try later.
    pub(super) fn open(path: &Path, shared: &Shared) -> Result<Self, WriteError> {
        let lock = lock(path)?;
        let (connection, index) = match open_and_load(path) {
            Err(error) if is_broken(&error) => {
                tracing::error!(%error, path = %path.display(), "the order log's file cannot be used: it is made anew from the journal");
                remove(path)?;
                open_and_load(path)?
            }
            opened => opened?,
        };
        if is_another_versions(&connection)? {
            tracing::warn!("another version of the program has left entries out of the order log: it is made anew");
            drop(connection);
            remove(path)?;
            drop(lock);
            return Self::open(path, shared);
        }
        let applied = |source| progress(&connection, source);
        let (journal, alerts) = (applied(Source::Journal)?, applied(Source::Alerts)?);
        let metadata = std::fs::metadata(path).map_err(|error| WriteError::file(path, error))?;
        shared.replace(index);
        let skipped = count_skipped(&connection)?;
        Ok(Self {
            connection,
            skipped,
            labels: Labels::default(),
            positions: Positions::default(),
            journal,
            alerts,
            inode: metadata.ino(),
            path: path.to_owned(),
            since_checkpoint: 0,
            _lock: lock,
        })
    }

    /// Returns how far a stream is applied; `None` before anything of it.
    pub(super) fn applied(&self, source: Source) -> Option<Applied> {
        match source {
            Source::Journal => self.journal,
            Source::Alerts => self.alerts,
        }
    }

    /// Whether the file that was opened still stands at its path.
    pub(super) fn is_in_place(&self) -> bool {
        std::fs::metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode)
    }

    /// Takes note that a stream begins here, or begins anew.
    ///
    /// # Errors
    /// What the file says.
    pub(super) fn begin(&mut self, source: Source, at: Applied) -> Result<(), WriteError> {
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        if source == Source::Alerts {
            alerts::clear(&transaction)?;
        }
        write_progress(&transaction, source, at)?;
        transaction.commit()?;
        self.set_applied(source, at);
        Ok(())
    }

    /// Applies entries: all of them, or none.
    ///
    /// # Errors
    /// What the file says; nothing has changed then.
    pub(super) fn apply(&mut self, shared: &Shared, entries: &[(Source, Entry)]) -> Result<(), WriteError> {
        let applied = self.apply_all(shared, entries);
        if applied.is_err() {
            self.labels.forget();
            self.positions.forget();
        }
        applied?;
        self.since_checkpoint += entries.len();
        if self.since_checkpoint >= CHECKPOINT_ENTRIES {
            self.checkpoint()?;
        }
        Ok(())
    }

    fn apply_all(&mut self, shared: &Shared, entries: &[(Source, Entry)]) -> Result<(), WriteError> {
        let (orders, executions) = shared.lengths();
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut projection = Projection {
            connection: &transaction,
            labels: &mut self.labels,
            positions: &mut self.positions,
            orders,
            executions,
            changes: Vec::new(),
            has_skipped: false,
        };
        let (mut journal, mut alerts) = (self.journal, self.alerts);
        for (source, entry) in entries {
            let applied = match source {
                Source::Journal => journal.as_mut(),
                Source::Alerts => alerts.as_mut(),
            };
            // Entries come after the word that their stream begins; what is applied already may come again.
            let Some(applied) = applied.filter(|applied| applied.sequence < entry.sequence) else {
                continue;
            };
            if *source == Source::Journal && entry.sequence > applied.sequence + 1 {
                let why = format!("the journal has nothing from {} on until here", applied.sequence + 1);
                projection.skip(entry.sequence - 1, &why)?;
            }
            (applied.sequence, applied.taken_at) = (entry.sequence, entry.taken_at);
            match source {
                Source::Journal => projection.apply(entry)?,
                Source::Alerts => alerts::apply(&transaction, entry)?,
            }
        }
        let (changes, has_skipped): (Vec<Change>, bool) = (projection.changes, projection.has_skipped);
        self.labels.write(&transaction)?;
        self.positions.write(&transaction)?;
        for (source, applied) in [(Source::Journal, journal), (Source::Alerts, alerts)] {
            if let Some(applied) = applied {
                write_progress(&transaction, source, applied)?;
            }
        }
        // Whoever reads sees index and file at the same moment.
        shared.change(changes, || transaction.commit())?;
        (self.journal, self.alerts) = (journal, alerts);
        if has_skipped {
            self.skipped = count_skipped(&self.connection)?;
        }
        Ok(())
    }

    /// Removes alerts that their stream has dropped.
    ///
    /// # Errors
    /// What the file says.
    pub(super) fn drop_alerts_before(&mut self, first_sequence: u64) -> Result<(), WriteError> {
        Ok(alerts::drop_before(&self.connection, first_sequence)?)
    }

    /// Returns how many entries of the journal were left out.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Whether the write-ahead file has grown beyond what is good: readers have kept it from beginning again.
    pub(super) fn has_long_wal(&self) -> bool {
        std::fs::metadata(beside(&self.path, "-wal")).is_ok_and(|metadata| metadata.len() > LONG_WAL_BYTES)
    }

    /// Brings all pages to the main file and empties the write-ahead file; nobody may be reading.
    ///
    /// # Errors
    /// What the file says.
    pub(super) fn empty_wal(&mut self) -> Result<(), WriteError> {
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.since_checkpoint = 0;
        Ok(())
    }

    /// Brings pages from the write-ahead file to the main one.
    ///
    /// # Errors
    /// What the file says.
    pub(super) fn checkpoint(&mut self) -> Result<(), WriteError> {
        if std::mem::take(&mut self.since_checkpoint) > 0 {
            // Where a reader still needs the old pages, the next time brings them.
            self.connection
                .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
        }
        Ok(())
    }

    fn set_applied(&mut self, source: Source, at: Applied) {
        match source {
            Source::Journal => self.journal = Some(at),
            Source::Alerts => self.alerts = Some(at),
        }
    }
}

fn open_and_load(path: &Path) -> rusqlite::Result<(Connection, Index)> {
    let connection = open_to_write(path)?;
    let index = load::index(&connection)?;
    Ok((connection, index))
}

/// Takes the lock that keeps other processes from the file.
fn lock(path: &Path) -> Result<File, WriteError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory).map_err(|error| WriteError::file(directory, error))?;
    let lock_path = path.with_extension("lock");
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock_path);
    let lock = lock.map_err(|error| WriteError::file(&lock_path, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(WriteError::Taken(path.display().to_string())),
        Err(TryLockError::Error(error)) => Err(WriteError::file(&lock_path, error)),
    }
}

/// Removes a file that nobody uses.
///
/// # Errors
/// When another process has it, or the file system refuses.
pub(super) fn remove_unused(path: &Path) -> Result<(), WriteError> {
    let _lock = lock(path)?;
    remove(path)
}

/// Returns the file that SQLite keeps beside another one, by what it adds to its name.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Removes the file and what SQLite keeps beside it.
///
/// # Errors
/// What the file system says.
pub(super) fn remove(path: &Path) -> Result<(), WriteError> {
    for suffix in ["", "-wal", "-shm"] {
        let path = beside(path, suffix);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(WriteError::file(&path, error)),
            _ => {}
        }
    }
    Ok(())
}

fn count_skipped(connection: &Connection) -> rusqlite::Result<u64> {
    connection.query_row("SELECT count(*) FROM skipped", [], |row| row.get(0))
}

/// Whether entries were left out that this version may be able to read.
fn is_another_versions(connection: &Connection) -> rusqlite::Result<bool> {
    let others = "SELECT 1 FROM skipped WHERE version <> ?1 LIMIT 1";
    connection.prepare(others)?.exists([VERSION])
}

fn progress(connection: &Connection, source: Source) -> rusqlite::Result<Option<Applied>> {
    let find = "SELECT created, sequence, taken_at FROM progress WHERE stream = ?1";
    let applied = connection.query_row(find, [source.name()], |row| {
        Ok(Applied {
            created: Timestamp::from_microseconds(row.get(0)?),
            sequence: row.get(1)?,
            taken_at: Timestamp::from_microseconds(row.get(2)?),
        })
    });
    applied.optional()
}

fn write_progress(connection: &Connection, source: Source, at: Applied) -> rusqlite::Result<()> {
    let write = "INSERT OR REPLACE INTO progress (stream, created, sequence, taken_at) VALUES (?1, ?2, ?3, ?4)";
    let mut statement = connection.prepare_cached(write)?;
    let (created, taken_at) = (at.created.microseconds(), at.taken_at.microseconds());
    statement.execute(params![source.name(), created, at.sequence, taken_at])?;
    Ok(())
}
