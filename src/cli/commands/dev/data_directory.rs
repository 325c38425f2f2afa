//! The data directory of `dev`: its lock, and the paths in it.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep};

use crate::cli::error::error_with_reason;
use crate::config::private_files::{create_private_directory, open_private_file};

/// How long the servers of a killed `dev` may take to exit.
const LEFTOVERS_TIMEOUT: Duration = Duration::from_secs(15);
/// The time between two attempts to take the lock.
const LOCK_RETRY_DELAY: Duration = Duration::from_millis(50);
/// The most bytes of the lock file that are read: a few lines name the processes.
const MAX_LOCK_FILE_BYTES: u64 = 4_096;

/// A locked data directory. This value and each server started with it hold the lock.
#[derive(Debug)]
pub(crate) struct DevDataDirectory {
    root: PathBuf,
    lock: File,
}

impl DevDataDirectory {
    /// Creates missing directories and takes the lock.
    ///
    /// # Errors
    /// When the directory cannot be written, or another `dev` holds the lock.
    pub(crate) async fn open(path: &Path) -> anyhow::Result<Self> {
        let root = std::path::absolute(path).context("the data directory")?;
        for directory in ["nats", "redis", "log"] {
            let directory = root.join(directory);
            create_private_directory(&directory).with_context(|| format!("creating {}", directory.display()))?;
        }
        let path = root.join("lock");
        let lock = open_private_file(&path).with_context(|| format!("opening {}", path.display()))?;
        let deadline = Instant::now() + LEFTOVERS_TIMEOUT;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => {
                    return Err(error_with_reason(format!("locking {}", path.display()), error));
                }
                Err(TryLockError::WouldBlock) => {}
            }
            let holder = read_lock_holder(&path);
            // The servers of a killed `dev` hold the lock until they have closed their files.
            if holder.is_dev_alive || Instant::now() >= deadline {
                let root = root.display();
                let reason = format!(
                    "{}; stop it, or choose another directory with --data-dir",
                    holder.description
                );
                return Err(error_with_reason(
                    format!("the data directory {root} is in use"),
                    reason,
                ));
            }
            sleep(LOCK_RETRY_DELAY).await;
        }
        let directory = Self { root, lock };
        directory.append_holder(&format!("dev {}\n", std::process::id()), true)?;
        Ok(directory)
    }

    /// Records a server's process id in the lock file, for error texts.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn record_process(&self, name: &str, process: u32) -> anyhow::Result<()> {
        self.append_holder(&format!("{name} {process}\n"), false)
    }

    fn append_holder(&self, text: &str, is_first: bool) -> anyhow::Result<()> {
        if is_first {
            self.lock.set_len(0).context("writing the lock file")?;
        }
        (&self.lock).write_all(text.as_bytes()).context("writing the lock file")
    }

    /// Returns the lock file as a server's standard input: the lock is held until the server has exited, too.
    ///
    /// # Errors
    /// When the handle cannot be duplicated.
    pub(crate) fn lock_as_stdin(&self) -> anyhow::Result<Stdio> {
        Ok(self.lock.try_clone().context("sharing the lock")?.into())
    }

    /// Returns the path of a file or directory in the data directory.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Returns the path of a child's log.
    pub(crate) fn log_path(&self, name: &str) -> PathBuf {
        self.root.join("log").join(format!("{name}.log"))
    }
}

struct LockHolder {
    description: String,
    is_dev_alive: bool,
}

/// Returns the process that wrote the lock file.
fn read_lock_holder(path: &Path) -> LockHolder {
    let mut text = String::new();
    // A file that cannot be read names no process.
    let _ = File::open(path).map(|file| file.take(MAX_LOCK_FILE_BYTES).read_to_string(&mut text));
    let processes: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let is_alive = |process: &str| Path::new("/proc").join(process).exists();
    match processes.first() {
        Some((_, process)) if is_alive(process) => LockHolder {
            description: format!("another `order-router dev` (process {process}) holds it"),
            is_dev_alive: true,
        },
        _ => {
            let leftovers = processes.iter().skip(1).filter(|(_, process)| is_alive(process));
            let leftovers: Vec<String> = leftovers
                .map(|(name, process)| format!("{name} (process {process})"))
                .collect();
            LockHolder {
                description: format!(
                    "processes of an earlier `order-router dev` still run: {}",
                    leftovers.join(", ")
                ),
                is_dev_alive: false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn error_for_a_second_dev_names_the_holder() {
        let directory = tempfile::tempdir().unwrap();
        let first = DevDataDirectory::open(directory.path()).await.unwrap();
        first.record_process("nats-server", 1).unwrap();
        let error = DevDataDirectory::open(directory.path()).await.unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        // A process that another test starts meanwhile holds the lock file until it executes its program.
        let reopened = async {
            while DevDataDirectory::open(directory.path()).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), reopened)
            .await
            .unwrap();
    }
}
