//! The data directory: one `dev` at a time, and where each thing lies in it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use tokio::time::{Instant, sleep};

use crate::cli::error::error_with_reason;

/// How long servers that a killed `dev` left may take to end.
const LEFTOVERS_TIMEOUT: Duration = Duration::from_secs(15);
const LOCK_RETRY_DELAY: Duration = Duration::from_millis(50);
/// How much of the lock file is read: a few lines name the processes.
const MAX_LOCK_FILE_BYTES: u64 = 4_096;

/// A data directory that is ours as long as this, or a server started with it, lives.
#[derive(Debug)]
pub(crate) struct DevDataDirectory {
    root: PathBuf,
    lock: File,
}

impl DevDataDirectory {
    /// Creates what is missing and takes the lock.
    ///
    /// # Errors
    /// When the directory cannot be written, or another `dev` has it.
    pub(crate) async fn open(path: &Path) -> anyhow::Result<Self> {
        let root = std::path::absolute(path).context("the data directory")?;
        for directory in ["nats", "redis", "log"] {
            let directory = root.join(directory);
            std::fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        }
        let path = root.join("lock");
        let options = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let lock = options.with_context(|| format!("opening {}", path.display()))?;
        let end = Instant::now() + LEFTOVERS_TIMEOUT;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => {
                    return Err(error_with_reason(format!("locking {}", path.display()), error));
                }
                Err(TryLockError::WouldBlock) => {}
            }
            let holder = read_lock_holder(&path);
            // A killed `dev` is gone at once; its servers hold the lock until they have closed their files.
            if holder.is_dev_alive || Instant::now() >= end {
                let place = root.display();
                let reason = format!("{}; end it, or choose another with --data-dir", holder.description);
                return Err(error_with_reason(
                    format!("the data directory {place} is in use"),
                    reason,
                ));
            }
            sleep(LOCK_RETRY_DELAY).await;
        }
        let directory = Self { root, lock };
        directory.append_holder(&format!("dev {}\n", std::process::id()), true)?;
        Ok(directory)
    }

    /// Notes a server's process in the lock file, for messages.
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

    /// Returns a standard input for a server: it holds the lock until the server has ended too.
    ///
    /// # Errors
    /// When the system gives no further handle.
    pub(crate) fn lock_as_stdin(&self) -> anyhow::Result<Stdio> {
        Ok(self.lock.try_clone().context("sharing the lock")?.into())
    }

    /// Returns a file or directory in it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Returns where a child's log goes.
    pub(crate) fn log_path(&self, name: &str) -> PathBuf {
        self.root.join("log").join(format!("{name}.log"))
    }
}

struct LockHolder {
    description: String,
    is_dev_alive: bool,
}

/// Tells who wrote the lock file.
fn read_lock_holder(path: &Path) -> LockHolder {
    let mut text = String::new();
    // What cannot be read is not told.
    let _ = File::open(path).map(|file| file.take(MAX_LOCK_FILE_BYTES).read_to_string(&mut text));
    let processes: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
    let lives = |process: &str| Path::new("/proc").join(process).exists();
    match processes.first() {
        Some((_, process)) if lives(process) => LockHolder {
            description: format!("another `order-router dev` (process {process}) has it"),
            is_dev_alive: true,
        },
        _ => {
            let left = processes.iter().skip(1).filter(|(_, process)| lives(process));
            let left: Vec<String> = left
                .map(|(name, process)| format!("{name} (process {process})"))
                .collect();
            LockHolder {
                description: format!(
                    "what an earlier `order-router dev` started still runs: {}",
                    left.join(", ")
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
    async fn a_second_dev_is_told_who_has_the_directory() {
        let place = tempfile::tempdir().unwrap();
        let first = DevDataDirectory::open(place.path()).await.unwrap();
        first.record_process("nats-server", 1).unwrap();
        let error = DevDataDirectory::open(place.path()).await.unwrap_err().to_string();
        assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
        drop(first);
        // A process that another test starts at this moment holds the lock's file until it runs its program.
        let freed = async {
            while DevDataDirectory::open(place.path()).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), freed)
            .await
            .unwrap();
    }
}
