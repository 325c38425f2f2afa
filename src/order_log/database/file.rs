//! The database file among others: the lock that keeps other processes away, and its removal.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::config::private_files;

/// The file, relative to the data directory.
pub(in crate::order_log) const DATABASE_FILE: &str = "order-log/orders.sqlite";

/// Why the order log cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum OrderLogWriteError {
    /// SQLite reports an error.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file system reports an error about a path.
    #[error("{0}: {1}")]
    File(String, std::io::Error),
    /// Another process uses the file.
    #[error("another process uses {0}; set a separate data directory (data_dir) for each sidecar")]
    InUse(String),
}

impl OrderLogWriteError {
    /// Returns an error of the file system about a path.
    pub(in crate::order_log) fn from_io_error(path: &Path, error: std::io::Error) -> Self {
        Self::File(path.display().to_string(), error)
    }
}

/// Acquires the lock that keeps other processes away from the file, until it is dropped.
///
/// # Errors
/// `InUse` when another process holds the lock; `File` when the file system refuses.
pub(in crate::order_log) fn acquire_file_lock(path: &Path) -> Result<File, OrderLogWriteError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    private_files::create_private_directory(directory)
        .map_err(|error| OrderLogWriteError::from_io_error(directory, error))?;
    let lock_path = path.with_extension("lock");
    let lock = private_files::open_private_file(&lock_path);
    let lock = lock.map_err(|error| OrderLogWriteError::from_io_error(&lock_path, error))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(OrderLogWriteError::InUse(path.display().to_string())),
        Err(TryLockError::Error(error)) => Err(OrderLogWriteError::from_io_error(&lock_path, error)),
    }
}

/// Removes a file that no process uses.
///
/// # Errors
/// `InUse` when another process uses it; `File` when the file system refuses.
pub(in crate::order_log) fn remove_unused(path: &Path) -> Result<(), OrderLogWriteError> {
    let _lock = acquire_file_lock(path)?;
    remove_files(path)
}

/// Removes the file, its write-ahead log and its shared-memory file; the caller holds the lock.
///
/// # Errors
/// `File` when the file system refuses.
pub(in crate::order_log) fn remove_files(path: &Path) -> Result<(), OrderLogWriteError> {
    for suffix in ["", "-wal", "-shm"] {
        let path = sibling_path(path, suffix);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(OrderLogWriteError::from_io_error(&path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns the path of the write-ahead log of a database file.
pub(in crate::order_log) fn wal_path(path: &Path) -> PathBuf {
    sibling_path(path, "-wal")
}

/// Returns the path of a file that SQLite keeps beside the database file: its name with a suffix.
fn sibling_path(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
