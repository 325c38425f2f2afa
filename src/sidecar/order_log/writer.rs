//! The one who writes the file: a batch of entries is one transaction, with the sequences it brings the log to.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};

use super::event::Entry;
use super::index::{Change, Index};
use super::labels::Labels;
use super::positions::Positions;
use super::projection::Projection;
use super::schema::{is_broken, open_to_write};
use super::{Shared, alerts, load};
use crate::domain::time::Timestamp;

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
        let applied = |source| progress(&connection, source);
        let (journal, alerts) = (applied(Source::Journal)?, applied(Source::Alerts)?);
        let metadata = std::fs::metadata(path).map_err(|error| WriteError::file(path, error))?;
        shared.replace(index);
        Ok(Self {
            connection,
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
            applied.sequence = entry.sequence;
            match source {
                Source::Journal => projection.apply(entry)?,
                Source::Alerts => alerts::apply(&transaction, entry)?,
            }
        }
        let changes: Vec<Change> = projection.changes;
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

/// Removes the file and what SQLite keeps beside it.
///
/// # Errors
/// What the file system says.
pub(super) fn remove(path: &Path) -> Result<(), WriteError> {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        let path = PathBuf::from(name);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(WriteError::file(&path, error)),
            _ => {}
        }
    }
    Ok(())
}

fn progress(connection: &Connection, source: Source) -> rusqlite::Result<Option<Applied>> {
    let find = "SELECT created, sequence FROM progress WHERE stream = ?1";
    let applied = connection.query_row(find, [source.name()], |row| {
        Ok(Applied {
            created: Timestamp::from_microseconds(row.get(0)?),
            sequence: row.get(1)?,
        })
    });
    applied.optional()
}

fn write_progress(connection: &Connection, source: Source, at: Applied) -> rusqlite::Result<()> {
    let write = "INSERT INTO progress (stream, created, sequence) VALUES (?1, ?2, ?3) \
                 ON CONFLICT (stream) DO UPDATE SET created = excluded.created, sequence = excluded.sequence";
    let mut statement = connection.prepare_cached(write)?;
    statement.execute(params![source.name(), at.created.microseconds(), at.sequence])?;
    Ok(())
}
